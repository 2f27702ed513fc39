//! Data sets as users have them, whole and broken.

mod archives;
mod damage;
mod layouts;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;

use super::{
    DataError, PackedDataset, PrepareOptions, decode_resized, leftovers, lock_path,
    pack::Packing,
    prepare,
    progress::{Progress, Step},
    source::Source,
};
use crate::{damage::damaged, protocol::LeftOut};

/// A picture of one colour.
fn jpeg(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels: Vec<u8> = colour.iter().copied().cycle().take(16 * 12 * 3).collect();
    jpeg_encoder::Encoder::new(&mut bytes, 90).encode(&pixels, 16, 12, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// The three pictures of the tests, by class and name.
fn pictures() -> Vec<(&'static str, String, Vec<u8>)> {
    vec![
        ("cat", "cat.0.jpg".into(), jpeg([200, 0, 0])),
        ("cat", "cat.1.jpg".into(), jpeg([0, 200, 0])),
        ("dog", "dog.0.jpg".into(), jpeg([0, 0, 200])),
    ]
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn image_folder(&self) -> PathBuf {
        for (class, name, bytes) in pictures() {
            self.write(&format!("images/{class}/{name}"), &bytes);
        }
        self.path("images")
    }

    fn flat_folder(&self) -> PathBuf {
        for (_, name, bytes) in pictures() {
            self.write(&format!("flat/{name}"), &bytes);
        }
        self.path("flat")
    }

    fn zip(&self, name: &str, entries: &[(String, Vec<u8>)]) -> PathBuf {
        let mut writer = zip::ZipWriter::new(fs::File::create(self.path(name)).unwrap());
        for (entry, bytes) in entries {
            writer.start_file(entry, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
        self.path(name)
    }

    fn options(&self, path: &Path) -> PrepareOptions {
        let cache_dir = self.path("cache");
        PrepareOptions {
            path: path.to_owned(),
            val_path: None,
            image_size: 8,
            skip_corrupt: false,
            cache_dir,
            threads: 2,
        }
    }

    fn prepare(&self, path: &Path) -> Result<PackedDataset, DataError> {
        prepare(&self.options(path), &|_| {})
    }

    fn packs(&self) -> usize {
        let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|e| e == "safetensors");
        fs::read_dir(self.path("cache")).unwrap().filter(|entry| is_pack(entry.as_ref().unwrap())).count()
    }
}

#[test]
fn an_image_folder_has_its_classes_in_alphabetical_order() {
    let world = World::new();
    let packed = world.prepare(&world.image_folder()).unwrap();
    assert_eq!(packed.classes(), ["cat", "dog"]);
    assert_eq!(packed.labels(), [0, 0, 1]);
    assert_eq!((packed.len(), packed.image_size(), packed.images().len()), (3, 8, 3 * 8 * 8 * 3));
    let first = &packed.images()[..3];
    assert!(first[0] > 180 && first[1] < 20 && first[2] < 20, "the first picture is red: {first:?}");
}

#[test]
fn a_folder_a_flat_folder_and_a_zip_of_either_are_the_same_data_set() {
    let world = World::new();
    let flat =
        pictures().into_iter().map(|(_, name, bytes)| (format!("train/{name}"), bytes)).collect::<Vec<_>>();
    let folders = pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes));
    let mut folders: Vec<_> = folders.collect();
    folders.push(("__MACOSX/cat/._cat.0.jpg".into(), vec![1, 2, 3]));
    folders.push((".hidden.jpg".into(), vec![1, 2, 3]));
    let paths = [
        world.image_folder(),
        world.flat_folder(),
        world.zip("flat.zip", &flat),
        world.zip("folders.zip", &folders),
    ];
    let first = world.prepare(&paths[0]).unwrap();
    for path in &paths[1..] {
        let other = world.prepare(path).unwrap();
        assert_eq!(other.content_hash(), first.content_hash(), "{}", path.display());
        assert_eq!(other.images(), first.images());
    }
    assert_eq!(world.packs(), 1, "one content is packed once");
}

#[test]
fn what_was_packed_is_not_decoded_again() {
    let world = World::new();
    let folder = world.image_folder();
    drop(world.prepare(&folder).unwrap());
    let told = AtomicUsize::new(0);
    let count = |progress: Progress| {
        told.fetch_add(
            usize::from(matches!(progress.step, Step::Reading | Step::Packing)),
            Ordering::Relaxed,
        );
    };
    prepare(&world.options(&folder), &count).unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 0, "nothing was left to do");
}

#[test]
fn a_changed_picture_is_another_data_set() {
    let world = World::new();
    let folder = world.image_folder();
    let before = world.prepare(&folder).unwrap().content_hash().to_owned();
    world.write("images/dog/dog.0.jpg", &jpeg([9, 9, 9]));
    assert_ne!(world.prepare(&folder).unwrap().content_hash(), before);
}

#[test]
fn a_damaged_pack_of_the_cache_is_made_again() {
    let world = World::new();
    let folder = world.image_folder();
    let images = world.prepare(&folder).unwrap().images().to_vec();
    for entry in fs::read_dir(world.path("cache")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            fs::write(path, b"cut off").unwrap();
        }
    }
    assert_eq!(world.prepare(&folder).unwrap().images(), images);
}

