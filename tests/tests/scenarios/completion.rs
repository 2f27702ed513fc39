//! A sweep from its submission to its results.

use proto::v1::{self, JobState, SweepState};
use tests::{Cluster, ClusterOptions, chaos};

const PARAMETERS: &str =
    "{activation: {values: [relu, sigmoid]}, learning_rate: {values: [0.001, 0.0001]}, epochs: {value: 3}}";

/// A job's number and its epochs: each one's number and the bits of its losses and its accuracies.
pub(crate) type Numbers = (u64, Vec<(u32, [u64; 4])>);

/// What must be the same on every worker: everything but times and devices.
pub(crate) fn numbers(results: &[(v1::Job, Vec<v1::EpochRow>)]) -> Vec<Numbers> {
    let record = |row: &v1::EpochRow| {
        let record = row.record.as_ref().expect("an epoch has its record");
        let more = [record.val_loss, record.train_accuracy].map(|value| value.expect("the trainer says it"));
        (record.epoch, [record.train_loss, record.val_accuracy, more[0], more[1]].map(f64::to_bits))
    };
    let job = |job: &v1::Job| job.point.as_ref().map_or(0, |point| point.job);
    results.iter().map(|(found, epochs)| (job(found), epochs.iter().map(record).collect())).collect()
}

/// The numbers of a sweep of these parameters on one worker that nothing disturbs.
pub(crate) async fn undisturbed(parameters: &str) -> Vec<Numbers> {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit(parameters).await;
    cluster.watch(sweep).await.until_end().await;
    numbers(&cluster.results(sweep).await)
}

/// As [`assert_counted`], for a trainer that reports all four numbers.
pub(crate) fn assert_whole(results: &[(v1::Job, Vec<v1::EpochRow>)], jobs: usize, epochs: u32) {
    assert_counted(results, jobs, epochs);
    for (job, _) in results {
        assert!(job.val_loss.is_some() && job.train_accuracy.is_some(), "{job:?}");
    }
}

/// Every job is done, with each of its epochs once and in order.
pub(crate) fn assert_counted(results: &[(v1::Job, Vec<v1::EpochRow>)], jobs: usize, epochs: u32) {
    assert_eq!(results.len(), jobs);
    for (job, rows) in results {
        assert_eq!(job.state(), JobState::Done, "{job:?}");
        assert_eq!(job.epochs_done, epochs);
        let numbers: Vec<u32> = rows.iter().map(|row| row.record.clone().unwrap_or_default().epoch).collect();
        assert_eq!(numbers, (1..=epochs).collect::<Vec<_>>(), "{job:?}");
        let seconds: f64 = rows.iter().map(|row| row.record.clone().unwrap_or_default().epoch_seconds).sum();
        assert!((job.train_seconds - seconds).abs() < 1e-9, "{} {seconds}", job.train_seconds);
        let last = rows.last().and_then(|row| row.record.clone()).unwrap_or_default();
        assert_eq!(job.train_loss, Some(last.train_loss));
        assert_eq!(job.val_accuracy, Some(last.val_accuracy));
        assert_eq!((job.val_loss, job.train_accuracy), (last.val_loss, last.train_accuracy));
        let records = || rows.iter().filter_map(|row| row.record.clone());
        let highest = records().map(|record| record.val_accuracy).fold(0.0, f64::max);
        let first = records().find(|record| record.val_accuracy == highest).map(|record| record.epoch);
        assert_eq!((job.best_epoch, job.best_val_accuracy), (first, Some(highest)));
    }
}

#[tokio::test]
async fn a_sweep_runs_on_two_workers_to_its_end() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = cluster.submit(PARAMETERS).await;
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!(ended.state(), SweepState::Finished);
    let dataset = ended.dataset.expect("the workers told what they found");
    assert_eq!((dataset.train_images, dataset.val_images), (192, 48));
    assert_eq!(dataset.classes, ["cat", "dog"]);
    let results = cluster.results(sweep).await;
    assert_whole(&results, 4, 3);
    assert!(results.iter().all(|(job, _)| job.attempts == 1));
    let best = ended.best.expect("a finished sweep has a best job");
    let largest = results.iter().filter_map(|(job, _)| job.val_accuracy).fold(0.0, f64::max);
    assert_eq!(best.value, largest);
}

