//! When a data set is packed, by whom, and when its pack is stale.

use super::*;

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
fn a_corrupt_pack_of_the_cache_is_made_again() {
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
fn a_cache_with_a_bound_keeps_what_is_used_and_what_fits() {
    let world = World::new();
    let folder = world.image_folder();
    let sized = |image_size, bytes_max| {
        let cache_bytes_max = Some(bytes_max);
        prepare(&PrepareOptions { image_size, cache_bytes_max, ..world.options(&folder) }, &|_| {})
    };
    // A header of 256 KiB, and three small images.
    let two = 2 * (300 << 10);
    let first = sized(8, two).unwrap();
    drop(sized(12, two).unwrap());
    assert_eq!(world.packs(), 2);
    // The first is in use, so the second makes way.
    drop(sized(16, two).unwrap());
    assert_eq!(world.packs(), 2);
    let first_pack = world.path("cache").join(format!("{}-8-v3.safetensors", first.content_hash()));
    assert!(first_pack.exists());
    let refused = sized(20, 300 << 10).unwrap_err();
    let told = refused.to_string();
    // The folder, what is needed, the bound, what is in use, and the bound that would do.
    let in_use = fs::metadata(&first_pack).unwrap().len();
    let numbers = [265_747, 300 << 10, in_use, 265_747 + in_use].map(|bytes: u64| bytes.to_string());
    let said = numbers.iter().all(|bytes| told.contains(bytes))
        && told.contains(world.path("cache").to_str().unwrap());
    assert!(refused.is_passing() && said && told.contains("--cache-max-bytes"), "{refused}");
    let refused = sized(20, 1_000).unwrap_err();
    let told = refused.to_string();
    assert!(
        !refused.is_passing() && told.contains("--cache-max-bytes 265747") && !told.contains("other jobs"),
        "{told}"
    );
    drop(first);
    drop(sized(20, 300 << 10).unwrap());
    assert_eq!(world.packs(), 1);
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
