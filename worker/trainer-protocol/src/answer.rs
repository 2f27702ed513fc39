//! What a trainer says to an agent.

use serde::{Deserialize, Serialize};
use terms::{DatasetSummary, EndDetails, manifest::Manifest};

use crate::epoch::EpochLine;

/// Trainer to agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromTrainer {
    /// First of all, once.
    Ready {
        /// From [`TRAINER_PROTOCOL_MIN`](crate::TRAINER_PROTOCOL_MIN) to
        /// [`TRAINER_PROTOCOL_VERSION`](crate::TRAINER_PROTOCOL_VERSION).
        protocol: u32,
        /// Device as libtorch names it: `cpu`, `cuda:0`.
        device: String,
        /// Manifests of what it can train; absent of one that trains `simple_cnn`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trainables: Vec<Manifest>,
    },
    /// The data set is being prepared; a hint.
    Preparing {
        /// Share that is done, in [0, 1].
        fraction: f64,
        /// What it does at the moment, for people: `listing its files, 1200 so far`; may be left out.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doing: String,
    },
    /// The data set is ready and training of this job begins.
    Started {
        /// The job.
        id: String,
        /// What was found; may be left out where there is no data set.
        #[serde(default)]
        dataset: DatasetSummary,
        /// How many epochs an earlier attempt trained; they are reported again, with their original numbers.
        #[serde(default)]
        resumed_epochs: u32,
    },
    /// How far the epoch is; a hint, at most a few a second.
    Progress {
        /// The job.
        id: String,
        /// The epoch in training, from 1.
        epoch: u32,
        /// Share of its batches that is done, in [0, 1].
        fraction: f64,
        /// Its batches are done, and validation runs; may be left out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        validating: bool,
    },
    /// What is needed to continue the job is kept, as `Keep` asked.
    Kept {
        /// The job.
        id: String,
    },
    /// One epoch and the validation after it are done.
    Epoch(EpochLine),
    /// The job has ended. The trainer waits for the next `Train` once every job of the last one has.
    Ended {
        /// The job.
        id: String,
        /// How it ended.
        outcome: TrainerOutcome,
        /// Why, for people; empty when done.
        reason: String,
        /// May be left out.
        #[serde(default, flatten)]
        details: EndDetails,
    },
}

impl FromTrainer {
    /// The end of a job, without details.
    pub fn ended(id: impl Into<String>, outcome: TrainerOutcome, reason: impl Into<String>) -> Self {
        Self::Ended { id: id.into(), outcome, reason: reason.into(), details: EndDetails::default() }
    }
}

/// How a trainer says that a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainerOutcome {
    /// All epochs were trained.
    Done,
    /// The epochs up to [`until_epoch`](crate::TrainJob::until_epoch) were trained, and a checkpoint is kept.
    Paused,
    /// What is trained is no longer finite, such as the training loss; a result.
    Diverged,
    /// This attempt failed; another may succeed (out of memory, a device error).
    Failed,
    /// Memory ran out while this job trained together with others: another attempt, in a smaller pack, may succeed.
    OutOfMemory,
    /// No attempt can succeed: the data set or the parameters cannot be used.
    Rejected,
    /// What the job needs is not available at the moment, its data set for example: another attempt may succeed later.
    /// The worker gets no job with this data set for a while.
    Unavailable,
    /// It stopped because of `Stop`.
    Stopped,
}
