//! Early stopping: pauses and promotions, jobs that are stopped, and what the record says of it.

use domain::{
    record::{
        EndedJob, History, Record, Rung, StoredAttempt, StoredJob, StoredRungs, StoredStage, StoredSweep,
    },
    specification::{Specification, SpecificationSource},
};
use terms::{Again, AttemptKey, EndDetails, JobKey, JobState, Outcome, SweepId, SweepState, metrics::known};

use super::cluster::{Cluster, ended, ended_with, key, stored};
use crate::{
    AttemptEvent, Effect, JobEnd, Observation, ToWorker,
    command::{Cancel, EndJob, Pause, Resume, Retry},
};

/// A sweep of `jobs` jobs of nine epochs.
pub(super) fn specification(jobs: u32, early: &str) -> Specification {
    let seeds: Vec<String> = (0..jobs).map(|seed| seed.to_string()).collect();
    let text = format!(
        "name: test\ndataset: {{path: d}}\nmetric: {{name: val_accuracy, goal: maximize}}\nparameters:\n  epochs: \
         {{value: 9}}\n  seed: {{values: [{}]}}\nearly_terminate: {early}\n",
        seeds.join(", ")
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

/// One worker with a slot, and such a sweep.
pub(super) fn sweep(jobs: u32, early: &str) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.submit_this(specification(jobs, early));
    cluster.connect(1, "a", 1, &[]);
    cluster
}

fn epoch(cluster: &mut Cluster, (job, attempt): (u64, u32), number: u32, value: f64) {
    let metrics = [(known::VAL_ACCURACY.into(), value)].into_iter().collect();
    let report = terms::EpochReport { number, seconds: 1.0, metrics };
    cluster.event(1, key(job, attempt), AttemptEvent::Epoch(report));
}

/// The attempt trains from the first epoch to this one, and ends.
pub(super) fn trains(
    cluster: &mut Cluster,
    (job, attempt): (u64, u32),
    epochs: u32,
    value: f64,
    outcome: Outcome,
) {
    cluster.start(1, key(job, attempt));
    (1..=epochs).for_each(|number| epoch(cluster, (job, attempt), number, value));
    cluster.event(1, key(job, attempt), ended(outcome, ""));
}

fn state(cluster: &Cluster, job: u64) -> Option<(JobState, String)> {
    cluster.records.iter().rev().find_map(|record| match record {
        Record::JobChanged { job: changed, state, reason, .. } if changed.job == job => {
            Some((*state, reason.clone()))
        }
        _ => None,
    })
}

const WITHOUT_CHECKPOINT: EndDetails =
    EndDetails { again: Again::Yes, parameters: None, without_checkpoint: true };

/// The attempt trains as far as the first rung, of three epochs, and its program has kept nothing.
pub(super) fn pauses_without_checkpoint(cluster: &mut Cluster, (job, attempt): (u64, u32), value: f64) {
    cluster.start(1, key(job, attempt));
    (1..=3).for_each(|number| epoch(cluster, (job, attempt), number, value));
    cluster.event(1, key(job, attempt), ended_with(Outcome::Paused, "", WITHOUT_CHECKPOINT));
}

/// The attempts that were granted since the last look, and after how many epochs each pauses.
pub(super) fn untils(cluster: &mut Cluster) -> Vec<(AttemptKey, Option<u32>)> {
    let granted = |effect| match effect {
        Effect::Send { message: ToWorker::Grant(grant), .. } => grant.jobs,
        _ => Vec::new(),
    };
    let jobs = cluster.take_effects().into_iter().flat_map(granted);
    jobs.map(|job| (job.attempt, job.until_epoch)).collect()
}

/// The jobs that were promoted so far, and how far each.
pub(super) fn promotions(cluster: &Cluster) -> Vec<(u64, u32)> {
    let promoted = |record: &Record| match record {
        Record::JobPromoted { job, budget, .. } => Some((job.job, *budget)),
        _ => None,
    };
    cluster.records.iter().filter_map(promoted).collect()
}

#[test]
fn jobs_pause_at_a_rung_and_the_best_third_goes_on_to_the_next() {
    let mut cluster = sweep(3, "{type: asha, min_iter: 3, eta: 3}");
    for (job, value) in [(1, 0.5), (2, 0.7), (3, 0.6)] {
        trains(&mut cluster, (job, 1), 3, value, Outcome::Paused);
    }
    let (paused, reason) = state(&cluster, 1).unwrap();
    assert_eq!(paused, JobState::Paused);
    assert!(
        reason.starts_with(
            "paused after epoch 3 until it is among the best there; when it paused, 0 of 1 could go on"
        ),
        "{reason}"
    );
    let rung = Rung { epoch: 3, value: Some(0.7), goes_on: false };
    assert!(cluster.records.contains(&Record::RungReached { job: key(2, 1).job, rung }));
    let promoted = cluster.records.iter().find_map(|record| match record {
        Record::JobPromoted { job, budget, reason } => Some((job.job, *budget, reason.clone())),
        _ => None,
    });
    let why = "promoted after epoch 3: it is the best of 3 jobs there".to_owned();
    assert_eq!(promoted, Some((2, 9, why)));
    trains(&mut cluster, (2, 2), 9, 0.9, Outcome::Done);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.counts.done, sweep.counts.stopped), (SweepState::Finished, 1, 2));
    assert_eq!(sweep.best.map(|best| (best.job, best.value)), Some((2, 0.9)));
}

