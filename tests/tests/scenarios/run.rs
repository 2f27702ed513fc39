//! `sweep run`: one command from the sweep file to the report.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tests::{program, terminate};

use crate::processes::{hanging_trainer, with_a_driver_that_hangs};

pub(crate) fn command(folder: &Path, parameters: &str) -> Command {
    command_with_workers("2", folder, parameters)
}

fn command_with_workers(workers: &str, folder: &Path, parameters: &str) -> Command {
    command_on("cpu", workers, folder, parameters)
}

fn command_on(device: &str, workers: &str, folder: &Path, parameters: &str) -> Command {
    let file = folder.join("sweep.yaml");
    fs::write(&file, tests::source(parameters).text).unwrap();
    let mut command = Command::new(program("sweep"));
    command
        .arg("run")
        .arg(file)
        .args(["--set", "execution.checkpoint_every_epochs=1"])
        .args(["--workers", workers, "--device", device, "--output"])
        .arg(folder.join("results"))
        .arg("--cache-dir")
        .arg(folder.join("cache"));
    command
}

/// The rows of `results.csv`, by column.
pub(crate) fn results(folder: &Path) -> Vec<BTreeMap<String, String>> {
    let mut rows = csv::Reader::from_path(folder.join("results/results.csv")).unwrap();
    rows.deserialize().map(Result::unwrap).collect()
}

/// How many checkpoints lie in the output directory.
fn checkpoints(folder: &Path) -> usize {
    let found = Command::new("find")
        .arg(folder.join("results"))
        .args(["-path", "*/checkpoints/*", "-name", "*.safetensors*"])
        .output();
    String::from_utf8(found.unwrap().stdout).unwrap().lines().count()
}

/// Reads a run's output up to the line for which `found` is true.
fn read_until(child: &mut Child, found: impl Fn(&str) -> bool) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| found(&line.unwrap())), "the run ended before");
    // Later output must not hit a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
}

#[test]
fn one_command_makes_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = "{learning_rate: {values: [0.001, 0.0001]}, epochs: {value: 2}}";
    let output = command(folder.path(), parameters).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("VAL_ACCURACY") && printed.contains("report.html"), "{printed}");
    let rows = results(folder.path());
    assert_eq!(rows.len(), 2);
    for name in ["report.html", "report.md", "results.json", "epochs.csv", "figures/time-vs-accuracy.png"] {
        assert!(folder.path().join("results").join(name).is_file(), "{name}");
    }
    // The best job's weights, and their description.
    let best = folder.path().join("results/best");
    let facts: serde_json::Value =
        serde_json::from_slice(&fs::read(best.join("model.json")).unwrap()).unwrap();
    let weights = fs::read(best.join("model.safetensors")).unwrap();
    assert_eq!(facts["weights"]["blake3"], blake3::hash(&weights).to_hex().as_str());
    let best_job = facts["job"].to_string();
    let winner = rows.iter().find(|row| row["job"] == best_job).unwrap();
    let others = rows.iter().map(|row| row["val_accuracy"].parse::<f64>().unwrap());
    assert_eq!(winner["val_accuracy"].parse::<f64>().unwrap(), others.fold(0.0, f64::max));
    assert!(printed.contains("best/model.safetensors (job "), "{printed}");
    let page = fs::read_to_string(folder.path().join("results/report.md")).unwrap();
    assert!(page.contains("best/model.safetensors"), "{page}");
    // Again: nothing is left to train, the report is the same, and no sweep of another kind may use the folder.
    let again = command(folder.path(), parameters).output().unwrap();
    assert!(again.status.success());
    assert_eq!(results(folder.path()), rows);
    let other = command(folder.path(), parameters).args(["--set", "dataset.split_seed=3"]).output().unwrap();
    assert_eq!(other.status.code(), Some(1));
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        told.contains("cannot continue with this file")
            && told.contains("`dataset.split_seed` cannot change"),
        "{told}"
    );
    // A file of another name that shares no job is another sweep, and changes nothing; of the same name it is more jobs.
    let unrelated = "{learning_rate: {values: [0.1]}, epochs: {value: 1}}";
    let other = command(folder.path(), unrelated).args(["--set", "name=unrelated"]).output().unwrap();
    assert_eq!(other.status.code(), Some(1));
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(told.contains("holds the results of another sweep") && told.contains("--output"), "{told}");
    assert_eq!(results(folder.path()), rows);
    // More values are more jobs; finished jobs stay, even those that the file no longer has.
    let more = "{learning_rate: {values: [0.001, 0.01]}, epochs: {value: 2}}";
    let grown = command(folder.path(), more).args(["--set", "name=grown"]).output().unwrap();
    let told = String::from_utf8_lossy(&grown.stderr).into_owned();
    assert!(grown.status.success(), "{told}");
    for expected in ["2 of 3 jobs finished", "new in this file: 1 job", "not in this file: 1 job", "-> grown"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let more = results(folder.path());
    assert_eq!((more.len(), &more[..2]), (3, &rows[..]));
}

