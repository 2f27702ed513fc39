//! One sweep in the engine. Its fields change only through the transitions below and in `transitions`. Memory does not grow
//! with the grid: jobs that never started are a number to count from, and finished ones a count. Each job is held only
//! while it runs or waits for another attempt. Where packs start jobs out of order, their numbers are held too: a few
//! bytes each.

mod active;
mod choice;
mod ending;
mod held;
mod invariants;
mod lessons;
pub(crate) mod metrics;
mod plan;
mod points;
mod queue;
mod restored;
pub(crate) mod stopping;
mod transitions;
mod waiting_job;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use domain::{
    best::{Best, BestJobs, BestPoints},
    definition::SweepDefinition,
    record::History,
    text::told_apart,
};
use terms::{
    AttemptKey, DatasetSummary, JobKey, JobState, MetricSchema, MetricUse, ParameterUse, SweepId, SweepState,
    manifest::Described,
};

use self::plan::Plan;
pub(super) use self::{
    active::{ActiveAttempt, Lease},
    plan::Placement,
    waiting_job::WaitingJob,
};
use self::{held::HeldSlots, metrics::LeftOutMetrics, queue::Queue, stopping::Stopping};
use super::{
    EndsSeen, JobCounts, Now,
    learning::{Learning, Searcher},
    weights::Weights,
};
use crate::mutants::{self, Mutant};

#[derive(Debug)]
pub(super) struct SweepRun {
    id: SweepId,
    definition: Arc<SweepDefinition>,
    state: SweepState,
    created_unix_ms: u64,
    /// Who submitted it; none where no one was asked for a name.
    owner: Option<Arc<str>>,
    /// The owner's number.
    account: usize,
    ended_unix_ms: Option<u64>,
    dataset: Option<Arc<DatasetSummary>>,
    /// The names of the metrics so far.
    metrics: MetricSchema,
    /// Values that were dropped.
    left_out: LeftOutMetrics,
    /// Which parameters its programs have read, as far as they said it.
    parameters: ParameterUse,
    /// The smallest job number that never had an attempt.
    next_unstarted: u64,
    /// Larger numbers that had one: packs start jobs out of order.
    out_of_order: BTreeSet<u64>,
    waiting: Queue,
    active: BTreeMap<u64, ActiveAttempt>,
    held: HeldSlots,
    /// Jobs that have trained as far as they were granted, until the rule of early stopping promotes them.
    paused: BTreeMap<u64, WaitingJob>,
    /// The rule of early stopping, where the sweep has one.
    stopping: Option<Stopping>,
    /// The first job that paused without a checkpoint.
    without_checkpoint: Option<u64>,
    /// All jobs that have begun have reached a first rung or have ended: known since it was last looked for, until another begins.
    all_have_come: bool,
    done: u64,
    diverged: u64,
    /// Jobs that the rule of early stopping has ended.
    stopped: u64,
    failed: u64,
    /// Jobs that had an attempt and were cancelled.
    cancelled: u64,
    /// Replaced whenever a list of jobs that failed or were cancelled may be out of date.
    ends: EndsSeen,
    /// The best done jobs.
    best: BestJobs,
    /// Its configurations by their results, where each is trained several times.
    best_points: Option<BestPoints>,
    /// Since when jobs wait and none runs, on the clock of leases.
    idle_since: Option<Now>,
    /// Why, as watchers heard.
    idle_told: String,
    /// The weights that are kept or on their way.
    weights: Weights,
    /// The searcher, if it learns.
    learning: Option<Learning>,
}

impl SweepRun {
    /// A sweep with its searcher, where it has one of its own and has not ended.
    pub(super) fn new(
        definition: &SweepDefinition,
        searcher: Option<Searcher>,
        created_unix_ms: u64,
    ) -> Self {
        let definition = definition.after(None);
        let best_points = BestPoints::new(definition.specification.repeats);
        let learning = definition.learned().map(|points| Learning::new(definition.id, points, searcher));
        Self {
            id: definition.id,
            stopping: Stopping::of(&definition.specification),
            definition: Arc::new(definition),
            state: SweepState::Running,
            created_unix_ms,
            owner: None,
            account: 0,
            ended_unix_ms: None,
            dataset: None,
            metrics: MetricSchema::default(),
            left_out: LeftOutMetrics::default(),
            parameters: ParameterUse::default(),
            next_unstarted: 1,
            out_of_order: BTreeSet::new(),
            waiting: Queue::default(),
            active: BTreeMap::new(),
            held: HeldSlots::default(),
            paused: BTreeMap::new(),
            without_checkpoint: None,
            all_have_come: false,
            done: 0,
            diverged: 0,
            stopped: 0,
            failed: 0,
            cancelled: 0,
            ends: EndsSeen::default(),
            best: BestJobs::default(),
            best_points,
            idle_since: None,
            idle_told: String::new(),
            weights: Weights::default(),
            learning,
        }
    }

