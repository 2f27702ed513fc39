//! The worker daemon: `agent` keeps the session with the coordinator and supervises one trainer process a slot. What it says
//! to trainers is the crate `trainer-protocol`, what it does with pictures the crate `dataset`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;

/// Corruption for the tests of what is read.
#[cfg(test)]
#[path = "../dataset/src/corruption.rs"]
mod corruption;
