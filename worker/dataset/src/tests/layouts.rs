//! Folders as they lie around: classes without pictures, validation sets of every kind, and the order of the pictures.

use super::*;

/// Makes a folder of pictures, each another one, of other files, and of empty folders, by the ends of their paths.
fn lay_out(world: &World, root: &str, paths: &[&str]) -> PathBuf {
    for (number, path) in paths.iter().enumerate() {
        match path {
            path if path.ends_with('/') => fs::create_dir_all(world.path(&format!("{root}/{path}"))).unwrap(),
            path => world.write(&format!("{root}/{path}"), &jpeg([number as u8 * 11; 3])),
        }
    }
    world.path(root)
}

#[test]
fn a_class_that_lost_its_pictures_is_missed_though_all_others_lie_in_one_folder() {
    let cats = ["cats/siamese/1.jpg", "cats/siamese/2.jpg", "cats/persian/1.jpg"];
    for dogs in ["dogs/", "dogs/1.gif"] {
        let world = World::new();
        let folder = lay_out(&world, "set", &[&cats[..], &[dogs]].concat());
        // An archive need not list its folders.
        let entries =
            cats.iter().chain([&dogs]).map(|name| ((*name).to_owned(), jpeg([1; 3]))).collect::<Vec<_>>();
        for path in [folder, world.zip("set.zip", &entries)] {
            let error = world.prepare(&path).unwrap_err();
            assert!(matches!(&error, DataError::EmptyClass { class, .. } if class == "dogs"), "{error:?}");
            assert!(error.to_string().contains("remove it"), "{error}");
        }
    }
    // Alone, the leading folder is passed through, whatever systems left next to it.
    let world = World::new();
    let folder = lay_out(&world, "set", &[&cats[..], &["__MACOSX/x/", ".git/", "README"]].concat());
    assert_eq!(world.prepare(&folder).unwrap().classes(), ["persian", "siamese"]);
}

#[test]
fn annotations_next_to_the_folder_of_pictures_are_no_class() {
    // As Food-101, CUB-200, Caltech-101 and sets with their documents are delivered; some archives list the folder itself.
    let images = ["set/images/cat/1.jpg", "set/images/dog/1.jpg", "set/images/dog/2.jpg"];
    let others = [
        "set/meta/classes.txt",
        "set/meta/deep/train.json",
        "set/parts/parts",
        "docs/paper.pdf",
        "set/README",
    ];
    let split = ["set/train/cat/1.jpg", "set/train/dog/1.jpg", "set/val/cat/1.jpg", "set/val/dog/1.jpg"];
    for (pictures, validation) in [(&images[..], false), (&split, true)] {
        let world = World::new();
        let names = [pictures, &others].concat();
        let folder = lay_out(&world, "all", &names);
        let entries = [&["./"], &names[..]]
            .concat()
            .iter()
            .map(|name| ((*name).to_owned(), jpeg([1; 3])))
            .collect::<Vec<_>>();
        for path in [folder, world.zip("all.zip", &entries)] {
            let dataset = world.prepare(&path).unwrap();
            assert_eq!(dataset.classes(), ["cat", "dog"], "{path:?}");
            assert_eq!(dataset.validation().is_some(), validation, "{path:?}");
        }
    }
}

