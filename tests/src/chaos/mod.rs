//! Many faults at random: short jobs with the light trainer while processes are ended or stopped and networks are cut,
//! and a check of everything that was reported before each fault.

mod asha;
mod audit;
mod faults;
mod freezes;
mod kills;
mod leaders;
mod leaving;
mod ledger;
mod partitions;
mod weights;

use std::{collections::BTreeMap, process::Command};

use proto::v1::{self, watch_sweep_response::Event};
use terms::{EpochReport, metrics::known};

pub use self::{
    asha::{Rungs, rungs, rungs_of_leaders},
    freezes::{Freezes, freezes},
    kills::{Kills, Victim, kills},
    leaders::{FailOvers, fail_over},
    leaving::{Leavings, leavings},
    ledger::Accounted,
    partitions::{Partitions, partitions},
    weights::{KeptWeights, check_best_weights, settled_weights},
};
use crate::{Cluster, ClusterOptions, program};

/// Epochs of each job.
const EPOCHS: u32 = 5;
const WORKERS: [&str; 3] = ["one", "two", "three"];

/// The numbers of each job's epochs, as bits.
type Told = BTreeMap<(u64, u32), (u64, u64)>;

/// Loss and accuracy of the light trainer: any function of only the job and the epoch.
pub fn light_metrics(seed: u64, epoch: u64) -> (f64, f64) {
    let mixed = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ epoch.wrapping_mul(0xBF58_476D_1CE4_E5B9)) >> 40;
    let share = mixed as f64 / f64::from(1u32 << 24);
    (1.0 / (epoch as f64 + share), share)
}

/// An epoch of the light trainer, without its time, which is not known here.
pub fn light_epoch(seed: u64, epoch: u32) -> v1::EpochRecord {
    let (train_loss, val_accuracy) = light_metrics(seed, epoch.into());
    let metrics = [
        (known::TRAIN_LOSS, train_loss),
        (known::VAL_ACCURACY, val_accuracy),
        (known::VAL_LOSS, train_loss * 2.0),
        (known::TRAIN_ACCURACY, 1.0 - val_accuracy),
    ];
    let metrics = metrics.into_iter().map(|(name, value)| (name.into(), value)).collect();
    EpochReport { number: epoch, seconds: 0.0, metrics }.into()
}

/// Weights of the light trainer: a `.safetensors` file with a tensor of `bytes` bytes derived from the job.
pub fn light_weights(seed: u64, bytes: usize) -> Vec<u8> {
    let header = format!("{{\"x\":{{\"dtype\":\"U8\",\"shape\":[{bytes}],\"data_offsets\":[0,{bytes}]}}}}");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    let mut state = seed | 1;
    file.extend((0..bytes).map(|_| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 56) as u8
    }));
    file
}

/// A cluster's options with the light trainer, whose epochs take `epoch_ms` milliseconds.
pub fn light(epoch_ms: u32) -> ClusterOptions {
    let trainer = format!("LIGHT_TRAINER_EPOCH_MS={epoch_ms} exec '{}'", program("light-trainer").display());
    ClusterOptions { worker: vec!["--trainer".to_owned(), trainer], ..ClusterOptions::default() }
}

/// `jobs` jobs, with enough attempts for one whose trainer is killed again and again.
fn parameters(jobs: u64) -> String {
    format!(
        "{{epochs: {{value: {EPOCHS}}}, seed: {{min: 1, max: {jobs}, count: {jobs}}}}}\nexecution: {{attempts_max: 20}}"
    )
}

/// As [`parameters`], for jobs that may all be trained in one pack; at most a thousand.
fn packable(jobs: u64) -> String {
    format!(
        "{{epochs: {{value: {EPOCHS}}}, learning_rate: {{min: 1, max: {jobs}, count: {jobs}}}}}\nexecution: {{attempts_max: 20}}"
    )
}

