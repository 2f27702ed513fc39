//! The harness of the scenarios: real coordinators and workers as processes on loopback, killed where a scenario says
//! so. Tests wait for their output, never for the clock.

mod admin;
pub mod chaos;
mod cluster;
mod collector;
mod dataset;
mod postgres;
pub mod power_cut;
mod process;
mod random;
mod receiver;
mod s3;
mod watch;

pub use self::{
    admin::{Exported, get},
    cluster::{Client, Cluster, ClusterOptions, Coordinator, Worker, jobs_of, source},
    collector::{Collector, Sent, Takes},
    dataset::dataset,
    postgres::Postgres,
    process::{
        Daemon, children, descendants, freeze, kill, program, send, skipped, terminate, thaw, tool,
        wait_for_end, write,
    },
    random::Random,
    receiver::{HttpReceiver, Post},
    s3::S3,
    watch::Watch,
};

/// The five metrics of an epoch of the model that `wide-trainer` trains, with the parameters that `number` gives. Exact in
/// binary for the parameters of the tests.
pub fn wide_metrics(epoch: u64, number: impl Fn(&str) -> f64) -> [f64; 5] {
    #[allow(clippy::cast_precision_loss)] // Some epochs.
    let epoch = epoch as f64;
    let (rate, width) = (number("rate"), number("width"));
    [
        rate / 2.0_f64.powf(epoch),
        epoch / 32.0,
        rate * width * epoch,
        number("decay") * rate,
        width / number("window"),
    ]
}

/// Longest wait for anything: only a failure takes it.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
