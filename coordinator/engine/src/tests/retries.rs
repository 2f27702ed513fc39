//! Retries race with each other and with ends: what has ended well stays.

use domain::record::{EndedJob, WeightsFile};
use terms::{JobState, Outcome, SweepId};

use super::cluster::{Cluster, dataset, ended, key, metrics};
use crate::{
    AttemptEvent, ControlError, EndsSeen,
    command::{KeepWeights, Retried, Retry, Stop},
};

fn retry(
    cluster: &mut Cluster,
    (job, attempts): (u64, u32),
    state: JobState,
    seen: &EndsSeen,
) -> Result<Retried, ControlError> {
    let (sweep, jobs, seen) = (SweepId(1), vec![EndedJob { job, attempts, state }], seen.clone());
    cluster.try_order(Retry { sweep, jobs, all: true, seen, revived: Default::default() })
}

fn is_overtaken(reply: &Result<Retried, ControlError>) -> bool {
    matches!(reply, Err(ControlError::Overtaken))
}

/// Two sweeps' worth of ends: jobs 1 and 2 have failed.
fn two_failed() -> Cluster {
    let mut cluster = Cluster::with_sweep(2, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 2, &[]);
    for job in [1, 2] {
        cluster.event(1, key(job, 1), ended(Outcome::Failed, "crashed"));
    }
    cluster.take_effects();
    cluster
}

#[test]
fn a_result_stays_also_where_a_list_from_before_it_comes_late() {
    let mut cluster = two_failed();
    // Both have read that job 1 failed; the second one takes longer.
    let seen = cluster.ends();
    assert!(matches!(retry(&mut cluster, (1, 1), JobState::Failed, &seen), Ok(Retried { jobs: 1, .. })));
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
    cluster.start(1, key(1, 2));
    for epoch in 1..=2 {
        cluster.event(1, key(1, 2), AttemptEvent::Epoch(metrics(epoch).into()));
    }
    let file = WeightsFile { bytes: 7, blake3: format!("{:064x}", 1) };
    let done = AttemptEvent::Ended {
        outcome: Outcome::Done,
        reason: String::new(),
        log_tail: Vec::new(),
        weights: Some(Ok(file.clone())),
        details: terms::EndDetails::default(),
    };
    cluster.event(1, key(1, 2), done);
    cluster.order(KeepWeights { attempt: key(1, 2), file });
    let (records, counts) = (cluster.records.len(), cluster.counts());
    assert_eq!(counts, [0, 0, 1, 0, 1, 0]);
    let late = retry(&mut cluster, (1, 1), JobState::Failed, &seen);
    assert!(is_overtaken(&late), "{late:?}");
    assert_eq!((cluster.records.len(), cluster.counts()), (records, counts), "nothing has changed");
    assert!(cluster.grants().is_empty(), "the job that has weights does not run again");
    // Read again, the list has the other job alone.
    let seen = cluster.ends();
    assert!(matches!(retry(&mut cluster, (2, 1), JobState::Failed, &seen), Ok(Retried { jobs: 1, .. })));
    assert_eq!(cluster.counts(), [0, 1, 1, 0, 0, 0]);
}

#[test]
fn what_was_seen_of_one_engine_is_not_believed_by_the_next() {
    let mut cluster = two_failed();
    let seen = cluster.ends();
    let mut restored = Cluster::restarted(Default::default(), "", true);
    restored.connect(1, "a", 1, &[(key(1, 1), 0)]);
    restored.event(1, key(1, 1), AttemptEvent::Started { dataset: dataset("same"), resumed_epochs: 0 });
    for epoch in 1..=2 {
        restored.epoch(1, key(1, 1), epoch);
    }
    restored.event(1, key(1, 1), ended(Outcome::Done, ""));
    let late = retry(&mut restored, (1, 1), JobState::Failed, &seen);
    assert!(is_overtaken(&late), "{late:?}");
    assert_eq!(restored.counts(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_list_from_before_the_sweeps_end_is_not_taken_for_all_of_its_jobs() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.order(Stop(SweepId(1)));
    cluster.event(1, key(1, 1), ended(Outcome::Failed, "crashed"));
    let seen = cluster.ends();
    cluster.event(1, key(2, 1), ended(Outcome::HandedBack, "the worker leaves"));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 0, 2]);
    let late = retry(&mut cluster, (1, 1), JobState::Cancelled, &seen);
    assert!(is_overtaken(&late), "{late:?}");
}
