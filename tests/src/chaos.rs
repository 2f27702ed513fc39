//! Killing at random: thousands of short jobs with the light trainer while coordinators, workers and trainers are
//! ended by force, and an account of what was told before each kill.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use proto::v1::{self, watch_sweep_response::Event};

use crate::{Cluster, ClusterOptions, Postgres, Random, Worker, freeze, kill, program, thaw};

/// Epochs of each job.
const EPOCHS: u32 = 5;
/// Jobs for each kill, so that there is always something running.
const JOBS_PER_KILL: f64 = 2.5;
const JOBS_MIN: u64 = 40;
const WORKERS: [&str; 3] = ["one", "two", "three"];

/// Whom to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The coordinator; another starts on its store and port.
    Coordinator,
    /// A worker or the trainer of one, in turn; a worker comes back with its name and spool.
    Worker,
}

/// What came of it.
#[derive(Debug)]
pub struct Account {
    /// How many were killed.
    pub kills: u32,
    /// Jobs of the sweep; all were done once.
    pub jobs: u64,
    /// Epochs that a watcher was told of before a kill; all were there at the end.
    pub told: usize,
    /// Attempts in all.
    pub attempts: u64,
    /// Attempts that had begun and did not come to their job's end.
    pub begun_again: u64,
    /// How long it took.
    pub took: Duration,
}

/// Loss and accuracy of the light trainer: any function of the job and the epoch alone.
pub fn light_metrics(seed: u64, epoch: u64) -> (f64, f64) {
    let mixed = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ epoch.wrapping_mul(0xBF58_476D_1CE4_E5B9)) >> 40;
    let share = mixed as f64 / f64::from(1u32 << 24);
    (1.0 / (epoch as f64 + share), share)
}

