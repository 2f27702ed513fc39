//! What must be durable before anyone hears of it: the records that the engine writes and a store keeps, and what a store
//! returns at the next start.

use std::{collections::BTreeSet, sync::Arc};

use terms::{
    AttemptKey, AttemptState, DatasetSummary, Epoch, JobKey, JobState, MetricRow, MetricSchema, Objective,
    ParameterUse, Role, SweepId, SweepState, WorkerName,
};

pub use crate::best::{BestJobs, BestPoints};
use crate::proposals::{Learned, Proposed};

/// One change of the durable state.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A sweep was submitted.
    SweepSubmitted {
        sweep: SweepId,
        name: String,
        /// The caller's key that makes a repeated call harmless; may be empty.
        request_id: String,
        /// The specification as YAML.
        specification: String,
        /// What its trainable says about itself, as JSON.
        manifest: String,
        /// What ranks its jobs.
        objective: Objective,
        /// How many jobs it has.
        job_count: u64,
        /// Wall-clock time of submission, in milliseconds since 1970.
        created_unix_ms: u64,
        /// Who submitted it; none where no one was asked for a name.
        owner: Option<String>,
    },
    /// A sweep got more jobs, or other settings.
    SweepExtended {
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
        sweep: SweepId,
        /// Its new state.
        state: SweepState,
        /// Wall-clock time of its end, where the state is final.
        ended_unix_ms: Option<u64>,
    },
    /// The first worker reported the data set that the sweep trains on.
    DatasetFound {
        sweep: SweepId,
        /// What was found.
        dataset: DatasetSummary,
    },
    /// It became known which parameters the programs of a sweep read.
    ParametersRead {
        sweep: SweepId,
        /// All that is known of it so far.
        parameters: ParameterUse,
    },
    /// A sweep got metrics that no earlier epoch had.
    MetricsNamed {
        sweep: SweepId,
        /// The index of the first of them among the sweep's metrics.
        first: usize,
        /// Their names, at consecutive indexes.
        names: Vec<Arc<str>>,
    },
    /// A token was made, or revoked.
    TokenKept(Box<Token>),
    /// An owner's quota was set or lifted.
    QuotaKept(Box<Quota>),
    /// A searcher that learns has chosen the point of a job, which then gets its first attempt.
    PointProposed { job: JobKey, proposed: Proposed },
    /// A searcher that learns was told of a job.
    ResultLearned {
        sweep: SweepId,
        /// Which one it is, counted from 1.
        number: u64,
        learned: Learned,
    },
    /// A worker got the right to run an attempt; its job starts over.
    AttemptGranted {
        attempt: AttemptKey,
        /// Nothing was recorded of its job before.
        is_first: bool,
        worker: WorkerName,
        /// The slot on that worker.
        slot: u32,
        device: String,
        /// How many jobs the slot trains at the same time, this one included.
        pack_size: u32,
        /// After how many epochs it pauses, at its end at the latest; none where it trains to its end.
        budget: Option<u32>,
        /// Wall-clock time, in milliseconds since 1970.
        at_unix_ms: u64,
    },
    /// The trainer of an attempt has its data and begins.
    AttemptStarted {
        attempt: AttemptKey,
        /// Epochs that it takes over from an earlier attempt, by way of a checkpoint.
        resumed_epochs: u32,
    },
    /// An epoch has ended.
    EpochRecorded {
        attempt: AttemptKey,
        epoch: Epoch,
        /// The value of the sweep's objective at this epoch, where it has one that can be ranked.
        objective: Option<f64>,
        /// The best of the epochs that count, this one included; none where no epoch has a value that can be ranked.
        best: Option<BestEpoch>,
        /// Sum of the epochs that count, this one included, in seconds.
        train_seconds: f64,
    },
    /// An attempt has ended.
    AttemptEnded {
        attempt: AttemptKey,
        state: AttemptState,
        reason: String,
        /// The trainer's last lines.
        log_tail: Vec<String>,
        /// Wall-clock time, in milliseconds since 1970.
        at_unix_ms: u64,
    },
    /// A job that has had an attempt waits again, has ended, or gets no more attempts; or a job that never had one was
    /// cancelled.
    JobChanged {
        job: JobKey,
        /// Its new state.
        state: JobState,
        /// What has gone wrong with it so far.
        history: History,
        reason: String,
    },
    /// A job has reached an epoch after which the rule of early stopping compares jobs, for the first time or again with another
    /// value.
    RungReached { job: JobKey, rung: Rung },
    /// A job that was paused waits for an attempt that trains further: it goes on from its last rung.
    JobPromoted {
        job: JobKey,
        /// How far: a number of epochs.
        budget: u32,
        /// Why, for people.
        reason: String,
    },
    /// A job has paused, and nothing was kept that it could go on from: the first one of its sweep.
    CheckpointMissed { job: JobKey },
    /// The weights of a job that is done are on their way, are kept, or no longer are.
    WeightsChanged {
        attempt: AttemptKey,
        /// What happened to them.
        state: WeightsState,
        worker: WorkerName,
        file: WeightsFile,
        /// The metric that ranks the job.
        value: f64,
        /// Why, for people; empty where nothing went wrong.
        reason: String,
    },
}

