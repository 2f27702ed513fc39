//! Traces of the real programs, as a collector receives them, and what one that does not costs: nothing but spans.

use std::process::{Command, Output};

use proto::v1;
use tests::{
    Cluster, ClusterOptions, Collector, Exported, Sent, Takes, chaos, program, terminate, wait_for_end,
};

use crate::commands::sweep;

/// All programs of the cluster send traces there; epochs take so many milliseconds.
fn traced(url: &str, epoch_ms: u32) -> ClusterOptions {
    let light = chaos::light(epoch_ms);
    let to = ["--otlp".to_owned(), url.to_owned(), "--admin".to_owned(), "127.0.0.1:0".to_owned()];
    let worker = light.worker.iter().chain(&to).cloned().collect();
    ClusterOptions { serve: to.to_vec(), worker, ..light }
}

/// A sweep file of these parameters in the cluster's folder.
fn file(cluster: &Cluster, parameters: &str) -> String {
    let file = cluster.folder.path().join("sweep.yaml");
    std::fs::write(&file, tests::source(parameters).text).unwrap();
    file.display().to_string()
}

fn assert_well(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn named<'a>(spans: &'a [Sent], name: &str) -> Vec<&'a Sent> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn one<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {found:#?}");
    found[0]
}

/// The spans of this name, each of which one of these has begun.
fn below<'a>(spans: &'a [Sent], name: &str, parents: &[&Sent]) -> Vec<&'a Sent> {
    let found = named(spans, name);
    for span in &found {
        let is_below = |parent: &&Sent| parent.id == span.parent && parent.trace == span.trace;
        assert!(parents.iter().any(is_below), "{span:#?}");
        assert!(span.times.0 <= span.times.1, "{span:#?}");
    }
    found
}

#[tokio::test]
async fn a_sweep_is_one_trace_across_the_three_programs_from_its_submission_to_its_report() {
    let collector = Collector::start(Takes::All);
    let url = collector.url.clone();
    let cluster = Cluster::start(traced(&url, 1));
    let worker = cluster.worker("one");
    let file = file(&cluster, "{epochs: {value: 3}, seed: {min: 1, max: 2, count: 2}}\nartifacts: {keep: 2}");
    assert_well(&sweep(&cluster, &["submit", &file, "--otlp", &url]));
    cluster.watch(1).await.until_end().await;
    collector.until(|spans| named(spans, "upload").len() == 2).await;
    let results = cluster.folder.path().join("results").display().to_string();
    assert_well(&sweep(&cluster, &["report", "1", "--output", &results, "--otlp", &url]));
    let all = 4 + 2 * 6;
    let spans = collector.until(|spans| spans.len() >= all).await;
    let services =
        |name: &str| named(&spans, name).iter().map(|span| span.service.as_str()).collect::<Vec<_>>();
    let command = one(&spans, "sweep submit");
    assert_eq!((command.parent.as_slice(), command.service.as_str()), (&[][..], "sweep"));
    let submitted = below(&spans, "submit", &[command]);
    assert_eq!(services("submit"), ["sweep-coordinator"]);
    for name in ["end", "sweep report"] {
        assert_eq!(below(&spans, name, &submitted).len(), 1, "{name}");
    }
    let grants = below(&spans, "grant", &submitted);
    let attempts = below(&spans, "attempt", &grants);
    assert_eq!((grants.len(), attempts.len()), (2, 2));
    assert_eq!(services("attempt"), ["sweep-worker"; 2]);
    assert_eq!(below(&spans, "commit", &grants).len(), 2);
    for name in ["prepare", "upload"] {
        assert_eq!(below(&spans, name, &attempts).len(), 2, "{name}");
    }
    let trainings = below(&spans, "train", &attempts);
    for training in &trainings {
        let epochs: Vec<&str> = training.events.iter().map(|event| event["sweep.epoch"].as_str()).collect();
        assert_eq!(epochs, ["1", "2", "3"]);
        assert!(training.events[0].contains_key("val_accuracy"), "{training:?}");
        assert_eq!(training.attributes["sweep.outcome"], "done");
    }
    let jobs: Vec<&str> = grants.iter().map(|grant| grant.attributes["sweep.job"].as_str()).collect();
    assert_eq!((trainings.len(), jobs), (2, vec!["1", "2"]));
    assert_eq!(
        (spans.len(), spans.iter().all(|span| span.trace == command.trace)),
        (all, true),
        "{spans:#?}"
    );
    let exported = Exported::of(cluster.coordinator.admin());
    assert_eq!(exported.value("sweep_trace_spans_total{result=\"failed\"}"), Some(0.0));
    let worker_sent = Exported::of(worker.admin()).value("sweep_worker_trace_spans_total{result=\"sent\"}");
    assert_eq!(worker_sent, Some(8.0));
}

