//! A folder that was kept is found again as it was, and no other bytes are believed.

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::LazyLock,
};

use proptest::prelude::*;

use super::{
    archive::{Facts, Refusal, pack, unpack},
    shelf::{Found, Shelf},
};
use crate::metrics::{Metrics, Number, tally::EpochRecord};

fn record(epoch: u32) -> EpochRecord {
    let metrics = Metrics::from([("loss".to_owned(), Number(0.1 * f64::from(epoch)))]);
    EpochRecord { epoch, number: f64::from(epoch), metrics, seconds: 1.5 }
}

fn facts() -> Facts {
    facts_with(vec![record(1), record(2)], vec![])
}

fn facts_with(records: Vec<EpochRecord>, reserve: Vec<EpochRecord>) -> Facts {
    Facts { identity: "mine".to_owned(), records, reserve, unreported: 1 }
}

fn packed(folder: &Path, part: Option<&str>) -> (File, Vec<String>) {
    let (mut file, mut left_out) = (tempfile::tempfile().unwrap(), Vec::new());
    pack(folder, part, facts(), file.try_clone().unwrap(), &mut |what| left_out.push(what)).unwrap();
    file.rewind().unwrap();
    (file, left_out)
}

/// A folder with all that may be in one.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let inside = |path: &str| folder.path().join(path);
    fs::create_dir_all(inside("deep/er")).unwrap();
    fs::create_dir(inside("empty")).unwrap();
    fs::write(inside("deep/er/state"), [7; 3000]).unwrap();
    fs::write(inside("run"), "#!/bin/sh").unwrap();
    fs::set_permissions(inside("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("deep/er", inside("latest")).unwrap();
    fs::create_dir(inside(".new-1-2")).unwrap();
    folder
}

#[test]
fn a_folder_comes_out_as_it_went_in() {
    let folder = filled();
    symlink("/etc/passwd", folder.path().join("outside")).unwrap();
    symlink("../x", folder.path().join("up")).unwrap();
    let (mut archive, left_out) = packed(folder.path(), None);
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    let found = tempfile::tempdir().unwrap();
    assert_eq!(unpack(&mut archive, "mine", found.path()).unwrap(), facts());
    let inside = |path: &str| found.path().join(path);
    assert_eq!(fs::read(inside("latest/state")).unwrap(), [7; 3000]);
    assert!(inside("empty").is_dir() && !inside("outside").exists() && !inside(".new-1-2").exists());
    assert_eq!(fs::metadata(inside("run")).unwrap().permissions().mode() & 0o100, 0o100);
    let other = tempfile::tempdir().unwrap();
    assert!(matches!(unpack(&mut rewound(archive), "other", other.path()), Err(Refusal::Foreign)));
}

#[test]
fn what_takes_the_place_of_a_file_while_it_is_kept_is_neither_waited_for_nor_followed() {
    for other in ["pipe", "link"] {
        let folder = filled();
        let state = folder.path().join("run");
        // Said when the file was seen already.
        symlink("../x", folder.path().join("up")).unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut replace = |_| {
                fs::remove_file(&state).unwrap();
                match other {
                    "pipe" => {
                        assert!(std::process::Command::new("mkfifo").arg(&state).status().unwrap().success());
                    }
                    _ => symlink("/etc/passwd", &state).unwrap(),
                }
            };
            let kept = pack(folder.path(), None, facts(), tempfile::tempfile().unwrap(), &mut replace);
            let _ = done.send(kept.map_err(|error| error.to_string()));
        });
        let kept = ended.recv_timeout(std::time::Duration::from_secs(20));
        assert!(kept.unwrap_or_else(|_| panic!("a {other} is waited for")).is_err());
    }
}

fn rewound(mut file: File) -> File {
    file.rewind().unwrap();
    file
}

#[test]
fn a_part_of_a_folder_is_kept_by_itself() {
    let (mut archive, _) = packed(filled().path(), Some("deep"));
    let found = tempfile::tempdir().unwrap();
    unpack(&mut archive, "mine", found.path()).unwrap();
    assert!(found.path().join("deep/er/state").exists() && !found.path().join("run").exists());
}

