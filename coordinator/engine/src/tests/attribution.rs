//! Poison jobs, bad nodes, and workers that say what cannot be.

use domain::record::Record;
use terms::{JobState, Outcome};

use super::cluster::{Cluster, LEASE_MS, ended, key};
use crate::{AttemptEvent, Event, WorkerStatus, query::ListWorkers};

fn workers(cluster: &mut Cluster) -> Vec<(WorkerStatus, String)> {
    let page = cluster.ask(&ListWorkers { after: None, limit: 100 });
    page.workers.into_iter().map(|worker| (worker.status, worker.reason)).collect()
}

/// The job's attempt begins on a new worker, which dies.
fn lose(cluster: &mut Cluster, round: u32, name: &str) {
    let session = u64::from(round);
    cluster.connect(session, name, 1, &[]);
    cluster.start(session, key(1, round));
    cluster.pass(LEASE_MS + 1);
}

/// Charged attempts and state after the last change of the job.
fn charged(cluster: &Cluster) -> (u32, JobState, String) {
    let change = cluster.records.iter().rev().find_map(|record| match record {
        Record::JobChanged { history, state, reason, .. } => Some((history.failures, *state, reason.clone())),
        _ => None,
    });
    change.unwrap()
}

#[test]
fn a_job_that_is_lost_with_several_workers_is_charged_and_fails() {
    let mut cluster = Cluster::with_sweep(1, "");
    for (round, name) in (1..).zip(["a", "b", "b", "a"]) {
        lose(&mut cluster, round, name);
        assert_eq!(charged(&cluster).0, 0, "two machines may die by chance");
    }
    for (round, name) in (5..).zip(["c", "d", "e"]) {
        lose(&mut cluster, round, name);
    }
    let (failures, state, reason) = charged(&cluster);
    assert_eq!((failures, state), (3, JobState::Failed));
    assert!(reason.contains("lost with 5 workers (a, b, c, d, e)"), "{reason}");
}

#[test]
fn three_jobs_that_crash_on_one_worker_alone_set_it_aside() {
    let mut cluster = Cluster::with_sweep(9, "execution: {attempts_max: 1}");
    cluster.connect(1, "bad", 1, &[]);
    cluster.connect(2, "good", 1, &[]);
    cluster.start(2, key(2, 1));
    for job in [1, 3] {
        cluster.event(1, key(job, 1), ended(Outcome::Failed, "no such device"));
        assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Connected);
    }
    cluster.take_effects();
    cluster.event(1, key(4, 1), ended(Outcome::Failed, "no such device"));
    assert_eq!(cluster.grants(), [], "it gets no more");
    let (state, reason) = workers(&mut cluster).remove(0);
    assert_eq!(state, WorkerStatus::Quarantined);
    assert!(reason.contains("1/1, 1/3, 1/4") && reason.contains("no such device"), "{reason}");
    // The same process on another stream is no better; another one is innocent.
    cluster.connect(3, "bad", 1, &[]);
    assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Quarantined);
    cluster.predecessors = vec!["one".into()];
    cluster.connect_process(4, "bad", "another", 1, &[]);
    assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Connected);
    assert_eq!(cluster.grants().len(), 1);
}

#[test]
fn a_worker_that_is_all_there_is_is_never_quarantined_for_its_jobs() {
    let mut cluster = Cluster::with_sweep(9, "execution: {attempts_max: 1}");
    cluster.connect(1, "bad", 1, &[]);
    cluster.connect(2, "good", 1, &[]);
    for job in [1, 3, 4] {
        cluster.event(1, key(job, 1), ended(Outcome::Failed, "no such device"));
    }
    cluster.take_effects();
    assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Quarantined);
    // Where it is all there is, its jobs are to blame, for all anyone knows.
    cluster.hear(Event::SessionClosed(crate::SessionId(2)));
    assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Connected);
    assert_eq!(cluster.grants().len(), 1);
}

#[test]
fn a_job_that_crashes_everywhere_is_no_workers_fault() {
    let mut cluster = Cluster::with_sweep(6, "execution: {attempts_max: 2}");
    cluster.connect(1, "one", 1, &[]);
    cluster.connect(2, "two", 1, &[]);
    // Each job crashes on both, one after the other.
    let mut given = cluster.grants();
    while let Some((session, attempt)) = given.pop() {
        cluster.event(session, attempt, ended(Outcome::Failed, "a bad sweep"));
        given.extend(cluster.grants());
        given.sort_by_key(|(_, attempt)| std::cmp::Reverse(attempt.attempt));
    }
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 6, 0], "nothing waits indefinitely");
}

#[test]
fn a_worker_that_keeps_saying_what_cannot_be_is_quarantined() {
    let mut cluster = Cluster::with_sweep(9, "");
    cluster.connect(1, "odd", 1, &[]);
    for _ in 0..20 {
        cluster.event(1, terms::AttemptKey::new(7, 1, 1), AttemptEvent::Unusable("nonsense".into()));
    }
    assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Connected);
    cluster.epoch(1, key(9, 1), 1);
    let (state, reason) = workers(&mut cluster).remove(0);
    assert_eq!(state, WorkerStatus::Quarantined);
    assert!(reason.contains("1/9#1, which it was never given"), "{reason}");
    // So is one that keeps alive what it never had.
    let mut cluster = Cluster::with_sweep(9, "");
    cluster.connect(1, "odd", 1, &[]);
    (0..21).for_each(|_| cluster.heartbeat(1, &[key(1, 1), key(9, 1)]));
    let (state, reason) = workers(&mut cluster).remove(0);
    assert_eq!(state, WorkerStatus::Quarantined);
    assert!(reason.contains("to run 1/9#1, which it was never given"), "{reason}");
    // Late words are none of that.
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "late", 1, &[]);
    cluster.train(1, key(1, 1));
    for _ in 0..50 {
        cluster.epoch(1, key(1, 1), 1);
    }
    assert_eq!(workers(&mut cluster)[0].0, WorkerStatus::Connected);
}
