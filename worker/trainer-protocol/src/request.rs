//! What an agent says to a trainer.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Agent to trainer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToTrainer {
    /// Train these jobs now; sent only while nothing is being trained.
    Train {
        /// The jobs: one or, where the worker was started with `--pack-size-max` above 1, a pack. Jobs with the same
        /// model and the same parameters, except those that are a job's own in a pack, train together as one model; others
        /// train one after another. Each job is reported on separately.
        jobs: Vec<TrainJob>,
        /// The data set that all of them use; absent for users' programs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dataset: Option<DatasetSpec>,
    },
    /// Stop training the job `id`; answered by its `Ended` with outcome `stopped`.
    Stop {
        /// The job to stop.
        id: String,
        /// First keep what is needed to continue: another attempt will follow.
        #[serde(default)]
        checkpoint: bool,
    },
    /// Keep what is needed to continue the job `id` now, and go on; answered by its `Kept` once it is written. A job that keeps
    /// nothing, or has nothing yet, does not answer.
    Keep {
        /// The job.
        id: String,
    },
}

/// One job to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainJob {
    /// The agent's name for this attempt, repeated in everything said about it; opaque to the trainer.
    pub id: String,
    /// The trainable: `simple_cnn`, or the name of a user's program.
    pub model: String,
    /// Every parameter by name: numbers, texts, booleans or null.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Where and how often to keep what is needed to continue; absent where nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointPlan>,
    /// How many epochs to train in all, where that is known; those of a checkpoint count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// After how many epochs to pause, those of a checkpoint included: keep a checkpoint and end as `paused`, so that
    /// another attempt can go on. Absent where the job trains to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_epoch: Option<u32>,
    /// What to run, for a job of a user's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// Where to write the trained weights, as one `.safetensors` file, before the job is reported done; absent where no
    /// one wants them. A job without the file is still done; only the weights are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

/// What to keep of a job so that another attempt can continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPlan {
    /// The job's path below the trainer's checkpoint URL: the same for all attempts of a job, and for no other job.
    pub key: String,
    /// The attempt's number.
    pub attempt: u32,
    /// A checkpoint every N epochs; 0 where the trainer may choose, [`ONLY_WHEN_ASKED`](crate::ONLY_WHEN_ASKED) for none
    /// without being asked.
    pub every_epochs: u32,
}

/// The data set of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// Image folder, flat Kaggle folder, .zip of either, or packed .safetensors.
    pub path: PathBuf,
    /// Side of the square images, in pixels.
    pub image_size: u32,
    /// Share of the images held out for validation, in (0, 1).
    pub val_fraction: f64,
    /// Seed of the split.
    pub split_seed: u64,
    /// Folder or .zip with the validation set; `val_fraction` then has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_path: Option<PathBuf>,
}

/// A user's program, as `sweep-worker program` runs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// `program:` of the sweep file, for `${program}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The command: what is run, and its arguments, with macros. Empty: the usual one for `program`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How parameters become arguments.
    #[serde(default)]
    pub arguments: ArgumentStyle,
    /// Where it runs: the folder with its files, which is the attempt's own. Absent: a new, empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Why its files are not available at the moment; the job's answer is then `unavailable`, with this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Added to the worker's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where its metrics come from.
    #[serde(default)]
    pub metrics: MetricsPlan,
    /// Its GPUs, as in `cuda:0,cuda:1`, where they are more than the slot's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<String>,
    /// Seconds between SIGTERM and SIGKILL when it is to stop; absent where the worker may choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_seconds: Option<f64>,
}

/// How parameters become arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentStyle {
    /// As Python's `argparse` expects them.
    #[default]
    Argparse,
    /// As W&B writes them.
    Wandb,
}

/// Where a program's metrics come from: a channel of their own, unless a pattern or a file is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsPlan {
    /// From the channel, as JSON lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub channel: bool,
    /// From what it prints: a regular expression whose named groups are metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// From a CSV file that it writes, below its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<PathBuf>,
    /// The metric that ranks jobs: where it is not finite, the job has diverged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
}
