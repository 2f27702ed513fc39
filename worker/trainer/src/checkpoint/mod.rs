//! Checkpoints: what is needed to continue a training, kept where another worker finds it. `format` is one checkpoint
//! as bytes, `store` is where they are kept, `policy` says when they are due.
//!
//! A job's checkpoints are stored under its key, named by their progress. The newest two are kept, in case one is torn;
//! all are removed once the job is done.

mod format;
mod policy;
mod store;

pub use format::{Refusal, Wanted, decode, encode, identity};
pub use policy::CheckpointPolicy;
pub use store::{CheckpointStore, OpenError};

#[cfg(test)]
use format::in_first_format;

#[cfg(test)]
mod tests;
