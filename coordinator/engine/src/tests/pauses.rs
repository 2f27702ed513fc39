//! Jobs that pause: what they hold, where they go on, and who may run them.

use domain::record::Record;
use terms::{AttemptKey, AttemptState, JobKey, JobState, Outcome, SweepId, SweepState};

use super::cluster::{Cluster, dataset, ended, key, packable};
use super::epoch::EpochMetrics;
use crate::{
    AttemptEvent, Effect, Event, JobAssignment, JobCounts, JobEnd, SessionId, ToWorker,
    command::{Drain, EndJob, Pause, Resume},
    query::DescribeSweep,
};

/// All train one epoch; then the best goes on to the end, the second.
const BEST: &str = "early_terminate: {type: top_k, min_iter: 1, k: 1}\n";

/// A sweep of two jobs, and a worker with a slot.
fn cluster(more: &str) -> Cluster {
    let mut cluster = Cluster::with_sweep(2, &format!("{BEST}{more}"));
    cluster.connect(1, "a", 1, &[]);
    cluster
}

/// An attempt trains its first epoch with this accuracy, and pauses.
pub(super) fn pause(cluster: &mut Cluster, session: u64, attempt: AttemptKey, val_accuracy: f64) {
    cluster.start(session, attempt);
    let metrics = EpochMetrics { val_accuracy, ..super::cluster::metrics(1) };
    cluster.event(session, attempt, AttemptEvent::Epoch(metrics.into()));
    cluster.event(session, attempt, ended(Outcome::Paused, ""));
}

/// The jobs that were granted since the last look, with the stream that each went to.
fn assignments(cluster: &mut Cluster) -> Vec<(u64, JobAssignment)> {
    let granted = |effect: Effect| match effect {
        Effect::Send { session, message: ToWorker::Grant(grant) } => Some((session.0, grant.jobs)),
        _ => None,
    };
    let grants = cluster.take_effects().into_iter().filter_map(granted);
    grants.flat_map(|(session, jobs)| jobs.into_iter().map(move |job| (session, job))).collect()
}

fn counts(cluster: &Cluster) -> JobCounts {
    cluster.ask(&DescribeSweep::new(SweepId(1))).counts
}

fn state_of(cluster: &Cluster, job: u64) -> Option<JobState> {
    let state = |record: &Record| match record {
        Record::JobChanged { job: changed, state, .. } if changed.job == job => Some(*state),
        Record::JobPromoted { job: changed, .. } if changed.job == job => Some(JobState::Pending),
        Record::AttemptGranted { attempt, .. } if attempt.job.job == job => Some(JobState::Running),
        _ => None,
    };
    cluster.records.iter().rev().find_map(state)
}

#[test]
fn a_paused_job_holds_no_slot_and_the_best_goes_on_from_its_checkpoint() {
    let mut cluster = cluster("");
    let first = assignments(&mut cluster).remove(0).1;
    assert_eq!((first.attempt, first.budget, first.until_epoch), (key(1, 1), Some(2), Some(1)));
    assert!(first.pauses);
    pause(&mut cluster, 1, key(1, 1), 0.9);
    assert_eq!(state_of(&cluster, 1), Some(JobState::Paused));
    assert_eq!(counts(&cluster), JobCounts { running: 1, paused: 1, ..JobCounts::default() });
    assert_eq!(assignments(&mut cluster).remove(0).1.attempt, key(2, 1), "its slot is free");
    pause(&mut cluster, 1, key(2, 1), 0.2);
    let second = assignments(&mut cluster).remove(0).1;
    assert_eq!((second.attempt, second.until_epoch), (key(1, 2), None), "to its end");
    let resumed = AttemptEvent::Started { dataset: dataset("same"), resumed_epochs: 1 };
    cluster.event(1, key(1, 2), resumed);
    cluster.epoch(1, key(1, 2), 1);
    cluster.epoch(1, key(1, 2), 2);
    cluster.event(1, key(1, 2), ended(Outcome::Done, ""));
    // The other one is promoted no more.
    assert_eq!(counts(&cluster), JobCounts { done: 1, stopped: 1, ..JobCounts::default() });
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

#[test]
fn a_lost_attempt_of_a_promoted_job_is_granted_as_far_as_before() {
    let mut cluster = cluster("");
    pause(&mut cluster, 1, key(1, 1), 0.9);
    pause(&mut cluster, 1, key(2, 1), 0.2);
    assignments(&mut cluster);
    cluster.event(1, key(1, 2), ended(Outcome::HandedBack, "leaves"));
    let again = assignments(&mut cluster).remove(0).1;
    assert_eq!((again.attempt, again.until_epoch), (key(1, 3), None));
    // No checkpoint was found: it trains both epochs again, and each counts once.
    cluster.train(1, key(1, 3));
    assert_eq!(state_of(&cluster, 1), Some(JobState::Done));
    assert_eq!(counts(&cluster), JobCounts { done: 1, stopped: 1, ..JobCounts::default() });
}

#[test]
fn a_pause_that_comes_too_early_or_that_no_one_asked_for_is_a_failure() {
    let mut early = cluster("execution: {attempts_max: 1}\n");
    early.start(1, key(1, 1));
    early.event(1, key(1, 1), ended(Outcome::Paused, ""));
    assert_eq!(state_of(&early, 1), Some(JobState::Failed));
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}\n");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.epoch(1, key(1, 1), 1);
    cluster.event(1, key(1, 1), ended(Outcome::Paused, ""));
    assert_eq!(state_of(&cluster, 1), Some(JobState::Failed));
}

