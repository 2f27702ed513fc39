//! What an agent and a trainer say to each other: one JSON object a line, on the trainer's standard input and
//! output. Standard error is the trainer's log. A trainer ends when its standard input does, so that no
//! trainer outlives its agent. Any program that speaks this can be a trainer.
//!
//! Revision 1 had four metrics as fields of their own; lines of it are still understood. From revision 3 on, trainers pause
//! by themselves; those of revision 2 are asked to stop. From revision 4 on, they keep a checkpoint when asked, and go on.
#![warn(missing_docs)]

mod answer;
mod epoch;
mod metrics;
mod request;

/// What a trainer found at [`DatasetSpec::path`].
pub use terms::{DatasetSummary, LeftOut};

pub use self::{
    answer::{FromTrainer, TrainerOutcome},
    epoch::EpochLine,
    metrics::{METRICS_MAX, Metrics},
    request::{ArgumentStyle, CheckpointPlan, DatasetSpec, MetricsPlan, Program, ToTrainer, TrainJob},
};

/// Revision of this protocol, sent in `Ready`.
pub const TRAINER_PROTOCOL_VERSION: u32 = 4;

/// The first revision whose trainers pause by themselves.
pub const TRAINER_PROTOCOL_PAUSES: u32 = 3;

/// The first revision whose trainers keep a checkpoint when asked to, and go on.
pub const TRAINER_PROTOCOL_KEEPS: u32 = 4;

/// [`CheckpointPlan::every_epochs`] of jobs whose checkpoints are kept only where they are asked for, or where the job pauses or
/// stops: more epochs than any job has.
pub const ONLY_WHEN_ASKED: u32 = u32::MAX;

/// The file in the folder of a job's checkpoints from which the worker knows what it has brought there; who removes the checkpoints
/// removes it, too.
pub const BROUGHT: &str = ".brought";

/// Oldest revision that is understood.
pub const TRAINER_PROTOCOL_MIN: u32 = 1;

/// Longest line that either side accepts, in bytes; a trainer that writes longer ones is broken.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Most jobs of one request, whatever a worker's flags say: far below the longest line.
pub const PACK_SIZE_MAX: u16 = 256;

#[cfg(test)]
mod tests;
