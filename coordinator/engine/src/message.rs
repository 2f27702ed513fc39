//! What the engine hears and says. Commands to workers leave in their wire form, since they are made once and
//! only forwarded.

use std::{collections::BTreeSet, sync::Arc};

use domain::{
    definition::SweepDefinition,
    record::{EndedJob, Record, WeightsFile},
};
use proto::v1;
use terms::{AttemptKey, DatasetSummary, EpochMetrics, JobKey, JobState, SweepId, SweepState, WorkerName};

use super::refusal::ControlError;

/// One stream of one worker, numbered by who accepts them; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A user submits a sweep.
    Submit {
        /// What to run; has no number yet.
        definition: Box<SweepDefinition>,
        /// Makes a repeated call harmless; empty for none.
        request_id: String,
    },
    /// A user adds jobs to a sweep or changes its settings.
    Extend {
        /// Which.
        sweep: SweepId,
        /// What the definition was made of.
        base: Arc<SweepDefinition>,
        /// The sweep as it shall be.
        definition: Arc<SweepDefinition>,
    },
    /// A user wants no more jobs to start for now.
    Pause(SweepId),
    /// A user wants jobs to start again.
    Resume(SweepId),
    /// A user wants jobs that failed or were cancelled to be tried again.
    Retry {
        /// Whose.
        sweep: SweepId,
        /// The jobs, as the store had them after [`Input::SeeEnds`] was answered.
        jobs: Vec<EndedJob>,
        /// Whether they are all that the sweep has: one that was stopped or cancelled can only be taken up as a whole.
        all: bool,
        /// That answer.
        seen: EndsSeen,
    },
    /// A user wants one job to end.
    EndJob {
        /// Which.
        job: JobKey,
        /// How.
        how: JobEnd,
    },
    /// A user wants a worker to take no more jobs and leave.
    Drain(WorkerName),
    /// A user wants no more jobs to start.
    Stop(SweepId),
    /// A user wants the sweep to end now.
    Cancel(SweepId),
    /// A user asks for a sweep.
    DescribeSweep(SweepId),
    /// A user asks for the sweeps before a number, newest first.
    ListSweeps {
        /// Only sweeps with smaller numbers; none for all.
        before: Option<SweepId>,
        /// At most so many.
        limit: usize,
    },
    /// A watcher asks for the whole picture.
    Snapshot(SweepId),
    /// A reader of the store asks what the jobs of a sweep are.
    Define(SweepId),
    /// Who is about to read from the store which jobs of a sweep have failed or were cancelled asks what to show with them.
    SeeEnds(SweepId),
    /// A user asks for the workers after a name, by name.
    ListWorkers {
        /// Only workers with larger names; none for all.
        after: Option<WorkerName>,
        /// At most so many.
        limit: usize,
    },
    /// A user who has told a worker to leave asks whether it knows.
    DescribeWorker(WorkerName),
    /// A worker said hello on a new stream.
    SessionOpened {
        /// The stream.
        session: SessionId,
        /// What it said.
        hello: Hello,
    },
    /// A stream ended.
    SessionClosed(SessionId),
    /// A worker accepts no more jobs.
    WorkerDraining {
        /// The stream.
        session: SessionId,
        /// Why, for people.
        reason: String,
    },
    /// Messages that workers wait for have left: what was told before is durable, and these leases begin.
    Told {
        /// The attempts that were granted.
        granted: Vec<AttemptKey>,
        /// The streams whose hello was answered.
        welcomed: Vec<SessionId>,
    },
    /// A worker lives, and so do these attempts.
    Heartbeat {
        /// The stream.
        session: SessionId,
        /// What runs there.
        running: Vec<Heartbeat>,
    },
    /// A worker told something that must not be lost.
    Event {
        /// The stream.
        session: SessionId,
        /// The worker's number for it.
        sequence: u64,
        /// Whom it is about.
        attempt: AttemptKey,
        /// What happened.
        event: AttemptEvent,
    },
    /// A worker asks what becomes of weights that it has.
    WeightsOffered {
        /// Whose.
        attempt: AttemptKey,
        /// What they are.
        file: WeightsFile,
    },
    /// A file of weights lies where it is to lie, whole and forced to the disk.
    WeightsKept {
        /// Whose.
        attempt: AttemptKey,
        /// What they are.
        file: WeightsFile,
    },
    /// A worker does not have the weights any more that it said it had.
    WeightsLost {
        /// Whose.
        attempt: AttemptKey,
        /// What they were.
        file: WeightsFile,
        /// Why, for people.
        reason: String,
    },
    /// Who tidies up asks for the names of all files of weights.
    WeightsNames,
    /// Time went by.
    Tick,
}

/// What an input takes up beside its texts and lists.
const INPUT_BYTES: usize = 256;

impl Input {
    /// About how much memory it takes up.
    pub fn bytes(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        INPUT_BYTES
            + match self {
                Self::Submit { definition, request_id } => {
                    definition.specification.bytes() + request_id.len()
                }
                // Of an extension, most is shared with what is kept.
                Self::Extend { definition, .. } => definition.specification.bytes(),
                Self::Retry { jobs, .. } => size_of_val(jobs.as_slice()),
                Self::Heartbeat { running, .. } => size_of_val(running.as_slice()),
                Self::SessionOpened { hello, .. } => {
                    size_of_val(hello.held.as_slice())
                        + hello
                            .slots
                            .iter()
                            .map(|slot| size_of_val(slot) + slot.device.len() + slot.description.len())
                            .sum::<usize>()
                }
                Self::Event { event: AttemptEvent::Started { dataset, .. }, .. } => dataset.bytes(),
                Self::Event { event: AttemptEvent::Ended { reason, log_tail, .. }, .. } => {
                    reason.len() + texts(log_tail)
                }
                _ => 0,
            }
    }

