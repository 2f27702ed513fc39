//! What must be durable before anyone is told: the records that the engine writes and a store keeps, and what a
//! store gives back at the next start.

use std::collections::BTreeSet;

use terms::{
    AttemptKey, AttemptState, DatasetSummary, EpochMetrics, JobKey, JobState, SweepId, SweepState, WorkerName,
};

use crate::specification::{Metric, MetricUse};

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
    /// A sweep has more jobs, or other settings.
    SweepExtended {
        /// Which.
        sweep: SweepId,
        /// Its name now.
        name: String,
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
        dataset: DatasetSummary,
    },
    /// A worker has the right to run an attempt; its job starts over.
    AttemptGranted {
        /// The attempt.
        attempt: AttemptKey,
        /// Nothing was ever recorded of its job before.
        is_first: bool,
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
        /// The best of the epochs that count, this one included.
        best: BestEpoch,
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
    /// A job that has had an attempt waits again, has its end, or gets no more attempts; or one that never had any was
    /// cancelled.
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
    /// The weights of a job that is done are on their way, are kept, or are not any more.
    WeightsChanged {
        /// Whose.
        attempt: AttemptKey,
        /// What becomes of them.
        state: WeightsState,
        /// Who trained them.
        worker: WorkerName,
        /// What they are.
        file: WeightsFile,
        /// The metric that ranks the job.
        value: f64,
        /// Why, for people; empty where nothing went wrong.
        reason: String,
    },
}

/// A file of trained weights, known by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsFile {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, as hexadecimal digits.
    pub blake3: String,
}

/// What becomes of the weights of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsState {
    /// They are on their way from the worker that trained them.
    Awaited,
    /// They are kept.
    Kept,
    /// They were on their way or kept until better ones came.
    Dropped,
    /// There are none, although they would be kept.
    Absent,
}

impl WeightsState {
    /// All of them with their names.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::Awaited, "awaited"),
        (Self::Kept, "kept"),
        (Self::Dropped, "dropped"),
        (Self::Absent, "absent"),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
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

/// The best of the epochs of an attempt so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestEpoch {
    /// The first epoch with the highest validation accuracy.
    pub epoch: u32,
    /// Its validation accuracy.
    pub val_accuracy: f64,
    /// The best value of the sweep's metric, whichever epoch it is of, where that metric is another than the largest
    /// validation accuracy; so that what most sweeps have is kept once.
    pub other_metric: Option<f64>,
}

impl BestEpoch {
    /// Of an attempt whose first epochs came to `before`, after one more.
    pub fn after(before: Option<Self>, metric: Metric, epoch: &EpochMetrics) -> Self {
        let found = Self {
            epoch: epoch.epoch,
            val_accuracy: epoch.val_accuracy,
            other_metric: metric.name.of(epoch).filter(|_| !metric.is_largest_accuracy()),
        };
        let Some(before) = before else { return found };
        let better = |new: f64, old: f64| if metric.beats(new, old) { new } else { old };
        let other_metric = match (found.other_metric, before.other_metric) {
            (Some(new), Some(old)) => Some(better(new, old)),
            (new, old) => new.or(old),
        };
        let best = if found.val_accuracy > before.val_accuracy { found } else { before };
        Self { other_metric, ..best }
    }

    /// Of some epochs in their order; nothing where there are none.
    pub fn of<'a>(metric: Metric, epochs: impl IntoIterator<Item = &'a EpochMetrics>) -> Option<Self> {
        epochs.into_iter().fold(None, |before, epoch| Some(Self::after(before, metric, epoch)))
    }

    /// The best value of the sweep's metric.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        if metric.is_largest_accuracy() { Some(self.val_accuracy) } else { self.other_metric }
    }
}

/// The best done jobs of a sweep, each with its metric.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BestJobs {
    /// By the value at the last epoch.
    pub by_last: Option<(u64, f64)>,
    /// By the best value of all epochs.
    pub by_best: Option<(u64, f64)>,
}

impl BestJobs {
    /// Takes in a job that is done.
    pub fn consider(&mut self, metric: Metric, job: u64, last: Option<f64>, best: Option<f64>) {
        for (champion, value) in [(&mut self.by_last, last), (&mut self.by_best, best)] {
            let Some(value) = value else { continue };
            if champion.is_none_or(|best| metric.outranks((job, value), best)) {
                *champion = Some((job, value));
            }
        }
    }

    /// The best by the value that the metric names.
    pub fn of(&self, used: MetricUse) -> Option<(u64, f64)> {
        match used {
            MetricUse::Last => self.by_last,
            MetricUse::Best => self.by_best,
        }
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
    pub dataset: Option<DatasetSummary>,
    /// The smallest job number that never had an attempt.
    pub next_fresh: u64,
    /// Larger numbers that had one.
    pub ahead: BTreeSet<u64>,
    /// How many jobs that had an attempt are in each final state.
    pub finals: Vec<(JobState, u64)>,
    /// The best done jobs.
    pub best: BestJobs,
    /// The jobs that had an attempt and have no end.
    pub open_jobs: Vec<StoredJob>,
    /// The weights that are kept or on their way.
    pub weights: Vec<StoredWeights>,
}

/// Weights that are kept or on their way, as a store gives them back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeights {
    /// The number of the job.
    pub job: u64,
    /// The attempt that trained them.
    pub attempt: u32,
    /// Who trained them.
    pub worker: WorkerName,
    /// What they are.
    pub file: WeightsFile,
    /// The metric that ranks the job.
    pub value: f64,
    /// Whether they are kept, and not only on their way.
    pub kept: bool,
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
    /// The best of its durable epochs.
    pub best: Option<BestEpoch>,
}

/// A job that failed or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedJob {
    /// Its number.
    pub job: u64,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Whether it failed or was cancelled.
    pub state: JobState,
}