#[test]
fn jobs_that_cannot_pause_are_stopped_where_they_are_not_among_the_best() {
    let mut cluster = sweep(3, "{type: asha, min_iter: 3, eta: 3, promote: false}");
    trains(&mut cluster, (1, 1), 9, 0.5, Outcome::Done);
    cluster.start(1, key(2, 1));
    (1..=2).for_each(|number| epoch(&mut cluster, (2, 1), number, 0.4));
    cluster.effects.clear();
    epoch(&mut cluster, (2, 1), 3, 0.4);
    let revoked = cluster.effects.iter().any(|effect| {
        matches!(effect, Effect::Send { message: ToWorker::Revoke { attempts, .. }, .. } if attempts == &[key(2, 1)])
    });
    assert!(revoked, "{:?}", cluster.effects);
    let why = "stopped after epoch 3: it is not the best of 2 jobs there".to_owned();
    assert_eq!(state(&cluster, 2), Some((JobState::Stopped, why)));
    cluster.event(1, key(2, 1), ended(Outcome::Revoked, ""));
    trains(&mut cluster, (3, 1), 9, 0.6, Outcome::Done);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.counts.done, sweep.counts.stopped), (SweepState::Finished, 2, 1));
}

#[test]
fn a_job_that_is_worse_than_the_median_is_stopped_and_one_without_a_value_too() {
    let mut cluster = sweep(3, "{type: median, min_jobs: 1, min_iter: 2}");
    trains(&mut cluster, (1, 1), 9, 0.5, Outcome::Done);
    cluster.start(1, key(2, 1));
    epoch(&mut cluster, (2, 1), 1, 0.4);
    assert_eq!(state(&cluster, 2), None, "jobs are compared after epoch 2");
    epoch(&mut cluster, (2, 1), 2, 0.4);
    let why =
        "stopped after epoch 2: its best value 0.4 is worse than 0.5, the median of the jobs that are done";
    assert_eq!(state(&cluster, 2), Some((JobState::Stopped, why.to_owned())));
    cluster.event(1, key(2, 1), ended(Outcome::Revoked, ""));
    cluster.start(1, key(3, 1));
    (1..=2).for_each(|number| epoch(&mut cluster, (3, 1), number, f64::NAN));
    let why = "stopped after epoch 2: it has no value to compare".to_owned();
    assert_eq!(state(&cluster, 3), Some((JobState::Stopped, why)));
}

