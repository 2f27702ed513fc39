//! What a report is made from: a sweep, its jobs and their epochs, independent of the wire format. Parameters and
//! metrics are the sweep's own; no code here depends on their names, but for the `seed` of programs.

use std::sync::Arc;

use serde::Serialize;
use terms::{
    DatasetSummary, JobState, MetricRow, MetricSchema, Objective, ParameterMap, SweepState,
    manifest::{Manifest, seed_of},
};
use utoipa::ToSchema;

use super::planned::planned_trainings;

#[derive(Debug, Clone)]
pub struct Sweep {
    /// Its number, from 1.
    pub id: u64,
    pub name: String,
    /// Its state; none where this version does not know it.
    pub state: Option<SweepState>,
    /// How many jobs it has.
    pub job_count: u64,
    /// Its jobs by state.
    pub counts: JobCounts,
    /// Wall-clock time of submission, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Wall-clock time of its end, in milliseconds since 1970; 0 while it runs.
    pub ended_unix_ms: u64,
    pub objective: Objective,
    /// The best job so far.
    pub best: Option<BestJob>,
    /// The best weights that are kept.
    pub best_weights: Option<Weights>,
    /// How many weights are on their way from workers.
    pub weights_awaited: u64,
    /// Why jobs wait, for people.
    pub waiting: Option<String>,
    /// The parameters, in the order of its space.
    pub parameters: Vec<String>,
    /// Those that differ between jobs, in the same order.
    pub varying: Vec<String>,
    /// How often each point is trained.
    pub repeats: u32,
    /// The names of the metrics. Rows of metrics have their values in this order.
    pub metrics: MetricSchema,
    /// Metric values that were dropped.
    pub metrics_left_out: u64,
    /// Why they were dropped, for people.
    pub metrics_left_out_reason: String,
    /// Parameters that no job has read, where its program says it.
    pub unread_parameters: Vec<String>,
    /// Why it was stopped, where no one asked for it.
    pub stopped: Option<String>,
    /// Why its jobs cannot pause, where early stopping wants them to, and what happens instead.
    pub cannot_pause: Option<String>,
    /// Who submitted it, where the coordinator asked.
    pub owner: Option<String>,
    /// Which of its owner's sweeps gets a free slot first.
    pub priority: i32,
    /// What its owner has of the slots, where that is known.
    pub share: Option<Share>,
    /// What a built-in model says about itself.
    pub manifest: Option<Arc<Manifest>>,
    /// The sweep file as understood.
    pub specification: String,
    /// What the workers found in the data set.
    pub dataset: Option<DatasetSummary>,
}

impl Sweep {
    /// The parameter that the trainings of a configuration differ in.
    pub(crate) fn seed(&self) -> Option<&str> {
        seed_of(self.manifest.as_deref())
    }

    /// How many trainings each configuration is planned to have.
    pub(crate) fn planned_trainings(&self) -> u64 {
        planned_trainings(self.repeats, &self.specification, self.seed())
    }
}

/// What an owner of sweeps has of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Share {
    /// How many the jobs of the owner's sweeps hold.
    pub slots: u64,
    /// Most that they may hold.
    pub quota: Option<u32>,
    /// How large the share is next to those of other owners.
    pub weight: u32,
}

/// The best configuration of a sweep.
#[derive(Debug, Clone)]
pub struct BestJob {
    /// The number of its first job that is done.
    pub job: u64,
    /// That job's parameters.
    pub parameters: ParameterMap,
    /// The mean of the objective of its trainings.
    pub value: f64,
    /// How many those are: 1 unless `repeats` trains each configuration several times.
    pub trainings: u32,
}

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct JobCounts {
    pub pending: u64,
    pub running: u64,
    /// Jobs that have trained as far as they were granted, and may be promoted.
    pub paused: u64,
    /// Jobs that trained to their end.
    pub done: u64,
    /// Jobs whose objective is no longer a number.
    pub diverged: u64,
    /// Jobs that early stopping ended.
    pub stopped: u64,
    /// Jobs without attempts left.
    pub failed: u64,
    /// Jobs that a user ended.
    pub cancelled: u64,
}

/// A file of weights.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Weights {
    pub job: u64,
    /// The attempt that trained them.
    pub attempt: u32,
    /// Length of the file.
    pub bytes: u64,
    /// BLAKE3 of its content, as hexadecimal digits.
    pub blake3: String,
}

/// A job and its results.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Its number within the sweep, from 1.
    pub number: u64,
    /// Its parameters, in the space's order, without those whose condition does not hold.
    pub parameters: ParameterMap,
    /// Its state; none where this version does not know it.
    pub state: Option<JobState>,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Wall-clock time at which its first attempt began, in milliseconds since 1970; 0 before, and where it was not asked for.
    pub started_unix_ms: u64,
    /// Wall-clock time at which its last attempt ended, likewise; 0 while the job has not ended.
    pub ended_unix_ms: u64,
    /// Worker of the last attempt.
    pub worker: String,
    /// Device of the last attempt, as its worker names it; empty before the first, and where it was not asked for.
    pub device: String,
    /// Epochs that count.
    pub epochs_done: u32,
    /// Sum of the training loops of those epochs, in seconds.
    pub train_seconds: f64,
    /// The metrics of the last of those epochs.
    pub metrics: MetricRow,
    /// The epoch with the best value of the objective.
    pub best_epoch: Option<u32>,
    /// The metrics of that epoch.
    pub best_metrics: MetricRow,
    /// Why the job failed, diverged or is tried again.
    pub reason: String,
    /// Jobs that its last attempt trained together with, itself included; 0 before the first.
    pub pack_size: u32,
    /// State of its weights; empty where there is nothing to say.
    pub weights: String,
}

/// An epoch of a job that counts.
#[derive(Debug, Clone, Default)]
pub struct Epoch {
    /// The attempt that trained it.
    pub attempt: u32,
    /// Its number, from 1.
    pub number: u32,
    /// Time of the training loop, in seconds.
    pub seconds: f64,
    /// The values of the sweep's metrics.
    pub metrics: MetricRow,
}
