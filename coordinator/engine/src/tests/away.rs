//! Data sets that are away for a while, and why jobs wait.

use domain::record::Record;
use terms::{AttemptKey, AttemptState, JobState, Outcome, SweepId};

use super::cluster::{Cluster, LEASE_MS, dataset, ended, key};
use crate::{
    AttemptEvent, Event, Observation, SessionId, WaitReason, WorkerStatus,
    command::{Cancel, Pause, Resume, Retry},
    query::{DescribeSweep, ListWorkers},
};

fn away(cluster: &mut Cluster, session: u64, attempt: AttemptKey) {
    cluster.event(session, attempt, ended(Outcome::Unavailable, "cannot read d: Input/output error"));
}

/// Lets a worker live without saying anything else.
fn live(cluster: &mut Cluster, sessions: &[u64], milliseconds: u64) {
    for _ in 0..milliseconds / (LEASE_MS / 2) {
        cluster.pass(LEASE_MS / 2);
        sessions.iter().for_each(|session| cluster.heartbeat(*session, &[]));
    }
}

fn worker(cluster: &mut Cluster) -> (WorkerStatus, String) {
    let page = cluster.ask(&ListWorkers { after: None, limit: 100 });
    (page.workers[0].status, page.workers[0].reason.clone())
}

fn waiting(cluster: &mut Cluster) -> (WaitReason, String) {
    let waiting = cluster.sweep().waiting.expect("jobs wait");
    (waiting.reason, waiting.text)
}

/// Attempts that were charged, and final states, of all jobs so far.
fn charged(cluster: &Cluster) -> u32 {
    let failures = cluster.records.iter().filter_map(|record| match record {
        Record::JobChanged { history, .. } => Some(history.failures + history.losses),
        _ => None,
    });
    failures.max().unwrap_or(0)
}

#[test]
fn jobs_wait_for_a_data_set_that_was_there_and_one_looks_whether_it_is_back() {
    let mut cluster = Cluster::with_sweep(40, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 2, &[]);
    cluster.train(1, key(1, 1));
    cluster.take_effects();
    for job in [2, 3] {
        away(&mut cluster, 1, key(job, 1));
    }
    assert_eq!(cluster.grants(), [], "neither slot is given a job at once");
    let (state, reason) = worker(&mut cluster);
    assert_eq!(state, WorkerStatus::Quarantined);
    assert!(reason.contains("Input/output error; tried again in 1 s"), "{reason}");
    let (why, text) = waiting(&mut cluster);
    assert_eq!(why, WaitReason::DataSet);
    assert!(text.contains("a: cannot read d: Input/output error"), "{text}");
    // One job looks, after pauses that grow: with 10 minutes of it, a dozen attempts.
    let mut looks = 0;
    for _ in 0..1_200 {
        live(&mut cluster, &[1], 500);
        let granted = cluster.grants();
        assert!(granted.len() <= 1, "{granted:?}");
        if let Some(&(_, attempt)) = granted.first() {
            assert_eq!(cluster.sweep().counts.running, 1);
            away(&mut cluster, 1, attempt);
            looks += 1;
        }
    }
    assert!((10..=20).contains(&looks), "{looks}");
    assert_eq!((cluster.counts(), charged(&cluster)), ([39, 0, 1, 0, 0, 0], 0));
    let (session, attempt) = loop {
        live(&mut cluster, &[1], 500);
        if let Some(granted) = cluster.grants().pop() {
            break granted;
        }
    };
    cluster.start(session, attempt);
    assert_eq!(cluster.grants().len(), 1, "it is back: the other slot is given a job, too");
    assert_eq!(worker(&mut cluster), (WorkerStatus::Connected, String::new()));
}

#[test]
fn a_look_that_is_lost_does_not_end_the_looking() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    away(&mut cluster, 1, key(1, 1));
    live(&mut cluster, &[1], 1_000);
    cluster.take_effects();
    // Its worker leaves it out of its heartbeats, so that its lease ends.
    live(&mut cluster, &[1], LEASE_MS);
    assert_eq!(cluster.grants(), []);
    live(&mut cluster, &[1], 1_000);
    assert_eq!(cluster.grants(), [(1, key(1, 3))]);
}