/// Two optimisers of which one has a momentum, which says nothing of where it applies.
const OPTIMISERS: &str = "{optimizer: {values: [adam, sgd]}, momentum: {values: [0.0, 0.9]}, learning_rate: {values: [0.001, \
                          0.0001]}, epochs: {value: 2}}";

#[test]
fn a_run_of_two_optimisers_trains_each_point_once_and_gives_momentum_only_to_the_one_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), OPTIMISERS).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("`momentum` has a value only where `optimizer` is `sgd`"), "{said}");
    let rows = results(folder.path());
    assert!(rows.iter().all(|row| row["state"] == "done" && row["epochs_done"] == "2"), "{rows:?}");
    let point = |row: &BTreeMap<String, String>| {
        ["optimizer", "momentum", "learning_rate"].map(|name| row[name].clone())
    };
    let mut points: Vec<_> = rows.iter().map(point).collect();
    points.sort();
    let expected = [
        ["adam", "", "0.0001"],
        ["adam", "", "0.001"],
        ["sgd", "0", "0.0001"],
        ["sgd", "0", "0.001"],
        ["sgd", "0.9", "0.0001"],
        ["sgd", "0.9", "0.001"],
    ];
    assert_eq!(points, expected);
    // Each of them trains in another way.
    let losses: BTreeSet<&str> = rows.iter().map(|row| row["train_loss"].as_str()).collect();
    assert_eq!(losses.len(), expected.len(), "{rows:?}");
}

#[test]
fn a_job_that_took_too_long_is_tried_again_with_a_raised_limit() {
    let folder = tempfile::tempdir().unwrap();
    let run = |limit: &str| {
        command(folder.path(), "{epochs: {values: [1, 300]}}")
            .args(["--set", "execution.attempts_max=1", "--set", &format!("execution.job_timeout={limit}")])
            .output()
            .unwrap()
    };
    let failed = run("1s");
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("exceeded job_timeout"));
    // The short one may have taken too long, too, where the machine has much to do.
    let short = results(folder.path()).iter().any(|row| row["state"] == "done");
    let failed = if short { "1 failed job" } else { "2 failed jobs" };
    let raised = run("10m");
    let told = String::from_utf8_lossy(&raised.stderr).into_owned();
    assert!(raised.status.success(), "{told}");
    assert!(
        told.contains("execution.job_timeout: 1s -> 10m") && told.contains(&format!("trying {failed} in")),
        "{told}"
    );
    assert!(results(folder.path()).iter().all(|row| row["state"] == "done"));
}

#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = "{learning_rate: {values: [0.002, 0.001, 0.0005, 0.0001]}, epochs: {value: 12}}";
    for stop in [terminate, tests::kill] {
        let resumed = folder.path().join("results").exists();
        let mut child = command(folder.path(), parameters).stdout(Stdio::piped()).spawn().unwrap();
        read_until(&mut child, |line| line.contains("epoch 5/12"));
        // Seven epochs later they are removed; of a resumed job it is not known how far it is.
        assert!(resumed || checkpoints(folder.path()) > 0, "checkpoints lie in the output directory");
        stop(child.id());
        let code = child.wait().unwrap().code();
        assert!([Some(130), None].contains(&code), "{code:?}");
    }
    let output = command(folder.path(), parameters).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(checkpoints(folder.path()), 0, "and are removed when their jobs are done");
    let rows = results(folder.path());
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["state"] == "done" && row["epochs_done"] == "12"), "{rows:?}");
    let epochs = fs::read_to_string(folder.path().join("results/epochs.csv")).unwrap();
    assert_eq!(epochs.lines().count(), 1 + 4 * 12, "each epoch once");
}

