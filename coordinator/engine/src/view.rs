//! What users see of sweeps and workers. Whoever shows it derives long or costly parts (texts, parameters) from the
//! definition, outside of the engine's turn.

use std::sync::Arc;

use domain::{best::Best, definition::SweepDefinition, record::WeightsFile};
use terms::{AttemptKey, DatasetSummary, Epoch, GpuUse, MetricSchema, SweepId, SweepState, WorkerName};

use super::{LeftOutMetrics, Share, SlotDescription, sweep_run::SweepRun};

/// A sweep as it is now.
#[derive(Debug, Clone)]
pub struct SweepView {
    pub definition: Arc<SweepDefinition>,
    pub state: SweepState,
    /// Its jobs by state.
    pub counts: JobCounts,
    /// Wall-clock time of submission, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Who submitted it; none where no one was asked for a name.
    pub owner: Option<Arc<str>>,
    /// What its owner has of the slots; none where no one asked.
    pub share: Option<Share>,
    /// Wall-clock time of its end.
    pub ended_unix_ms: Option<u64>,
    /// The best configuration.
    pub best: Option<Best>,
    /// What the workers found.
    pub dataset: Option<Arc<DatasetSummary>>,
    /// Why jobs wait; none where none does, and where no one asked.
    pub waiting: Option<Waiting>,
    /// The best weights that are kept.
    pub best_weights: Option<KeptWeights>,
    /// How many weights are on their way from workers.
    pub weights_awaited: u64,
    /// The names of the metrics so far.
    pub metrics: MetricSchema,
    /// Values that were dropped.
    pub left_out: LeftOutMetrics,
    /// Parameters that no job has read, where the programs say it.
    pub unread_parameters: Vec<String>,
    /// Why it was stopped, where no one asked for it.
    pub stopped: Option<String>,
    /// Why its jobs cannot pause, although early stopping wants them to, and what happens instead.
    pub cannot_pause: Option<String>,
}

impl SweepView {
    pub fn id(&self) -> SweepId {
        self.definition.id
    }

    /// How many jobs it has.
    pub fn job_count(&self) -> u64 {
        self.definition.job_count()
    }
}

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub pending: u64,
    pub running: u64,
    /// Jobs that have trained as far as they were granted, and may be promoted.
    pub paused: u64,
    /// Jobs that trained all their epochs.
    pub done: u64,
    /// Jobs whose loss is no longer a number.
    pub diverged: u64,
    /// Jobs that the rule of early stopping ended; in a sweep that has ended, also those that were paused.
    pub stopped: u64,
    /// Jobs without attempts left.
    pub failed: u64,
    /// Jobs ended by `stop` or `cancel`.
    pub cancelled: u64,
}

/// Why jobs of a sweep wait, and for how long none has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: WaitReason,
    /// The same for people.
    pub text: String,
    /// How long none of the sweep's jobs has run, in milliseconds; 0 while some do.
    pub idle_ms: u64,
    /// Wall-clock time since when; none while some do.
    pub since_unix_ms: Option<u64>,
}

/// Why jobs of a sweep wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// No worker is connected that takes jobs.
    NoWorker,
    /// No connected worker can train this sweep.
    NoneCanTrain,
    /// Every connected worker is quarantined.
    AllQuarantined,
    /// The sweep is paused.
    Paused,
    /// As many jobs run as `max_parallel` allows.
    MaxParallel,
    /// Their owner's jobs hold as many slots as the quota allows.
    Quota,
    /// Every slot that could take them is busy.
    SlotsBusy,
    /// The data set is not available at the moment.
    DataSet,
    /// The searcher outside has not proposed their points yet.
    NoPoint,
}

/// Weights that are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptWeights {
    pub job: u64,
    /// The attempt that trained them.
    pub attempt: u32,
    pub worker: WorkerName,
    pub file: WeightsFile,
    /// The value that ranks the job.
    pub value: f64,
}

/// A sweep and what runs of it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub sweep: SweepView,
    /// The jobs in training, in the order of their numbers.
    pub running: Vec<RunningJob>,
}