/// Kills `kills` times and checks that nothing told was lost and nothing counted twice.
///
/// # Panics
/// Something was.
pub async fn run(victim: Victim, kills: u32, seed: u64) -> Account {
    let start = Instant::now();
    let jobs = ((f64::from(kills) * JOBS_PER_KILL) as u64).max(JOBS_MIN);
    let trainer = vec!["--trainer".to_owned(), format!("exec '{}'", program("light-trainer").display())];
    let options = ClusterOptions { worker: trainer, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options);
    let mut workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = cluster.submit(&parameters(jobs)).await;
    let mut random = Random(seed);
    let mut told = BTreeMap::new();
    for round in 0..kills {
        let epochs = 1 + random.below(8) as usize;
        listen(&cluster, sweep, epochs, &mut told).await;
        match victim {
            Victim::Coordinator => cluster.replace_coordinator(),
            Victim::Worker => {
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
    cluster.coordinator.kill();
    let begun_again = check_database(&cluster.folder.path().join("sweep.db"));
    let attempts = results.iter().map(|(job, _)| u64::from(job.attempts)).sum();
    Account { kills, jobs, told: told.len(), attempts, begun_again, took: start.elapsed() }
}

/// So many jobs, and attempts enough for one whose trainer is killed again and again.
fn parameters(jobs: u64) -> String {
    format!(
        "{{epochs: {{value: {EPOCHS}}}, seed: {{min: 1, max: {jobs}, count: {jobs}}}}}\nexecution: {{attempts_max: 20}}"
    )
}

/// What came of leaders that were killed or frozen.
#[derive(Debug)]
pub struct FailOvers {
    /// From the end or the freeze of a leader to the moment when the other one led, the shortest first.
    pub times: Vec<Duration>,
    /// Jobs of the sweep; all were done once.
    pub jobs: u64,
    /// Epochs that a watcher was told of before; all were there at the end.
    pub told: usize,
    /// Attempts in all.
    pub attempts: u64,
}

/// Two coordinators on one PostgreSQL: kills the leader or freezes it until the other leads, in turn, `rounds` times,
/// and checks as [`run`] does. None where there is no PostgreSQL.
///
/// # Panics
/// Something was lost or counted twice.
pub async fn fail_over(rounds: u32, seed: u64) -> Option<FailOvers> {
    let server = Postgres::start()?;
    let jobs = u64::from(rounds) * 12;
    let trainer = format!("LIGHT_TRAINER_EPOCH_MS=300 exec '{}'", program("light-trainer").display());
    let mut cluster = Cluster::start(ClusterOptions {
        store: Some(server.database()),
        worker: vec!["--trainer".to_owned(), trainer],
        ..ClusterOptions::default()
    });
    let mut other = cluster.stand_by();
    let _workers: Vec<Worker> = WORKERS.iter().map(|name| cluster.worker(name)).collect();
    let sweep = cluster.submit(&parameters(jobs)).await;
    let (mut random, mut told, mut times) = (Random(seed), BTreeMap::new(), Vec::new());
    for round in 0..rounds {
        let epochs = 1 + random.below(8) as usize;
        listen(&cluster, sweep, epochs, &mut told).await;
        let start = Instant::now();
        if round % 2 == 0 {
            cluster.coordinator.kill();
            other.until_it_leads(true).await;
            times.push(start.elapsed());
            let replaced = cluster.coordinator_at(cluster.coordinator.address);
            cluster.coordinator = replaced;
        } else {
            freeze(cluster.coordinator.pid());
            other.until_it_leads(true).await;
            times.push(start.elapsed());
            thaw(cluster.coordinator.pid());
        }
        std::mem::swap(&mut cluster.coordinator, &mut other);
    }
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    check(&results, jobs, &told);
    times.sort_unstable();
    let attempts = results.iter().map(|(job, _)| u64::from(job.attempts)).sum();
    Some(FailOvers { times, jobs, told: told.len(), attempts })
}

/// Writes down the next epochs that a watcher is told of.
///
/// # Panics
/// The sweep ends before, for want of jobs.
async fn listen(
    cluster: &Cluster,
    sweep: u64,
    mut epochs: usize,
    told: &mut BTreeMap<(u64, u32), (u64, u64)>,
) {
    let observe = |event: &Event| {
        if let Event::Epoch(v1::EpochObserved { point: Some(point), record: Some(record), .. }) = event {
            let numbers = (record.train_loss.to_bits(), record.val_accuracy.to_bits());
            told.insert((point.job, record.epoch), numbers);
            epochs -= 1;
        }
        (epochs == 0).then_some(())
    };
    cluster.watch(sweep).await.until("epochs of a sweep that has jobs for all kills", observe).await;
}

fn check(results: &[(v1::Job, Vec<v1::EpochRow>)], jobs: u64, told: &BTreeMap<(u64, u32), (u64, u64)>) {
    assert_eq!(results.len() as u64, jobs);
    let mut kept = BTreeMap::new();
    for (job, rows) in results {
        let number = job.point.as_ref().map_or(0, |point| point.job);
        assert_eq!(job.state(), v1::JobState::Done, "{job:?}");
        let epochs: Vec<u32> = rows.iter().map(|row| row.record.unwrap_or_default().epoch).collect();
        assert_eq!(epochs, (1..=EPOCHS).collect::<Vec<_>>(), "job {number} has each epoch once");
        for record in rows.iter().filter_map(|row| row.record) {
            let (loss, accuracy) = light_metrics(number, u64::from(record.epoch));
            assert_eq!((record.train_loss, record.val_accuracy), (loss, accuracy), "job {number}");
            kept.insert((number, record.epoch), (loss.to_bits(), accuracy.to_bits()));
        }
    }
    for (epoch, numbers) in told {
        assert_eq!(kept.get(epoch), Some(numbers), "told of, but not there: {epoch:?}");
    }
}

/// SQLite's own check of a database and of its references; how many attempts that had begun did not end as done.
fn check_database(path: &std::path::Path) -> u64 {
    let script = "import sqlite3, sys\n\
                  store = sqlite3.connect(sys.argv[1])\n\
                  assert store.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\n\
                  assert store.execute('PRAGMA foreign_key_check').fetchall() == []\n\
                  assert store.execute(\"SELECT count(*) FROM attempts WHERE state = 'running'\").fetchone() == (0,)\n\
                  print(store.execute(\"SELECT count(*) FROM attempts WHERE started AND state != 'done'\").fetchone()[0])\n";
    let output = Command::new("python3").args(["-c", script]).arg(path).output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("the script prints a number")
}
