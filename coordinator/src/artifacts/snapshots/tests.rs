//! Files of sweeps are kept once, whole and only as long as they are needed.

use std::{fs, path::Path, time::UNIX_EPOCH};

use terms::snapshot::SnapshotFile;

use super::*;

fn open(folder: &Path) -> Artifacts {
    Artifacts::open(folder.to_str().unwrap()).unwrap()
}

fn manifest(files: &[(&str, &[u8])]) -> SnapshotManifest {
    let file = |(path, content): &(&str, &[u8])| SnapshotFile {
        path: (*path).to_owned(),
        executable: false,
        bytes: content.len() as u64,
        blake3: ContentHash::of(content),
    };
    SnapshotManifest::new(files.iter().map(file).collect()).unwrap()
}

fn piece(content: &[u8], offset: usize, end: usize) -> Piece {
    Piece {
        content: ContentHash::of(content),
        bytes: content.len() as u64,
        offset: offset as u64,
        data: content[offset..end].to_vec(),
    }
}

async fn put(artifacts: &Artifacts, piece: Piece) -> Taken {
    artifacts.put_contents(vec![piece]).await.unwrap()[0]
}

fn make_old(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_old(&path);
        } else {
            fs::File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_kept_once_all_contents_are_there_and_each_is_asked_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let long: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
    let snapshot =
        manifest(&[("train.py", b"print()"), ("again.py", b"print()"), ("empty", b""), ("table", &long)]);
    let missing = artifacts.put_snapshot(&snapshot).await.unwrap();
    assert_eq!(missing.len(), 3, "two files have the same content");
    let small = artifacts.put_contents(vec![piece(b"print()", 0, 7), piece(b"", 0, 0)]).await.unwrap();
    assert_eq!(small, [Taken::Whole, Taken::Whole]);
    assert_eq!(put(&artifacts, piece(&long, 0, 1 << 20)).await, Taken::UpTo(1 << 20));
    // Another process goes on where this one was.
    let artifacts = open(folder.path());
    assert_eq!(artifacts.put_snapshot(&snapshot).await.unwrap(), [ContentHash::of(&long)]);
    assert_eq!(put(&artifacts, piece(&long, 0, 0)).await, Taken::UpTo(1 << 20), "an empty piece asks");
    assert_eq!(
        put(&artifacts, piece(&long, 7, 8)).await,
        Taken::UpTo(1 << 20),
        "what does not belong there is left out"
    );
    assert_eq!(put(&artifacts, piece(&long, 1 << 20, 2 << 20)).await, Taken::UpTo(2 << 20));
    assert!(matches!(artifacts.hold_snapshot(snapshot.id()).await, Err(ArtifactError::NoSnapshot(_))));
    assert_eq!(put(&artifacts, piece(&long, 2 << 20, long.len())).await, Taken::Whole);
    assert_eq!(artifacts.put_snapshot(&snapshot).await.unwrap(), []);
    assert!(artifacts.hold_snapshot(snapshot.id()).await.is_ok());
    assert_eq!(artifacts.snapshot(snapshot.id()).await.unwrap(), snapshot);
    // The second sweep with these contents sends nothing.
    let other = manifest(&[("other.py", b"print()"), ("table.csv", &long)]);
    assert_eq!(artifacts.put_snapshot(&other).await.unwrap(), []);
}

#[tokio::test]
async fn contents_are_read_in_pieces_that_have_room_together() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let (first, second) = (vec![1; 700_000], vec![2; 700_000]);
    for content in [&first, &second] {
        assert_eq!(put(&artifacts, piece(content, 0, content.len())).await, Taken::Whole);
    }
    assert_eq!(put(&artifacts, piece(b"", 0, 0)).await, Taken::Whole);
    let wanted = vec![piece(&first, 0, 0), piece(b"", 0, 0), piece(&second, 0, 0)];
    let pieces = artifacts.contents(wanted).await.unwrap();
    let lengths: Vec<usize> = pieces.iter().map(|piece| piece.data.len()).collect();
    assert_eq!(lengths, [700_000, 0, (1 << 20) - 700_000]);
    let rest = artifacts.contents(vec![piece(&second, lengths[2], lengths[2])]).await.unwrap();
    assert_eq!([&pieces[2].data[..], &rest[0].data].concat(), second);
    let unknown = artifacts.contents(vec![piece(b"unknown", 0, 0)]).await;
    assert!(matches!(unknown, Err(ArtifactError::NoContent(_))), "{unknown:?}");
    let unknown = artifacts.contents(vec![Piece { bytes: 0, ..piece(b"unknown", 0, 0) }]).await;
    assert!(matches!(unknown, Err(ArtifactError::NoContent(_))), "{unknown:?}");
}