#[test]
fn a_run_whose_points_come_from_outside_is_refused_before_anything_waits() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = "{learning_rate: {min: 0.001, max: 0.1}, epochs: {value: 1}}";
    let mut command = command(folder.path(), parameters);
    let output = command.args(["--set", "method=external", "--set", "run_cap=4"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`sweep search SWEEP`"), "{told}");
    assert_eq!((output.status.code(), folder.path().join("results").exists()), (Some(2), false));
}

#[test]
fn a_worker_that_dies_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = command_with_workers("1", folder.path(), "{epochs: {value: 6}}");
    let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
    read_until(&mut child, |line| line.contains("epoch 2/6"));
    let [worker] = tests::children(child.id())[..] else { panic!("one worker runs") };
    tests::kill(worker);
    assert!(child.wait().unwrap().success());
    let rows = results(folder.path());
    assert_eq!((rows[0]["state"].as_str(), rows[0]["attempts"].as_str()), ("done", "2"), "{rows:?}");
}

/// Waits until three workers run and `dead` is none of them; returns the oldest one.
fn oldest_of_three(run: u32, dead: u32) -> u32 {
    let patience = Instant::now() + tests::PATIENCE;
    loop {
        let workers = tests::children(run);
        if workers.len() == 3 && !workers.contains(&dead) {
            return workers[0];
        }
        assert!(Instant::now() < patience, "three workers run, and not {workers:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn workers_that_die_one_after_another_are_started_again_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut run =
        command_with_workers("3", folder.path(), "{seed: {values: [1, 2, 3, 4, 5, 6]}, epochs: {value: 5}}");
    // No job ends before the kills, however long they take.
    let gate = folder.path().join("gate");
    run.env("SWEEP_TRAINER", program("light-trainer")).env("LIGHT_TRAINER_GATE", &gate);
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut child = run.args(["--slots", "2"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    read_until(&mut child, |line| line.contains("epoch 2/5"));
    // In turn, each three times: together more often than a single one may.
    let mut dead = 0;
    for _ in 0..9 {
        dead = oldest_of_three(child.id(), dead);
        tests::kill(dead);
    }
    oldest_of_three(child.id(), dead);
    fs::write(gate, "").unwrap();
    let told = || fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(child.wait().unwrap().success(), "{}", told());
    assert!(results(folder.path()).iter().all(|row| row["state"] == "done"), "{}", told());
}

#[test]
fn a_worker_that_cannot_start_ends_the_run_with_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = command(folder.path(), "{epochs: {value: 1}}");
    let output = run.env("SWEEP_TRAINER_SILENCE", "soon").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.matches("error").count(), 1, "{told}");
    assert!(told.contains(" cannot start: invalid value 'soon' for '--trainer-silence <TIME>'"), "{told}");
    let mut run = command(folder.path(), "{epochs: {value: 1}}");
    let output = run.env("SWEEP_TRAINER", "echo no licence >&2; exit 3").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error: --trainer: the trainer of slot 0 cannot be used here: ")
            && told.contains("no licence"),
        "{told}"
    );
}

#[test]
fn a_run_that_wants_gpus_where_there_are_none_says_so_once() {
    if fs::exists("/proc/driver/nvidia").unwrap_or_default() {
        return tests::skipped("this machine has a GPU");
    }
    for workers in ["1", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let output = command_on("cuda", workers, folder.path(), "{epochs: {value: 1}}").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(
            told.contains("error: --device cuda was asked for, but libtorch can use no GPU here"),
            "{told}"
        );
    }
}

#[test]
fn however_a_run_is_ended_its_workers_and_their_trainers_are_gone() {
    for (signal, code) in [(Signal::HUP, Some(130)), (Signal::INT, Some(130)), (Signal::KILL, None)] {
        let folder = tempfile::tempdir().unwrap();
        let mut run =
            command_with_workers("2", folder.path(), "{seed: {values: [1, 2, 3, 4]}, epochs: {value: 1000}}");
        run.env("SWEEP_TRAINER", program("light-trainer")).env("LIGHT_TRAINER_EPOCH_MS", "100");
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        read_until(&mut child, |line| line.contains("epoch 2/1000"));
        let processes = tests::descendants(child.id());
        assert!(processes.len() >= 2 + 2 * 2, "workers, keepers and trainers: {processes:?}");
        tests::send(child.id(), signal);
        assert_eq!(child.wait().unwrap().code(), code);
        processes.into_iter().for_each(tests::wait_for_end);
    }
}

#[test]
fn a_run_is_stopped_while_it_looks_for_gpus_and_what_looks_for_them_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    with_a_driver_that_hangs(folder.path());
    for (signal, code) in [(Signal::TERM, Some(130)), (Signal::INT, Some(130)), (Signal::KILL, None)] {
        let built = command_on("cuda", "1", folder.path(), "{epochs: {value: 1}}");
        let mut run = Command::new(folder.path().join("sweep"));
        run.args(built.get_args()).current_dir(folder.path());
        let run = run.stderr(Stdio::piped()).spawn().unwrap();
        let trainer = hanging_trainer(folder.path());
        tests::send(run.id(), signal);
        let output = run.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), code, "{told}");
        assert_eq!(told.contains("stopping: the same command continues from here"), code.is_some(), "{told}");
        tests::wait_for_end(trainer);
    }
}