    /// Whether it only asks, so that nothing changes with it.
    pub fn only_asks(&self) -> bool {
        matches!(
            self,
            Self::DescribeSweep(_)
                | Self::ListSweeps { .. }
                | Self::Snapshot(_)
                | Self::Define(_)
                | Self::SeeEnds(_)
                | Self::ListWorkers { .. }
                | Self::DescribeWorker(_)
                | Self::WeightsOffered { .. }
                | Self::WeightsNames
        )
    }
}

/// Stands for the ends of a sweep's jobs as they were when it was asked for: the engine has another one once jobs are tried
/// again, or the sweep has its end. Every engine has its own, so that what was seen before a restart is of no use after it.
#[derive(Debug, Clone, Default)]
pub struct EndsSeen(Arc<()>);

impl PartialEq for EndsSeen {
    fn eq(&self, other: &Self) -> bool {
        // Who holds one keeps its place from becoming another's.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// How a user ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It gets no more attempts; the one that runs goes on.
    Stop,
    /// It ends now.
    Cancel,
}

/// What a worker says first.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Its name.
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
    /// Which.
    pub attempt: AttemptKey,
    /// On which slot; it is free once the attempt's end has been told.
    pub slot: u32,
    /// The training has ended and its end waits to be told; the slot then says nothing.
    pub ended: bool,
}

/// An attempt lives and is so far.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// Which.
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
    Epoch(EpochMetrics),
    /// It has its end.
    Ended {
        /// How; never `Unspecified`.
        outcome: v1::Outcome,
        /// Why, for people.
        reason: String,
        /// The trainer's last lines.
        log_tail: Vec<String>,
        /// The trained weights that it left, or why there are none; nothing where none were to be left.
        weights: Option<Result<WeightsFile, String>>,
    },
    /// What came cannot be understood; it is acknowledged, so that the worker does not send it for ever.
    Unusable(String),
}

/// What comes of an input.
#[derive(Debug, Default)]
pub struct Output {
    /// To be made durable, in order, before anything else is done.
    pub records: Vec<Record>,
    /// To be done once the records are durable.
    pub effects: Vec<Effect>,
    /// To be told to who sent the input, once the records are durable.
    pub reply: Reply,
}

/// Something to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send a message to a worker.
    Send {
        /// On which stream.
        session: SessionId,
        /// What.
        message: v1::CoordinatorMessage,
    },
    /// Everything up to `sequence` is durable or refused.
    Acknowledge {
        /// On which stream.
        session: SessionId,
        /// The worker's number.
        sequence: u64,
    },
    /// End a stream.
    Close {
        /// Which.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// Remove a file of weights, which is not kept any more, and what has come in of it.
    RemoveWeights {
        /// Its name, below the place where all are kept.
        name: String,
    },
    /// Tell who watches a sweep.
    Observed {
        /// The sweep.
        sweep: SweepId,
        /// What is new.
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
    /// An epoch.
    Epoch {
        /// Who trained it.
        attempt: AttemptKey,
        /// What came out.
        metrics: EpochMetrics,
        /// How many epochs the attempt took over from an earlier one; their records are sent again.
        resumed_epochs: u32,
    },
    /// A job's state.
    Job {
        /// The job and its last attempt.
        attempt: AttemptKey,
        /// Its state.
        state: JobState,
        /// Who has or had it.
        worker: WorkerName,
        /// Why, for people.
        reason: String,
    },
    /// How far jobs are.
    Progress,
    /// The sweep's state became final, or changed.
    Ended,
}

/// What is told to who sent an input.
#[derive(Debug, Default)]
pub enum Reply {
    /// Nothing.
    #[default]
    None,
    /// The sweep that was submitted, and whether it is new.
    Submitted(Box<v1::Sweep>, bool),
    /// The sweep that was extended, and how many jobs were added.
    Extended(Box<v1::Sweep>, u64),
    /// A sweep.
    Sweep(Box<v1::Sweep>),
    /// Sweeps, newest first.
    Sweeps(Vec<v1::Sweep>),
    /// The whole picture.
    Snapshot(Box<v1::WatchSnapshot>),
    /// What the jobs of a sweep are, and its state.
    Definition(Arc<SweepDefinition>, SweepState),
    /// What to show with jobs that have ended.
    Ends(EndsSeen),
    /// The sweep, and how many of its jobs are tried again.
    Retried(Box<v1::Sweep>, u64),
    /// Workers by name, and whether there are more.
    Workers(Vec<v1::Worker>, bool),
    /// One worker, and whether it has said itself that it leaves.
    Worker(Box<v1::Worker>, bool),
    /// What becomes of weights.
    Weights(WeightsAnswer),
    /// All files of weights.
    WeightsNames(WeightsNames),
    /// No.
    Refused(ControlError),
}

/// What becomes of weights that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsAnswer {
    /// They can be thrown away, for this reason.
    NotWanted(String),
    /// Nobody knows yet: the attempt's end has not come in.
    Waiting,
    /// They shall be handed over, to lie under this name.
    Wanted {
        /// Below the place where all are kept.
        name: String,
    },
    /// They are kept.
    Durable,
}

/// The names of files of weights, below the place where all are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightsNames {
    /// Of files that are kept.
    pub kept: BTreeSet<String>,
    /// Of files that are on their way.
    pub awaited: BTreeSet<String>,
    /// The folders in which files of this coordinator's sweeps lie.
    pub folders: BTreeSet<String>,
}
