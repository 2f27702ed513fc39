//! Searchers outside of the coordinator: real ones, connected by `sweep search`, that are killed as everything else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use proto::v1;
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Coordinator, Postgres, chaos::light, program, source};

use crate::completion::assert_counted;

/// What the example's searcher proposes.
const PARAMETERS: &str = "{activation: {values: [relu, sigmoid]}, learning_rate: {min: 0.00001, max: 0.01, distribution: \
                          log_uniform_values}, batch_size: {values: [32, 64]}, epochs: {value: 3}}";

async fn submit(cluster: &Cluster, cap: u32) -> u64 {
    submit_with(cluster, cap, "").await
}

async fn submit_with(cluster: &Cluster, cap: u32, more: &str) -> u64 {
    let source = source(PARAMETERS);
    let text = source.text.replace("method: grid\n", &format!("method: external\nrun_cap: {cap}\n{more}"));
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
    let mut searcher = python(cluster, sweep);
    searcher.arg(program("sweep")).spawn().expect("python3 is there")
}

/// The same, which knows both coordinators, and whose lines are kept in the file `heard`.
fn searcher_of_both(cluster: &Cluster, other: &Coordinator, sweep: u64, heard: &Path) -> Child {
    let urls = format!("http://{},http://{}", cluster.coordinator.address, other.address);
    let mut searcher = python(cluster, sweep);
    searcher.env("SWEEP_COORDINATOR", urls).env("HEARD", heard);
    searcher.args(["sh", "-c", "\"$0\" \"$@\" | tee \"$HEARD\""]).arg(program("sweep"));
    searcher.spawn().expect("python3 is there")
}

/// The example's searcher, without the command that it searches by.
fn python(cluster: &Cluster, sweep: u64) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/external-search/searcher.py");
    let mut python = command(cluster, Path::new("python3"));
    python.arg(script).arg(sweep.to_string()).stdout(Stdio::null());
    python
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

/// The points that have been proposed, by their jobs.
async fn proposed(cluster: &Cluster, sweep: u64) -> BTreeMap<u64, v1::JobPoint> {
    let points = cluster.results(sweep).await.into_iter().filter_map(|(job, _)| job.point);
    points.filter(|point| !point.parameters.is_empty()).map(|point| (point.job, point)).collect()
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
    let before = proposed(&cluster, sweep_id).await;
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
    // Each wrong line is answered, and those after it are read.
    let input = point("0.5") + "{\"end\": true}\n{\"rate\": 1}\n" + &point("0.0005") + &point("0.6");
    let refused = sweep(&cluster, &["search", "1"], &input);
    let (said, error) =
        (String::from_utf8(refused.stdout).unwrap(), String::from_utf8(refused.stderr).unwrap());
    assert_eq!(refused.status.code(), Some(1), "{said}{error}");
    assert!(error.contains("4 lines were refused, as the answers say; standard input has ended"), "{error}");
    let answers = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let answers: Vec<(u64, String)> = answers
        .filter_map(|line| Some((line["line"].as_u64()?, line["error"].as_str()?.to_owned())))
        .collect();
    let outside = "`learning_rate` must be a number from 0.00001 to 0.01, but is";
    for ((line, answer), (expected, part)) in answers.iter().zip([
        (1, format!("point 1: {outside} `0.5`")),
        (2, "sweep 1 has no point yet".to_owned()),
        (3, "unknown field `rate`".to_owned()),
        (5, format!("point 2: {outside} `0.6`")),
    ]) {
        assert!(*line == expected && answer.contains(&part), "{said}");
    }
    assert_eq!(answers.len(), 4, "{said}");
    // The point after a refused one has the number that it would have had.
    assert!(said.contains("{\"accepted\":4,\"point\":1}"), "{said}");
    let shown = |job: &str| String::from_utf8(sweep(&cluster, &["show", job], "").stdout).unwrap();
    assert!(shown("1/1").contains("0.0005"), "{}", shown("1/1"));
    assert!(shown("1/5").contains("not proposed yet"), "{}", shown("1/5"));

    let input = point("0.001") + &point("0.002") + "{\"end\": true}\n";
    let ended = sweep(&cluster, &["search", "1"], &input);
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.iter().any(|line| line.contains("\"wanted\":")), "{said}");
    for accepted in ["{\"accepted\":1,\"point\":2}", "{\"accepted\":2,\"point\":3}"] {
        assert!(lines.contains(&accepted), "{said}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("\"outcome\":\"finished\"")).count(), 3, "{said}");
    assert_eq!(lines.last(), Some(&"{\"state\":\"finished\"}"), "{said}");
    assert_eq!(cluster.results(sweep_id).await.len(), 3);
    let again = sweep(&cluster, &["search", "1", "--after", "2"], "");
    let again = String::from_utf8(again.stdout).unwrap();
    assert_eq!(again.lines().next(), lines.iter().rev().nth(1).copied(), "{again}");

    // A point that waits for a slot is known as soon as it was acknowledged.
    submit(&cluster, 3).await;
    assert!(sweep(&cluster, &["pause", "2"], "").status.success());
    assert!(sweep(&cluster, &["search", "2"], &point("0.003")).status.success());
    assert!(shown("2/1").contains("0.003") && !shown("2/1").contains("not proposed yet"), "{}", shown("2/1"));
    assert!(shown("2/2").contains("not proposed yet"), "{}", shown("2/2"));
}