#[test]
fn many_at_a_time_pack_once() {
    let world = World::new();
    let folder = world.image_folder();
    let hashes: Vec<String> = std::thread::scope(|scope| {
        let prepare = || world.prepare(&folder).unwrap().content_hash().to_owned();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(prepare)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    assert_eq!(world.packs(), 1);
}

#[test]
fn each_file_that_is_found_looked_at_or_packed_is_a_sign_of_life() {
    let world = World::new();
    let folder = world.image_folder();
    let entries: Vec<_> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    for (path, looked_at) in [(folder, 3), (world.zip("set.zip", &entries), 0)] {
        let told = Mutex::new(Vec::new());
        let options =
            PrepareOptions { image_size: 8 + 4 * u32::from(looked_at == 0), ..world.options(&path) };
        prepare(&options, &|progress| told.lock().unwrap().push(progress)).unwrap();
        let told = told.into_inner().unwrap();
        let most =
            |step| told.iter().filter(|told| told.step == step).map(|told| told.done).max().unwrap_or(0);
        assert!(most(Step::Listing) >= 3, "{told:?}");
        assert_eq!((most(Step::Looking), most(Step::Packing)), (looked_at, 3));
    }
}

#[test]
fn a_data_set_does_not_wait_for_the_preparation_of_another_one() {
    let world = World::new();
    // As a process that reads another data set, whose disk does not answer.
    let others = lock_path(&world.options(&world.flat_folder()));
    fs::create_dir_all(others.parent().unwrap()).unwrap();
    let held = fs::File::create(others).unwrap();
    held.lock().unwrap();
    assert_eq!(world.prepare(&world.image_folder()).unwrap().len(), 3);
}

#[test]
fn a_picture_is_what_its_content_says_and_a_gif_by_name_is_left_out() {
    let world = World::new();
    let mut gif = b"GIF89a\x01\0\x01\0\x80\0\0\xc8\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;".to_vec();
    world.write("images/cat/a.jpg", &gif);
    world.write("images/cat/b.gif", &gif);
    world.write("images/dog/a.png", &jpeg([0, 0, 200]));
    let packed = world.prepare(&world.path("images")).unwrap();
    assert_eq!((packed.len(), &packed.images()[..3]), (2, &[200, 0, 0][..]));
    assert_eq!(counts(&packed), [("other_format", ".gif", 1)]);
    gif.truncate(gif.len() - 5);
    world.write("images/cat/a.jpg", &gif);
    let error = world.prepare(&world.path("images")).unwrap_err().to_string();
    assert!(error.contains("cat/a.jpg: the picture is cut off"), "{error}");
}

#[test]
fn corrupt_pictures_are_listed_or_left_out() {
    let world = World::new();
    let folder = world.image_folder();
    let whole = jpeg([1, 2, 3]);
    world.write("images/cat/broken.jpg", &whole[..whole.len() / 2]);
    world.write("images/dog/text.png", b"no picture");
    let error = world.prepare(&folder).unwrap_err().to_string();
    assert!(error.contains("2 pictures cannot be decoded") && error.contains("--skip-corrupt"), "{error}");
    assert!(error.contains("cat/broken.jpg") && error.contains("dog/text.png"), "{error}");
    assert_eq!(world.packs(), 0, "nothing is left of a pack that failed");

    let options = PrepareOptions { skip_corrupt: true, ..world.options(&folder) };
    let packed = prepare(&options, &|_| {}).unwrap();
    assert_eq!((packed.len(), packed.skipped_count()), (3, 2));
    assert_eq!(packed.skipped(), ["cat/broken.jpg", "dog/text.png"]);
    assert!(world.prepare(&folder).is_err(), "leaving out is asked for each time");
}

#[test]
fn pictures_keep_their_order_whichever_thread_is_done_first() {
    let world = World::new();
    for number in 0..40u8 {
        let class = if number < 20 { "cat" } else { "dog" };
        let name = format!("images/{class}/{number:02}.jpg");
        let broken = number % 7 == 3;
        world.write(&name, if broken { b"no picture".to_vec() } else { jpeg([number * 6; 3]) }.as_slice());
    }
    let folder = world.path("images");
    let options =
        PrepareOptions { image_size: 640, skip_corrupt: true, threads: 4, ..world.options(&folder) };
    // One image a lot, then lots of many with fewer in the last.
    for image_size in [640, 8] {
        let packed = prepare(&PrepareOptions { image_size, ..options.clone() }, &|_| {}).unwrap();
        let kept: Vec<u8> = (0..40).filter(|number| number % 7 != 3).collect();
        let bytes = (image_size * image_size * 3) as usize;
        let found: Vec<u8> = packed.images().chunks_exact(bytes).map(|image| (image[0] + 3) / 6).collect();
        assert_eq!(found, kept);
        assert_eq!(packed.labels(), kept.iter().map(|number| u8::from(*number >= 20)).collect::<Vec<_>>());
        assert_eq!(packed.skipped_count(), 6);
    }
}

#[test]
fn a_hash_that_is_found_while_packing_is_the_data_sets() {
    let world = World::new();
    let folder = world.image_folder();
    let expected = world.prepare(&folder).unwrap().content_hash().to_owned();
    let source = Source::open(&folder, None, &|_| {}).unwrap();
    let packing =
        Packing { source: &source, content_hash: None, image_size: 8, skip_corrupt: false, threads: 2 };
    assert_eq!(packing.run(&world.path("set.safetensors"), &|_| {}).unwrap().content_hash, expected);
}

#[test]
fn pictures_that_are_not_those_of_the_hash_are_refused() {
    let world = World::new();
    let folder = world.image_folder();
    let content_hash = Some(world.prepare(&folder).unwrap().content_hash().to_owned());
    let source = Source::open(&folder, None, &|_| {}).unwrap();
    world.write("images/dog/dog.0.jpg", &jpeg([9, 9, 9]));
    let packing = Packing { source: &source, content_hash, image_size: 8, skip_corrupt: false, threads: 2 };
    let failed = packing.run(&world.path("set.safetensors"), &|_| {}).map(|packed| packed.content_hash);
    assert!(matches!(failed, Err(DataError::Changed { .. })), "{failed:?}");
}

#[test]
fn a_memo_that_is_wrong_costs_one_try() {
    let world = World::new();
    let folder = world.image_folder();
    let content_hash = world.prepare(&folder).unwrap().content_hash().to_owned();
    let memo = fs::read_dir(world.path("cache/sources")).unwrap().next().unwrap().unwrap().path();
    let wrong = fs::read_to_string(&memo).unwrap().replace(&content_hash, &"0".repeat(64));
    fs::write(&memo, wrong).unwrap();
    let failed = world.prepare(&folder).map(|packed| packed.content_hash().to_owned());
    assert!(matches!(failed, Err(DataError::Changed { .. })), "{failed:?}");
    assert_eq!(world.prepare(&folder).unwrap().content_hash(), content_hash);
}

#[test]
fn a_validation_set_that_was_never_there_is_missing_and_not_away() {
    let world = World::new();
    let folder = world.image_folder();
    world.prepare(&folder).unwrap();
    let options = PrepareOptions { val_path: Some(world.path("nowhere")), ..world.options(&folder) };
    let failed = prepare(&options, &|_| {}).map(|packed| packed.len());
    assert!(matches!(failed, Err(DataError::ValidationMissing { .. })), "{failed:?}");
    let told = failed.unwrap_err();
    assert!(!told.is_passing() && told.to_string().contains("nowhere (dataset.val_path)"), "{told}");
}

#[test]
fn a_validation_set_that_was_there_and_is_away_passes_and_is_named() {
    let world = World::new();
    world.write("other/cat/v.jpg", &jpeg([7; 3]));
    world.write("other/dog/v.jpg", &jpeg([8; 3]));
    let folder = world.image_folder();
    let options = PrepareOptions { val_path: Some(world.path("other")), ..world.options(&folder) };
    prepare(&options, &|_| {}).unwrap();
    fs::rename(world.path("other"), world.path("away")).unwrap();
    let away = prepare(&options, &|_| {}).unwrap_err();
    let told = away.to_string();
    assert!(away.is_passing() && told.contains("other (dataset.val_path)"), "{told}");
    assert!(told.contains("it was there before"), "{told}");
    fs::rename(world.path("away"), world.path("other")).unwrap();
    assert_eq!(prepare(&options, &|_| {}).unwrap().validation_count(), 2);
}

#[test]
fn a_pack_can_be_read_by_whoever_can_read_other_files_of_the_user() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let source = Source::open(&world.image_folder(), None, &|_| {}).unwrap();
    let packing =
        Packing { source: &source, content_hash: None, image_size: 8, skip_corrupt: false, threads: 2 };
    let packed = packing.run(&world.path("set.safetensors"), &|_| {}).unwrap();
    world.write("plain", b"");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(packed.file.path()), mode(&world.path("plain")));
}

