//! Data sets that are away for a moment, and those that were never there.

use super::*;

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
