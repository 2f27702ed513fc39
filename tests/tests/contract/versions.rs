//! Databases of earlier versions.

use super::{
    ranking::{commit_jobs, rankings},
    *,
};

#[tokio::test]
async fn the_best_epochs_of_a_database_that_does_not_know_them_are_found() {
    for (name, best, running) in rankings() {
        let place = sqlite();
        let metric = Metric { name, goal: name.goal(), used: MetricUse::Best };
        let store = place.open().await;
        commit_jobs(store.as_ref(), metric, &JOBS).await;
        store.close().await;
        drop(store);
        // As rows of the version before are once more losses are known: nothing says which epoch was the best.
        let path = place.url.strip_prefix("sqlite:").unwrap();
        let old = "UPDATE jobs SET best_epoch = NULL, best_val_accuracy = NULL, best_metric = NULL; \
                   PRAGMA user_version = 0";
        rusqlite::Connection::open(path).unwrap().execute_batch(old).unwrap();
        let store = place.open().await;
        let sweep = store.load().await.unwrap().remove(0);
        assert_eq!(sweep.best, best, "{name:?}");
        let found = sweep.open_jobs[0].running.as_ref().unwrap().best;
        assert_eq!(found, Some(BestEpoch { epoch: 2, val_accuracy: 0.8, other_metric: running }));
        assert_eq!(store.jobs(SweepId(1), 1, 1).await.unwrap()[0].best, None);
    }
}

#[tokio::test]
async fn a_database_from_before_validation_losses_is_gone_on_with() {
    let place = sqlite();
    let store = place.open().await;
    commit_jobs(store.as_ref(), METRIC, &JOBS).await;
    store.close().await;
    drop(store);
    let path = place.url.strip_prefix("sqlite:").unwrap();
    let mut old = String::new();
    for (table, columns) in [
        ("epochs", &["val_loss", "train_accuracy"][..]),
        ("jobs", &["val_loss", "train_accuracy", "best_epoch", "best_val_accuracy", "best_metric"]),
    ] {
        for column in columns {
            old += &format!("ALTER TABLE {table} DROP COLUMN {column}; ");
        }
    }
    old += "DELETE FROM _sqlx_migrations WHERE version = 6; PRAGMA user_version = 0";
    rusqlite::Connection::open(path).unwrap().execute_batch(&old).unwrap();
    let store = place.open().await;
    let sweep = store.load().await.unwrap().remove(0);
    assert_eq!(sweep.best, BestJobs { by_last: Some((1, 0.6)), by_best: Some((2, 0.9)) });
    let epochs = epochs(store.as_ref(), 1, 1).await;
    assert_eq!((epochs[0].metrics.val_loss, epochs[0].metrics.train_accuracy), (None, None));
    // The job that ran goes on, and its row says from now on which epoch was the best of all.
    let running = sweep.open_jobs[0].running.clone().unwrap();
    let next = EpochMetrics { val_accuracy: 0.7, ..metrics(4) };
    let best = BestEpoch::after(running.best, METRIC, &next);
    let record =
        Record::EpochRecorded { attempt: AttemptKey::new(1, 4, 1), epoch: next, best, train_seconds: 6.0 };
    store.commit(&[record]).await.unwrap();
    let job = store.jobs(SweepId(1), 4, 1).await.unwrap().remove(0);
    assert_eq!(job.best, Some(BestEpoch { epoch: 2, val_accuracy: 0.8, other_metric: None }));
}

#[tokio::test]
async fn a_database_from_before_packs_is_gone_on_with() {
    let place = sqlite();
    let store = place.open().await;
    store.commit(&[submitted(1, "key"), granted(1, 1), epoch(1, 1, 1)]).await.unwrap();
    store.commit(&ended(1, 1, AttemptState::Done, JobState::Done)).await.unwrap();
    store.close().await;
    drop(store);
    let path = place.url.strip_prefix("sqlite:").unwrap();
    let old = "ALTER TABLE jobs DROP COLUMN pack_size; ALTER TABLE attempts DROP COLUMN pack_size; \
               DELETE FROM _sqlx_migrations WHERE version = 5";
    rusqlite::Connection::open(path).unwrap().execute_batch(old).unwrap();
    let store = place.open().await;
    assert_eq!(store.load().await.unwrap()[0].finals, [(JobState::Done, 1)]);
    assert_eq!(store.jobs(SweepId(1), 1, 9).await.unwrap()[0].pack_size, 1);
}