    /// The same of an owner.
    pub(super) fn owned_by(self, owner: Option<Arc<str>>) -> Self {
        Self { owner, ..self }
    }

    /// The same of the owner of this number.
    pub(super) fn of_account(self, account: usize) -> Self {
        Self { account, ..self }
    }

    /// The owner's number.
    pub(super) fn account(&self) -> usize {
        self.account
    }

    /// How many slots its jobs hold.
    pub(super) fn slots_held(&self) -> u64 {
        self.held.count()
    }

    /// Who submitted it; none where no one was asked for a name.
    pub(super) fn owner(&self) -> Option<&Arc<str>> {
        self.owner.as_ref()
    }

    pub(super) fn id(&self) -> SweepId {
        self.id
    }

    /// The model that its jobs train; none where they run a user's program.
    pub(super) fn model(&self) -> Option<&Described> {
        self.definition.specification.trainable.model()
    }

    /// How many GPUs a job takes; 0 where its sweep file does not say.
    pub(super) fn gpus(&self) -> u32 {
        self.definition.specification.resources.gpus.unwrap_or(0)
    }

    pub(super) fn definition(&self) -> &Arc<SweepDefinition> {
        &self.definition
    }

    pub(super) fn state(&self) -> SweepState {
        self.state
    }

    pub(super) fn created_unix_ms(&self) -> u64 {
        self.created_unix_ms
    }

    pub(super) fn ended_unix_ms(&self) -> Option<u64> {
        self.ended_unix_ms
    }

    /// What the workers found.
    pub(super) fn dataset(&self) -> Option<&Arc<DatasetSummary>> {
        self.dataset.as_ref()
    }

    /// The names of the metrics so far.
    pub(super) fn metrics(&self) -> &MetricSchema {
        &self.metrics
    }

    /// Values that were dropped.
    pub(super) fn left_out(&self) -> &LeftOutMetrics {
        &self.left_out
    }

    /// Which parameters its programs have read, as far as they said it.
    pub(super) fn parameters(&self) -> &ParameterUse {
        &self.parameters
    }

    /// Identifies the ends of its jobs as they are now.
    pub(super) fn ends(&self) -> &EndsSeen {
        &self.ends
    }

    /// The best configuration: of those with all their trainings, the one with the best mean.
    pub(super) fn best(&self) -> Option<Best> {
        let used = self.definition.metric.used;
        match &self.best_points {
            Some(points) => points.of(used),
            None => self.best.of(used).map(|(job, value)| Best { job, value, trainings: 1 }),
        }
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    /// Since when jobs wait and none runs.
    pub(super) fn idle_since(&self) -> Option<Now> {
        self.idle_since
    }

    /// Its attempts that hold their leases, in the order of their jobs.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (AttemptKey, &ActiveAttempt)> + Clone {
        self.active.iter().map(|(job, active)| (self.attempt_key(*job, active.number()), active))
    }

    pub(super) fn attempts_mut(&mut self) -> impl Iterator<Item = &mut ActiveAttempt> {
        self.active.values_mut()
    }

    /// How many jobs run.
    pub(super) fn running_jobs(&self) -> usize {
        self.active.len()
    }

    /// Whether a job is paused.
    pub(super) fn is_paused(&self, job: u64) -> bool {
        self.paused.contains_key(&job)
    }

    /// How many jobs are paused.
    pub(super) fn paused_jobs(&self) -> u64 {
        self.paused.len() as u64
    }

    /// How many jobs wait, for the first time or again.
    pub(super) fn waiting_jobs(&self) -> u64 {
        self.never_started() + self.waiting.len() as u64
    }

    /// The attempt of a job that holds its lease.
    pub(super) fn current(&self, job: u64) -> Option<&ActiveAttempt> {
        self.active.get(&job)
    }

    pub(super) fn current_mut(&mut self, job: u64) -> Option<&mut ActiveAttempt> {
        self.active.get_mut(&job)
    }

    /// What has gone wrong so far with a job that waits, runs or is paused.
    pub(super) fn history(&self, job: u64) -> Option<&History> {
        let active = self.active.get(&job).map(ActiveAttempt::history);
        let still = || self.waiting.get(job).or_else(|| self.paused.get(&job));
        active.or_else(|| still().map(WaitingJob::history))
    }

    /// Where attempts that begin now find their data set.
    pub(super) fn dataset_path(&self) -> &Path {
        self.definition.specification.dataset_path()
    }

    /// What an attempt of a job that begins now has to do.
    fn plan(&self, job: u64, budget: Option<u32>) -> Plan {
        Plan {
            dataset_path: self.dataset_path().into(),
            epochs_total: self.definition.budget(job),
            may_end_before: self.definition.specification.trainable.program().is_some(),
            budget,
        }
    }

    pub(super) fn job_count(&self) -> u64 {
        self.definition.job_count()
    }

    /// Jobs that never had an attempt.
    pub(super) fn never_started(&self) -> u64 {
        self.job_count() + 1 - self.next_unstarted - self.out_of_order.len() as u64
    }

