//! Two coordinators on one PostgreSQL: one leads, the other stands by until the leader is gone.

use std::process::Command;

use proto::v1;
use tempfile::TempDir;
use tests::{Cluster, ClusterOptions, Coordinator, Postgres, chaos, freeze, program, thaw};
use tonic::Code;

const EPOCHS: u32 = 60;
const JOBS: u64 = 6;

/// A leader and one that stands by, on a new database; none if there is no PostgreSQL.
fn pair() -> Option<(Cluster, Coordinator)> {
    let server = Postgres::shared()?;
    // Slow enough that jobs run when the leader ends and when the other leads.
    let mut cluster = Cluster::start(ClusterOptions { store: Some(server.database()), ..chaos::light(100) });
    let other = cluster.stand_by();
    Some((cluster, other))
}

async fn submit(cluster: &Cluster) -> u64 {
    let parameters = format!("{{epochs: {{value: {EPOCHS}}}, seed: {{min: 1, max: {JOBS}, count: {JOBS}}}}}");
    cluster.submit(&parameters).await
}

/// Every job was done in one attempt, with the trainer's numbers.
async fn assert_done_at_once(cluster: &Cluster, sweep: u64) {
    cluster.watch(sweep).await.until_end().await;
    let results = cluster.results(sweep).await;
    assert_eq!(results.len() as u64, JOBS);
    for (job, epochs) in results {
        let number = job.point.as_ref().map_or(0, |point| point.job);
        assert_eq!((job.state(), job.attempts), (v1::JobState::Done, 1), "{job:?}");
        assert_eq!(epochs.len(), EPOCHS as usize);
        for record in epochs.iter().filter_map(|row| row.record.clone()) {
            let expected = chaos::light_epoch(number, record.epoch);
            assert_eq!(v1::EpochRecord { epoch_seconds: 0.0, ..record.clone() }, expected);
        }
    }
}

#[tokio::test]
async fn one_that_stands_by_says_who_leads_and_is_not_ready() {
    let Some((cluster, other)) = pair() else { return };
    cluster.coordinator.until_it_leads(true).await;
    other.until_it_leads(false).await;
    let mut client = tests::Client::new(other.channel().await);
    let status = client.list_sweeps(v1::ListSweepsRequest::default()).await.unwrap_err();
    let leader = format!("http://{}", cluster.coordinator.address);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains(&leader), "{status:?}");
    assert_eq!(status.metadata().get("sweep-leader").unwrap().to_str().unwrap(), leader);
    let ls =
        |urls: &str| Command::new(program("sweep")).args(["ls", "--coordinator", urls]).output().unwrap();
    let both = ls(&format!("http://{},{leader}", other.address));
    assert!(both.status.success(), "{}", String::from_utf8_lossy(&both.stderr));
    // Who knows only the one that stands by is told where the leader is, and goes there.
    let alone = ls(&format!("http://{}", other.address));
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
}

