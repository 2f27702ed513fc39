//! The worker daemon: `agent` keeps the session with the coordinator and supervises one trainer process per slot. The
//! protocol with trainers is the crate `trainer-protocol`; pictures are the crate `dataset`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;

/// Corrupted bytes for tests of what is read.
#[cfg(test)]
#[path = "../dataset/src/corruption.rs"]
mod corruption;
/// What is logged, for tests of what is said.
#[cfg(test)]
mod heard;
