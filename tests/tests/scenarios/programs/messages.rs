//! What people are told of their programs: what they never read, what they printed, and why they are not tried again.

use super::{results::UNCHANGED, *};

/// What a user sees of `sweep run` in an empty folder: its exit code, standard output and standard error.
fn told(folder: &Path, script: &str, sweep: &str) -> (Option<i32>, String, String) {
    let file = project(folder, script, sweep);
    let mut run = Command::new(program("sweep"));
    run.arg("run").arg(file).args(["--slots", "2"]).current_dir(folder);
    let output = run.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_parameter_that_no_job_has_read_is_named_once_at_the_end_in_the_report_and_in_show() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\n\
                 parameters: {rat: {values: [0.5, 0.25]}, width: {values: [3, 6]}}\n";
    let (code, stdout, stderr) = told(folder.path(), REPORTING, sweep);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr.matches("the script never read: rat;").count(), 1, "{stderr}");
    assert!(!stdout.contains("WEIGHTS"), "programs rarely leave any: {stdout}");
    let results = folder.path().join("sweep-results/train");
    let page = fs::read_to_string(results.join("report.md")).unwrap();
    assert!(page.contains("- **Parameters that the script never read**: rat\n"), "{page}");
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(results.join("results.json")).unwrap()).unwrap();
    assert_eq!(json["sweep"]["unread_parameters"], serde_json::json!(["rat"]));
}

#[test]
fn the_output_of_each_job_is_kept_also_where_it_ended_well() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: loss, goal: minimize}\nparameters: {rate: {values: [1.0, 2.0]}}\n\
                 metrics: {pattern: 'epoch (?P<epoch>\\d+): loss=(?P<loss>\\S+)'}\n";
    let (code, _, stderr) = told(folder.path(), UNCHANGED, sweep);
    assert_eq!(code, Some(0), "{stderr}");
    let log = |job: u32| {
        let path = folder.path().join(format!("sweep-results/train/logs/{job}.log"));
        fs::read_to_string(path).unwrap()
    };
    assert_eq!(log(1), "starting\nepoch 1: loss=1.0 fast=0\nepoch 2: loss=0.5 fast=0\n");
    assert!(log(2).contains("epoch 1: loss=2.0"), "{}", log(2));
}

#[test]
fn a_script_that_cannot_run_is_not_tried_again_and_the_reason_says_so() {
    let metric =
        "program: train.py\nmetric: {name: loss, goal: minimize}\nparameters: {rate: {value: 1.0}}\n";
    for (script, why) in [
        ("import argparse\nargparse.ArgumentParser().parse_args()\n", "exit status 2"),
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module\n", "no_such_module"),
        ("import sys\nsys.exit(127)\n", "exit status 127"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (code, _, stderr) = told(folder.path(), script, metric);
        assert_eq!(code, Some(1), "{stderr}");
        let jobs = rows(&folder.path().join("sweep-results/train/results.csv"));
        assert_eq!((jobs[0]["state"].as_str(), jobs[0]["attempts"].as_str()), ("failed", "2"), "{jobs:?}");
        let reason = &jobs[0]["reason"];
        assert!(reason.contains(why), "{reason}");
        assert!(reason.contains("not tried again: it failed in the same way twice"), "{reason}");
    }
}

#[test]
fn a_changed_script_is_refused_by_name_with_the_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    let sweep =
        "program: train.py\nmetric: {name: recall, goal: maximize}\nparameters: {width: {values: [3, 6]}}\n";
    let (code, _, stderr) = told(folder.path(), REPORTING, sweep);
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stderr) = told(folder.path(), &format!("{REPORTING}# changed\n"), sweep);
    assert_eq!(code, Some(1), "{stderr}");
    for part in ["(train.py is another)", "--output", "another `name` in the file"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}