    /// The jobs from a number on that never had one. Looks at no number below the first of them; beyond, at each that began out of order.
    pub(super) fn unbegun(&self, first: u64) -> impl Iterator<Item = u64> {
        let first = first.max(self.next_unstarted);
        let mut begun = self.out_of_order.range(first..).copied().peekable();
        (first..=self.job_count()).filter(move |job| begun.next_if_eq(job).is_none())
    }

    /// Whether a job ever had an attempt.
    pub(super) fn has_begun(&self, job: u64) -> bool {
        job < self.next_unstarted || self.out_of_order.contains(&job)
    }

    /// Whether a job is in a final state after it had an attempt.
    pub(super) fn has_ended(&self, job: u64) -> bool {
        self.has_begun(job) && self.history(job).is_none()
    }

    /// How many jobs may start now, as far as the sweep's own limit is concerned.
    pub(super) fn room(&self) -> u64 {
        let room = self
            .definition
            .execution
            .max_parallel
            .map(|max| u64::from(max).saturating_sub(self.active.len() as u64));
        room.unwrap_or(u64::MAX).min(self.startable_jobs())
    }

    pub(super) fn attempt_key(&self, job: u64, attempt: u32) -> AttemptKey {
        AttemptKey { job: JobKey { sweep: self.id, job }, attempt }
    }

    /// The active attempt with exactly this number.
    pub(super) fn active(&self, key: AttemptKey) -> Option<&ActiveAttempt> {
        self.active.get(&key.job.job).filter(|active| active.is(key.attempt))
    }

    /// The active attempt with exactly this number.
    pub(super) fn active_mut(&mut self, key: AttemptKey) -> Option<&mut ActiveAttempt> {
        self.active.get_mut(&key.job.job).filter(|active| active.is(key.attempt))
    }

    /// Whether another job may start now.
    pub(super) fn can_start(&self) -> bool {
        self.state == SweepState::Running && self.room() > 0
    }

    /// Stops this attempt and the others of its slot from counting as measurements of speed.
    pub(super) fn forget_pack_keys(&mut self, attempt: AttemptKey) {
        let Some(placement) = self.active(attempt).map(ActiveAttempt::placement).cloned() else { return };
        for active in self.active.values_mut() {
            let other = active.placement();
            if other.slot == placement.slot && other.worker == placement.worker {
                active.forget_pack_key();
            }
        }
    }

    /// Notes that a job begins, so the sweep is not idle.
    pub(super) fn moves(&mut self) {
        self.idle_since = None;
        self.idle_told.clear();
    }

    /// Notes that a job has its first attempt.
    fn begin(&mut self, job: u64) {
        self.all_have_come = false;
        if job != self.next_unstarted {
            self.out_of_order.insert(job);
            return;
        }
        self.next_unstarted += 1;
        while self.out_of_order.remove(&self.next_unstarted) {
            self.next_unstarted += 1;
        }
    }

    /// Whether some job's results come from the data set that was found, so that no other may replace it.
    pub(super) fn data_set_is_settled(&self) -> bool {
        self.done + self.diverged + self.failed + self.stopped + self.paused.len() as u64 > 0
            || self.active.values().any(ActiveAttempt::has_started)
    }

    /// Says to the searcher and to early stopping that a job is paused, or has ended, after this epoch, with the values of the
    /// objective at its last and its best one.
    fn entered(&mut self, job: u64, state: JobState, epoch: u32, last: Option<f64>, best: Option<f64>) {
        let value = self.ranked_value(last, best);
        if let Some(learning) = &mut self.learning {
            learning.entered(job, state, epoch, value);
        }
        if let Some(stopping) = &mut self.stopping {
            stopping.job_entered(job, state);
        }
    }

    /// Counts the end of a job that had an attempt, with the values of the objective at its last and its best epoch.
    fn count_end(&mut self, job: u64, state: JobState, last: Option<f64>, best: Option<f64>) {
        match state {
            JobState::Done => {
                self.done += 1;
                self.best.consider(&self.definition.metric, job, last, best);
                if let Some(points) = &mut self.best_points {
                    points.consider(&self.definition.metric, job, last, best);
                }
            }
            JobState::Diverged => self.diverged += 1,
            JobState::Stopped => self.stopped += 1,
            JobState::Failed => self.failed += 1,
            JobState::Cancelled => self.cancelled += 1,
            JobState::Pending | JobState::Running | JobState::Paused => {}
        }
    }

    pub(super) fn counts(&self) -> JobCounts {
        let (mut pending, mut cancelled) = (self.waiting_jobs(), self.cancelled);
        let (mut paused, mut stopped) = (self.paused.len() as u64, self.stopped);
        if self.state.is_final() {
            cancelled += std::mem::take(&mut pending);
            stopped += std::mem::take(&mut paused);
        }
        JobCounts {
            pending,
            running: self.active.len() as u64,
            paused,
            done: self.done,
            diverged: self.diverged,
            stopped,
            failed: self.failed,
            cancelled,
        }
    }
}
