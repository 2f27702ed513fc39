//! What JSON looks like: one shape of each thing, for every command and file that prints one. An absent value is null. A time
//! is a text of RFC 3339 with milliseconds, in UTC.
//!
//! The shapes live in this crate because it knows neither a wire format nor the domain, and because its columns name a job's keys.

mod own;
mod plain;
pub(crate) mod schema;
mod worker;

use serde::Serialize;
use serde_json::Value;
use terms::{DatasetSummary, Goal, LeftOut, Objective, SweepState};
use utoipa::ToSchema;

use self::own::Own;
pub use self::plain::{Number, number, parameters, time, time_for_people};
pub use self::schema::{ExportedJob, ShownJob, ShownSweep};
pub use self::worker::{Gpu, Worker};
use super::{columns::Columns, model};

/// A sweep.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Sweep {
    /// Its number, from 1.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// `running`, `paused`, `stopping`, `finished`, `stopped`, `cancelled`; `unknown` where this version does not know it.
    pub state: &'static str,
    /// How many jobs it has.
    pub jobs: u64,
    /// Its jobs by state.
    #[serde(flatten)]
    pub counts: model::JobCounts,
    /// The objective of the best job.
    pub best: Number,
    /// The best job's number.
    pub best_job: Option<u64>,
    /// Those of its parameters that vary, or all where none does.
    #[schema(schema_with = schema::parameters_or_null)]
    pub best_parameters: Option<Value>,
    /// What ranks jobs.
    pub metric: Metric,
    /// The parameters that differ between jobs, in the order of the space.
    pub varying: Vec<String>,
    /// Which weights are kept or on their way, for people.
    pub weights: Option<String>,
    /// The best weights that are kept.
    pub best_weights: Option<model::Weights>,
    /// When it was submitted.
    pub created: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// Parameters that no job has read, where its program says it.
    pub unread_parameters: Vec<String>,
    /// What lists leave out.
    #[serde(flatten)]
    #[schema(schema_with = schema::nothing)]
    pub details: Option<SweepDetails>,
}

/// What a list of sweeps leaves out, as it may be long.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SweepDetails {
    /// What the workers found in the data set.
    pub dataset: Option<Dataset>,
    /// Images that train or validate.
    pub images: Option<u64>,
    /// The metrics: those of its model, then the others that jobs have reported.
    pub metrics: Vec<String>,
    /// Why jobs wait, for people.
    pub waiting: Option<String>,
    /// Why it was stopped, where no one asked for it.
    pub why_stopped: Option<String>,
    /// Why its jobs cannot pause, where early stopping wants them to, and what happens instead.
    pub cannot_pause: Option<String>,
    /// The sweep file as it was understood, as YAML.
    pub specification: String,
}

/// What ranks jobs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Metric {
    /// The metric's name.
    pub name: String,
    /// Whether larger is better.
    pub maximize: bool,
    /// `best` or `last`: which epoch of a job counts.
    #[serde(rename = "use")]
    pub used: &'static str,
}

/// What the results of a sweep say: the keys of [`analysis::Analysis`], whose documentation says what they mean.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SweepAnalysis)]
pub struct Analysis<'a> {
    /// What ranked the jobs, and so what is analysed.
    pub metric: Metric,
    #[serde(flatten)]
    pub analysis: &'a analysis::Analysis,
}

impl<'a> Analysis<'a> {
    pub fn new(objective: &Objective, analysis: &'a analysis::Analysis) -> Self {
        Self { metric: Metric::of(objective), analysis }
    }
}

impl Metric {
    fn of(objective: &Objective) -> Self {
        Self {
            name: objective.name.to_string(),
            maximize: objective.goal == Goal::Maximize,
            used: objective.used.as_str(),
        }
    }
}

/// What the workers found in a data set. A type of its own, as scripts read it: all keys are always there, while the
/// [`DatasetSummary`] that trainers send and the store keeps leaves out what is empty.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Dataset {
    pub content_hash: String,
    pub classes: Vec<String>,
    pub train_images: u64,
    pub val_images: u64,
    pub skipped: Vec<String>,
    pub skipped_count: u64,
    pub train_by_class: Vec<u64>,
    pub val_by_class: Vec<u64>,
    pub validation: Option<String>,
    #[schema(schema_with = schema::left_out)]
    pub left_out: Vec<LeftOut>,
}

/// A job. Parameters and metrics are also keys of their own; the columns of its sweep name them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    /// Its number within the sweep, from 1.
    pub job: u64,
    /// Its parameters by name; those whose condition does not hold are not there.
    #[schema(schema_with = schema::parameters)]
    pub parameters: Value,
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

impl Sweep {
    /// A sweep as lists show it.
    pub fn listed(sweep: &model::Sweep) -> Self {
        Self {
            id: sweep.id,
            name: sweep.name.clone(),
            state: sweep.state.map_or("unknown", SweepState::as_str),
            jobs: sweep.job_count,
            counts: sweep.counts,
            best: Number(sweep.best.as_ref().map(|best| best.value)),
            best_job: sweep.best.as_ref().map(|best| best.job),
            best_parameters: sweep.best.as_ref().map(|best| {
                let mut shown = best.parameters.clone();
                shown.0.retain(|(name, _)| sweep.varying.is_empty() || sweep.varying.contains(name));
                parameters(&shown)
            }),
            metric: Metric::of(&sweep.objective),
            varying: sweep.varying.clone(),
            weights: weights(sweep),
            best_weights: sweep.best_weights.clone(),
            created: time(sweep.created_unix_ms),
            ended: time(sweep.ended_unix_ms),
            unread_parameters: sweep.unread_parameters.clone(),
            details: None,
        }
    }

    /// A sweep with all that is known of it.
    pub fn whole(sweep: &model::Sweep) -> Self {
        let images = sweep.dataset.as_ref().map_or(0, |set| set.train_images.saturating_add(set.val_images));
        let details = SweepDetails {
            dataset: sweep.dataset.clone().map(Dataset::from),
            images: Some(images).filter(|images| *images > 0),
            metrics: sweep.metrics.names().iter().map(ToString::to_string).collect(),
            waiting: sweep.waiting.clone(),
            why_stopped: sweep.stopped.clone(),
            cannot_pause: sweep.cannot_pause.clone(),
            specification: sweep.specification.clone(),
        };
        Self { details: Some(details), ..Self::listed(sweep) }
    }
}

/// Which weights are kept or on their way, for people.
fn weights(sweep: &model::Sweep) -> Option<String> {
    let kept = sweep
        .best_weights
        .as_ref()
        .map(|best| format!("of job {} kept; `sweep artifact get {}`", best.job, sweep.id));
    let awaited = (sweep.weights_awaited > 0).then(|| format!("{} on their way", sweep.weights_awaited));
    let parts: Vec<String> = [kept, awaited].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl From<DatasetSummary> for Dataset {
    fn from(found: DatasetSummary) -> Self {
        let DatasetSummary {
            content_hash,
            classes,
            train_images,
            val_images,
            skipped,
            skipped_count,
            train_by_class,
            val_by_class,
            left_out,
            validation,
        } = found;
        let validation = Some(validation).filter(|validation| !validation.is_empty());
        Self {
            content_hash,
            classes,
            train_images,
            val_images,
            skipped,
            skipped_count,
            train_by_class,
            val_by_class,
            validation,
            left_out,
        }
    }
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
            parameters: parameters(&job.parameters),
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

#[cfg(test)]
mod tests;
