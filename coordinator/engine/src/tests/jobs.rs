//! Grants, events, ends and retries.

use domain::record::{History, Record};
use terms::{AttemptState, EpochReport, JobState, Outcome, SweepId, SweepState};

use super::cluster::{Cluster, dataset, ended, key, metrics, specification};
use super::epoch::EpochMetrics;
use crate::{AttemptEvent, Effect, command::Extend};

#[test]
fn every_free_slot_gets_a_job_in_the_order_of_their_numbers() {
    let mut cluster = Cluster::with_sweep(5, "");
    cluster.connect(1, "a", 2, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (1, key(2, 1)), (2, key(3, 1))]);
    assert_eq!(cluster.counts(), [2, 3, 0, 0, 0, 0]);
}

#[test]
fn a_grant_is_recorded_before_it_is_sent() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    assert!(matches!(&cluster.records[1], Record::AttemptGranted { attempt, .. } if *attempt == key(1, 1)));
}

#[test]
fn a_finished_job_frees_its_slot_for_the_next() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.take_effects();
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), [(1, key(2, 1))]);
    cluster.train(1, key(2, 1));
    let sweep = cluster.sweep();
    assert_eq!(sweep.state, SweepState::Finished);
    assert_eq!(sweep.best.unwrap().job, 1, "a tie goes to the smaller number");
}

#[test]
fn no_more_jobs_run_at_a_time_than_the_file_allows() {
    let mut cluster = Cluster::with_sweep(5, "execution: {max_parallel: 2}");
    cluster.connect(1, "a", 4, &[]);
    assert_eq!(cluster.grants().len(), 2);
    cluster.submit(1, "");
    assert_eq!(cluster.grants(), [(1, terms::AttemptKey::new(2, 1, 1))], "the next sweep passes");
}

#[test]
fn an_epoch_counts_once_however_often_it_is_sent() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    for _ in 0..3 {
        cluster.epoch(1, key(1, 1), 1);
    }
    let epochs =
        cluster.records.iter().filter(|record| matches!(record, Record::EpochRecorded { .. })).count();
    assert_eq!(epochs, 1);
    let acknowledged =
        cluster.take_effects().iter().filter(|effect| matches!(effect, Effect::Acknowledge { .. })).count();
    assert_eq!(acknowledged, 4, "what is known already is acknowledged too");
}

#[test]
fn an_epoch_out_of_order_ends_the_attempt() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.epoch(1, key(1, 1), 2);
    let failed = |record: &Record| matches!(record, Record::AttemptEnded { state: AttemptState::Failed, .. });
    assert!(cluster.records.iter().any(failed));
    assert_eq!(Cluster::revoked(&cluster.effects), [key(1, 1)]);
}

#[test]
fn a_failed_job_is_tried_again_until_its_attempts_are_used_up() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 2}");
    cluster.connect(1, "a", 1, &[]);
    cluster.take_effects();
    cluster.event(1, key(1, 1), ended(Outcome::Failed, "out of memory"));
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
    cluster.event(1, key(1, 2), ended(Outcome::Failed, "out of memory"));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 1, 0]);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert!(matches!(
        cluster.records.iter().rev().find(|record| matches!(record, Record::JobChanged { .. })),
        Some(Record::JobChanged { state: JobState::Failed, history: History { failures: 2, .. }, reason, .. })
            if reason == "out of memory"
    ));
}

#[test]
fn a_failed_job_does_not_hold_up_the_others() {
    let mut cluster = Cluster::with_sweep(2, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    cluster.event(1, key(1, 1), ended(Outcome::Failed, "crashed"));
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.counts(), [0, 0, 1, 0, 1, 0]);
}

#[test]
fn a_job_handed_back_is_not_charged() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    cluster.take_effects();
    cluster.event(1, key(1, 1), ended(Outcome::HandedBack, "the worker leaves"));
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
}

#[test]
fn a_diverged_job_is_a_result() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.event(1, key(1, 1), ended(Outcome::Diverged, "the loss is NaN in epoch 1"));
    assert_eq!(cluster.counts(), [0, 0, 0, 1, 0, 0]);
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

#[test]
fn done_means_that_every_epoch_came() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.epoch(1, key(1, 1), 1);
    cluster.event(1, key(1, 1), ended(Outcome::Done, ""));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_worker_that_cannot_run_a_sweep_leaves_its_jobs_to_others() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "bad", 1, &[]);
    cluster.connect(2, "good", 1, &[]);
    cluster.take_effects();
    cluster.event(1, key(1, 1), ended(Outcome::Rejected, "no such folder"));
    assert_eq!(cluster.grants(), [], "the good one is busy, the bad one unfit");
    cluster.train(2, key(2, 1));
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn jobs_that_no_worker_can_run_fail_with_the_reason() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "bad", 1, &[]);
    cluster.event(1, key(1, 1), ended(Outcome::Rejected, "no such folder"));
    cluster.event(1, key(2, 1), ended(Outcome::Rejected, "no such folder"));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 2, 0]);
}

