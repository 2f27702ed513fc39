//! Models that only a trainer knows: its manifest makes their sweeps, and only workers with that trainer get their jobs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::{Cluster, ClusterOptions, program, wide_metrics};

use crate::commands::{printed, refused};

/// Four jobs over two of the twelve parameters.
const GRID: &str = "\
name: wide
model: wide_net
metric: {name: energy, goal: minimize}
parameters:
  rate:   {values: [0.5, 0.25]}
  norm:   {values: [batch, none]}
  rounds: {value: 3}
";

/// The names of the manifest, in its order.
const PARAMETERS: [&str; 12] = [
    "width", "depth", "rate", "decay", "norm", "bias", "label", "warmup", "rounds", "window", "noise", "salt",
];
const METRICS: [&str; 5] = ["gap", "recall/top-5", "energy", "spread", "speed"];

fn trainer(name: &str) -> String {
    format!("exec '{}'", program(name).display())
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What the trainer's worker would say of it.
fn described() -> String {
    let output = Command::new(program("sweep-worker"))
        .args(["describe", "--device", "cpu", "--trainer", &trainer("wide-trainer")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let mut rows = csv::Reader::from_path(file).unwrap();
    rows.deserialize().map(Result::unwrap).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    let cell = row.get(column).unwrap_or_else(|| panic!("{column} is a column of {row:?}"));
    cell.parse().unwrap_or_else(|_| panic!("{column} is a number in {row:?}"))
}

/// Whether a report's tables have the four jobs with all parameters, and all metrics of each of their epochs.
fn check_tables(results: &Path) {
    let jobs = rows(&results.join("results.csv"));
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    let metrics = |row: &BTreeMap<String, String>, job: &BTreeMap<String, String>, epoch: u64| {
        let expected = wide_metrics(epoch, |name| number(job, name));
        for (name, expected) in METRICS.iter().zip(expected) {
            assert_eq!(number(row, name), expected, "{name} in {row:?}");
        }
    };
    for job in &jobs {
        assert_eq!((job["state"].as_str(), job["epochs_done"].as_str()), ("done", "3"), "{job:?}");
        let missing: Vec<_> = PARAMETERS.iter().filter(|name| !job.contains_key(**name)).collect();
        assert!(missing.is_empty(), "{missing:?} have no column in {job:?}");
        let defaults = ["width", "depth", "label", "bias"].map(|name| job[name].as_str());
        assert_eq!(defaults, ["64", "3", "plain", "true"]);
        metrics(job, job, 3);
        assert!(!job.contains_key("val_accuracy") && !job.contains_key("learning_rate"), "{job:?}");
    }
    let epochs = rows(&results.join("epochs.csv"));
    assert_eq!(epochs.len(), 4 * 3);
    for row in &epochs {
        let job = jobs.iter().find(|job| job["job"] == row["job"]).unwrap();
        metrics(row, job, row["epoch"].parse().unwrap());
    }
    let page = fs::read_to_string(results.join("report.html")).unwrap();
    for name in METRICS.iter().chain(["rate", "norm"].iter()) {
        assert!(page.contains(name), "{name} is in no table of the report");
    }
}

fn cluster_with(trainer_name: &str) -> Cluster {
    let worker = vec!["--trainer".to_owned(), trainer(trainer_name)];
    Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() })
}

#[tokio::test]
async fn jobs_of_a_model_go_to_the_workers_whose_trainer_has_it_and_the_sweep_says_when_none_has() {
    let mut cluster = cluster_with("light-trainer");
    let plain = cluster.worker("plain");
    plain.until_connected();
    let folder = cluster.folder.path().to_owned();
    let file = written(&folder, "wide.yaml", GRID);
    for asked in ["validate", "submit"] {
        let told = refused(&cluster, &[asked, &file]);
        assert!(
            told.contains("wide.yaml:2: model: there is no model `wide_net` here, only simple_cnn"),
            "{told}"
        );
        assert!(told.contains("--manifest FILE") && told.contains("sweep-worker describe"), "{told}");
    }
    let manifest = written(&folder, "wide_net.json", &described());
    let valid = printed(&cluster, &["validate", &file, "--manifest", &manifest]);
    assert!(valid.contains("wide is valid: 4 jobs"), "{valid}");
    let wrong = written(&folder, "wrong.yaml", &format!("{GRID}  width:  {{value: 513}}\n"));
    let told = refused(&cluster, &["validate", &wrong, "--manifest", &manifest]);
    assert!(
        told.contains("wrong.yaml:8:") && told.contains("`width` must be a whole number from 1 to 512"),
        "{told}"
    );
    let wrong = written(&folder, "wrong.yaml", &GRID.replace("  rounds: {value: 3}\n", ""));
    let told = refused(&cluster, &["validate", &wrong, "--manifest", &manifest]);
    assert!(told.contains("`rounds` is missing; it must be a whole number from 1 to 20"), "{told}");

    printed(&cluster, &["submit", &file, "--manifest", &manifest]);
    let shown = printed(&cluster, &["show", "1"]);
    assert!(
        shown.contains("no connected worker has the model wide_net, version 3: plain: it has simple_cnn 1"),
        "{shown}"
    );
    cluster.workers_get(vec!["--trainer".to_owned(), trainer("wide-trainer")]);
    let wide = cluster.worker("wide");
    cluster.watch(1).await.until_end().await;
    for job in 1..=4 {
        let attempts = cluster.job(1, job).await.attempts;
        let workers: Vec<_> = attempts.iter().map(|attempt| attempt.worker.as_str()).collect();
        assert_eq!(workers, ["wide"], "job {job}");
    }
    let results = folder.join("results");
    printed(&cluster, &["report", "1", "--output", results.to_str().unwrap()]);
    check_tables(&results);
    let jobs = printed(&cluster, &["jobs", "1"]).to_lowercase();
    for name in METRICS.iter().chain(&["rate", "norm", "best_energy"]) {
        assert!(jobs.contains(name) && !jobs.contains("val_accuracy"), "{jobs}");
    }
    let shown = printed(&cluster, &["show", "1"]).to_lowercase();
    assert!(shown.contains("energy") && shown.contains("model: wide_net"), "{shown}");

    // What a connected worker has needs no manifest.
    let second = written(&folder, "second.yaml", &GRID.replace("0.25", "0.125"));
    printed(&cluster, &["submit", &second]);
    cluster.watch(2).await.until_end().await;
    drop((plain, wide));

    // Nor does what a sweep had: it is stored with it, also where no one has the model any more.
    cluster.replace_coordinator();
    printed(&cluster, &["submit", &second]);
    let wrong = written(&folder, "wrong.yaml", &GRID.replace("0.25", "2.5"));
    let told = refused(&cluster, &["submit", "--extend", "1", &wrong]);
    assert!(told.contains("`rate` must be a number greater than 0 and at most 2"), "{told}");
    let extended = printed(&cluster, &["submit", "--extend", "1", &second]);
    assert!(extended.contains("2 of 6 jobs are new"), "{extended}");
}

#[test]
fn sweep_run_asks_the_trainer_what_it_trains() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "wide.yaml", GRID);
    let results: PathBuf = folder.path().join("results");
    let run = || {
        Command::new(program("sweep"))
            .args([
                "run",
                &file,
                "--device",
                "cpu",
                "--slots",
                "2",
                "--trainer",
                &trainer("wide-trainer"),
                "--output",
            ])
            .arg(&results)
            .output()
            .unwrap()
    };
    let output = run();
    let log = fs::read_to_string(results.join("workers/local-1.log")).unwrap_or_default();
    assert!(output.status.success(), "{}{log}", String::from_utf8_lossy(&output.stderr));
    check_tables(&results);
    let again = run();
    assert!(String::from_utf8_lossy(&again.stderr).contains("is finished already"), "{again:?}");
}
