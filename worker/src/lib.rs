//! The worker daemon: `agent` keeps the session with the coordinator and supervises one trainer process a
//! slot, `data` turns pictures into packed data sets. The trainer is a crate and a program of its own; it shares
//! `data`, `program` and `protocol` with the daemon, and libtorch is in it alone.

pub mod agent;
pub mod data;
pub mod program;
pub mod protocol;

#[cfg(test)]
mod damage;
