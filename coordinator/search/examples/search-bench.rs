//! What `make bench-search` runs: how well TPE searches tables of real results, and how fast it proposes with many jobs. The
//! figures go to standard output as JSON.
//!
//!     search-bench regret FOLDER    each table of the folder, which `bench_search.py` has written
//!     search-bench histories        measures proposals after histories of several sizes, and making a searcher
//!     search-bench speed FILE       writes the jobs of a long search to FILE, and measures proposals after them

use std::{collections::BTreeMap, env, error::Error, fs, path::Path, time::Instant};

use search::tpe::{Dimension, Domain, Outcome, Point, Tpe};
use serde_json::{Value, json};
use terms::Goal;

const SEEDS: u64 = 20;
const JOBS: usize = 100;
/// After how many jobs regret is looked at.
const LOOKED_AT: [usize; 3] = [25, 50, 100];
/// Jobs before the proposals that are measured, and those proposals.
const HISTORY: u64 = 10_000;
const MEASURED: u64 = 1_000;
/// Jobs and parameters of the histories that are measured: up to the most that a sweep may have of either, and beyond the most jobs.
const HISTORIES: [(u64, usize); 8] = [
    (1_000, 8),
    (10_000, 1),
    (10_000, 8),
    (10_000, 20),
    (10_000, 50),
    (10_000, 100),
    (30_000, 8),
    (100_000, 8),
];
/// Jobs that run at the same time in one of the two measurements of speed and of regret.
const PARALLEL: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["regret", folder] => regret(Path::new(folder)),
        ["histories"] => histories(),
        ["speed", file] => speed(Path::new(file)),
        _ => Err("usage: search-bench regret FOLDER | histories | speed FILE".into()),
    }
}

/// Results of all points of a space, to be minimised.
struct Table {
    dimensions: Vec<Dimension>,
    values: Vec<f64>,
    smallest: f64,
    median: f64,
}

impl Table {
    fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let table: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
        let list = |key: &str| table[key].as_array().ok_or_else(|| format!("{}: no {key}", file.display()));
        let dimension = |parameter: &Value| {
            let count = parameter["values"].as_i64().unwrap_or_default();
            let domain = match parameter["ordered"].as_bool() {
                Some(true) => Domain::Integer { low: 0, high: count - 1, step: 1, log: false },
                _ => Domain::Categorical { choices: count as u32 },
            };
            Dimension { domain, when: Vec::new() }
        };
        let dimensions = list("parameters")?.iter().map(dimension).collect();
        // What has no result counts as infinitely bad.
        let value = |value: &Value| value.as_f64().unwrap_or(f64::INFINITY);
        let values: Vec<f64> = list("results")?.iter().map(value).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            0.5 * (sorted[middle - 1] + sorted[middle])
        } else {
            sorted[middle]
        };
        Ok(Self { dimensions, smallest: sorted[0], median, values })
    }

    /// The result of a point: the last dimension varies fastest.
    fn at(&self, point: &Point) -> f64 {
        let index = self.dimensions.iter().zip(point).fold(0, |index, (dimension, value)| {
            let count = match dimension.domain {
                Domain::Integer { high, .. } => high as usize + 1,
                Domain::Categorical { choices } => choices as usize,
                Domain::Float { .. } => 1,
            };
            index * count + value.unwrap_or_default() as usize
        });
        self.values[index]
    }

    /// The best regret so far after each end of a job, with so many at the same time. The one that started first ends first.
    fn search(&self, seed: u64, parallel: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let mut tpe = Tpe::new(&self.dimensions, None, Goal::Minimize, seed)?;
        let mut running: Vec<(u64, Point)> = Vec::new();
        let (mut regrets, mut best, mut job) = (Vec::new(), f64::INFINITY, 0);
        while regrets.len() < JOBS {
            while running.len() < parallel && job < JOBS as u64 {
                job += 1;
                let proposal = tpe.propose(job).ok_or("the table has no point left")?;
                tpe.start(job, &proposal.point);
                running.push((job, proposal.point));
            }
            let (ended, point) = running.remove(0);
            let value = self.at(&point);
            tpe.observe(ended, &point, Outcome::Finished(value));
            best = best.min(value);
            regrets.push((best - self.smallest) / (self.median - self.smallest));
        }
        Ok(regrets)
    }
}

fn regret(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.sort();
    for parallel in [1, PARALLEL] {
        let mut means = [0.0; LOOKED_AT.len()];
        let mut tables = BTreeMap::new();
        for file in &files {
            let table = Table::read(file)?;
            let runs = (0..SEEDS).map(|seed| table.search(seed, parallel)).collect::<Result<Vec<_>, _>>()?;
            let mean = |jobs: usize| runs.iter().map(|run| run[jobs - 1]).sum::<f64>() / runs.len() as f64;
            for (sum, jobs) in means.iter_mut().zip(LOOKED_AT) {
                *sum += mean(jobs) / files.len() as f64;
            }
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            tables.insert(name, mean(JOBS));
        }
        let by_jobs: BTreeMap<_, _> = LOOKED_AT.into_iter().zip(means).collect();
        println!("{}", json!({"parallel": parallel, "regret": by_jobs, "tables": tables}));
    }
    Ok(())
}

