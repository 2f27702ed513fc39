//! Alerts, dashboard and scaler of `deploy/kubernetes`: accepted by promtool, firing when they should and not otherwise, and about metrics that
//! the real programs export; and a real Prometheus that scrapes both programs.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

#[path = "monitoring/prometheus.rs"]
mod prometheus;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use prometheus::Prometheus;
use serde_yaml::Value;
use tests::{Cluster, ClusterOptions, Daemon, Exported, Worker, chaos};

const ALERT_CASES: &str = include_str!("monitoring/alerts.yaml");

fn kubernetes(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/components");
    fs::read_to_string(folder.join(path)).unwrap()
}

/// The rules as Prometheus reads them.
fn rules() -> Value {
    let object: Value = serde_yaml::from_str(&kubernetes("monitoring/rules.yaml")).unwrap();
    object["spec"].clone()
}

/// Where the tool of that name is; none, with a printed reason, where there is none.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        tests::skipped(&format!("{name} is not on the PATH; on Debian: apt install prometheus"));
    }
    found
}

/// The alerts of these rules.
fn alerts(rules: &Value) -> impl Iterator<Item = &Value> {
    rules["groups"].as_sequence().unwrap().iter().flat_map(|group| group["rules"].as_sequence().unwrap())
}

/// What promtool says of these rules by the cases.
fn judged(rules: &Value) -> Option<Output> {
    let promtool = tool("promtool")?;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), serde_yaml::to_string(rules).unwrap()).unwrap();
    fs::write(folder.path().join("alerts.yaml"), ALERT_CASES).unwrap();
    let run = |arguments: &[&str]| {
        Command::new(&promtool).args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let checked = run(&["check", "rules", "rules.yaml"]);
    if !checked.status.success() {
        return Some(checked);
    }
    Some(run(&["test", "rules", "alerts.yaml"]))
}

fn told(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    let Some(output) = judged(&rules()) else { return };
    assert!(output.status.success(), "{}", told(&output));
    // Each one, without its condition, is found by its cases.
    let count = alerts(&rules()).count();
    for place in 0..count {
        let mut broken = rules();
        let groups = broken["groups"].as_sequence_mut().unwrap();
        let mut all = groups.iter_mut().flat_map(|group| group["rules"].as_sequence_mut().unwrap());
        let alert = all.nth(place).unwrap();
        let name = alert["alert"].as_str().unwrap().to_owned();
        alert["expr"] = "vector(0) > 1".into();
        let output = judged(&broken).unwrap();
        assert!(!output.status.success() && told(&output).contains(&name), "{name}: {}", told(&output));
    }
}

#[test]
fn every_alert_has_its_cases_and_says_what_to_do() {
    let cases: Value = serde_yaml::from_str(ALERT_CASES).unwrap();
    let tried: BTreeSet<&str> =
        cases["tests"].as_sequence().unwrap().iter().map(|case| case["name"].as_str().unwrap()).collect();
    let rules = rules();
    let known: BTreeSet<&str> = alerts(&rules).map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(tried, known);
    for alert in alerts(&rules) {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{alert:?}");
        let text = |name: &str| alert["annotations"][name].as_str().unwrap_or_default().len();
        assert!(text("summary") > 20 && text("description") > 60, "{alert:?}");
    }
}

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'));
    words.filter(|word| ["sweep_", "process_"].iter().any(|prefix| word.starts_with(prefix)))
}