/// A job in training.
#[derive(Debug, Clone)]
pub struct RunningJob {
    pub attempt: AttemptKey,
    /// The worker that trains it.
    pub worker: WorkerName,
    pub slot: u32,
    pub device: String,
    /// Epochs that are durable.
    pub epochs_done: u32,
    /// Epochs in all; none where the program decides.
    pub epochs_total: Option<u32>,
    /// Share of the current epoch, in [0, 1]; of the data set's preparation while `preparing`.
    pub fraction: f64,
    /// True until its trainer has the data set.
    pub preparing: bool,
    /// The last durable epoch.
    pub last: Option<Epoch>,
}

/// A worker's status for users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerStatus {
    /// It takes jobs.
    Connected,
    /// It takes no more jobs and leaves.
    Draining,
    /// It gets no jobs, or none of some sweeps, until something changes.
    Quarantined,
    /// Its stream is gone.
    Disconnected,
}

/// A worker as it is now.
#[derive(Debug, Clone)]
pub struct WorkerView {
    pub name: WorkerName,
    /// Its machine, for people.
    pub host: String,
    /// Its program's version, for people.
    pub software_version: String,
    /// What it is at the moment.
    pub status: WorkerStatus,
    /// What can run jobs there.
    pub slots: Vec<SlotDescription>,
    /// What its GPUs did when it was last heard.
    pub gpus: Vec<GpuUse>,
    /// The attempts that occupy its slots.
    pub running: Vec<AttemptKey>,
    /// How many of them are occupied.
    pub busy_slots: u32,
    /// Wall-clock time of its last message, in milliseconds since 1970.
    pub last_seen_unix_ms: u64,
    /// Why it is quarantined, leaves or has left, or that another worker of its name is turned away, or that it describes a
    /// model in another way than new sweeps; empty otherwise.
    pub reason: String,
    /// That workers describe one of its models in several ways, whichever counts.
    pub differs: Option<String>,
    /// The names of the models that its trainer trains; none once its stream is gone.
    pub models: Vec<String>,
    /// Whether it runs users' programs.
    pub runs_programs: bool,
    /// It has confirmed that it leaves. A mere order to leave is forgotten with this coordinator if it has not arrived.
    pub has_said_draining: bool,
}

impl WorkerView {
    /// Roughly the memory that it takes, which is about the size of its message.
    pub(super) fn bytes(&self) -> usize {
        let slot = |slot: &SlotDescription| size_of_val(slot) + slot.device.len() + slot.description.len();
        size_of::<Self>()
            + [&self.host, &self.software_version, &self.reason]
                .into_iter()
                .chain(&self.differs)
                .map(|text| text.len())
                .sum::<usize>()
            + self.slots.iter().map(slot).sum::<usize>()
            + self.gpus.iter().map(GpuUse::bytes).sum::<usize>()
            + self.models.iter().map(|name| size_of_val(name) + name.len()).sum::<usize>()
            + size_of_val(self.running.as_slice())
    }
}

impl SweepRun {
    /// The sweep as users see it.
    pub(super) fn view(&self) -> SweepView {
        SweepView {
            definition: Arc::clone(self.definition()),
            state: self.state(),
            counts: self.counts(),
            created_unix_ms: self.created_unix_ms(),
            owner: self.owner().cloned(),
            share: None,
            ended_unix_ms: self.ended_unix_ms(),
            best: self.best(),
            dataset: self.dataset().cloned(),
            waiting: None,
            best_weights: self.best_weights(),
            weights_awaited: self.weights().awaited(),
            metrics: self.metrics().clone(),
            left_out: self.left_out().clone(),
            unread_parameters: self.parameters().unread.iter().cloned().collect(),
            stopped: self.stopped(),
            cannot_pause: self.cannot_pause(),
        }
    }

    /// The sweep and what runs.
    pub(super) fn snapshot(&self) -> Snapshot {
        let running = self.attempts().map(|(attempt, active)| RunningJob {
            attempt,
            worker: active.worker().clone(),
            slot: active.placement().slot,
            device: active.placement().device.clone(),
            epochs_done: active.epochs_done(),
            epochs_total: active.epochs_total(),
            fraction: active.fraction(),
            preparing: !active.has_started(),
            last: active.results().last.clone(),
        });
        Snapshot { sweep: self.view(), running: running.collect() }
    }
}
