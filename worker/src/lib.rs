//! The worker daemon: `agent` keeps the session with the coordinator and supervises one trainer process a
//! slot, `data` turns pictures into packed data sets. The trainer is a crate and a program of its own; it shares
//! `data` and `protocol` with the daemon, and libtorch is in it alone.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;
pub mod data;
pub mod protocol;

#[cfg(test)]
mod damage;