#[test]
fn a_validation_folder_without_pictures_is_no_held_out_share() {
    let train = ["train/cat/1.jpg", "train/dog/1.jpg", "train/dog/2.jpg"];
    for paths in [&["val/"][..], &["val/cat/", "val/dog/"], &["val/cat/1.avif", "val/dog/1.avif"]] {
        let world = World::new();
        let folder = lay_out(&world, "set", &[&train[..], paths].concat());
        let error = world.prepare(&folder).unwrap_err();
        let told = error.to_string();
        assert!(
            matches!(error, DataError::Validation { .. })
                && told.contains(r#"folder "val" holds no pictures"#),
            "{told}"
        );
        assert_eq!(told.contains("2 .avif"), paths[0].ends_with("avif"), "{told}");
        // Next to classes, too.
        let classes = lay_out(&world, "flat", &[&["cat/1.jpg", "dog/1.jpg"], paths].concat());
        assert!(matches!(world.prepare(&classes), Err(DataError::Validation { .. })));
        // Another one may be named in its place.
        let other = lay_out(&world, "other", &["cat/1.jpg", "dog/1.jpg"]);
        let options = PrepareOptions { val_path: Some(other), ..world.options(&folder) };
        assert_eq!(prepare(&options, &|_| {}).unwrap().validation_count(), 2);
    }
}

#[test]
fn a_training_folder_without_pictures_makes_no_training_set_of_the_validation_set() {
    let world = World::new();
    let folder = lay_out(&world, "set", &["train/cat/", "train/dog/1.gif", "val/cat/1.jpg", "val/dog/1.jpg"]);
    let error = world.prepare(&folder).unwrap_err();
    assert!(matches!(&error, DataError::Ambiguous { .. }), "{error}");
    assert!(error.to_string().contains("no training set with pictures"), "{error}");
}

#[test]
fn of_a_named_place_with_several_sets_the_validation_part_is_used() {
    let world = World::new();
    let sets = ["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "val/dog/1.jpg"];
    let set = lay_out(&world, "set", &sets);
    let expected = world.prepare(&set).unwrap();
    let options = PrepareOptions { val_path: Some(set.clone()), ..world.options(&set.join("train")) };
    let packed = prepare(&options, &|_| {}).unwrap();
    assert_eq!((packed.len(), packed.validation_count()), (5, 2));
    assert_eq!(packed.validation(), set.join("val").to_str());
    assert_eq!(packed.content_hash(), expected.content_hash());
    assert_eq!(counts(&packed), []);
    // Named for both, it is what it is anyway.
    let options = PrepareOptions { val_path: Some(set.clone()), ..world.options(&set) };
    assert_eq!(prepare(&options, &|_| {}).unwrap().validation_count(), 2);

    fs::rename(set.join("val"), set.join("test")).unwrap();
    let options = PrepareOptions { val_path: Some(set.clone()), ..world.options(&set.join("train")) };
    let error = prepare(&options, &|_| {}).unwrap_err();
    assert!(matches!(&error, DataError::Ambiguous { path, .. } if *path == set), "{error:?}");
}

#[test]
fn training_pictures_validate_nothing() {
    let world = World::new();
    let set = lay_out(&world, "set", &["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg"]);
    let link = world.path("link");
    std::os::unix::fs::symlink(set.join("train"), &link).unwrap();
    let sub = lay_out(&world, "deep", &["cat/cat/1.jpg", "cat/dog/1.jpg", "dog/1.jpg"]);
    let entries: Vec<_> =
        pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect();
    let zip = world.zip("set.zip", &entries);
    let train = set.join("train");
    for (path, val_path) in
        [(&train, &train), (&train, &set), (&train, &link), (&sub, &sub.join("cat")), (&zip, &zip)]
    {
        let options = PrepareOptions { val_path: Some(val_path.clone()), ..world.options(path) };
        let error = prepare(&options, &|_| {}).unwrap_err();
        assert!(matches!(error, DataError::Validation { .. }), "{error:?}");
        assert!(error.to_string().contains("is a training picture, too"), "{error}");
    }
    // Next to each other they are two sets, though one holds the other's name.
    let next_to_this = lay_out(&world, "set/train-not", &["cat/1.jpg", "dog/1.jpg"]);
    let options = PrepareOptions { val_path: Some(next_to_this), ..world.options(&train) };
    assert_eq!(prepare(&options, &|_| {}).unwrap().validation_count(), 2);
}

#[test]
fn pictures_in_folders_within_classes_have_imagefolders_order() {
    let world = World::new();
    let paths = ["a/b.png", "a/0sub/x.png", "a/x/1.png", "a/x-y/2.png", "a/x/z/3.png", "b/1.png"];
    let folder = lay_out(&world, "set", &paths);
    let source = Source::open(&folder, None, &|_| {}).unwrap();
    let order: Vec<String> = source.pictures.iter().map(|picture| picture.shown()).collect();
    // As `sorted(os.walk(…))` and `sorted(files)` of torchvision have them.
    assert_eq!(order, ["a/b.png", "a/0sub/x.png", "a/x/1.png", "a/x-y/2.png", "a/x/z/3.png", "b/1.png"]);
}

#[test]
fn what_data_sets_are_does_not_change() {
    let world = World::new();
    for (name, bytes) in [("cat/b.png", "1"), ("cat/B.png", "2"), ("dog/10.png", "3"), ("dog/9.png", "4")] {
        world.write(&format!("flat/{name}"), bytes.as_bytes());
        world.write(&format!("nested/x-y/{name}"), bytes.as_bytes());
        world.write(&format!("nested/x/{name}"), bytes.as_bytes());
    }
    let hash = |name: &str| {
        let source = Source::open(&world.path(name), None, &|_| {}).unwrap();
        crate::fingerprint::content_hash(&source, &world.path("memos"), &|_| {}).unwrap()
    };
    assert_eq!(hash("flat"), "42becbbc85b1a029e338f9b279fb9f4f1fc3e5ed69679666b8ec09bdb3607c67");
    assert_eq!(hash("nested"), "9effca65a774143ee066a9ab39d7aebfaecdb8e458c4cd864ac633130e09706a");
}

#[test]
fn paths_that_the_system_does_not_take_are_left_out() {
    let world = World::new();
    let folder = world.image_folder();
    let mut deep =
        rustix::fs::open(&folder, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    // Each lies within what the one before can open; all together are longer than a path may be.
    let name = "n".repeat(200);
    for _ in 0..21 {
        rustix::fs::mkdirat(&deep, name.as_str(), rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        deep = rustix::fs::openat(&deep, name.as_str(), flags, rustix::fs::Mode::empty()).unwrap();
    }
    let source = Source::open(&folder, None, &|_| {});
    let told = source.map(|source| source.left_out.list()).unwrap_err();
    assert!(matches!(told, DataError::EmptyClass { .. }), "{told:?}");
    world.write(&format!("images/{name}/{name}/c.jpg"), &jpeg([1; 3]));
    let packed = world.prepare(&folder).unwrap();
    assert_eq!((packed.len(), counts(&packed)), (4, vec![("too_deep", "", 1)]));
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
fn sets_of_pictures_are_distinguished_from_classes_and_what_is_left_out_is_reported() {
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
