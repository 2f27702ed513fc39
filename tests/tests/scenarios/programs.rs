//! Users' programs, from a sweep file to their results: under `sweep run`, and under workers that may run them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use proto::v1;
use tests::{Cluster, ClusterOptions, program};

/// How often to look for a file.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Three of its lines know of the sweep.
const REPORTING: &str = "\
import sweep
p = sweep.parameters(rate=0.5, width=1)
for epoch in range(1, 4):
    sweep.report(epoch, **{'pain/night': p.rate * epoch, 'recall': p.width / epoch})
";

/// Does not know of any sweep.
const UNCHANGED: &str = "\
import argparse
parser = argparse.ArgumentParser()
parser.add_argument('--rate', type=float, required=True)
parser.add_argument('--fast', action='store_true')
given = parser.parse_args()
print('starting')
for epoch in (1, 2):
    print(f'epoch {epoch}: loss={given.rate / epoch} fast={given.fast:d}', flush=True)
";

/// Keeps a checkpoint after each epoch; in the middle of the fourth, its first attempt waits for the gate file.
const RESUMING: &str = "\
import json, os, time
import sweep
p = sweep.parameters(rate=0.5)
value, start = 1.0, 1
found = sweep.load()
if found:
    with open(os.path.join(found, 'state.json')) as file:
        value, start = json.load(file)
def save(folder):
    with open(os.path.join(folder, 'state.json'), 'w') as file:
        json.dump([value, epoch + 1], file)
for epoch in range(start, 9):
    value = value * p.rate + 1 / epoch
    if epoch == 4:
        with open(os.environ['REACHED'], 'a') as file:
            file.write('%s %d\\n' % (os.environ['SWEEP_ATTEMPT'], start))
        while not os.path.exists(os.environ['GATE']):
            time.sleep(0.01)
    sweep.checkpoint(save)
    sweep.report(epoch, value=value)
";

/// Keeps a checkpoint after each epoch; between the fourth one and its report, it waits until there is a gate;
/// before the fourth epoch, until there is another one.
const BETWEEN: &str = "\
import json, os, time
import sweep
p = sweep.parameters(rate=0.5)
value, start = 1.0, 1
found = sweep.load()
if found:
    with open(os.path.join(found, 'state.json')) as file:
        value, start = json.load(file)
def save(folder):
    with open(os.path.join(folder, 'state.json'), 'w') as file:
        json.dump([value, epoch + 1], file)
def wait(ending):
    while not os.path.exists(os.environ['GATE'] + ending):
        time.sleep(0.01)
for epoch in range(start, 9):
    if epoch == 4:
        wait('.begin')
    value = value * p.rate + 1 / epoch
    sweep.checkpoint(save)
    if epoch == 4:
        wait('')
    with open(os.environ['REACHED'], 'a') as file:
        file.write('%s %d\\n' % (os.environ['SWEEP_ATTEMPT'], epoch))
    sweep.report(epoch, value=value)
";

/// Knows of the folder for checkpoints, and nothing else of any sweep. Its first attempt dies between its third state and what it
/// would have printed.
const FOLDER_ALONE: &str = "\
import json, os
path = os.path.join(os.environ['SWEEP_CHECKPOINT_DIR'], 'state.json')
value, start = 1.0, 1
if os.path.exists(path):
    with open(path) as file:
        value, start = json.load(file)
for epoch in range(start, 6):
    value = value * 0.5 + 1 / epoch
    with open(path + '.new', 'w') as file:
        json.dump([value, epoch + 1], file)
    os.replace(path + '.new', path)
    if epoch == 3 and os.environ['SWEEP_ATTEMPT'] == '1':
        os._exit(3)
    print(f'epoch {epoch}: value={value!r}', flush=True)
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

/// Prints invalid text, leaves a child in another session, and neither of them obeys SIGTERM.
const STUBBORN: &str = "\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.stdout.buffer.write(bytes(range(256)) * 64 + b'{\"epoch\": 1}\\n' + b'x' * 100000)
sys.stdout.flush()
child = os.fork()
if child == 0:
    os.setsid()
else:
    with open(os.environ['PIDS'] + '.new', 'w') as file:
        file.write('%d %d' % (os.getpid(), child))
    os.rename(os.environ['PIDS'] + '.new', os.environ['PIDS'])
while True:
    time.sleep(60)
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