/// What a job had reached at an epoch after which the rule of early stopping compares jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    pub epoch: u32,
    /// The value that ranks it, where it has one.
    pub value: Option<f64>,
    /// Whether it trains on from there.
    pub goes_on: bool,
}

/// A file of trained weights, known by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsFile {
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, as hexadecimal digits.
    pub blake3: String,
}

/// What happened to the weights of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsState {
    /// They are on their way from the worker that trained them.
    Awaited,
    /// They are kept.
    Kept,
    /// They were on their way or kept, until others ranked higher.
    Dropped,
    /// There are none, although they would be kept.
    Absent,
}

impl WeightsState {
    /// All states with their names.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::Awaited, "awaited"),
        (Self::Kept, "kept"),
        (Self::Dropped, "dropped"),
        (Self::Absent, "absent"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

/// What has gone wrong with a job since it was submitted or last retried by a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts that are charged to it.
    pub failures: u32,
    /// Attempts that were lost with their workers.
    pub losses: u32,
    /// The workers that they were lost with.
    pub lost_with: BTreeSet<WorkerName>,
}

/// The best of the epochs of an attempt so far: the first with the best value of the sweep's objective.
#[derive(Debug, Clone, PartialEq)]
pub struct BestEpoch {
    pub epoch: u32,
    /// The value of the objective.
    pub value: f64,
    /// The values of all metrics.
    pub row: MetricRow,
}

impl BestEpoch {
    /// The best epoch of an attempt after one more with this value of the objective, where it was `before`. On a tie
    /// the earlier epoch stays.
    pub fn after(
        before: Option<Self>,
        objective: &Objective,
        epoch: &Epoch,
        value: Option<f64>,
    ) -> Option<Self> {
        let Some(value) = value else { return before };
        match before {
            Some(before) if !objective.beats(value, before.value) => Some(before),
            _ => Some(Self { epoch: epoch.number, value, row: epoch.row.clone() }),
        }
    }
}

/// A token that lets its holder call a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it begins with; not secret.
    pub id: String,
    /// Whose it is. Sweeps belong to names.
    pub name: String,
    pub role: Role,
    /// A hash of its secret.
    pub secret_hash: [u8; 32],
    /// Wall-clock time, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Who made it.
    pub created_by: String,
    /// Wall-clock time from which on it lets no one in.
    pub expires_unix_ms: Option<u64>,
    /// Wall-clock time since which it lets no one in.
    pub revoked_unix_ms: Option<u64>,
}

/// What an admin grants an owner of sweeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub owner: String,
    /// Most slots that the owner's jobs hold at once; none for as many as there are.
    pub slots: Option<u32>,
    /// How large the owner's share is next to the shares of others, at least 1.
    pub weight: u32,
    /// Wall-clock time, in milliseconds since 1970.
    pub set_unix_ms: u64,
    /// Who set it.
    pub set_by: String,
}

impl Quota {
    /// Whether it says nothing: an owner without a quota has the same.
    pub fn is_lifted(&self) -> bool {
        self.slots.is_none() && self.weight == 1
    }
}

