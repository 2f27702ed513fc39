//! A newer program on a database of an older one: what is there counts, and what was under way goes on.

use proto::v1;
use tests::{Cluster, ClusterOptions, Postgres, chaos};

/// Databases that sweep 0.1.0 left behind when it was killed half-way through the first of two sweeps.
const SQLITE: &str = include_str!("../../fixtures/before.sqlite.sql");
const POSTGRES: &str = include_str!("../../fixtures/before.postgres.sql");
/// Seeds of both sweeps, by their jobs: the fixtures' parameters.
const SEEDS: [&[u64]; 2] = [&[1, 2, 3, 1, 2, 3], &[5]];
const EPOCHS: [u32; 2] = [4, 2];
/// The times of the fixtures' epochs, which new ones do not have.
const SECONDS_BEFORE: f64 = 0.4;

/// Lets a coordinator go on with a store of before, in which so many jobs of the first sweep were done.
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

#[tokio::test]
async fn a_postgresql_database_of_the_version_before_is_gone_on_with() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let name = url.rsplit('/').find_map(|part| part.strip_prefix("sweep")).unwrap();
    let name = format!("sweep{}", name.split('?').next().unwrap());
    server.psql(&name, POSTGRES);
    goes_on(url, 4).await;
}
