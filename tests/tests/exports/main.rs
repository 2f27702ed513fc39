//! What `sweep export` writes, read back by the programs that it is for, and compared with what the coordinator has.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

mod documents;
mod mlflow;
mod readers;
mod relay;
mod swept;
mod tools;
