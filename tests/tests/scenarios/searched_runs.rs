//! `sweep run` with early stopping and with a search that learns: one command, with a report that says which jobs were stopped and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::run::{command, results};

const EARLY: &str = "early_terminate: {type: asha, min_iter: 1, eta: 3}";
const GRID: &str = "{activation: {values: [relu, sigmoid]}, learning_rate: {values: [0.003, 0.001, 0.0001]}, epochs: {value: 3}}";
const SPACE: &str = "{activation: {values: [relu, sigmoid]}, learning_rate: {min: 0.0001, max: 0.01, distribution: \
                     log_uniform_values}, epochs: {value: 3}}";

/// Runs the sweep of these parameters; it has to end well.
fn run(folder: &Path, parameters: &str, more: &[&str]) -> String {
    let output = command(folder, &format!("{parameters}\n{EARLY}")).args(more).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The rows of a sweep of so many jobs, some of which were stopped after their first epoch: how many are done.
fn check_results(folder: &Path, jobs: usize) -> usize {
    let rows = results(folder);
    let of_json = json(&folder.join("results/results.json"));
    assert_eq!((rows.len(), of_json["jobs"].as_array().unwrap().len()), (jobs, jobs));
    for (row, of_json) in rows.iter().zip(of_json["jobs"].as_array().unwrap()) {
        check_row(row);
        assert_eq!(of_json["state"], row["state"].as_str(), "{of_json}");
        assert_eq!(of_json["reason"], row["reason"].as_str(), "{of_json}");
    }
    let done = rows.iter().filter(|row| row["state"] == "done").count();
    assert!(done >= jobs / 3 && done < jobs, "{rows:?}");
    let epochs = fs::read_to_string(folder.join("results/epochs.csv")).unwrap();
    assert_eq!(epochs.lines().count(), 1 + done * 3 + (jobs - done), "each epoch once");
    done
}

fn check_row(row: &BTreeMap<String, String>) {
    match row["state"].as_str() {
        "done" => assert_eq!((row["epochs_done"].as_str(), row["reason"].as_str()), ("3", ""), "{row:?}"),
        "stopped" => {
            let says = "paused after epoch 1 until it is among the best there";
            assert!(row["epochs_done"] == "1" && row["reason"].starts_with(says), "{row:?}");
        }
        _ => panic!("{row:?}"),
    }
}

/// The weights in the results folder are those of the best job that is done.
fn check_best(folder: &Path) {
    let best = folder.join("results/best");
    let facts = json(&best.join("model.json"));
    let weights = fs::read(best.join("model.safetensors")).unwrap();
    assert_eq!(facts["weights"]["blake3"], blake3::hash(&weights).to_hex().as_str());
    let rows = results(folder);
    let accuracy = |row: &BTreeMap<String, String>| row["val_accuracy"].parse::<f64>().unwrap();
    let done = rows.iter().filter(|row| row["state"] == "done").map(accuracy);
    let job = facts["job"].to_string();
    let winner = rows.iter().find(|row| row["job"] == job).unwrap();
    assert_eq!((winner["state"].as_str(), accuracy(winner)), ("done", done.fold(0.0, f64::max)));
}

/// The pages say of each job that was stopped why: Markdown once, HTML in the job's row and in the list of reasons.
fn check_pages(folder: &Path, stopped: usize) {
    for (page, times) in [("report.html", 2), ("report.md", 1)] {
        let text = fs::read_to_string(folder.join("results").join(page)).unwrap();
        assert_eq!(
            text.matches("paused after epoch 1 until it is among the best").count(),
            times * stopped,
            "{page}: {text}"
        );
    }
}

#[test]
fn a_run_that_stops_early_ends_well_with_the_best_model_and_the_reason_of_each_stopped_job() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(folder.path(), GRID, &[]);
    let done = check_results(folder.path(), 6);
    assert!(printed.contains("stopped") && printed.contains("best/model.safetensors (job "), "{printed}");
    check_best(folder.path());
    check_pages(folder.path(), 6 - done);
    // Again: nothing goes on, and the report is the same.
    let rows = results(folder.path());
    run(folder.path(), GRID, &[]);
    assert_eq!(results(folder.path()), rows);
}

#[test]
fn a_run_that_learns_and_stops_early_is_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let learns = ["--set", "method=tpe", "--set", "run_cap=12", "--set", "search_seed=3"];
    run(folder.path(), SPACE, &learns);
    let done = check_results(folder.path(), 12);
    check_best(folder.path());
    check_pages(folder.path(), 12 - done);
    let rows = results(folder.path());
    let rates: BTreeSet<&str> = rows.iter().map(|row| row["learning_rate"].as_str()).collect();
    assert_eq!(rates.len(), 12, "each point was drawn or proposed: {rates:?}");
}

/// The states of all jobs.
fn states(folder: &Path) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for row in results(folder) {
        *states.entry(row["state"].clone()).or_default() += 1;
    }
    states
}

#[test]
fn a_run_that_its_target_stopped_goes_on_in_its_folder_once_the_target_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let run = |target: &str, more: &[&str]| {
        let output = command(folder.path(), GRID).args(["--set", target]).args(more).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        told
    };
    // Any accuracy reaches it.
    run("metric.target=0.01", &[]);
    let first = states(folder.path());
    assert!(first["cancelled"] >= 4 && first["done"] >= 1, "{first:?}");
    let told = run("metric.target=0.02", &[]);
    assert!(told.contains("no jobs are tried again: job "), "{told}");
    assert_eq!(states(folder.path()), first);
    let told = run("metric.target=none", &[]);
    assert!(told.contains("goes on: ") && told.contains("jobs left"), "{told}");
    assert_eq!(states(folder.path()), BTreeMap::from([("done".to_owned(), 6)]));
}

#[test]
fn a_run_that_its_target_stopped_takes_more_jobs_with_another_target() {
    let folder = tempfile::tempdir().unwrap();
    let run = |parameters: &str, target: &str| {
        let output = command(folder.path(), parameters).args(["--set", target]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        told
    };
    run(GRID, "metric.target=0.01");
    let more = GRID.replace("0.003,", "0.003, 0.002,");
    let told = run(&more, "metric.target=none");
    assert!(told.contains("new in this file: 2 jobs"), "{told}");
    assert_eq!(states(folder.path()), BTreeMap::from([("done".to_owned(), 8)]));
}