#[test]
fn a_worker_of_the_version_before_gets_no_job_that_pauses_and_the_sweep_says_so() {
    let mut cluster = Cluster::with_sweep(2, BEST);
    cluster.pauses = false;
    cluster.connect(1, "a", 1, &[]);
    assert!(assignments(&mut cluster).is_empty());
    let waiting = cluster.sweep().waiting.unwrap().text;
    assert!(waiting.contains("it cannot pause jobs"), "{waiting}");
    cluster.pauses = true;
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(assignments(&mut cluster).remove(0).0, 2);
    cluster.submit(1, "");
    assert_eq!(assignments(&mut cluster).remove(0).0, 1, "those of other sweeps it does");
}

#[test]
fn a_paused_job_that_a_user_cancels_has_ended() {
    let mut cluster = cluster("");
    pause(&mut cluster, 1, key(1, 1), 0.9);
    cluster.order(EndJob { job: JobKey { sweep: SweepId(1), job: 1 }, how: JobEnd::Cancel });
    assert_eq!(state_of(&cluster, 1), Some(JobState::Cancelled));
    assert_eq!(counts(&cluster), JobCounts { running: 1, cancelled: 1, ..JobCounts::default() });
}

#[test]
fn a_job_that_was_to_get_no_more_attempts_is_cancelled_when_it_pauses() {
    let mut cluster = cluster("");
    cluster.order(EndJob { job: JobKey { sweep: SweepId(1), job: 1 }, how: JobEnd::Stop });
    pause(&mut cluster, 1, key(1, 1), 0.9);
    assert_eq!(state_of(&cluster, 1), Some(JobState::Cancelled));
}

#[test]
fn a_promoted_job_goes_on_where_its_checkpoint_is() {
    let mut cluster = Cluster::with_sweep(2, BEST);
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (2, key(2, 1))]);
    pause(&mut cluster, 2, key(2, 1), 0.9);
    pause(&mut cluster, 1, key(1, 1), 0.2);
    assert_eq!(cluster.grants(), [(2, key(2, 2))]);
}

#[test]
fn a_promoted_job_whose_worker_is_gone_goes_on_elsewhere() {
    let mut cluster = cluster("");
    pause(&mut cluster, 1, key(1, 1), 0.9);
    cluster.order(Pause(SweepId(1)));
    pause(&mut cluster, 1, key(2, 1), 0.2);
    cluster.hear(Event::SessionClosed(SessionId(1)));
    cluster.connect(2, "b", 1, &[]);
    cluster.grants();
    cluster.order(Resume(SweepId(1)));
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

/// The best of three jobs has its checkpoint at the worker `a`, to which `happens` something; where it goes on once all have paused.
fn goes_on_after(happens: impl FnOnce(&mut Cluster)) -> Vec<(u64, AttemptKey)> {
    let mut cluster = Cluster::with_sweep(3, BEST);
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (2, key(2, 1))]);
    pause(&mut cluster, 1, key(1, 1), 0.9);
    assert_eq!(cluster.grants(), [(1, key(3, 1))]);
    happens(&mut cluster);
    pause(&mut cluster, 2, key(2, 1), 0.2);
    match cluster.grants().as_slice() {
        [(session, attempt)] if attempt.job.job == 3 => pause(&mut cluster, *session, *attempt, 0.1),
        granted => return granted.to_vec(),
    }
    cluster.grants()
}

