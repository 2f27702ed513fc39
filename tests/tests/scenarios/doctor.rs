//! `sweep doctor` and `sweep-worker doctor`: what is right is said to be, and each thing that is made wrong here is found, with what to do.

use std::{fs, net::TcpListener, path::Path, process::Command};

use serde_json::Value;
use tests::{Cluster, ClusterOptions, Postgres, program, write};

/// The exit code, the checks by name with verdict, text and cure, and what was written to standard error.
fn doctor(name: &str, folder: &Path, arguments: &[&str]) -> (Option<i32>, Vec<[String; 4]>, String) {
    doctor_in(&[], name, folder, arguments)
}

/// The same with these variables in its environment.
fn doctor_in(
    variables: &[(&str, &str)],
    name: &str,
    folder: &Path,
    arguments: &[&str],
) -> (Option<i32>, Vec<[String; 4]>, String) {
    let output = Command::new(program(name))
        .envs(variables.iter().copied())
        .args(["doctor", "-o", "json"])
        .args(arguments)
        .env("SWEEP_CONFIG", "/dev/null")
        .env("HOME", folder)
        .current_dir(folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks: Vec<[String; 4]> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| ["name", "verdict", "says", "do"].map(|key| text(check, key)))
        .collect();
    let failed = checks.iter().any(|[_, verdict, ..]| verdict == "failed");
    assert_eq!(report["ok"], !failed);
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{checks:?} {told}");
    (output.status.code(), checks, told)
}

/// The check of that name has this verdict, and its text and cure have these parts.
fn is(checks: &[[String; 4]], name: &str, verdict: &str, part: &str, cure: &str) {
    let Some([_, found, says, todo]) = checks.iter().find(|[one, ..]| one == name) else {
        panic!("no check {name}: {checks:?}");
    };
    assert_eq!(found, verdict, "{name}: {says}; {todo}");
    assert!(says.contains(part) && todo.contains(cure), "{name}: {says}; {todo}");
}

/// The same where several checks have the name: one of them is so.
fn one_is(checks: &[[String; 4]], name: &str, verdict: &str, part: &str) {
    let so = |[one, found, says, _]: &[String; 4]| one == name && found == verdict && says.contains(part);
    assert!(checks.iter().any(so), "no {verdict} {name} with {part}: {checks:?}");
}

#[test]
fn a_set_up_that_works_is_said_to_work() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", "secret\n");
    let serve = ["--token-file".to_owned(), token.clone()].to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let url = format!("http://{}", cluster.coordinator.address);
    let store = format!("sqlite:{}", cluster.folder.path().join("sweep.db").display());
    let weights = folder.path().join("weights").display().to_string();
    fs::create_dir(&weights).unwrap();
    let own = ["--coordinator", &url, "--token-file", &token, "--store", &store, "--artifacts", &weights];
    let (code, checks, _) = doctor("sweep", folder.path(), &own);
    assert_eq!(code, Some(0), "{checks:?}");
    is(&checks, "programs", "ok", "sweep-worker and sweep-trainer", "");
    is(&checks, "store", "ok", "in use by a coordinator", "");
    is(&checks, "artifacts", "ok", "can be written and read", "");
    is(&checks, "coordinator", "ok", "lets this user in as admin, in the role admin", "");
    is(&checks, "clock", "ok", "agrees", "");
    assert_eq!(fs::read_dir(&weights).unwrap().count(), 0, "nothing is left behind");
    let missing = folder.path().join("not-mounted/weights");
    let (code, checks, _) = doctor("sweep", folder.path(), &["--artifacts", missing.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{checks:?}");
    is(&checks, "artifacts", "warning", "is not there", "not mounted");
    assert!(!folder.path().join("not-mounted").exists(), "nothing is made by looking");
    let data = tests::dataset().display().to_string();
    let spool = folder.path().join("spool").display().to_string();
    let more = ["--coordinator", &url, "--token-file", &token, "--dataset", &data, "--device", "cpu"];
    let (code, checks, _) =
        doctor("sweep-worker", folder.path(), &[&more[..], &["--name", "one", "--spool", &spool]].concat());
    assert_eq!(code, Some(0), "{checks:?}");
    is(&checks, "libtorch", "ok", "2.11.0", "");
    is(&checks, "devices", "ok", "the first on cpu", "");
    is(&checks, "spool", "ok", "are free", "");
    is(&checks, "data set", "ok", "images in", "");
    is(&checks, "coordinator", "ok", "lets this worker in as admin, in the role admin", "");
    is(&checks, "clock", "ok", "agrees", "");
    assert!(!Path::new(&spool).exists(), "nothing is made");
}

#[test]
fn what_is_wrong_with_a_coordinator_is_found_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (token, wrong) =
        (write(folder.path(), "token", "secret\n"), write(folder.path(), "wrong", "guess\n"));
    let serve = ["--token-file".to_owned(), token].to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let url = format!("http://{}", cluster.coordinator.address);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let no_database =
        write(folder.path(), "no.db", &"no database, but long enough to look like one ".repeat(99));
    let no_database = format!("sqlite:{no_database}");
    let (_, checks, told) = doctor(
        "sweep",
        folder.path(),
        &[
            "--coordinator",
            &url,
            "--token-file",
            &wrong,
            "--listen",
            &taken,
            "--store",
            &no_database,
            "--artifacts",
            "ftp://x/y",
        ],
    );
    is(&checks, "coordinator", "failed", "token", "--token-file");
    is(&checks, "port of --listen", "failed", &taken, "--listen");
    is(&checks, "store", "failed", "no.db", "restore it from a backup");
    is(&checks, "artifacts", "failed", "ftp", "--artifacts");
    assert!(told.contains("not as it has to be"), "{told}");
    let nowhere = "http://127.0.0.1:1";
    let (_, checks, _) =
        doctor("sweep", folder.path(), &["--coordinator", nowhere, "--store", "sqlite:/proc/self/sweep.db"]);
    is(&checks, "coordinator", "failed", "no one answers", "sweep serve");
    is(&checks, "store's folder", "failed", "/proc/self", "--store");
    let missing = folder.path().join("missing").display().to_string();
    let (_, checks, _) = doctor("sweep", folder.path(), &["--coordinator", &url, "--token-file", &missing]);
    is(&checks, "coordinator", "failed", "missing", "check --token-file");
    let (_, checks, _) = doctor("sweep", folder.path(), &["--coordinator", "https://127.0.0.1:1"]);
    is(&checks, "coordinator", "failed", "no one answers", "sweep serve");
}

