//! Jobs that early stopping pauses go on elsewhere, with the numbers of jobs that never paused.

use proto::v1::{JobState, SubmitRequest, SweepState, watch_sweep_response::Event};
use tests::{Cluster, ClusterOptions, Watch, source, terminate};

use crate::completion::{assert_whole, numbers, undisturbed};

const PARAMETERS: &str = "{learning_rate: {values: [0.001, 0.0003]}, epochs: {value: 6}}";
const EPOCHS: u32 = 6;

/// A sweep of two jobs with this rule of early stopping.
async fn submit(cluster: &Cluster, rule: &str) -> u64 {
    let mut source = source(PARAMETERS);
    source.text.push_str(&format!("early_terminate: {rule}\n"));
    let request = SubmitRequest { source: Some(source), ..SubmitRequest::default() };
    cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id
}

/// The number of the first job that pauses from now on.
async fn until_paused(watch: &mut Watch) -> u64 {
    watch
        .until("a job that pauses", |event| match event {
            Event::Job(changed) if changed.state() == JobState::Paused => {
                changed.point.as_ref().map(|point| point.job)
            }
            _ => None,
        })
        .await
}

fn checkpoints(cluster: &Cluster) -> usize {
    let sweeps = std::fs::read_dir(cluster.folder.path().join("checkpoints")).into_iter().flatten().flatten();
    sweeps.map(|sweep| std::fs::read_dir(sweep.path()).map_or(0, Iterator::count)).sum()
}

#[tokio::test]
async fn paused_jobs_go_on_at_another_worker_with_the_same_numbers() {
    let without_grace = ["--grace", "0s"].map(str::to_owned).into();
    let cluster =
        Cluster::start(ClusterOptions { lease: "2s", worker: without_grace, ..ClusterOptions::default() });
    let one = cluster.worker("one");
    // Both go on, once both have got that far.
    let sweep = submit(&cluster, "{type: top_k, min_iter: 2, k: 2}").await;
    let mut watch = cluster.watch(sweep).await;
    let job = until_paused(&mut watch).await;
    terminate(one.pid());
    assert_eq!(one.wait(), Some(0));
    assert!(checkpoints(&cluster) > 0);
    let _two = cluster.worker("two");
    assert_eq!(watch.until_end().await.state(), SweepState::Finished);
    let results = cluster.results(sweep).await;
    assert_whole(&results, 2, EPOCHS);
    assert_eq!(numbers(&results), undisturbed(PARAMETERS).await);
    assert_eq!(checkpoints(&cluster), 0, "a job that is done needs no checkpoint");
    let attempts = cluster.job(sweep, job).await.attempts;
    let (first, last) = (attempts.first().unwrap(), attempts.last().unwrap());
    assert_eq!((first.outcome.as_str(), first.worker.as_str()), ("paused", "one"));
    assert_eq!((last.outcome.as_str(), last.worker.as_str()), ("done", "two"));
    assert!(last.resumed_epochs >= 2, "no epoch was trained again: {attempts:?}");
}

#[tokio::test]
async fn paused_jobs_are_there_after_the_coordinator_was_killed() {
    let mut cluster = Cluster::start(ClusterOptions { lease: "2s", ..ClusterOptions::default() });
    let sweep = submit(&cluster, "{type: top_k, min_iter: 2, k: 1}").await;
    let worker = cluster.worker("one");
    until_paused(&mut cluster.watch(sweep).await).await;
    let address = cluster.coordinator.address;
    cluster.coordinator.kill();
    cluster.coordinator = cluster.coordinator_at(address);
    let ended = cluster.watch(sweep).await.until_end().await;
    let counts = ended.counts.unwrap();
    assert_eq!((counts.done, counts.stopped, counts.paused), (1, 1, 0), "{counts:?}");
    let results = cluster.results(sweep).await;
    let epochs: Vec<_> = results.iter().map(|(job, rows)| (job.state(), rows.len() as u32)).collect();
    let whole = (JobState::Done, EPOCHS);
    let part = (JobState::Stopped, 2);
    assert!(epochs == [whole, part] || epochs == [part, whole], "{epochs:?}");
    drop(worker);
}
