//! A worker, and what its GPUs do.

use serde::Serialize;
use utoipa::ToSchema;

/// A worker.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// `connected`, `draining`, `quarantined` or `disconnected`.
    pub state: String,
    /// Its machine.
    pub host: String,
    /// How many slots it has.
    pub slots: u64,
    /// How many of them are occupied.
    pub busy: u64,
    /// How many attempts occupy them.
    pub running: u64,
    /// Their devices, with spaces between them.
    pub devices: String,
    /// What its GPUs do; none where that is not known.
    pub gpus: Vec<Gpu>,
    /// The models that its trainer trains.
    pub models: Vec<String>,
    /// Whether it runs the programs of sweep files.
    pub programs: bool,
    /// Its program's version.
    pub version: String,
    /// When it sent its last message.
    pub last_seen: Option<String>,
    /// Why it is quarantined, leaves or has left; empty otherwise.
    pub reason: String,
}

/// What a GPU of a worker does at the moment, by whichever process.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Gpu {
    /// The device of the slots that it has, such as `cuda:0`.
    pub device: String,
    /// Its product's name.
    pub name: String,
    /// In how much of the last moments it computed, in percent; null where its driver does not say it.
    pub utilization_percent: Option<u32>,
    /// Memory in use, in bytes.
    pub memory_used_bytes: u64,
    /// All of its memory, in bytes.
    pub memory_total_bytes: u64,
}