#[test]
fn a_promoted_job_goes_on_elsewhere_where_its_worker_gets_no_jobs_of_the_sweep() {
    let stays = |cluster: &mut Cluster| pause(cluster, 1, key(3, 1), 0.1);
    assert_eq!(goes_on_after(stays), [(1, key(1, 2))], "its checkpoint is there");
    let refuses =
        |cluster: &mut Cluster| cluster.event(1, key(3, 1), ended(Outcome::Rejected, "no such data set"));
    assert_eq!(goes_on_after(refuses), [(2, key(1, 2))]);
    let is_drained = |cluster: &mut Cluster| {
        cluster.order(Drain("a".parse().unwrap()));
        cluster.event(1, key(3, 1), ended(Outcome::HandedBack, "leaves"));
    };
    assert_eq!(goes_on_after(is_drained), [(2, key(1, 2))]);
    let is_quarantined = |cluster: &mut Cluster| {
        // Reports on a job that has not begun.
        (0..30).for_each(|_| cluster.epoch(1, key(4, 1), 1));
        pause(cluster, 1, key(3, 1), 0.1);
    };
    assert_eq!(goes_on_after(is_quarantined), [(2, key(1, 2))]);
}

#[test]
fn a_promoted_job_goes_on_elsewhere_where_jobs_crash_at_its_worker() {
    let mut cluster =
        Cluster::with_sweep(6, "early_terminate: {type: asha, eta: 4}\nexecution: {attempts_max: 1}\n");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (2, key(2, 1))]);
    pause(&mut cluster, 1, key(1, 1), 0.9);
    for job in 3..=5 {
        cluster.start(1, key(job, 1));
        cluster.event(1, key(job, 1), ended(Outcome::Failed, "no driver"));
    }
    cluster.grants();
    pause(&mut cluster, 2, key(2, 1), 0.2);
    assert_eq!(cluster.grants(), [(2, key(6, 1))]);
    // Three jobs are no four, so the best one goes on as the last resort.
    pause(&mut cluster, 2, key(6, 1), 0.1);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn promoted_jobs_form_packs_and_new_jobs_join_none_of_them() {
    let mut cluster = Cluster::new();
    cluster.connect_packing(1, "a", "one", (1, 64), &[]);
    cluster.submit_this(packable(6, "early_terminate: {type: top_k, min_iter: 1, k: 4}\n"));
    let packs = |cluster: &mut Cluster| -> Vec<Vec<u64>> {
        let jobs = |(_, pack): (u64, Vec<AttemptKey>)| pack.iter().map(|attempt| attempt.job.job).collect();
        cluster.packs().into_iter().map(jobs).collect()
    };
    assert_eq!(packs(&mut cluster), [[1, 2, 3, 4]]);
    (1..=4).for_each(|job| pause(&mut cluster, 1, key(job, 1), 0.1 * f64::from(job as u32)));
    assert_eq!(packs(&mut cluster), [[5, 6]]);
    (5..=6).for_each(|job| pause(&mut cluster, 1, key(job, 1), 0.1 * f64::from(job as u32)));
    let promoted = packs(&mut cluster);
    let mut jobs: Vec<u64> = promoted.iter().flatten().copied().collect();
    jobs.sort_unstable();
    assert!(promoted.len() == 1 && jobs == [3, 4, 5, 6], "{promoted:?}");
    let ends = |record: &&Record| matches!(record, Record::AttemptEnded { state: AttemptState::Paused, .. });
    assert_eq!(cluster.records.iter().filter(ends).count(), 6);
}

#[test]
fn a_job_that_is_left_to_another_worker_keeps_no_promotion_waiting() {
    let mut cluster = Cluster::with_sweep(5, "early_terminate: {type: asha, eta: 2}\n");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (2, key(2, 1))]);
    pause(&mut cluster, 1, key(1, 1), 0.9);
    cluster.start(1, key(3, 1));
    cluster.event(1, key(3, 1), ended(Outcome::Failed, "no"));
    pause(&mut cluster, 1, key(4, 1), 0.1);
    // Job 3 waits for the other worker, which is busy.
    assert_eq!(cluster.grants(), [(1, key(3, 1)), (1, key(4, 1)), (1, key(1, 2))]);
}
