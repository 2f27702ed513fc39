//! Submit, stop, cancel.

use std::sync::Arc;

use domain::{
    definition::SweepDefinition,
    record::{EndedJob, Record},
};
use terms::{AttemptState, JobKey, JobState, Outcome, SweepId, SweepState};

use super::cluster::{Cluster, ended, key, specification};
use crate::{
    ControlError, Effect, Event, JobEnd, SessionId, SweepView, ToWorker, WorkerStatus, WorkerView,
    command::{Cancel, Drain, EndJob, Extend, Pause, Resume, Retried, Retry, Stop, Submit},
    query::DescribeWorker,
};

#[test]
fn a_repeated_submission_gives_the_same_sweep() {
    let mut cluster = Cluster::new();
    for (round, created) in [(1, true), (2, false)] {
        let definition = Box::new(SweepDefinition::new(SweepId(0), specification(3, "")).unwrap());
        let submitted = cluster.order(Submit::new(definition, "same".into()).unwrap());
        assert_eq!((submitted.sweep.id().0, submitted.created), (1, created), "round {round}");
    }
    assert_eq!(cluster.records.len(), 1);
}

#[test]
fn stop_lets_running_jobs_end_and_starts_no_more() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.order(Stop(SweepId(1)));
    assert_eq!(cluster.sweep().state, SweepState::Stopping);
    cluster.take_effects();
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), []);
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 2]);
    assert_eq!(cluster.sweep().state, SweepState::Stopped);
}

#[test]
fn a_job_that_fails_while_its_sweep_stops_is_not_tried_again() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.order(Stop(SweepId(1)));
    cluster.event(1, key(1, 1), ended(Outcome::Failed, "crashed"));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 0, 2]);
}

#[test]
fn cancel_ends_running_jobs_at_once() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.take_effects();
    cluster.order(Cancel(SweepId(1)));
    assert_eq!(Cluster::revoked(&cluster.effects), [key(1, 1), key(2, 1)]);
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 0, 3]);
    assert_eq!(cluster.sweep().state, SweepState::Cancelled);
    let ends = cluster.records.iter().filter(|record| matches!(record, Record::SweepChanged { .. })).count();
    assert_eq!(ends, 1);
}

#[test]
fn stop_and_cancel_do_no_more_when_asked_twice() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.order(Stop(SweepId(1)));
    let records = cluster.records.len();
    cluster.order(Stop(SweepId(1)));
    assert_eq!(cluster.records.len(), records);
    cluster.order(Cancel(SweepId(1)));
    let records = cluster.records.len();
    cluster.order(Cancel(SweepId(1)));
    assert_eq!(cluster.records.len(), records);
}

#[test]
fn what_has_ended_cannot_be_stopped() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    assert!(matches!(cluster.refusal(Cancel(SweepId(1))), ControlError::AlreadyFinal { .. }));
    assert_eq!(cluster.refusal(Stop(SweepId(9))), ControlError::NoSuchSweep(SweepId(9)));
}

#[test]
fn a_paused_sweep_starts_nothing_until_it_is_resumed() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    for _ in 0..2 {
        cluster.order(Pause(SweepId(1)));
        assert_eq!(cluster.sweep().state, SweepState::Paused);
    }
    cluster.take_effects();
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), []);
    assert_eq!(cluster.counts(), [2, 0, 1, 0, 0, 0]);
    for _ in 0..2 {
        cluster.order(Resume(SweepId(1)));
    }
    assert_eq!(cluster.grants(), [(1, key(2, 1))]);
    let changes =
        cluster.records.iter().filter(|record| matches!(record, Record::SweepChanged { .. })).count();
    assert_eq!(changes, 2, "asked twice, it does no more");
}