#[test]
fn a_picture_that_vanishes_while_packing_leaves_nothing_behind() {
    let world = World::new();
    let folder = world.image_folder();
    let source = Source::open(&folder, None, &|_| {}).unwrap();
    fs::remove_file(folder.join("cat/cat.1.jpg")).unwrap();
    let packing =
        Packing { source: &source, content_hash: None, image_size: 8, skip_corrupt: true, threads: 2 };
    let failed = packing.run(&world.path("packs/set.safetensors"), &|_| {}).map(|packed| packed.content_hash);
    assert!(
        matches!(&failed, Err(DataError::Read { path, .. }) if path.ends_with("cat.1.jpg")),
        "{failed:?}"
    );
    assert_eq!(fs::read_dir(world.path("packs")).unwrap().count(), 0);
}

#[test]
fn what_is_no_data_set_is_told_apart() {
    let world = World::new();
    assert!(matches!(world.prepare(&world.path("nowhere")), Err(DataError::Missing { .. })));
    fs::create_dir(world.path("empty")).unwrap();
    assert!(matches!(world.prepare(&world.path("empty")), Err(DataError::NoImages { .. })));
    world.write("alone/cat/a.jpg", &jpeg([0; 3]));
    world.write("alone/notes.txt", b"x");
    let alone = world.prepare(&world.path("alone"));
    assert!(matches!(alone, Err(DataError::NoClass { .. } | DataError::OneClass { .. })), "{alone:?}");
    world.write("cats/cat.0.jpg", &jpeg([0; 3]));
    assert!(matches!(world.prepare(&world.path("cats")), Err(DataError::OneClass { .. })));
    world.write("loose/holiday.jpg", &jpeg([0; 3]));
    assert!(matches!(world.prepare(&world.path("loose")), Err(DataError::NoClass { .. })));
    let hollow = world.image_folder();
    fs::create_dir(hollow.join("emu")).unwrap();
    assert!(matches!(world.prepare(&hollow), Err(DataError::EmptyClass { class, .. }) if class == "emu"));
    world.write("broken.zip", b"PK\x03\x04 and no more");
    assert!(matches!(world.prepare(&world.path("broken.zip")), Err(DataError::Archive { .. })));
    world.write("gifs/cat/a.gif", b"GIF89a");
    let error = world.prepare(&world.path("gifs")).unwrap_err().to_string();
    assert!(error.contains("1 .gif"), "{error}");
}