#[test]
fn other_workers_and_other_sweeps_go_on() {
    let mut cluster = Cluster::with_sweep(3, "");
    let other = "name: other\ndataset: {path: e}\nparameters: {seed: {value: 1}}\n".to_owned();
    let other = domain::specification::SpecificationSource { text: other, ..Default::default() };
    cluster.submit_this(domain::specification::Specification::parse(&other).unwrap());
    cluster.connect(1, "a", 1, &[]);
    away(&mut cluster, 1, key(1, 1));
    assert_eq!(cluster.grants().last(), Some(&(1, AttemptKey::new(2, 1, 1))));
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn a_data_set_that_no_worker_ever_read_fails_its_jobs_in_the_end_and_can_be_tried_again() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    for _ in 0..400 {
        for (session, attempt) in cluster.grants() {
            away(&mut cluster, session, attempt);
        }
        live(&mut cluster, &[1, 2], 500);
    }
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 3, 0]);
    let reason = cluster.records.iter().rev().find_map(|record| match record {
        Record::JobChanged { state: JobState::Failed, reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.unwrap().contains("no worker that is connected has the data set: cannot read d"));
    let states = cluster.records.iter().filter_map(|record| match record {
        Record::AttemptEnded { state, .. } => Some(*state),
        _ => None,
    });
    assert!(states.clone().any(|state| state == AttemptState::Unavailable));
    let state = JobState::Failed;
    let jobs = (1..=3).map(|job| domain::record::EndedJob { job, attempts: 50, state }).collect();
    let seen = cluster.ends();
    cluster.order(Retry { sweep: SweepId(1), jobs, all: true, seen, revived: Default::default() });
    let granted = cluster.grants();
    assert_eq!(granted.len(), 2, "every worker tries it again at once");
    granted.into_iter().for_each(|(session, attempt)| cluster.train(session, attempt));
}

#[test]
fn what_is_said_of_a_place_that_was_changed_meanwhile_is_not_held_against_the_new_one() {
    for outcome in [Outcome::Unavailable, Outcome::Rejected] {
        let mut cluster = Cluster::with_sweep(2, "execution: {attempts_max: 1}");
        cluster.connect(1, "a", 1, &[]);
        let moved = cluster.change("dataset.path=elsewhere");
        cluster.order(moved);
        cluster.take_effects();
        cluster.event(1, key(1, 1), ended(outcome, "cannot read d"));
        assert_eq!(cluster.grants(), [(1, key(1, 2))], "{outcome:?}");
        assert_eq!(worker(&mut cluster), (WorkerStatus::Connected, String::new()), "{outcome:?}");
        // What it says of the new one counts.
        cluster.event(1, key(1, 2), ended(outcome, "cannot read elsewhere"));
        let counts = cluster.counts();
        match outcome {
            Outcome::Unavailable => assert_eq!(worker(&mut cluster).0, WorkerStatus::Quarantined),
            _ => assert_eq!(counts, [0, 1, 0, 0, 1, 0]),
        }
    }
}

#[test]
fn another_data_set_at_the_old_place_is_not_held_against_the_new_one() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    cluster.connect(2, "b", 1, &[]);
    let moved = cluster.change("dataset.path=elsewhere");
    cluster.order(moved);
    cluster.take_effects();
    let other = AttemptEvent::Started { dataset: dataset("other"), resumed_epochs: 0 };
    cluster.event(2, key(3, 1), other.clone());
    cluster.event(2, key(3, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants(), [(2, key(3, 2))]);
    cluster.event(2, key(3, 2), other);
    cluster.event(2, key(3, 2), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants(), [], "there, it has looked");
}

#[test]
fn an_attempt_that_began_at_a_place_that_was_wrong_does_not_settle_the_data_set() {
    let mut cluster = Cluster::with_sweep(3, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    // The user sees the mistake while the data set is prepared.
    let moved = cluster.change("dataset.path=right");
    cluster.order(moved);
    cluster.take_effects();
    let found = |hash| AttemptEvent::Started { dataset: dataset(hash), resumed_epochs: 0 };
    cluster.event(1, key(1, 1), found("wrong"));
    assert_eq!(Cluster::revoked(&cluster.take_effects()), [key(1, 1)]);
    cluster.event(1, key(1, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
    cluster.event(1, key(1, 2), found("right"));
    assert_eq!(cluster.sweep().dataset.unwrap().content_hash, "right");
    assert_eq!((cluster.counts(), charged(&cluster)), ([2, 1, 0, 0, 0, 0], 0));
    // Where results came from that data set, no other takes its place.
    let moved = cluster.change("dataset.path=wrong");
    cluster.order(moved);
    cluster.epoch(1, key(1, 2), 1);
    assert_eq!(cluster.counts(), [2, 1, 0, 0, 0, 0]);
}

#[test]
fn one_fault_of_a_data_set_is_no_news_of_each_job() {
    let mut cluster = Cluster::with_sweep(8, "");
    cluster.connect(1, "a", 8, &[]);
    cluster.take_effects();
    (1..=8).for_each(|job| away(&mut cluster, 1, key(job, 1)));
    let told = cluster.take_effects().into_iter().filter(|effect| {
        matches!(
            effect,
            crate::Effect::Observed { observation: Observation::Job { reason, .. }, .. }
                if !reason.is_empty()
        )
    });
    assert_eq!(told.count(), 0);
}

#[test]
fn the_reason_why_jobs_wait_is_the_schedulers_own() {
    use WaitReason as Why;
    let mut cluster = Cluster::with_sweep(9, "execution: {max_parallel: 1, attempts_max: 1}");
    assert_eq!(waiting(&mut cluster), (Why::NoWorker, "no worker is connected".to_owned()));
    cluster.connect(1, "a", 2, &[]);
    assert_eq!(waiting(&mut cluster).0, Why::MaxParallel);
    cluster.order(Pause(SweepId(1)));
    assert_eq!(waiting(&mut cluster).0, Why::Paused);
    cluster.order(Resume(SweepId(1)));
    cluster.hear(Event::WorkerDraining { session: SessionId(1), reason: "it is tired".into() });
    cluster.train(1, key(1, 1));
    assert_eq!(
        waiting(&mut cluster),
        (Why::NoWorker, "every connected worker is leaving: a: it is tired".to_owned())
    );
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(waiting(&mut cluster).0, Why::MaxParallel);
    cluster.train(2, key(2, 1));
    // One that takes packs of two sweeps is busy with the first.
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.submit(2, "");
    cluster.connect(1, "a", 1, &[]);
    let second = cluster.ask(&DescribeSweep::new(SweepId(2)));
    assert_eq!(second.waiting.unwrap().text, "every slot is busy with other sweeps");
    assert_eq!(waiting(&mut cluster), (Why::SlotsBusy, "every slot is busy".to_owned()));
    cluster.train(1, key(1, 1));
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.sweep().waiting, None);
}

#[test]
fn watchers_hear_once_that_nothing_runs_and_again_when_the_reason_changes() {
    let mut cluster = Cluster::with_sweep(2, "");
    let told = |cluster: &mut Cluster, seconds: u64| {
        let mut texts = Vec::new();
        for _ in 0..seconds * 4 {
            cluster.pass(250);
            if cluster.take_effects().iter().any(|effect| matches!(effect, crate::Effect::Observed { .. })) {
                let waiting = cluster.sweep().waiting.unwrap();
                texts.push((waiting.text, waiting.idle_ms >= 10_000));
            }
        }
        texts
    };
    assert_eq!(told(&mut cluster, 9), []);
    assert_eq!(told(&mut cluster, 30), [("no worker is connected".to_owned(), true)]);
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!((waiting.reason, waiting.idle_ms), (WaitReason::SlotsBusy, 0), "it moves at once");
}

#[test]
fn a_sweep_fails_for_no_data_set_that_only_another_one_waited_for() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    away(&mut cluster, 1, key(1, 1));
    cluster.order(Pause(SweepId(1)));
    live(&mut cluster, &[1], 120_000);
    cluster.submit(1, "");
    let second = AttemptKey::new(2, 1, 1);
    assert_eq!(cluster.grants().last(), Some(&(1, second)));
    away(&mut cluster, 1, second);
    let sweep = cluster.ask(&DescribeSweep::new(SweepId(2)));
    let counts = sweep.counts;
    assert_eq!((counts.pending, counts.failed), (1, 0), "for this one, it is the first fault");
    assert_eq!(worker(&mut cluster).0, WorkerStatus::Quarantined);
    for sweep in [1, 2] {
        cluster.order(Cancel(SweepId(sweep)));
    }
    live(&mut cluster, &[1], 500);
    assert_eq!(worker(&mut cluster).0, WorkerStatus::Connected, "no sweep needs it any more");
}
