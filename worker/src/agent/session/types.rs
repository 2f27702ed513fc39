//! The session's inputs and outputs, as plain values. `agent::wire` converts them to and from the wire format, once, at
//! the edge.

use std::time::Duration;

use terms::{
    AttemptKey, EndDetails, EpochReport, LOG_LINES_MAX, Outcome, Progress, TEXT_CHARACTERS_MAX, cut,
    snapshot::SnapshotId,
};
use trainer_protocol::{CheckpointPlan, DatasetSpec, DatasetSummary, FromTrainer, Program};

/// The fault of a trainer that is alive and can no longer answer. A trainer that ends has it for a moment, too.
pub(crate) const OUTPUT_CLOSED: &str = "the trainer closed its standard output, on which it is to answer";

/// An event, in the order in which the session must see it.
#[expect(clippy::large_enum_variant, reason = "passed on at once, never kept in numbers")]
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A stream to the coordinator is open, with nothing sent on it yet.
    Connected,
    /// The stream is lost; what was sent on it may or may not have arrived.
    Disconnected,
    /// A message of the coordinator.
    Message(FromCoordinator),
    /// A trainer sent something, or ended.
    Trainer { slot: usize, event: TrainerEvent },
    /// The coordinator had accepted this worker, and no longer does.
    Refused { reason: String },
    /// Time has passed; needed when nothing else happens until [`super::Session::next_deadline`].
    Tick,
    /// The operating system or the user asks the worker to leave. The second request means at once.
    Shutdown,
    /// The machine will be taken away: the worker hands its jobs back and leaves. A request to leave that follows is the first.
    Notice { why: String },
    /// The coordinator has the checkpoint of an attempt that was to be handed over, or cannot have it.
    HandedOver(AttemptKey),
}

/// News of a slot's trainer. Nothing follows `Exited` until the next job was started.
#[expect(clippy::large_enum_variant, reason = "passed on at once, never kept in numbers")]
#[derive(Debug, Clone, PartialEq)]
pub enum TrainerEvent {
    /// A well-formed line.
    Said {
        message: FromTrainer,
        /// The last lines of its log, where the message ends a job; empty otherwise.
        log_tail: Vec<String>,
        /// The weights that it left, if the message ends a job well and they were asked for.
        weights: Option<Weights>,
    },
    /// Something that is not the trainer protocol; nothing later from this trainer can be trusted.
    Broken {
        /// What was wrong with it.
        reason: String,
    },
    /// It wrote a line to its log: a sign of life.
    Alive,
    /// The process is gone, or could not be started.
    Exited {
        /// How, for people.
        reason: String,
        /// The last lines of its log.
        log_tail: Vec<String>,
        /// It read a data set's file that was truncated, or whose disk went away.
        data_lost: bool,
        /// How many of its requests to train it had read.
        trains_heard: u32,
        /// The kernel has ended it because memory ran out.
        out_of_memory: bool,
    },
}

/// A message of the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum FromCoordinator {
    /// The answer to `Hello`.
    Welcome {
        /// How often a heartbeat is due.
        heartbeat_interval: Duration,
        /// Held attempts that are no longer ours.
        refused: Vec<AttemptKey>,
    },
    /// Jobs for a slot.
    Grant { slot: usize, jobs: Vec<GrantedJob> },
    /// Every event up to this number can be forgotten.
    Acknowledged { through: u64 },
    /// These attempts must stop and end as revoked.
    Revoke { attempts: Vec<AttemptKey>, reason: String },
    /// Take no more jobs, finish the running ones or hand them back, leave.
    Drain,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GrantedJob {
    /// Its fencing token.
    pub attempt: AttemptKey,
    /// What to train, or why no worker can train this.
    pub work: Result<Work, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub model: String,
    /// Every parameter of the model.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// How many epochs a complete training has, if the model counts in epochs.
    pub epochs: Option<u32>,
    /// After how many epochs it pauses, if before its end.
    pub until_epoch: Option<u32>,
    /// The data set, its path as the coordinator gave it; none for a user's program, which finds its data itself.
    pub dataset: Option<DatasetSpec>,
    /// The user's program, if the job is one.
    pub program: Option<Program>,
    /// The snapshot of the program's files, if any were sent with the sweep.
    pub files: Option<SnapshotId>,
    /// Longest time that the training may take, from `started`.
    pub timeout: Option<Duration>,
    /// What to keep so that another attempt can continue.
    pub checkpoints: Option<CheckpointPlan>,
    /// Whether jobs of its sweep pause: then checkpoints are kept next to the spool where there is no other place.
    pub pauses: bool,
    /// Whether the coordinator may want the trained weights.
    pub keep_weights: bool,
    /// Further slots that the job occupies: with the one that runs it, all slots of its GPUs.
    pub also_slots: Vec<usize>,
}

/// Which trainer a job needs. A slot has at most one process at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainerKind {
    /// The trainer that the worker was started with, which knows models.
    Model,
    /// The one that runs users' programs.
    Program,
}

impl Work {
    /// The trainer that it needs.
    pub fn kind(&self) -> TrainerKind {
        if self.program.is_some() { TrainerKind::Program } else { TrainerKind::Model }
    }
}

