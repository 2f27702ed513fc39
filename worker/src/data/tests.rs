//! Data sets as users have them, whole and broken.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::{
    DataError, PackedDataset, PrepareOptions, decode_resized, pack::Packing, prepare, source::Source,
};
use crate::damage::damaged;

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
        PrepareOptions { path: path.to_owned(), image_size: 8, skip_corrupt: false, cache_dir, threads: 2 }
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
    let count = |_| {
        told.fetch_add(1, Ordering::Relaxed);
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
    let source = Source::open(&folder).unwrap();
    let packing =
        Packing { source: &source, content_hash: None, image_size: 8, skip_corrupt: false, threads: 2 };
    assert_eq!(packing.run(&world.path("set.safetensors"), &|_| {}).unwrap().content_hash, expected);
}

#[test]
fn pictures_that_are_not_those_of_the_hash_are_refused() {
    let world = World::new();
    let folder = world.image_folder();
    let content_hash = Some(world.prepare(&folder).unwrap().content_hash().to_owned());
    let source = Source::open(&folder).unwrap();
    world.write("images/dog/dog.0.jpg", &jpeg([9, 9, 9]));
    let packing = Packing { source: &source, content_hash, image_size: 8, skip_corrupt: false, threads: 2 };
    let failed = packing.run(&world.path("set.safetensors"), &|_| {}).map(|packed| packed.content_hash);
    assert!(matches!(failed, Err(DataError::Changed { .. })), "{failed:?}");
}

#[test]
fn a_pack_can_be_read_by_whoever_can_read_other_files_of_the_user() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let source = Source::open(&world.image_folder()).unwrap();
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
    let source = Source::open(&folder).unwrap();
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
    world.write("text.zip", b"no archive");
    assert!(matches!(world.prepare(&world.path("text.zip")), Err(DataError::Archive { .. })));
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
fn links_in_a_circle_come_to_an_end() {
    let world = World::new();
    let folder = world.image_folder();
    std::os::unix::fs::symlink(&folder, folder.join("cat/again")).unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.join("dog/nothing.jpg")).unwrap();
    // As deep as links are followed, the pictures are there again and again.
    assert!(world.prepare(&folder).unwrap().len() > 3);
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
