//! An interrupted job continues elsewhere, with the same numbers as without the interruption.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use proto::v1;
use tests::{Cluster, ClusterOptions, Random, S3, Worker, source, terminate};

use crate::completion::{assert_whole, numbers, undisturbed};

const EPOCHS: u32 = 12;
const PARAMETERS: &str = "{learning_rate: {value: 0.001}, epochs: {value: 12}}";

/// Ends a worker in the middle of its job by `end`, lets another continue, and returns the outcomes of the two attempts
/// and how many epochs the second took over. `kept` counts the checkpoints.
async fn interrupted(
    options: ClusterOptions,
    end: impl AsyncFnOnce(&Cluster, Worker),
    kept: impl Fn(&Cluster) -> usize,
) -> ([String; 2], u32) {
    let cluster = Cluster::start(ClusterOptions { lease: "2s", ..options });
    let one = cluster.worker("one");
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    // The checkpoint after the first epoch is complete before the next one is begun.
    let job = watch.until_epoch(3).await;
    end(&cluster, one).await;
    assert!((1..=4).contains(&kept(&cluster)), "the newest two, and what was being written and removed");
    let _two = cluster.worker("two");
    watch.until_end().await;
    let results = cluster.results(sweep).await;
    assert_whole(&results, 1, EPOCHS);
    assert!(results[0].1.iter().all(|epoch| epoch.attempt == 2), "the second attempt has all epochs");
    assert_eq!(numbers(&results), undisturbed(PARAMETERS).await);
    assert_eq!(kept(&cluster), 0, "a job that is done needs no checkpoint");
    let attempts = cluster.job(sweep, job).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}") };
    ([first.outcome.clone(), second.outcome.clone()], second.resumed_epochs)
}

/// The checkpoints in the cluster's folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.partition(|path| path.is_dir());
    folders.iter().flat_map(|folder| self::files(folder)).chain(files).collect()
}

fn in_folder(cluster: &Cluster) -> usize {
    files(&cluster.folder.path().join("checkpoints")).len()
}

async fn kill(_: &Cluster, worker: Worker) {
    worker.kill();
}

async fn leave(_: &Cluster, worker: Worker) {
    terminate(worker.pid());
    assert_eq!(worker.wait(), Some(0));
}

async fn drain(cluster: &Cluster, worker: Worker) {
    let request = v1::DrainWorkerRequest { name: "one".into() };
    let told = cluster.client().await.drain_worker(request).await.unwrap().into_inner();
    // The answer comes when the worker has confirmed; without grace it may have left by then.
    assert!(["draining", "disconnected"].contains(&told.state.as_str()), "{told:?}");
    assert_eq!(worker.wait(), Some(0));
}

fn without_grace() -> ClusterOptions {
    ClusterOptions { worker: vec!["--grace".to_owned(), "0s".to_owned()], ..ClusterOptions::default() }
}

#[tokio::test]
async fn take_a_job_on_that_was_killed() {
    let (outcomes, resumed) = interrupted(ClusterOptions::default(), kill, in_folder).await;
    assert_eq!(outcomes, ["lost", "done"]);
    assert!((1..EPOCHS).contains(&resumed), "{resumed}");
}

#[tokio::test]
async fn take_a_job_on_that_was_handed_back() {
    let (outcomes, resumed) = interrupted(without_grace(), leave, in_folder).await;
    assert_eq!(outcomes, ["handed_back", "done"]);
    assert!((3..EPOCHS).contains(&resumed), "no epoch was trained again: {resumed}");
}

#[tokio::test]
async fn take_a_job_on_whose_worker_was_drained() {
    let (outcomes, resumed) = interrupted(without_grace(), drain, in_folder).await;
    assert_eq!(outcomes, ["handed_back", "done"]);
    assert!((3..EPOCHS).contains(&resumed), "no epoch was trained again: {resumed}");
}