#[tokio::test]
async fn jobs_are_ranked_by_their_best_epoch_where_the_file_says_so_also_after_a_restart() {
    let mut cluster = Cluster::start(chaos::light(1));
    let _worker = cluster.worker("one");
    let jobs = "{epochs: {value: 5}, seed: {min: 1, max: 9, count: 9}}\nmetric: {name: val_loss, use: best}";
    let sweep = cluster.submit(jobs).await;
    let ended = cluster.watch(sweep).await.until_end().await;
    let least = |seed: u64| {
        let losses = (1..=5).map(|epoch| chaos::light_epoch(seed, epoch).val_loss.unwrap_or_default());
        (seed, losses.fold(f64::INFINITY, f64::min))
    };
    let expected = (1..=9).map(least).min_by(|one, other| one.1.total_cmp(&other.1));
    let best = |sweep: v1::Sweep| {
        let best = sweep.best?;
        Some((best.point?.job, best.value))
    };
    assert_eq!(best(ended), expected);
    cluster.replace_coordinator();
    assert_eq!(best(cluster.watch(sweep).await.until_end().await), expected);
}

#[tokio::test]
async fn one_worker_and_two_give_the_same_numbers() {
    let mut found = Vec::new();
    for workers in [&["alone"][..], &["one", "two"][..]] {
        let cluster = Cluster::start(ClusterOptions::default());
        let _workers: Vec<_> = workers.iter().map(|name| cluster.worker(name)).collect();
        let sweep = cluster.submit(PARAMETERS).await;
        cluster.watch(sweep).await.until_end().await;
        let results = cluster.results(sweep).await;
        assert_whole(&results, 4, 3);
        found.push(numbers(&results));
    }
    assert_eq!(found[0], found[1]);
}

#[tokio::test]
async fn a_sweep_submitted_twice_by_one_request_is_one_sweep() {
    let cluster = Cluster::start(ClusterOptions::default());
    let request = v1::SubmitRequest {
        source: Some(tests::source("{epochs: {value: 1}}")),
        request_id: "once".into(),
        extend_sweep_id: 0,
    };
    let mut client = cluster.client().await;
    let first = client.submit(request.clone()).await.unwrap().into_inner();
    let again = client.submit(request).await.unwrap().into_inner();
    assert!(first.created && !again.created);
    assert_eq!(first.sweep.unwrap().sweep_id, again.sweep.unwrap().sweep_id);
}

#[tokio::test]
async fn a_loss_that_is_no_number_is_a_result() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{learning_rate: {values: [1000, 0.0001]}, epochs: {value: 2}}").await;
    let ended = cluster.watch(sweep).await.until_end().await;
    assert_eq!(ended.state(), SweepState::Finished);
    let states: Vec<_> = cluster.results(sweep).await.iter().map(|(job, _)| job.state()).collect();
    assert_eq!(states[1], JobState::Done, "{:?}", cluster.job(sweep, 2).await);
    // Whether a rate of 1000 overflows depends on the arithmetic; it must not be a failure.
    assert!([JobState::Diverged, JobState::Done].contains(&states[0]), "{states:?}");
}

#[tokio::test]
async fn a_stopped_sweep_ends_what_runs_and_starts_nothing_more() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{learning_rate: {values: [0.001, 0.002, 0.003]}, epochs: {value: 20}}").await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_some_job_is_in_the_middle().await;
    cluster.client().await.stop_sweep(v1::StopSweepRequest { sweep_id: sweep, job: 0 }).await.unwrap();
    let ended = watch.until_end().await;
    assert_eq!(ended.state(), SweepState::Stopped);
    let counts = ended.counts.unwrap();
    assert_eq!((counts.done, counts.cancelled), (1, 2));
}

#[tokio::test]
async fn a_cancelled_sweep_ends_in_the_middle_and_the_worker_takes_the_next() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 10000}}").await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_some_job_is_in_the_middle().await;
    cluster.client().await.cancel_sweep(v1::CancelSweepRequest { sweep_id: sweep, job: 0 }).await.unwrap();
    assert_eq!(watch.until_end().await.state(), SweepState::Cancelled);
    let next = cluster.submit("{epochs: {value: 1}}").await;
    assert_eq!(cluster.watch(next).await.until_end().await.state(), SweepState::Finished);
}
