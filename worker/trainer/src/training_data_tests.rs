//! The loader: what becomes of a data set that no one waits for any more.

use std::{
    fs::{self, File},
    path::Path,
};

use super::*;

/// Eight grey lines, as PNG.
const PICTURE: &[u8] =
    b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x08\x00\x00\x00\x08\x08\x00\x00\x00\x00\xe1d\
    \xe1W\x00\x00\x00#IDATx\xdac`\x80\x01\x0d(`\x08\x80\x02\x86\x0a(`X\x00\x05\x0c'\xa0\x80\xe1\x03\x140\
    H@\x01\x00\xef\xe6\x1b\x01\x0b\x07\xfb\xda\x00\x00\x00\x00IEND\xaeB`\x82";

/// As another process that prepares the data set: nothing goes on with it before that has ended.
fn hold(spec: &DatasetSpec, cache_dir: &Path) -> File {
    let options = PrepareOptions {
        path: spec.path.clone(),
        val_path: None,
        image_size: spec.image_size,
        skip_corrupt: false,
        cache_dir: cache_dir.to_owned(),
        cache_bytes_max: None,
        threads: 1,
    };
    let path = dataset::lock_path(&options);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let held = File::create(path).unwrap();
    held.lock().unwrap();
    held
}

#[test]
fn a_data_set_that_was_given_up_holds_up_no_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let cache_dir = folder.path().join("cache");
    let spec = |name: &str| {
        let pictures = folder.path().join(name);
        fs::create_dir_all(&pictures).unwrap();
        for name in ["cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"] {
            fs::write(pictures.join(name), PICTURE).unwrap();
        }
        DatasetSpec { path: pictures, image_size: 8, val_fraction: 0.5, split_seed: 0, val_path: None }
    };
    let (away, here) = (spec("away"), spec("here"));
    let _held = hold(&away, &cache_dir);
    let mut loader = DatasetLoader::new(Device::Cpu, cache_dir, false);
    assert!(matches!(loader.load(&away, &mut |_| Flow::Stop), Err(DatasetError::GivenUp)));
    assert_eq!(loader.load(&here, &mut |_| Flow::Continue).unwrap().train_images(), 2);
    // It is asked for again, and is waited for then.
    assert!(matches!(loader.load(&away, &mut |_| Flow::Stop), Err(DatasetError::GivenUp)));
    assert_eq!(loader.left.len(), 1);
}

#[test]
fn a_data_set_that_was_given_up_is_prepared_all_the_same_and_found_by_the_next_who_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, cache_dir) = (folder.path().join("pictures"), folder.path().join("cache"));
    fs::create_dir_all(&cache_dir).unwrap();
    fs::create_dir_all(&pictures).unwrap();
    for name in ["cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"] {
        fs::write(pictures.join(name), PICTURE).unwrap();
    }
    let spec =
        DatasetSpec { path: pictures, image_size: 8, val_fraction: 0.5, split_seed: 0, val_path: None };
    let held = hold(&spec, &cache_dir);
    let mut loader = DatasetLoader::new(Device::Cpu, cache_dir, false);
    let given_up = loader.load(&spec, &mut |_| Flow::Stop);
    assert!(matches!(given_up, Err(DatasetError::GivenUp)));
    drop(held);
    let left = loader.left.first().expect("it is still being prepared");
    let packed = left.wait(Duration::from_secs(60)).expect("within a minute").unwrap();
    let again = loader.load(&spec, &mut |_| Flow::Continue).unwrap();
    assert_eq!(again.summary().content_hash, packed.content_hash());
}

#[test]
fn another_pack_of_the_same_pictures_brings_its_own_images() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, cache_dir) = (folder.path().join("pictures"), folder.path().join("cache"));
    fs::create_dir_all(&pictures).unwrap();
    for name in ["cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"] {
        fs::write(pictures.join(name), PICTURE).unwrap();
    }
    let spec = |path: &Path| DatasetSpec {
        path: path.to_owned(),
        image_size: 8,
        val_fraction: 0.5,
        split_seed: 0,
        val_path: None,
    };
    let mut loader = DatasetLoader::new(Device::Cpu, cache_dir.clone(), false);
    let first = loader.load(&spec(&pictures), &mut |_| Flow::Continue).unwrap();
    let again = loader.load(&spec(&pictures), &mut |_| Flow::Continue).unwrap();
    assert!(Rc::ptr_eq(&first.pixels, &again.pixels), "the same pack stays where it is");

    // As of a version that decoded otherwise, and wrote no hash of the images.
    let entries = fs::read_dir(cache_dir).unwrap().map(|entry| entry.unwrap().path());
    let pack =
        entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "safetensors")).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    let key = bytes.windows(11).position(|found| found == b"pixels_hash").unwrap();
    bytes[key] = b'P';
    let labels = bytes.len() - 4;
    bytes[labels - 4 * 192..labels].fill(255);
    let other = folder.path().join("other.safetensors");
    fs::write(&other, bytes).unwrap();
    let second = loader.load(&spec(&other), &mut |_| Flow::Continue).unwrap();
    assert_eq!(second.summary().content_hash, first.summary().content_hash);
    let mean = |data: &TrainingData| {
        let (images, _) = data.batch(&Tensor::from_slice(&[0_i64, 1, 2, 3])).unwrap();
        f64::try_from(images.mean(Kind::Double)).unwrap()
    };
    assert!(mean(&second) > mean(&first));
}