/// Every query of rules, dashboard and scaler, with where it stands.
fn queries() -> Vec<(String, String)> {
    let rules = rules();
    let mut queries: Vec<(String, String)> = alerts(&rules)
        .map(|alert| {
            (alert["alert"].as_str().unwrap().to_owned(), alert["expr"].as_str().unwrap().to_owned())
        })
        .collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(&kubernetes("monitoring/dashboard.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            queries.push((title.to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    let scaler: Value = serde_yaml::from_str(&kubernetes("autoscale/scaler.yaml")).unwrap();
    let query = &scaler["spec"]["triggers"][0]["metadata"]["query"];
    queries.push(("the scaler".to_owned(), query.as_str().unwrap().to_owned()));
    queries
}

#[test]
fn what_its_readme_types_starts_a_coordinator_that_answers_probes() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let block = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    // Any ports, and a name that this machine has.
    let block = block.replace("HOST", "localhost").replace(":7070", ":0").replace(":7090", ":0");
    let line = |start: &str| -> Vec<String> {
        let line = block.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "secret\n").unwrap();
    let sweep = |arguments: Vec<String>| {
        let mut command = Command::new(tests::program("sweep"));
        command.current_dir(&folder).args(arguments);
        command
    };
    assert!(sweep(line("sweep certs")).output().unwrap().status.success());
    let daemon = Daemon::start(sweep(line("sweep serve")), folder.path().join("log"));
    daemon.wait_for_line(|line| line.contains("the coordinator is ready").then_some(()));
    let worker =
        Command::new(tests::program("sweep-worker")).args(line("sweep-worker")).arg("--help").output();
    assert!(worker.unwrap().status.success());
}

/// A coordinator and a worker, both with their port for metrics.
fn running() -> (Cluster, Worker, [SocketAddr; 2]) {
    let admin = || ["--admin", "127.0.0.1:0"].map(str::to_owned);
    let light = chaos::light(1);
    let worker = light.worker.iter().cloned().chain(admin()).collect();
    let cluster = Cluster::start(ClusterOptions { serve: admin().to_vec(), worker, ..light });
    let worker = cluster.worker("one");
    let ports = [cluster.coordinator.admin(), worker.admin()];
    worker.until_connected();
    (cluster, worker, ports)
}

#[test]
fn every_query_asks_for_metrics_that_the_programs_export() {
    let (_cluster, _worker, ports) = running();
    let mut exported: BTreeSet<String> = ports.iter().flat_map(|port| Exported::of(*port).names()).collect();
    // Of GPUs only where there are some; the worker's own tests pretend one.
    let of_gpus = ["utilization_ratio", "memory_used_bytes", "memory_bytes"];
    exported.extend(of_gpus.map(|name| format!("sweep_worker_gpu_{name}")));
    let queries = queries();
    assert!(queries.len() > 40, "{}", queries.len());
    for (place, query) in &queries {
        assert!(names(query).count() > 0, "{place}: {query}");
        for name in names(query) {
            assert!(exported.contains(name), "{place} asks for {name}, which no program exports");
        }
    }
}

#[test]
fn a_real_prometheus_scrapes_both_programs_and_answers_every_query() {
    let Some(program) = tool("prometheus") else { return };
    let (cluster, _worker, ports) = running();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sweep = cluster.submit("{epochs: {value: 2}, seed: {min: 1, max: 3, count: 3}}").await;
        cluster.watch(sweep).await.until_end().await;
    });
    let prometheus = Prometheus::start(&program, &ports, &rules());
    for (query, value) in [
        ("sum(up)", "2"),
        ("sum(sweep_jobs{state=\"done\"})", "3"),
        ("sum(sweep_leader)", "1"),
        ("sum(sweep_worker_epochs_total)", "6"),
        // None of the alerts that are there at once.
        ("count(ALERTS) or vector(0)", "0"),
    ] {
        prometheus.until(query, value);
    }
    for (place, query) in queries() {
        let query = query.replace("$namespace", "sweep");
        let answer = prometheus.ask(&query);
        assert_eq!(answer["status"], "success", "{place}: {query}: {answer}");
    }
    // What the scaler would see: nothing runs or waits.
    let (_, scaler) = queries().pop().unwrap();
    assert_eq!(prometheus.ask(&scaler)["data"]["result"][0]["value"][1], "0", "{scaler}");
}
