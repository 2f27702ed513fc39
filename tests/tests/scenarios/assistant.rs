//! An assistant at `sweep mcp`, by the official client of its protocol.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use tests::{Cluster, ClusterOptions, dataset, program, skipped, tool};

use crate::{
    commands::{refused, sweep},
    notebook::free_port,
};

/// From which seed on jobs diverge.
const DIVERGES_FROM: &str = "1000";

/// A cluster whose jobs take 20 ms for an epoch, and diverge where their seed is large.
fn cluster(page: &str) -> Cluster {
    let trainer = format!(
        "LIGHT_TRAINER_EPOCH_MS=20 LIGHT_TRAINER_DIVERGES_FROM={DIVERGES_FROM} exec '{}'",
        program("light-trainer").display()
    );
    Cluster::start(ClusterOptions {
        worker: vec!["--trainer".to_owned(), trainer],
        serve: vec!["--http".to_owned(), page.to_owned()],
        ..ClusterOptions::default()
    })
}

#[test]
fn an_assistant_submits_watches_explains_and_stops_within_its_budget() {
    let Some(client) = tool("mcp").filter(|folder| folder.is_dir()) else {
        return skipped("the client of the Model Context Protocol is not installed; `make test` does");
    };
    let page = format!("127.0.0.1:{}", free_port());
    let cluster = cluster(&page);
    let mut assistant = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/python/assistant.py"))
        .env("PYTHONPATH", client)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SWEEP_PROGRAM", program("sweep"))
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("SWEEP_CONFIG", "/dev/null")
        .env("PAGE", format!("http://{page}"))
        .env("DATASET", dataset())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut lines = BufReader::new(assistant.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("worker"));
    let _worker = cluster.worker("one");
    // The sweep of which each job diverged: a command that waits for it fails, too.
    let diverged = lines.next().unwrap();
    let wait = ["wait", diverged.as_str()];
    assert_eq!(sweep(&cluster, &wait).status.code(), Some(1));
    let said = refused(&cluster, &wait);
    assert!(said.contains("no job is done: 2 of 2 jobs diverged; see `sweep jobs "), "{said}");
    assert_eq!(lines.next().as_deref(), Some("done"));
    assert!(assistant.wait().unwrap().success());
}