#[test]
fn the_best_few_go_on_once_all_have_trained_the_first_epoch() {
    let mut cluster = sweep(3, "{type: top_k, k: 1}");
    trains(&mut cluster, (1, 1), 1, 0.5, Outcome::Paused);
    trains(&mut cluster, (2, 1), 1, 0.9, Outcome::Paused);
    let is_promoted = |cluster: &Cluster| {
        cluster.records.iter().any(|record| matches!(record, Record::JobPromoted { job, .. } if job.job == 2))
    };
    assert!(!is_promoted(&cluster), "job 3 may be better");
    // A job that has diverged is not waited for.
    trains(&mut cluster, (3, 1), 0, 0.0, Outcome::Diverged);
    assert!(is_promoted(&cluster));
    trains(&mut cluster, (2, 2), 9, 0.9, Outcome::Done);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

#[test]
fn jobs_that_failed_once_where_their_checkpoints_are_go_on_there_and_do_not_wait_for_each_other() {
    let mut cluster = sweep(3, "{type: top_k, k: 2}");
    cluster.connect(2, "b", 1, &[]);
    cluster.connect(3, "c", 1, &[]);
    let trains_one_epoch = |cluster: &mut Cluster, (job, attempt): (u64, u32), value: f64| {
        cluster.start(job, key(job, attempt));
        let metrics = [(known::VAL_ACCURACY.into(), value)].into_iter().collect();
        let report = terms::EpochReport { number: 1, seconds: 1.0, metrics };
        cluster.event(job, key(job, attempt), AttemptEvent::Epoch(report));
    };
    for job in [1, 2] {
        // The other workers are busy, so that the same one tries the job again.
        cluster.event(job, key(job, 1), ended(Outcome::Failed, "it broke"));
    }
    for job in [1, 2] {
        trains_one_epoch(&mut cluster, (job, 2), 0.5);
        cluster.event(job, key(job, 2), ended(Outcome::Paused, ""));
    }
    assert_eq!(promotions(&cluster), [], "job 3 may be better");
    trains_one_epoch(&mut cluster, (3, 1), 0.1);
    assert_eq!(promotions(&cluster), [(1, 9), (2, 9)]);
    let granted = cluster.records.iter().filter_map(|record| match record {
        Record::AttemptGranted { attempt, worker, .. } if attempt.attempt == 3 => {
            Some((attempt.job.job, worker.to_string()))
        }
        _ => None,
    });
    assert_eq!(granted.collect::<Vec<_>>(), [(1, "a".to_owned()), (2, "b".to_owned())]);
}

/// Two jobs at a rung of which a third goes on, so none does; `0.7` is the better value, and job 2 has it.
fn two_of_which_none_goes_on() -> Cluster {
    let mut cluster = sweep(2, "{type: asha, min_iter: 3, eta: 3}");
    trains(&mut cluster, (1, 1), 3, 0.5, Outcome::Paused);
    assert_eq!(promotions(&cluster), [], "job 2 may be better");
    trains(&mut cluster, (2, 1), 3, 0.7, Outcome::Paused);
    cluster
}

#[test]
fn a_sweep_of_few_jobs_goes_on_with_the_best_that_is_left_until_one_is_done() {
    let mut cluster = sweep(5, "{type: asha, min_iter: 1, eta: 3}");
    for (job, value) in [(1, 0.5), (2, 0.7), (3, 0.6)] {
        trains(&mut cluster, (job, 1), 1, value, Outcome::Paused);
    }
    assert_eq!(promotions(&cluster), [(2, 3)], "the best of three");
    trains(&mut cluster, (2, 2), 3, 0.8, Outcome::Paused);
    trains(&mut cluster, (4, 1), 1, 0.4, Outcome::Paused);
    assert_eq!(promotions(&cluster), [(2, 3)], "job 5 has not begun");
    cluster.start(1, key(5, 1));
    epoch(&mut cluster, (5, 1), 1, 0.9);
    assert_eq!(promotions(&cluster), [(2, 3)], "job 5 still runs");
    cluster.event(1, key(5, 1), ended(Outcome::Paused, ""));
    // The best of five goes on as such, and then two jobs are at the second rung.
    assert_eq!(promotions(&cluster), [(2, 3), (5, 3)]);
    trains(&mut cluster, (5, 2), 3, 0.6, Outcome::Paused);
    assert_eq!(promotions(&cluster), [(2, 3), (5, 3), (2, 9)]);
    let why = "promoted after epoch 3: it is the best of the paused jobs, and no job of the sweep is done";
    let said = |record: &Record| matches!(record, Record::JobPromoted { reason, .. } if reason == why);
    assert_eq!(cluster.records.iter().filter(|record| said(record)).count(), 1);
    trains(&mut cluster, (2, 3), 9, 0.8, Outcome::Done);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.counts.done, sweep.counts.stopped), (SweepState::Finished, 1, 4));
    assert_eq!(sweep.best.map(|best| (best.job, best.value)), Some((2, 0.8)));
}

#[test]
fn where_the_best_that_was_left_fails_the_next_one_goes_on() {
    let mut cluster = two_of_which_none_goes_on();
    assert_eq!(promotions(&cluster), [(2, 9)]);
    trains(&mut cluster, (2, 2), 4, 0.7, Outcome::Diverged);
    assert_eq!(promotions(&cluster), [(2, 9), (1, 9)]);
    trains(&mut cluster, (1, 2), 9, 0.5, Outcome::Done);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.counts.done, sweep.counts.diverged), (SweepState::Finished, 1, 1));
}