#[tokio::test]
async fn a_content_that_is_asked_for_with_another_length_is_the_askers_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let content = vec![1; 1_000];
    put(&artifacts, piece(&content, 0, 1_000)).await;
    put(&artifacts, piece(b"", 0, 0)).await;
    for (bytes, offset) in
        [(999, 0), (1_001, 0), (1_001, 1_000), (5_000, 3_000), (u64::MAX, 1 << 60), (0, 0), (7, 7)]
    {
        let asked = artifacts.contents(vec![Piece { bytes, offset, ..piece(&content, 0, 0) }]).await;
        assert!(matches!(asked, Err(ArtifactError::Length(_))), "{bytes} from {offset}: {asked:?}");
    }
    let asked = artifacts.contents(vec![Piece { offset: 1_001, ..piece(&content, 0, 0) }]).await;
    assert!(matches!(asked, Err(ArtifactError::Beyond(_))), "{asked:?}");
    let asked = artifacts.contents(vec![Piece { bytes: 5, ..piece(b"", 0, 0) }]).await;
    assert!(matches!(asked, Err(ArtifactError::Length(_))), "{asked:?}");
    let all = artifacts.contents(vec![Piece { offset: 1_000, ..piece(&content, 0, 0) }]).await.unwrap();
    assert_eq!(all[0].data, b"");
}

#[tokio::test]
async fn what_is_not_what_it_says_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let corrupt = Piece { data: b"brint()".to_vec(), ..piece(b"print()", 0, 7) };
    assert!(matches!(artifacts.put_contents(vec![corrupt]).await, Err(ArtifactError::Corrupt)));
    let long = vec![3; 1_500_000];
    put(&artifacts, Piece { data: vec![4; 1 << 20], ..piece(&long, 0, 0) }).await;
    let end = artifacts.put_contents(vec![piece(&long, 1 << 20, long.len())]).await;
    assert!(matches!(end, Err(ArtifactError::Corrupt)), "{end:?}");
    assert_eq!(put(&artifacts, piece(&long, 0, 0)).await, Taken::UpTo(0), "it begins again");
    let too_long = Piece { bytes: SNAPSHOT_FILE_BYTES_MAX + 1, ..piece(b"x", 0, 1) };
    assert!(matches!(artifacts.put_contents(vec![too_long]).await, Err(ArtifactError::TooLong(_))));
    let too_many = vec![piece(b"x", 0, 1); SNAPSHOT_PIECES_MAX + 1];
    assert!(matches!(artifacts.put_contents(too_many).await, Err(ArtifactError::Pieces)));
    put(&artifacts, piece(b"x", 0, 1)).await;
    let lie = Piece { bytes: 2, ..piece(b"x", 0, 1) };
    assert!(matches!(artifacts.put_contents(vec![lie]).await, Err(ArtifactError::Length(_))));
}

#[tokio::test]
async fn what_no_sweep_names_is_removed_once_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let (named, unnamed, of_others) = (
        manifest(&[("a", b"a"), ("b", b"b")]),
        manifest(&[("a", b"a"), ("c", b"c")]),
        manifest(&[("d", b"d")]),
    );
    for content in [b"a", b"b", b"c", b"d", b"e"] {
        put(&artifacts, piece(content, 0, 1)).await;
    }
    for snapshot in [&named, &unnamed, &of_others] {
        assert_eq!(artifacts.put_snapshot(snapshot).await.unwrap(), []);
    }
    artifacts.mark_snapshot(of_others.id()).await.unwrap();
    let names = BTreeSet::from([named.id()]);
    assert_eq!(artifacts.remove_unnamed_snapshots(&names).await.unwrap(), 0, "all of it is young");
    make_old(folder.path());
    let young = manifest(&[("e", b"e")]);
    assert_eq!(artifacts.put_snapshot(&young).await.unwrap(), []);
    assert_eq!(artifacts.remove_unnamed_snapshots(&names).await.unwrap(), 2);
    for snapshot in [&named, &of_others, &young] {
        assert_eq!(artifacts.snapshot(snapshot.id()).await.unwrap(), *snapshot);
        assert_eq!(artifacts.put_snapshot(snapshot).await.unwrap(), []);
    }
    assert!(matches!(artifacts.snapshot(unnamed.id()).await, Err(ArtifactError::NoSnapshot(_))));
    assert_eq!(artifacts.put_snapshot(&unnamed).await.unwrap(), [ContentHash::of(b"c")]);
}

/// Names the folder below which the test that is traced works.
const TRACED: &str = "TRACED_FOLDER";