fn command(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(program("sweep"))
        .arg("--coordinator")
        .arg(format!("http://{}", cluster.coordinator.address))
        .args(arguments)
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap()
}

/// The output of a command that must succeed.
fn printed(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = command(cluster, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
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
    for (script, attempts, why) in [
        (
            "import argparse\nargparse.ArgumentParser().parse_args()\n",
            "1",
            "not tried again: it would fail in the same way",
        ),
        ("def broken(:\n", "2", "not tried again: it failed in the same way twice"),
        ("import no_such_module\n", "2", "not tried again: it failed in the same way twice"),
        ("import sys\nsys.exit(127)\n", "1", "exit status 127"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (code, _, stderr) = told(folder.path(), script, metric);
        assert_eq!(code, Some(1), "{stderr}");
        let jobs = rows(&folder.path().join("sweep-results/train/results.csv"));
        assert_eq!(
            (jobs[0]["state"].as_str(), jobs[0]["attempts"].as_str()),
            ("failed", attempts),
            "{jobs:?}"
        );
        assert!(jobs[0]["reason"].contains(why), "{jobs:?}");
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

/// Submits a program that resumes, with its gate at `gate`.
fn submit_resuming(cluster: &Cluster, script: &str, gate: &Path) {
    let reached = cluster.folder.path().join("reached");
    let sweep = format!(
        "program: train.py\nmetric: {{name: value, goal: minimize}}\nparameters: {{rate: {{value: 0.3}}}}\n\
         execution: {{env: {{REACHED: {reached:?}, GATE: {gate:?}}}}}\n"
    );
    let file = project(&cluster.folder.path().join("own"), script, &sweep);
    printed(cluster, &["submit", file.to_str().unwrap()]);
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

/// Whether a file whose name begins and ends so lies below the folder.
fn has_file(folder: &Path, prefix: &str, ending: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (name.starts_with(prefix) && name.ends_with(ending)) || has_file(&path, prefix, ending)
    })
}

#[tokio::test]
async fn a_program_that_is_killed_with_its_worker_goes_on_elsewhere_with_the_same_numbers() {
    let cluster = permissive();
    let gate = cluster.folder.path().join("gate");
    submit_resuming(&cluster, RESUMING, &gate);
    let one = cluster.worker("one");
    let mut watch = cluster.watch(1).await;
    let reached = cluster.folder.path().join("reached");
    until("the middle of the fourth epoch", || fs::exists(&reached).unwrap().then_some(()));
    let checkpoints = cluster.folder.path().join("checkpoints");
    let third = || has_file(&checkpoints, "0000000002-", ".tail").then_some(());
    until("the third epoch, which was reported after its checkpoint", third);
    watch.until_epoch(3).await;
    let processes = tests::descendants(one.pid());
    one.kill();
    processes.into_iter().for_each(tests::wait_for_end);
    fs::write(&gate, "").unwrap();
    let _two = cluster.worker("two");
    watch.until_end().await;
    let attempts = cluster.job(1, 1).await.attempts;
    let [first, second] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!((first.worker.as_str(), second.worker.as_str()), ("one", "two"));
    assert_eq!(second.resumed_epochs, 3, "{second:?}");
    assert_eq!(fs::read_to_string(&reached).unwrap(), "1 1\n2 4\n", "no epoch is trained twice");
    let undisturbed = permissive();
    submit_resuming(&undisturbed, RESUMING, &gate);
    let _worker = undisturbed.worker("one");
    undisturbed.watch(1).await.until_end().await;
    let expected = values(&undisturbed.results(1).await);
    assert_eq!(expected.len(), 8);
    assert_eq!(values(&cluster.results(1).await), expected);
}

#[tokio::test]
async fn a_program_continues_on_its_machine_where_no_place_for_checkpoints_is_given() {
    let cluster = Cluster::start(ClusterOptions { lease: "2s", ..ClusterOptions::default() });
    let gate = cluster.folder.path().join("gate");
    submit_resuming(&cluster, RESUMING, &gate);
    let worker = permissive_worker(&cluster);
    let mut watch = cluster.watch(1).await;
    watch.until_epoch(3).await;
    let kept = cluster.folder.path().join("spool-may/checkpoints");
    let third = || has_file(&kept, "0000000002-", ".tail").then_some(());
    until("the third epoch, which was reported after its checkpoint", third);
    let reached = cluster.folder.path().join("reached");
    until("the middle of the fourth epoch", || fs::exists(&reached).unwrap().then_some(()));
    let processes = tests::descendants(worker.0.id());
    drop(worker);
    processes.into_iter().for_each(tests::wait_for_end);
    fs::write(&gate, "").unwrap();
    let _again = permissive_worker(&cluster);
    watch.until_end().await;
    assert_eq!(fs::read_to_string(&reached).unwrap(), "1 1\n2 4\n", "no epoch is trained twice");
    let attempts = cluster.job(1, 1).await.attempts;
    assert_eq!(attempts.last().unwrap().resumed_epochs, 3, "{attempts:?}");
    until("the end of what was kept", || (!has_file(&kept, "", ".checkpoint")).then_some(()));
}

#[tokio::test]
async fn a_program_whose_files_are_not_there_is_refused_before_anything_is_kept() {
    let cluster = Cluster::start(ClusterOptions::default());
    let folder = cluster.folder.path().join("own");
    let sweep = "name: own\ncommand: [python3, train.py]\nmetric: {name: recall, goal: maximize}\n\
                 parameters: {width: {values: [1, 2]}}\n";
    let file = project(&folder, REPORTING, sweep);
    let file = file.to_str().unwrap();
    let results = folder.join("results").to_str().unwrap().to_owned();
    for arguments in [&["validate", file][..], &["submit", file], &["run", file, "--output", &results]] {
        let output = match arguments[0] {
            "submit" => command(&cluster, arguments),
            _ => Command::new(program("sweep")).args(arguments).output().unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("\"train.py\" is a file next to the sweep file"), "{arguments:?}: {said}");
    }
    assert!(!fs::exists(&results).unwrap());
    // Who does not send them is refused, too.
    let text = "program: train.py\nmetric: {name: recall, goal: maximize}\n".to_owned();
    let source = v1::SweepSource { text, ..v1::SweepSource::default() };
    let mut request = v1::SubmitRequest { source: Some(source), ..v1::SubmitRequest::default() };
    let refused = cluster.client().await.submit(request.clone()).await.unwrap_err();
    assert!(refused.message().contains("execution.files"), "{refused:?}");
    let sweeps = cluster.client().await.list_sweeps(v1::ListSweepsRequest::default()).await.unwrap();
    assert!(sweeps.into_inner().sweeps.is_empty());
    // The same where it would add jobs to a sweep whose files are there.
    let whole = sweep.replace("}}\n", "}}\nexecution: {files: [train.py]}\n");
    fs::write(file, &whole).unwrap();
    printed(&cluster, &["submit", file]);
    fs::write(file, sweep.replace("[1, 2]", "[3]")).unwrap();
    let output = command(&cluster, &["submit", file, "--extend", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\"train.py\" is a file next to the sweep file"), "{said}");
    request.extend_sweep_id = 1;
    request.source.as_mut().unwrap().text = whole.replace("[1, 2]", "[3]");
    let refused = cluster.client().await.submit(request).await.unwrap_err();
    assert!(refused.message().contains("were not sent"), "{refused:?}");
    fs::write(file, whole.replace("[1, 2]", "[3]")).unwrap();
    let told = printed(&cluster, &["submit", file, "--extend", "1"]);
    assert!(told.contains("1 of 3 jobs is new"), "{told}");
}

#[tokio::test]
async fn an_epoch_whose_report_was_lost_after_its_checkpoint_is_trained_again() {
    let cluster = permissive();
    let gate = cluster.folder.path().join("gate");
    submit_resuming(&cluster, BETWEEN, &gate);
    let one = cluster.worker("one");
    let mut watch = cluster.watch(1).await;
    watch.until_epoch(3).await;
    let checkpoints = cluster.folder.path().join("checkpoints");
    let third = || has_file(&checkpoints, "0000000002-", ".tail").then_some(());
    until("the third checkpoint and the report after it", third);
    fs::write(gate.with_extension("begin"), "").unwrap();
    let fourth = || has_file(&checkpoints, "0000000003-0000000001-", ".checkpoint").then_some(());
    until("the fourth checkpoint", fourth);
    let processes = tests::descendants(one.pid());
    one.kill();
    processes.into_iter().for_each(tests::wait_for_end);
    fs::write(&gate, "").unwrap();
    let _two = cluster.worker("two");
    watch.until_end().await;
    let attempts = cluster.job(1, 1).await.attempts;
    let [_, ahead, last] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert!(ahead.reason.contains("ahead of the reported epochs"), "{ahead:?}");
    assert_eq!(last.resumed_epochs, 3, "{last:?}");
    let reached = fs::read_to_string(cluster.folder.path().join("reached")).unwrap();
    assert_eq!(reached, "1 1\n1 2\n1 3\n2 5\n3 4\n3 5\n3 6\n3 7\n3 8\n");
    let undisturbed = permissive();
    submit_resuming(&undisturbed, BETWEEN, &gate);
    let _worker = undisturbed.worker("one");
    undisturbed.watch(1).await.until_end().await;
    let expected = values(&undisturbed.results(1).await);
    assert_eq!(expected.len(), 8);
    assert_eq!(values(&cluster.results(1).await), expected);
}

#[test]
fn no_epoch_is_missing_of_a_script_that_uses_the_folder_for_checkpoints_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "program: train.py\nmetric: {name: value, goal: minimize}\nparameters: {rate: {value: 1}}\n\
                 metrics: {pattern: 'epoch (?P<epoch>\\d+): value=(?P<value>\\S+)'}\n";
    let results = run(folder.path(), FOLDER_ALONE, sweep);
    let jobs = rows(&results.join("results.csv"));
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    // It failed, was ahead of what was printed, and started over.
    assert_eq!((job["state"].as_str(), job["attempts"].as_str()), ("done", "3"), "{job:?}");
    let mut value = 1.0;
    let expected: Vec<(f64, f64)> = (1..=5)
        .map(|epoch| {
            value = value * 0.5 + 1.0 / f64::from(epoch);
            (f64::from(epoch), value)
        })
        .collect();
    let epochs = rows(&results.join("epochs.csv"));
    let told: Vec<_> = epochs.iter().map(|row| (number(row, "epoch"), number(row, "value"))).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_worker_that_may_run_no_programs_is_given_none_and_the_sweep_says_why_it_waits() {
    let cluster = Cluster::start(ClusterOptions::default());
    let worker = cluster.worker("strict");
    worker.until_connected();
    let sweep = "program: train.py\nmetric: {name: recall, goal: maximize}\n";
    let file = project(&cluster.folder.path().join("own"), REPORTING, sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    let shown = printed(&cluster, &["show", "1"]);
    assert!(
        shown.contains("no worker can train this sweep") && shown.contains("--allow-commands"),
        "{shown}"
    );
    assert!(cluster.job(1, 1).await.attempts.is_empty(), "it was given nothing");
    // The next worker may, and the sweep continues.
    let may = permissive_worker(&cluster);
    cluster.watch(1).await.until_end().await;
    let attempts = cluster.job(1, 1).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.worker.as_str()).collect::<Vec<_>>(), ["may"]);
    drop(may);
}

/// A worker of a cluster whose others may run no programs.
fn permissive_worker(cluster: &Cluster) -> Leaving {
    let path = |name: &str| cluster.folder.path().join(name);
    let worker = Command::new(program("sweep-worker"))
        .args(["start", "--slots", "1", "--device", "cpu", "--name", "may", "--allow-commands"])
        .args(["--coordinator", &format!("http://{}", cluster.coordinator.address)])
        .arg("--spool")
        .arg(path("spool-may"))
        .arg("--cache-dir")
        .arg(path("cache"))
        .stderr(fs::File::create(path("may.log")).unwrap())
        .spawn();
    Leaving(worker.unwrap())
}

/// A process that is killed when this is dropped.
struct Leaving(std::process::Child);

impl Drop for Leaving {
    fn drop(&mut self) {
        // An error means that it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn of_a_program_that_does_not_want_to_end_nothing_is_left_after_cancel() {
    let cluster = permissive();
    let _worker = cluster.worker("one");
    let pids = cluster.folder.path().join("pids");
    let sweep = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nexecution: {{env: {{PIDS: {pids:?}}}}}\n"
    );
    let file = project(&cluster.folder.path().join("own"), STUBBORN, &sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    let written = until("both processes", || fs::read_to_string(&pids).ok());
    printed(&cluster, &["cancel", "1"]);
    written.split(' ').for_each(|pid| tests::wait_for_end(pid.parse().unwrap()));
    let sweep = cluster.watch(1).await.until_end().await;
    assert_eq!(sweep.state(), v1::SweepState::Cancelled);
}
