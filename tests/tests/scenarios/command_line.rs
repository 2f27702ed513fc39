//! The commands that scripts rely on: what they print and how they end.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tests::{Cluster, ClusterOptions, chaos, program, write};

use crate::commands::sweep;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_sweep_is_submitted_followed_inspected_and_reported() {
    let cluster = Cluster::start(ClusterOptions::default());
    let folder = cluster.folder.path();
    let file = write(folder, "sweep.yaml", &tests::source("{learning_rate: {values: [0.001, 0.0001]}}").text);
    let submitted = sweep(&cluster, &["submit", &file, "--set", "epochs=2", "-o", "name"]);
    assert_eq!((text(&submitted.stdout).as_str(), text(&submitted.stderr).as_str()), ("1\n", ""));
    // No worker yet: waiting times out, with its own exit code.
    assert_eq!(sweep(&cluster, &["wait", "1", "--timeout", "10ms"]).status.code(), Some(4));
    let _worker = cluster.worker("one");
    let watched = sweep(&cluster, &["watch", "1"]);
    assert!(watched.status.success(), "{watched:?}");
    let watched = text(&watched.stdout);
    assert!(
        watched.contains("epoch 2/2  val_accuracy ") && watched.ends_with("sweep 1 is finished\n"),
        "{watched}"
    );
    assert!(sweep(&cluster, &["wait", "1"]).status.success());
    assert!(sweep(&cluster, &["wait", "1/2"]).status.success());
    let jobs = text(&sweep(&cluster, &["jobs", "1", "-o", "csv"]).stdout);
    let mut rows = csv::Reader::from_reader(jobs.as_bytes());
    assert_eq!(rows.headers().unwrap().iter().take(3).collect::<Vec<_>>(), ["job", "learning_rate", "state"]);
    assert_eq!(rows.records().map(|row| row.unwrap()[2].to_owned()).collect::<Vec<_>>(), ["done", "done"]);
    let shown: serde_json::Value =
        serde_json::from_slice(&sweep(&cluster, &["show", "1", "-o", "json"]).stdout).unwrap();
    assert_eq!((shown["state"].as_str(), shown["jobs"].as_u64()), (Some("finished"), Some(2)));
    assert_eq!(
        shown["best_parameters"]["learning_rate"].as_f64().map(|rate| rate < 0.01),
        Some(true),
        "{shown}"
    );
    assert!(text(&sweep(&cluster, &["show", "1/1"]).stdout).contains("val_accuracy"));
    let job: serde_json::Value =
        serde_json::from_slice(&sweep(&cluster, &["show", "1/1", "-o", "json"]).stdout).unwrap();
    assert_eq!(job["attempts"][0]["worker"], "one", "{job}");
    assert_eq!(job["attempts"][0]["outcome"], "done", "{job}");
    assert_eq!(job["epochs"].as_array().map(Vec::len), Some(2), "{job}");
    assert_eq!(job["epochs"][1]["val_accuracy"], job["val_accuracy"], "{job}");
    assert!(text(&sweep(&cluster, &["logs", "1/1"]).stdout).contains("attempt 1, done on one"));
    assert!(text(&sweep(&cluster, &["workers"]).stdout).contains("connected"));
    let report = folder.join("report");
    let written = sweep(&cluster, &["report", "1", "--output", report.to_str().unwrap(), "--lang", "ja"]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert!(fs::read_to_string(report.join("report.md")).unwrap().contains("検証精度"));
    let results = fs::read_to_string(report.join("results.csv")).unwrap();
    assert!(results.starts_with(
        "job,activation,learning_rate,batch_size,epochs,seed,precision,channels,hidden_units,batch_norm,dropout,optimizer,momentum,weight_decay,lr_schedule,warmup_epochs,gradient_clip_norm,label_smoothing,augmentation,state,attempts,worker,epochs_done,train_seconds,val_accuracy,train_loss,pack_size,val_loss,train_accuracy,best_epoch,best_val_accuracy,reason,started,ended\n"
    ));
    assert_eq!(results.lines().count(), 3);
    assert_eq!(fs::read_to_string(report.join("epochs.csv")).unwrap().lines().count(), 5);
    each_thing_has_one_shape(&cluster, &report);
    let other = cluster.submit("{epochs: {value: 2}}").await.to_string();
    let refused = sweep(&cluster, &["report", &other, "--output", report.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("holds the report of another sweep"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(report.join("results.csv")).unwrap(), results, "nothing of it is lost");
    let again = sweep(&cluster, &["report", "1", "--output", report.to_str().unwrap()]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let relative = sweep(&cluster, &["submit", &file, "--dataset", "pictures"]);
    assert!(text(&relative.stderr).contains("looks for the data set pictures below its --data-root"));
}

/// Whatever prints sweep 1 and its first job as JSON gives them the same keys; a list of sweeps lacks those that are long.
fn each_thing_has_one_shape(cluster: &Cluster, report: &Path) {
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&sweep(cluster, &[arguments, &["-o", "json"]].concat()).stdout).unwrap()
    };
    let keys = |thing: &serde_json::Value| -> BTreeSet<String> {
        thing.as_object().unwrap().keys().cloned().collect()
    };
    let results = fs::read_to_string(report.join("results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    let (shown, listed) = (json(&["show", "1"]), json(&["ls"]));
    assert_eq!(keys(&results["sweep"]), keys(&shown));
    let long =
        ["cannot_pause", "dataset", "images", "keys", "metrics", "specification", "waiting", "why_stopped"]
            .map(str::to_owned);
    assert_eq!(&keys(&shown) - &keys(&listed[0]), BTreeSet::from(long));
    let (job, jobs) = (json(&["show", "1/1"]), json(&["jobs", "1"]));
    // When it began and ended is in what is exported; `show` has it of each attempt.
    let times = BTreeSet::from(["started", "ended"].map(str::to_owned));
    assert_eq!(&keys(&results["jobs"][0]) - &times, keys(&job));
    assert!(keys(&results["jobs"][0]).is_superset(&times));
    assert_eq!(keys(&jobs[0]), keys(&job));
    assert_eq!(keys(&results["jobs"][0]["epochs"][0]), keys(&job["epochs"][0]));
    for job in [&job, &jobs[0]] {
        assert_eq!(job["parameters"]["learning_rate"], job["learning_rate"], "{job}");
    }
}

#[tokio::test]
async fn people_see_a_hundred_sweeps_and_programs_all() {
    let cluster = Cluster::start(ClusterOptions::default());
    for _ in 0..103 {
        cluster.submit("{epochs: {value: 2}}").await;
    }
    let listed = |arguments: &[&str]| {
        let output = sweep(&cluster, arguments);
        (text(&output.stdout).lines().count(), text(&output.stderr))
    };
    assert_eq!(listed(&["ls"]), (101, "… and 3 older ones; --limit N shows N sweeps\n".to_owned()));
    assert_eq!(listed(&["ls", "--limit", "103"]), (104, String::new()));
    for (form, lines) in [("name", 103), ("csv", 104), ("json", 105)] {
        assert_eq!(listed(&["ls", "-o", form]), (lines, String::new()), "{form}");
    }
    assert_eq!(listed(&["ls", "-o", "name", "--limit", "2"]).0, 2);
}

/// Runs a command on a terminal, with `typed` as input; returns what the terminal showed.
fn on_a_terminal(cluster: &Cluster, arguments: &str, typed: &str) -> String {
    let line = format!(
        "'{}' --coordinator http://{} {arguments}",
        program("sweep").display(),
        cluster.coordinator.address
    );
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("SWEEP_CONFIG", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    terminal.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    text(&terminal.wait_with_output().unwrap().stdout)
}

#[tokio::test]
async fn a_person_is_asked_before_a_sweep_is_ended_and_reads_how_to_resume_it() {
    let cluster = Cluster::start(ClusterOptions::default());
    for _ in 0..4 {
        cluster.submit("{seed: {values: [1, 2]}}").await;
    }
    let state = |number: &str| {
        let shown = sweep(&cluster, &["show", number, "-o", "json"]).stdout;
        serde_json::from_slice::<serde_json::Value>(&shown).unwrap()["state"].as_str().unwrap().to_owned()
    };
    let asked = on_a_terminal(&cluster, "cancel 1", "no\n");
    assert!(
        asked.contains("cancel sweep 1 (scenario): 0 running jobs ended now, 2 waiting jobs not started"),
        "{asked}"
    );
    assert!(
        asked.contains("`sweep retry 1` runs them again") && asked.contains("nothing was done"),
        "{asked}"
    );
    assert_eq!(state("1"), "running");
    let asked = on_a_terminal(&cluster, "cancel 1", "yes\n");
    assert!(asked.contains("sweep 1 is cancelled"), "{asked}");
    let stopped = on_a_terminal(&cluster, "stop 2 --yes", "");
    assert!(!stopped.contains("Type yes") && state("2") != "running", "{stopped}");
    // Programs are not asked.
    assert_eq!(text(&sweep(&cluster, &["cancel", "3"]).stdout), "sweep 3 is cancelled\n");
    let asked = on_a_terminal(&cluster, "cancel 4/2", "yes\n");
    assert!(asked.contains("cancel job 4/2 of scenario; `sweep retry 4/2` tries it again"), "{asked}");
    assert_eq!(state("4"), "running");
}

#[tokio::test]
async fn a_worker_that_was_drained_leaves_though_the_coordinator_is_started_again() {
    let mut cluster = Cluster::start(chaos::light(100));
    let one = cluster.worker("one");
    let id = cluster.submit("{seed: {values: [1, 2]}, epochs: {value: 40}}").await;
    cluster.watch(id).await.until_some_job_is_in_the_middle().await;
    assert!(sweep(&cluster, &["drain", "one"]).status.success());
    cluster.replace_coordinator();
    assert_eq!(one.wait(), Some(0), "it leaves when its job has ended");
    let counts = cluster.watch(id).await.until_done(1).await.counts.unwrap();
    assert_eq!((counts.done, counts.pending), (1, 1));
}

#[tokio::test]
async fn a_sweep_is_paused_and_resumed_and_a_worker_drained() {
    let cluster = Cluster::start(ClusterOptions::default());
    let file = write(cluster.folder.path(), "sweep.yaml", &tests::source("{seed: {values: [1, 2]}}").text);
    assert!(sweep(&cluster, &["submit", &file, "--set", "epochs=8"]).status.success());
    assert_eq!(text(&sweep(&cluster, &["pause", "1"]).stdout), "sweep 1 is paused\n");
    let one = cluster.worker("one");
    let mut watch = cluster.watch(1).await;
    assert_eq!(text(&sweep(&cluster, &["resume", "1"]).stdout), "sweep 1 is running\n");
    watch.until_some_job_is_in_the_middle().await;
    let drained = text(&sweep(&cluster, &["drain", "one"]).stdout);
    assert_eq!(drained, "worker one takes no more jobs and leaves; 1 still runs there\n");
    assert_eq!(one.wait(), Some(0), "it leaves when its job has ended");
    assert_eq!(watch.until_done(1).await.counts.unwrap().pending, 1);
    assert_eq!(sweep(&cluster, &["drain", "one"]).status.code(), Some(1));
    let _two = cluster.worker("two");
    watch.until_end().await;
    assert_eq!(text(&sweep(&cluster, &["retry", "1"]).stdout), "no job of sweep 1 has to be tried again\n");
}

#[test]
fn wrong_input_ends_with_one_line_and_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let unknown_key =
        write(folder.path(), "key.yaml", "name: a\nmodel: simple_cnn\nmethod: grid\nparamters: {}\n");
    let nowhere = "http://127.0.0.1:1";
    for (arguments, code, expected) in [
        (vec!["validate", "/nowhere/sweep.yaml"], 1, "/nowhere/sweep.yaml"),
        (
            vec!["validate", &unknown_key],
            1,
            "key.yaml:4:1: unknown field `paramters`, expected one of `name`",
        ),
        (vec!["--coordinator", nowhere, "ls"], 3, "no coordinator answers"),
        (vec!["--coordinator", "nowhere", "ls"], 2, "http://HOST:PORT"),
        (vec!["show", "abc"], 2, "sweep's number"),
        (vec!["serve", "--lease", "1ms"], 2, "from 1s to 1h"),
        (vec!["run", &unknown_key], 1, "paramters"),
        (vec!["wait", "1", "--timeout", "abc"], 2, "write a time such as 90s"),
        (vec!["validate", &unknown_key], 1, "did you mean `parameters`?"),
        (vec!["frobnicate"], 2, "unrecognized subcommand"),
        (vec!["verify", "3"], 2, "say what to verify: `sweep verify 3/1`"),
        (vec!["verify", "3/1", "-o", "csv"], 2, "or use -o json"),
        (vec!["run", &unknown_key, "-o", "json"], 2, "`sweep run` does not use -o"),
        (vec!["--coordinator", nowhere, "run", &unknown_key], 2, "does not use --coordinator"),
        (vec!["watch", "1", "-o", "csv"], 2, "`sweep watch` does not use -o"),
        (vec!["-o", "csv", "wait", "1"], 2, "`sweep wait` does not use -o"),
        (vec!["logs", "1/1", "-o", "json"], 2, "`sweep logs` does not use -o"),
        (vec!["report", "1", "-o", "json"], 2, "`sweep report` does not use -o"),
        (vec!["artifact", "get", "1", "-o", "json"], 2, "`sweep artifact get` does not use -o"),
        (vec!["drain", "w", "-o", "json"], 2, "`sweep drain` does not use -o"),
        (vec!["serve", "--coordinator", nowhere], 2, "`sweep serve` does not use --coordinator"),
    ] {
        let output = Command::new(program("sweep"))
            .args(&arguments)
            .env("SWEEP_CONFIG", "/dev/null")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.starts_with("error: ") && errors.contains(expected), "{arguments:?}: {errors}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn what_writes_files_can_be_interrupted() {
    // A coordinator that does not answer.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for arguments in [&["report", "1"][..], &["artifact", "get", "1"]] {
        for signal in [Signal::INT, Signal::TERM] {
            let mut command = Command::new(program("sweep"))
                .args(["--coordinator", &url])
                .args(arguments)
                .env("SWEEP_CONFIG", "/dev/null")
                .spawn()
                .unwrap();
            let (mut asked, _) = listener.accept().unwrap();
            asked.read_exact(&mut [0]).unwrap();
            tests::send(command.id(), signal);
            assert_eq!(command.wait().unwrap().code(), Some(130), "{arguments:?} {signal:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let cluster = Cluster::start(ClusterOptions::default());
    for arguments in [["show", "7"], ["watch", "7"], ["stop", "7"], ["report", "7"], ["logs", "7/1"]] {
        let output = sweep(&cluster, &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains('7'), "{arguments:?}: {}", text(&output.stderr));
    }
    let none = sweep(&cluster, &["ls", "-o", "json"]);
    assert_eq!(text(&none.stdout), "[]\n");
}

#[tokio::test]
async fn settings_of_a_sweep_change_while_it_is_there_and_survive_a_restart() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let file = write(cluster.folder.path(), "sweep.yaml", &tests::source("{seed: {values: [1, 2]}}").text);
    assert!(sweep(&cluster, &["submit", &file]).status.success());
    let set = |cluster: &Cluster, settings: &[&str]| sweep(cluster, &[&["set", "1"], settings].concat());
    let changed = set(&cluster, &["execution.max_parallel=1", "name=a: #b", "execution.job_timeout=2h"]);
    let told = "sweep 1 changed\n  name: scenario -> a: #b\n  execution.max_parallel: none -> 1\n  \
                execution.job_timeout: none -> 2h; running jobs keep the one they began with\n";
    assert_eq!(text(&changed.stdout), told, "{}", text(&changed.stderr));
    cluster.coordinator.kill();
    cluster.coordinator = cluster.coordinator_at(cluster.coordinator.address);
    let again = set(&cluster, &["execution.max_parallel=1"]);
    assert_eq!(text(&again.stdout), "sweep 1 has these settings already\n", "{}", text(&again.stderr));
    let shown = text(&sweep(&cluster, &["show", "1"]).stdout);
    assert!(shown.contains("max_parallel: 1") && shown.contains("job_timeout: 2h"), "{shown}");
    let listed: serde_json::Value =
        serde_json::from_slice(&sweep(&cluster, &["ls", "-o", "json"]).stdout).unwrap();
    assert_eq!(listed[0]["name"].as_str(), Some("a: #b"));
    for (setting, expected) in [
        ("epochs=9", "`parameters.epochs` cannot be set"),
        ("dataset.split_seed=9", "`dataset.split_seed` cannot change"),
        ("max_parallel=9", "did you mean `execution.max_parallel`?"),
        ("execution.attempts_max=0", "a number of attempts from 1 to 100, but found `0`"),
    ] {
        let refused = set(&cluster, &[setting]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(expected), "{setting}: {}", text(&refused.stderr));
    }
}

#[test]
fn an_address_in_use_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(program("sweep"))
        .args(["serve", "--listen", &address, "--store", "sqlite:sweep.db"])
        .env("SWEEP_CONFIG", "/dev/null")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("choose another address with --listen"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_empty_variable_is_named() {
    for (program_name, arguments, variable) in [
        ("sweep", "ls", "SWEEP_COORDINATOR"),
        ("sweep", "ls", "SWEEP_TOKEN_FILE"),
        ("sweep", "ls", "SWEEP_FORMAT"),
        ("sweep", "ls", "SWEEP_CONFIG"),
        ("sweep", "serve", "SWEEP_LISTEN"),
        ("sweep", "serve", "SWEEP_INSECURE"),
        ("sweep-worker", "start", "SWEEP_SLOTS"),
        ("sweep-worker", "start", "SWEEP_SPOOL"),
        ("sweep-trainer", "devices", "SWEEP_LOG"),
    ] {
        let mut command = Command::new(program(program_name));
        let output = command.arg(arguments).env(variable, "").output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{variable}: {errors}");
        let expected =
            format!("error: the environment variable {variable} is empty; give it a value, or unset it\n");
        assert_eq!(errors, expected);
    }
}

#[test]
fn validation_tells_how_many_jobs_there_are_and_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        write(folder.path(), "sweep.yaml", &tests::source("{seed: {min: 0, max: 99, count: 100}}").text);
    let output = Command::new(program("sweep")).args(["validate", &file, "--preview", "2"]).output().unwrap();
    let expected =
        "scenario is valid: 100 jobs\n\nJOB  SEED\n  1  0\n  2  1\n… and 98 more: --preview N shows N jobs\n";
    assert_eq!(text(&output.stdout), expected);
}

/// What `sweep validate` prints of a sweep of a program.
fn validated(sweep: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train.py", "");
    let head = "program: train.py\nmetric: {name: loss, goal: minimize}\n";
    let file = write(folder.path(), "sweep.yaml", &format!("{head}{sweep}"));
    let output = Command::new(program("sweep")).args(["validate", &file]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn validation_of_a_search_that_learns_shows_its_space_and_the_points_that_are_known() {
    let space = "run_cap: 20\nrepeats: 2\nparameters:\n  rate: {min: 0.0, max: 0.5}\n  kind: {values: [a, b]}\n  \
                 depth: {min: 1, max: 4, when: {kind: b}}\n  fixed: {value: 1}\n";
    let shown = "PARAMETER  VALUES\nrate       a number from 0 to 0.5\nkind       one of `a`, `b`\ndepth      a whole number from 1 \
                 to 4, where `kind` is `b`\n";
    let chosen = "are chosen from results as their turns come.\n";
    let expected = format!("train is valid: up to 20 jobs\n\n{shown}\nUp to 10 points {chosen}");
    assert_eq!(validated(&format!("method: tpe\n{space}")), expected);
    let include = "include: [{rate: 0.1, kind: a}, {rate: 0.25, kind: b, depth: 2}]\n";
    let jobs =
        "The points of `include` come first:\n\nJOB  RATE  KIND  DEPTH\n  1  0.1   a\n  3  0.25  b     2\n";
    let expected = format!("train is valid: up to 20 jobs\n\n{shown}\n{jobs}\nUp to 8 points {chosen}");
    assert_eq!(validated(&format!("method: tpe\n{space}{include}")), expected);
    let outside = "come from a searcher outside, which `sweep search` connects.\n";
    let expected = format!("train is valid: up to 20 jobs\n\n{shown}\nUp to 10 points {outside}");
    assert_eq!(validated(&format!("method: external\n{space}")), expected);
}

#[test]
fn validation_of_one_job_shows_what_the_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "sweep.yaml", &tests::source("{learning_rate: {value: 0.5}}").text);
    let output = Command::new(program("sweep")).args(["validate", &file]).output().unwrap();
    let said = text(&output.stdout);
    let expected = "scenario is valid: 1 job\n\nJOB  LEARNING_RATE\n  1  0.5\n";
    assert!(
        said.starts_with(expected)
            && said.ends_with(" other parameters have their defaults; -o json shows all\n"),
        "{said}"
    );
    let output = Command::new(program("sweep")).args(["validate", &file, "-o", "csv"]).output().unwrap();
    assert!(text(&output.stdout).contains("optimizer"), "{output:?}");
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(program("sweep")).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && text(&output.stdout).contains("validate"));
    }
}

#[tokio::test]
async fn a_sweep_is_extended_and_keeps_what_is_done() {
    let cluster = Cluster::start(ClusterOptions::default());
    let _worker = cluster.worker("one");
    let folder = cluster.folder.path();
    let file = |rates: &str| {
        let parameters = format!("{{learning_rate: {{values: {rates}}}, epochs: {{value: 1}}}}");
        write(folder, "sweep.yaml", &tests::source(&parameters).text)
    };
    assert!(sweep(&cluster, &["submit", &file("[0.001]")]).status.success());
    assert!(sweep(&cluster, &["wait", "1"]).status.success());
    let submit = || text(&sweep(&cluster, &["submit", "--extend", "1", &file("[0.001, 0.0001]")]).stdout);
    assert_eq!(submit(), "sweep 1 extended: 1 of 2 jobs is new\n");
    assert_eq!(submit(), "sweep 1 extended: 0 of 2 jobs are new\n");
    let watched = text(&sweep(&cluster, &["watch", "1"]).stdout);
    assert!(watched.contains("2/2") || watched.ends_with("sweep 1 is finished\n"), "{watched}");
    let jobs = text(&sweep(&cluster, &["jobs", "1", "-o", "csv"]).stdout);
    let mut rows = csv::Reader::from_reader(jobs.as_bytes());
    let rows: Vec<_> =
        rows.records().map(|row| row.unwrap().iter().take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows, ["1 0.001 done 1", "2 0.0001 done 1"]);
    let other =
        sweep(&cluster, &["submit", "--extend", "1", &file("[0.1]"), "--set", "dataset.image_size=32"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("`dataset.image_size` cannot change"), "{}", text(&other.stderr));
    let limit = ["submit", "--extend", "1", &file("[0.001, 0.0001]"), "--set", "execution.max_parallel=3"];
    let limited = text(&sweep(&cluster, &limit).stdout);
    assert_eq!(limited, "sweep 1 extended: 0 of 2 jobs are new\n  execution.max_parallel: none -> 3\n");
    let report = folder.join("report");
    assert!(sweep(&cluster, &["report", "1", "--output", report.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_to_string(report.join("results.csv")).unwrap().lines().count(), 3);
}
