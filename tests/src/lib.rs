//! The harness of the scenarios: real coordinators and workers as processes on loopback, killed where a scenario says
//! so. Tests wait for their output, never for the clock.

pub mod chaos;
mod cluster;
mod dataset;
mod postgres;
pub mod power_cut;
mod process;
mod random;
mod s3;
mod watch;

pub use self::{
    cluster::{Client, Cluster, ClusterOptions, Coordinator, Worker, source},
    dataset::dataset,
    postgres::Postgres,
    process::{
        children, descendants, freeze, kill, program, send, skipped, terminate, thaw, tool, wait_for_end,
    },
    random::Random,
    s3::S3,
    watch::Watch,
};

/// Longest wait for anything: only a failure takes it.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
