//! Coordinators, workers and trainers that are killed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{WORKERS, check, check_best_weights, check_database, light, listen, packable, parameters};
use crate::{Cluster, Random, Worker, kill};

/// Jobs per kill, so that there is always something running, also on a machine that is busy with other work.
const JOBS_PER_KILL: f64 = 2.5;
/// The same where up to 24 jobs train at a time. A pack may be taken from a thousand of them: enough for 200 kills.
const JOBS_PER_KILL_IN_PACKS: f64 = 5.0;
const JOBS_MIN: u64 = 40;

/// The process to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The coordinator; another one starts on its store and port.
    Coordinator,
    /// A worker or the trainer of one, in turn; a worker restarts with its name and spool.
    Worker,
    /// As `Worker`, while each trains several jobs at a time.
    Packer,
}

/// Results of the kills.
#[derive(Debug)]
pub struct Kills {
    /// How many were killed.
    pub kills: u32,
    /// Jobs of the sweep; each was done once.
    pub jobs: u64,
    /// Epochs reported to a watcher before a kill; all were there at the end.
    pub told: usize,
    pub attempts: u64,
    /// Attempts that did not reach their job's end.
    pub begun_again: u64,
    /// How long it took.
    pub took: Duration,
}

/// Kills `kills` times and checks that nothing reported was lost and nothing counted twice.
///
/// # Panics
/// Something was.
pub async fn kills(victim: Victim, kills: u32, seed: u64) -> Kills {
    let start = Instant::now();
    let packs = victim == Victim::Packer;
    let jobs_per_kill = if packs { JOBS_PER_KILL_IN_PACKS } else { JOBS_PER_KILL };
    let jobs = ((f64::from(kills) * jobs_per_kill) as u64).max(JOBS_MIN);
    let mut options = light(10);
    if packs {
        options.worker.extend(["--pack-size-max".to_owned(), "8".to_owned()]);
    }
    let mut cluster = Cluster::start(options);
    let mut workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = cluster.submit(&if packs { packable(jobs) } else { parameters(jobs) }).await;
    let mut random = Random(seed);
    let mut told = BTreeMap::new();
    for round in 0..kills {
        let epochs = 1 + random.below(8) as usize;
        listen(&cluster, sweep, epochs, &mut told).await;
        match victim {
            Victim::Coordinator => cluster.replace_coordinator(),
            Victim::Worker | Victim::Packer => {
                let index = random.below(WORKERS.len() as u64) as usize;
                if round % 2 == 0 {
                    workers.remove(index).kill();
                    workers.insert(index, cluster.worker(WORKERS[index]));
                } else if let Some(trainer) = workers[index].trainer_if_any() {
                    kill(trainer);
                }
            }
        }
    }
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    check(&results, jobs, &told);
    check_best_weights(&cluster, sweep, jobs).await;
    cluster.coordinator.kill();
    let begun_again = check_database(&cluster.folder.path().join("sweep.db")).begun_again;
    let attempts = results.iter().map(|(job, _)| u64::from(job.attempts)).sum();
    Kills { kills, jobs, told: told.len(), attempts, begun_again, took: start.elapsed() }
}