/// The name and the checks of each program that asks a coordinator.
fn both(folder: &Path, arguments: &[&str]) -> Vec<(&'static str, Vec<[String; 4]>)> {
    let worker = [arguments, &["--name", "one", "--spool", "spool", "--device", "cpu"]].concat();
    vec![
        ("sweep", doctor("sweep", folder, arguments).1),
        ("sweep-worker", doctor("sweep-worker", folder, &worker).1),
    ]
}

#[test]
fn another_role_another_port_and_another_scheme_are_found_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (token, viewer) =
        (write(folder.path(), "token", "secret\n"), write(folder.path(), "viewer", "looks\n"));
    let certs = folder.path().join("certs").display().to_string();
    let made = Command::new(program("sweep")).args(["certs", "init", &certs, "--host", "localhost"]).output();
    assert!(made.unwrap().status.success());
    let serve = |tls: bool| {
        let mut serve =
            ["--token-file", &token, "--viewer-token-file", &viewer, "--http", "127.0.0.1:0"].to_vec();
        serve.extend(["--admin", "127.0.0.1:0"]);
        if tls {
            serve.extend(["--authority", &certs]);
        }
        let serve = serve.into_iter().map(str::to_owned).collect();
        Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() })
    };
    let (plain, secure) = (serve(false), serve(true));
    let ca = format!("{certs}/ca.pem");
    let grpc =
        |cluster: &Cluster, scheme| format!("{scheme}://localhost:{}", cluster.coordinator.address.port());
    let (plain_port, secure_port) = (plain.coordinator.http().port(), secure.coordinator.http().port());
    let page = |port: u16, scheme| format!("{scheme}://localhost:{port}");
    // Who may only look is no worker.
    let looks = ["--coordinator", &grpc(&plain, "http"), "--token-file", &viewer];
    let told = both(folder.path(), &looks);
    is(&told[0].1, "coordinator", "ok", "lets this user in as viewer, in the role viewer", "");
    is(&told[1].1, "coordinator", "failed", "for the role viewer", "another token");
    let admin = plain.coordinator.admin();
    let probes = |scheme| format!("{scheme}://{admin}");
    let wrong = [
        (page(plain_port, "http"), false, "is for its page"),
        (page(secure_port, "https"), true, "that of its page"),
        (grpc(&plain, "https"), true, "name the coordinator with http://"),
        (page(plain_port, "https"), true, "is for its page"),
        (probes("https"), true, "this port is for probes and metrics"),
        (probes("http"), false, "this port is for probes and metrics"),
        (grpc(&secure, "http"), false, "name it with https://"),
    ];
    for (url, trusts, expected) in wrong {
        let mut arguments = vec!["--coordinator", url.as_str(), "--token-file", &token];
        if trusts {
            arguments.extend(["--tls-ca", &ca]);
        }
        for (name, checks) in both(folder.path(), &arguments) {
            let [_, verdict, says, todo] = checks.iter().find(|[one, ..]| one == "coordinator").unwrap();
            let told = format!("{says}; {todo}");
            assert!(verdict == "failed" && told.contains(expected), "{name} {url}: {told}");
            // One piece of advice, and none that leads to the wrong port.
            assert!(!todo.contains("; ") && !told.contains("no one answers"), "{name} {url}: {told}");
            assert!(!expected.contains("this port") || !told.contains("name the coordinator with"), "{told}");
        }
    }
    // Without the authority's certificate, and by a name that the certificate has not.
    for (url, trusts, expected) in [
        (grpc(&secure, "https"), false, "--tls-ca"),
        (format!("https://127.0.0.1:{}", secure.coordinator.address.port()), true, "--host NAME"),
    ] {
        let mut arguments = vec!["--coordinator", url.as_str(), "--token-file", &token];
        let other = write(
            folder.path(),
            "other.pem",
            &rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem(),
        );
        arguments.extend(["--tls-ca", if trusts { &ca } else { &other }]);
        for (name, checks) in both(folder.path(), &arguments) {
            let [_, verdict, says, todo] = checks.iter().find(|[one, ..]| one == "coordinator").unwrap();
            assert!(verdict == "failed" && todo.contains(expected), "{name} {url}: {says}; {todo}");
        }
    }
    let open = ["--coordinator", "http://127.0.0.1:1", "--admin", "0.0.0.0:0"];
    for (_, checks) in both(folder.path(), &open) {
        is(&checks, "probes", "warning", "plain text", "--admin");
    }
}

