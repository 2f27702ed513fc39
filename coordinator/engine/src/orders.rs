//! What the coordinator sends to workers.

use std::{path::PathBuf, sync::Arc};

use domain::specification::Program;
use terms::{AttemptKey, ParameterMap, ParameterValue};

/// A message to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum ToWorker {
    /// The answer to its hello.
    Welcome(Welcome),
    /// Jobs for a slot.
    Grant(Grant),
    /// Attempts to stop: their lease is lost, or their job was cancelled.
    Revoke { attempts: Vec<AttemptKey>, reason: String },
    /// Take no new jobs and leave.
    Drain { reason: String },
    /// Every event up to this one is durable or was refused.
    Acknowledged {
        /// The worker's number of the event.
        through: u64,
    },
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// How long a lease lasts after each heartbeat, in milliseconds.
    pub lease_ms: u64,
    /// How often the worker must send a heartbeat, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// Held attempts whose lease is lost.
    pub refused: Vec<AttemptKey>,
}

/// Jobs for one slot, to be trained now.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The slot that must run them.
    pub slot: u32,
    /// One job, or a pack.
    pub jobs: Vec<JobAssignment>,
}

/// Everything that a worker needs to train one job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobAssignment {
    /// The attempt that is granted.
    pub attempt: AttemptKey,
    /// The model's name, or [`domain::specification::PROGRAM`].
    pub model: String,
    /// How many epochs it trains; none where the program decides.
    pub budget: Option<u32>,
    /// After how many epochs it pauses, where that is before its end.
    pub until_epoch: Option<u32>,
    /// The program that it runs, where it is no model.
    pub program: Option<Arc<Program>>,
    /// The metric that ranks the jobs.
    pub objective: String,
    /// Every parameter that the job has, in the order of the space.
    pub parameters: ParameterMap,
    /// What to train on; none for programs, which find their data by themselves.
    pub dataset: Option<DatasetPlan>,
    /// Longest time that the attempt may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Time that its program has from SIGTERM to SIGKILL, in milliseconds; none for what the worker chooses.
    pub stop_grace_period_ms: Option<u64>,
    /// The path of its checkpoints below the workers' checkpoint URL: the same for all attempts of the job.
    pub checkpoint_key: String,
    /// A checkpoint every N epochs; none for as often as costs little.
    pub checkpoint_every_epochs: Option<u32>,
    /// Whether jobs of its sweep pause, so that their checkpoints are kept wherever they run.
    pub pauses: bool,
    /// Whether the trained weights may be wanted.
    pub keep_weights: bool,
    /// Further slots that it occupies, with that of its grant all slots of its GPUs.
    pub also_slots: Vec<u32>,
}

/// What a job is trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetPlan {
    /// Its path on the worker's machine.
    pub path: PathBuf,
    /// Side of the square images, in pixels.
    pub image_size: u32,
    /// Share of the images that is held out for validation, in (0, 1).
    pub val_fraction: f64,
    /// Seed of the split.
    pub split_seed: u64,
    /// The path of a separate validation set.
    pub val_path: Option<PathBuf>,
}

/// The memory of a message, without its texts and lists.
const MESSAGE_BYTES: usize = 256;

impl ToWorker {
    /// Roughly the memory that it takes.
    pub fn bytes(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                Self::Welcome(welcome) => size_of_val(welcome.refused.as_slice()),
                Self::Grant(grant) => grant.jobs.iter().map(JobAssignment::bytes).sum(),
                Self::Revoke { attempts, reason } => size_of_val(attempts.as_slice()) + reason.len(),
                Self::Drain { reason } => reason.len(),
                Self::Acknowledged { .. } => 0,
            }
    }
}

impl JobAssignment {
    fn bytes(&self) -> usize {
        let parameter = |(name, value): &(String, ParameterValue)| {
            let text = if let ParameterValue::Text(text) = value { text.len() } else { 0 };
            size_of::<(String, ParameterValue)>() + name.len() + text
        };
        let dataset = self.dataset.as_ref();
        let paths = [dataset.map(|set| &set.path), dataset.and_then(|set| set.val_path.as_ref())];
        size_of::<Self>()
            + self.model.len()
            + self.objective.len()
            + self.program.as_ref().map_or(0, |program| program.bytes())
            + self.checkpoint_key.len()
            + paths.into_iter().flatten().map(|path| path.as_os_str().len()).sum::<usize>()
            + size_of_val(self.also_slots.as_slice())
            + self.parameters.0.iter().map(parameter).sum::<usize>()
    }
}