#[test]
fn a_job_that_fails_in_a_paused_sweep_waits_and_the_last_end_finishes_it() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.order(Pause(SweepId(1)));
    cluster.event(1, key(1, 1), ended(Outcome::Failed, "crashed"));
    assert_eq!(cluster.counts(), [1, 0, 0, 0, 0, 0]);
    cluster.order(Resume(SweepId(1)));
    cluster.order(Pause(SweepId(1)));
    cluster.train(1, key(1, 2));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

#[test]
fn an_ended_sweep_is_neither_paused_nor_resumed() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.order(Cancel(SweepId(1)));
    assert!(matches!(cluster.refusal(Pause(SweepId(1))), ControlError::AlreadyFinal { .. }));
    assert!(matches!(cluster.refusal(Resume(SweepId(1))), ControlError::AlreadyFinal { .. }));
    assert_eq!(cluster.refusal(Pause(SweepId(9))), ControlError::NoSuchSweep(SweepId(9)));
}

fn retry(cluster: &mut Cluster, failed: &[(u64, u32)]) -> u64 {
    let state = JobState::Failed;
    let jobs = failed.iter().map(|&(job, attempts)| EndedJob { job, attempts, state }).collect();
    let seen = cluster.ends();
    cluster.order(Retry { sweep: SweepId(1), jobs, all: true, seen, revived: Default::default() }).jobs
}

#[test]
fn failed_jobs_are_tried_again_with_all_their_attempts() {
    let mut cluster = Cluster::with_sweep(2, "execution: {attempts_max: 2}");
    cluster.connect(1, "a", 1, &[]);
    for attempt in 1..=2 {
        cluster.event(1, key(1, attempt), ended(Outcome::Failed, "crashed"));
    }
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 1, 0]);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    cluster.take_effects();
    assert_eq!(retry(&mut cluster, &[(1, 2)]), 1);
    assert_eq!(cluster.sweep().state, SweepState::Running);
    assert_eq!(cluster.sweep().ended_unix_ms, None);
    assert_eq!(cluster.grants(), [(1, key(1, 3))], "attempt numbers go on");
    // The same list again, as from a second call that read before the first had acted, does nothing.
    assert_eq!(retry(&mut cluster, &[(1, 2)]), 0);
    cluster.event(1, key(1, 3), ended(Outcome::Failed, "crashed"));
    cluster.train(1, key(1, 4));
    assert_eq!(cluster.counts(), [0, 0, 2, 0, 0, 0]);
    assert_eq!(retry(&mut cluster, &[]), 0);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

#[test]
fn a_worker_that_refused_a_sweep_may_try_it_again() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.event(1, key(1, 1), ended(Outcome::Rejected, "no such folder"));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 1, 0]);
    cluster.take_effects();
    assert_eq!(retry(&mut cluster, &[(1, 1)]), 1);
    cluster.train(1, key(1, 2));
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 0, 0]);
}

/// How often a worker was asked to leave since the last call.
fn drains(cluster: &mut Cluster) -> usize {
    let told = |effect: &Effect| matches!(effect, Effect::Send { message: ToWorker::Drain { .. }, .. });
    cluster.take_effects().into_iter().filter(told).count()
}

#[test]
fn a_drained_worker_whose_stream_breaks_before_the_order_arrives_gets_it_on_the_next() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    cluster.order(Drain("a".parse().unwrap()));
    cluster.take_effects();
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.connect(2, "a", 1, &[(key(2, 1), 0)]);
    assert_eq!(drains(&mut cluster), 1);
    cluster.train(2, key(2, 1));
    // A process that is started later is meant to work.
    cluster.predecessors = vec!["one".into()];
    cluster.connect_process(3, "a", "two", 1, &[]);
    assert_eq!(drains(&mut cluster), 0);
}

#[test]
fn a_drained_worker_is_asked_once_to_leave_and_gets_no_jobs() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.take_effects();
    for _ in 0..2 {
        cluster.order(Drain("a".parse().unwrap()));
    }
    assert_eq!(drains(&mut cluster), 1);
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), []);
    let refused = cluster.refusal(Drain("b".parse().unwrap()));
    assert!(matches!(refused, ControlError::NoSuchWorker(_)));
}