#[test]
fn a_data_set_that_was_there_passes_and_one_that_never_was_does_not() {
    let world = World::new();
    let passing = |path: &Path| world.prepare(path).unwrap_err().is_passing();
    assert!(!passing(&world.path("nowhere")));
    fs::create_dir(world.path("hollow")).unwrap();
    assert!(!passing(&world.path("hollow")));

    let folder = world.image_folder();
    let link = world.path("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let pack = world.path("set.safetensors");
    world.prepare(&folder).unwrap();
    world.prepare(&link).unwrap();
    world.write("set.safetensors", &self::pack());
    world.prepare(&pack).unwrap();
    let away = world.path("away");
    fs::rename(&folder, &away).unwrap();
    fs::remove_file(&pack).unwrap();
    for path in [&folder, &link, &pack] {
        assert!(passing(path), "{}", path.display());
        let error = world.prepare(path).unwrap_err().to_string();
        assert!(error.contains("it was there before"), "{error}");
    }
    // What an unmounted share leaves behind.
    fs::create_dir(&folder).unwrap();
    assert!(passing(&folder));
    fs::remove_dir(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    assert_eq!(world.prepare(&folder).unwrap().len(), 3);
    // It is there, and something is wrong with it.
    world.write("images/cat/text.jpg", b"no picture");
    assert!(!passing(&folder));
}

#[test]
fn foreign_packs_are_refused() {
    let world = World::new();
    world.write("short.safetensors", b"12");
    let header = br#"{"images":{"dtype":"U8","shape":[1,8,8,3],"data_offsets":[0,192]}}"#;
    let mut foreign = (header.len() as u64).to_le_bytes().to_vec();
    foreign.extend(header);
    foreign.extend([0; 192]);
    world.write("foreign.safetensors", &foreign);
    for name in ["short.safetensors", "foreign.safetensors"] {
        assert!(matches!(world.prepare(&world.path(name)), Err(DataError::Packed { .. })), "{name}");
    }
}

#[test]
fn a_pack_of_another_size_is_refused() {
    let world = World::new();
    drop(world.prepare(&world.image_folder()).unwrap());
    let entries = fs::read_dir(world.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let pack = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "safetensors")).unwrap();
    assert_eq!(world.prepare(&pack).unwrap().len(), 3, "a pack is a data set itself");
    let options = PrepareOptions { image_size: 16, ..world.options(&pack) };
    assert!(matches!(prepare(&options, &|_| {}), Err(DataError::ImageSize { found: 8, wanted: 16, .. })));
}

#[test]
fn names_in_archives_lead_nowhere() {
    let world = World::new();
    let mut entries: Vec<_> =
        pictures().into_iter().map(|(class, name, b)| (format!("../../{class}/{name}"), b)).collect();
    entries.push(("/etc/dog/x.jpg".into(), jpeg([5; 3])));
    assert!(world.prepare(&world.zip("evil.zip", &entries)).is_err());
    let mut there: Vec<_> =
        fs::read_dir(world.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["evil.zip"]);
}

#[test]
fn links_out_of_an_archive_are_no_pictures() {
    let world = World::new();
    let mut writer = zip::ZipWriter::new(fs::File::create(world.path("links.zip")).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (class, name, bytes) in pictures() {
        writer.start_file(format!("{class}/{name}"), options).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.add_symlink("cat/shadow.jpg", "/etc/shadow", options).unwrap();
    writer.finish().unwrap();
    assert_eq!(world.prepare(&world.path("links.zip")).unwrap().len(), 3);
}

#[test]
fn pictures_that_links_in_a_circle_lead_to_count_once() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    let folder = world.image_folder();
    symlink(&folder, folder.join("cat/again")).unwrap();
    symlink(folder.join("dog"), folder.join("cat/to-dog")).unwrap();
    symlink(folder.join("cat"), folder.join("dog/to-cat")).unwrap();
    symlink("itself.jpg", folder.join("dog/itself.jpg")).unwrap();
    symlink("/nowhere", folder.join("dog/nothing.jpg")).unwrap();
    let packed = world.prepare(&folder).unwrap();
    assert_eq!((packed.len(), packed.labels()), (3, &[0, 0, 1][..]));
    assert_eq!(counts(&packed), [("dangling_link", "", 2), ("link_loop", "", 3)]);
}

#[test]
fn links_that_lead_out_or_across_are_followed() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    world.write("far/more/a.jpg", &jpeg([1; 3]));
    // The other place leads back; that is where the circle is cut.
    let folder = world.image_folder();
    symlink(&folder, world.path("far/more/back")).unwrap();
    symlink(world.path("far/more"), folder.join("cow")).unwrap();
    symlink(folder.join("dog"), folder.join("cat/across")).unwrap();
    let packed = world.prepare(&folder).unwrap();
    assert_eq!(packed.classes(), ["cat", "cow", "dog"]);
    assert_eq!(packed.labels(), [0, 0, 0, 1, 2]);
    assert_eq!(counts(&packed), [("link_loop", "", 1)]);
}

/// What was left out, by reason and detail.
fn counts(packed: &PackedDataset) -> Vec<(&str, &str, u64)> {
    let mut counts: Vec<_> = packed
        .left_out()
        .iter()
        .map(|left_out| (left_out.reason.as_str(), left_out.detail.as_str(), left_out.count))
        .collect();
    counts.sort_unstable();
    counts
}

#[test]
fn names_that_are_no_utf8_are_used() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let world = World::new();
    let folder = world.image_folder();
    let name = |bytes: &'static [u8]| folder.join(OsStr::from_bytes(bytes));
    fs::write(name(b"cat/ch\xe2t.jpg"), jpeg([1; 3])).unwrap();
    fs::write(name(b"cat/ch\xe4t.jpg"), jpeg([2; 3])).unwrap();
    for class in [&b"b\xe4r"[..], b"b\xe5r"] {
        fs::create_dir(folder.join(OsStr::from_bytes(class))).unwrap();
        fs::write(folder.join(OsStr::from_bytes(class)).join("a.jpg"), jpeg([3; 3])).unwrap();
    }
    let packed = world.prepare(&folder).unwrap();
    assert_eq!(packed.classes(), ["b\\xE4r", "b\\xE5r", "cat", "dog"]);
    assert_eq!(packed.len(), 7);
    let before = packed.content_hash().to_owned();
    fs::rename(name(b"cat/ch\xe2t.jpg"), name(b"cat/ch\xe3t.jpg")).unwrap();
    assert_ne!(world.prepare(&folder).unwrap().content_hash(), before);
}

