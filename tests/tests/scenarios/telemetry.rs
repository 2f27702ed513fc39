//! What operators see of real programs: probes, who leads, and metrics, which are those of the page about them.

use std::{collections::BTreeMap, fs, path::Path};

use tests::{Cluster, ClusterOptions, Exported, Postgres, chaos, get};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Both programs answer probes; epochs take so many milliseconds.
fn probed(epoch_ms: u32) -> ClusterOptions {
    let light = chaos::light(epoch_ms);
    let worker = light.worker.iter().cloned().chain(ADMIN.map(str::to_owned)).collect();
    ClusterOptions { serve: ADMIN.map(str::to_owned).to_vec(), worker, ..light }
}

#[tokio::test]
async fn probes_know_who_leads_and_a_standby_is_ready_and_does_not_say_that_it_leads() {
    let Some(server) = Postgres::shared() else { return };
    let mut cluster = Cluster::start(ClusterOptions { store: Some(server.database()), ..probed(1) });
    let leader = format!("http://{}", cluster.coordinator.address);
    let first = cluster.coordinator.admin();
    // It answers once it is sure that it leads.
    cluster.client().await.list_sweeps(proto::v1::ListSweepsRequest::default()).await.unwrap();
    assert_eq!(get(first, "/readyz"), (200, "ok: it leads\n".to_owned()));
    assert_eq!(get(first, "/leaderz"), (200, "ok: it leads\n".to_owned()));
    let other = cluster.stand_by();
    // The log is that of both.
    assert_eq!(cluster.coordinator.log().matches("the coordinator is ready").count(), 1);
    let second = other.admin();
    assert_eq!(get(second, "/livez").0, 200);
    assert_eq!(get(second, "/readyz"), (200, format!("ok: it stands by for the one at {leader}\n")));
    assert_eq!(get(second, "/leaderz"), (503, format!("no: the one at {leader} leads\n")));
    assert_eq!(Exported::of(second).value("sweep_leader"), Some(0.0));
    let term = |address| Exported::of(address).value("sweep_leader_term").unwrap();
    let before = term(first);
    assert!(before >= 1.0 && Exported::of(first).value("sweep_leader") == Some(1.0));
    cluster.coordinator.kill();
    other.until_it_leads(true).await;
    let mut client = tests::Client::new(other.channel().await);
    client.list_sweeps(proto::v1::ListSweepsRequest::default()).await.unwrap();
    assert_eq!(get(second, "/leaderz").0, 200);
    other.until_it_has_said("this coordinator leads now");
    assert!(term(second) > before);
}

#[tokio::test]
async fn who_takes_the_port_for_probes_for_the_coordinators_is_told_so() {
    let cluster = Cluster::start(probed(1));
    let url = format!("http://{}", cluster.coordinator.admin());
    let told = std::process::Command::new(tests::program("sweep"))
        .args(["--coordinator", &url, "ls"])
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.contains("this port is for probes and metrics (--admin)") && told.contains("--listen"),
        "{told}"
    );
}

#[tokio::test]
async fn a_worker_is_ready_while_it_is_welcomed_and_lives_without_a_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    fs::write(&certificate, certified.cert.pem()).unwrap();
    fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let mut options = probed(1);
    options.serve.extend(["--tls-cert".to_owned(), certificate.clone(), "--tls-key".to_owned(), key]);
    options.worker.extend(["--tls-ca".to_owned(), certificate]);
    let mut cluster = Cluster::start(options);
    // Under TLS, too, probes speak none.
    assert_eq!(get(cluster.coordinator.admin(), "/readyz").0, 200);
    let worker = cluster.worker("one");
    let admin = worker.admin();
    assert_eq!(get(admin, "/livez").0, 200);
    worker.until_connected();
    assert_eq!(get(admin, "/readyz"), (200, "ok: the coordinator has welcomed it\n".to_owned()));
    assert_eq!(get(admin, "/leaderz").0, 404);
    cluster.coordinator.kill();
    worker.until_it_says("the coordinator is not reachable");
    let (status, why) = get(admin, "/readyz");
    assert!(status == 503 && why.contains("no connection"), "{why}");
    assert_eq!(
        (get(admin, "/livez").0, Exported::of(admin).value("sweep_worker_connected")),
        (200, Some(0.0))
    );
}

