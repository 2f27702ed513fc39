//! What users do with sweeps that have paused jobs: the jobs that were compared still count, and the right ones go on.

use std::sync::Arc;

use domain::record::EndedJob;
use terms::{JobKey, JobState, Outcome, SweepId, SweepState};

use super::{
    cluster::{Cluster, ended, key},
    stopping::{pauses_without_checkpoint, promotions, specification, sweep, trains, untils},
};
use crate::{
    ControlError, JobCounts, JobEnd,
    command::{EndJob, Extend, Pause, Resume, Retry, Stop},
};

/// Jobs pause after three of nine epochs, and a third goes on to the end.
const THIRD: &str = "{type: asha, min_iter: 3, eta: 3}";
const SWEEP: SweepId = SweepId(1);

/// A sweep of so many jobs, of which the first ones have paused with these values.
fn paused(jobs: u32, values: &[f64]) -> Cluster {
    let mut cluster = sweep(jobs, THIRD);
    pause(&mut cluster, 1, values);
    cluster
}

/// The jobs from this one on pause, with these values.
fn pause(cluster: &mut Cluster, first: u64, values: &[f64]) {
    for (job, value) in (first..).zip(values) {
        trains(cluster, (job, 1), 3, *value, Outcome::Paused);
    }
}

fn extend(cluster: &mut Cluster, jobs: u32) -> u64 {
    let base = cluster.definition();
    let definition = Arc::new(base.extended(specification(jobs, THIRD)).unwrap());
    cluster.order(Extend { sweep: SWEEP, base, definition, revived: Default::default() }).added_jobs
}

fn cancel(cluster: &mut Cluster, job: u64) {
    cluster.order(EndJob { job: JobKey { sweep: SWEEP, job }, how: JobEnd::Cancel });
}

fn retry(cluster: &mut Cluster, job: u64, attempts: u32, state: JobState) -> u64 {
    let seen = cluster.ends();
    cluster
        .order(Retry {
            sweep: SWEEP,
            jobs: vec![EndedJob { job, attempts, state }],
            all: false,
            seen,
            revived: Default::default(),
        })
        .jobs
}

fn counts(cluster: &mut Cluster) -> JobCounts {
    cluster.sweep().counts
}

#[test]
fn a_sweep_that_is_extended_compares_its_new_jobs_with_the_old_ones() {
    let mut cluster = paused(3, &[0.5, 0.7, 0.6]);
    trains(&mut cluster, (2, 2), 9, 0.7, Outcome::Done);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert_eq!(counts(&mut cluster), JobCounts { done: 1, stopped: 2, ..JobCounts::default() });
    let ends = EndJob { job: key(1, 1).job, how: JobEnd::Cancel };
    assert_eq!(cluster.refusal(ends), ControlError::JobHasEnded(key(1, 1).job), "with its sweep");
    assert_eq!(extend(&mut cluster, 6), 3);
    let after = JobCounts { done: 1, paused: 2, running: 1, pending: 2, ..JobCounts::default() };
    assert_eq!(counts(&mut cluster), after);
    pause(&mut cluster, 4, &[0.1, 0.2]);
    assert_eq!(promotions(&cluster), [(2, 9)], "one of five");
    pause(&mut cluster, 6, &[0.3]);
    // Two of six, and the second best had paused before.
    assert_eq!(promotions(&cluster), [(2, 9), (3, 9)]);
    trains(&mut cluster, (3, 2), 9, 0.6, Outcome::Done);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert_eq!(counts(&mut cluster), JobCounts { done: 2, stopped: 4, ..JobCounts::default() });
}

#[test]
fn a_paused_job_that_is_cancelled_still_counts_where_others_are_compared_with_it() {
    let mut cluster = paused(7, &[0.9]);
    cancel(&mut cluster, 1);
    pause(&mut cluster, 2, &[0.5, 0.6]);
    assert_eq!(promotions(&cluster), [], "the best of three is the one that was cancelled");
    pause(&mut cluster, 4, &[0.1, 0.2, 0.3]);
    assert_eq!(promotions(&cluster), [(3, 9)], "the second of six");
    trains(&mut cluster, (3, 2), 9, 0.6, Outcome::Done);
    pause(&mut cluster, 7, &[0.4]);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert_eq!(counts(&mut cluster), JobCounts { done: 1, stopped: 5, cancelled: 1, ..JobCounts::default() });
}

