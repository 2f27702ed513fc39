//! Databases of earlier versions: their content is there afterwards, intact.

use super::*;

/// What sweep 0.1.0 left, before metrics had names: with migration 5, and with the last one.
const BEFORE: &str = include_str!("../../fixtures/before.sqlite.sql");
const FOUR_COLUMNS: &str = include_str!("../../fixtures/four-columns.sqlite.sql");
const FOUR_COLUMNS_POSTGRES: &str = include_str!("../../fixtures/four-columns.postgres.sql");

/// A place with the content of a dump.
fn place_with(dump: &str) -> Place {
    let place = sqlite();
    let path = place.url.strip_prefix("sqlite:").unwrap();
    rusqlite::Connection::open(path).unwrap().execute_batch(dump).unwrap();
    place
}

/// Places with a database whose metrics were four columns.
fn places_with_four_columns() -> impl Iterator<Item = Place> {
    let postgres = Postgres::shared().map(|server| {
        let url = server.database();
        let (_, rest) = url.split_once("localhost/").unwrap();
        server.psql(rest.split('?').next().unwrap(), FOUR_COLUMNS_POSTGRES);
        Place { url, _folder: tempfile::tempdir().unwrap() }
    });
    [Some(place_with(FOUR_COLUMNS)), postgres].into_iter().flatten()
}

fn named_row(names: &terms::MetricSchema, row: &MetricRow) -> Vec<(String, f64)> {
    names.pairs(row).map(|(name, value)| (name.to_string(), value)).collect()
}

#[tokio::test]
async fn four_columns_of_metrics_become_metrics_with_names() {
    for place in places_with_four_columns() {
        let store = place.open().await;
        let sweeps = store.load().await.unwrap();
        let names: Vec<_> = sweeps.iter().map(|sweep| sweep.metrics.names().len()).collect();
        assert_eq!(names, [4, 2, 0], "as far as anything was said");
        assert_eq!(sweeps[0].request_id, "key-1");
        // By the largest accuracy, and by the smallest loss of any epoch.
        let best = BestJobs { by_last: Some((2, 0.75)), by_best: Some((1, 0.875)) };
        assert_eq!(sweeps[0].best, best);
        let best = BestJobs { by_last: Some((1, 0.5)), by_best: Some((1, 0.25)) };
        assert_eq!(sweeps[1].best, best);
        let running = sweeps[0].open_jobs[0].running().unwrap();
        assert_eq!((running.last.as_ref().unwrap().number, running.train_seconds), (2, 0.75));
        let best = running.best.as_ref().unwrap();
        assert_eq!((best.epoch, best.value), (1, 0.5), "the first of equals");
        assert_eq!(sweeps[0].weights.len(), 1);

        let jobs = store.jobs(SweepId(1), 1, 9).await.unwrap();
        let numbers: Vec<_> = jobs.iter().map(|job| (job.job, job.attempts, job.epochs_done)).collect();
        assert_eq!(numbers, [(1, 2, 3), (2, 1, 3), (3, 1, 2), (4, 0, 0)]);
        assert_eq!(jobs[0].best.as_ref().map(|best| (best.epoch, best.value)), Some((2, 0.875)));
        assert_eq!(jobs[0].objective, Some(0.625));
        let epochs = epochs(store.as_ref(), 1, 9).await;
        let first = epochs.iter().find(|row| row.attempt == 2).unwrap();
        let expected = [("train_loss", 0.1 + 0.2), ("val_accuracy", 0.5), ("train_accuracy", 1.0 / 3.0)];
        assert_eq!(
            named_row(&first.names, &first.epoch.row),
            expected.map(|(name, value)| (name.to_owned(), value)),
            "bit for bit, and what was not said is not there"
        );
        assert_eq!(epochs.len(), 9, "also those that do not count");
        let second = store.jobs(SweepId(2), 1, 9).await.unwrap().remove(0);
        assert_eq!(second.best.map(|best| (best.epoch, best.value)), Some((1, 0.25)));
        store.close().await;
        drop(store);
        // Once done, it is not done again.
        assert_eq!(place.open().await.load().await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_database_without_checksums_for_some_columns_is_gone_on_with() {
    let place = place_with(BEFORE);
    let store = place.open().await;
    let sweep = store.load().await.unwrap().remove(0);
    assert_eq!(sweep.metrics.names(), ["train_loss", "val_accuracy"].map(Into::into));
    let (job, value) = sweep.best.by_best.unwrap();
    let row = store.jobs(SweepId(1), job, 1).await.unwrap().remove(0);
    assert_eq!(row.best.map(|best| best.value), Some(value));
    assert_eq!(row.pack_size, 1);
}

#[tokio::test]
async fn a_corrupt_row_is_not_taken_over() {
    for change in ["UPDATE epochs SET val_loss = 7 WHERE epoch = 2", "UPDATE jobs SET epochs_done = 9"] {
        for place in places_with_four_columns() {
            let hint = place.change(change);
            for _ in 0..2 {
                let error = open(&place.url).await.unwrap_err().to_string();
                assert!(error.contains("corrupt") && error.contains(hint), "nothing was changed: {error}");
            }
        }
    }
}
