//! What happens: what workers say, streams that open and end, messages that leave, and time.

use domain::record::WeightsFile;
use terms::{AttemptKey, DatasetSummary, EpochReport, Outcome, WorkerName};

/// One stream of one worker, numbered by who accepts them; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Something that happened. Nobody waits for an answer to it.
#[derive(Debug, Clone)]
pub enum Event {
    /// A worker said hello on a new stream.
    SessionOpened { session: SessionId, hello: Hello },
    /// A stream ended.
    SessionClosed(SessionId),
    /// A worker accepts no more jobs.
    WorkerDraining { session: SessionId, reason: String },
    /// Messages that workers wait for have left: what they say is durable, and these leases begin.
    Told {
        /// The attempts that were granted.
        granted: Vec<AttemptKey>,
        /// The streams whose hello was answered.
        welcomed: Vec<SessionId>,
    },
    /// A worker lives, and so do these attempts.
    Heartbeat { session: SessionId, running: Vec<Heartbeat> },
    /// A worker reported something of an attempt that must not be lost.
    Attempt {
        session: SessionId,
        /// The worker's number for it.
        sequence: u64,
        /// Whom it is about.
        attempt: AttemptKey,
        event: AttemptEvent,
    },
    /// Time went by.
    Tick,
}

/// What an event or a command takes up next to its texts and lists.
pub const INPUT_BYTES: usize = 256;

impl Event {
    /// About how much memory it takes up.
    pub fn bytes(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        INPUT_BYTES
            + match self {
                Self::Heartbeat { running, .. } => size_of_val(running.as_slice()),
                Self::SessionOpened { hello, .. } => hello.bytes(),
                Self::Attempt { event: AttemptEvent::Started { dataset, .. }, .. } => dataset.bytes(),
                Self::Attempt { event: AttemptEvent::Ended { reason, log_tail, .. }, .. } => {
                    reason.len() + texts(log_tail)
                }
                _ => 0,
            }
    }
}

/// What a worker says first.
#[derive(Debug, Clone)]
pub struct Hello {
    pub name: WorkerName,
    /// Its process: another one after each start.
    pub instance: String,
    /// The processes that had its spool before, newest first.
    pub predecessors: Vec<String>,
    /// Its machine, for people.
    pub host: String,
    /// Its program's version, for people.
    pub software_version: String,
    /// What can run jobs; distinct indexes.
    pub slots: Vec<SlotDescription>,
    /// The attempts that it runs, or whose end it is about to tell.
    pub held: Vec<HeldAttempt>,
    /// Whether it accepts no jobs.
    pub draining: bool,
    /// Whether it runs users' programs.
    pub runs_programs: bool,
}

impl Hello {
    /// About how much memory its lists take up.
    pub fn bytes(&self) -> usize {
        let slot = |slot: &SlotDescription| size_of_val(slot) + slot.device.len() + slot.description.len();
        size_of_val(self.held.as_slice()) + self.slots.iter().map(slot).sum::<usize>()
    }
}

/// A slot as its worker describes it.
#[derive(Debug, Clone)]
pub struct SlotDescription {
    /// Its number on its worker.
    pub index: u32,
    /// Its device as libtorch names it.
    pub device: String,
    /// For people.
    pub description: String,
    /// Most jobs that it trains at the same time, at least 1.
    pub pack_size_max: u32,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, Copy)]
pub struct HeldAttempt {
    pub attempt: AttemptKey,
    /// The slot that trains it; none once the training has ended and only its end waits to be told.
    pub slot: Option<u32>,
}

/// An attempt lives and is so far.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    pub attempt: AttemptKey,
    /// The epoch in training, from 1; 0 while data are prepared.
    pub epoch: u32,
    /// Share of it that is done, in [0, 1].
    pub fraction: f64,
}

/// What a worker tells of an attempt.
#[derive(Debug, Clone)]
pub enum AttemptEvent {
    /// Its trainer has the data and begins.
    Started {
        /// What it found.
        dataset: DatasetSummary,
        /// Epochs of an earlier attempt that it takes over; they follow as epochs of this one.
        resumed_epochs: u32,
    },
    /// An epoch is done.
    Epoch(EpochReport),
    /// It has its end.
    Ended {
        outcome: Outcome,
        reason: String,
        /// The trainer's last lines.
        log_tail: Vec<String>,
        /// The trained weights that it left, or why there are none; nothing where none were to be left.
        weights: Option<Result<WeightsFile, String>>,
    },
    /// What came cannot be understood; it is acknowledged, so that the worker does not send it for ever.
    Unusable(String),
}