/// The sweep's definition with as many jobs as `jobs`, and how many it had.
fn extension(cluster: &mut Cluster, jobs: u32) -> Extend {
    let base = cluster.definition();
    let definition = Arc::new(base.extended(specification(jobs, "")).unwrap());
    Extend { sweep: SweepId(1), base, definition, revived: Default::default() }
}

#[test]
fn a_limit_that_changes_counts_for_what_is_granted_from_then_on() {
    let mut cluster = Cluster::with_sweep(6, "execution: {max_parallel: 1, job_timeout: 3s}");
    cluster.connect(1, "a", 4, &[]);
    assert_eq!(cluster.grants().len(), 1);
    // A raised one starts jobs at once.
    let raise = cluster.change("execution.max_parallel=3");
    let late = cluster.change("execution.max_parallel=4");
    let raised = cluster.order(raise.clone());
    assert_eq!((raised.added_jobs, raised.sweep.job_count()), (0, 6));
    assert_eq!(cluster.grants().len(), 2);
    // Asked again, and by someone who had not seen it: refused, so that nothing is lost.
    for stale in [raise, late] {
        assert_eq!(cluster.refusal(stale), ControlError::Overtaken);
    }
    let records = cluster.records.len();
    let same = cluster.change("execution.max_parallel=3");
    assert_eq!(cluster.order(same).added_jobs, 0);
    assert_eq!(cluster.records.len(), records, "nothing changed");
    // A lowered one starts no more, and ends none.
    let lower = cluster.change("execution.max_parallel=2");
    cluster.order(lower);
    assert_eq!(cluster.counts(), [3, 3, 0, 0, 0, 0]);
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), []);
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.grants().len(), 1);
    let kept = cluster.records.iter().filter(|record| matches!(record, Record::SweepExtended { .. }));
    assert_eq!(kept.count(), 2);
}

#[test]
fn a_finished_sweep_keeps_its_end_when_only_its_settings_change() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    let name = cluster.change("name=other");
    cluster.order(name);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.definition.specification.name.as_str()), (SweepState::Finished, "other"));
    assert!(sweep.ended_unix_ms.is_some());
}