#[tokio::test]
async fn the_trace_of_a_sweep_goes_on_after_a_restart_and_later_jobs_have_their_own() {
    let collector = Collector::start(Takes::All);
    let url = collector.url.clone();
    let mut cluster = Cluster::start(traced(&url, 1));
    let file = file(&cluster, "{epochs: {value: 1}, seed: {min: 1, max: 102, count: 102}}");
    assert_well(&sweep(&cluster, &["submit", &file, "--otlp", &url]));
    let before = collector.until(|spans| spans.len() == 2).await;
    let submitted = one(&before, "submit").clone();
    cluster.replace_coordinator();
    let _worker = cluster.worker("one");
    cluster.watch(1).await.until_end().await;
    let spans = collector
        .until(|spans| named(spans, "attempt").len() == 102 && !named(spans, "end").is_empty())
        .await;
    let grants = named(&spans, "grant");
    let in_trace = |span: &&&Sent| span.trace == submitted.trace;
    let inside: Vec<&&Sent> = grants.iter().filter(in_trace).collect();
    assert_eq!(inside.len(), 100);
    assert!(inside.iter().all(|grant| grant.parent == submitted.id));
    let own: Vec<&&Sent> = grants.iter().filter(|grant| !in_trace(grant)).collect();
    assert!(own.len() == 2 && own[0].trace != own[1].trace);
    for grant in own {
        assert_eq!(
            (grant.parent.as_slice(), grant.links.as_slice()),
            (&[][..], &[submitted.trace.clone()][..])
        );
    }
    assert_eq!(below(&spans, "attempt", &grants).len(), 102);
}

#[tokio::test]
async fn a_run_sends_the_spans_of_all_its_processes() {
    let collector = Collector::start(Takes::All);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sweep.yaml");
    std::fs::write(&file, tests::source("{epochs: {value: 2}}").text).unwrap();
    let trainer = &chaos::light(1).worker[1];
    let output = Command::new(program("sweep"))
        .args(["run", file.to_str().unwrap(), "--device", "cpu", "--slots", "1", "--trainer", trainer])
        .args(["--otlp", &collector.url, "--output"])
        .arg(folder.path().join("results"))
        .output()
        .unwrap();
    assert_well(&output);
    let spans = collector.until(|spans| !named(spans, "sweep report").is_empty()).await;
    let submitted = one(&spans, "submit");
    assert!(submitted.parent.is_empty());
    let grants = below(&spans, "grant", &[submitted]);
    let attempts = below(&spans, "attempt", &grants);
    assert_eq!((grants.len(), attempts[0].service.as_str()), (1, "sweep-worker"));
    assert_eq!(below(&spans, "sweep report", &[submitted]).len(), 1);
}

#[tokio::test]
async fn what_a_caller_does_not_keep_no_one_keeps_and_a_callers_own_trace_is_linked() {
    let collector = Collector::start(Takes::All);
    let url = collector.url.clone();
    let cluster = Cluster::start(traced(&url, 1));
    let _worker = cluster.worker("one");
    let file = file(&cluster, "{epochs: {value: 1}}");
    let submit = Command::new(program("sweep"))
        .args(["submit", &file, "--otlp", &url])
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0")
        .output();
    assert_well(&submit.unwrap());
    cluster.watch(1).await.until_end().await;
    // Another program's, in a trace of its own.
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let source = Some(tests::source("{epochs: {value: 1}}"));
    let message =
        v1::SubmitRequest { source, request_id: "theirs".to_owned(), ..v1::SubmitRequest::default() };
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("traceparent", caller.parse().unwrap());
    let answer = cluster.client().await.submit(request).await.unwrap();
    let told = answer.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned();
    cluster.watch(2).await.until_end().await;
    let spans =
        collector.until(|spans| !named(spans, "end").is_empty() && !named(spans, "attempt").is_empty()).await;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let submitted = one(&spans, "submit");
    assert_eq!(told, format!("00-{}-{}-01", hex(&submitted.trace), hex(&submitted.id)));
    assert_eq!(submitted.links.iter().map(|trace| hex(trace)).collect::<Vec<_>>(), [&caller[3..35]]);
    assert!(spans.iter().all(|span| span.trace == submitted.trace), "the first is not there: {spans:#?}");
}

#[tokio::test]
async fn a_collector_that_hangs_refuses_or_is_away_fails_nothing() {
    let (hangs, refuses) = (Collector::start(Takes::Hangs), Collector::start(Takes::Refuses));
    let away = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (url, asked) in
        [(hangs.url.clone(), Some(&hangs)), (refuses.url.clone(), Some(&refuses)), (away, None)]
    {
        let mut cluster = Cluster::start(traced(&url, 1));
        let worker = cluster.worker("one");
        let file = file(&cluster, "{epochs: {value: 2}, seed: {min: 1, max: 30, count: 30}}");
        assert_well(&sweep(&cluster, &["submit", &file, "--otlp", &url]));
        cluster.watch(1).await.until_end().await;
        let results = cluster.folder.path().join("results").display().to_string();
        assert_well(&sweep(&cluster, &["report", "1", "--output", &results, "--otlp", &url]));
        assert!(cluster.results(1).await.iter().all(|(job, _)| job.state() == v1::JobState::Done));
        match asked {
            Some(collector) => collector.until_asked().await,
            None => cluster.coordinator.until_it_has_said("traces cannot be sent"),
        }
        terminate(worker.pid());
        assert_eq!(worker.wait(), Some(0), "{url}");
        let pid = cluster.coordinator.pid();
        assert_eq!(cluster.coordinator.leave(), Some(0), "{url}");
        wait_for_end(pid);
    }
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_what_can() {
    let cluster = Cluster::start(chaos::light(1));
    let file = file(&cluster, "{epochs: {value: 1}}");
    let output = sweep(&cluster, &["submit", &file, "--otlp", "collector:4317"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("http://HOST:4317"), "{told}");
}
