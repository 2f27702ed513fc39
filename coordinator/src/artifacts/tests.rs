//! Files come in piece by piece, whole or not at all.

use std::{collections::BTreeSet, fs, time::SystemTime};

use futures_util::TryStreamExt;

use super::{
    parts::{ABANDONED_AFTER, PARTS_MAX},
    *,
};

const NAME: &str = "1-9/3-1-abc.safetensors";

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place * 31 % 251) as u8).collect()
}

fn described(content: &[u8]) -> WeightsFile {
    WeightsFile { bytes: content.len() as u64, blake3: blake3::hash(content).to_hex().to_string() }
}

fn artifacts() -> (tempfile::TempDir, Artifacts) {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    (folder, artifacts)
}

async fn take(artifacts: &Artifacts, file: &WeightsFile, offset: u64, data: &[u8]) -> Taken {
    artifacts.take(NAME, file, offset, data.to_vec()).await.unwrap()
}

async fn all(artifacts: &Artifacts, offset: u64) -> Vec<u8> {
    let pieces: Vec<Vec<u8>> = artifacts.read(NAME, offset).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

#[tokio::test]
async fn a_file_is_there_once_all_its_pieces_came_whatever_came_twice_or_too_early() {
    let (folder, artifacts) = artifacts();
    let content = content(3_000);
    let file = described(&content);
    assert_eq!(take(&artifacts, &file, 0, &[]).await, Taken::UpTo(0));
    assert_eq!(take(&artifacts, &file, 1_000, &content[1_000..2_000]).await, Taken::UpTo(0), "too early");
    assert_eq!(take(&artifacts, &file, 0, &content[..1_000]).await, Taken::UpTo(1_000));
    assert_eq!(take(&artifacts, &file, 0, &content[..1_000]).await, Taken::UpTo(1_000), "twice");
    // Another process goes on.
    let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(take(&artifacts, &file, 0, &[]).await, Taken::UpTo(1_000));
    assert_eq!(take(&artifacts, &file, 1_000, &content[1_000..]).await, Taken::Whole);
    assert!(artifacts.read(NAME, 0).await.is_err(), "not before it is checked");
    assert_eq!(artifacts.keep(NAME, &file, async { 7 }).await.unwrap(), 7);
    assert_eq!(all(&artifacts, 0).await, content);
    assert_eq!(all(&artifacts, 2_500).await, content[2_500..]);
    artifacts.remove(NAME).await.unwrap();
    artifacts.remove(NAME).await.unwrap();
    assert!(artifacts.read(NAME, 0).await.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the place of what comes in");
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_given_up() {
    let (_folder, artifacts) = artifacts();
    let file = described(&content(10));
    assert_eq!(take(&artifacts, &file, 0, &[1; 10]).await, Taken::Whole);
    let kept = artifacts.keep(NAME, &file, async { panic!("it is not recorded") }).await;
    assert!(matches!(kept, Err(ArtifactError::Corrupt)), "{kept:?}");
    assert_eq!(take(&artifacts, &file, 0, &[]).await, Taken::UpTo(0), "it begins again");
    for (offset, bytes) in [(5, 6), (u64::MAX, 1), (0, PIECE_BYTES_MAX + 1)] {
        let refused = artifacts.take(NAME, &file, offset, vec![0; bytes]).await;
        assert!(matches!(refused, Err(ArtifactError::Piece)), "{refused:?}");
    }
}

/// A disk of 5 MiB.
fn little(folder: &Path) -> io::Result<u64> {
    let mut used = 0;
    for entry in fs::read_dir(folder)? {
        used += entry?.metadata()?.len();
    }
    Ok((5_u64 << 20).saturating_sub(used))
}

#[tokio::test]
async fn files_that_come_in_together_leave_the_room_that_records_need() {
    let folder = tempfile::tempdir().unwrap();
    let (_elsewhere, mut artifacts) = artifacts();
    let staging = parts::Staging::NextTo(folder.path().to_owned());
    artifacts.parts = Arc::new(Parts::on_disk(staging, little));
    // Each has room, but not both.
    let file = WeightsFile { bytes: 2 << 20, blake3: String::new() };
    let piece = |number: usize| vec![u8::try_from(number).unwrap(); 1 << 20];
    let take = async |number: usize, offset| {
        artifacts.take(&format!("1-9/{number}"), &file, offset, piece(number)).await
    };
    assert_eq!(take(1, 0).await.unwrap(), Taken::UpTo(1 << 20));
    assert_eq!(take(2, 0).await.unwrap(), Taken::UpTo(1 << 20));
    assert_eq!(take(1, 1 << 20).await.unwrap(), Taken::Whole);
    assert!(matches!(take(2, 1 << 20).await, Err(ArtifactError::Full)));
    assert_eq!(little(folder.path()).unwrap(), 3 << 20, "what was there of it has made room");
}

#[tokio::test]
async fn no_more_files_are_begun_than_may_be_on_their_way() {
    let (_folder, artifacts) = artifacts();
    let file = described(&content(10));
    for number in 0..PARTS_MAX {
        artifacts.take(&format!("1-9/{number}"), &file, 0, vec![1]).await.unwrap();
    }
    let refused = artifacts.take(NAME, &file, 0, vec![1]).await;
    assert!(matches!(refused, Err(ArtifactError::TooMany)), "{refused:?}");
    artifacts.take("1-9/0", &file, 1, vec![1]).await.unwrap();
}

#[tokio::test]
async fn a_part_that_no_one_brings_more_of_gives_way_to_a_new_one() {
    let (folder, artifacts) = artifacts();
    let file = described(&content(10));
    let part = |name: &str| folder.path().join(format!("incoming/1-9_{name}.part"));
    for number in 0..PARTS_MAX {
        artifacts.take(&format!("1-9/{number}"), &file, 0, vec![1]).await.unwrap();
    }
    for number in ["1", "2", "3"] {
        let abandoned = File::options().write(true).open(part(number)).unwrap();
        abandoned.set_modified(SystemTime::now() - 2 * ABANDONED_AFTER).unwrap();
    }
    let _busy = artifacts.parts.part("1-9/1").unwrap();
    artifacts.take("1-9/2", &file, 0, Vec::new()).await.unwrap();
    assert_eq!(take(&artifacts, &file, 0, &[1]).await, Taken::UpTo(1));
    let there = ["1", "2", "3"].map(|number| part(number).exists());
    assert_eq!(there, [true, true, false], "a call works on one, and the worker of another lives");
    let refused = artifacts.take("1-9/3", &file, 0, vec![1]).await;
    assert!(matches!(refused, Err(ArtifactError::TooMany)), "{refused:?}");
}

#[tokio::test]
async fn what_came_in_of_a_file_is_removed_with_it_once_no_call_works_on_it() {
    let (folder, artifacts) = artifacts();
    let file = described(&content(10));
    let parts = || fs::read_dir(folder.path().join("incoming")).unwrap().count();
    artifacts.take(NAME, &file, 0, vec![1]).await.unwrap();
    let busy = artifacts.parts.part(NAME).unwrap();
    let mut removing = std::pin::pin!(artifacts.remove(NAME));
    assert!(futures_util::poll!(&mut removing).is_pending());
    assert_eq!(parts(), 1);
    drop(busy);
    removing.await.unwrap();
    assert_eq!(parts(), 0);
}

#[tokio::test]
async fn a_cloud_takes_files_though_the_temporary_folder_was_removed() {
    let artifacts = Artifacts::open("memory:///").unwrap();
    let content = content(10);
    let file = described(&content);
    assert_eq!(take(&artifacts, &file, 0, &content[..4]).await, Taken::UpTo(4));
    let path = artifacts.parts.part(NAME).unwrap().path().unwrap();
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(take(&artifacts, &file, 4, &content[4..]).await, Taken::UpTo(0), "it begins again");
    assert_eq!(take(&artifacts, &file, 0, &content).await, Taken::Whole);
    artifacts.keep(NAME, &file, async {}).await.unwrap();
    assert_eq!(all(&artifacts, 0).await, content);
}

#[tokio::test]
async fn no_more_calls_work_on_files_at_once_than_a_place_that_hangs_may_hold() {
    let (_folder, artifacts) = artifacts();
    let file = described(&content(10));
    let hanging = artifacts.calls.of(NAME).acquire_many(u32::try_from(CALLS_MAX).unwrap()).await.unwrap();
    let refused = artifacts.take(NAME, &file, 0, vec![1]).await;
    assert!(matches!(refused, Err(ArtifactError::TooMany)), "{refused:?}");
    drop(hanging);
    artifacts.take(NAME, &file, 0, vec![1]).await.unwrap();
}

#[tokio::test]
async fn leftovers_are_what_no_record_tells_of_in_ones_own_folders() {
    let (folder, artifacts) = artifacts();
    let file = described(&content(4));
    let names = ["1-9/kept", "1-9/left", "2-9/left", "1-8/others"];
    for name in names {
        artifacts.take(name, &file, 0, content(4)).await.unwrap();
        artifacts.keep(name, &file, async {}).await.unwrap();
    }
    for name in ["1-9/awaited", "1-9/forgotten", "1-8/others"] {
        artifacts.take(name, &file, 0, vec![0]).await.unwrap();
    }
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let known = WeightsNames {
        kept: set(&["1-9/kept"]),
        awaited: set(&["1-9/awaited"]),
        folders: set(&["1-9", "2-9"]),
        snapshots: BTreeSet::new(),
    };
    assert_eq!(artifacts.remove_leftovers(async { Some(known) }).await.unwrap(), 3);
    let there = |name: &str| folder.path().join(name).exists();
    assert_eq!(names.map(there), [true, false, false, true]);
    assert!(there("incoming/1-9_awaited.part") && there("incoming/1-8_others.part"));
    assert!(!there("incoming/1-9_forgotten.part"));
}

#[test]
fn places_that_cannot_be_are_named_with_what_can() {
    for location in ["", "ftp://host/folder", "file://relative"] {
        let error = Artifacts::open(location).unwrap_err().to_string();
        assert!(error.contains("s3://bucket/folder"), "{location}: {error}");
    }
    let error = Artifacts::open("/dev/null/x").unwrap_err().to_string();
    assert!(error.contains("/dev/null/x") && error.contains("--artifacts"), "{error}");
    assert_eq!(default_location("sqlite:a/sweep.db").as_deref(), Some("a/sweep.db-artifacts"));
    assert_eq!(default_location("postgres://x"), None);
}