#[tokio::test]
async fn metrics_count_what_a_sweep_did_at_both_ends() {
    let cluster = Cluster::start(probed(1));
    let worker = cluster.worker("one");
    let at = (cluster.coordinator.admin(), worker.admin());
    let sweep = cluster.submit("{epochs: {value: 3}, seed: {min: 1, max: 4, count: 4}}").await;
    cluster.watch(sweep).await.until_end().await;
    let (coordinator, worker) = (Exported::of(at.0), Exported::of(at.1));
    for (series, value) in [
        ("sweep_jobs{state=\"done\"}", 4.0),
        ("sweep_jobs{state=\"pending\"}", 0.0),
        ("sweep_jobs_waiting", 0.0),
        ("sweep_sweeps{state=\"finished\"}", 1.0),
        ("sweep_attempts_granted_total", 4.0),
        ("sweep_attempts_ended_total{state=\"done\"}", 4.0),
        ("sweep_attempts_ended_total{state=\"lost\"}", 0.0),
        ("sweep_epochs_total", 12.0),
        ("sweep_events_refused_total{reason=\"fenced\"}", 0.0),
        ("sweep_workers{state=\"connected\"}", 1.0),
        ("sweep_slots{state=\"free\"}", 1.0),
        ("sweep_engine_answered", 1.0),
        ("sweep_store_full", 0.0),
    ] {
        assert_eq!(coordinator.value(series), Some(value), "{series} of {:?}", coordinator.series);
    }
    assert!(coordinator.value("sweep_commit_duration_seconds_count").unwrap() >= 5.0);
    for (series, value) in [
        ("sweep_worker_connected", 1.0),
        ("sweep_worker_slots", 1.0),
        ("sweep_worker_attempts_started_total", 4.0),
        ("sweep_worker_attempts_ended_total{outcome=\"done\"}", 4.0),
        ("sweep_worker_epochs_total", 12.0),
        ("sweep_worker_connections_total", 1.0),
    ] {
        assert_eq!(worker.value(series), Some(value), "{series} of {:?}", worker.series);
    }
}

#[tokio::test]
async fn a_worker_that_was_silent_too_long_shows_as_a_lost_lease() {
    let cluster = Cluster::start(ClusterOptions { lease: "1s", ..probed(50) });
    let worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 200}}").await;
    let mut watch = cluster.watch(sweep).await;
    watch.until_some_job_is_in_the_middle().await;
    tests::freeze(worker.pid());
    let admin = cluster.coordinator.admin();
    let other = cluster.worker("two");
    other.until_it_says("training");
    assert_eq!(Exported::of(admin).value("sweep_attempts_ended_total{state=\"lost\"}"), Some(1.0));
    tests::thaw(worker.pid());
    worker.until_it_says("stopping");
}

#[tokio::test]
async fn json_logs_name_sweep_job_and_attempt_as_numbers() {
    let mut options = probed(1);
    options.worker.extend(["--log-format".to_owned(), "json".to_owned()]);
    let cluster = Cluster::start(options);
    let worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 1}, seed: {min: 1, max: 2, count: 2}}").await;
    cluster.watch(sweep).await.until_end().await;
    let line = worker.line(|line| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        (record["fields"]["message"] == "done" && record["fields"]["job"] == 2).then_some(record)
    });
    assert_eq!((&line["fields"]["sweep"], &line["fields"]["attempt"]), (&1.into(), &1.into()), "{line}");
}

/// A row of the table of metrics: the type and the labels of the metric named so.
type Rows = BTreeMap<String, (String, Vec<String>)>;

/// The tables of the page about metrics, by the headings before them.
fn documented() -> BTreeMap<String, Rows> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/README.md");
    let (mut tables, mut heading) = (BTreeMap::<String, Rows>::new(), String::new());
    for line in fs::read_to_string(page).unwrap().lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(name) = cells.get(1).and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`')) else {
            continue;
        };
        if let [_, _, kind, labels, ..] = cells[..] {
            let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let row = (kind.to_owned(), labels);
            assert!(
                tables.entry(heading.clone()).or_default().insert(name.to_owned(), row).is_none(),
                "{name}"
            );
        }
    }
    tables
}

#[tokio::test]
async fn the_page_about_metrics_has_what_the_programs_export_and_nothing_else() {
    let cluster = Cluster::start(probed(1));
    let worker = cluster.worker("one");
    let admin = worker.admin();
    worker.until_connected();
    let pages = documented();
    // Where there is no GPU, nothing is exported of any.
    let of_gpus = |name: &str| name.starts_with("sweep_worker_gpu_");
    for (heading, address) in [("Coordinator", cluster.coordinator.admin()), ("Worker", admin)] {
        let exported = Exported::of(address);
        let both = pages.get("Both").into_iter().chain(pages.get(heading)).flatten();
        let documented: Rows = both.map(|(name, row)| (name.clone(), row.clone())).collect();
        let row = |(name, (kind, labels)): (&String, &(String, std::collections::BTreeSet<String>))| {
            let suffix = if kind == "counter" { "_total" } else { "" };
            (format!("{name}{suffix}"), (kind.clone(), labels.iter().cloned().collect()))
        };
        let exported: Rows = exported.families.iter().map(row).collect();
        let has_gpus = exported.keys().any(|name| of_gpus(name));
        let documented: Rows =
            documented.into_iter().filter(|(name, _)| has_gpus || !of_gpus(name)).collect();
        assert_eq!(documented, exported, "{heading}");
    }
}
