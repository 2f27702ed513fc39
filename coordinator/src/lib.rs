//! The coordinator and all user commands. `driver` owns the engine and commits its decisions to the store; `artifacts`
//! keeps files of weights; `api` has the use cases, and `rpc` serves them as gRPC; `web` as HTTP with a page; `cli` has the commands; `shapes` makes
//! JSON of messages; `admin` and `metrics` say how the coordinator does, and `traced` what traces have of it. Deciding, storing
//! and reporting are separate crates: `engine`, `store`, `report`, with `domain` below them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
mod admin;
pub mod api;
pub mod artifacts;
pub mod cli;
pub mod descriptors;
pub mod driver;
mod logged;
pub mod metrics;
mod reread;
pub mod rpc;
pub mod server;
mod shapes;
pub mod tls;
pub mod traced;
pub mod web;
