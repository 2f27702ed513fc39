//! Events: messages of workers, streams that open and end, messages that were delivered, and time.

use domain::record::WeightsFile;
use terms::{
    AttemptKey, DatasetSummary, EndDetails, EpochReport, GpuUse, Outcome, ParameterUse, Progress, WorkerName,
    manifest::Described,
};

/// One stream of one worker, numbered by whoever accepts it; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Something that happened. No one waits for an answer to it.
#[derive(Debug, Clone)]
pub enum Event {
    /// A worker said hello on a new stream.
    SessionOpened { session: SessionId, hello: Hello },
    /// A stream ended.
    SessionClosed(SessionId),
    /// A worker may stay no longer; its stream ends next.
    WorkerShutOut { session: SessionId, reason: &'static str },
    /// A worker takes no more jobs.
    WorkerDraining { session: SessionId, reason: String },
    /// Messages that workers wait for have left. Their content is durable, and these leases begin.
    Delivered {
        /// The attempts that were granted.
        granted: Vec<AttemptKey>,
        /// The streams whose hello was answered.
        welcomed: Vec<SessionId>,
    },
    /// A worker is alive, and so are these attempts.
    Heartbeat {
        session: SessionId,
        running: Vec<Heartbeat>,
        /// What its GPUs do.
        gpus: Vec<GpuUse>,
    },
    /// A worker reported an event of an attempt that must not be lost.
    Attempt {
        session: SessionId,
        /// The worker's number for it.
        sequence: u64,
        /// The attempt it is about.
        attempt: AttemptKey,
        event: AttemptEvent,
    },
    /// Time passed.
    Tick,
}

/// The memory of an event or a command, without its texts and lists.
pub const INPUT_BYTES: usize = 256;

impl Event {
    /// Roughly the memory that it takes.
    pub fn bytes(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        INPUT_BYTES
            + match self {
                Self::Heartbeat { running, gpus, .. } => {
                    size_of_val(running.as_slice()) + gpus.iter().map(GpuUse::bytes).sum::<usize>()
                }
                Self::SessionOpened { hello, .. } => hello.bytes(),
                Self::Attempt { event: AttemptEvent::Started { dataset, .. }, .. } => dataset.bytes(),
                Self::Attempt { event: AttemptEvent::Epoch(report), .. } => report.bytes(),
                Self::Attempt { event: AttemptEvent::Ended { reason, log_tail, details, .. }, .. } => {
                    let names = |used: &ParameterUse| {
                        let names = used.read.iter().chain(&used.unread);
                        names.map(|name| name.len() + size_of::<String>()).sum::<usize>()
                    };
                    reason.len() + texts(log_tail) + details.parameters.as_ref().map_or(0, names)
                }
                _ => 0,
            }
    }
}

/// The first message of a worker.
#[derive(Debug, Clone)]
pub struct Hello {
    pub name: WorkerName,
    /// Identifies its process: different after each start.
    pub instance: String,
    /// The processes that had its spool before, newest first.
    pub predecessors: Vec<String>,
    /// Its machine, for people.
    pub host: String,
    /// Its program's version, for people.
    pub software_version: String,
    /// What can run jobs; distinct indexes.
    pub slots: Vec<SlotDescription>,
    /// The attempts that it runs, or whose end it is about to report.
    pub held: Vec<HeldAttempt>,
    /// Whether it takes no jobs.
    pub draining: bool,
    /// Whether it runs users' programs.
    pub runs_programs: bool,
    /// Whether it takes jobs that occupy several of its slots.
    pub spans_slots: bool,
    /// Whether it pauses jobs.
    pub pauses: bool,
    /// Where it keeps checkpoints that other workers find, too; empty where it is its own machine.
    pub checkpoints: String,
    /// How much memory its trainers may have together, in bytes; 0 where that is not known.
    pub memory_bytes: u64,
    /// The models that its trainer trains.
    pub models: Vec<Described>,
}

impl Hello {
    /// Roughly the memory that its lists take.
    pub fn bytes(&self) -> usize {
        let slot = |slot: &SlotDescription| size_of_val(slot) + slot.device.len() + slot.description.len();
        size_of_val(self.held.as_slice())
            + self.checkpoints.len()
            + self.slots.iter().map(slot).sum::<usize>()
            + self.models.iter().map(Described::bytes).sum::<usize>()
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
    /// The slot that trains it; none once training has ended and only its end remains to be reported.
    pub slot: Option<u32>,
}

/// An attempt is alive, with its progress.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    pub attempt: AttemptKey,
    pub progress: Progress,
}

/// What a worker reports about an attempt.
#[derive(Debug, Clone)]
pub enum AttemptEvent {
    /// Its trainer has the data and begins.
    Started {
        /// What it found.
        dataset: DatasetSummary,
        /// Epochs of an earlier attempt that it takes over; they follow as epochs of this one.
        resumed_epochs: u32,
    },
    /// An epoch has ended.
    Epoch(EpochReport),
    /// It has ended.
    Ended {
        outcome: Outcome,
        reason: String,
        /// The trainer's last lines.
        log_tail: Vec<String>,
        /// The trained weights that it left, or why there are none; nothing where none were wanted.
        weights: Option<Result<WeightsFile, String>>,
        /// What its trainer added.
        details: EndDetails,
    },
    /// An unreadable event; it is acknowledged, or the worker would send it indefinitely.
    Unusable(String),
}