#[test]
fn all_endings_of_imagefolder_are_read_and_others_are_counted() {
    let world = World::new();
    let folder = world.image_folder();
    let formats = [
        ("webp", image::ImageFormat::WebP),
        ("BMP", image::ImageFormat::Bmp),
        ("ppm", image::ImageFormat::Pnm),
        ("PNG", image::ImageFormat::Png),
        // Pillow looks at the first bytes, not at the name.
        ("jpeg", image::ImageFormat::Png),
    ];
    for (ending, format) in formats {
        let picture = image::RgbImage::from_pixel(9, 7, image::Rgb([0, 0, 200]));
        let mut bytes = std::io::Cursor::new(Vec::<u8>::new());
        if format == image::ImageFormat::Pnm {
            // The crate would write a PAM, which Pillow does not read.
            bytes.get_mut().extend_from_slice(b"P6\n9 7\n255\n");
            bytes.get_mut().extend_from_slice(picture.as_raw());
        } else {
            picture.write_to(&mut bytes, format).unwrap();
        }
        world.write(&format!("images/dog/x.{ending}"), bytes.get_ref());
    }
    for name in ["cat/a.gif", "cat/b.GIF", "cat/notes.txt", "README"] {
        world.write(&format!("images/{name}"), b"x");
    }
    let packed = world.prepare(&folder).unwrap();
    assert_eq!(packed.len(), 3 + formats.len());
    assert!(packed.images()[2 * 192..].chunks(3).all(|pixel| pixel[0] < 20 && pixel[2] > 180));
    assert_eq!(
        counts(&packed),
        [("other_format", "", 1), ("other_format", ".gif", 2), ("other_format", ".txt", 1)]
    );
}

