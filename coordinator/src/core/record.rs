//! What must be durable before anyone is told: the records that the engine writes and a store keeps, and what a
//! store gives back at the next start.

use std::collections::BTreeSet;

use proto::{AttemptKey, JobKey, SweepId, WorkerName, v1};

use super::{
    specification::Metric,
    state::{AttemptState, JobState, SweepState},
};

/// One change of the durable state.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A sweep exists.
    SweepSubmitted {
        /// Its number.
        sweep: SweepId,
        /// Its name.
        name: String,
        /// The caller's key that makes a repeated call harmless; may be empty.
        request_id: String,
        /// The specification as YAML.
        specification: String,
        /// What ranks its jobs.
        metric: Metric,
        /// How many jobs it has.
        job_count: u64,
        /// Wall-clock time of submission, in milliseconds since 1970.
        created_unix_ms: u64,
    },
    /// A sweep has more jobs.
    SweepExtended {
        /// Which.
        sweep: SweepId,
        /// All its specifications as YAML documents.
        specification: String,
        /// How many jobs it has now.
        job_count: u64,
    },
    /// A sweep changed its state.
    SweepChanged {
        /// Which.
        sweep: SweepId,
        /// Its state from now on.
        state: SweepState,
        /// Wall-clock time of its end, where the state is final.
        ended_unix_ms: Option<u64>,
    },
    /// The first worker told what data set the sweep trains on.
    DatasetFound {
        /// Which sweep.
        sweep: SweepId,
        /// What was found.
        dataset: v1::DatasetSummary,
    },
    /// A worker has the right to run an attempt; its job starts over.
    AttemptGranted {
        /// The attempt.
        attempt: AttemptKey,
        /// Who runs it.
        worker: WorkerName,
        /// On which of its slots.
        slot: u32,
        /// The slot's device.
        device: String,
        /// How many jobs the slot trains at the same time, this one included.
        pack_size: u32,
        /// Wall-clock time, in milliseconds since 1970.
        at_unix_ms: u64,
    },
    /// The trainer of an attempt has its data and begins.
    AttemptStarted {
        /// The attempt.
        attempt: AttemptKey,
        /// Epochs that it takes over from an earlier attempt, by way of a checkpoint.
        resumed_epochs: u32,
    },
    /// An epoch is done.
    EpochRecorded {
        /// Who trained it.
        attempt: AttemptKey,
        /// What came out.
        epoch: EpochMetrics,
        /// Sum of the epochs that count, this one included, in seconds.
        train_seconds: f64,
    },
    /// An attempt has its end.
    AttemptEnded {
        /// Which.
        attempt: AttemptKey,
        /// How.
        state: AttemptState,
        /// Why, for people.
        reason: String,
        /// The trainer's last lines.
        log_tail: Vec<String>,
        /// Wall-clock time, in milliseconds since 1970.
        at_unix_ms: u64,
    },
    /// A job that has had an attempt waits again or has its end.
    JobChanged {
        /// Which.
        job: JobKey,
        /// Its state from now on.
        state: JobState,
        /// What went wrong with it so far.
        history: History,
        /// Why, for people.
        reason: String,
    },
}

/// What went wrong with a job since it was submitted or last tried again on request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts that are charged to it.
    pub failures: u32,
    /// Attempts that were lost with their workers.
    pub losses: u32,
    /// The workers that they were lost with.
    pub lost_with: BTreeSet<WorkerName>,
}

/// What one epoch brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochMetrics {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// Mean cross-entropy over the training images, in nats; finite.
    pub train_loss: f64,
    /// Share of validation images classified rightly, in [0, 1].
    pub val_accuracy: f64,
    /// Time of the training loop alone, in seconds.
    pub epoch_seconds: f64,
}

impl From<EpochMetrics> for v1::EpochRecord {
    fn from(metrics: EpochMetrics) -> Self {
        let EpochMetrics { epoch, train_loss, val_accuracy, epoch_seconds } = metrics;
        Self { epoch, train_loss, val_accuracy, epoch_seconds }
    }
}

/// A sweep as a store gives it back.
#[derive(Debug, Clone)]
pub struct StoredSweep {
    /// Its number.
    pub sweep: SweepId,
    /// The caller's key; may be empty.
    pub request_id: String,
    /// The specification as YAML.
    pub specification: String,
    /// Its state.
    pub state: SweepState,
    /// Wall-clock time of submission, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Wall-clock time of its end.
    pub ended_unix_ms: Option<u64>,
    /// What the first worker found.
    pub dataset: Option<v1::DatasetSummary>,
    /// The smallest job number that never had an attempt.
    pub next_fresh: u64,
    /// Larger numbers that had one.
    pub ahead: BTreeSet<u64>,
    /// How many jobs that had an attempt are in each final state.
    pub finals: Vec<(JobState, u64)>,
    /// The best done job's number and metric.
    pub best: Option<(u64, f64)>,
    /// The jobs that had an attempt and have no end.
    pub open_jobs: Vec<StoredJob>,
}

/// A job without an end as a store gives it back.
#[derive(Debug, Clone)]
pub struct StoredJob {
    /// Its number.
    pub job: u64,
    /// Attempts begun so far.
    pub attempts: u32,
    /// What went wrong with it so far.
    pub history: History,
    /// Why it waits, for people.
    pub reason: String,
    /// The attempt that holds its lease; none while the job waits.
    pub running: Option<StoredAttempt>,
}

/// A running attempt as a store gives it back.
#[derive(Debug, Clone)]
pub struct StoredAttempt {
    /// Who runs it.
    pub worker: WorkerName,
    /// On which slot.
    pub slot: u32,
    /// The slot's device.
    pub device: String,
    /// How many jobs the slot trains at the same time, this one included.
    pub pack_size: u32,
    /// Whether its trainer has begun.
    pub started: bool,
    /// Sum of its epochs, in seconds.
    pub train_seconds: f64,
    /// Its last durable epoch.
    pub last: Option<EpochMetrics>,
}

/// A job that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedJob {
    /// Its number.
    pub job: u64,
    /// Attempts begun so far.
    pub attempts: u32,
}
