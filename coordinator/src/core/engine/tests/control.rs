//! Submit, stop, cancel.

use proto::{SweepId, v1};

use super::cluster::{Cluster, ended, key, specification};
use crate::core::{
    engine::{ControlError, Input, Reply},
    record::Record,
};

#[test]
fn a_repeated_submission_gives_the_same_sweep() {
    let mut cluster = Cluster::new();
    for (round, created) in [(1, true), (2, false)] {
        let specification = Box::new(specification(3, ""));
        match cluster.apply(Input::Submit { specification, request_id: "same".into() }) {
            Reply::Submitted(sweep, new) => assert_eq!((sweep.sweep_id, new), (1, created), "round {round}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cluster.records.len(), 1);
}

#[test]
fn stop_lets_running_jobs_end_and_starts_no_more() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.apply(Input::Stop(SweepId(1)));
    assert_eq!(cluster.sweep().state(), v1::SweepState::Stopping);
    cluster.take_effects();
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), []);
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 2]);
    assert_eq!(cluster.sweep().state(), v1::SweepState::Stopped);
}

#[test]
fn a_job_that_fails_while_its_sweep_stops_is_not_tried_again() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.apply(Input::Stop(SweepId(1)));
    cluster.event(1, key(1, 1), ended(v1::Outcome::Failed, "crashed"));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 0, 2]);
}

#[test]
fn cancel_ends_running_jobs_at_once() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.take_effects();
    cluster.apply(Input::Cancel(SweepId(1)));
    assert_eq!(Cluster::revoked(&cluster.effects), [key(1, 1), key(2, 1)]);
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 0, 3]);
    assert_eq!(cluster.sweep().state(), v1::SweepState::Cancelled);
    let ends = cluster.records.iter().filter(|record| matches!(record, Record::SweepChanged { .. })).count();
    assert_eq!(ends, 1);
}

#[test]
fn stop_and_cancel_do_no_more_when_asked_twice() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    for input in [Input::Stop(SweepId(1)), Input::Cancel(SweepId(1))] {
        cluster.apply(input.clone());
        let records = cluster.records.len();
        assert!(matches!(cluster.apply(input), Reply::Sweep(_)));
        assert_eq!(cluster.records.len(), records);
    }
}

#[test]
fn what_has_ended_cannot_be_stopped() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    assert!(matches!(
        cluster.apply(Input::Cancel(SweepId(1))),
        Reply::Refused(ControlError::AlreadyFinal { .. })
    ));
    assert!(matches!(
        cluster.apply(Input::Stop(SweepId(9))),
        Reply::Refused(ControlError::NoSuchSweep(SweepId(9)))
    ));
}