#[test]
fn what_operating_systems_and_storage_boxes_leave_is_passed_over() {
    let world = World::new();
    let folders = ["lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".ipynb_checkpoints"];
    let more = ["__MACOSX", ".Trash-1000", ".AppleDouble", "#recycle", "@Recycle", "cat/@eaDir"];
    let mut entries: Vec<(String, Vec<u8>)> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    for folder in folders.into_iter().chain(more) {
        entries.push((format!("{folder}/a.jpg"), vec![1]));
        entries.push((format!("{folder}/b.jpg"), vec![1]));
    }
    for file in ["cat/._cat.0.jpg", "cat/Thumbs.db", ".DS_Store", "dog/.hidden.jpg"] {
        entries.push((file.to_owned(), vec![1]));
    }
    for (name, bytes) in &entries {
        world.write(&format!("images/{name}"), bytes);
    }
    let paths = [world.path("images"), world.zip("set.zip", &entries)];
    for path in paths {
        let packed = world.prepare(&path).unwrap();
        assert_eq!(packed.len(), 3, "{}", path.display());
        let count =
            |reason| counts(&packed).iter().filter(|one| one.0 == reason).map(|one| one.2).sum::<u64>();
        assert_eq!((count("system"), count("hidden")), (11 + 3, 1), "{}", path.display());
    }
}

/// `train` and the validation folder, each with both classes, and a test folder.
fn split_folders(world: &World, validation: &str) -> PathBuf {
    for (class, name, bytes) in pictures() {
        world.write(&format!("set/train/{class}/{name}"), &bytes);
    }
    world.write(&format!("set/{validation}/cat/v.jpg"), &jpeg([7; 3]));
    world.write(&format!("set/{validation}/dog/v.jpg"), &jpeg([8; 3]));
    world.write("set/test/1.jpg", &jpeg([9; 3]));
    world.path("set")
}

#[test]
fn a_validation_folder_is_the_validation_set_and_a_test_folder_is_left_out() {
    for name in ["val", "valid", "Validation"] {
        let world = World::new();
        let packed = world.prepare(&split_folders(&world, name)).unwrap();
        assert_eq!(packed.classes(), ["cat", "dog"], "{name}");
        assert_eq!(packed.labels(), [0, 0, 1, 0, 1]);
        assert_eq!((packed.validation_count(), packed.validation()), (2, Some(name)));
        assert_eq!(counts(&packed), [("test_folder", "test", 1)]);
        // It is another data set than its training pictures alone, and other validation pictures are, too.
        let all = packed.content_hash().to_owned();
        let alone = world.prepare(&world.path("set/train")).unwrap();
        assert_eq!((alone.len(), alone.validation_count()), (3, 0));
        assert_ne!(alone.content_hash(), all);
        world.write(&format!("set/{name}/cat/v.jpg"), &jpeg([99; 3]));
        assert_ne!(world.prepare(&world.path("set")).unwrap().content_hash(), all);
    }
}

#[test]
fn a_validation_set_that_is_named_is_used_and_a_pack_keeps_it() {
    let world = World::new();
    let folder = world.image_folder();
    world.write("other/cat/v.jpg", &jpeg([7; 3]));
    world.write("other/dog/v.jpg", &jpeg([8; 3]));
    let options = PrepareOptions { val_path: Some(world.path("other")), ..world.options(&folder) };
    let packed = prepare(&options, &|_| {}).unwrap();
    assert_eq!((packed.len(), packed.validation_count()), (5, 2));
    assert_eq!(packed.validation(), world.path("other").to_str());
    let pack = fs::read_dir(world.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.into_iter().find(|path| path.extension().is_some_and(|e| e == "safetensors")).unwrap();
    assert_eq!(world.prepare(&pack).unwrap().validation_count(), 2);

    fs::rename(world.path("other/dog"), world.path("other/cow")).unwrap();
    let error = prepare(&options, &|_| {}).unwrap_err();
    assert!(matches!(error, DataError::Validation { .. }) && error.to_string().contains("cow"), "{error}");
    let of_pack = PrepareOptions { val_path: Some(world.path("other")), ..world.options(&pack) };
    assert!(matches!(prepare(&of_pack, &|_| {}), Err(DataError::Validation { .. })));
}

/// What becomes of a folder that holds a picture at each of these paths: its classes, how many pictures are for validation,
/// and what is left out.
fn laid_out(paths: &[&str]) -> Result<(Vec<String>, usize, Vec<LeftOut>), DataError> {
    let world = World::new();
    for (number, path) in paths.iter().enumerate() {
        world.write(&format!("set/{path}"), &jpeg([number as u8 * 9; 3]));
    }
    let packed = world.prepare(&world.path("set"))?;
    let of = |left_out: &LeftOut| LeftOut { examples: Vec::new(), ..left_out.clone() };
    Ok((packed.classes().to_vec(), packed.validation_count(), packed.left_out().iter().map(of).collect()))
}

#[test]
fn sets_of_pictures_are_told_from_classes_and_what_is_left_out_is_said() {
    type Case = (&'static [&'static str], &'static [&'static str], usize, &'static [(&'static str, u64)]);
    let cases: [Case; 9] = [
        // A class may be called like a set of pictures, where it is one in no sense.
        (&["bus/1.jpg", "car/1.jpg", "train/1.jpg"], &["bus", "car", "train"], 0, &[]),
        (&["valid/1.jpg", "invalid/1.jpg"], &["invalid", "valid"], 0, &[]),
        (&["control/1.jpg", "test/1.jpg"], &["control", "test"], 0, &[]),
        // Next to classes, test pictures are none, and a folder of classes is the validation set.
        (&["cats/1.jpg", "dogs/1.jpg", "test/1.jpg", "test/2.jpg"], &["cats", "dogs"], 0, &[("test", 2)]),
        (&["valid/1.jpg", "invalid/1.jpg", "test/1.jpg"], &["invalid", "valid"], 0, &[("test", 1)]),
        (&["cats/1.jpg", "dogs/1.jpg", "val/cats/2.jpg", "val/dogs/2.jpg"], &["cats", "dogs"], 2, &[]),
        // As Kaggle has them.
        (&["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"], &["cat", "dog"], 0, &[("test1", 1)]),
        (&["cat.0.jpg", "dog.0.jpg", "test/1.jpg"], &["cat", "dog"], 0, &[("test", 1)]),
        (
            &["train/cats/1.jpg", "train/dogs/1.jpg", "test/1.jpg", "more/1.jpg"],
            &["cats", "dogs"],
            0,
            &[("more", 1), ("test", 1)],
        ),
    ];
    for (paths, classes, validation, left_out) in cases {
        let found = laid_out(paths).unwrap_or_else(|error| panic!("{paths:?}: {error}"));
        let mut named: Vec<(&str, u64)> =
            found.2.iter().map(|one| (one.detail.as_str(), one.count)).collect();
        named.sort_unstable();
        assert_eq!(
            (found.0.as_slice(), found.1, named.as_slice()),
            (&classes.iter().map(|class| (*class).to_owned()).collect::<Vec<_>>()[..], validation, left_out),
            "{paths:?}"
        );
    }
}