#[test]
fn where_the_best_few_fail_the_next_one_goes_on() {
    let mut cluster = sweep(2, "{type: top_k, k: 1}");
    trains(&mut cluster, (1, 1), 1, 0.5, Outcome::Paused);
    trains(&mut cluster, (2, 1), 1, 0.9, Outcome::Paused);
    trains(&mut cluster, (2, 2), 4, 0.9, Outcome::Diverged);
    assert_eq!(promotions(&cluster), [(2, 9), (1, 9)]);
}

#[test]
fn a_sweep_of_which_nothing_is_left_or_wanted_ends_without_a_result() {
    let mut cluster = sweep(1, "{type: asha, min_iter: 3, eta: 3}");
    trains(&mut cluster, (1, 1), 3, f64::NAN, Outcome::Paused);
    assert_eq!((cluster.sweep().state, promotions(&cluster)), (SweepState::Finished, Vec::new()));
    let mut cluster = sweep(2, "{type: asha, min_iter: 3, eta: 3}");
    trains(&mut cluster, (1, 1), 3, 0.5, Outcome::Paused);
    cluster.order(Cancel(SweepId(1)));
    assert_eq!((cluster.sweep().state, promotions(&cluster)), (SweepState::Cancelled, Vec::new()));
    let mut cluster = sweep(2, "{type: asha, min_iter: 3, eta: 3}");
    trains(&mut cluster, (1, 1), 3, 0.5, Outcome::Paused);
    for job in [1, 2] {
        cluster.order(EndJob { job: JobKey { sweep: SweepId(1), job }, how: JobEnd::Cancel });
    }
    assert_eq!((cluster.sweep().state, promotions(&cluster)), (SweepState::Finished, Vec::new()));
}

#[test]
fn a_sweep_that_was_paused_goes_on_with_the_best_that_is_left_once_it_is_resumed() {
    let mut cluster = sweep(2, "{type: asha, min_iter: 3, eta: 3}");
    trains(&mut cluster, (1, 1), 3, 0.5, Outcome::Paused);
    cluster.order(Pause(SweepId(1)));
    trains(&mut cluster, (2, 1), 3, 0.7, Outcome::Paused);
    assert_eq!((cluster.sweep().state, promotions(&cluster)), (SweepState::Paused, Vec::new()));
    cluster.order(Resume(SweepId(1)));
    assert_eq!(promotions(&cluster), [(2, 9)]);
}

/// The sweep of [`two_of_which_none_goes_on`] as a store has it before the promotion.
fn stored_two() -> StoredSweep {
    let running = StoredAttempt {
        worker: "a".parse().unwrap(),
        slot: 0,
        device: "cpu".into(),
        pack_size: 1,
        started: true,
        train_seconds: 3.0,
        last: None,
        best: None,
    };
    let early = "{type: asha, min_iter: 3, eta: 3}";
    let first = stored(&specification(2, early), running, History::default(), "");
    let job = |job| StoredJob {
        job,
        attempts: 1,
        history: History::default(),
        reason: String::new(),
        worker: Some("a".parse().unwrap()),
        budget: Some(3),
        stage: StoredStage::Paused,
    };
    let rungs = |(job, value)| {
        let rungs = vec![Rung { epoch: 3, value: Some(value), goes_on: false }];
        StoredRungs { job, state: JobState::Paused, rungs }
    };
    StoredSweep {
        next_unstarted: 3,
        job_count: 2,
        open_jobs: [1, 2].map(job).into(),
        rungs: [(1, 0.5), (2, 0.7)].map(rungs).into(),
        ..first
    }
}

#[test]
fn a_coordinator_that_starts_again_promotes_the_same_one() {
    let mut cluster = Cluster::new();
    cluster.restart(stored_two());
    assert_eq!(cluster.sweep().state, SweepState::Running);
    cluster.connect(1, "a", 1, &[]);
    assert_eq!(promotions(&cluster), promotions(&two_of_which_none_goes_on()));
    assert_eq!(promotions(&cluster), [(2, 9)]);
}

