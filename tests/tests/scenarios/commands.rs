//! The user's commands, against a cluster of a test.

use std::process::{Command, Output};

use tests::{Cluster, program};

/// `sweep` with these arguments, and with no configuration but the coordinator's address.
pub(crate) fn sweep(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(program("sweep"))
        .args(arguments)
        .env("SWEEP_COORDINATOR", format!("http://{}", cluster.coordinator.address))
        .env("SWEEP_CONFIG", "/dev/null")
        .output()
        .unwrap()
}

/// What a command prints that must succeed.
pub(crate) fn printed(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = sweep(cluster, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says that must fail.
pub(crate) fn refused(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = sweep(cluster, arguments);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
