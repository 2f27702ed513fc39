//! Early stopping: pauses and promotions, jobs that are stopped, and what the record says of it.

use domain::{
    record::{Record, Rung},
    specification::{Specification, SpecificationSource},
};
use terms::{JobState, Outcome, SweepState, metrics::known};

use super::cluster::{Cluster, ended, key};
use crate::{AttemptEvent, Effect, ToWorker};

/// One worker with a slot, and a sweep of `jobs` jobs of nine epochs.
fn sweep(jobs: u32, early: &str) -> Cluster {
    let seeds: Vec<String> = (0..jobs).map(|seed| seed.to_string()).collect();
    let text = format!(
        "name: test\ndataset: {{path: d}}\nmetric: {{name: val_accuracy, goal: maximize}}\nparameters:\n  epochs: \
         {{value: 9}}\n  seed: {{values: [{}]}}\nearly_terminate: {early}\n",
        seeds.join(", ")
    );
    let source = SpecificationSource { text, ..SpecificationSource::default() };
    let mut cluster = Cluster::new();
    cluster.submit_this(Specification::parse(&source).unwrap());
    cluster.connect(1, "a", 1, &[]);
    cluster
}

fn epoch(cluster: &mut Cluster, (job, attempt): (u64, u32), number: u32, value: f64) {
    let metrics = [(known::VAL_ACCURACY.into(), value)].into_iter().collect();
    let report = terms::EpochReport { number, seconds: 1.0, metrics };
    cluster.event(1, key(job, attempt), AttemptEvent::Epoch(report));
}

/// The attempt trains from the first epoch to this one, and ends.
fn trains(cluster: &mut Cluster, (job, attempt): (u64, u32), epochs: u32, value: f64, outcome: Outcome) {
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

#[test]
fn jobs_pause_at_a_rung_and_the_best_third_goes_on_to_the_next() {
    let mut cluster = sweep(3, "{type: asha, min_iter: 3, eta: 3}");
    for (job, value) in [(1, 0.5), (2, 0.7), (3, 0.6)] {
        trains(&mut cluster, (job, 1), 3, value, Outcome::Paused);
    }
    let (paused, reason) = state(&cluster, 1).unwrap();
    assert_eq!(paused, JobState::Paused);
    assert!(reason.starts_with("paused after epoch 3"), "{reason}");
    let rung = Rung { epoch: 3, value: Some(0.7), goes_on: false };
    assert!(cluster.records.contains(&Record::RungReached { job: key(2, 1).job, rung }));
    let promoted = cluster.records.iter().find_map(|record| match record {
        Record::JobPromoted { job, budget, reason } => Some((job.job, *budget, reason.clone())),
        _ => None,
    });
    let why = "promoted after epoch 3: it is among the best 1 of 3 jobs there".to_owned();
    assert_eq!(promoted, Some((2, 9, why)));
    trains(&mut cluster, (2, 2), 9, 0.9, Outcome::Done);
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.counts.done, sweep.counts.stopped), (SweepState::Finished, 1, 2));
    assert_eq!(sweep.best, Some((2, 0.9)));
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
    let why = "stopped after epoch 3: it is not among the best 1 of 2 jobs there".to_owned();
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
