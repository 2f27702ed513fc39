//! Checkpoints that are handed over, across coordinators, in bounds, and without a trace in the end.

use std::fs::{self, File};

use super::{
    super::parts::PARTS_MAX,
    index::{BYTES_MAX, COUNT_MAX},
    *,
};

fn checkpoint(job: u64, attempt: u32, content: &[u8]) -> Checkpoint {
    let attempt = AttemptKey { job: JobKey { sweep: SweepId(3), job }, attempt };
    let blake3 = blake3::hash(content).to_hex().to_string();
    Checkpoint { folder: "3-1790000000000".to_owned(), attempt, blake3 }
}

async fn hand_over(artifacts: &Artifacts, checkpoint: &Checkpoint, content: &[u8]) -> Taken {
    let bytes = content.len() as u64;
    artifacts.take_checkpoint(checkpoint, bytes, 0, content.to_vec()).await.unwrap()
}

#[tokio::test]
async fn the_last_checkpoint_of_a_job_takes_the_place_of_others_and_is_found_by_the_next_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    let artifacts = open();
    let (first, second, other) =
        (checkpoint(1, 1, b"one"), checkpoint(1, 2, b"two"), checkpoint(11, 1, b"other"));
    let read = async |artifacts: &Artifacts, of: &Checkpoint| {
        artifacts.read_checkpoint(&of.folder, of.attempt, 1).await.unwrap()
    };
    assert_eq!(read(&artifacts, &first).await, None);
    assert_eq!(hand_over(&artifacts, &first, b"one").await, Taken::Whole);
    assert_eq!(hand_over(&artifacts, &other, b"other").await, Taken::Whole);
    assert_eq!(hand_over(&artifacts, &second, b"two").await, Taken::Whole);
    // Again, as after a broken connection.
    assert_eq!(hand_over(&artifacts, &second, b"two").await, Taken::Whole);
    let next = open();
    for artifacts in [&artifacts, &next] {
        let (file, data) = read(artifacts, &first).await.unwrap();
        assert_eq!((file.bytes, file.blake3, data), (3, second.blake3.clone(), b"wo".to_vec()));
        assert_eq!(artifacts.checkpoints().await.unwrap(), [second.clone(), other.clone()]);
    }
    for beyond in [3, u64::MAX] {
        let (file, data) = next.read_checkpoint(&first.folder, first.attempt, beyond).await.unwrap().unwrap();
        assert_eq!((file.bytes, data), (3, Vec::new()), "{beyond}");
    }
    next.remove_checkpoint(&second).await.unwrap();
    next.remove_checkpoint(&other).await.unwrap();
    assert_eq!(read(&next, &first).await, None);
    assert!(!folder.path().join(FOLDER).join(&first.folder).exists());
}

fn some_artifacts() -> (tempfile::TempDir, Artifacts) {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    (folder, artifacts)
}

