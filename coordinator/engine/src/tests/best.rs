//! The best configuration of a sweep whose configurations are trained several times.

use domain::best::Best;
use terms::Outcome;

use super::{
    cluster::{Cluster, ended, key, metrics, packable},
    epoch::EpochMetrics,
};
use crate::AttemptEvent;

/// Trains a job, whose two epochs have this validation accuracy.
fn train_to(cluster: &mut Cluster, job: u64, val_accuracy: f64) {
    cluster.start(1, key(job, 1));
    for number in 1..=2 {
        let epoch = EpochMetrics { val_accuracy, ..metrics(number) };
        cluster.event(1, key(job, 1), AttemptEvent::Epoch(epoch.into()));
    }
    cluster.event(1, key(job, 1), ended(Outcome::Done, ""));
}

#[test]
fn with_repeats_the_best_is_the_best_mean_and_the_target_goes_by_jobs() {
    let mut cluster = Cluster::new();
    cluster.submit_this(packable(3, "repeats: 2\nmetric: {target: 0.875}"));
    cluster.connect(1, "a", 4, &[]);
    train_to(&mut cluster, 1, 0.75);
    let lucky = Best { job: 1, value: 0.75, trainings: 1 };
    assert_eq!(cluster.sweep().best, Some(lucky), "before any is complete");
    train_to(&mut cluster, 4, 0.5);
    train_to(&mut cluster, 3, 0.625);
    assert_eq!(cluster.sweep().best, Some(Best { job: 3, value: 0.5625, trainings: 2 }));
    assert_eq!(cluster.sweep().stopped, None);
    train_to(&mut cluster, 2, 0.875);
    let sweep = cluster.sweep();
    assert_eq!(sweep.best, Some(Best { job: 1, value: 0.8125, trainings: 2 }));
    assert!(sweep.stopped.is_some(), "a single job reaches it, although no mean does");
}