#[tokio::test]
async fn a_point_whose_number_another_searcher_has_taken_gets_the_next_one() {
    let cluster = Cluster::start(light(20));
    let _worker = cluster.worker("one");
    let sweep_id = submit(&cluster, 3).await;
    let mut late = command(&cluster, &program("sweep"))
        .args(["search", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(late.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It knows now that the next point is the first.
    assert!(lines.next().unwrap().contains("\"next_point\":1"));
    let point = |rate: f64| {
        format!(r#"{{"parameters": {{"activation": "relu", "learning_rate": {rate}, "batch_size": 32}}}}"#)
            + "\n"
    };
    let early = sweep(&cluster, &["search", "1"], &point(0.001));
    assert!(String::from_utf8(early.stdout).unwrap().contains("{\"accepted\":1,\"point\":1}"));
    let mut input = late.stdin.take().unwrap();
    input.write_all((point(0.002) + &point(0.003)).as_bytes()).unwrap();
    let answers: Vec<String> =
        lines.by_ref().filter(|line| line.contains("accepted") || line.contains("error")).take(2).collect();
    assert_eq!(answers, ["{\"accepted\":1,\"point\":2}", "{\"accepted\":2,\"point\":3}"]);
    let ended = cluster.watch(sweep_id).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 3));
    let rates: BTreeSet<String> = told(&cluster, sweep_id)
        .await
        .iter()
        .flat_map(|result| &result.parameters)
        .filter(|parameter| parameter.name == "learning_rate")
        .map(|parameter| format!("{:?}", parameter.value))
        .collect();
    assert_eq!(rates.len(), 3, "{rates:?}");
    assert!(late.wait().unwrap().success());
}

#[tokio::test]
async fn the_examples_searcher_gives_other_points_for_those_that_the_file_excludes() {
    let cluster = Cluster::start(light(20));
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    // Three of four points that it proposes at random.
    let sweep_id = submit_with(&cluster, 12, "exclude: [{activation: relu}, {batch_size: 32}]\n").await;
    let mut searcher = searcher(&cluster, sweep_id);
    assert!(searcher.wait().unwrap().success());
    let ended = cluster.watch(sweep_id).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 12));
}

/// Two kills, each in the middle of the search.
const KILLED_AFTER: [u64; 2] = [4, 11];

#[tokio::test]
async fn a_searcher_hears_each_result_once_and_in_order_however_often_its_leader_is_killed() {
    let Some(server) = Postgres::shared() else { return };
    let mut cluster = Cluster::start(ClusterOptions { store: Some(server.database()), ..light(60) });
    let mut other = cluster.stand_by();
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep_id = submit(&cluster, 18).await;
    let heard = cluster.folder.path().join("heard");
    let mut searcher = searcher_of_both(&cluster, &other, sweep_id, &heard);
    let mut before = Vec::new();
    for done in KILLED_AFTER {
        cluster.watch(sweep_id).await.until_done(done).await;
        before.push(proposed(&cluster, sweep_id).await);
        cluster.fail_over(&mut other).await;
    }
    let ended = cluster.watch(sweep_id).await.until_end().await;
    assert_eq!((ended.state(), ended.job_count), (v1::SweepState::Finished, 18));
    assert_counted(&cluster.results(sweep_id).await, 18, 3);
    assert!(searcher.wait().unwrap().success());

    let after = proposed(&cluster, sweep_id).await;
    for (before, done) in before.iter().zip(KILLED_AFTER) {
        assert!(before.len() as u64 >= done, "{before:?}");
        assert!(before.iter().all(|(job, point)| after.get(job) == Some(point)), "{before:?} {after:?}");
    }
    let heard = std::fs::read_to_string(heard).unwrap();
    let lines: Vec<Value> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["state"], "finished", "{heard}");
    let results: Vec<&Value> = lines.iter().filter(|line| line["result"].is_u64()).collect();
    let told = told(&cluster, sweep_id).await;
    assert_eq!(results.len(), told.len(), "{heard}");
    for (number, (result, told)) in (1..).zip(results.iter().zip(&told)) {
        assert_eq!((result["result"].as_u64(), told.number), (Some(number), number), "{heard}");
        assert_eq!(
            (result["job"].as_u64(), result["value"].as_f64()),
            (Some(told.job), told.value),
            "{heard}"
        );
        assert_eq!(after[&told.job].parameters, told.parameters);
    }
    let jobs: BTreeSet<u64> = told.iter().map(|result| result.job).collect();
    assert_eq!((jobs.len(), told.len()), (18, 18), "each job once");
    // It was asked for the next points, and never for those that it had given.
    let next: Vec<u64> = lines.iter().filter_map(|line| line["next_point"].as_u64()).collect();
    assert!(next.is_sorted() && next.last() == Some(&19), "{heard}");
}
