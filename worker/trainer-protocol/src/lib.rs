//! What an agent and a trainer say to each other: one JSON object a line, on the trainer's standard input and
//! output. Standard error is the trainer's log. A trainer ends when its standard input does, so that no
//! trainer outlives its agent. Any program that speaks this can be a trainer.
#![warn(missing_docs)]

use serde::{Deserialize, Serialize};

/// What a trainer found at [`DatasetSpec::path`].
pub use terms::{DatasetSummary, LeftOut};

/// Revision of this protocol, sent in `Ready`.
pub const TRAINER_PROTOCOL_VERSION: u32 = 1;

/// Longest line that either side accepts, in bytes; a trainer that writes longer ones is broken.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Most jobs of one request, whatever a worker's flags say: far below the longest line.
pub const PACK_SIZE_MAX: u16 = 256;

/// Agent to trainer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToTrainer {
    /// Train these jobs now; sent only while nothing is being trained.
    Train {
        /// The jobs: one, or where the worker was started with `--pack-size-max` above 1, a pack. Jobs that agree in
        /// model and all parameters but `activation` and `learning_rate` train together as one model; those that do
        /// not, one after another. Everything is told of each job by itself.
        jobs: Vec<TrainJob>,
        /// The data set that all of them use.
        dataset: DatasetSpec,
    },
    /// Stop training the job `id`; answered by its `Ended` with outcome `stopped`.
    Stop {
        /// The job to stop.
        id: String,
        /// Keep what it takes to go on first: another attempt will follow.
        #[serde(default)]
        checkpoint: bool,
    },
}

/// One job to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainJob {
    /// The agent's name for this attempt, repeated in everything said about it; opaque to the trainer.
    pub id: String,
    /// Model family: `simple_cnn`.
    pub model: String,
    /// Every parameter of the model: numbers and strings by name.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Where and how often to keep what it takes to go on; absent where nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointPlan>,
    /// Where to write the trained weights, as one `.safetensors` file, before the job is said to be done; absent where
    /// nobody wants them. A job is as good without the file, which is then the report's loss alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<std::path::PathBuf>,
}

/// What to keep of a job so that another attempt can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPlan {
    /// The job's place below the trainer's checkpoint URL: the same for all attempts of a job, another for every
    /// other job.
    pub key: String,
    /// The attempt's number.
    pub attempt: u32,
    /// A checkpoint after each so many epochs; 0 where the trainer may choose.
    pub every_epochs: u32,
}

/// The data set of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// Image folder, flat Kaggle folder, .zip of either, or packed .safetensors.
    pub path: std::path::PathBuf,
    /// Side of the square images, in pixels.
    pub image_size: u32,
    /// Share of the images held out for validation, in (0, 1).
    pub val_fraction: f64,
    /// Seed of the split.
    pub split_seed: u64,
    /// Folder or .zip with the validation set; `val_fraction` is of no meaning then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_path: Option<std::path::PathBuf>,
}

/// Trainer to agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromTrainer {
    /// First of all, once.
    Ready {
        /// Must equal [`TRAINER_PROTOCOL_VERSION`].
        protocol: u32,
        /// Device as libtorch names it: `cpu`, `cuda:0`.
        device: String,
    },
    /// The data set is being prepared; a hint.
    Preparing {
        /// Share that is done, in [0, 1].
        fraction: f64,
        /// What is done at the moment, for people: `listing its files, 1200 so far`; may be left out.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doing: String,
    },
    /// The data set is ready and training of this job begins.
    Started {
        /// The job.
        id: String,
        /// What was found.
        dataset: DatasetSummary,
        /// How many epochs an earlier attempt trained; they are told again, with the numbers of then.
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
        /// Its batches are done, and the validation is under way; may be left out.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        validating: bool,
    },
    /// One epoch and the validation after it are done.
    Epoch {
        /// The job.
        id: String,
        /// The epoch's number, from 1.
        epoch: u32,
        /// Mean cross-entropy over the training images, in nats; finite.
        train_loss: f64,
        /// Share of validation images classified rightly, in [0, 1].
        val_accuracy: f64,
        /// Time of the training loop alone, in seconds; of a job in a pack, that of the pack.
        epoch_seconds: f64,
        /// Mean cross-entropy over the validation images, in nats; absent where the trainer does not say it, and
        /// where it is not finite.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        val_loss: Option<f64>,
        /// Share of the training images classified rightly while they were trained on, in [0, 1]; absent where the
        /// trainer does not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        train_accuracy: Option<f64>,
    },
    /// The job has its end; the trainer waits for the next `Train` once every job of the last has.
    Ended {
        /// The job.
        id: String,
        /// How it ended.
        outcome: TrainerOutcome,
        /// Why, for people; empty when done.
        reason: String,
    },
}

/// How a trainer says that a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainerOutcome {
    /// All epochs were trained.
    Done,
    /// The training loss is not finite any more; a result.
    Diverged,
    /// This attempt failed; another may succeed (out of memory, a device error).
    Failed,
    /// Memory ran out while this job trained together with others: another attempt, in a smaller pack, may succeed.
    OutOfMemory,
    /// No attempt can succeed: the data set or the parameters cannot be used.
    Rejected,
    /// What the job needs is not there at the moment, its data set for example: another attempt may succeed later. The
    /// worker is given no job with this data set for a while.
    Unavailable,
    /// `Stop` was obeyed.
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_to_the_last_bit() {
        let mut bits = 0x3fc0_b79e_6f0d_4e21_u64;
        for _ in 0..1_000 {
            bits = bits.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let val_accuracy = f64::from_bits(0x3fe0_0000_0000_0000 | bits >> 12) - 0.5;
            let epoch = FromTrainer::Epoch {
                id: "1".into(),
                epoch: 1,
                train_loss: val_accuracy,
                val_accuracy,
                epoch_seconds: 0.1,
                val_loss: Some(val_accuracy),
                train_accuracy: Some(val_accuracy),
            };
            let line = serde_json::to_string(&epoch).unwrap();
            assert_eq!(serde_json::from_str::<FromTrainer>(&line).unwrap(), epoch, "{line}");
        }
    }

    #[test]
    fn an_epoch_may_leave_out_what_came_later_to_the_protocol() {
        let line =
            r#"{"type":"epoch","id":"1","epoch":1,"train_loss":0.5,"val_accuracy":0.75,"epoch_seconds":1.0}"#;
        let epoch: FromTrainer = serde_json::from_str(line).unwrap();
        assert!(matches!(epoch, FromTrainer::Epoch { val_loss: None, train_accuracy: None, .. }));
        assert_eq!(serde_json::to_string(&epoch).unwrap(), line);
        let null = line.replace("1.0}", "1.0,\"val_loss\":null,\"train_accuracy\":null}");
        assert_eq!(serde_json::from_str::<FromTrainer>(&null).unwrap(), epoch);
    }
}
