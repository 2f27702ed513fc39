//! The loader: what becomes of a data set that nobody waits for any more.

use std::fs::{self, File};

use super::*;

/// Eight grey lines, as PNG.
const PICTURE: &[u8] =
    b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x08\x00\x00\x00\x08\x08\x00\x00\x00\x00\xe1d\
    \xe1W\x00\x00\x00#IDATx\xdac`\x80\x01\x0d(`\x08\x80\x02\x86\x0a(`X\x00\x05\x0c'\xa0\x80\xe1\x03\x140\
    H@\x01\x00\xef\xe6\x1b\x01\x0b\x07\xfb\xda\x00\x00\x00\x00IEND\xaeB`\x82";

#[test]
fn a_data_set_that_was_given_up_is_prepared_all_the_same_and_found_by_the_next_who_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, cache_dir) = (folder.path().join("pictures"), folder.path().join("cache"));
    fs::create_dir_all(&cache_dir).unwrap();
    fs::create_dir_all(&pictures).unwrap();
    for name in ["cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"] {
        fs::write(pictures.join(name), PICTURE).unwrap();
    }
    // As another process that packs: nothing goes on before it has ended.
    let held = File::create(cache_dir.join("lock")).unwrap();
    held.lock().unwrap();
    let spec =
        DatasetSpec { path: pictures, image_size: 8, val_fraction: 0.5, split_seed: 0, val_path: None };
    let mut loader = DatasetLoader::new(Device::Cpu, cache_dir, false);
    let given_up = loader.load(&spec, &mut |_| Flow::Stop);
    assert!(matches!(given_up, Err(DatasetError::GivenUp)));
    drop(held);
    let left = loader.left.as_ref().expect("it is still being prepared");
    let packed = left.wait(Duration::from_secs(60)).expect("within a minute").unwrap();
    let again = loader.load(&spec, &mut |_| Flow::Continue).unwrap();
    assert_eq!(again.summary().content_hash, packed.content_hash());
}
