//! A newer program on a database of an older one: its content counts, and running work continues.

use proto::v1;
use tests::{Cluster, ClusterOptions, Postgres, chaos};

/// Databases that sweep 0.1.0 left when it was killed half-way through the first of two sweeps.
const SQLITE: &str = include_str!("../../fixtures/before.sqlite.sql");
const POSTGRES: &str = include_str!("../../fixtures/before.postgres.sql");
/// The same for the version before metrics had names: a job runs, one is cancelled, and one set of weights is kept.
const FOUR_COLUMNS: &str = include_str!("../../fixtures/four-columns.sqlite.sql");
const FOUR_COLUMNS_POSTGRES: &str = include_str!("../../fixtures/four-columns.postgres.sql");
/// Seeds of both sweeps, by their jobs: the fixtures' parameters.
const SEEDS: [&[u64]; 2] = [&[1, 2, 3, 1, 2, 3], &[5]];
const EPOCHS: [u32; 2] = [4, 2];
/// The times of the fixtures' epochs, which new ones do not have.
const SECONDS_BEFORE: f64 = 0.4;

/// Lets a coordinator continue with an old store, in which `done_before` jobs of the first sweep were done.
async fn goes_on(store: String, done_before: usize) {
    let cluster = Cluster::start(ClusterOptions { store: Some(store), ..chaos::light(10) });
    cluster.coordinator.until_it_leads(true).await;
    let _worker = cluster.worker("one");
    for (sweep, seeds) in (1..).zip(SEEDS) {
        cluster.watch(sweep).await.until_end().await;
        let results = cluster.results(sweep).await;
        assert_eq!(results.len(), seeds.len());
        for ((job, epochs), seed) in results.iter().zip(seeds) {
            let number = job.point.as_ref().map_or(0, |point| point.job);
            let is_old = sweep == 1 && number <= done_before as u64;
            // The job that ran was lost with its worker.
            let attempts = if sweep == 1 && number == done_before as u64 + 1 { 2 } else { 1 };
            assert_eq!((job.state(), job.attempts), (v1::JobState::Done, attempts), "{job:?}");
            let records: Vec<_> = epochs.iter().filter_map(|row| row.record.clone()).collect();
            assert_eq!(records.len(), EPOCHS[sweep as usize - 1] as usize, "each epoch once");
            for record in records {
                let expected = chaos::light_metrics(*seed, u64::from(record.epoch));
                assert_eq!(
                    (record.train_loss, record.val_accuracy),
                    expected,
                    "job {number} of sweep {sweep}"
                );
                assert_eq!(record.epoch_seconds == SECONDS_BEFORE, is_old, "what was done is not done again");
            }
        }
    }
}

#[tokio::test]
async fn a_file_of_the_version_before_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sweep.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(SQLITE).unwrap();
    goes_on(format!("sqlite:{}", path.display()), 3).await;
}

/// A PostgreSQL database with the content of a dump; none if this machine has no PostgreSQL.
fn postgres_with(dump: &str) -> Option<String> {
    let server = Postgres::shared()?;
    let url = server.database();
    let name = url.rsplit('/').find_map(|part| part.strip_prefix("sweep")).unwrap();
    let name = format!("sweep{}", name.split('?').next().unwrap());
    server.psql(&name, dump);
    Some(url)
}

#[tokio::test]
async fn a_postgresql_database_of_the_version_before_is_gone_on_with() {
    let Some(url) = postgres_with(POSTGRES) else { return };
    goes_on(url, 4).await;
}

/// Lets a coordinator continue with a store from before metrics had names.
async fn goes_on_with_names(store: String) {
    let cluster = Cluster::start(ClusterOptions { store: Some(store), ..chaos::light(10) });
    cluster.coordinator.until_it_leads(true).await;
    let _worker = cluster.worker("three");
    cluster.watch(1).await.until_end().await;
    cluster.watch(3).await.until_end().await;
    let results = cluster.results(1).await;
    let states: Vec<_> = results.iter().map(|(job, _)| (job.state(), job.attempts)).collect();
    let done = v1::JobState::Done;
    assert_eq!(states, [(done, 2), (done, 1), (done, 2), (v1::JobState::Cancelled, 0)]);
    let first: Vec<_> = results[0].1.iter().filter_map(|row| row.record.clone()).collect();
    let accuracies: Vec<_> = first.iter().map(|record| record.metric("val_accuracy")).collect();
    assert_eq!(accuracies, [0.5, 0.875, 0.625].map(Some), "what was done counts as it was");
    assert_eq!((first[0].train_loss, first[1].val_loss, first[2].val_loss), (0.1 + 0.2, Some(0.25), None));
    assert_eq!((results[0].0.best_epoch, results[0].0.best_objective), (Some(2), Some(0.875)));
    for (epoch, row) in (1..).zip(&results[2].1) {
        let record = row.record.clone().unwrap();
        assert_eq!(v1::EpochRecord { epoch_seconds: 0.0, ..record }, chaos::light_epoch(3, epoch));
    }
    let ended = &cluster.results(2).await[0].0;
    assert_eq!((ended.best_epoch, ended.best_objective, ended.objective), (Some(1), Some(0.25), Some(0.5)));
}

#[tokio::test]
async fn sweeps_whose_metrics_had_no_names_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sweep.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(FOUR_COLUMNS).unwrap();
    goes_on_with_names(format!("sqlite:{}", path.display())).await;
}

#[tokio::test]
async fn sweeps_of_postgresql_whose_metrics_had_no_names_go_on() {
    let Some(url) = postgres_with(FOUR_COLUMNS_POSTGRES) else { return };
    goes_on_with_names(url).await;
}
