//! An assistant at `sweep mcp`, by the official client of its protocol.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use tests::{Cluster, chaos::light, dataset, program, skipped, tool};

#[test]
fn an_assistant_submits_watches_explains_and_stops_within_its_budget() {
    let Some(client) = tool("mcp").filter(|folder| folder.is_dir()) else {
        return skipped("the client of the Model Context Protocol is not installed; `make test` does");
    };
    let cluster = Cluster::start(light(20));
    let mut assistant = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/python/assistant.py"))
        .env("PYTHONPATH", client)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SWEEP_PROGRAM", program("sweep"))
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("SWEEP_CONFIG", "/dev/null")
        .env("DATASET", dataset())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut lines = BufReader::new(assistant.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("worker"));
    let _worker = cluster.worker("one");
    assert_eq!(lines.next().as_deref(), Some("done"));
    assert!(assistant.wait().unwrap().success());
}
