//! The daemon. `session` decides (pure); `shell` collects what happens and does what is decided; `connection` is
//! the stream to the coordinator; `spool` keeps unacknowledged events on disk, `lineage` whose it was; `slots` and `trainer_process` run
//! the trainers; `asked_weights` takes what they trained, and `weights` keeps it until `uploads` has handed it over; `devices`, `options`, `own_trainer` and `start` make a daemon of a command line.

mod asked_weights;
mod connection;
mod containment;
mod descriptors;
mod devices;
mod lineage;
mod lines;
mod options;
mod own_trainer;
pub mod session;
mod shell;
mod slots;
mod snapshots;
mod spool;
mod spool_format;
mod start;
mod trainer_process;
mod uploads;
mod weights;
pub mod wire;

pub use containment::contain;
pub use devices::{DeviceChoice, SlotCount, SlotCountError, list_devices};
pub use options::StartOptions;
pub use own_trainer::OwnTrainer;
pub use start::start;

#[cfg(test)]
mod fuzz;
