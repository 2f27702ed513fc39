//! Pictures and packs that are corrupt.

use super::*;

/// Prepares with corrupt pictures left out.
fn skipping(world: &World, path: &Path) -> Result<PackedDataset, DataError> {
    prepare(&PrepareOptions { skip_corrupt: true, ..world.options(path) }, &|_| {})
}

#[test]
fn a_picture_that_is_corrupt_within_its_archive_is_one_of_those_that_are_left_out() {
    let world = World::new();
    let noise: Vec<u8> = (0..32 * 32 * 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut picture = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut picture, 90);
    encoder.encode(&noise, 32, 32, jpeg_encoder::ColorType::Rgb).unwrap();
    let mut entries: Vec<_> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    entries.push(("dog/flipped.jpg".into(), picture));
    entries.push(("dog/headless.jpg".into(), jpeg([3; 3])));
    let path = world.zip("set.zip", &entries);
    let mut bytes = fs::read(&path).unwrap();
    let name = b"dog/flipped.jpg";
    let at = bytes.windows(name.len()).position(|found| found == name).unwrap() + name.len() + 200;
    bytes[at] ^= 0xff;
    let header = bytes.windows(4).rposition(|found| found == b"PK\x03\x04").unwrap();
    bytes[header] = b'X';
    world.write("set.zip", &bytes);
    let error = world.prepare(&path).unwrap_err();
    assert!(matches!(error, DataError::Corrupt { count: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("dog/flipped.jpg: "), "{error}");
    for _ in 0..2 {
        let packed = skipping(&world, &path).unwrap();
        assert_eq!(packed.skipped(), ["dog/flipped.jpg", "dog/headless.jpg"]);
        assert_eq!(packed.len(), 3);
    }
}

#[test]
fn a_file_that_is_larger_than_any_picture_is_one_of_those_that_are_left_out() {
    let world = World::new();
    let folder = world.image_folder();
    fs::File::create(folder.join("cat/large.png")).unwrap().set_len((256 << 20) + 1).unwrap();
    let error = world.prepare(&folder).unwrap_err().to_string();
    assert!(error.contains("cat/large.png: it has more than 256 MiB"), "{error}");
    let packed = skipping(&world, &folder).unwrap();
    assert_eq!((packed.len(), packed.skipped()), (3, &["cat/large.png".to_owned()][..]));
}

#[test]
fn a_class_of_which_no_training_picture_can_be_decoded_is_refused() {
    let world = World::new();
    let folder = world.image_folder();
    world.write("images/dog/dog.0.jpg", b"no picture");
    let error = skipping(&world, &folder).unwrap_err();
    assert!(matches!(&error, DataError::EmptyClass { class, .. } if class == "dog"), "{error:?}");
    assert!(error.to_string().contains("that can be decoded"), "{error}");
    // Whole ones for validation are no help.
    world.write("other/cat/v.jpg", &jpeg([7; 3]));
    world.write("other/dog/v.jpg", &jpeg([8; 3]));
    let options =
        PrepareOptions { skip_corrupt: true, val_path: Some(world.path("other")), ..world.options(&folder) };
    assert!(matches!(prepare(&options, &|_| {}), Err(DataError::EmptyClass { .. })));
}

#[test]
fn a_pack_whose_images_rotted_is_made_again_in_the_cache_and_refused_elsewhere() {
    let world = World::new();
    let folder = world.image_folder();
    let images = world.prepare(&folder).unwrap().images().to_vec();
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "safetensors");
    let entries = fs::read_dir(world.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let pack = entries.into_iter().find(is_pack).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    world.write("own.safetensors", &bytes);
    let told = Mutex::new(Vec::new());
    let packed =
        prepare(&world.options(&folder), &|progress| told.lock().unwrap().push(progress.step)).unwrap();
    assert_eq!(packed.images(), images);
    assert!(told.into_inner().unwrap().contains(&Step::Checking));
    let error = world.prepare(&world.path("own.safetensors")).unwrap_err();
    assert!(matches!(&error, DataError::Packed { reason, .. } if reason.contains("corrupt")), "{error:?}");
}

#[test]
fn packs_of_the_same_pictures_are_distinguished_by_what_is_in_them() {
    let world = World::new();
    let folder = world.image_folder();
    world.write("images/dog/text.png", b"no picture");
    let pack = |size, cut| {
        let options = PrepareOptions { skip_corrupt: true, image_size: size, ..world.options(&folder) };
        let packed = prepare(&options, &|_| {}).unwrap();
        let entries = fs::read_dir(world.path("cache")).unwrap().map(|entry| entry.unwrap().path());
        let name = format!("-{size}-");
        let path = entries.into_iter().find(|path| path.to_string_lossy().contains(&name)).unwrap();
        let mut bytes = fs::read(path).unwrap();
        if cut {
            let at = bytes.windows(13).position(|found| found == br#""pixels_hash""#).unwrap() + 20;
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        }
        world.write("own.safetensors", &bytes);
        (packed.identity(), PackedDataset::open(&world.path("own.safetensors")).unwrap().identity())
    };
    let (of_cache, same) = pack(8, false);
    assert_eq!(of_cache, same);
    assert_ne!(of_cache, pack(8, true).1);
    assert_ne!(of_cache, pack(16, false).0);
}
