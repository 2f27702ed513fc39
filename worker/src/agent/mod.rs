//! The daemon. `session` decides (pure); `shell` collects events and carries out decisions; `connection` is the stream to
//! the coordinator at a `target`, for which `membership` gets certificates, or where its `turns` say that the leader is; `spool` keeps unacknowledged events on disk, `lineage` remembers whose it was,
//! and `unfinished` what it trained; `slots` and `trainer_process` run the trainers, `cgroups` in control groups of their own where it can; `asked_weights` takes the weights they trained, and `weights` keeps
//! them until `uploads` has delivered them; `handovers` brings checkpoints to the coordinator when the worker leaves, which `notice`
//! may ask for, and back; `devices`, `options`, `own_trainer` and `start` turn a command line into a
//! daemon; `gpus` says what the GPUs do; `describe` asks a trainer what it trains; `remote` makes calls to the coordinator over a separate connection;
//! `metrics` counts, `traced` makes spans, and `admin` answers probes and scrapers.

mod admin;
mod asked_weights;
mod cgroups;
mod connection;
mod containment;
mod describe;
mod descriptors;
mod devices;
mod doctor;
mod gpus;
mod handovers;
mod kept_checkpoints;
mod lineage;
mod lines;
mod membership;
mod metrics;
mod notice;
mod options;
mod own_trainer;
mod remote;
pub mod session;
mod shell;
mod slots;
mod snapshots;
mod spool;
mod spool_format;
mod start;
mod target;
mod traced;
mod trainer_process;
mod turns;
mod unfinished;
mod uploads;
mod weights;
pub mod wire;

pub use containment::contain;
pub use describe::describe;
pub use devices::{SlotCount, SlotCountError, list_devices};
pub use doctor::{DoctorOptions, doctor};
pub use options::StartOptions;
pub use own_trainer::OwnTrainer;
pub use start::start;

#[cfg(test)]
mod fuzz;
