//! Users' programs, from a sweep file to their results: under `sweep run`, and under workers that may run them.

mod checkpoints;
mod compared;
mod endings;
mod messages;
mod outputs;
mod pauses;
mod placement;
mod results;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use proto::v1;
use tests::{Cluster, ClusterOptions, program};

use crate::commands::{printed, sweep as command};

/// How often to look for a file.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Three of its lines know of the sweep.
const REPORTING: &str = "\
import sweep
p = sweep.parameters(rate=0.5, width=1)
for epoch in range(1, 4):
    sweep.report(epoch, **{'pain/night': p.rate * epoch, 'recall': p.width / epoch})
";

/// A folder with a script and a sweep file for it; returns the sweep file.
fn project(folder: &Path, script: &str, sweep: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("train.py"), script).unwrap();
    let file = folder.join("sweep.yaml");
    fs::write(&file, sweep).unwrap();
    file
}

/// Runs `sweep run` on such a project; returns its output folder.
fn run(folder: &Path, script: &str, sweep: &str) -> PathBuf {
    run_by(&program("sweep"), folder, script, sweep)
}

/// The same, with another `sweep` program.
fn run_by(program: &Path, folder: &Path, script: &str, sweep: &str) -> PathBuf {
    let file = project(&folder.join("own"), script, sweep);
    let results = folder.join("results");
    let output = Command::new(program)
        .arg("run")
        .arg(file)
        .args(["--slots", "2", "--output"])
        .arg(&results)
        .arg("--cache-dir")
        .arg(folder.join("cache"))
        .output()
        .unwrap();
    let log = fs::read_to_string(results.join("workers/local-1.log")).unwrap_or_default();
    assert!(output.status.success(), "{}{log}", String::from_utf8_lossy(&output.stderr));
    results
}

/// The rows of a table, by column.
fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let mut rows = csv::Reader::from_path(file).unwrap();
    rows.deserialize().map(Result::unwrap).collect()
}

/// The number in a column of a row.
fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    let cell = row.get(column).unwrap_or_else(|| panic!("{column} is a column of {row:?}"));
    cell.parse().unwrap_or_else(|_| panic!("{column} is a number in {row:?}"))
}

/// A cluster whose workers may run programs.
fn permissive() -> Cluster {
    let worker = vec!["--allow-commands".to_owned()];
    Cluster::start(ClusterOptions { lease: "2s", worker, ..ClusterOptions::default() })
}

/// Waits until `found` returns something.
fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let patience = Instant::now() + tests::PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < patience, "gave up waiting for: {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Epochs and their values, to the last bit.
fn values(results: &[(v1::Job, Vec<v1::EpochRow>)]) -> Vec<(u32, Vec<(String, u64)>)> {
    let [(job, epochs)] = results else { panic!("one job: {results:?}") };
    assert_eq!(job.state(), v1::JobState::Done, "{job:?}");
    let records = epochs.iter().map(|row| row.record.as_ref().unwrap());
    let metrics = |record: &v1::EpochRecord| {
        record.metrics.iter().map(|metric| (metric.name.to_string(), metric.value.to_bits())).collect()
    };
    records.map(|record| (record.epoch, metrics(record))).collect()
}