#[tokio::test]
async fn take_a_job_on_from_a_bucket() {
    let Some(server) = S3::start() else { return };
    let options = || ClusterOptions {
        checkpoints: Some(server.url()),
        worker_environment: server.environment(),
        ..without_grace()
    };
    let keys = |_: &Cluster| {
        let keys = server.keys();
        assert!(keys.iter().all(|key| key.starts_with("of/all/")), "{keys:?}");
        keys.len()
    };
    let (outcomes, resumed) = interrupted(options(), kill, keys).await;
    assert_eq!(outcomes, ["lost", "done"]);
    assert!((1..EPOCHS).contains(&resumed), "{resumed}");
    let (outcomes, resumed) = interrupted(options(), leave, keys).await;
    assert_eq!(outcomes, ["handed_back", "done"]);
    // A slow server may not have the last one within the short grace period.
    assert!((1..EPOCHS).contains(&resumed), "{resumed}");
}

/// Epochs of a job that is examined in the middle.
const LONG: u32 = 40;
/// The epoch from which it is examined.
const LOOKED_AT: u32 = 15;

/// A job with a checkpoint every other epoch, and all that its training may keep or draw.
async fn long_job(cluster: &Cluster) -> u64 {
    let mut source = source(&format!(
        "{{learning_rate: {{value: 0.001}}, epochs: {{value: {LONG}}}, batch_norm: {{value: true}}, dropout: {{value: 0.3}}, \
         lr_schedule: {{value: cosine}}, augmentation: {{value: flip_crop}}}}"
    ));
    source.overrides.push("execution.checkpoint_every_epochs=2".into());
    let request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id
}

/// A checkpoint's place in the training, from its name: epoch and images.
fn position(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split('-').take(2).collect::<Vec<_>>().join("-")
}

/// The tensors of a checkpoint, names, shapes and bytes: weights, running statistics, and Adam's moments and steps.
fn tensors(bytes: &[u8]) -> (serde_json::Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header.as_object_mut().unwrap().remove("__metadata__").unwrap();
    (header, bytes[8 + length..].to_vec())
}

/// The tensors of a job's checkpoints once it is far enough, by their places in the training.
async fn far_tensors(cluster: &Cluster, sweep: u64) -> BTreeMap<String, (serde_json::Value, Vec<u8>)> {
    cluster.watch(sweep).await.until_epoch(LOOKED_AT).await;
    // A checkpoint that is removed while it is read is not one of the newest two.
    let files = files(&cluster.folder.path().join("checkpoints"));
    let whole = files.iter().filter(|path| path.extension().is_some_and(|end| end == "safetensors"));
    whole.filter_map(|path| Some((position(path), tensors(&fs::read(path).ok()?)))).collect()
}

#[tokio::test]
async fn have_the_same_weights_whenever_a_job_was_killed_and_wherever_it_goes_on() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    // After the first checkpoint, and before those that are compared.
    let killed_in = Random(seed).within(4..u64::from(LOOKED_AT) - 4) as u32;
    let options = || ClusterOptions { lease: "2s", ..ClusterOptions::default() };
    let expected = {
        let undisturbed = Cluster::start(options());
        let _worker = undisturbed.worker("one");
        far_tensors(&undisturbed, long_job(&undisturbed).await).await
    };

    let cluster = Cluster::start(options());
    let one = cluster.worker("one");
    let sweep = long_job(&cluster).await;
    cluster.watch(sweep).await.until_epoch(killed_in).await;
    one.kill();
    let _two = cluster.worker("two");
    let found = far_tensors(&cluster, sweep).await;
    let attempts = cluster.job(sweep, 1).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!((first.outcome.as_str(), first.worker.as_str()), ("lost", "one"));
    assert!(second.worker == "two" && second.resumed_epochs > 0, "{second:?}");
    let both: Vec<&String> = expected.keys().filter(|place| found.contains_key(*place)).collect();
    assert!(!both.is_empty(), "{:?} and {:?}", expected.keys(), found.keys());
    for place in both {
        assert!(expected[place] == found[place], "killed in epoch {killed_in}: other tensors at {place}");
    }
}