/// Records the next epochs that a watcher receives.
///
/// # Panics
/// The sweep ends before, as it has too few jobs.
async fn listen(cluster: &Cluster, sweep: u64, mut epochs: usize, told: &mut Told) {
    let observe = |event: &Event| {
        epochs -= usize::from(self::told(event, told));
        (epochs == 0).then_some(())
    };
    cluster.watch(sweep).await.until("epochs of a sweep that has jobs for all kills", observe).await;
}

/// Records the epoch of an event, if it is one.
fn told(event: &Event, told: &mut Told) -> bool {
    let Event::Epoch(v1::EpochObserved { point: Some(point), record: Some(record), .. }) = event else {
        return false;
    };
    let numbers = (record.train_loss.to_bits(), record.val_accuracy.to_bits());
    told.insert((point.job, record.epoch), numbers);
    true
}

fn check(results: &[(v1::Job, Vec<v1::EpochRow>)], jobs: u64, told: &Told) {
    assert_eq!(results.len() as u64, jobs);
    let mut kept = BTreeMap::new();
    for (job, rows) in results {
        assert_eq!(job.state(), v1::JobState::Done, "{job:?}");
        assert_eq!(check_told(job, rows, &mut kept), EPOCHS, "{job:?}");
    }
    for (epoch, numbers) in told {
        assert_eq!(kept.get(epoch), Some(numbers), "reported, but not there: {epoch:?}");
    }
}

/// Checks that a job has each of its epochs once and as it was trained; how many. Records them.
fn check_told(job: &v1::Job, rows: &[v1::EpochRow], kept: &mut Told) -> u32 {
    let number = job.point.as_ref().map_or(0, |point| point.job);
    let epochs: Vec<u32> = rows.iter().map(|row| row.record.clone().unwrap_or_default().epoch).collect();
    let last = epochs.len() as u32;
    assert_eq!(epochs, (1..=last).collect::<Vec<_>>(), "job {number} has each epoch once");
    for record in rows.iter().filter_map(|row| row.record.clone()) {
        let (loss, accuracy) = light_metrics(number, u64::from(record.epoch));
        // Named metrics are told in both ways.
        let (metrics, metrics_are_named) = (Vec::new(), false);
        let trained = v1::EpochRecord { epoch_seconds: 0.0, metrics, metrics_are_named, ..record.clone() };
        assert_eq!(trained, light_epoch(number, record.epoch));
        kept.insert((number, record.epoch), (loss.to_bits(), accuracy.to_bits()));
    }
    last
}

/// The content of a database after the end.
#[derive(Debug)]
struct Database {
    /// Attempts that had begun and did not end as done.
    begun_again: u64,
    /// Attempts that were lost.
    lost: u64,
    /// Attempts that were handed back.
    handed_back: u64,
    /// Failures and losses that are charged to jobs.
    charged: u64,
}

/// SQLite's own check of a database and of its references, and the counts.
fn check_database(path: &std::path::Path) -> Database {
    let script = "import sqlite3, sys\n\
                  store = sqlite3.connect(sys.argv[1])\n\
                  one = lambda query: store.execute(query).fetchone()[0]\n\
                  assert store.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\n\
                  assert store.execute('PRAGMA foreign_key_check').fetchall() == []\n\
                  assert one(\"SELECT count(*) FROM attempts WHERE state = 'running'\") == 0\n\
                  print(one(\"SELECT count(*) FROM attempts WHERE started AND state != 'done'\"),\n\
                  one(\"SELECT count(*) FROM attempts WHERE state = 'lost'\"),\n\
                  one(\"SELECT count(*) FROM attempts WHERE state = 'handed_back'\"),\n\
                  one('SELECT sum(failures + losses) FROM jobs'))\n";
    let output = Command::new("python3").args(["-c", script]).arg(path).output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = printed.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [begun_again, lost, handed_back, charged] = numbers[..] else { panic!("{printed}") };
    Database { begun_again, lost, handed_back, charged }
}
