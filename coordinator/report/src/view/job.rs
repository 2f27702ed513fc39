//! A job with its attempts and epochs.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Number, Parameters, own::Own, schema, time};
use crate::{columns::Columns, model};

/// A job. Parameters and metrics are also keys of their own; the columns of its sweep name them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    /// Its number within the sweep, from 1.
    pub job: u64,
    /// Its parameters by name; those whose condition does not hold are not there.
    #[schema(schema_with = schema::parameters)]
    pub parameters: Parameters,
    /// `pending`, `running`, `paused`, `done`, `diverged`, `stopped`, `failed`, `cancelled`; `unknown` where this version does not know it.
    pub state: &'static str,
    /// How many attempts began; where one job is shown, the attempts themselves.
    #[schema(value_type = u32)]
    pub attempts: Attempts,
    /// Worker of the last attempt; empty before the first.
    pub worker: String,
    /// Epochs that count.
    pub epochs_done: u32,
    /// Sum of the training loops of those epochs, in seconds.
    pub train_seconds: Number,
    /// Jobs that the last attempt was trained together with, itself included; 0 before the first.
    pub pack_size: u32,
    /// The epoch with the best value of the objective.
    pub best_epoch: Option<u32>,
    /// `kept`, `awaited`, `dropped` or `absent`; null where there is nothing to say.
    pub weights: Option<String>,
    /// Why it failed, diverged or is tried again; empty otherwise.
    pub reason: String,
    /// When it trained, where that is shown.
    #[serde(flatten)]
    #[schema(schema_with = schema::nothing)]
    pub times: Option<JobTimes>,
    /// Its parameters, the metrics of its last epoch, and `best_` with the objective's name: the objective at `best_epoch`.
    #[serde(flatten)]
    own: Own,
    /// Why it has its parameters, where a search that learns from results chose them and one job is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub proposal: Option<String>,
    /// The epochs that count, where they are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub epochs: Option<Vec<Epoch>>,
}

/// When a job trained.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobTimes {
    /// When its first attempt began.
    pub started: Option<String>,
    /// When its last attempt ended; null while the job has not ended.
    pub ended: Option<String>,
}

/// The attempts of a job.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Attempts {
    /// How many began.
    Count(u32),
    /// All of them, in order.
    List(Vec<Attempt>),
}

/// An attempt of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// `running`, or how it ended.
    pub outcome: String,
    /// Who ran it.
    pub worker: String,
    /// The slot's number on its worker, from 0.
    pub slot: u32,
    /// The slot's device, such as `cuda:0`.
    pub device: String,
    /// Epochs that it took over from an earlier attempt.
    pub resumed_epochs: u32,
    /// Jobs that it is trained together with, itself included.
    pub pack_size: u32,
    /// When it began.
    pub granted: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it ended so; empty when done.
    pub reason: String,
}

/// An epoch that counts. The metrics of its sweep are keys of their own.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: u32,
    /// The attempt that trained it.
    pub attempt: u32,
    #[serde(flatten)]
    own: Own,
    /// Time of the training loop, in seconds.
    pub epoch_seconds: Number,
}

impl Job {
    /// A job of a sweep with these parameters and columns; `best` is its best epoch and the objective there. `epochs` are those that
    /// count, where they are shown.
    pub fn new(
        names: &[String],
        columns: &Columns,
        job: &model::Job,
        best: Option<(u32, Option<f64>)>,
        epochs: Option<&[model::Epoch]>,
    ) -> Self {
        Self {
            job: job.number,
            parameters: Parameters(job.parameters.clone()),
            state: job.state.map_or("unknown", terms::JobState::as_str),
            attempts: Attempts::Count(job.attempts),
            worker: job.worker.clone(),
            epochs_done: job.epochs_done,
            train_seconds: Number((job.epochs_done > 0).then_some(job.train_seconds)),
            pack_size: job.pack_size,
            best_epoch: best.map(|(epoch, _)| epoch),
            weights: Some(job.weights.clone()).filter(|weights| !weights.is_empty()),
            reason: job.reason.clone(),
            times: None,
            own: Own::of_job(names, columns, job, best.and_then(|(_, value)| value), epochs.is_some()),
            proposal: None,
            epochs: epochs.map(|epochs| epochs.iter().map(|epoch| Epoch::new(columns, epoch)).collect()),
        }
    }
}

impl JobTimes {
    pub fn of(job: &model::Job) -> Self {
        Self { started: time(job.started_unix_ms), ended: time(job.ended_unix_ms) }
    }
}

impl Epoch {
    /// An epoch of a sweep with these columns.
    pub fn new(columns: &Columns, epoch: &model::Epoch) -> Self {
        Self {
            epoch: epoch.number,
            attempt: epoch.attempt,
            own: Own::of_epoch(columns, epoch),
            epoch_seconds: Number(Some(epoch.seconds)),
        }
    }
}