#[test]
fn a_worker_that_would_join_is_told_whether_it_could() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", "secret\n");
    let certs = folder.path().join("certs").display().to_string();
    let made = Command::new(program("sweep")).args(["certs", "init", &certs, "--host", "localhost"]).output();
    assert!(made.unwrap().status.success());
    let serve = ["--token-file", &token, "--authority", &certs].map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let url = format!("https://localhost:{}", cluster.coordinator.address.port());
    let ca = format!("{certs}/ca.pem");
    let mut create = Command::new(program("sweep"));
    create.args(["--coordinator", &url, "--tls-ca", &ca, "--token-file", &token, "token", "create"]);
    let output = create.args(["--role", "worker", "--name", "farm", "--join"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let join = write(folder.path(), "join", &text);
    let (hash, fallen) = (text.trim().rsplit('.').next().unwrap(), "0".repeat(64));
    let other = write(folder.path(), "other", &text.replace(hash, &fallen));
    let checks_in = |variables: &[(&str, &str)], join: &str, url: &str| {
        let own = [
            "--coordinator",
            url,
            "--join-file",
            join,
            "--name",
            "one",
            "--spool",
            "spool",
            "--device",
            "cpu",
        ];
        doctor_in(variables, "sweep-worker", folder.path(), &own).1
    };
    let checks = |join: &str, url: &str| checks_in(&[], join, url);
    is(&checks(&join, &url), "coordinator", "ok", "gives this worker a certificate", "");
    // What a shell has for other commands gives way to the command line.
    let exported = [("SWEEP_TOKEN_FILE", token.as_str()), ("SWEEP_TLS_CA", ca.as_str())];
    is(&checks_in(&exported, &join, &url), "coordinator", "ok", "gives this worker a certificate", "");
    let both = [exported[0], ("SWEEP_JOIN_FILE", join.as_str())];
    let mut refused = Command::new(program("sweep-worker"));
    let refused = refused.args(["start", "--coordinator", &url]).envs(both).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(2) && told.contains("both SWEEP_JOIN_FILE and SWEEP_TOKEN_FILE"),
        "{told}"
    );
    is(&checks(&other, &url), "coordinator", "failed", "another authority", "--join");
    // Where the address is wrong, no other join token helps.
    let plain = checks(&join, &url.replace("https", "http"));
    is(&plain, "coordinator", "failed", "joins by TLS alone", "https://HOST:PORT");
    let nowhere = checks(&join, "https://127.0.0.1:1");
    is(&nowhere, "coordinator", "failed", "cannot join", "correct --coordinator");
    assert!(!folder.path().join("spool").exists(), "nothing is kept");
}