#[test]
fn the_data_set_of_a_sweep_stays_where_it_is_once_no_job_is_left_that_would_look_at_another() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.train(1, key(1, 1));
    let moves = cluster.change("dataset.path=/other");
    assert_eq!(cluster.order(moves).added_jobs, 0, "job 2 is left, whose worker looks");
    cluster.train(1, key(2, 1));
    let moves = cluster.change("dataset.path=/third");
    match cluster.refusal(moves) {
        error @ ControlError::NobodyLooks { .. } => {
            assert!(error.to_string().contains("with the data set at /other,"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let base = cluster.definition();
    let more = specification(3, "").with_overrides(&["dataset.path=/third".to_owned()]).unwrap();
    let definition = Arc::new(base.extended(more).unwrap());
    let with_a_job = Extend { sweep: SweepId(1), base, definition, revived: Default::default() };
    assert_eq!(cluster.order(with_a_job).added_jobs, 1, "the new job's worker looks");
}

#[test]
fn an_extended_sweep_keeps_what_is_done_and_runs_what_is_new() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    cluster.take_effects();
    let more = extension(&mut cluster, 3);
    // The seeds of a range of three lie at 1, 2 and 3: one is new.
    let extended = cluster.order(more.clone());
    assert_eq!((extended.sweep.state, extended.added_jobs), (SweepState::Running, 1));
    assert_eq!(cluster.grants(), [(1, key(3, 1))]);
    // The same again adds nothing; what was made for fewer jobs is refused.
    let records = cluster.records.len();
    let again = extension(&mut cluster, 3);
    assert_eq!(cluster.order(again).added_jobs, 0);
    assert_eq!(cluster.refusal(more), ControlError::Overtaken);
    assert_eq!(cluster.records.len(), records);
    cluster.train(1, key(3, 1));
    assert_eq!(cluster.counts(), [0, 0, 3, 0, 0, 0]);
    let late = extension(&mut cluster, 5);
    cluster.order(late);
    cluster.order(Cancel(SweepId(1)));
    let later = extension(&mut cluster, 6);
    let told = cluster.refusal(later).to_string();
    assert!(told.contains("is cancelled, and takes no jobs; `sweep retry 1`"), "{told}");
}

fn end_job(cluster: &mut Cluster, job: u64, how: JobEnd) -> Result<SweepView, ControlError> {
    cluster.try_order(EndJob { job: JobKey { sweep: SweepId(1), job }, how })
}

#[test]
fn one_job_is_cancelled_wherever_it_is_and_the_others_go_on() {
    let mut cluster = Cluster::with_sweep(5, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.event(1, key(2, 1), ended(Outcome::Failed, "crashed"));
    // 1 and 2 run, the latter for the second time; the others never began.
    cluster.take_effects();
    for job in [1, 4] {
        assert!(end_job(&mut cluster, job, JobEnd::Cancel).is_ok());
        let records = cluster.records.len();
        let again = end_job(&mut cluster, job, JobEnd::Cancel);
        assert!(matches!(again, Err(ControlError::JobHasEnded(key)) if key.job == job), "{again:?}");
        assert_eq!(cluster.records.len(), records);
    }
    assert_eq!(Cluster::revoked(&cluster.take_effects()), [key(1, 1)]);
    assert_eq!(cluster.counts(), [2, 1, 0, 0, 0, 2]);
    cluster.event(1, key(1, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.grants(), [(1, key(3, 1))]);
    cluster.train(1, key(3, 1));
    cluster.train(1, key(2, 2));
    assert_eq!(cluster.grants().last(), Some(&(1, key(5, 1))), "4 is left out");
    cluster.train(1, key(5, 1));
    assert_eq!(cluster.counts(), [0, 0, 3, 0, 0, 2]);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    for (job, sweep) in [(0, 1), (6, 1), (1, 9)] {
        let job = JobKey { sweep: SweepId(sweep), job };
        let refused = cluster.refusal(EndJob { job, how: JobEnd::Stop });
        assert!(matches!(refused, ControlError::NoSuchJob { .. } | ControlError::NoSuchSweep(_)));
    }
}

#[test]
fn a_stopped_job_ends_with_its_attempt_also_after_a_restart() {
    for (outcome, counts) in [
        (Outcome::Failed, [0, 0, 0, 0, 0, 1]),
        (Outcome::HandedBack, [0, 0, 0, 0, 0, 1]),
        (Outcome::Diverged, [0, 0, 0, 1, 0, 0]),
    ] {
        let mut cluster = Cluster::with_sweep(1, "");
        cluster.connect(1, "a", 1, &[]);
        cluster.start(1, key(1, 1));
        for _ in 0..2 {
            assert!(end_job(&mut cluster, 1, JobEnd::Stop).is_ok());
        }
        let told = |record: &&Record| matches!(record, Record::JobChanged { state: JobState::Running, .. });
        assert_eq!(cluster.records.iter().filter(told).count(), 1, "asked twice, it does no more");
        assert_eq!(cluster.counts(), [0, 1, 0, 0, 0, 0]);
        cluster.event(1, key(1, 1), ended(outcome, "so"));
        assert_eq!(cluster.counts(), counts);
        assert_eq!(cluster.sweep().state, SweepState::Finished);
    }
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    assert!(end_job(&mut cluster, 1, JobEnd::Stop).is_ok());
    let Some(Record::JobChanged { history, reason, .. }) = cluster.records.last().cloned() else {
        panic!("the stop is recorded")
    };
    let mut restored = Cluster::restarted(history, &reason, false);
    restored.connect(1, "a", 1, &[(key(1, 1), 0)]);
    restored.event(1, key(1, 1), ended(Outcome::Failed, "crashed"));
    assert_eq!(restored.counts(), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn cancelled_jobs_are_tried_again_and_so_is_a_sweep_that_was_cancelled_as_a_whole() {
    let mut cluster = Cluster::with_sweep(4, "");
    cluster.connect(1, "a", 1, &[]);
    assert!(end_job(&mut cluster, 4, JobEnd::Cancel).is_ok());
    let cancelled = |job, attempts| EndedJob { job, attempts, state: JobState::Cancelled };
    let retry = |cluster: &mut Cluster, jobs: Vec<EndedJob>, all| {
        let seen = cluster.ends();
        cluster.try_order(Retry { sweep: SweepId(1), jobs, all, seen, revived: Default::default() })
    };
    for retried in [1, 0] {
        let reply = retry(&mut cluster, vec![cancelled(4, 0)], false);
        assert!(matches!(reply, Ok(Retried { jobs, .. }) if jobs == retried), "{reply:?}");
    }
    assert_eq!(cluster.counts(), [3, 1, 0, 0, 0, 0]);
    cluster.order(Cancel(SweepId(1)));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 0, 4]);
    let refused = retry(&mut cluster, vec![cancelled(1, 1)], false);
    assert!(matches!(refused, Err(ControlError::OnlyAsAWhole { .. })), "{refused:?}");
    let reply = retry(&mut cluster, vec![cancelled(1, 1), cancelled(4, 0)], true);
    assert!(matches!(reply, Ok(Retried { jobs: 4, .. })), "{reply:?}");
    let is_end =
        |record: &&Record| matches!(record, Record::AttemptEnded { state: AttemptState::Revoked, .. });
    assert_eq!(cluster.records.iter().filter(is_end).count(), 1);
    cluster.take_effects();
    cluster.event(1, key(1, 1), ended(Outcome::Revoked, ""));
    let mut given = cluster.grants();
    while let Some((session, attempt)) = given.pop() {
        cluster.train(session, attempt);
        given.extend(cluster.grants());
    }
    assert_eq!(cluster.counts(), [0, 0, 4, 0, 0, 0]);
}

#[test]
fn whether_a_worker_knows_that_it_was_drained_is_what_it_says_itself() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    let a = || "a".parse().unwrap();
    let knows = |worker: WorkerView| {
        let unconfirmed = worker.reason == "drained on request, which it has not confirmed";
        let told_only = worker.status == WorkerStatus::Draining && !worker.has_said_draining;
        assert_eq!(unconfirmed, told_only, "{}", worker.reason);
        (worker.status, worker.has_said_draining)
    };
    let draining = WorkerStatus::Draining;
    // The same after a restart, when it has forgotten the order: it will not confirm it.
    assert_eq!(knows(cluster.ask(&DescribeWorker(a()))), (WorkerStatus::Connected, false));
    assert_eq!(knows(cluster.order(Drain(a()))), (draining, false));
    // The stream breaks before it has heard of it.
    cluster.connect(2, "a", 1, &[(key(1, 1), 0)]);
    assert_eq!(knows(cluster.ask(&DescribeWorker(a()))), (draining, false));
    cluster.hear(Event::WorkerDraining { session: SessionId(2), reason: String::new() });
    assert_eq!(knows(cluster.ask(&DescribeWorker(a()))), (draining, true));
    assert_eq!(knows(cluster.order(Drain(a()))), (draining, true));
    // One that has left knew.
    cluster.hear(Event::SessionClosed(SessionId(2)));
    assert_eq!(knows(cluster.ask(&DescribeWorker(a()))), (WorkerStatus::Disconnected, true));
    let unknown = cluster.engine.ask(cluster.now(), &DescribeWorker("b".parse().unwrap()));
    assert!(matches!(unknown, Err(ControlError::NoSuchWorker(_))));
}
