//! Coordinators, workers and trainers that are killed while a sweep stops early, with jobs that pause at rungs and are promoted.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use proto::v1::{JobState, SubmitRequest};

use super::{
    Told, WORKERS, audit, check_database, check_told, faults,
    ledger::{self, Accounted, EPOCHS, ETA, RUNGS},
    light, listen,
};
use crate::{Cluster, Random, Worker, kill, source};

/// Jobs per kill, so that there is always something running: most train a single epoch.
const JOBS_PER_KILL: u64 = 14;
/// Epochs between two kills: more than a job has left, as one that is lost ten times has failed.
const EPOCHS_PER_KILL: std::ops::Range<u64> = 6..24;
const JOBS_MIN: u64 = 60;
/// Epochs last longer than a commit, so that a job's are seldom told together.
const EPOCH_MS: u32 = 20;

/// Results of the kills.
#[derive(Debug)]
pub struct Rungs {
    pub kills: u32,
    pub accounted: Accounted,
    /// Epochs reported to a watcher before a kill; all were there at the end.
    pub told: usize,
    /// How long it took.
    pub took: Duration,
}

/// Kills a coordinator, a worker or a trainer `kills` times during a sweep with `early_terminate: {type: asha}`, where workers train
/// up to `pack` jobs at a time, and accounts for every pause, promotion and epoch.
///
/// # Panics
/// Something was lost, counted or trained twice, or decided otherwise than the records imply.
pub async fn rungs(kills: u32, pack: u32, seed: u64) -> Rungs {
    let start = Instant::now();
    let jobs = (u64::from(kills) * JOBS_PER_KILL).max(JOBS_MIN);
    let (mut cluster, path) = audited(pack);
    let mut workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = submit(&cluster, jobs).await;
    let (mut random, mut told) = (Random(seed), Told::new());
    for _ in 0..kills {
        listen(&cluster, sweep, random.within(EPOCHS_PER_KILL) as usize, &mut told).await;
        let index = random.below(WORKERS.len() as u64) as usize;
        match random.below(4) {
            0 => cluster.replace_coordinator(),
            1 => {
                workers.remove(index).kill();
                workers.insert(index, cluster.worker(WORKERS[index]));
            }
            2 => {
                // Everything at once.
                workers.drain(..).for_each(Worker::kill);
                cluster.replace_coordinator();
                workers = WORKERS.iter().map(|name| cluster.worker(name)).collect();
            }
            _ => drop(workers[index].trainer_if_any().map(kill)),
        }
    }
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    let mut kept = BTreeMap::new();
    for (job, rows) in &results {
        let number = job.point.as_ref().map_or(0, |point| point.job);
        let epochs = check_told(job, rows, &mut kept);
        let is_paused = job.state() == JobState::Stopped && RUNGS.contains(&epochs);
        let is_done = job.state() == JobState::Done && epochs == EPOCHS;
        assert!(is_paused || is_done, "job {number} has {epochs} epochs: {job:?}");
    }
    let lost = told.iter().find(|(epoch, numbers)| kept.get(epoch) != Some(numbers));
    let lost = lost.map(|(epoch, numbers)| (epoch, numbers, kept.get(epoch)));
    assert_eq!(lost, None, "reported, but not there");
    cluster.coordinator.kill();
    check_database(&path);
    let changes = audit::read(&path);
    let accounted = ledger::account(&changes, jobs).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    faults::are_found(&changes, jobs);
    Rungs { kills, accounted, told: told.len(), took: start.elapsed() }
}

/// A cluster whose database keeps what it goes through.
fn audited(pack: u32) -> (Cluster, PathBuf) {
    let mut options = light(EPOCH_MS);
    options.worker.extend(["--pack-size-max".to_owned(), pack.to_string()]);
    options.worker_environment.push(("LIGHT_TRAINER_PAUSES", "1".to_owned()));
    let mut cluster = Cluster::start(options);
    let path = cluster.folder.path().join("sweep.db");
    let address = cluster.coordinator.address;
    cluster.coordinator.kill();
    audit::keep(&path);
    cluster.coordinator = cluster.coordinator_at(address);
    (cluster, path)
}

async fn submit(cluster: &Cluster, jobs: u64) -> u64 {
    let parameters = format!(
        "{{epochs: {{value: {EPOCHS}}}, learning_rate: {{min: 1, max: {jobs}, count: {jobs}}}}}\nexecution: \
         {{attempts_max: 20}}\nearly_terminate: {{type: asha, min_iter: {}, eta: {ETA}}}",
        RUNGS[0]
    );
    let request = SubmitRequest { source: Some(source(&parameters)), ..SubmitRequest::default() };
    let submitted = cluster.client().await.submit(request).await.expect("the sweep is right").into_inner();
    submitted.sweep.expect("an answer holds its sweep").sweep_id
}
