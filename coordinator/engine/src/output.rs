//! What comes of a command or an event: records, effects, and among these what watchers hear.

use domain::record::Record;
use terms::{AttemptKey, Epoch, JobState, MetricSchema, SweepId, WorkerName};

use super::{SessionId, orders::ToWorker};

/// What comes of a command or an event.
#[derive(Debug, Default)]
pub struct Output {
    /// To be made durable, in order, before anything else is done.
    pub records: Vec<Record>,
    /// To be done once the records are durable.
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone)]
pub enum Effect {
    /// Send a message to a worker.
    Send {
        session: SessionId,
        message: ToWorker,
    },
    /// Everything up to `sequence` is durable or refused.
    Acknowledge {
        session: SessionId,
        sequence: u64,
    },
    Close {
        session: SessionId,
        reason: CloseReason,
    },
    /// Remove a file of weights, which is not kept any more, and what has come in of it.
    RemoveWeights {
        /// Its name, below the place where all are kept.
        name: String,
    },
    /// Tell who watches a sweep.
    Observed {
        sweep: SweepId,
        observation: Observation,
    },
}

/// Why a stream is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The same worker said hello on another stream.
    Replaced,
    /// Another worker has this one's name.
    NameTaken {
        /// The name that both have.
        name: WorkerName,
        /// The other's machine.
        host: String,
    },
    /// Nothing came from it for a whole lease.
    Silent,
    /// There are too many workers, or theirs are too long descriptions: which it is, for people.
    NoRoom(String),
}

/// Something a watcher wants to know; made durable before.
#[derive(Debug, Clone)]
pub enum Observation {
    Epoch {
        attempt: AttemptKey,
        epoch: Epoch,
        /// The names of its values.
        metrics: MetricSchema,
        /// How many epochs the attempt took over from an earlier one; their records are sent again.
        resumed_epochs: u32,
    },
    Job {
        /// The job and its last attempt.
        attempt: AttemptKey,
        state: JobState,
        /// Who has or had it.
        worker: WorkerName,
        reason: String,
    },
    /// How far jobs are.
    Progress,
    /// The sweep's state or its settings are others.
    SweepChanged,
}
