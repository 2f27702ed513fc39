//! Who may call: roles, owners, revoked tokens, and certificates that are replaced while everything runs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use proto::v1;
use tests::{Client, Cluster, ClusterOptions, Postgres, program, write};
use tonic::{Code, Request};

mod calls;
mod enrolment;
mod quotas;
mod readme;
mod unread;

/// Runs `sweep` against the cluster; its exit code and what it wrote.
fn sweep(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", cluster.coordinator.address);
    run(Command::new(program("sweep")).args(["--coordinator", &url]).args(arguments))
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.env("SWEEP_CONFIG", "/dev/null").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// A coordinator with an admin's token, whose file's name comes with it.
fn guarded(worker: &[&str]) -> (Cluster, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let admin = write(folder.path(), "admin", "all-of-it\n");
    let serve = vec!["--token-file".to_owned(), admin.clone()];
    let worker = worker.iter().map(|argument| (*argument).to_owned()).collect();
    let cluster = Cluster::start(ClusterOptions { serve, worker, ..ClusterOptions::default() });
    (cluster, folder, admin)
}

/// Makes a token and puts it into a file.
fn create(cluster: &Cluster, (folder, admin): (&Path, &str), role: &str, name: &str) -> (String, String) {
    let url = format!("http://{}", cluster.coordinator.address);
    let mut command = Command::new(program("sweep"));
    command.args(["--coordinator", &url, "--token-file", admin, "token", "create"]);
    let output = command.args(["--role", role, "--name", name]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let file = write(folder, name, &token);
    (token, file)
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn a_sweep_is_its_owners_and_others_only_look() {
    let (cluster, folder, admin) = guarded(&[]);
    let place = (folder.path(), admin.as_str());
    let (_, ann) = create(&cluster, place, "submitter", "ann");
    let (_, ben) = create(&cluster, place, "submitter", "ben");
    let (_, eve) = create(&cluster, place, "viewer", "eve");
    let file = write(folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 1}}").text);
    let of =
        |token: &str, arguments: &[&str]| sweep(&cluster, &[&["--token-file", token], arguments].concat());
    assert_eq!(of(&ann, &["submit", &file]).0, Some(0));
    let refused = of(&eve, &["submit", &file]);
    assert!(refused.0 == Some(1) && refused.1.contains("for the role viewer"), "{refused:?}");
    let listed = of(&eve, &["ls"]);
    assert!(listed.1.contains("OWNER") && listed.1.contains("ann"), "{listed:?}");
    let shown = of(&ben, &["show", "1", "-o", "json"]);
    assert!(shown.1.contains("\"owner\": \"ann\""), "{shown:?}");
    for change in [&["pause", "1"][..], &["set", "1", "name=mine"], &["cancel", "1", "--yes"]] {
        let refused = of(&ben, change);
        assert!(refused.0 == Some(1) && refused.1.contains("belongs to ann"), "{change:?} {refused:?}");
    }
    assert_eq!(of(&ann, &["pause", "1"]).0, Some(0));
    assert_eq!(of(&admin, &["resume", "1"]).0, Some(0));
    // Another token of the same name owns the same sweeps.
    let (_, again) = create(&cluster, place, "submitter", "ann");
    assert_eq!(of(&again, &["cancel", "1", "--yes"]).0, Some(0));
    let log = cluster.coordinator.log();
    for told in [
        "\"who\":\"ann\",\"from\":\"127.0.0.1:",
        "\"what\":\"pause sweep 1\",\"result\":\"done\"",
        "\"what\":\"pause sweep 1\",\"result\":\"sweep 1 belongs to ann",
    ] {
        assert!(
            log.lines().any(|line| line.contains("\"target\":\"audit\"") && line.contains(told)),
            "{told}: {log}"
        );
    }
    assert!(!log.contains("all-of-it"), "no token is in a log");
}

#[tokio::test]
async fn who_is_revoked_is_cut_off_where_they_are_and_does_not_come_back() {
    let (mut cluster, folder, admin) = guarded(&[]);
    let place = (folder.path(), admin.as_str());
    let (token, _) = create(&cluster, place, "worker", "farm");
    let (viewer, viewer_file) = create(&cluster, place, "viewer", "eve");
    let (other, _) = create(&cluster, place, "viewer", "ida");
    cluster.workers_get(vec!["--token-file".to_owned(), folder.path().join("farm").display().to_string()]);
    let worker = cluster.worker("one");
    worker.until_connected();
    let file = write(
        folder.path(),
        "sweep.yaml",
        &tests::source("{seed: {values: [1, 2]}, epochs: {value: 999}}").text,
    );
    assert_eq!(sweep(&cluster, &["--token-file", &admin, "submit", &file]).0, Some(0));
    let mut client = Client::new(cluster.channel().await);
    let watch = |token: &str| with_token(v1::WatchSweepRequest { sweep_id: 1 }, token);
    let mut watched = client.watch_sweep(watch(&viewer)).await.unwrap().into_inner();
    let mut others = client.watch_sweep(watch(&other)).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    for token in [&token, &viewer] {
        let id = token.split('.').next().unwrap();
        assert_eq!(sweep(&cluster, &["--token-file", &admin, "token", "revoke", id]).0, Some(0));
    }
    let ended = loop {
        match watched.message().await {
            Ok(Some(_)) => {}
            ended => break ended.unwrap_err(),
        }
    };
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert!(others.message().await.unwrap().is_some(), "who was not revoked stays");
    worker.until_it_says("revoked");
    let refused = sweep(&cluster, &["--token-file", &viewer_file, "ls"]);
    assert!(refused.0 == Some(1) && refused.1.contains("the token was revoked"), "{refused:?}");
    // Also at a coordinator that has only read of it.
    cluster.replace_coordinator();
    let refused = sweep(&cluster, &["--token-file", &viewer_file, "ls"]);
    assert!(refused.0 == Some(1) && refused.1.contains("the token was revoked"), "{refused:?}");
    let listed = sweep(&cluster, &["--token-file", &admin, "token", "list", "-o", "csv"]);
    assert!(listed.1.lines().count() == 4 && !listed.1.contains(&token), "{listed:?}");
}

#[tokio::test]
async fn a_coordinator_that_asks_no_one_makes_no_tokens_and_its_sweeps_have_no_owner() {
    let cluster = Cluster::start(ClusterOptions::default());
    let refused = sweep(&cluster, &["token", "create", "--role", "viewer", "--name", "eve"]);
    assert!(refused.0 == Some(1) && refused.1.contains("start it with --token-file"), "{refused:?}");
    cluster.submit("{epochs: {value: 1}}").await;
    let listed = sweep(&cluster, &["ls"]);
    assert!(listed.0 == Some(0) && !listed.1.contains("OWNER"), "{listed:?}");
    assert_eq!(sweep(&cluster, &["pause", "1"]).0, Some(0));
}

#[test]
fn other_machines_are_not_served_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", "secret\n");
    let mut command = Command::new(program("sweep"));
    command.args(["serve", "--listen", "0.0.0.0:0", "--token-file", &token]).current_dir(folder.path());
    let (code, text) = run(&mut command);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--tls-cert") && text.contains("--plain-text"), "{text}");
}

/// Certificates in folders of their own, of which a link names one, as Kubernetes does it.
struct Mounted(PathBuf);

impl Mounted {
    fn folder(&self, version: &str) -> PathBuf {
        let folder = self.0.join(version);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Makes a certificate that is its own authority.
    fn make(&self, version: &str) -> String {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = self.folder(version);
        write(&folder, "tls.key", &made.signing_key.serialize_pem());
        write(&folder, "tls.crt", &made.cert.pem())
    }

    fn swap(&self, version: &str) {
        let new = self.0.join("new");
        symlink(self.0.join(version), &new).unwrap();
        fs::rename(new, self.0.join("data")).unwrap();
    }

    fn mounted(&self, name: &str) -> String {
        self.0.join("data").join(name).display().to_string()
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_under_a_running_coordinator_and_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Mounted(folder.path().to_owned());
    let first = mounted.make("first");
    mounted.swap("first");
    let serve = ["--tls-cert", &mounted.mounted("tls.crt"), "--tls-key", &mounted.mounted("tls.key")];
    let serve = serve.map(str::to_owned).to_vec();
    let worker = ["--tls-ca", &mounted.mounted("tls.crt")].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(ClusterOptions { serve, worker, ..ClusterOptions::default() });
    let url = format!("https://localhost:{}", cluster.coordinator.address.port());
    let trusting = |ca: &str, arguments: &[&str]| {
        run(Command::new(program("sweep")).args(["--coordinator", &url, "--tls-ca", ca]).args(arguments))
    };
    let worker = cluster.worker("one");
    worker.until_connected();
    // A key that does not belong to the certificate changes nothing.
    let broken = mounted.folder("broken");
    fs::copy(&first, broken.join("tls.crt")).unwrap();
    fs::copy(mounted.folder("first").join("tls.key"), broken.join("tls.key")).unwrap();
    write(&broken, "tls.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    mounted.swap("broken");
    cluster.coordinator.until_it_has_said("the one from before stays in use");
    assert_eq!(trusting(&first, &["ls"]).0, Some(0));
    let second = mounted.make("second");
    mounted.swap("second");
    cluster.coordinator.until_it_has_said("the certificate was read again");
    assert_eq!(trusting(&second, &["ls"]).0, Some(0), "new connections have the new one");
    assert_eq!(trusting(&first, &["ls"]).0, Some(3));
    // The worker's connection lives on.
    let file = write(folder.path(), "sweep.yaml", &tests::source("{epochs: {value: 1}}").text);
    for arguments in [&["submit", file.as_str()][..], &["wait", "1", "--timeout", "2m"]] {
        assert_eq!(trusting(&second, arguments).0, Some(0));
    }
    assert!(!cluster.coordinator.log().contains("worker one lost"));
    // And its next one trusts what the file has by now.
    cluster.replace_coordinator();
    for arguments in [&["submit", file.as_str()][..], &["wait", "2", "--timeout", "2m"]] {
        let done = trusting(&second, arguments);
        assert_eq!(done.0, Some(0), "{done:?}");
    }
}

#[tokio::test]
async fn a_token_is_replaced_under_a_running_coordinator() {
    let (cluster, folder, admin) = guarded(&[]);
    let old = write(folder.path(), "old", "all-of-it");
    write(folder.path(), "admin", "another\n");
    cluster.coordinator.until_it_has_said("the token was read again");
    assert_eq!(sweep(&cluster, &["--token-file", &old, "ls"]).0, Some(1));
    assert_eq!(sweep(&cluster, &["--token-file", &admin, "ls"]).0, Some(0));
}
