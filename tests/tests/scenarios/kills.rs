//! SIGKILL in the middle of an epoch: nothing acknowledged is lost, no finished job runs again, and the numbers are the
//! same as without the kill.

use proto::v1::{self, watch_sweep_response::Event};
use tests::{Cluster, ClusterOptions, freeze, kill, thaw, wait_for_end};

use crate::completion::{Numbers, assert_whole, numbers};

const EPOCHS: u32 = 12;
const JOBS: usize = 4;
const PARAMETERS: &str = "{learning_rate: {values: [0.002, 0.001, 0.0005, 0.0001]}, epochs: {value: 12}}";

/// Attempts by job, for those that are done.
async fn finished(cluster: &Cluster, sweep: u64) -> Vec<(u64, u32)> {
    let results = cluster.results(sweep).await;
    let done = results.iter().filter(|(job, _)| job.state() == v1::JobState::Done);
    done.map(|(job, _)| (job.point.as_ref().map_or(0, |point| point.job), job.attempts)).collect()
}

/// The sweep's numbers after its end; jobs in `finished` have had no other attempt.
async fn end(cluster: &Cluster, sweep: u64, finished: &[(u64, u32)]) -> Vec<Numbers> {
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    assert_whole(&results, JOBS, EPOCHS);
    for (job, attempts) in finished {
        assert_eq!(results[usize::try_from(*job).unwrap() - 1].0.attempts, *attempts, "job {job} ran again");
    }
    numbers(&results)
}

/// The numbers when nothing is killed.
async fn undisturbed() -> Vec<Numbers> {
    let cluster = Cluster::start(ClusterOptions::default());
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = cluster.submit(PARAMETERS).await;
    end(&cluster, sweep, &[]).await
}

#[tokio::test]
async fn of_a_worker() {
    // A dead worker is noticed when its lease runs out, or when another of its name says what it holds.
    let cluster = Cluster::start(ClusterOptions { lease: "2s", ..ClusterOptions::default() });
    let (one, _two) = (cluster.worker("one"), cluster.worker("two"));
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_done(1).await;
    watch.until_some_job_is_in_the_middle().await;
    let finished = finished(&cluster, sweep).await;
    assert!(!finished.is_empty());
    one.kill();
    let disturbed = end(&cluster, sweep, &finished).await;
    assert_eq!(disturbed, undisturbed().await);
}

#[tokio::test]
async fn of_a_worker_that_comes_back_with_its_spool() {
    let cluster = Cluster::start(ClusterOptions::default());
    let worker = cluster.worker("one");
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_done(1).await;
    watch.until_some_job_is_in_the_middle().await;
    let finished = finished(&cluster, sweep).await;
    worker.kill();
    // Long before the lease has run out.
    let _worker = cluster.worker("one");
    end(&cluster, sweep, &finished).await;
}

#[tokio::test]
async fn of_a_trainer() {
    let cluster = Cluster::start(ClusterOptions::default());
    let (one, two) = (cluster.worker("one"), cluster.worker("two"));
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    let middle = watch.until_some_job_is_in_the_middle().await;
    let finished = finished(&cluster, sweep).await;
    let worker = cluster.job(sweep, middle).await.job.unwrap().worker;
    let trainer = if worker == "one" { one.trainer() } else { two.trainer() };
    kill(trainer);
    wait_for_end(trainer);
    let disturbed = end(&cluster, sweep, &finished).await;
    assert_eq!(disturbed, undisturbed().await);
    let results = cluster.results(sweep).await;
    let twice: Vec<_> = results.iter().filter(|(job, _)| job.attempts > 1).collect();
    assert_eq!(twice.len(), 1, "one job was in training there");
    assert_eq!(twice[0].0.point.as_ref().map(|point| point.job), Some(middle));
    let attempt = &cluster.job(sweep, middle).await.attempts[0];
    assert_eq!(attempt.outcome, "failed");
    assert!(attempt.reason.contains("SIGKILL"), "{}", attempt.reason);
    assert!(!attempt.log_tail.is_empty());
}

#[tokio::test]
async fn of_the_coordinator() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_done(1).await;
    watch.until_some_job_is_in_the_middle().await;
    let finished = finished(&cluster, sweep).await;
    cluster.replace_coordinator();
    let disturbed = end(&cluster, sweep, &finished).await;
    // The trainings continued: not even the running ones have had another attempt.
    assert!(cluster.results(sweep).await.iter().all(|(job, _)| job.attempts == 1));
    assert_eq!(disturbed, undisturbed().await);
}

#[tokio::test]
async fn of_a_lease_by_a_worker_that_was_frozen() {
    let cluster = Cluster::start(ClusterOptions { lease: "2s", ..ClusterOptions::default() });
    let one = cluster.worker("one");
    let sweep = cluster.submit(PARAMETERS).await;
    let mut watch = cluster.watch(sweep).await;
    let job = watch.until_some_job_is_in_the_middle().await;
    // The trainer continues; its reports wait in the frozen worker.
    freeze(one.pid());
    let _two = cluster.worker("two");
    watch
        .until("the job's next attempt", |event| match event {
            Event::Job(changed) => {
                let same = changed.point.as_ref().is_some_and(|point| point.job == job);
                (same && changed.attempt == 2 && changed.state() == v1::JobState::Running).then_some(())
            }
            _ => None,
        })
        .await;
    thaw(one.pid());
    let disturbed = end(&cluster, sweep, &[]).await;
    assert_eq!(disturbed, undisturbed().await);
    let attempts = cluster.job(sweep, job).await.attempts;
    assert_eq!(attempts[0].outcome, "lost", "what it said after its lease changed nothing: {attempts:?}");
}
