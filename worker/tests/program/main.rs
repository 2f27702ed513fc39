//! Users' programs run by the real `sweep-worker program`, which is spoken to as an agent does.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "all of this is a test")]

mod checkpoints;
mod endings;
mod harness;
mod metrics;
mod pauses;
mod troubles;