/// Puts a checkpoint where the coordinator keeps them, as another one does.
fn put(folder: &tempfile::TempDir, checkpoint: &Checkpoint, content: &[u8]) {
    let path = folder.path().join(checkpoint.name());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn there_are_not_more_than_so_many_and_a_job_may_always_bring_its_next_one() {
    let (mut index, now) = (Index::default(), Instant::now());
    for job in 1..=COUNT_MAX as u64 {
        index.arrived(&checkpoint(job, 1, b"x"), 1, SystemTime::now());
    }
    let told = index.expect(&checkpoint(5_000, 1, b"y"), 1, now).unwrap_err();
    assert!(told.contains("1000 checkpoints are kept already"), "{told}");
    assert_eq!(index.expect(&checkpoint(7, 2, b"y"), 1, now), Ok(()));
    let mut index = Index::default();
    index.arrived(&checkpoint(1, 1, b"x"), BYTES_MAX - 5, SystemTime::now());
    assert!(index.expect(&checkpoint(2, 1, b"y"), 6, now).is_err());
    assert_eq!(index.expect(&checkpoint(2, 1, b"y"), 5, now), Ok(()));
}

#[test]
fn what_is_on_its_way_counts_until_it_is_there_or_given_up() {
    let (mut index, now) = (Index::default(), Instant::now());
    let (first, second) = (checkpoint(1, 1, b"x"), checkpoint(2, 1, b"y"));
    let kept = checkpoint(3, 1, b"z");
    index.arrived(&kept, BYTES_MAX - 5, SystemTime::now());
    assert_eq!(index.expect(&first, 3, now), Ok(()));
    assert_eq!(index.expect(&first, 3, now), Ok(()), "its next piece is no other");
    assert!(index.expect(&second, 3, now).unwrap_err().contains("on their way"));
    assert!(index.expect(&second, 3, now + ABANDONED_AFTER / 2).is_err());
    assert_eq!(index.expect(&second, 3, now + ABANDONED_AFTER), Ok(()), "nothing more came of the first");
    index.arrived(&second, 3, SystemTime::now());
    assert!(index.expect(&first, 3, now + ABANDONED_AFTER).is_err());
    index.gone(&second.name());
    assert_eq!(index.expect(&first, 3, now + ABANDONED_AFTER), Ok(()));
}

#[test]
fn announcements_of_one_worker_take_no_room_from_others() {
    let (mut index, now) = (Index::default(), Instant::now());
    let told = index.expect(&checkpoint(1, 1, b"x"), BYTES_MAX, now).unwrap_err();
    assert!(told.contains("a checkpoint has at most"), "{told}");
    // Other contents under other names, of which none comes.
    for content in 0..2 * COUNT_MAX as u64 {
        assert_eq!(index.expect(&checkpoint(1, 1, &content.to_le_bytes()), 1 << 30, now), Ok(()));
    }
    assert_eq!(index.expect(&checkpoint(2, 1, b"y"), 1 << 30, now), Ok(()));
    assert_eq!(index.on_their_way(), 2);
}

#[tokio::test]
async fn what_is_there_is_listed_once_and_again_when_the_coordinator_leads_again() {
    let (folder, artifacts) = some_artifacts();
    let (first, second) = (checkpoint(1, 1, b"one"), checkpoint(1, 2, b"two"));
    let read = async || {
        let found = artifacts.read_checkpoint(&first.folder, second.attempt, 0).await.unwrap();
        found.map(|(_, data)| String::from_utf8(data).unwrap())
    };
    put(&folder, &first, b"one");
    assert_eq!(read().await.as_deref(), Some("one"));
    // Another coordinator leads, and takes the next one.
    put(&folder, &second, b"two");
    assert_eq!(read().await.as_deref(), Some("one"), "no piece lists what is there");
    artifacts.forget_checkpoints();
    assert_eq!(read().await.as_deref(), Some("two"));
    fs::remove_file(folder.path().join(second.name())).unwrap();
    assert_eq!(read().await.as_deref(), Some("one"), "the last that is still there");
    fs::remove_file(folder.path().join(first.name())).unwrap();
    assert_eq!(read().await, None);
    assert_eq!(artifacts.checkpoints().await.unwrap(), []);
}

#[tokio::test]
async fn a_checkpoint_that_the_coordinator_before_took_late_is_found_when_it_is_needed() {
    let (folder, before) = some_artifacts();
    let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
    let (first, second, third) = (checkpoint(1, 1, b"one"), checkpoint(1, 2, b"two"), checkpoint(1, 3, b""));
    let read = async |attempt| {
        let found = artifacts.read_checkpoint(&first.folder, attempt, 0).await.unwrap();
        found.map(|(_, data)| String::from_utf8(data).unwrap())
    };
    // It leads, and has listed what is there.
    assert_eq!(read(second.attempt).await, None);
    assert_eq!(hand_over(&before, &first, b"one").await, Taken::Whole);
    assert_eq!(read(second.attempt).await.as_deref(), Some("one"));
    assert_eq!(hand_over(&before, &second, b"two").await, Taken::Whole);
    assert_eq!(read(third.attempt).await.as_deref(), Some("two"));
    assert!(artifacts.checkpoints().await.unwrap().contains(&second), "it goes with its job");
}

#[tokio::test]
async fn what_arrives_while_the_lead_is_lost_is_not_lost() {
    let (_folder, artifacts) = some_artifacts();
    let one = checkpoint(1, 1, b"one");
    artifacts.list_checkpoints().await.unwrap();
    artifacts.forget_checkpoints();
    let before = artifacts.handed_over.state().changes;
    assert_eq!(hand_over(&artifacts, &one, b"one").await, Taken::Whole);
    assert_ne!(artifacts.handed_over.state().changes, before, "a list that was begun is made again");
    assert_eq!(artifacts.checkpoints().await.unwrap(), [one]);
}

#[tokio::test]
async fn what_came_only_in_part_goes_once_nothing_came_for_long() {
    let (folder, artifacts) = some_artifacts();
    let [old, young] = [checkpoint(1, 1, b"one"), checkpoint(2, 1, b"two")];
    let part = |of: &Checkpoint| {
        folder.path().join("incoming").join(format!("{}.part", of.name().replace('/', "_")))
    };
    for one in [&old, &young] {
        assert_eq!(artifacts.take_checkpoint(one, 3, 0, vec![7]).await.unwrap(), Taken::UpTo(1));
        assert!(part(one).exists());
    }
    let now = SystemTime::now();
    File::options().write(true).open(part(&old)).unwrap().set_modified(now - 2 * ABANDONED_AFTER).unwrap();
    artifacts
        .take("3-9/1-1-ab.safetensors", &WeightsFile { bytes: 3, blake3: String::new() }, 0, vec![7])
        .await
        .unwrap();
    artifacts.remove_abandoned_checkpoints(now).await.unwrap();
    assert_eq!([part(&old).exists(), part(&young).exists()], [false, true]);
    artifacts.remove_abandoned_checkpoints(now + 2 * ABANDONED_AFTER).await.unwrap();
    let left: Vec<_> = fs::read_dir(folder.path().join("incoming")).unwrap().collect();
    assert_eq!(left.len(), 1, "weights wait for their worker: {left:?}");
}

#[tokio::test]
async fn old_checkpoints_of_sweeps_that_no_one_knows_go() {
    let (folder, artifacts) = some_artifacts();
    let known = checkpoint(1, 1, b"one");
    let of_other = |job| Checkpoint { folder: "3-1780000000000".to_owned(), ..checkpoint(job, 1, b"one") };
    let (old, young) = (of_other(1), of_other(2));
    let now = SystemTime::now();
    for one in [&known, &old, &young] {
        put(&folder, one, b"one");
        let file = File::options().write(true).open(folder.path().join(one.name())).unwrap();
        file.set_modified(if one == &young { now } else { now - 2 * UNKNOWN_AFTER }).unwrap();
    }
    let folders = BTreeSet::from([known.folder.clone()]);
    assert_eq!(artifacts.remove_unknown_checkpoints(&folders, now).await.unwrap(), 1);
    assert_eq!(artifacts.checkpoints().await.unwrap(), [young.clone(), known.clone()]);
    let there = [&known, &old, &young].map(|one| folder.path().join(one.name()).exists());
    assert_eq!(there, [true, false, true]);
}

#[tokio::test]
async fn weights_and_checkpoints_take_no_room_from_each_other() {
    let (_folder, artifacts) = some_artifacts();
    let file = WeightsFile { bytes: 3, blake3: blake3::hash(b"one").to_hex().to_string() };
    let weights = async |name: u64| artifacts.take(&format!("3-9/{name}"), &file, 0, vec![7]).await;
    let some = async |job: u64| artifacts.take_checkpoint(&checkpoint(job, 1, b"one"), 3, 0, vec![7]).await;
    for number in 0..PARTS_MAX as u64 {
        some(number).await.unwrap();
    }
    assert!(matches!(some(1_000).await, Err(ArtifactError::TooMany)));
    for number in 0..PARTS_MAX as u64 {
        weights(number).await.unwrap();
    }
    assert!(matches!(weights(1_000).await, Err(ArtifactError::TooMany)));
    some(1).await.unwrap();
    // The same of calls that do not come back.
    let [of_weights, of_checkpoints] = ["3-9/1", FOLDER].map(|name| artifacts.calls.of(name));
    let all = u32::try_from(super::super::CALLS_MAX).unwrap();
    let hanging = of_checkpoints.acquire_many(all).await.unwrap();
    weights(1).await.unwrap();
    assert!(matches!(some(1).await, Err(ArtifactError::TooMany)));
    drop(hanging);
    let _hanging = of_weights.acquire_many(all).await.unwrap();
    some(1).await.unwrap();
    assert!(matches!(weights(1).await, Err(ArtifactError::TooMany)));
}

#[test]
fn only_names_of_checkpoints_are_understood() {
    let one = checkpoint(1, 2, b"x");
    assert_eq!(Checkpoint::parse(&one.name()), Some(one));
    for name in ["handed-over/3-1/1-2-ab", "handed-over/x/1-2", "weights/3-1/1-2", "handed-over"] {
        assert_eq!(Checkpoint::parse(name), None, "{name}");
    }
}
