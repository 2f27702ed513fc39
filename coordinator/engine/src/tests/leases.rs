//! Leases, lost workers, re-attachment and fencing.

use domain::record::Record;

use terms::Outcome;

use super::cluster::{Cluster, ENDED, LEASE_MS, ended, key};
use crate::{CloseReason, Effect, Event, SessionId};

#[test]
fn heartbeats_keep_a_lease() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    for _ in 0..10 {
        cluster.pass(LEASE_MS - 1);
        cluster.heartbeat(1, &[key(1, 1)]);
    }
    assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_silent_workers_job_goes_to_another() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.take_effects();
    cluster.pass(LEASE_MS - 1);
    assert_eq!(cluster.grants(), []);
    cluster.pass(1);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn a_heartbeat_that_leaves_an_attempt_out_does_not_keep_it() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.take_effects();
    cluster.pass(LEASE_MS - 1);
    cluster.heartbeat(1, &[key(1, 1)]);
    cluster.pass(1);
    assert_eq!(Cluster::revoked(&cluster.effects), [key(2, 1)]);
}

#[test]
fn what_a_fenced_worker_says_changes_nothing() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.connect(2, "b", 1, &[]);
    cluster.pass(LEASE_MS);
    let records = cluster.records.len();
    cluster.epoch(1, key(1, 1), 1);
    cluster.event(1, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!((cluster.records.len(), cluster.refused), (records, [2, 0, 0]));
    cluster.heartbeat(1, &[key(1, 1)]);
    assert!(Cluster::revoked(&cluster.effects).contains(&key(1, 1)));
    cluster.train(2, key(1, 2));
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn another_workers_word_on_an_attempt_changes_nothing() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    let records = cluster.records.len();
    cluster.event(2, key(1, 1), ended(Outcome::Failed, ""));
    assert_eq!(cluster.records.len(), records);
}

#[test]
fn a_slot_whose_attempt_was_lost_is_free_when_the_attempt_has_ended_there() {
    let mut cluster = Cluster::with_sweep(2, "execution: {max_parallel: 1}");
    cluster.connect(1, "a", 1, &[]);
    cluster.pass(LEASE_MS);
    cluster.take_effects();
    cluster.heartbeat(1, &[key(1, 1)]);
    assert_eq!(cluster.grants(), [], "the trainer still runs");
    cluster.event(1, key(1, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
}

#[test]
fn a_worker_that_reconnects_in_time_keeps_its_attempts() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.pass(LEASE_MS / 2);
    cluster.take_effects();
    cluster.connect(2, "a", 1, &[(key(1, 1), 0)]);
    assert_eq!(Cluster::revoked(&cluster.effects), []);
    assert_eq!(cluster.grants(), []);
    cluster.epoch(2, key(1, 1), 1);
    cluster.epoch(2, key(1, 1), 2);
    cluster.event(2, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_worker_that_reconnects_too_late_is_refused_its_attempts() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.pass(LEASE_MS);
    cluster.take_effects();
    cluster.connect(3, "a", 1, &[(key(1, 1), 0)]);
    assert_eq!(Cluster::revoked(&cluster.effects), [key(1, 1)]);
}

#[test]
fn an_attempt_that_its_worker_lost_is_tried_again_at_once() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.take_effects();
    cluster.connect(2, "a", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn a_second_stream_of_the_same_name_replaces_the_first() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "a", 1, &[(key(1, 1), 0)]);
    let replaced = Effect::Close { session: SessionId(1), reason: CloseReason::Replaced };
    assert!(cluster.effects.iter().any(|effect| format!("{effect:?}") == format!("{replaced:?}")));
    let records = cluster.records.len();
    cluster.event(1, key(1, 1), ended(Outcome::Failed, ""));
    assert_eq!(cluster.records.len(), records, "the old stream has no say");
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.train(2, key(1, 1));
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_job_that_is_lost_again_and_again_fails() {
    let mut cluster = Cluster::with_sweep(1, "");
    for session in 1..=11 {
        cluster.connect(session, "a", 1, &[]);
        let attempt = u32::try_from(session).unwrap();
        cluster.start(session, key(1, attempt));
    }
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_draining_worker_gets_no_jobs() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: String::new() });
    cluster.take_effects();
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), []);
}

#[test]
fn an_attempt_number_is_never_used_twice() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 100}");
    for session in 1..=5 {
        cluster.connect(session, "a", 1, &[]);
    }
    let granted = |record: &Record| match record {
        Record::AttemptGranted { attempt, .. } => Some(attempt.attempt),
        _ => None,
    };
    let numbers: Vec<u32> = cluster.records.iter().filter_map(granted).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn a_worker_that_is_connected_but_silent_is_cut_off() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.pass(LEASE_MS);
    assert!(!cluster.take_effects().iter().any(|effect| matches!(effect, Effect::Close { .. })));
    cluster.pass(1);
    let is_cut_off = |effect: &Effect| {
        matches!(effect, Effect::Close { session: SessionId(1), reason: CloseReason::Silent })
    };
    assert!(cluster.take_effects().iter().any(is_cut_off));
    // What it says later is not heard; when it comes back, it is a worker like any other.
    cluster.heartbeat(1, &[key(1, 1)]);
    cluster.connect(2, "a", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn a_worker_that_is_heard_from_stays() {
    let mut cluster = Cluster::new();
    cluster.connect(1, "a", 1, &[]);
    for _ in 0..5 {
        cluster.pass(LEASE_MS / 2);
        cluster.heartbeat(1, &[]);
    }
    assert!(!cluster.take_effects().iter().any(|effect| matches!(effect, Effect::Close { .. })));
}

#[test]
fn a_slot_whose_worker_does_not_know_its_ended_attempt_is_free() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    // The grant got lost: the lease runs out while the worker says that it runs nothing.
    cluster.pass(LEASE_MS - 1);
    cluster.heartbeat(1, &[]);
    assert_eq!(cluster.grants().len(), 1);
    cluster.pass(1);
    cluster.heartbeat(1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
}

#[test]
fn what_ended_while_the_stream_was_away_counts_on_whichever_slot_it_was() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 2, &[]);
    for job in [1, 2] {
        cluster.start(1, key(job, 1));
    }
    cluster.take_effects();
    // Both come back ended, one of them on a slot that is not there any more.
    cluster.connect(2, "a", 1, &[(key(1, 1), ENDED), (key(2, 1), ENDED)]);
    let effects = cluster.take_effects();
    assert!(Cluster::revoked(&effects).is_empty(), "{effects:?}");
    for job in [1, 2] {
        cluster.epoch(2, key(job, 1), 1);
        cluster.epoch(2, key(job, 1), 2);
        cluster.event(2, key(job, 1), ended(Outcome::Done, ""));
    }
    assert_eq!(cluster.counts(), [0, 1, 2, 0, 0, 0]);
}
