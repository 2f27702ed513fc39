//! Jobs whose memory runs out: where there is more, they go on; where there is not, they fail for that reason, and hold up no others.

use domain::record::Record;
use terms::{JobState, Outcome};

use super::{
    cluster::{Cluster, ended, key},
    pauses::pause,
};

const REASON: &str = "out of memory";

fn cluster(jobs: u32, workers: &[(u64, &str, u64)]) -> Cluster {
    let mut cluster = Cluster::with_sweep(jobs, "");
    for (session, name, memory_bytes) in workers {
        cluster.memory_bytes = memory_bytes << 30;
        cluster.connect(*session, name, 1, &[]);
    }
    cluster
}

/// Charged attempts, state and reason after the last change of a job.
fn last_of(cluster: &Cluster, number: u64) -> (u32, JobState, String) {
    let change = cluster.records.iter().rev().find_map(|record| match record {
        Record::JobChanged { job, history, state, reason, .. } if job.job == number => {
            Some((history.failures, *state, reason.clone()))
        }
        _ => None,
    });
    change.unwrap()
}

#[test]
fn a_job_that_runs_out_of_memory_is_given_to_a_worker_with_more_and_charged_nothing() {
    let mut cluster = cluster(3, &[(1, "small", 8), (2, "large", 16)]);
    let grants = cluster.grants();
    let small = grants.iter().find(|(session, _)| *session == 1).unwrap().1;
    let large = grants.iter().find(|(session, _)| *session == 2).unwrap().1;
    cluster.event(1, small, ended(Outcome::OutOfMemory, REASON));
    let (failures, state, reason) = last_of(&cluster, small.job.job);
    assert_eq!((failures, state), (0, JobState::Pending));
    assert_eq!(reason, "out of memory; it is given to a worker with more memory than 8.0 GiB");
    // The small worker gets the next job meanwhile, and then nothing.
    let next = cluster.grants();
    assert_eq!(next.len(), 1);
    assert!(next[0].0 == 1 && next[0].1.job != small.job);
    cluster.train(1, next[0].1);
    assert!(cluster.grants().is_empty(), "it waits for the large one");
    cluster.train(2, large);
    let again = cluster.grants();
    assert_eq!((again[0].0, again[0].1.job), (2, small.job));
    cluster.train(2, again[0].1);
    assert_eq!(cluster.counts()[2], 3, "{:?}", cluster.counts());
}

#[test]
fn a_job_that_runs_out_of_memory_where_there_is_most_fails_for_that_reason() {
    let mut cluster = cluster(1, &[(1, "small", 8), (2, "large", 16)]);
    for _ in 0..4 {
        let Some((session, attempt)) = cluster.grants().pop() else { break };
        cluster.event(session, attempt, ended(Outcome::OutOfMemory, REASON));
    }
    let (failures, state, reason) = last_of(&cluster, 1);
    assert_eq!((failures, state), (2, JobState::Failed), "{reason}");
    assert!(reason.contains("no other worker that takes its jobs has more memory"), "{reason}");
    assert!(reason.contains("failed in the same way twice"), "{reason}");
}

#[test]
fn a_job_that_waits_for_memory_holds_up_no_other_sweep_and_goes_where_it_can_once_there_is_no_more() {
    let mut cluster = cluster(2, &[(1, "small", 8), (2, "large", 16)]);
    let grants = cluster.grants();
    let small = grants.iter().find(|(session, _)| *session == 1).unwrap().1;
    cluster.event(1, small, ended(Outcome::OutOfMemory, REASON));
    assert!(cluster.grants().is_empty());
    cluster.submit(1, "");
    let other = cluster.grants();
    assert!(other.len() == 1 && other[0].0 == 1 && other[0].1.job.sweep.0 == 2, "{other:?}");
    cluster.train(1, other[0].1);
    // The large one goes.
    cluster.hear(crate::Event::SessionClosed(crate::SessionId(2)));
    let again = cluster.grants();
    assert_eq!((again[0].0, again[0].1.job), (1, small.job));
}

#[test]
fn a_worker_that_does_not_say_how_much_memory_it_has_is_treated_as_before() {
    let mut cluster = cluster(1, &[(1, "a", 0), (2, "b", 0)]);
    let (session, attempt) = cluster.grants()[0];
    assert_eq!(attempt, key(1, 1));
    cluster.event(session, attempt, ended(Outcome::OutOfMemory, REASON));
    assert_eq!(last_of(&cluster, 1), (1, JobState::Pending, REASON.to_owned()));
}

#[test]
fn a_job_that_paused_where_there_is_less_goes_on_there_though_it_ran_out_where_there_is_more() {
    let mut cluster = Cluster::with_sweep(2, "early_terminate: {type: top_k, min_iter: 1, k: 1}\n");
    cluster.memory_bytes = 16 << 30;
    cluster.connect(1, "large", 1, &[]);
    cluster.event(1, key(1, 1), ended(Outcome::OutOfMemory, REASON));
    // It is tried there once more, and the machine is lost with it.
    assert_eq!(cluster.grants().pop(), Some((1, key(1, 2))));
    cluster.hear(crate::Event::SessionClosed(crate::SessionId(1)));
    cluster.pass(3_600_000);
    cluster.memory_bytes = 8 << 30;
    cluster.connect(2, "small", 1, &[]);
    assert_eq!(cluster.grants().pop(), Some((2, key(1, 3))));
    cluster.memory_bytes = 16 << 30;
    cluster.connect(3, "large", 1, &[]);
    assert_eq!(cluster.grants().pop(), Some((3, key(2, 1))));
    pause(&mut cluster, 3, key(2, 1), 0.2);
    pause(&mut cluster, 2, key(1, 3), 0.9);
    assert_eq!(cluster.grants().pop(), Some((2, key(1, 4))), "its checkpoint is with the small one");
}
