//! What commands do when their output cannot be written, and what of foreign text reaches a terminal.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::{Command, Output, Stdio},
};

use tests::{Cluster, ClusterOptions, chaos, dataset, program};

/// An output that accepts no byte.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// The writing end of a pipe that no one reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn run(name: &str, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = Command::new(program(name));
    command.args(arguments).env("SWEEP_CONFIG", "/dev/null").stdin(Stdio::null());
    command.stdout(stdout).stderr(stderr).spawn().unwrap().wait_with_output().unwrap()
}

fn sweep_file(folder: &Path) -> String {
    let file = folder.join("sweep.yaml");
    fs::write(&file, tests::source("{epochs: {value: 2}}").text).unwrap();
    file.display().to_string()
}

/// Every command that prints, with a coordinator that holds one finished sweep.
fn printing(address: &str, file: &str, report: &str) -> Vec<(&'static str, Vec<String>)> {
    let pictures = dataset().display().to_string();
    let asks = [
        "ls",
        "show 1",
        "show 1 -o json",
        "show 1/1",
        "show 1/1 -o json",
        "jobs 1",
        "jobs 1 -o csv",
        "jobs 1 -o name",
        "workers",
        "logs 1/1",
        "watch 1",
        "pause 1",
        "retry 1",
    ];
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut commands: Vec<(&str, Vec<String>)> = asks
        .iter()
        .map(|ask| ("sweep", [words("--coordinator"), words(address), words(ask)].concat()))
        .collect();
    for local in [vec!["validate", file], vec!["completions", "bash"], vec!["--help"], vec!["--version"]] {
        commands.push(("sweep", local.into_iter().map(str::to_owned).collect()));
    }
    commands.push((
        "sweep",
        [words("--coordinator"), words(address), words("report 1 --output"), words(report)].concat(),
    ));
    for local in [vec!["dataset", "inspect", &pictures], vec!["dataset", "--help"], vec!["--version"]] {
        commands.push(("sweep-worker", local.into_iter().map(str::to_owned).collect()));
    }
    commands.push(("sweep-trainer", words("--help")));
    commands
}

#[tokio::test]
async fn that_is_not_taken_fails_the_command_and_a_reader_that_left_does_not() {
    let cluster = Cluster::start(chaos::light(1));
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 2}}").await;
    cluster.watch(sweep).await.until_end().await;
    let address = format!("http://{}", cluster.coordinator.address);
    let file = sweep_file(cluster.folder.path());
    let report = cluster.folder.path().join("report").display().to_string();
    for (name, arguments) in printing(&address, &file, &report) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Refused because the sweep has ended: another error, reported without standard output.
        if arguments.contains(&"pause") {
            continue;
        }
        let output = run(name, &arguments, full(), Stdio::piped());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name} {arguments:?}: {errors}");
        assert!(errors.contains("standard output cannot be written"), "{name} {arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{name} {arguments:?}: {errors}");
        let output = run(name, &arguments, closed(), Stdio::piped());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{name} {arguments:?}");
    }
}

#[test]
fn that_no_one_hears_of_a_failure_is_no_panic() {
    // 101 is the exit code of a panic.
    for (name, arguments, code) in [
        ("sweep", vec!["validate", "/nowhere"], 1),
        ("sweep", vec!["frobnicate"], 2),
        ("sweep", vec!["--coordinator", "http://127.0.0.1:1", "ls"], 3),
        ("sweep-worker", vec!["dataset", "inspect", "/nowhere"], 1),
        ("sweep-worker", vec!["start", "--slots", "many"], 2),
        ("sweep-trainer", vec!["train", "--for-worker", "0.0.0"], 1),
    ] {
        for stderr in [full(), closed()] {
            let output = run(name, &arguments, Stdio::piped(), stderr);
            let accepted = [Some(code), Some(1)];
            assert!(accepted.contains(&output.status.code()), "{name} {arguments:?}: {:?}", output.status);
        }
    }
}

#[test]
fn of_a_run_may_be_lost_but_its_report_is_not() {
    for (stdout, code) in [(full(), 1), (closed(), 0)] {
        let folder = tempfile::tempdir().unwrap();
        let (file, results) = (sweep_file(folder.path()), folder.path().join("results"));
        let cache = folder.path().join("cache");
        let arguments = [
            "run",
            &file,
            "--device",
            "cpu",
            "--output",
            results.to_str().unwrap(),
            "--cache-dir",
            cache.to_str().unwrap(),
        ];
        let output = run("sweep", &arguments, stdout, Stdio::piped());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(errors.contains("standard output cannot be written"), code == 1, "{errors}");
        let rows = fs::read_to_string(results.join("results.csv")).unwrap();
        assert!(rows.contains(",done,"), "{rows}");
        assert!(results.join("report.html").is_file());
    }
}

/// A trainer whose job fails with text that controls terminals, reorders what is read, and looks like lines of our own.
const HOSTILE_TRAINER: &str = r#"echo '{"type": "ready", "protocol": 1, "device": "cpu"}'
read -r request
printf '\033[2J\033]0;owned\007\302\233\061m\342\200\256evil\r\nerror: forged\n' >&2
printf '{"type": "ended", "id": "1/1#1", "outcome": "failed", "reason": "\\u001b[31mred\\u0007\\u009b1m\\u202eevil"}\n'
read -r request"#;

#[tokio::test]
async fn holds_no_escape_sequences_of_others() {
    let options = ClusterOptions {
        worker: vec!["--trainer".to_owned(), HOSTILE_TRAINER.to_owned()],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options);
    let _worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 2}}\nexecution: {attempts_max: 1}").await;
    cluster.watch(sweep).await.until_end().await;
    let address = format!("http://{}", cluster.coordinator.address);
    let mut shown = 0;
    for form in ["table", "json", "csv", "name"] {
        for ask in ["show 1", "show 1/1", "jobs 1", "workers", "ls"] {
            let mut arguments = vec!["--coordinator", &address, "-o", form];
            arguments.extend(ask.split(' '));
            shown += usize::from(is_safe(&arguments));
        }
    }
    for ask in [vec!["logs", "1/1"], vec!["watch", "1"], vec!["wait", "1/1"]] {
        shown += usize::from(is_safe(&[vec!["--coordinator", &address], ask].concat()));
    }
    assert!(shown >= 6, "the reason is shown in {shown} places only");
}

/// Checks that neither output has an unsafe character; returns whether it shows the hostile reason or log line.
fn is_safe(arguments: &[&str]) -> bool {
    let output = run("sweep", arguments, Stdio::piped(), Stdio::piped());
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let raw = text.chars().find(|c| terminal::text::is_unsafe(*c) && !matches!(c, '\n' | '\t'));
    assert_eq!(raw, None, "{arguments:?}: {text:?}");
    text.contains("evil")
}