#[tokio::test]
#[ignore = "run by the test below, traced"]
async fn a_content_that_is_kept_in_a_new_place() {
    let Some(folder) = std::env::var_os(TRACED) else { return };
    let artifacts = open(&Path::new(&folder).join("new/place"));
    assert_eq!(put(&artifacts, piece(b"print()", 0, 7)).await, Taken::Whole);
}

#[test]
fn every_folder_that_is_made_has_a_name_that_survives_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let name = "artifacts::snapshots::tests::a_content_that_is_kept_in_a_new_place";
    let ran = std::process::Command::new("strace")
        .args(["-f", "-y", "-e", "trace=mkdir,mkdirat,fsync", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--test-threads=1"])
        .env(TRACED, folder.path())
        .output();
    let Some(ran) = ran.ok().filter(|ran| ran.status.success()) else {
        terminal::say!("strace is not there or may not be used, so power cuts are not tested");
        return;
    };
    let text = fs::read_to_string(&trace).unwrap();
    // The paths of successful calls by their place in the trace.
    let calls = |call: &str, open: char, close: char| -> Vec<(usize, String)> {
        let path = |line: &str| {
            let (_, rest) = line.split_once(call).filter(|_| line.contains("= 0"))?;
            let (path, _) = rest.split_once(open)?.1.split_once(close)?;
            path.starts_with(folder.path().to_str()?).then(|| path.to_owned())
        };
        text.lines().enumerate().filter_map(|(place, line)| Some((place, path(line)?))).collect()
    };
    let (made, synced) = (calls("mkdir", '"', '"'), calls("fsync(", '<', '>'));
    assert!(made.len() >= 5, "{}: {text}", String::from_utf8_lossy(&ran.stdout));
    for (place, made) in made {
        let above = Path::new(&made).parent().unwrap();
        let is_synced = synced.iter().any(|(later, synced)| *later > place && Path::new(synced) == above);
        assert!(is_synced, "the name of {made} is not synced: {text}");
    }
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_keeps_only_what_it_may_name_from_being_removed() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let (corrupt, old, marked) =
        (manifest(&[("a", b"a")]), manifest(&[("b", b"b")]), manifest(&[("c", b"c"), ("d", b"d")]));
    for content in [b"a", b"b", b"c", b"d"] {
        put(&artifacts, piece(content, 0, 1)).await;
    }
    for snapshot in [&corrupt, &old, &marked] {
        assert_eq!(artifacts.put_snapshot(snapshot).await.unwrap(), []);
    }
    artifacts.mark_snapshot(corrupt.id()).await.unwrap();
    artifacts.mark_snapshot(marked.id()).await.unwrap();
    fs::write(folder.path().join(manifest_name(corrupt.id())), "").unwrap();
    let read = artifacts.snapshot(corrupt.id()).await;
    assert!(matches!(read, Err(ArtifactError::Manifest(_))), "{read:?}");
    // A part of a content that never came to its end, and a file that did not get its name.
    let long = vec![5; 1_500_000];
    put(&artifacts, piece(&long, 0, 1 << 20)).await;
    let unnamed = folder.path().join("incoming/x.new");
    fs::write(&unnamed, "x").unwrap();
    make_old(folder.path());
    let removed = artifacts.remove_unnamed_snapshots(&BTreeSet::new()).await.unwrap();
    assert_eq!(removed, 1, "the manifest that no sweep names");
    assert!(matches!(artifacts.snapshot(old.id()).await, Err(ArtifactError::NoSnapshot(_))));
    assert_eq!(artifacts.snapshot(marked.id()).await.unwrap(), marked);
    assert!(!unnamed.exists());
    assert_eq!(put(&artifacts, piece(&long, 0, 0)).await, Taken::UpTo(0), "the part is gone");
    // Its contents may still be what the corrupt one names.
    assert_eq!(artifacts.put_snapshot(&corrupt).await.unwrap(), [], "it is whole again");
    assert_eq!(artifacts.snapshot(corrupt.id()).await.unwrap(), corrupt);
    make_old(folder.path());
    assert_eq!(artifacts.remove_unnamed_snapshots(&BTreeSet::new()).await.unwrap(), 1, "what b was");
}

#[tokio::test(flavor = "multi_thread")]
async fn tidying_is_not_given_up_because_contents_come_in_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Arc::new(open(folder.path()));
    let coming = {
        let artifacts = Arc::clone(&artifacts);
        tokio::spawn(async move {
            for number in 0..150_u32 {
                assert_eq!(put(&artifacts, piece(&number.to_le_bytes(), 0, 4)).await, Taken::Whole);
            }
        })
    };
    while !coming.is_finished() {
        assert_eq!(artifacts.remove_unnamed_snapshots(&BTreeSet::new()).await.unwrap(), 0);
    }
    coming.await.unwrap();
}
