//! What the engine hears and what it answers.

use std::{collections::BTreeSet, sync::Arc};

use domain::{
    definition::SweepDefinition,
    record::{EndedJob, WeightsFile},
};
use terms::{AttemptKey, DatasetSummary, EpochReport, JobKey, Outcome, SweepId, SweepState, WorkerName};

use super::{
    refusal::ControlError,
    view::{Snapshot, SweepView, WorkerView},
};

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
    /// The slot that trains it; none once the training has ended and only its end waits to be told.
    pub slot: Option<u32>,
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
    Epoch(EpochReport),
    /// It has its end.
    Ended {
        /// How.
        outcome: Outcome,
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

/// What is told to who sent an input.
#[derive(Debug, Default)]
pub enum Reply {
    /// Nothing.
    #[default]
    None,
    /// The sweep that was submitted, and whether it is new.
    Submitted(Box<SweepView>, bool),
    /// The sweep that was extended, and how many jobs were added.
    Extended(Box<SweepView>, u64),
    /// A sweep.
    Sweep(Box<SweepView>),
    /// Sweeps, newest first.
    Sweeps(Vec<SweepView>),
    /// The whole picture.
    Snapshot(Box<Snapshot>),
    /// What the jobs of a sweep are, and its state.
    Definition(Arc<SweepDefinition>, SweepState),
    /// What to show with jobs that have ended.
    Ends(EndsSeen),
    /// The sweep, and how many of its jobs are tried again.
    Retried(Box<SweepView>, u64),
    /// Workers by name, and whether there are more.
    Workers(Vec<WorkerView>, bool),
    /// One worker.
    Worker(Box<WorkerView>),
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
