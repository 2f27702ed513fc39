//! Tokens and TLS.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use tests::{Cluster, ClusterOptions, PATIENCE, chaos, program, write};

/// `sweep ls` against the cluster with more arguments; its exit code and what it wrote.
fn ls(cluster: &Cluster, scheme: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("{scheme}://localhost:{}", cluster.coordinator.address.port());
    let output = Command::new(program("sweep"))
        .args(["--coordinator", &url, "ls"])
        .args(arguments)
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_token_guards_every_call_of_users_and_workers() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", "secret\n");
    let wrong = write(folder.path(), "wrong", "guess\n");
    let with_token = vec!["--token-file".to_owned(), token.clone()];
    let options =
        ClusterOptions { serve: with_token.clone(), worker: with_token, ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    assert_eq!(ls(&cluster, "http", &[]).0, Some(1));
    assert!(ls(&cluster, "http", &[]).1.contains("wants a token"));
    assert_eq!(ls(&cluster, "http", &["--token-file", &wrong]).0, Some(1));
    assert_eq!(ls(&cluster, "http", &["--token-file", &token]).0, Some(0));
    // A worker without the token is refused for good and says so; one with it trains.
    let mut stranger = Command::new(program("sweep-worker"));
    stranger
        .args(["start", "--slots", "1", "--device", "cpu", "--name", "stranger", "--token-file", &wrong])
        .args(["--coordinator", &format!("http://{}", cluster.coordinator.address)])
        .args(["--spool", &folder.path().join("spool").display().to_string()]);
    let refused = stranger.output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("token"), "{refused:?}");
    let _worker = cluster.worker("one");
    let file = write(folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 1}}").text);
    let url = format!("http://{}", cluster.coordinator.address);
    for arguments in [vec!["submit", &file], vec!["wait", "1", "--timeout", "2m"]] {
        let status = Command::new(program("sweep"))
            .args(["--coordinator", &url, "--token-file", &token])
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

#[tokio::test]
async fn tls_works_end_to_end_and_refuses_whom_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write(folder.path(), "cert.pem", &certified.cert.pem());
    let key = write(folder.path(), "key.pem", &certified.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = write(folder.path(), "other.pem", &other.cert.pem());
    let serve = ["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned).to_vec();
    let worker = ["--tls-ca", &certificate].map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, worker, ..ClusterOptions::default() });
    assert_eq!(ls(&cluster, "https", &["--tls-ca", &certificate]).0, Some(0));
    assert_eq!(ls(&cluster, "https", &["--tls-ca", &other]).0, Some(3));
    let told = ls(&cluster, "http", &[]);
    assert!(told.0 == Some(1) && told.1.contains("name it with https://"), "{told:?}");
    let _worker = cluster.worker("one");
    let file = write(folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 1}}").text);
    let url = format!("https://localhost:{}", cluster.coordinator.address.port());
    for arguments in [vec!["submit", &file], vec!["wait", "1", "--timeout", "2m"]] {
        let status = Command::new(program("sweep"))
            .args(["--coordinator", &url, "--tls-ca", &certificate])
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

#[tokio::test]
async fn a_worker_trains_on_while_its_coordinator_speaks_tls_and_is_let_in_once_it_is_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write(folder.path(), "cert.pem", &certified.cert.pem());
    let key = write(folder.path(), "key.pem", &certified.signing_key.serialize_pem());
    let mut cluster = Cluster::start(ClusterOptions { lease: "2m", ..chaos::light(100) });
    let worker = cluster.worker("one");
    let sweep = cluster.submit("{epochs: {value: 40}}").await;
    cluster.watch(sweep).await.until_some_job_is_in_the_middle().await;
    cluster.coordinators_get(["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned).to_vec());
    cluster.replace_coordinator();
    worker.until_it_says("start it as before, or this worker with the address of now");
    cluster.coordinators_get(Vec::new());
    cluster.replace_coordinator();
    let counts = cluster.watch(sweep).await.until_end().await.counts.unwrap();
    assert_eq!((counts.done, cluster.job(sweep, 1).await.attempts.len()), (1, 1));
}

#[test]
fn other_machines_are_not_served_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program("sweep"))
        .args(["serve", "--listen", "0.0.0.0:0"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--token-file") && text.contains("--insecure"), "{text}");
}

/// A command that leaves the coordinator so few descriptors that it accepts only sixteen connections.
fn few_descriptors() -> Vec<String> {
    ["sh", "-c", "ulimit -n 80 && exec \"$@\"", "sh"].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn who_begins_a_handshake_and_falls_silent_locks_no_one_out() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write(folder.path(), "cert.pem", &certified.cert.pem());
    let key = write(folder.path(), "key.pem", &certified.signing_key.serialize_pem());
    let serve = ["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned).to_vec();
    let cluster =
        Cluster::start(ClusterOptions { serve, through: few_descriptors(), ..ClusterOptions::default() });
    // The header of a TLS record and of a ClientHello, and some of its random bytes.
    let mut begun = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    begun.resize(41, 7);
    let silent: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(cluster.coordinator.address).unwrap();
            // This connection may already have been closed.
            let _ = stream.write_all(&begun);
            stream
        })
        .collect();
    assert_eq!(ls(&cluster, "https", &["--tls-ca", &certificate]).0, Some(0), "newcomers are served");
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        // It ends, with or without an alert, or by a reset.
        let ended = stream.read_to_end(&mut bytes);
        assert!(
            ended.as_ref().map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |_| true),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn who_has_no_token_and_answers_pings_locks_no_one_out() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", "secret\n");
    let serve = vec!["--token-file".to_owned(), token.clone()];
    let cluster =
        Cluster::start(ClusterOptions { serve, through: few_descriptors(), ..ClusterOptions::default() });
    let mut strangers = Vec::new();
    for number in 0..50 {
        // Half of them ask without a token, or for health, which needs none.
        let channel = cluster.channel().await;
        match number % 3 {
            0 => {
                let request = proto::v1::ListSweepsRequest::default();
                let refused = tests::Client::new(channel.clone()).list_sweeps(request).await.unwrap_err();
                assert!(
                    [tonic::Code::Unauthenticated, tonic::Code::Unknown].contains(&refused.code()),
                    "{refused:?}"
                );
            }
            1 => {
                let request = tonic_health::pb::HealthCheckRequest::default();
                let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
                assert!(health.check(request).await.is_ok());
            }
            _ => {}
        }
        strangers.push(channel);
    }
    for _ in 0..20 {
        assert_eq!(ls(&cluster, "http", &["--token-file", &token]).0, Some(0), "newcomers are served");
    }
}

#[tokio::test]
async fn who_was_let_in_is_not_replaced() {
    let cluster = Cluster::start(ClusterOptions { through: few_descriptors(), ..ClusterOptions::default() });
    let mut client = cluster.client().await;
    let sweep = cluster.submit("{epochs: {value: 1}}").await;
    let mut watch =
        client.watch_sweep(proto::v1::WatchSweepRequest { sweep_id: sweep }).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    let _silent: Vec<_> = (0..50).map(|_| TcpStream::connect(cluster.coordinator.address).unwrap()).collect();
    assert_eq!(ls(&cluster, "http", &[]).0, Some(0));
    client.cancel_sweep(proto::v1::CancelSweepRequest { sweep_id: sweep, job: 0 }).await.unwrap();
    // On the same stream, to its end.
    while watch.message().await.unwrap().is_some() {}
}
