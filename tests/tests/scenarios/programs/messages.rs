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

#[tokio::test]
async fn a_failed_sweep_shows_its_most_frequent_reason_and_a_retry_says_that_the_script_is_the_old_one() {
    let cluster = permissive();
    let _worker = cluster.worker("one");
    let script = "import sys, sweep\np = sweep.parameters(width=1)\nsys.exit('no room' if p.width > 1 else 'no width')\n";
    let sweep = "program: train.py\nmetric: {name: loss, goal: minimize}\nparameters: {width: {values: [1, 2, 3, 4]}}\n";
    let file = project(&cluster.folder.path().join("own"), script, sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    cluster.watch(1).await.until_end().await;
    let shown = printed(&cluster, &["show", "1"]);
    let reason = |why: &str| {
        format!(
            "the program ended with exit status 1: {why}; not tried again: it failed in the same way twice"
        )
    };
    let expected = format!(
        "\nwhy jobs failed:\n  3x {}  (jobs 2–4)\n  1x {}  (job 1)\n",
        reason("no room"),
        reason("no width")
    );
    assert!(shown.contains(&expected), "{shown}");
    let told = printed(&cluster, &["retry", "1"]);
    assert!(told.contains("4 jobs of sweep 1 are tried again\n"), "{told}");
    assert!(told.contains("the script runs as it was submitted; a changed one needs a new sweep"), "{told}");
    cluster.watch(1).await.until_end().await;
    let told: serde_json::Value =
        serde_json::from_str(&printed(&cluster, &["retry", "1", "-o", "json"])).unwrap();
    assert_eq!((&told["id"], &told["retried"], &told["left"]), (&1.into(), &4.into(), &0.into()), "{told}");
}

#[test]
fn a_run_whose_workers_can_never_have_its_gpus_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\nresources: {gpus: 1}\n";
    let file = project(folder.path(), REPORTING, sweep);
    let mut run = Command::new(program("sweep"));
    run.arg("run").arg(file).args(["--device", "cpu"]).current_dir(folder.path());
    let output = run.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("each job asks for 1 GPU (`resources: {gpus: 1}`)") && told.contains("--device cpu"),
        "{told}"
    );
}

#[test]
fn a_run_divides_the_gpus_that_it_names_among_its_workers() {
    let folder = tempfile::tempdir().unwrap();
    let script = "import os, sweep\nsweep.report(1, loss=sweep.parameters(rate=1.0).rate)\nprint(os.environ['CUDA_VISIBLE_DEVICES'])\n";
    let sweep = "program: train.py\nmetric: {name: loss, goal: minimize}\nresources: {gpus: 2}\n\
                 parameters: {rate: {values: [1, 2, 3, 4]}}\n";
    let file = project(folder.path(), script, sweep);
    let mut run = Command::new(program("sweep"));
    run.arg("run").arg(file).args(["--workers", "2", "--device", "cuda:3,cuda:1,cuda:5,cuda:0"]);
    let output = run.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for job in rows(&folder.path().join("sweep-results/train/results.csv")) {
        let log = folder.path().join(format!("sweep-results/train/logs/{}.log", job["job"]));
        let expected = if job["worker"] == "local-1" { "3,5\n" } else { "1,0\n" };
        assert_eq!(fs::read_to_string(log).unwrap(), expected, "{job:?}");
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
    for part in ["(train.py is another)", "--output", "another `name` in the file gives another folder"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!stderr.contains("remove that folder"), "{stderr}");
}

#[test]
fn who_changes_a_script_that_always_failed_is_told_that_the_folder_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\n";
    let (code, _, stderr) = told(folder.path(), "import nowhere_to_be_found\n", sweep);
    assert_eq!(code, Some(1), "{stderr}");
    let (code, _, stderr) = told(folder.path(), REPORTING, sweep);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("(train.py is another)"), "{stderr}");
    assert!(stderr.contains("or remove that folder, where no job is done yet"), "{stderr}");
    fs::remove_dir_all(folder.path().join("sweep-results")).unwrap();
    let (code, _, stderr) = told(folder.path(), REPORTING, sweep);
    assert_eq!(code, Some(0), "{stderr}");
}
