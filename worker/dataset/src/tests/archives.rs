//! Archives whose names are not what they should be.

use super::*;

/// The entries of a plain archive.
fn entries() -> Vec<(String, Vec<u8>)> {
    pictures().into_iter().map(|(class, name, bytes)| (format!("{class}/{name}"), bytes)).collect()
}

#[test]
fn an_archive_with_one_name_twice_is_refused_by_that_name() {
    let world = World::new();
    for alike in ["./dog/dog.0.jpg", "dog\\dog.0.jpg"] {
        let mut entries = entries();
        entries.push((alike.to_owned(), jpeg([9; 3])));
        let error = world.prepare(&world.zip("alike.zip", &entries)).unwrap_err();
        assert!(matches!(error, DataError::Archive { .. }), "{error:?}");
        assert!(error.to_string().contains("dog/dog.0.jpg more than once"), "{error}");
    }
    // To the byte alike: no writer makes them, so the name is changed by hand; with something in front of the archive, too.
    let mut entries = entries();
    entries.push(("dog/dog.1.jpg".to_owned(), jpeg([9; 3])));
    let mut bytes = fs::read(world.zip("twice.zip", &entries)).unwrap();
    let name = b"dog/dog.1.jpg";
    let places: Vec<usize> =
        bytes.windows(name.len()).enumerate().filter(|(_, found)| found == name).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 2);
    places.into_iter().for_each(|at| bytes[at..at + name.len()].copy_from_slice(b"dog/dog.0.jpg"));
    for front in [&b""[..], b"#!/bin/sh\0"] {
        world.write("twice.zip", &[front, &bytes].concat());
        let error = world.prepare(&world.path("twice.zip")).unwrap_err();
        assert!(error.to_string().contains("dog/dog.0.jpg more than once"), "{error}");
    }
}

#[test]
fn folders_that_are_listed_twice_and_what_systems_left_twice_do_no_harm() {
    let world = World::new();
    let mut entries = entries();
    for name in ["__MACOSX/a.jpg", "./__MACOSX/a.jpg", "cat/a.txt", "cat\\a.txt"] {
        entries.push((name.to_owned(), b"x".to_vec()));
    }
    assert_eq!(world.prepare(&world.zip("set.zip", &entries)).unwrap().len(), 3);
}

#[test]
fn names_that_are_no_utf8_are_the_folders_in_an_archive() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let world = World::new();
    let folder = world.path("set");
    let mut archived = Vec::new();
    for (number, name) in
        [&b"ch\xe2t/1.jpg"[..], "châ/1.jpg".as_bytes(), b"dog/\xe9t\xe9.jpg"].into_iter().enumerate()
    {
        let bytes = jpeg([number as u8 * 30; 3]);
        let path = folder.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        // A name of the same length, and then the bytes that `zip` would have written, in no code page.
        let stand_in: String = (0..name.len())
            .map(|at| if name[at] == b'/' { '/' } else { (b'A' + number as u8) as char })
            .collect();
        archived.push((stand_in, name, bytes));
    }
    let plain: Vec<_> = archived.iter().map(|(name, _, bytes)| (name.clone(), bytes.clone())).collect();
    let mut bytes = fs::read(world.zip("set.zip", &plain)).unwrap();
    for (stand_in, name, _) in &archived {
        let stand_in = stand_in.as_bytes();
        let places: Vec<usize> = bytes
            .windows(stand_in.len())
            .enumerate()
            .filter(|(_, found)| *found == stand_in)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len(), 2);
        places.into_iter().for_each(|at| bytes[at..at + name.len()].copy_from_slice(name));
    }
    world.write("set.zip", &bytes);
    let (folder, archive) = (world.prepare(&folder).unwrap(), world.prepare(&world.path("set.zip")).unwrap());
    assert_eq!(folder.classes(), archive.classes());
    assert_eq!(folder.content_hash(), archive.content_hash());
}
