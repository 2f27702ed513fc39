//! Users' programs run by the real `sweep-worker program`, which is spoken to as an agent does.

mod checkpoints;
mod endings;
mod harness;
mod metrics;
mod troubles;
