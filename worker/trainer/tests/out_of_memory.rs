//! A pack that does not fit into memory, in a trainer process of its own whose address space is limited: its jobs end
//! as out of memory, and the trainer trains on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use clap::Parser;
use dataset::command::DatasetCommand;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sweep-trainer");
const BATCH_SIZE: u64 = 16;

/// Address space that the trainer may still take: two thirds of what sixteen jobs need for their parameters, Adam's state
/// and gradients alone (67 MB each), and enough for two jobs, their batches and the 64 MiB that the allocator sets aside
/// for each thread that comes and goes, such as the one that prepares the data set.
const SPARE_BYTES: u64 = 700 << 20;

/// The command line that makes data sets.
#[derive(Parser)]
struct DataSets {
    #[command(subcommand)]
    command: DatasetCommand,
}

struct Trainer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Trainer {
    fn start(cache: &Path) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["train", "--device", "cpu", "--cache-dir"])
            .arg(cache)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    /// Lets it take only so much more address space than it has.
    fn limit(&self, spare_bytes: u64) {
        const PAGE_BYTES: u64 = 4096;
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        let pages: u64 = pages.split_whitespace().next().unwrap().parse().unwrap();
        let limit = Some(pages * PAGE_BYTES + spare_bytes);
        let process = Pid::from_raw(self.process.id() as i32).unwrap();
        prlimit(Some(process), Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
    }

    /// Trains jobs of one epoch with these learning rates. Gives outcome and reason of each in the order of the ends.
    fn train(&mut self, dataset: &Path, learning_rates: &[f64]) -> Vec<(String, String)> {
        let job = |(number, learning_rate): (usize, &f64)| {
            let parameters = json!({"activation": "relu", "learning_rate": learning_rate, "batch_size": BATCH_SIZE,
                "epochs": 1, "seed": 0});
            json!({"id": number.to_string(), "model": "simple_cnn", "parameters": parameters})
        };
        let jobs: Vec<Value> = learning_rates.iter().enumerate().map(job).collect();
        let dataset = json!({"path": dataset, "image_size": 128, "val_fraction": 0.2, "split_seed": 0});
        writeln!(self.input, "{}", json!({"type": "train", "jobs": jobs, "dataset": dataset})).unwrap();
        let mut ends = Vec::new();
        while ends.len() < jobs.len() {
            let event = self.hear();
            if event["type"] == "ended" {
                ends.push(["outcome", "reason"].map(|name| event[name].as_str().unwrap().to_owned()).into());
            }
        }
        ends
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the trainer has ended");
        serde_json::from_str(&line).unwrap()
    }
}

#[test]
fn a_pack_that_does_not_fit_into_memory_ends_as_that_and_its_jobs_can_be_trained_in_smaller_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, packed) = (folder.path().join("pictures"), folder.path().join("packed.safetensors"));
    let data_set = |arguments: &[&str], paths: &[&Path]| {
        let (arguments, paths) =
            (arguments.iter().map(OsStr::new), paths.iter().map(|path| path.as_os_str()));
        let words = [OsStr::new("dataset")].into_iter().chain(arguments).chain(paths);
        dataset::command::run(&DataSets::parse_from(words).command).unwrap();
    };
    data_set(&["synth", "--images", "40"], &[&pictures]);
    data_set(&["pack"], &[&pictures, &packed]);
    let mut trainer = Trainer::start(&folder.path().join("cache"));
    assert_eq!(trainer.hear()["type"], "ready");
    // Whatever is loaded or started once is there after this.
    assert_eq!(trainer.train(&packed, &[1e-4]), [("done".to_owned(), String::new())]);
    trainer.limit(SPARE_BYTES);

    let ends = trainer.train(&packed, &[1e-4; 16]);
    for (outcome, reason) in &ends {
        assert_eq!(outcome, "out_of_memory", "{reason}");
        assert!(reason.starts_with("memory ran out for 16 jobs that trained as one pack: "), "{reason}");
    }
    for jobs in [1, 2] {
        let ends = trainer.train(&packed, &vec![1e-4; jobs]);
        assert!(ends.iter().all(|(outcome, _)| outcome == "done"), "{ends:?}");
    }
    drop(trainer.input);
    assert!(trainer.process.wait().unwrap().success());
}