/// A sweep as a store returns it.
#[derive(Debug, Clone)]
pub struct StoredSweep {
    pub sweep: SweepId,
    /// The caller's key; may be empty.
    pub request_id: String,
    /// The specification as YAML.
    pub specification: String,
    /// What its trainable says about itself, as JSON. Sweeps of older versions have none.
    pub manifest: Option<String>,
    /// The names of its metrics.
    pub metrics: MetricSchema,
    /// Which parameters its programs have read, as far as they said it.
    pub parameters: ParameterUse,
    /// The first job that paused without a checkpoint.
    pub without_checkpoint: Option<u64>,
    pub state: SweepState,
    /// How many jobs it has: fewer than its specification allows where a searcher found no more points.
    pub job_count: u64,
    /// Wall-clock time of submission, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Who submitted it, where that is known.
    pub owner: Option<String>,
    /// Wall-clock time of its end.
    pub ended_unix_ms: Option<u64>,
    /// What the first worker found.
    pub dataset: Option<DatasetSummary>,
    /// The smallest job number that never had an attempt.
    pub next_unstarted: u64,
    /// The larger numbers that had one: packs start jobs out of order.
    pub out_of_order: BTreeSet<u64>,
    /// How many jobs that had an attempt are in each final state.
    pub finals: Vec<(JobState, u64)>,
    /// The best done jobs.
    pub best: BestJobs,
    /// Its configurations by their results, where each is trained several times.
    pub best_points: Option<BestPoints>,
    /// The jobs that had an attempt and have not ended.
    pub open_jobs: Vec<StoredJob>,
    /// The weights that are kept or on their way.
    pub weights: Vec<StoredWeights>,
    /// What its searcher proposed and was told, if that learns.
    pub search: StoredSearch,
    /// What its jobs had reached where the rule of early stopping compares them, in the order of the jobs.
    pub rungs: Vec<StoredRungs>,
}

/// What the searcher of a sweep proposed and was told, as a store returns it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredSearch {
    /// Points by job, in the order of their numbers.
    pub proposals: Vec<(u64, Proposed)>,
    /// What it was told, in that order.
    pub learned: Vec<Learned>,
}

/// What a job had reached where the rule of early stopping compares jobs, as a store returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRungs {
    pub job: u64,
    pub state: JobState,
    /// By epoch.
    pub rungs: Vec<Rung>,
}

/// Weights that are kept or on their way, as a store returns them.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeights {
    /// The number of the job.
    pub job: u64,
    /// The attempt that trained them.
    pub attempt: u32,
    pub worker: WorkerName,
    pub file: WeightsFile,
    /// The metric that ranks the job.
    pub value: f64,
    /// Whether they are kept, and not only on their way.
    pub kept: bool,
}

/// A job that has not ended, as a store returns it.
#[derive(Debug, Clone)]
pub struct StoredJob {
    pub job: u64,
    /// Attempts begun so far.
    pub attempts: u32,
    /// What has gone wrong with it so far.
    pub history: History,
    /// Why it waits, for people.
    pub reason: String,
    /// The worker of its last attempt, where it had one.
    pub worker: Option<WorkerName>,
    /// How far its attempts train, where a rule says it.
    pub budget: Option<u32>,
    pub stage: StoredStage,
}

impl StoredJob {
    /// The attempt that holds its lease, where one does.
    pub fn running(&self) -> Option<&StoredAttempt> {
        match &self.stage {
            StoredStage::Running(attempt) => Some(attempt),
            StoredStage::Waiting | StoredStage::Paused => None,
        }
    }
}

/// Where a job is that has not ended.
#[derive(Debug, Clone)]
pub enum StoredStage {
    /// It waits for an attempt.
    Waiting,
    /// An attempt holds its lease.
    Running(StoredAttempt),
    /// It has trained as far as it was granted.
    Paused,
}

/// A running attempt as a store returns it.
#[derive(Debug, Clone)]
pub struct StoredAttempt {
    pub worker: WorkerName,
    pub slot: u32,
    pub device: String,
    /// How many jobs the slot trains at the same time, this one included.
    pub pack_size: u32,
    /// Whether its trainer has begun.
    pub started: bool,
    /// Sum of its epochs, in seconds.
    pub train_seconds: f64,
    /// Its last durable epoch.
    pub last: Option<Epoch>,
    /// The best of its durable epochs.
    pub best: Option<BestEpoch>,
}

/// A job that failed or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedJob {
    pub job: u64,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Whether it failed or was cancelled.
    pub state: JobState,
}