#[test]
fn a_sweep_whose_jobs_leave_no_checkpoint_stops_them_at_rungs_and_says_so() {
    let mut cluster = sweep(4, "{type: asha, min_iter: 3, eta: 3}");
    assert_eq!(untils(&mut cluster), [(key(1, 1), Some(3))]);
    pauses_without_checkpoint(&mut cluster, (1, 1), 0.5);
    assert!(cluster.records.contains(&Record::CheckpointMissed { job: key(1, 1).job }));
    let (_, reason) = state(&cluster, 1).unwrap();
    let why = "paused after epoch 3 until it is among the best there; when it paused, 1 of 1 could go on; it left no checkpoint, so it \
               trains again from its first epoch if it goes on";
    assert_eq!(reason, why);
    // The first at a rung goes on, as in sweeps that never pause; nothing pauses any more.
    assert_eq!(untils(&mut cluster), [(key(1, 2), None)]);
    trains(&mut cluster, (1, 2), 9, 0.5, Outcome::Done);
    cluster.start(1, key(2, 1));
    (1..=3).for_each(|number| epoch(&mut cluster, (2, 1), number, 0.4));
    let why = "stopped after epoch 3: it is not the best of 2 jobs there".to_owned();
    assert_eq!(state(&cluster, 2), Some((JobState::Stopped, why)));
    cluster.event(1, key(2, 1), ended(Outcome::Revoked, ""));
    trains(&mut cluster, (3, 1), 9, 0.6, Outcome::Done);
    trains(&mut cluster, (4, 1), 3, 0.1, Outcome::Revoked);
    assert_eq!(untils(&mut cluster), [(key(2, 1), None), (key(3, 1), None), (key(4, 1), None)]);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.counts.done, sweep.counts.stopped), (SweepState::Finished, 2, 2));
    let why = "job 1 paused without a checkpoint, so from then on jobs are stopped at rungs where they would have paused";
    assert_eq!(sweep.cannot_pause.as_deref(), Some(why));
}

#[test]
fn only_the_first_job_without_a_checkpoint_is_recorded_and_watchers_hear_of_it() {
    let mut cluster = Cluster::new();
    cluster.submit_this(specification(2, "{type: asha, min_iter: 3, eta: 3}"));
    cluster.connect(1, "a", 2, &[]);
    let is_change =
        |effect: &Effect| matches!(effect, Effect::Observed { observation: Observation::SweepChanged, .. });
    for (job, is_news) in [(2, true), (1, false)] {
        cluster.take_effects();
        pauses_without_checkpoint(&mut cluster, (job, 1), 0.5);
        assert_eq!(cluster.take_effects().iter().any(is_change), is_news, "job {job}");
    }
    let missed = |record: &Record| match record {
        Record::CheckpointMissed { job } => Some(job.job),
        _ => None,
    };
    assert_eq!(cluster.records.iter().filter_map(missed).collect::<Vec<_>>(), [2]);
    assert!(cluster.sweep().cannot_pause.unwrap().starts_with("job 2 "));
}

#[test]
fn what_was_granted_as_far_as_a_rung_pauses_there_although_others_do_not_any_more() {
    let mut cluster = sweep(3, "{type: asha, min_iter: 3, eta: 3}");
    cluster.connect(2, "b", 1, &[]);
    cluster.start(2, key(2, 1));
    pauses_without_checkpoint(&mut cluster, (1, 1), 0.5);
    untils(&mut cluster);
    for number in 1..=3 {
        let metrics = [(known::VAL_ACCURACY.into(), 0.4)].into_iter().collect();
        let report = terms::EpochReport { number, seconds: 1.0, metrics };
        cluster.event(2, key(2, 1), AttemptEvent::Epoch(report));
    }
    assert!(Cluster::revoked(&cluster.take_effects()).is_empty());
    cluster.event(2, key(2, 1), ended(Outcome::Paused, ""));
    let (paused, reason) = state(&cluster, 2).unwrap();
    assert!(paused == JobState::Paused && !reason.contains("checkpoint"), "{paused:?} {reason}");
    assert_eq!(untils(&mut cluster), [(key(3, 1), None)]);
}

/// A job trains its first epoch with this value and pauses, with a checkpoint or without.
fn pauses_at(cluster: &mut Cluster, session: u64, job: u64, value: f64, without_checkpoint: bool) {
    cluster.start(session, key(job, 1));
    let metrics = [(known::VAL_ACCURACY.into(), value)].into_iter().collect();
    let report = terms::EpochReport { number: 1, seconds: 1.0, metrics };
    cluster.event(session, key(job, 1), AttemptEvent::Epoch(report));
    let details = EndDetails { without_checkpoint, ..WITHOUT_CHECKPOINT };
    cluster.event(session, key(job, 1), ended_with(Outcome::Paused, "", details));
}