#[test]
fn the_furthest_whole_one_is_found_and_two_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(place.path().to_str().unwrap()).unwrap();
    let work = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        fs::write(work.path().join("state"), format!("{number}")).unwrap();
        shelf.write("1-9/3", &format!("{number:010}"), packed(work.path(), None).0).unwrap();
        shelf.write_tail("1-9/3", &format!("{number:010}"), &Some(record(3))).unwrap();
    }
    let names = || {
        let mut names: Vec<_> = fs::read_dir(place.path().join("1-9/3"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(),
        ["0000000002.checkpoint", "0000000002.tail", "0000000003.checkpoint", "0000000003.tail"]
    );
    let read = || {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("checkpoints");
        fs::create_dir(&folder).unwrap();
        let found = shelf.read("1-9/3", "mine", &folder).unwrap();
        found.map(|found| (fs::read_to_string(folder.join("state")).unwrap(), found.reserve))
    };
    assert_eq!(read(), Some(("3".to_owned(), vec![record(3)])));
    let tail = place.path().join("1-9/3/0000000003.tail");
    fs::write(&tail, &fs::read(&tail).unwrap()[..80]).unwrap();
    assert_eq!(read(), Some(("3".to_owned(), vec![])));
    fs::write(place.path().join("1-9/3/0000000003.checkpoint"), "torn").unwrap();
    assert_eq!(read(), Some(("2".to_owned(), vec![record(3)])));
    shelf.remove("1-9/3").unwrap();
    assert_eq!(read(), None);
}

/// A place with checkpoints of these numbers, of which some are settled.
fn shelf(numbers: &[u32], settled: &[u32]) -> (tempfile::TempDir, Shelf) {
    let (place, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shelf = Shelf::open(place.path().to_str().unwrap()).unwrap();
    for number in numbers {
        let name = format!("{number:010}");
        shelf.write("1-9/3", &name, packed(work.path(), None).0).unwrap();
        if settled.contains(number) {
            shelf.write_tail("1-9/3", &name, &None).unwrap();
        }
    }
    (place, shelf)
}

fn checkpoints(place: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(place.path().join("1-9/3")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".checkpoint"));
    names.sort();
    names
}

#[test]
fn what_a_killed_process_had_begun_to_write_does_not_stay() {
    let (place, shelf) = shelf(&[1], &[]);
    let inside = |name: &str| place.path().join("1-9/3").join(name);
    let begun = ["0000000002.checkpoint#1", "0000000001.tail#12", "notes#1", "0000000002.checkpoint#x"];
    for (number, name) in begun.into_iter().enumerate() {
        let file = File::create(inside(name)).unwrap();
        if number > 0 {
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
    }
    let work = tempfile::tempdir().unwrap();
    shelf.read("1-9/3", "mine", work.path()).unwrap();
    let left = begun.map(|name| inside(name).exists());
    assert_eq!(left, [true, false, true, true], "the first may be written just now");
    shelf.remove("1-9/3").unwrap();
    let left = begun.map(|name| inside(name).exists());
    assert_eq!(left, [false, false, true, true]);
}

#[test]
fn the_newest_settled_one_is_kept_however_many_come_after_it() {
    let (place, shelf) = shelf(&[1, 2, 3, 4, 5], &[1, 2]);
    assert_eq!(checkpoints(&place), [2, 4, 5].map(|number| format!("{number:010}.checkpoint")));
    shelf.remove_unsettled("1-9/3").unwrap();
    assert_eq!(checkpoints(&place), ["0000000002.checkpoint"]);
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("checkpoints");
    fs::create_dir(&folder).unwrap();
    assert!(shelf.read("1-9/3", "mine", &folder).unwrap().unwrap().is_settled);
}

fn read(shelf: &Shelf) -> Option<Found> {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("checkpoints");
    fs::create_dir(&folder).unwrap();
    shelf.read("1-9/3", "mine", &folder).unwrap()
}

/// Writes checkpoints of this attempt, by how far they are.
fn write(shelf: &Shelf, attempt: u32, epochs: &[u32]) {
    let work = tempfile::tempdir().unwrap();
    for epoch in epochs {
        let name = format!("{epoch:010}-{attempt:010}-{epoch:010}");
        shelf.write("1-9/3", &name, packed(work.path(), None).0).unwrap();
    }
}

#[test]
fn what_an_attempt_refused_gives_way_to_what_it_writes() {
    let (place, shelf) = shelf(&[], &[]);
    write(&shelf, 1, &[8, 9]);
    for name in checkpoints(&place) {
        fs::write(place.path().join("1-9/3").join(name), "corrupt").unwrap();
    }
    assert!(read(&shelf).is_none());
    assert_eq!(checkpoints(&place).len(), 2, "nothing is removed before there is something better");
    write(&shelf, 2, &[1]);
    assert_eq!(checkpoints(&place), ["0000000001-0000000002-0000000001.checkpoint"]);
    write(&shelf, 2, &[2, 3]);
    assert_eq!(checkpoints(&place).len(), 2);
    assert!(read(&shelf).is_some());
}

#[test]
fn an_attempt_that_had_to_start_over_keeps_its_own_next_to_those_that_are_further() {
    let (place, shelf) = shelf(&[], &[]);
    write(&shelf, 1, &[8, 9]);
    // It could not read them at the time.
    write(&shelf, 2, &[1, 2, 3]);
    let kept = |names: &[(u32, u32)]| {
        let name =
            |(epoch, attempt): &(u32, u32)| format!("{epoch:010}-{attempt:010}-{epoch:010}.checkpoint");
        assert_eq!(checkpoints(&place), names.iter().map(name).collect::<Vec<_>>());
    };
    kept(&[(2, 2), (3, 2), (8, 1), (9, 1)]);
    write(&shelf, 2, &[9, 10]);
    kept(&[(9, 2), (10, 2)]);
}

#[test]
fn what_was_reported_later_replaces_what_was_in_reserve() {
    let found = |reserve: &[u32], tail: Option<Option<u32>>| {
        let reserve = reserve.iter().copied().map(record).collect();
        let found = Found::new(facts_with(vec![record(1)], reserve), tail.map(|tail| tail.map(record)));
        (found.reserve.iter().map(|record| record.epoch).collect::<Vec<_>>(), found.is_settled)
    };
    assert_eq!(found(&[2], None), (vec![2], false));
    assert_eq!(found(&[2], Some(None)), (vec![2], true));
    assert_eq!(found(&[2], Some(Some(2))), (vec![2], true));
    assert_eq!(found(&[2], Some(Some(3))), (vec![2, 3], true));
}

#[test]
fn a_checkpoint_before_the_first_report_is_used_where_others_came_before_it() {
    for (unreported, tail, is_used) in [(1, None, false), (2, None, true), (1, Some(None), true)] {
        let facts = Facts { unreported, ..facts_with(vec![], vec![]) };
        assert_eq!(Found::new(facts, tail).can_be_used(), is_used, "{unreported}");
    }
}

#[test]
fn a_place_that_cannot_be_is_named() {
    for (place, part) in [
        ("/dev/null/checkpoints", "writable"),
        ("ftp://host/folder", "s3://bucket/folder"),
        ("file://relative", "absolute"),
    ] {
        let error = Shelf::open(place).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(part), "{error}");
    }
}

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    packed(filled().path(), None).0.read_to_end(&mut bytes).unwrap();
    bytes
});