#[test]
fn a_folder_with_what_another_sweep_left_is_refused_before_anything_is_trained() {
    let other = r#"{"sweep": {"id": 1, "name": "other", "created_unix_ms": 7}, "jobs": []}"#;
    for (file, what) in [("results.json", "the report"), ("best/model.json", "weights or files")] {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        fs::create_dir_all(results.join("best")).unwrap();
        fs::write(results.join("best/model.safetensors"), "of another").unwrap();
        fs::write(results.join(file), other).unwrap();
        let output = command(folder.path(), "{epochs: {value: 1}}").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("holds {what} of another sweep (other, sweep 1)")), "{told}");
        assert!(!results.join("workers").exists(), "no worker was started");
        assert_eq!(fs::read_to_string(results.join("best/model.safetensors")).unwrap(), "of another");
    }
}

#[test]
fn weights_that_cannot_be_read_do_not_cost_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = "{epochs: {value: 1}}";
    assert!(command(folder.path(), parameters).output().unwrap().status.success());
    let results = folder.path().join("results");
    fs::remove_dir_all(results.join("best")).unwrap();
    fs::remove_file(results.join("report.html")).unwrap();
    let kept = fs::read_dir(results.join("sweep.db-artifacts")).unwrap().map(|entry| entry.unwrap().path());
    kept.filter(|path| !path.ends_with("incoming")).for_each(|path| fs::remove_dir_all(path).unwrap());
    let output = command(folder.path(), parameters).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the report is written, but not the best weights: "), "{told}");
    assert!(results.join("report.html").is_file() && !results.join("best/model.json").exists());
}

#[test]
fn a_number_of_slots_that_cannot_be_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for slots in ["0", "two", "-1", "1025"] {
        let output = command(folder.path(), "{}").arg(format!("--slots={slots}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!folder.path().join("results").exists());
    }
}

#[test]
fn a_missing_data_set_is_noticed_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), "{}").args(["--dataset", "/nowhere/pictures"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/pictures"));
    let empty = folder.path().join("pictures");
    fs::create_dir(&empty).unwrap();
    let output = command(folder.path(), "{}").arg("--dataset").arg(&empty).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is an empty folder"));
    assert!(!folder.path().join("results").exists());
}

#[test]
fn failed_jobs_are_tried_again_once_their_cause_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for entry in fs::read_dir(tests::dataset()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), pictures.join(entry.file_name())).unwrap();
    }
    let broken = pictures.join("cat.3.jpg");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let run =
        || command(folder.path(), "{epochs: {value: 1}}").arg("--dataset").arg(&pictures).output().unwrap();
    let failed = run();
    assert_eq!(failed.status.code(), Some(1));
    let told = String::from_utf8(failed.stdout).unwrap();
    assert!(told.contains("cat.3.jpg: the picture is cut off"), "{told}");
    fs::write(&broken, &whole).unwrap();
    let repaired = run();
    assert!(repaired.status.success(), "{}", String::from_utf8_lossy(&repaired.stderr));
    assert!(String::from_utf8_lossy(&repaired.stderr).contains("trying 1 failed job in"));
    assert_eq!(results(folder.path())[0]["state"], "done");
}