/// What the shell must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write the event to the spool, before it is sent.
    Append(Event),
    /// Send to the coordinator on the open stream.
    Send(ToCoordinator),
    /// The spool may forget every event up to this number.
    Forget { through: u64 },
    /// Give jobs to the slot's trainer: one, or a pack. All have the same data set.
    StartJobs {
        slot: usize,
        /// Each attempt, whose text form is the trainer's job id, and what to train. A job that occupies further slots is alone, and
        /// nothing runs there.
        jobs: Vec<(AttemptKey, Work)>,
        /// True if a trainer must be started first. Otherwise one exists, or its `Exited` is on its way and ends these
        /// attempts, too, as ones that it never read.
        fresh: bool,
    },
    /// Ask the slot's trainer to stop an attempt; others of its pack continue.
    StopJob {
        slot: usize,
        /// The attempt that must stop.
        attempt: AttemptKey,
        /// Whether another attempt will continue from there.
        checkpoint: bool,
    },
    /// Have the slot's trainer keep a checkpoint of an attempt, and go on with it.
    KeepJob { slot: usize, attempt: AttemptKey },
    /// Hand the furthest checkpoint of an attempt over to the coordinator, after one that is on its way; `HandedOver` will follow once
    /// for all that were asked for.
    HandOver {
        attempt: AttemptKey,
        /// The job's path below the place of this worker's checkpoints.
        key: String,
    },
    /// Kill the slot's trainer; `Exited` will follow.
    KillTrainer { slot: usize },
    /// An attempt has ended whose end no one wants to know: what it left can be removed.
    Dropped(AttemptKey),
    /// Drop the stream; the shell opens another one.
    CloseSession,
    /// End the process, and kill what still runs. Nothing follows.
    Exit(Departure),
}

/// How the worker leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// Every job was ended or handed back.
    Orderly,
    /// The same, because it can no longer train, for this reason.
    Failed(String),
    /// The same, because the coordinator no longer accepts it, for this reason.
    Refused(String),
    /// The second request to leave: the running jobs are abandoned.
    AtOnce,
}

/// A message of the worker. The shell adds to `Hello` what never changes: name, instance, slots.
#[expect(clippy::large_enum_variant, reason = "passed on at once, never kept in numbers")]
#[derive(Debug, Clone, PartialEq)]
pub enum ToCoordinator {
    /// The first message of a stream.
    Hello {
        /// Attempts that run here or whose end waits in the spool.
        held: Vec<Held>,
        /// True while no new jobs are accepted.
        draining: bool,
    },
    /// Something that must not be lost.
    Event(Event),
    /// Keeps the leases of the running attempts.
    Heartbeat(Vec<AttemptProgress>),
    /// No new jobs are accepted from now on.
    Draining { reason: String },
}

/// An attempt that this worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Its slot's trainer works on it or is about to.
    Running { attempt: AttemptKey, slot: usize },
    /// Its end waits in the spool.
    Ended { attempt: AttemptKey },
}

impl Held {
    /// The attempt that is held.
    pub fn attempt(&self) -> AttemptKey {
        match self {
            Self::Running { attempt, .. } | Self::Ended { attempt } => *attempt,
        }
    }
}

/// An attempt that this worker runs, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttemptProgress {
    pub attempt: AttemptKey,
    pub progress: Progress,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number, growing over the life of the spool.
    pub sequence: u64,
    /// The attempt it is about.
    pub attempt: AttemptKey,
    pub kind: EventKind,
}

/// What happened to an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The trainer has its data.
    Started(Start),
    /// An epoch is done.
    Epoch(EpochReport),
    /// The last event of an attempt.
    Ended(End),
}

impl EventKind {
    /// The event with as much text as a coordinator keeps. A larger event could exceed the longest message, and would
    /// then be sent again indefinitely, with everything that waits behind it. The description of a data set comes from
    /// one line of a trainer, whose bound is far lower.
    pub(crate) fn cut_to_size(self) -> Self {
        match self {
            Self::Ended(end) => Self::Ended(end.cut_to_size()),
            Self::Started(_) | Self::Epoch(_) => self,
        }
    }
}

/// What a training starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// What the trainer found.
    pub dataset: DatasetSummary,
    /// Epochs that an earlier attempt trained and this one reports again.
    pub resumed_epochs: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// In the coordinator's terms.
    pub outcome: Outcome,
    /// Why, for people; empty when done.
    pub reason: String,
    /// The trainer's last lines, oldest first.
    pub log_tail: Vec<String>,
    /// The trained weights of an attempt that is done, if they were wanted.
    pub weights: Option<Weights>,
    /// What the trainer added.
    pub details: EndDetails,
}

/// Trained weights in a file of this worker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// They wait there until the coordinator has them or does not want them.
    File {
        /// Length of the file.
        bytes: u64,
        /// BLAKE3 of its content, as hexadecimal digits.
        blake3: String,
    },
    /// There are none, and why, for people.
    Absent(String),
}

impl End {
    /// An end without log lines.
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self {
            outcome,
            reason: reason.into(),
            log_tail: Vec::new(),
            weights: None,
            details: EndDetails::default(),
        }
    }

    fn cut_to_size(self) -> Self {
        let Self { outcome, reason, mut log_tail, weights, details } = self;
        log_tail.drain(..log_tail.len().saturating_sub(LOG_LINES_MAX));
        Self {
            outcome,
            reason: cut(reason, TEXT_CHARACTERS_MAX),
            log_tail: log_tail.into_iter().map(|line| cut(line, TEXT_CHARACTERS_MAX)).collect(),
            weights: weights.map(|weights| match weights {
                Weights::Absent(problem) => Weights::Absent(cut(problem, TEXT_CHARACTERS_MAX)),
                file @ Weights::File { .. } => file,
            }),
            details,
        }
    }
}
