//! The results of a command or an event: records, and effects, which include what watchers receive.

use domain::record::Record;
use terms::{AttemptKey, Epoch, JobState, MetricSchema, SweepId, WorkerName};

use super::{SessionId, learning::Discarded, orders::ToWorker};

/// The results of a command or an event.
#[derive(Debug, Default)]
pub struct Output {
    /// To be made durable, in order, before anything else is done.
    pub records: Vec<Record>,
    /// To be done once the records are durable.
    pub effects: Vec<Effect>,
    /// How many events of workers changed nothing. Only counted.
    pub refused: RefusedEvents,
}

/// Events of workers that were acknowledged and not recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedEvents {
    /// Of attempts that are not their job's current one, or not that worker's.
    pub fenced: u64,
    /// Epochs that were recorded before, and were sent again after an interruption.
    pub repeated: u64,
    /// Unreadable ones, and epochs out of their order.
    pub invalid: u64,
}

impl RefusedEvents {
    fn add(&mut self, Self { fenced, repeated, invalid }: Self) {
        self.fenced += fenced;
        self.repeated += repeated;
        self.invalid += invalid;
    }
}

impl Output {
    /// Adds the results of a later input.
    pub fn append(&mut self, mut later: Self) {
        self.records.append(&mut later.records);
        self.effects.append(&mut later.effects);
        self.refused.add(later.refused);
    }
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
    /// Remove a file of weights that is no longer kept, and any part of it that has arrived.
    RemoveWeights {
        /// Its name, below the folder of all weights.
        name: String,
    },
    /// Free what is of no use any more, outside of the engine's turn: that takes milliseconds.
    Discard(Discarded),
    /// Tell the watchers of a sweep.
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
    /// Nothing arrived from it for a whole lease.
    Silent,
    /// There are too many workers, or their descriptions are too long; says which, for people.
    NoRoom(String),
}

/// Something that watchers want to know; made durable before.
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
        /// The worker that has or had it.
        worker: WorkerName,
        reason: String,
    },
    /// The progress of jobs has changed.
    Progress,
    /// The sweep's state or its settings have changed.
    SweepChanged,
}