#[test]
fn what_is_wrong_with_a_worker_is_found_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = write(folder.path(), "wrong", "guess\n");
    let token = write(folder.path(), "token", "secret\n");
    let file = write(folder.path(), "file", "");
    let serve = ["--token-file".to_owned(), token].to_vec();
    let cluster = Cluster::start(ClusterOptions { serve, ..ClusterOptions::default() });
    let url = format!("http://{},127.0.0.1:1", cluster.coordinator.address);
    let spool = format!("{file}/spool");
    let (_, checks, _) = doctor(
        "sweep-worker",
        folder.path(),
        &[
            "--coordinator",
            &url,
            "--token-file",
            &wrong,
            "--name",
            "one",
            "--spool",
            &spool,
            "--cache-dir",
            "/proc/self",
            "--checkpoints",
            &spool,
            "--dataset",
            "nowhere",
            "--device",
            "cpu",
        ],
    );
    is(&checks, "coordinator", "failed", "token", "--token-file");
    let coordinators: Vec<_> = checks.iter().filter(|[name, ..]| name == "coordinator").collect();
    assert!(coordinators.len() == 2 && coordinators[1][2].contains("does not answer"), "{coordinators:?}");
    is(&checks, "spool", "failed", "cannot be written", "--spool");
    is(&checks, "cache", "failed", "/proc/self", "--cache-dir");
    is(&checks, "checkpoints", "failed", "cannot be written", "--checkpoints");
    is(&checks, "data set", "failed", "nowhere", "--data-root");
    // Of a trainer whose libtorch is away.
    let alone = folder.path().join("sweep-worker");
    fs::copy(program("sweep-worker"), &alone).unwrap();
    let output = Command::new(&alone)
        .args(["doctor", "--device", "cpu", "--coordinator", "127.0.0.1:1"])
        .env("PATH", "/nowhere")
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    let line = told.lines().find(|line| line.contains("libtorch")).unwrap();
    assert!(line.starts_with("failed") && line.contains("LD_LIBRARY_PATH"), "{told}");
}

#[tokio::test]
async fn of_two_coordinators_each_is_asked_and_one_leads() {
    let Some(server) = Postgres::shared() else { return };
    let store = server.database();
    let mut cluster =
        Cluster::start(ClusterOptions { store: Some(store.clone()), ..ClusterOptions::default() });
    let other = cluster.stand_by();
    other.until_it_leads(false).await;
    let folder = tempfile::tempdir().unwrap();
    let both = format!("http://{},http://{}", other.address, cluster.coordinator.address);
    let (code, checks, _) = doctor("sweep", folder.path(), &["--coordinator", &both, "--store", &store]);
    assert_eq!(code, Some(0), "{checks:?}");
    is(&checks, "coordinator", "ok", "stands by", "");
    is(&checks, "store", "ok", "the last to lead was the one at", "");
    let alone = format!("http://{0},http://{0}", other.address);
    let (_, checks, _) = doctor("sweep", folder.path(), &["--coordinator", &alone]);
    // The one that leads is asked, too.
    let leader = format!("http://{}", cluster.coordinator.address);
    is(&checks, "coordinator", "ok", &format!("stands by for the one at {leader}"), "");
    assert!(!checks.iter().any(|[name, ..]| name == "leader"), "{checks:?}");
}

#[tokio::test]
async fn of_a_standby_alone_the_one_that_leads_says_whether_the_token_is_right() {
    let Some(server) = Postgres::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let right = write(folder.path(), "right", "secret\n");
    let wrong = write(folder.path(), "wrong", "nonsense\n");
    let serve = ["--token-file".to_owned(), right.clone()].to_vec();
    let options = ClusterOptions { store: Some(server.database()), serve, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options);
    let other = cluster.stand_by();
    other.until_it_leads(false).await;
    let standby = format!("http://{}", other.address);
    let leader = format!("http://{}", cluster.coordinator.address);
    let with =
        |token: &str| doctor("sweep", folder.path(), &["--coordinator", &standby, "--token-file", token]);
    let (code, checks, _) = with(&right);
    assert_eq!(code, Some(0), "{checks:?}");
    is(&checks, "coordinator", "ok", &format!("{standby} stands by for the one at {leader}"), "");
    one_is(&checks, "coordinator", "ok", &format!("{leader} leads"));
    let (code, checks, _) = with(&wrong);
    assert_eq!(code, Some(1), "{checks:?}");
    one_is(&checks, "coordinator", "failed", "the token is wrong");
}
