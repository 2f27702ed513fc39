//! Which job is the best, by the last epoch and by the best one.

use super::*;

/// Commits jobs that are done, from job 1 on, and one that runs; each epoch is a validation accuracy and a loss.
pub(super) async fn commit_jobs(store: &dyn Store, metric: Metric, jobs: &[&[(f64, Option<f64>)]]) {
    let mut sweep = submitted(1, "");
    if let Record::SweepSubmitted { metric: ranked, .. } = &mut sweep {
        *ranked = metric;
    }
    let mut records = vec![sweep];
    for (job, epochs) in (1..).zip(jobs) {
        records.push(granted(job, 1));
        let epochs: Vec<EpochMetrics> = (1..)
            .zip(*epochs)
            .map(|(number, (val_accuracy, val_loss))| EpochMetrics {
                val_accuracy: *val_accuracy,
                val_loss: *val_loss,
                ..metrics(number)
            })
            .collect();
        let attempt = AttemptKey::new(1, job, 1);
        records.extend((1..=epochs.len()).map(|count| recorded(metric, attempt, &epochs[..count])));
        if job < jobs.len() as u64 {
            records.extend(ended(job, 1, AttemptState::Done, JobState::Done));
        }
    }
    store.commit(&records).await.unwrap();
}

/// What ranks, and the best jobs by it; then the best of the job that runs.
pub(super) fn rankings() -> [(MetricName, BestJobs, Option<f64>); 2] {
    let best = |last, best| BestJobs { by_last: Some(last), by_best: Some(best) };
    [
        (MetricName::ValAccuracy, best((1, 0.6), (2, 0.9)), None),
        (MetricName::ValLoss, best((3, 0.5), (2, 0.1)), Some(0.25)),
    ]
}

#[tokio::test]
async fn jobs_are_ranked_by_their_last_epoch_and_by_their_best() {
    for (name, best, running) in rankings() {
        for place in places() {
            let metric = Metric { name, goal: name.goal(), used: MetricUse::Best };
            let store = place.open().await;
            commit_jobs(store.as_ref(), metric, &JOBS).await;
            let sweep = store.load().await.unwrap().remove(0);
            assert_eq!(sweep.best, best, "{name:?}");
            let found = sweep.open_jobs[0].running.as_ref().unwrap().best;
            assert_eq!(found, Some(BestEpoch { epoch: 2, val_accuracy: 0.8, other_metric: running }));
        }
    }
}