/// Where the best of two jobs goes on that have both paused, at the workers `a` and `b`: `first` with this value, then the other, which
/// leaves no checkpoint. A job of another sweep takes the slot of the first.
fn best_of_two(first: u64, value: f64) -> (Vec<(u64, AttemptKey)>, Option<String>) {
    let mut cluster = sweep(2, "{type: top_k, k: 1}");
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(untils(&mut cluster), [(key(1, 1), Some(1)), (key(2, 1), Some(1))]);
    cluster.submit(1, "");
    for (job, value, without_checkpoint) in [(first, value, false), (3 - first, 0.5, true)] {
        pauses_at(&mut cluster, job, job, value, without_checkpoint);
    }
    (cluster.grants(), cluster.sweep().cannot_pause)
}

#[test]
fn where_the_best_few_go_on_jobs_pause_also_without_checkpoints_and_go_on_anywhere() {
    let why = "job 2 paused without a checkpoint; where it goes on, it trains again from its first epoch"
        .to_owned();
    // The best one had paused at `a`, which is busy with the other sweep by now.
    let elsewhere = vec![(1, AttemptKey::new(2, 1, 1)), (2, key(1, 2))];
    assert_eq!(best_of_two(1, 0.9), (elsewhere, Some(why)));
    let (granted, why) = best_of_two(2, 0.1);
    assert_eq!(granted, [(2, AttemptKey::new(2, 1, 1)), (1, key(1, 2))]);
    assert!(why.unwrap().starts_with("job 1 "));
}

#[test]
fn there_jobs_that_pause_after_the_first_without_a_checkpoint_go_on_anywhere_too() {
    let mut cluster = sweep(3, "{type: top_k, k: 1}");
    cluster.connect(2, "b", 1, &[]);
    cluster.submit(1, "");
    cluster.grants();
    pauses_at(&mut cluster, 2, 2, 0.5, true);
    assert_eq!(cluster.grants(), [(2, key(3, 1))]);
    pauses_at(&mut cluster, 1, 1, 0.9, false);
    assert_eq!(cluster.grants(), [(1, AttemptKey::new(2, 1, 1))], "the other sweep's");
    pauses_at(&mut cluster, 2, 3, 0.1, false);
    assert_eq!(cluster.grants(), [(2, key(1, 2))], "the best had paused at `a`, which is busy by now");
}

#[test]
fn a_coordinator_that_starts_again_knows_that_jobs_leave_no_checkpoint() {
    let mut stored = stored_two();
    (stored.without_checkpoint, stored.job_count) = (Some(2), 3);
    stored.specification = specification(3, "{type: asha, min_iter: 3, eta: 3}").to_yaml();
    stored.open_jobs[1].worker = Some("b".parse().unwrap());
    let mut cluster = Cluster::new();
    cluster.restart(stored);
    cluster.order(Pause(SweepId(1)));
    cluster.connect(2, "b", 1, &[]);
    cluster.connect(1, "a", 1, &[]);
    cluster.order(Resume(SweepId(1)));
    // Job 2 is bound to no worker, and is the best of those that came: one goes on at least.
    assert_eq!(cluster.grants(), [(1, key(2, 2)), (2, key(3, 1))]);
    assert_eq!(promotions(&cluster), [(2, 9)]);
    assert!(cluster.sweep().cannot_pause.is_some());
}

#[test]
fn a_failed_job_that_is_tried_again_after_the_others_were_promoted_is_waited_for() {
    let mut cluster = Cluster::new();
    let early = "{type: top_k, min_iter: 1, k: 1}\nexecution: {attempts_max: 1}";
    cluster.submit_this(specification(3, early));
    cluster.connect(1, "a", 1, &[]);
    trains(&mut cluster, (1, 1), 1, 0.5, Outcome::Paused);
    trains(&mut cluster, (2, 1), 1, 0.4, Outcome::Paused);
    cluster.event(1, key(3, 1), ended(Outcome::Failed, "crashed"));
    assert_eq!(cluster.grants().last(), Some(&(1, key(1, 2))), "all others have come");
    // It is granted once the slot is free, and no other is promoted until it has come, too: the best is compared with it.
    let jobs = vec![EndedJob { job: 3, attempts: 1, state: JobState::Failed }];
    let seen = cluster.ends();
    cluster.order(Retry { sweep: SweepId(1), jobs, all: true, seen, revived: Default::default() });
    cluster.event(1, key(1, 2), ended(Outcome::Failed, "crashed"));
    assert_eq!(cluster.grants(), [(1, key(3, 2))]);
    trains(&mut cluster, (3, 2), 1, 0.3, Outcome::Paused);
}
