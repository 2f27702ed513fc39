//! Which job is the best, by the last epoch and by the best one.

use domain::best::Best;
use terms::MetricUse;

use super::*;

/// Commits jobs that are done, from job 1, and one that runs; each epoch is a validation accuracy and a loss.
async fn commit_jobs(store: &dyn Store, ranked_by: &Objective, jobs: &[&[(f64, Option<f64>)]]) {
    commit_jobs_of(store, ranked_by, "name: x", jobs).await;
}

/// The same in a sweep with this specification.
async fn commit_jobs_of(
    store: &dyn Store,
    ranked_by: &Objective,
    text: &str,
    jobs: &[&[(f64, Option<f64>)]],
) {
    let mut sweep = submitted(1, "");
    if let Record::SweepSubmitted { objective, specification, .. } = &mut sweep {
        objective.clone_from(ranked_by);
        *specification = text.to_owned();
    }
    let mut records = vec![sweep, named()];
    for (job, epochs) in (1..).zip(jobs) {
        records.push(granted(job, 1));
        let epochs: Vec<Epoch> = (1..)
            .zip(*epochs)
            .map(|(number, (val_accuracy, val_loss))| Epoch {
                row: MetricRow::new(&[0.5, *val_accuracy, val_loss.unwrap_or(MISSING)]),
                ..metrics(number)
            })
            .collect();
        let attempt = AttemptKey::new(1, job, 1);
        records.extend((1..=epochs.len()).map(|count| recorded(ranked_by, attempt, &epochs[..count])));
        if job < jobs.len() as u64 {
            records.extend(ended(job, 1, AttemptState::Done, JobState::Done));
        }
    }
    store.commit(&records).await.unwrap();
}

#[tokio::test]
async fn jobs_are_ranked_by_their_last_epoch_and_by_their_best() {
    let best = |last, best| BestJobs { by_last: Some(last), by_best: Some(best) };
    for (name, best, running) in [
        ("val_accuracy", best((1, 0.6), (2, 0.9)), (2, 0.8)),
        ("val_loss", best((3, 0.5), (2, 0.1)), (2, 0.25)),
    ] {
        for place in places() {
            let store = place.open().await;
            commit_jobs(store.as_ref(), &objective(name), &JOBS).await;
            let sweep = store.load().await.unwrap().remove(0);
            assert_eq!(sweep.best, best, "{name}");
            let found = sweep.open_jobs[0].running().unwrap().best.as_ref().unwrap();
            assert_eq!((found.epoch, found.value), running, "the first of equals");
            let row = store.jobs(SweepId(1), 4, 1).await.unwrap().remove(0);
            assert_eq!(row.best.as_ref(), Some(found), "whichever epoch is the last");
        }
    }
}

#[tokio::test]
async fn configurations_that_are_trained_several_times_are_ranked_by_their_means() {
    // Two trainings of each of three; the last job runs.
    let jobs: [&[(f64, Option<f64>)]; 6] = [
        &[(0.875, None), (0.75, None)],
        &[(0.25, None), (0.25, None)],
        &[(0.5, None), (0.625, None)],
        &[(0.5, None), (0.625, None)],
        &[(0.9, None), (0.9, None)],
        &[(0.1, None)],
    ];
    for place in places() {
        let store = place.open().await;
        commit_jobs_of(store.as_ref(), &objective("val_accuracy"), "name: x\nrepeats: 2\n", &jobs).await;
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!(sweep.best.by_last, Some((5, 0.9)), "the luckiest training");
        let points = sweep.best_points.unwrap();
        assert_eq!(points.of(MetricUse::Last), Some(Best { job: 3, value: 0.625, trainings: 2 }));
        assert_eq!(points.of(MetricUse::Best), Some(Best { job: 3, value: 0.625, trainings: 2 }));
    }
    for place in places() {
        let store = place.open().await;
        commit_jobs(store.as_ref(), &objective("val_accuracy"), &jobs).await;
        assert_eq!(store.load().await.unwrap().remove(0).best_points, None, "trained once each");
    }
}
