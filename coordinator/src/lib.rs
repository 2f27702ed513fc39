//! The coordinator and every command of the user. `driver` owns the engine and commits what it decides to the store; `artifacts` keeps
//! files of weights; `api` has the use cases, and `rpc` serves them as gRPC; `cli` is every command. What decides, keeps and reports are crates of
//! their own: `engine`, `store`, `report`, with `domain` below them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
pub mod artifacts;
pub mod cli;
pub mod descriptors;
pub mod driver;
pub mod rpc;
pub mod server;
mod told;
