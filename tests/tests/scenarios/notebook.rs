//! The notebook's client: a Python program of its own, against a coordinator with TLS and a token.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use tests::{Cluster, ClusterOptions, chaos::light, dataset, skipped, tool};

/// A port that is free, for a page that comes back at the same place after a restart.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn a_notebook_sees_and_does_what_the_page_does(pandas: Option<&Path>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write("cert.pem", &certified.cert.pem());
    let key = write("key.pem", &certified.signing_key.serialize_pem());
    let token = write("token", "secret\n");
    let http = format!("127.0.0.1:{}", free_port());
    let serve = ["--tls-cert", &certificate, "--tls-key", &key, "--token-file", &token, "--http", &http];
    let options = light(20);
    let trusts = ["--tls-ca", &certificate, "--token-file", &token].map(str::to_owned);
    let worker = options.worker.iter().cloned().chain(trusts).collect();
    let serve = serve.map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(ClusterOptions { serve, worker, ..options });
    let running = cluster.worker("one");
    running.until_connected();

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = [Some(root.join("../worker/python")), pandas.map(Path::to_owned)];
    let mut notebook = Command::new("python3")
        .arg(root.join("fixtures/python/notebook.py"))
        .env("PYTHONPATH", std::env::join_paths(paths.into_iter().flatten()).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PAGE", format!("https://localhost:{}", http.rsplit(':').next().unwrap()))
        .env("DATASET", dataset())
        .env("FOLDER", folder.path())
        .env("WITH_PANDAS", if pandas.is_some() { "1" } else { "0" })
        .env("SWEEP_TLS_CA", &certificate)
        .env("SWEEP_TOKEN_FILE", &token)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let said = BufReader::new(notebook.stdout.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("waiting"));
    cluster.replace_coordinator();
    assert_eq!(lines.next().as_deref(), Some("done"));
    assert!(notebook.wait().unwrap().success());
}

#[test]
fn a_notebook_needs_the_standard_library_alone() {
    a_notebook_sees_and_does_what_the_page_does(None);
}

#[test]
fn a_notebook_with_pandas_has_data_frames() {
    match tool("pandas").filter(|folder| folder.is_dir()) {
        Some(pandas) => a_notebook_sees_and_does_what_the_page_does(Some(&pandas)),
        None => skipped("pandas is not installed; `make test` does"),
    }
}
