//! Workers that are stopped for longer than their lease, and continue.

use std::{collections::BTreeMap, time::Duration};

use proto::v1::{self, watch_sweep_response::Event};

use super::{WORKERS, check, check_database, light, listen, parameters};
use crate::{Cluster, ClusterOptions, Random, Worker, freeze, thaw};

/// How long to wait for the loss of a frozen worker's job; one that held none loses none.
const LOSS_WITHIN: Duration = Duration::from_secs(4);

/// Results of stopping workers.
#[derive(Debug)]
pub struct Freezes {
    /// How often one was frozen.
    pub rounds: u32,
    /// How often its job was taken from it meanwhile; the others had just ended theirs.
    pub taken: u32,
    /// Attempts that were lost, by the database.
    pub lost: u64,
    /// Jobs of the sweep; each was done once.
    pub jobs: u64,
    /// Epochs reported to a watcher before; all were there at the end.
    pub told: usize,
}

/// Stops a worker that has a job past its lease and lets it continue, `wanted` times: its late reports change nothing.
///
/// # Panics
/// Something was lost or counted twice.
pub async fn freezes(wanted: u32, seed: u64) -> Freezes {
    let jobs = u64::from(wanted) * 10;
    let mut cluster = Cluster::start(ClusterOptions { lease: "1s", ..light(100) });
    let workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = cluster.submit(&parameters(jobs)).await;
    let (mut random, mut told, mut rounds, mut taken) = (Random(seed), BTreeMap::new(), 0, 0);
    while taken < wanted {
        rounds += 1;
        listen(&cluster, sweep, 1 + random.below(4) as usize, &mut told).await;
        let index = random.below(WORKERS.len() as u64) as usize;
        let mut watch = cluster.watch(sweep).await;
        freeze(workers[index].pid());
        let loss = watch.until("the loss of a job", |event| match event {
            Event::Job(job) if job.worker == WORKERS[index] => {
                (job.state() == v1::JobState::Pending).then_some(())
            }
            _ => None,
        });
        taken += u32::from(tokio::time::timeout(LOSS_WITHIN, loss).await.is_ok());
        thaw(workers[index].pid());
    }
    cluster.watch(sweep).await.until_end().await;
    check(&cluster.results(sweep).await, jobs, &told);
    cluster.coordinator.kill();
    let lost = check_database(&cluster.folder.path().join("sweep.db")).lost;
    assert!(lost >= u64::from(taken), "{lost} attempts were lost of {taken} that were taken");
    Freezes { rounds, taken, lost, jobs, told: told.len() }
}
