//! Two coordinators on one database: leaders that are killed or stopped.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{WORKERS, check, light, listen, parameters};
use crate::{Cluster, ClusterOptions, Postgres, Random, Worker, freeze, thaw};

/// Results of leaders that were killed or frozen.
#[derive(Debug)]
pub struct FailOvers {
    /// From the end or the freeze of a leader to the moment when the other one leads, shortest first.
    pub times: Vec<Duration>,
    /// Jobs of the sweep; each was done once.
    pub jobs: u64,
    /// Epochs reported to a watcher before; all were there at the end.
    pub told: usize,
    pub attempts: u64,
}

/// Two coordinators on one PostgreSQL: kills the leader or freezes it until the other leads, in turn, `rounds` times,
/// and checks as [`super::kills`] does. None if there is no PostgreSQL.
///
/// # Panics
/// Something was lost or counted twice.
pub async fn fail_over(rounds: u32, seed: u64) -> Option<FailOvers> {
    let server = Postgres::start()?;
    let jobs = u64::from(rounds) * 12;
    let mut cluster = Cluster::start(ClusterOptions { store: Some(server.database()), ..light(300) });
    let mut other = cluster.stand_by();
    let _workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = cluster.submit(&parameters(jobs)).await;
    let (mut random, mut told, mut times) = (Random(seed), BTreeMap::new(), Vec::new());
    for round in 0..rounds {
        let epochs = 1 + random.below(8) as usize;
        listen(&cluster, sweep, epochs, &mut told).await;
        if round % 2 == 0 {
            times.push(cluster.fail_over(&mut other).await);
            continue;
        }
        let start = Instant::now();
        freeze(cluster.coordinator.pid());
        other.until_it_leads(true).await;
        times.push(start.elapsed());
        thaw(cluster.coordinator.pid());
        std::mem::swap(&mut cluster.coordinator, &mut other);
    }
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    check(&results, jobs, &told);
    times.sort_unstable();
    let attempts = results.iter().map(|(job, _)| u64::from(job.attempts)).sum();
    Some(FailOvers { times, jobs, told: told.len(), attempts })
}