#[test]
fn folders_that_may_be_classes_or_sets_of_pictures_are_refused_with_what_to_do() {
    let cases: [(&[&str], &str); 7] = [
        (&["bus/1.jpg", "car/1.jpg", "train/a/1.jpg", "train/b/1.jpg"], r#""train" may be the training set"#),
        (&["cats/1.jpg", "dogs/1.jpg", "train/cat.0.jpg"], r#""train" may be the training set"#),
        (&["bus/1.jpg", "car/1.jpg", "train/1.jpg", "test/1.jpg"], r#""train" may be the training set"#),
        (&["cats/1.jpg", "dogs/1.jpg", "val/1.jpg"], r#""val" has no class folders"#),
        (
            &["val/cats/1.jpg", "val/dogs/1.jpg", "test/cats/1.jpg"],
            r#"holds "test", "val" and no training set"#,
        ),
        (
            &["train/cats/1.jpg", "train/dogs/1.jpg", "training/cats/1.jpg"],
            r#""train" and "training" look like the same"#,
        ),
        (
            &["train/cats/1.jpg", "train/dogs/1.jpg", "val/cats/1.jpg", "valid/cats/1.jpg"],
            r#""val" and "valid""#,
        ),
    ];
    for (paths, expected) in cases {
        let error = laid_out(paths).map(|found| found.0).unwrap_err();
        assert!(matches!(error, DataError::Ambiguous { .. }), "{paths:?}: {error:?}");
        let told = error.to_string();
        assert!(
            told.contains(expected) && (told.contains("rename") || told.contains("keep one")),
            "{paths:?}: {told}"
        );
    }
}

#[test]
fn a_pack_is_stale_when_folders_swap_their_names() {
    let world = World::new();
    let png = |colour: [u8; 3]| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_pixel(8, 8, image::Rgb(colour))
            .write_to(&mut bytes, image::ImageFormat::Bmp)
            .unwrap();
        bytes.into_inner()
    };
    world.write("set/a/0.bmp", &png([200, 0, 0]));
    world.write("set/b/0.bmp", &png([0, 0, 200]));
    let folder = world.path("set");
    for class in ["a", "b"] {
        let file = fs::File::options().write(true).open(folder.join(class).join("0.bmp")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let before = world.prepare(&folder).unwrap();
    for (from, to) in [("a", "x"), ("b", "a"), ("x", "b")] {
        fs::rename(folder.join(from), folder.join(to)).unwrap();
    }
    let after = world.prepare(&folder).unwrap();
    assert_ne!(after.content_hash(), before.content_hash());
    assert_eq!(after.images()[..192], before.images()[192..]);
}

#[test]
fn a_touched_picture_is_read_again_and_packed_once() {
    let world = World::new();
    let folder = world.image_folder();
    world.prepare(&folder).unwrap();
    let pack = || {
        let entries = fs::read_dir(world.path("cache")).unwrap().map(|entry| entry.unwrap().path());
        let pack = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "safetensors"));
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(pack.unwrap()).unwrap())
    };
    let before = pack();
    let file = fs::File::options().write(true).open(folder.join("cat/cat.0.jpg")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    world.prepare(&folder).unwrap();
    assert_eq!(pack(), before);
}

#[test]
fn what_a_killed_packing_left_behind_is_removed_by_the_next() {
    let world = World::new();
    let [dead, alive] = ["deadpk", "alivep"].map(|end| format!("cache/{}{end}", leftovers::prefix()));
    world.write(&dead, &[1; 1000]);
    world.write("cache/sources/x.7.tmp", b"{}");
    let memo = fs::File::options().write(true).open(world.path("cache/sources/x.7.tmp")).unwrap();
    memo.set_modified(std::time::UNIX_EPOCH).unwrap();
    world.write("cache/sources/x.8.tmp", b"{}");
    // Someone else packs into this folder, now.
    world.write(&alive, &[1; 1000]);
    let held = fs::File::open(world.path(&alive)).unwrap();
    held.lock().unwrap();
    world.prepare(&world.image_folder()).unwrap();
    assert!(!world.path(&dead).exists() && !world.path("cache/sources/x.7.tmp").exists());
    assert!(world.path(&alive).exists() && world.path("cache/sources/x.8.tmp").exists());
}

#[test]
fn a_file_that_is_no_archive_is_told_by_what_it_is() {
    let world = World::new();
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let kinds: [(&str, &[u8], &str); 5] = [
        ("a.tar", &tar, ".tar archive"),
        ("a.tar.gz", b"\x1f\x8b\x08", ".gz"),
        ("a.jpg", &jpeg([1; 3]), "JPEG"),
        ("a.txt", b"hello", "text file"),
        ("a.zip", b"", "empty file"),
    ];
    for (name, bytes, expected) in kinds {
        world.write(name, bytes);
        let error = world.prepare(&world.path(name)).unwrap_err();
        assert!(matches!(error, DataError::NotADataset { .. }), "{error:?}");
        assert!(error.to_string().contains(expected) && error.to_string().contains(name), "{error}");
    }
    // Compressed in a way that is not read: the method's number is changed by hand.
    let mut bytes = archive();
    for (at, signature) in [(10, b"PK\x01\x02"), (8, b"PK\x03\x04")] {
        let places: Vec<usize> = bytes
            .windows(4)
            .enumerate()
            .filter(|(_, four)| four == signature)
            .map(|(place, _)| place)
            .collect();
        places.iter().for_each(|place| bytes[place + at] = 14);
    }
    world.write("lzma.zip", &bytes);
    let error = world.prepare(&world.path("lzma.zip")).unwrap_err().to_string();
    assert!(error.contains("LZMA") && error.contains("cat/cat.0.jpg") && error.contains("unpack"), "{error}");
}

#[test]
fn an_archive_that_unpacks_to_far_more_than_it_has_is_refused() {
    let world = World::new();
    let mut entries: Vec<_> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    entries.push(("dog/bomb.jpg".into(), vec![0; 300 << 20]));
    let bomb = {
        let mut writer = zip::ZipWriter::new(fs::File::create(world.path("bomb.zip")).unwrap());
        for (entry, bytes) in &entries {
            writer.start_file(entry, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
        world.path("bomb.zip")
    };
    assert!(fs::metadata(&bomb).unwrap().len() < 1 << 20);
    let refused = world.prepare(&bomb).unwrap_err().to_string();
    assert!(refused.contains("dog/bomb.jpg"), "{refused}");
    // The same, where the archive lies about the size.
    let mut bytes = fs::read(&bomb).unwrap();
    let claimed = (300_u32 << 20).to_le_bytes();
    let places: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, w)| *w == claimed).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    world.write("liar.zip", &bytes);
    assert!(world.prepare(&world.path("liar.zip")).is_err());
}

#[test]
fn a_picture_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
    // A PNG's header of 60,000 × 60,000 pixels, and nothing after it.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
    let checksum = crc32fast::hash(&png[12..]);
    png.extend(checksum.to_be_bytes());
    assert!(decode_resized(&png, 8).is_err());
    // A JPEG whose frame header says 65,500 × 65,500.
    let mut huge = jpeg([9; 3]);
    let frame = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    assert!(matches!(decode_resized(&huge, 8), Err(super::DecodeError::TooLarge { .. })));
}

/// A small PNG.
fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(9, 7, image::Rgb([1, 2, 3]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A small archive.
fn archive() -> Vec<u8> {
    let world = World::new();
    let entries: Vec<_> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    fs::read(world.zip("whole.zip", &entries)).unwrap()
}

/// A small pack.
fn pack() -> Vec<u8> {
    let world = World::new();
    drop(world.prepare(&world.image_folder()).unwrap());
    let entries = fs::read_dir(world.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let pack = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "safetensors"));
    fs::read(pack.unwrap()).unwrap()
}

proptest! {
    #[test]
    fn whatever_a_picture_holds_it_is_decoded_or_refused(
        bytes in prop_oneof![damaged(jpeg([200, 100, 50])), damaged(png())],
    ) {
        if let Ok(pixels) = decode_resized(&bytes, 8) {
            prop_assert_eq!(pixels.len(), 8 * 8 * 3);
        }
    }

    #[test]
    fn whatever_an_archive_holds_it_is_packed_or_refused(bytes in damaged(archive())) {
        let world = World::new();
        world.write("fuzz.zip", &bytes);
        if let Ok(packed) = world.prepare(&world.path("fuzz.zip")) {
            prop_assert_eq!(packed.images().len(), packed.len() * 8 * 8 * 3);
        }
    }

    #[test]
    fn whatever_a_pack_holds_it_is_mapped_or_refused(bytes in damaged(pack())) {
        let world = World::new();
        world.write("fuzz.safetensors", &bytes);
        if let Ok(packed) = PackedDataset::open(&world.path("fuzz.safetensors")) {
            let side = packed.image_size() as usize;
            prop_assert_eq!(packed.images().len(), packed.len() * side * side * 3);
            prop_assert!(packed.labels().iter().all(|label| usize::from(*label) < packed.classes().len()));
        }
    }
}
