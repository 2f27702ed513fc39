//! Parameters and metrics of any name, of scripts that know of the sweep and of those that do not.

use super::*;

/// Does not know of any sweep.
pub(super) const UNCHANGED: &str = "\
import argparse
parser = argparse.ArgumentParser()
parser.add_argument('--rate', type=float, required=True)
parser.add_argument('--fast', action='store_true')
given = parser.parse_args()
print('starting')
for epoch in (1, 2):
    print(f'epoch {epoch}: loss={given.rate / epoch} fast={given.fast:d}', flush=True)
";

/// A ridge regression with numpy; three lines of it know of the sweep.
const NUMPY: &str = "\
import numpy
import sweep
p = sweep.parameters(rate=0.1, penalty=0.0)
random = numpy.random.default_rng(0)
x = random.normal(size=(200, 3))
y = x @ [1.0, -2.0, 0.5] + random.normal(scale=0.1, size=200)
weights = numpy.zeros(3)
for epoch in range(1, 21):
    weights -= p.rate * (x.T @ (x @ weights - y) / len(y) + p.penalty * weights)
    sweep.report(epoch, loss=numpy.mean((x @ weights - y) ** 2), norm=numpy.linalg.norm(weights))
";

#[test]
fn each_training_of_a_drawn_point_is_told_its_number() {
    let script = "import os, sweep\np = sweep.parameters(rate=0.5)\n\
                  repeat = int(os.environ['SWEEP_REPEAT'])\n\
                  sweep.report(1, loss=p.rate + repeat / 1000, repeat=repeat)\n";
    let sweep = "program: train.py\nmethod: sobol\nrun_cap: 9\nrepeats: 2\nmetric: {name: loss, goal: minimize}\n\
                 parameters: {rate: {min: 0.25, max: 1}}\n";
    let folder = tempfile::tempdir().unwrap();
    let results = run(folder.path(), script, sweep);
    let jobs = rows(&results.join("results.csv"));
    assert_eq!(jobs.len(), 8, "whole points: {jobs:?}");
    for (pair, first) in jobs.chunks(2).zip((0..).step_by(2)) {
        let told: Vec<f64> = pair.iter().map(|row| number(row, "repeat")).collect();
        assert_eq!((told, &pair[0]["rate"]), (vec![1.0, 2.0], &pair[1]["rate"]), "from job {first}");
        assert!(pair.iter().all(|row| (0.25..=1.0).contains(&number(row, "rate"))));
    }
    let page = fs::read_to_string(results.join("report.md")).unwrap();
    let rates = jobs.iter().map(|row| number(row, "rate"));
    let best = rates.fold(f64::INFINITY, f64::min) + 0.0015;
    assert!(page.contains(&format!("- **Best**: loss {best:.4} (mean of 2, ± 0.0007071) — ")), "{page}");
    assert!(page.contains("over the 2 trainings of each point"), "{page}");
}

#[test]
fn a_sweep_whose_target_was_reached_has_ended_well() {
    let script = "import sweep\np = sweep.parameters(rate=0.5)\nsweep.report(1, loss=p.rate)\n";
    let sweep = "program: train.py\nmetric: {name: loss, goal: minimize, target: 0.3}\n\
                 parameters: {rate: {values: [0.9, 0.3, 0.1, 0.2, 0.4]}}\nexecution: {max_parallel: 1}\n";
    let folder = tempfile::tempdir().unwrap();
    // Its exit status is looked at.
    let jobs = rows(&run(folder.path(), script, sweep).join("results.csv"));
    let states: Vec<&str> = jobs.iter().map(|row| row["state"].as_str()).collect();
    assert_eq!(states, ["done", "done", "cancelled", "cancelled", "cancelled"]);
}

