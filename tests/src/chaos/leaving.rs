//! Workers that are asked to leave, as when a node is taken away.

use std::collections::BTreeMap;

use super::{WORKERS, check, check_database, light, listen, parameters};
use crate::{Cluster, Random, Worker, terminate};

/// Results of workers that were asked to leave.
#[derive(Debug)]
pub struct Leavings {
    /// How often one was asked to.
    pub rounds: u32,
    /// Attempts that were handed back; none was charged.
    pub handed_back: u64,
    /// Jobs of the sweep; each was done once.
    pub jobs: u64,
    /// Epochs reported to a watcher before; all were there at the end.
    pub told: usize,
}

/// Sends SIGTERM to a worker `rounds` times, and restarts it when it has left.
///
/// # Panics
/// Something was lost, counted twice or charged.
pub async fn leavings(rounds: u32, seed: u64) -> Leavings {
    let jobs = u64::from(rounds) * 12;
    let mut options = light(100);
    // Shorter than a job, which therefore does not finish.
    options.worker.extend(["--grace", "300ms"].map(str::to_owned));
    let mut cluster = Cluster::start(options);
    let mut workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    workers.iter().for_each(Worker::until_connected);
    let sweep = cluster.submit(&parameters(jobs)).await;
    let (mut random, mut told) = (Random(seed), BTreeMap::new());
    for _ in 0..rounds {
        listen(&cluster, sweep, 1 + random.below(4) as usize, &mut told).await;
        let index = random.below(WORKERS.len() as u64) as usize;
        let worker = workers.remove(index);
        terminate(worker.pid());
        assert_eq!(worker.wait(), Some(0), "a worker that leaves in order ends well");
        let worker = cluster.worker(WORKERS[index]);
        worker.until_connected();
        workers.insert(index, worker);
    }
    cluster.watch(sweep).await.until_end().await;
    check(&cluster.results(sweep).await, jobs, &told);
    cluster.coordinator.kill();
    let database = check_database(&cluster.folder.path().join("sweep.db"));
    assert_eq!((database.charged, database.lost), (0, 0), "{database:?}");
    Leavings { rounds, handed_back: database.handed_back, jobs, told: told.len() }
}
