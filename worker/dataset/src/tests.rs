//! Data sets as users have them, whole and broken.

mod absence;
mod archives;
mod caching;
mod corruption;
mod layouts;
mod links;

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
use terms::LeftOut;

use crate::corruption::corrupted;

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
            cache_bytes_max: None,
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
    // One image a chunk, then chunks of many with fewer in the last.
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
fn what_is_no_data_set_is_named_for_what_it_is() {
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
    // What `dataset synth` leaves says how the pictures were made, and is nothing that is missing.
    let made = [".synthetic.json", "cat/.synthetic.json"];
    for file in ["cat/._cat.0.jpg", "cat/Thumbs.db", ".DS_Store", "dog/.hidden.jpg"].into_iter().chain(made) {
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

#[test]
fn a_file_that_is_no_archive_is_named_for_what_it_is() {
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

fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(9, 7, image::Rgb([1, 2, 3]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn archive() -> Vec<u8> {
    let world = World::new();
    let entries: Vec<_> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    fs::read(world.zip("whole.zip", &entries)).unwrap()
}

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
        bytes in prop_oneof![corrupted(jpeg([200, 100, 50])), corrupted(png())],
    ) {
        if let Ok(pixels) = decode_resized(&bytes, 8) {
            prop_assert_eq!(pixels.len(), 8 * 8 * 3);
        }
    }

    #[test]
    fn whatever_an_archive_holds_it_is_packed_or_refused(bytes in corrupted(archive())) {
        let world = World::new();
        world.write("fuzz.zip", &bytes);
        if let Ok(packed) = world.prepare(&world.path("fuzz.zip")) {
            prop_assert_eq!(packed.images().len(), packed.len() * 8 * 8 * 3);
        }
    }

    #[test]
    fn whatever_a_pack_holds_it_is_mapped_or_refused(bytes in corrupted(pack())) {
        let world = World::new();
        world.write("fuzz.safetensors", &bytes);
        if let Ok(packed) = PackedDataset::open(&world.path("fuzz.safetensors")) {
            let side = packed.image_size() as usize;
            prop_assert_eq!(packed.images().len(), packed.len() * side * side * 3);
            prop_assert!(packed.labels().iter().all(|label| usize::from(*label) < packed.classes().len()));
        }
    }
}