#[test]
fn a_script_that_reports_has_its_own_parameters_and_metrics_in_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\n\
                 parameters: {rate: {values: [0.5, 0.25]}, width: {values: [3, 6]}}\n";
    let results = run(folder.path(), REPORTING, sweep);
    let jobs = rows(&results.join("results.csv"));
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    for row in &jobs {
        assert_eq!((row["state"].as_str(), row["epochs_done"].as_str()), ("done", "3"), "{row:?}");
        assert_eq!(number(row, "pain/night"), number(row, "rate") * 3.0, "{row:?}");
        assert_eq!(number(row, "recall"), number(row, "width") / 3.0, "{row:?}");
        assert!(!row.contains_key("val_accuracy") && !row.contains_key("learning_rate"), "{row:?}");
    }
    let epochs = rows(&results.join("epochs.csv"));
    assert_eq!(epochs.len(), 4 * 3);
    for row in &epochs {
        let job = jobs.iter().find(|job| job["job"] == row["job"]).unwrap();
        let epoch = number(row, "epoch");
        assert_eq!(number(row, "pain/night"), number(job, "rate") * epoch, "{row:?}");
        assert_eq!(number(row, "recall"), number(job, "width") / epoch, "{row:?}");
    }
    assert!(results.join("report.html").is_file());
}

#[test]
fn a_numpy_script_that_was_changed_by_three_lines_is_swept() {
    let Some(numpy) = tests::tool("numpy").filter(|folder| folder.is_dir()) else {
        tests::skipped("the cache of `make test` holds no numpy: a script that uses it is not tested");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let sweep = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nexecution: {{env: {{PYTHONPATH: {numpy:?}}}}}\n\
         parameters: {{rate: {{values: [0.1, 0.5]}}, penalty: {{values: [0.0, 1.0]}}}}\n"
    );
    let results = run(folder.path(), NUMPY, &sweep);
    let jobs = rows(&results.join("results.csv"));
    assert_eq!(jobs.len(), 4);
    let of = |rate: f64, penalty: f64, column: &str| {
        let is_it = |row: &&BTreeMap<_, _>| number(row, "rate") == rate && number(row, "penalty") == penalty;
        number(jobs.iter().find(is_it).unwrap(), column)
    };
    assert!(of(0.5, 0.0, "loss") < 0.02 && of(0.1, 0.0, "loss") > of(0.5, 0.0, "loss"), "{jobs:?}");
    assert!(of(0.5, 1.0, "norm") < of(0.5, 0.0, "norm"), "{jobs:?}");
    assert_eq!(rows(&results.join("epochs.csv")).len(), 4 * 20);
}

#[test]
fn a_script_that_was_not_changed_is_read_by_a_pattern() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: loss, goal: minimize}\n\
                 metrics: {pattern: 'epoch (?P<epoch>\\d+): loss=(?P<loss>\\S+) fast=(?P<speed>\\d)'}\n\
                 parameters: {rate: {values: [0.5, 0.25]}, fast: {values: [true, false]}}\n";
    let results = run(folder.path(), UNCHANGED, sweep);
    let jobs = rows(&results.join("results.csv"));
    assert_eq!(jobs.len(), 4);
    for row in &jobs {
        assert_eq!(number(row, "loss"), number(row, "rate") / 2.0, "{row:?}");
        assert_eq!(number(row, "speed") == 1.0, row["fast"] == "true", "{row:?}");
        assert_eq!((row["state"].as_str(), row["epochs_done"].as_str()), ("done", "2"), "{row:?}");
    }
    assert_eq!(rows(&results.join("epochs.csv")).len(), 4 * 2);
}

#[test]
fn a_script_is_swept_where_no_trainer_of_models_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sweep", "sweep-worker"] {
        fs::copy(program(name), folder.path().join(name)).unwrap();
    }
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\nparameters: {width: {values: [3, 6]}}\n\
                 execution: {files: [\"more/*.txt\"]}\n";
    // Listed files are sent in addition to the script, which is always sent.
    fs::create_dir_all(folder.path().join("own/more")).unwrap();
    fs::write(folder.path().join("own/more/scale.txt"), "2").unwrap();
    let script = format!("assert open('more/scale.txt').read() == '2'\n{REPORTING}");
    let results = run_by(&folder.path().join("sweep"), folder.path(), &script, sweep);
    assert!(rows(&results.join("results.csv")).iter().all(|row| row["state"] == "done"));
}