#[test]
fn every_worker_must_have_the_same_data_set() {
    let mut cluster = Cluster::with_sweep(3, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    cluster.event(1, key(1, 1), AttemptEvent::Started { dataset: dataset("same"), resumed_epochs: 0 });
    cluster.take_effects();
    cluster.event(2, key(2, 1), AttemptEvent::Started { dataset: dataset("other"), resumed_epochs: 0 });
    assert_eq!(Cluster::revoked(&cluster.effects), [key(2, 1)]);
    cluster.event(2, key(2, 1), ended(Outcome::Revoked, ""));
    assert_eq!(cluster.counts(), [2, 1, 0, 0, 0, 0]);
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.grants(), [(1, key(2, 2))], "the odd worker gets no more jobs of this sweep");
}

#[test]
fn impossible_events_fail_the_attempt_and_are_acknowledged() {
    let mut cluster = Cluster::with_sweep(1, "execution: {attempts_max: 1}");
    cluster.connect(1, "a", 1, &[]);
    cluster.event(1, key(1, 1), AttemptEvent::Unusable("loss NaN".into()));
    assert_eq!(cluster.counts(), [0, 0, 0, 0, 1, 0]);
    assert!(cluster.effects.iter().any(|effect| matches!(effect, Effect::Acknowledge { sequence: 1, .. })));
}

/// Trains a job whose two epochs have these validation accuracies and losses.
fn train_to(cluster: &mut Cluster, job: u64, epochs: [(f64, Option<f64>); 2]) {
    cluster.start(1, key(job, 1));
    for (number, (val_accuracy, loss)) in (1..).zip(epochs) {
        let train_loss = loss.unwrap_or(9.0);
        let epoch = EpochMetrics { val_accuracy, train_loss, val_loss: loss, ..metrics(number) };
        cluster.event(1, key(job, 1), AttemptEvent::Epoch(epoch.into()));
    }
    cluster.event(1, key(job, 1), ended(Outcome::Done, ""));
}

fn best(cluster: &mut Cluster) -> Option<(u64, f64)> {
    cluster.sweep().best.map(|best| (best.job, best.value))
}

#[test]
fn the_best_job_has_the_best_metric() {
    let jobs = [
        [(0.5, Some(0.7)), (0.6, Some(0.6))],
        [(0.9, Some(0.1)), (0.4, Some(0.8))],
        [(0.8, Some(0.3)), (0.55, Some(0.5))],
    ];
    for (metric, expected) in [
        ("{name: train_loss}", (3, 0.5)),
        ("{name: val_loss}", (3, 0.5)),
        ("{name: val_loss, use: last}", (3, 0.5)),
        ("{name: val_loss, use: best}", (2, 0.1)),
        ("{name: train_loss, use: best}", (2, 0.1)),
        ("{name: val_accuracy}", (1, 0.6)),
        ("{use: last}", (1, 0.6)),
        ("{use: best}", (2, 0.9)),
    ] {
        let mut cluster = Cluster::with_sweep(3, &format!("metric: {metric}"));
        cluster.connect(1, "a", 3, &[]);
        for (job, epochs) in (1..).zip(jobs) {
            train_to(&mut cluster, job, epochs);
        }
        assert_eq!(best(&mut cluster), Some(expected), "{metric}");
    }
}

#[test]
fn jobs_without_the_metric_are_not_ranked() {
    let mut cluster = Cluster::with_sweep(2, "metric: {name: val_loss, use: best}");
    cluster.connect(1, "a", 2, &[]);
    train_to(&mut cluster, 1, [(0.9, None), (0.9, None)]);
    assert_eq!(best(&mut cluster), None);
    train_to(&mut cluster, 2, [(0.1, Some(7.0)), (0.1, None)]);
    assert_eq!(best(&mut cluster), Some((2, 7.0)));
}

