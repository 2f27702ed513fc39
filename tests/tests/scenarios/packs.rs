//! Jobs that one slot trains at the same time: numbers, independence and interruptions, with real training.

use proto::v1::{self, JobState, SweepState};
use tests::{Cluster, ClusterOptions, kill};

use crate::completion::assert_whole;

/// Four jobs that may all share a pack.
const PACKABLE: &str =
    "{activation: {values: [relu, sigmoid]}, learning_rate: {values: [0.001, 0.0001]}, epochs: {value: 4}}";
const VAL_IMAGES: f64 = 48.0;

/// The jobs of a sweep, with their epochs.
pub(crate) type Results = Vec<(v1::Job, Vec<v1::EpochRow>)>;

fn packing() -> ClusterOptions {
    let worker = ["--pack-size-max", "4"].map(str::to_owned).to_vec();
    ClusterOptions { worker, ..ClusterOptions::default() }
}

async fn alone() -> Results {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit(PACKABLE).await;
    cluster.watch(sweep).await.until_end().await;
    cluster.results(sweep).await
}

/// The same epochs, up to the order of additions, as far as they go.
pub(crate) fn assert_near(packed: &Results, alone: &Results) {
    assert_eq!(packed.len(), alone.len());
    for ((job, epochs), (_, expected)) in packed.iter().zip(alone) {
        assert!(epochs.len() <= expected.len(), "{job:?}");
        for (row, expected) in epochs.iter().zip(expected) {
            let (row, expected) =
                (row.record.clone().unwrap_or_default(), expected.record.clone().unwrap_or_default());
            let off = (row.train_loss - expected.train_loss).abs() / expected.train_loss;
            let tolerance = if row.epoch == 1 { 1e-4 } else { 1e-3 };
            assert!(off < tolerance, "{job:?}: {row:?} is not {expected:?}");
            let images = (row.val_accuracy - expected.val_accuracy).abs() * VAL_IMAGES;
            assert!(images < 2.5, "{job:?}: {row:?} is not {expected:?}");
        }
    }
}

#[tokio::test]
async fn give_each_job_its_numbers_and_say_how_many_there_were() {
    let cluster = Cluster::start(packing());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit(PACKABLE).await;
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!(ended.state(), SweepState::Finished);
    let results = cluster.results(sweep).await;
    assert_whole(&results, 4, 4);
    assert!(results.iter().all(|(job, _)| (job.pack_size, job.attempts) == (4, 1)), "{results:?}");
    let seconds: Vec<_> = results.iter().map(|(job, _)| job.train_seconds.to_bits()).collect();
    assert!(seconds.iter().all(|one| *one == seconds[0]), "the time is the pack's");
    assert_near(&results, &alone().await);
}

#[tokio::test]
async fn go_on_in_halves_from_their_checkpoints_when_their_trainer_is_killed_and_no_job_is_charged() {
    let cluster = Cluster::start(packing());
    let worker = cluster.worker("one");
    let sweep = cluster.submit(&format!("{PACKABLE}\nexecution: {{attempts_max: 1}}")).await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_epoch(3).await;
    kill(worker.trainer());
    assert_eq!(watch.until_end().await.state(), SweepState::Finished);
    let results = cluster.results(sweep).await;
    assert_whole(&results, 4, 4);
    for (job, _) in &results {
        assert_eq!((job.attempts, job.pack_size), (2, 2), "{job:?}");
    }
    let attempts = cluster.job(sweep, 1).await.attempts;
    assert_eq!(attempts[0].outcome, "handed_back");
    assert!(attempts[0].reason.contains("in a pack of 4 jobs"), "{attempts:?}");
    assert!(attempts[1].resumed_epochs >= 1, "{attempts:?}");
    assert_near(&results, &alone().await);
}

#[tokio::test]
async fn lose_one_job_that_diverges_and_no_other() {
    let cluster = Cluster::start(packing());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{learning_rate: {values: [0.001, 1000, 0.0001]}, epochs: {value: 3}}").await;
    assert_eq!(cluster.watch(sweep).await.until_end().await.state(), SweepState::Finished);
    let states: Vec<_> =
        cluster.results(sweep).await.iter().map(|(job, _)| (job.state(), job.pack_size)).collect();
    assert_eq!((states[0], states[2]), ((JobState::Done, 3), (JobState::Done, 3)));
}
