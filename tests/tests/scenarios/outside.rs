//! Searchers outside of the coordinator: real ones, connected by `sweep search`, that are killed as everything else is.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use proto::v1;
use tests::{Cluster, chaos::light, program, source};

use crate::completion::assert_counted;

/// What the example's searcher proposes.
const PARAMETERS: &str = "{activation: {values: [relu, sigmoid]}, learning_rate: {min: 0.00001, max: 0.01, distribution: \
                          log_uniform_values}, batch_size: {values: [32, 64]}, epochs: {value: 3}}";

async fn submit(cluster: &Cluster, cap: u32) -> u64 {
    let source = source(PARAMETERS);
    let text = source.text.replace("method: grid\n", &format!("method: external\nrun_cap: {cap}\n"));
    let source = Some(v1::SweepSource { text, ..source });
    let request = v1::SubmitRequest { source, request_id: String::new(), extend_sweep_id: 0 };
    cluster.client().await.submit(request).await.unwrap().into_inner().sweep.unwrap().sweep_id
}

fn command(cluster: &Cluster, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("SWEEP_CONFIG", "/dev/null");
    command
}

/// The example's searcher, at work.
fn searcher(cluster: &Cluster, sweep: u64) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/external-search/searcher.py");
    command(cluster, Path::new("python3"))
        .arg(script)
        .arg(sweep.to_string())
        .arg(program("sweep"))
        .stdout(Stdio::null())
        .spawn()
        .expect("python3 is there")
}

/// `sweep` with these arguments and this on its standard input.
fn sweep(cluster: &Cluster, arguments: &[&str], input: &str) -> Output {
    let mut child = command(cluster, &program("sweep"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// All results of a sweep that has ended.
async fn told(cluster: &Cluster, sweep_id: u64) -> Vec<v1::SearchResult> {
    let request = v1::FollowSearchRequest { sweep_id, after: 0 };
    let mut stream = cluster.client().await.follow_search(request).await.unwrap().into_inner();
    let mut results = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        results.extend(message.results);
    }
    results
}

#[tokio::test]
async fn a_searcher_and_a_coordinator_that_are_killed_cost_no_point_and_tell_no_result_twice() {
    let mut cluster = Cluster::start(light(60));
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep_id = submit(&cluster, 12).await;
    let mut first = searcher(&cluster, sweep_id);
    cluster.watch(sweep_id).await.until_done(3).await;
    // SIGKILL, in the middle of whatever it does.
    first.kill().unwrap();
    first.wait().unwrap();
    cluster.replace_coordinator();
    let before: BTreeMap<u64, v1::JobPoint> = (cluster.results(sweep_id).await.into_iter())
        .filter_map(|(job, _)| job.point)
        .filter(|point| !point.parameters.is_empty())
        .map(|point| (point.job, point))
        .collect();
    assert!(before.len() >= 3, "{before:?}");
    let mut second = searcher(&cluster, sweep_id);
    cluster.watch(sweep_id).await.until_done(7).await;
    cluster.replace_coordinator();
    let ended = cluster.watch(sweep_id).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 12));
    assert_counted(&cluster.results(sweep_id).await, 12, 3);
    assert!(second.wait().unwrap().success());

    let after: Vec<_> =
        cluster.results(sweep_id).await.into_iter().filter_map(|(job, _)| job.point).collect();
    assert!(before.values().all(|point| after.contains(point)), "{before:?} {after:?}");
    let results = told(&cluster, sweep_id).await;
    let numbers: Vec<u64> = results.iter().map(|result| result.number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    let of_jobs: BTreeMap<u64, _> = results.iter().map(|result| (result.job, &result.parameters)).collect();
    assert_eq!(of_jobs.len(), 12, "each job once");
    assert!(after.iter().all(|point| of_jobs[&point.job] == &point.parameters));
    assert!(
        results
            .iter()
            .all(|result| result.outcome() == v1::SearchOutcome::Finished && result.value.is_some())
    );
}

#[tokio::test]
async fn jobs_wait_for_points_wrong_points_are_named_and_a_searcher_may_end_the_search() {
    let cluster = Cluster::start(light(20));
    let worker = cluster.worker("one");
    worker.until_connected();
    let sweep_id = submit(&cluster, 20).await;
    let show = || String::from_utf8(sweep(&cluster, &["show", "1"], "").stdout).unwrap();
    assert!(show().contains("20 jobs wait for points of the searcher outside"), "{}", show());

    let point = |rate: &str| {
        format!(r#"{{"parameters": {{"activation": "relu", "learning_rate": {rate}, "batch_size": 32}}}}"#)
            + "\n"
    };
    let refused = sweep(&cluster, &["search", "1"], &point("0.5"));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(
        error.contains("point 1: `learning_rate` must be a number from 0.00001 to 0.01, but is `0.5`"),
        "{error}"
    );
    let wrong = sweep(&cluster, &["search", "1"], "{\"rate\": 1}\n");
    assert_eq!(wrong.status.code(), Some(1));
    let shown = |job: &str| String::from_utf8(sweep(&cluster, &["show", job], "").stdout).unwrap();
    assert!(shown("1/5").contains("not proposed yet"), "{}", shown("1/5"));

    let input = point("0.001") + &point("0.002") + "{\"end\": true}\n";
    let ended = sweep(&cluster, &["search", "1"], &input);
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("\"wanted\":"), "{said}");
    assert_eq!(lines.iter().filter(|line| line.contains("\"outcome\":\"finished\"")).count(), 2, "{said}");
    assert_eq!(lines.last(), Some(&"{\"state\":\"finished\"}"), "{said}");
    assert_eq!(cluster.results(sweep_id).await.len(), 2);
    let again = sweep(&cluster, &["search", "1", "--after", "1"], "");
    let again = String::from_utf8(again.stdout).unwrap();
    assert_eq!(again.lines().next(), lines.iter().rev().nth(1).copied(), "{again}");

    // A point that waits for a slot is known as soon as it was acknowledged.
    submit(&cluster, 3).await;
    assert!(sweep(&cluster, &["pause", "2"], "").status.success());
    assert!(sweep(&cluster, &["search", "2"], &point("0.003")).status.success());
    assert!(shown("2/1").contains("0.003") && !shown("2/1").contains("not proposed yet"), "{}", shown("2/1"));
    assert!(shown("2/2").contains("not proposed yet"), "{}", shown("2/2"));
}