/// Eight parameters of all kinds, with the names that they have for Optuna.
fn dimensions() -> [(&'static str, Dimension); 8] {
    let float = |low, high, log| Domain::Float { low, high, log, step: None };
    let integer = |low, high, step, log| Domain::Integer { low, high, step, log };
    let domains = [
        ("learning_rate", float(1e-5, 1e-1, true)),
        ("weight_decay", float(1e-6, 1e-2, true)),
        ("momentum", float(0.0, 0.99, false)),
        ("dropout", float(0.0, 0.5, false)),
        ("units", integer(1, 1024, 1, true)),
        ("batch_size", integer(16, 256, 16, false)),
        ("layers", integer(1, 12, 1, false)),
        ("activation", Domain::Categorical { choices: 4 }),
    ];
    domains.map(|(name, domain)| (name, Dimension { domain, when: Vec::new() }))
}

/// A result that depends on all parameters.
fn result(point: &Point) -> f64 {
    let value = |index: usize| point[index].unwrap_or_default();
    (value(0).log10() + 3.0).powi(2)
        + (value(1).log10() + 4.0).powi(2)
        + (value(2) - 0.9).powi(2)
        + (value(3) - 0.2).powi(2)
        + (value(4).log2() - 7.0).powi(2) / 9.0
        + (value(5) - 64.0).abs() / 128.0
        + (value(6) - 4.0).abs() / 6.0
        + if value(7) == 2.0 { 0.0 } else { 0.3 }
}

fn speed(file: &Path) -> Result<(), Box<dyn Error>> {
    let named = dimensions();
    let dimensions = named.clone().map(|(_, dimension)| dimension);
    let mut tpe = Tpe::new(&dimensions, None, Goal::Minimize, 0)?;
    let (mut history, mut times, mut tells) = (Vec::new(), Vec::new(), Vec::new());
    for job in 1..=HISTORY + MEASURED {
        let begin = Instant::now();
        let point = tpe.propose(job).ok_or("no point is left")?.point;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        let value = result(&point);
        if job <= HISTORY {
            let values: BTreeMap<_, _> = named.iter().map(|(name, _)| *name).zip(&point).collect();
            history.push(json!({"values": values, "result": value}));
        }
        let begin = Instant::now();
        tpe.observe(job, &point, Outcome::Finished(value));
        tells.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    fs::write(file, serde_json::to_string(&history)?)?;
    let late = |times: &[f64]| percentiles(&times[HISTORY as usize..]);
    println!("{}", json!({"jobs": HISTORY, "propose_ms": late(&times), "observe_ms": late(&tells)}));
    Ok(())
}

/// The same parameters, so many of them.
fn many_dimensions(count: usize) -> Vec<Dimension> {
    dimensions().into_iter().map(|(_, dimension)| dimension).cycle().take(count).collect()
}

fn histories() -> Result<(), Box<dyn Error>> {
    for (jobs, count) in HISTORIES {
        let dimensions = many_dimensions(count);
        // Points by chance: nothing has ended yet.
        let mut draws = Tpe::new(&dimensions, None, Goal::Minimize, 1)?;
        let mut draw = |job| draws.propose(job).map(|drawn| drawn.point).ok_or("no point is left");
        let points = (1..=jobs).map(&mut draw).collect::<Result<Vec<_>, _>>()?;
        let value = |job: u64| (job.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64;
        let mut tpe = Tpe::new(&dimensions, None, Goal::Minimize, 0)?;
        let begin = Instant::now();
        (1..).zip(&points).for_each(|(job, point)| tpe.observe(job, point, Outcome::Finished(value(job))));
        tpe.prepare();
        let told = begin.elapsed().as_secs_f64() * 1e3;
        let (mut proposals, mut starts, mut tells) = (Vec::new(), Vec::new(), Vec::new());
        let timed = |times: &mut Vec<f64>, begin: Instant| times.push(begin.elapsed().as_secs_f64() * 1e3);
        for job in jobs + 1..=jobs + MEASURED {
            let begin = Instant::now();
            let point = tpe.propose(job).ok_or("no point is left")?.point;
            timed(&mut proposals, begin);
            let begin = Instant::now();
            tpe.start(job, &point);
            timed(&mut starts, begin);
            let begin = Instant::now();
            tpe.observe(job, &point, Outcome::Finished(value(job)));
            timed(&mut tells, begin);
        }
        let begin = Instant::now();
        drop(tpe);
        let dropped = begin.elapsed().as_secs_f64() * 1e3;
        let [propose, start, observe] = [proposals, starts, tells].map(|times| percentiles(&times));
        println!(
            "{}",
            json!({"jobs": jobs, "parameters": count, "told_all_ms": told, "dropped_ms": dropped, "propose_ms": propose, "start_ms": start, "observe_ms": observe})
        );
    }
    Ok(())
}

fn percentiles(times: &[f64]) -> Value {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}