#[test]
fn a_paused_job_that_was_cancelled_and_is_tried_again_pauses_at_its_rung_once_more() {
    let mut cluster = paused(4, &[0.9]);
    cancel(&mut cluster, 1);
    pause(&mut cluster, 2, &[0.5, 0.6]);
    assert_eq!(retry(&mut cluster, 1, 1, JobState::Cancelled), 1);
    pause(&mut cluster, 4, &[0.1]);
    untils(&mut cluster);
    trains(&mut cluster, (1, 2), 3, 0.9, Outcome::Paused);
    assert_eq!(promotions(&cluster), [(1, 9)]);
    assert_eq!(untils(&mut cluster), [(key(1, 3), None)]);
    assert_eq!(counts(&mut cluster), JobCounts { paused: 3, running: 1, ..JobCounts::default() });
}

#[test]
fn it_does_so_too_where_the_others_are_stopped_by_then() {
    let mut cluster = paused(4, &[0.9]);
    cancel(&mut cluster, 1);
    pauses_without_checkpoint(&mut cluster, (2, 1), 0.5);
    assert_eq!(retry(&mut cluster, 1, 1, JobState::Cancelled), 1);
    untils(&mut cluster);
    trains(&mut cluster, (3, 1), 3, 0.6, Outcome::Revoked);
    assert_eq!(untils(&mut cluster), [(key(1, 2), Some(3))]);
    trains(&mut cluster, (1, 2), 3, 0.9, Outcome::Paused);
    assert_eq!((promotions(&cluster), untils(&mut cluster)), (vec![(1, 9)], vec![(key(1, 3), None)]));
    assert_eq!(
        counts(&mut cluster),
        JobCounts { paused: 1, running: 1, stopped: 1, pending: 1, ..JobCounts::default() }
    );
}

#[test]
fn a_promoted_job_that_failed_and_is_tried_again_trains_as_far_as_it_was_promoted() {
    let mut cluster = sweep(3, "{type: asha, min_iter: 1, eta: 3}\nexecution: {attempts_max: 1}");
    for (job, value) in [(1, 0.5), (2, 0.7), (3, 0.6)] {
        trains(&mut cluster, (job, 1), 1, value, Outcome::Paused);
    }
    trains(&mut cluster, (2, 2), 2, 0.7, Outcome::Failed);
    assert_eq!(promotions(&cluster), [(2, 3), (3, 3)], "as it failed, the next one is the last resort");
    assert_eq!(retry(&mut cluster, 2, 2, JobState::Failed), 1);
    untils(&mut cluster);
    trains(&mut cluster, (3, 2), 3, 0.6, Outcome::Paused);
    assert_eq!(untils(&mut cluster), [(key(2, 3), Some(3))], "no job of a rung waits where one can train");
    trains(&mut cluster, (2, 3), 3, 0.8, Outcome::Paused);
    assert_eq!(promotions(&cluster), [(2, 3), (3, 3), (2, 9)]);
}

#[test]
fn nothing_goes_on_while_a_sweep_is_paused_and_the_best_does_when_it_is_resumed() {
    let mut cluster = paused(4, &[0.5, 0.7]);
    cluster.order(Pause(SWEEP));
    pause(&mut cluster, 3, &[0.6]);
    assert_eq!(promotions(&cluster), []);
    assert_eq!(counts(&mut cluster), JobCounts { paused: 3, pending: 1, ..JobCounts::default() });
    cluster.order(Resume(SWEEP));
    assert_eq!(promotions(&cluster), [(2, 9)]);
    assert_eq!(counts(&mut cluster), JobCounts { paused: 2, pending: 1, running: 1, ..JobCounts::default() });
}

#[test]
fn a_sweep_that_was_stopped_promotes_none_until_all_of_it_is_tried_again() {
    let mut cluster = paused(3, &[0.5, 0.7]);
    cluster.order(Stop(SWEEP));
    pause(&mut cluster, 3, &[0.6]);
    assert_eq!((cluster.sweep().state, promotions(&cluster)), (SweepState::Stopped, Vec::new()));
    assert_eq!(counts(&mut cluster), JobCounts { stopped: 3, ..JobCounts::default() });
    let seen = cluster.ends();
    assert_eq!(
        cluster
            .order(Retry { sweep: SWEEP, jobs: Vec::new(), all: true, seen, revived: Default::default() })
            .jobs,
        3
    );
    assert_eq!(promotions(&cluster), [(2, 9)]);
    assert_eq!(counts(&mut cluster), JobCounts { paused: 2, running: 1, ..JobCounts::default() });
    // A worker that is told to end the job late changes nothing.
    cluster.event(1, key(3, 1), ended(Outcome::Paused, ""));
    trains(&mut cluster, (2, 2), 9, 0.7, Outcome::Done);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}