#[tokio::test]
async fn one_that_stands_by_sends_who_shows_a_token_that_it_does_not_know_to_the_leader() {
    let Some(server) = Postgres::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let token = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let serve = vec!["--token-file".to_owned(), token("admin", "secret\n")];
    let mut cluster =
        Cluster::start(ClusterOptions { store: Some(server.database()), serve, ..chaos::light(1) });
    let other = cluster.stand_by();
    other.until_it_leads(false).await;
    // The leader, which knows all tokens, gives the verdict.
    let output = Command::new(program("sweep"))
        .args(["ls", "--coordinator", &format!("http://{}", other.address)])
        .args(["--token-file", &token("unknown", "id.unknown\n")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("the token is wrong"), "{told}");
}

/// Two coordinators on one database that end with this sweep; the second stands by. None if there is no PostgreSQL.
fn pair_that_ends(parameters: &str, more: &[&str]) -> Option<(Cluster, Coordinator, TempDir)> {
    let server = Postgres::shared()?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sweep.yaml");
    std::fs::write(&file, tests::source(parameters).text).unwrap();
    let arguments = ["--exit-with-sweep", file.to_str().unwrap()].into_iter().chain(more.iter().copied());
    let options = ClusterOptions {
        store: Some(server.database()),
        serve: arguments.map(str::to_owned).collect(),
        ..chaos::light(1)
    };
    let mut cluster = Cluster::start(options);
    cluster.coordinator.until_it_has_said("submitted");
    let other = cluster.stand_by();
    Some((cluster, other, folder))
}

#[tokio::test]
async fn one_that_ends_with_its_sweep_follows_it_at_the_leader() {
    let Some((mut cluster, mut other, _folder)) = pair_that_ends("{epochs: {value: 2}}", &[]) else { return };
    other.until_it_has_said("the sweep in the store goes on");
    let worker = cluster.worker("one");
    assert_eq!(worker.wait(), Some(0), "it is told to leave");
    for coordinator in [&mut cluster.coordinator, &mut other] {
        assert_eq!(coordinator.wait(), Some(0), "{}", coordinator.log());
    }
}

#[tokio::test]
async fn one_that_cannot_reach_the_leader_goes_on_with_its_sweep_when_it_leads() {
    // Nothing listens where the leader says that it is.
    let nowhere = ["--advertise", "http://127.0.0.1:1"];
    let Some((mut cluster, mut other, _folder)) = pair_that_ends("{epochs: {value: 3}}", &nowhere) else {
        return;
    };
    other.until_it_has_said("goes on with the sweep as soon as it leads");
    cluster.coordinator.kill();
    other.until_it_has_said("the sweep in the store goes on");
    std::mem::swap(&mut cluster.coordinator, &mut other);
    cluster.forget_others();
    let worker = cluster.worker("one");
    assert_eq!(worker.wait(), Some(0), "it is told to leave");
    assert_eq!(cluster.coordinator.wait(), Some(0), "{}", cluster.coordinator.log());
}

#[tokio::test]
async fn a_worker_that_knows_only_the_standby_trains_for_the_leader_with_its_weights() {
    let Some(server) = Postgres::shared() else { return };
    let places = tempfile::tempdir().unwrap();
    let artifacts = ["--artifacts".to_owned(), places.path().display().to_string()].to_vec();
    let options = ClusterOptions { store: Some(server.database()), serve: artifacts, ..chaos::light(1) };
    let mut cluster = Cluster::start(options);
    let other = cluster.stand_by();
    other.until_it_leads(false).await;
    // The worker is given the standby's address alone.
    let leader = std::mem::replace(&mut cluster.coordinator, other);
    cluster.forget_others();
    let worker = cluster.worker("one");
    worker.until_it_says("going on at the one that leads");
    worker.until_connected();
    let _standby = std::mem::replace(&mut cluster.coordinator, leader);
    let sweep =
        cluster.submit("{epochs: {value: 2}, seed: {min: 1, max: 3, count: 3}}\nartifacts: {keep: 1}").await;
    cluster.watch(sweep).await.until_end().await;
    assert!(cluster.results(sweep).await.iter().all(|(job, _)| job.state() == v1::JobState::Done));
    let kept = chaos::settled_weights(&cluster, sweep, places.path()).await;
    assert_eq!(kept.contents.len(), 1);
}

#[tokio::test]
async fn no_token_goes_in_plain_text_to_a_leader_that_a_standby_under_tls_names() {
    let Some(server) = Postgres::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (certificate, key) =
        (write("cert.pem", &certified.cert.pem()), write("key.pem", &certified.signing_key.serialize_pem()));
    let token = write("token", "secret\n");
    let store = server.database();
    // A listener in the leader's place: it would hear the token.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let advertised = format!("http://{}", listener.local_addr().unwrap());
    let serve = |more: &[&str]| {
        let common = ["--token-file", &token].into_iter().chain(more.iter().copied());
        ClusterOptions {
            store: Some(store.clone()),
            serve: common.map(str::to_owned).collect(),
            ..ClusterOptions::default()
        }
    };
    let _leader = Cluster::start(serve(&["--advertise", &advertised]));
    let standby = Cluster::start(serve(&["--tls-cert", &certificate, "--tls-key", &key]));
    let url = format!("https://localhost:{}", standby.coordinator.address.port());
    let output = Command::new(program("sweep"))
        .args(["ls", "--coordinator", &url, "--tls-ca", &certificate, "--token-file", &token])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&advertised) && told.contains("nothing is sent"), "{told}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "no one came");
}

#[tokio::test]
async fn when_the_leader_is_killed_the_other_goes_on_with_the_running_jobs() {
    let Some((mut cluster, other)) = pair() else { return };
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = submit(&cluster).await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;
    cluster.coordinator.kill();
    other.until_it_leads(true).await;
    cluster.coordinator = other;
    assert_done_at_once(&cluster, sweep).await;
}

#[tokio::test]
async fn a_leader_that_stood_still_is_replaced_and_finds_that_it_does_not_lead() {
    let Some((mut cluster, other)) = pair() else { return };
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = submit(&cluster).await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;
    freeze(cluster.coordinator.pid());
    other.until_it_leads(true).await;
    thaw(cluster.coordinator.pid());
    cluster.coordinator.until_it_leads(false).await;
    let former = std::mem::replace(&mut cluster.coordinator, other);
    assert_done_at_once(&cluster, sweep).await;
    assert!(former.log().contains("stands by"), "{}", former.log());
}

#[tokio::test]
async fn a_leader_that_is_asked_to_leave_hands_over() {
    let Some((mut cluster, other)) = pair() else { return };
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let sweep = submit(&cluster).await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;
    assert_eq!(cluster.coordinator.leave(), Some(0));
    other.until_it_leads(true).await;
    cluster.coordinator = other;
    assert_done_at_once(&cluster, sweep).await;
}

#[tokio::test]
async fn a_leader_that_is_asked_to_leave_hands_over_before_its_streams_have_ended() {
    let Some((mut cluster, other)) = pair() else { return };
    // A health check keeps a stream open until it is cut off.
    let channel = cluster.coordinator.channel().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let mut changes = health.watch(request).await.unwrap().into_inner();
    assert!(changes.message().await.unwrap().is_some());
    assert_eq!(cluster.coordinator.leave(), Some(0));
    other.until_it_leads(true).await;
    let log = cluster.coordinator.log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text} is not in {log}"));
    assert!(at("stopping") < at("the lead is laid down"), "{log}");
    assert!(at("the lead is laid down") < at("the last answers have left"), "{log}");
}
