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
    let wanted = vec![piece(&first, 0, 0), piece(b"", 0, 0), piece(&second, 0, 0)];
    let pieces = artifacts.contents(wanted).await.unwrap();
    let lengths: Vec<usize> = pieces.iter().map(|piece| piece.data.len()).collect();
    assert_eq!(lengths, [700_000, 0, (1 << 20) - 700_000]);
    let rest = artifacts.contents(vec![piece(&second, lengths[2], lengths[2])]).await.unwrap();
    assert_eq!([&pieces[2].data[..], &rest[0].data].concat(), second);
    let unknown = artifacts.contents(vec![piece(b"unknown", 0, 0)]).await;
    assert!(matches!(unknown, Err(ArtifactError::NoContent(_))), "{unknown:?}");
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
    assert!(matches!(artifacts.put_contents(vec![too_long]).await, Err(ArtifactError::Piece)));
    let too_many = vec![piece(b"x", 0, 1); SNAPSHOT_PIECES_MAX + 1];
    assert!(matches!(artifacts.put_contents(too_many).await, Err(ArtifactError::Piece)));
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
