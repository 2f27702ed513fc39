//! A job that is interrupted goes on elsewhere, and its numbers are those of a run that nothing happened to.

use tests::{Cluster, ClusterOptions, Worker, terminate};

use crate::completion::{Numbers, assert_whole, numbers};

const EPOCHS: u32 = 12;
const PARAMETERS: &str = "{learning_rate: {value: 0.001}, epochs: {value: 12}}";

async fn undisturbed() -> Vec<Numbers> {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit(PARAMETERS).await;
    cluster.watch(sweep).await.until_end().await;
    numbers(&cluster.results(sweep).await)
}

/// Ends a worker in the middle of its job by `end`, has another go on, and gives the outcomes of the two attempts
/// and how many epochs the second took over.
async fn interrupted(options: ClusterOptions, end: impl FnOnce(Worker)) -> ([String; 2], u32) {
    let cluster = Cluster::start(ClusterOptions { lease: "2s", ..options });
    let one = cluster.worker("one");
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    // The checkpoint after the first epoch is written before the one after the second begins to be.
    let job = watch.until_epoch(3).await;
    end(one);
    let _two = cluster.worker("two");
    watch.until_end().await;
    let results = cluster.results(sweep).await;
    assert_whole(&results, 1, EPOCHS);
    assert!(results[0].1.iter().all(|epoch| epoch.attempt == 2), "the second attempt has all epochs");
    assert_eq!(numbers(&results), undisturbed().await);
    let left = std::fs::read_dir(cluster.folder.path().join("checkpoints")).unwrap().count();
    assert_eq!(left, 0, "a job that is done needs no checkpoint");
    let attempts = cluster.job(sweep, job).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}") };
    ([first.outcome.clone(), second.outcome.clone()], second.resumed_epochs)
}

#[tokio::test]
async fn take_a_job_on_that_was_killed() {
    let (outcomes, resumed) = interrupted(ClusterOptions::default(), Worker::kill).await;
    assert_eq!(outcomes, ["lost", "done"]);
    assert!((1..EPOCHS).contains(&resumed), "{resumed}");
}

#[tokio::test]
async fn take_a_job_on_that_was_handed_back() {
    let worker = vec!["--grace".to_owned(), "0s".to_owned()];
    let leave = |worker: Worker| {
        terminate(worker.pid());
        assert_eq!(worker.wait(), Some(0));
    };
    let (outcomes, resumed) =
        interrupted(ClusterOptions { worker, ..ClusterOptions::default() }, leave).await;
    assert_eq!(outcomes, ["handed_back", "done"]);
    assert!((3..EPOCHS).contains(&resumed), "no epoch was trained again: {resumed}");
}