fn read_bytes(bytes: &[u8]) -> Result<Facts, Refusal> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    unpack(&mut file, "mine", tempfile::tempdir().unwrap().path())
}

/// An archive whose hash is right, with this header.
fn forged(header: &serde_json::Value) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = b"sweep program checkpoint 1\n".to_vec();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(b"content");
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend(hash);
    bytes
}

#[test]
fn names_that_lead_elsewhere_are_refused_even_where_the_hash_is_right() {
    let with = |entries: serde_json::Value| {
        read_bytes(&forged(
            &serde_json::json!({"facts": {"identity": "mine", "records": []}, "entries": entries}),
        ))
    };
    let file = |path: &[&str]| serde_json::json!([{"path": path, "kind": {"file": {"bytes": 7, "is_executable": false}}}]);
    assert!(with(file(&["a"])).is_ok());
    for path in [&["..", "a"][..], &["/etc/x"], &["a/../../b"], &[], &[""], &["."]] {
        assert!(matches!(with(file(path)), Err(Refusal::Corrupted(_))), "{path:?}");
    }
    let link = serde_json::json!([{"path": ["a"], "kind": {"link": {"to": ["..", "x"]}}}]);
    assert!(matches!(with(link), Err(Refusal::Corrupted(_))));
    let long =
        serde_json::json!([{"path": ["a"], "kind": {"file": {"bytes": u64::MAX, "is_executable": false}}}]);
    assert!(matches!(with(long), Err(Refusal::Corrupted(_))));
}

proptest! {
    #[test]
    fn no_other_bytes_are_believed(at in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
        let mut bytes = WHOLE.clone();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        prop_assert!(read_bytes(&bytes).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_bytes(&bytes).is_err());
    }
}
