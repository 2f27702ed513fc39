//! Checkpoints: what it takes to go on with a training, kept where another worker finds it. `format` is one
//! checkpoint as bytes, `store` where they lie, `policy` when they are due.
//!
//! A job's checkpoints lie under its key, named by how far they are. The newest two are kept, so that one which is
//! torn leaves the one before; all are removed once the job is done.

mod format;
mod policy;
mod store;

pub use format::{Refusal, decode, encode, identity};
pub use policy::CheckpointPolicy;
pub use store::{CheckpointStore, OpenError};

#[cfg(test)]
use format::in_first_format;

#[cfg(test)]
mod tests;
