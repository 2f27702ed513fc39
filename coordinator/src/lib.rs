//! The coordinator. `core` decides and is pure; `driver` owns it; `store` keeps what it decided; `artifacts` keeps files of weights; `rpc` brings
//! what the outside says to the driver; `report` turns stored results into files; `cli` is every command.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod artifacts;
pub mod cli;
pub mod core;
pub mod descriptors;
pub mod driver;
mod held_folder;
pub mod report;
pub mod rpc;
pub mod server;
pub mod store;
mod told;