#[test]
fn an_extension_may_rank_by_other_epochs() {
    let mut cluster = Cluster::with_sweep(2, "");
    cluster.connect(1, "a", 2, &[]);
    train_to(&mut cluster, 1, [(0.9, None), (0.4, None)]);
    train_to(&mut cluster, 2, [(0.5, None), (0.6, None)]);
    assert_eq!(best(&mut cluster), Some((2, 0.6)));
    let definition = cluster.definition();
    let more = definition.extended(specification(3, "metric: {use: best}")).unwrap();
    cluster.order(Extend {
        sweep: SweepId(1),
        base: definition,
        definition: more.into(),
        revived: Default::default(),
    });
    assert_eq!(best(&mut cluster), Some((1, 0.9)), "finished jobs are ranked again");
    train_to(&mut cluster, 3, [(0.95, None), (0.1, None)]);
    assert_eq!(best(&mut cluster), Some((3, 0.95)));
}

#[test]
fn each_epoch_is_recorded_with_the_best_so_far() {
    let mut cluster = Cluster::with_sweep(2, "metric: {name: val_loss}");
    cluster.connect(1, "a", 1, &[]);
    train_to(&mut cluster, 1, [(0.75, Some(0.5)), (0.75, Some(0.25))]);
    train_to(&mut cluster, 2, [(0.5, Some(0.25)), (0.625, None)]);
    let best = |record: &Record| match record {
        Record::EpochRecorded { best, objective, .. } => {
            Some((best.as_ref().map(|best| (best.epoch, best.value)), *objective))
        }
        _ => None,
    };
    let recorded: Vec<_> = cluster.records.iter().filter_map(best).collect();
    let expected = [
        (Some((1, 0.5)), Some(0.5)),
        (Some((2, 0.25)), Some(0.25)),
        (Some((1, 0.25)), Some(0.25)),
        (Some((1, 0.25)), None),
    ];
    assert_eq!(recorded, expected);
}

fn reported(number: u32, metrics: &[(&'static str, f64)]) -> AttemptEvent {
    let metrics = metrics.iter().map(|(name, value)| ((*name).into(), *value)).collect();
    AttemptEvent::Epoch(EpochReport { number, seconds: 1.0, metrics })
}

/// The values of an epoch in the order of the sweep's names.
type Values = Vec<Option<f64>>;

/// The names that were recorded, each with its place, and the rows of epochs.
fn named_and_rows(cluster: &Cluster) -> (Vec<(usize, String)>, Vec<Values>) {
    let (mut named, mut rows) = (Vec::new(), Vec::new());
    for record in &cluster.records {
        match record {
            Record::MetricsNamed { first, names, .. } => {
                named.extend((*first..).zip(names.iter().map(ToString::to_string)));
            }
            Record::EpochRecorded { epoch, .. } => rows.push(epoch.row.iter().collect()),
            _ => {}
        }
    }
    (named, rows)
}

#[test]
fn a_metric_that_comes_later_is_the_sweeps_from_then_on() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    cluster.event(1, key(1, 1), reported(1, &[("val_accuracy", 0.5), ("f1", f64::INFINITY)]));
    cluster.event(1, key(1, 1), reported(2, &[("f1", 0.25), ("lr", 0.1)]));
    let (named, rows) = named_and_rows(&cluster);
    assert_eq!(named, [(0, "val_accuracy".to_owned()), (1, "f1".to_owned()), (2, "lr".to_owned())]);
    assert_eq!(rows, [vec![Some(0.5), Some(f64::INFINITY)], vec![None, Some(0.25), Some(0.1)]]);
    let first = cluster.records.iter().position(|record| matches!(record, Record::MetricsNamed { .. }));
    let epoch = cluster.records.iter().position(|record| matches!(record, Record::EpochRecorded { .. }));
    assert!(first < epoch, "names are durable before values");
    assert_eq!(cluster.sweep().metrics.names().len(), 3);
}

#[test]
fn a_sweep_has_a_hundred_metrics_at_most_and_always_its_objective() {
    const MANY: [&str; 3] = ["a", "", "val_accuracy"];
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.connect(1, "a", 1, &[]);
    cluster.start(1, key(1, 1));
    let metrics = (0..150).map(|number| (format!("m{number}").into(), 1.0));
    let named = MANY.iter().map(|name| ((*name).into(), 0.5));
    let report = EpochReport { number: 1, seconds: 1.0, metrics: metrics.chain(named).collect() };
    cluster.event(1, key(1, 1), AttemptEvent::Epoch(report));
    let sweep = cluster.sweep();
    assert_eq!(sweep.metrics.len(), 100);
    assert!(sweep.metrics.index("val_accuracy").is_some());
    assert_eq!(sweep.left_out.values, 150 - 99 + 2);
    assert!(sweep.left_out.reason.contains("\"m99\""), "{}", sweep.left_out.reason);
    assert_eq!(
        named_and_rows(&cluster).1[0].iter().flatten().count(),
        100,
        "the epoch is kept with the others"
    );
}
