//! Coordinators, workers and trainers that are killed while a sweep stops early, with jobs that pause at rungs and are promoted.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use proto::v1::{JobState, SubmitRequest};

use super::{
    Told, WORKERS, audit, check_database, check_told, faults,
    ledger::{self, Accounted, Change, EPOCHS, ETA, RUNGS},
    light, listen,
};
use crate::{Cluster, ClusterOptions, Postgres, Random, Worker, kill, source};

/// Jobs per kill, so that there is always something running: most train a single epoch.
const JOBS_PER_KILL: u64 = 14;
/// Epochs between two kills: more than a job has left, as one that is lost ten times has failed.
const EPOCHS_PER_KILL: std::ops::Range<u64> = 6..24;
const JOBS_MIN: u64 = 60;
/// The same for each leader that is killed: the workers train until they need the next one.
const JOBS_PER_FAIL_OVER: u64 = 30;
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
    check_results(&cluster, sweep, &told).await;
    cluster.coordinator.kill();
    check_database(&path);
    let accounted = account(&audit::read(&path), jobs, seed);
    Rungs { kills, accounted, told: told.len(), took: start.elapsed() }
}

/// The same with two coordinators on one PostgreSQL, of which the one that leads is killed `kills` times, half of the times just after
/// a worker. None if there is no PostgreSQL.
///
/// # Panics
/// As [`rungs`].
pub async fn rungs_of_leaders(kills: u32, pack: u32, seed: u64) -> Option<Rungs> {
    let server = Postgres::start()?;
    let start = Instant::now();
    let jobs = (u64::from(kills) * JOBS_PER_FAIL_OVER).max(JOBS_MIN);
    let url = server.database();
    let mut cluster = Cluster::start(ClusterOptions { store: Some(url.clone()), ..pausing(pack) });
    let database = url.split(['/', '?']).nth(3).expect("a URL names its database").to_owned();
    audit::keep_in(&server, &database);
    let mut other = cluster.stand_by();
    let mut workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = submit(&cluster, jobs).await;
    let (mut random, mut told) = (Random(seed), Told::new());
    for _ in 0..kills {
        listen(&cluster, sweep, random.within(EPOCHS_PER_KILL) as usize, &mut told).await;
        if random.one_in(2) {
            let index = random.below(WORKERS.len() as u64) as usize;
            workers.remove(index).kill();
            workers.insert(index, cluster.worker(WORKERS[index]));
        }
        cluster.fail_over(&mut other).await;
    }
    check_results(&cluster, sweep, &told).await;
    let accounted = account(&audit::read_from(&server, &database), jobs, seed);
    Some(Rungs { kills, accounted, told: told.len(), took: start.elapsed() })
}

/// Waits for the end of a sweep, and checks that each job has what it may end with and all that a watcher was told.
async fn check_results(cluster: &Cluster, sweep: u64, told: &Told) {
    cluster.watch(sweep).await.until_end().await;
    let mut kept = BTreeMap::new();
    for (job, rows) in cluster.results(sweep).await {
        let number = job.point.as_ref().map_or(0, |point| point.job);
        let epochs = check_told(&job, &rows, &mut kept);
        let is_paused = job.state() == JobState::Stopped && RUNGS.contains(&epochs);
        let is_done = job.state() == JobState::Done && epochs == EPOCHS;
        assert!(is_paused || is_done, "job {number} has {epochs} epochs: {job:?}");
    }
    let lost = told.iter().find(|(epoch, numbers)| kept.get(epoch) != Some(numbers));
    let lost = lost.map(|(epoch, numbers)| (epoch, numbers, kept.get(epoch)));
    assert_eq!(lost, None, "reported, but not there");
}

/// Accounts for what a database went through; planted faults have to be found, too.
fn account(changes: &[Change], jobs: u64, seed: u64) -> Accounted {
    let accounted = ledger::account(changes, jobs).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    faults::are_found(changes, jobs);
    accounted
}

/// A cluster whose database keeps what it goes through.
fn audited(pack: u32) -> (Cluster, PathBuf) {
    let mut cluster = Cluster::start(pausing(pack));
    let path = cluster.folder.path().join("sweep.db");
    let address = cluster.coordinator.address;
    cluster.coordinator.kill();
    audit::keep(&path);
    cluster.coordinator = cluster.coordinator_at(address);
    (cluster, path)
}

/// Workers that pause jobs, and train up to `pack` of them at a time.
fn pausing(pack: u32) -> ClusterOptions {
    let mut options = light(EPOCH_MS);
    options.worker.extend(["--pack-size-max".to_owned(), pack.to_string()]);
    options.worker_environment.push(("LIGHT_TRAINER_PAUSES", "1".to_owned()));
    options
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
