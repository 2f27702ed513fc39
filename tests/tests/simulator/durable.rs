//! What the disk holds: the records as tables, kept by the rules that no fault may break. It stands in for the
//! store, which the scenarios across processes and the stores' own contract try for real.

mod searches;
mod stored;

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    definition::SweepDefinition,
    proposals::{Learned, LearnedResult, Proposed, Why},
    record::{
        BestEpoch, BestJobs, EndedJob, History, Quota, Record, Rung, StoredAttempt, StoredJob, StoredRungs,
        StoredSearch, StoredStage, StoredSweep,
    },
};
use engine::{Revived, SweepView, query::SearchResult, recomputed};
use proto::v1;
use terms::{
    AttemptKey, AttemptState, Epoch, EpochReport, JobKey, JobState, MetricSchema, SweepId, SweepState,
    WorkerName,
};
use tests::chaos::light_epoch;

use super::{
    reference::Reference,
    world::{EPOCHS, searching::is_proposal},
};

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Durable {
    sweeps: BTreeMap<SweepId, Sweep>,
    jobs: BTreeMap<JobKey, Job>,
    attempts: BTreeMap<AttemptKey, Attempt>,
    epochs: BTreeMap<(AttemptKey, u32), Epoch>,
    requests: BTreeSet<(Option<String>, String)>,
    proposals: BTreeMap<JobKey, Proposed>,
    learned: BTreeMap<SweepId, Vec<Learned>>,
    quotas: BTreeMap<String, Quota>,
    /// The states and numbers of jobs that each sweep had, one after the other.
    histories: BTreeMap<SweepId, Vec<(SweepState, u64)>>,
}

#[derive(Debug)]
struct Sweep {
    request_id: String,
    owner: Option<String>,
    specification: String,
    state: SweepState,
    created_unix_ms: u64,
    ended_unix_ms: Option<u64>,
    dataset: Option<terms::DatasetSummary>,
    metrics: MetricSchema,
    job_count: u64,
    /// The first job that paused without a checkpoint.
    without_checkpoint: Option<u64>,
    /// Where jobs are stopped early.
    reference: Option<Reference>,
}

#[derive(Debug)]
struct Job {
    state: JobState,
    attempts: u32,
    history: History,
    reason: String,
    last: Option<Epoch>,
    best: Option<BestEpoch>,
    train_seconds: f64,
    /// How far its attempts train.
    budget: Option<u32>,
    /// What it had reached at rungs, by epoch.
    rungs: BTreeMap<u32, Rung>,
    /// How its last attempt has ended, until it is known what that means for it.
    ended: Option<AttemptState>,
}

#[derive(Debug)]
struct Attempt {
    worker: WorkerName,
    slot: u32,
    device: String,
    pack_size: u32,
    started: bool,
    state: AttemptState,
}

impl Attempt {
    /// Whether both run on one GPU, although one of them has several, which it has alone.
    fn shares_gpus_with(&self, other: &Self) -> bool {
        let is_alone = self.device.contains(',') || other.device.contains(',');
        let mut shared =
            self.device.split(',').filter(|own| other.device.split(',').any(|device| device == *own));
        is_alone && self.worker == other.worker && shared.next().is_some()
    }
}

impl Job {
    /// One that never had an attempt.
    fn waiting() -> Self {
        Self {
            state: JobState::Pending,
            attempts: 0,
            history: History::default(),
            reason: String::new(),
            last: None,
            best: None,
            train_seconds: 0.0,
            budget: None,
            rungs: BTreeMap::new(),
            ended: None,
        }
    }
}

/// A sweep as it is stored.
fn defined(sweep: SweepId, specification: &str) -> Result<SweepDefinition, String> {
    SweepDefinition::from_stored(sweep, specification, None).map_err(|error| error.to_string())
}

/// What a simulated training says of an epoch. Its accuracy is one of few, so that jobs are equal now and then.
pub(super) fn expected(job: u64, epoch: u32) -> v1::EpochRecord {
    let light = light_epoch(job, epoch);
    let val_accuracy = (light.val_accuracy * 16.0).floor() / 16.0;
    v1::EpochRecord { epoch_seconds: 0.25, val_accuracy, ..light }
}

pub(super) fn rule(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Durable {
    /// Keeps a record.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), String> {
        if let Record::QuotaKept(quota) = record {
            self.quotas.insert(quota.owner.clone(), Quota::clone(quota));
        }
        self.keep_row(record)?;
        // Of the only sweep; what becomes of several is a broken rule anyway.
        let mut references = self.sweeps.values_mut().filter_map(|sweep| sweep.reference.as_mut());
        references.try_for_each(|reference| reference.keep(record))
    }

    fn keep_row(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::SweepSubmitted { .. }
            | Record::SweepExtended { .. }
            | Record::SweepChanged { .. }
            | Record::DatasetFound { .. }
            | Record::CheckpointMissed { .. }
            | Record::MetricsNamed { .. } => {
                self.keep_of_sweep(record)?;
                for (id, sweep) in &self.sweeps {
                    self.histories.entry(*id).or_default().push((sweep.state, sweep.job_count));
                }
                Ok(())
            }
            Record::PointProposed { job, proposed } => self.take_point(*job, proposed),
            Record::ResultLearned { sweep, number, learned } => {
                let told = self.learned.entry(*sweep).or_default();
                told.push(*learned);
                rule(*number == told.len() as u64, || {
                    format!("result {number} of sweep {sweep} is out of order")
                })
            }
            Record::JobChanged { job, state, history, reason } => {
                if *state == JobState::Cancelled {
                    self.jobs.entry(*job).or_insert_with(Job::waiting);
                }
                let row = self.jobs.get_mut(job).ok_or("a job changed that never ran")?;
                let again = matches!(row.state, JobState::Failed | JobState::Cancelled)
                    && *state == JobState::Pending;
                rule(!row.state.is_final() || again, || {
                    format!("job {job} was {:?} and became {state:?}", row.state)
                })?;
                let ended = row.ended.take();
                let is_charged =
                    history.failures != row.history.failures || history.losses != row.history.losses;
                let is_free = matches!(ended, Some(AttemptState::HandedBack | AttemptState::Unavailable));
                rule(!is_charged || !is_free, || {
                    format!("job {job} was charged for an attempt that is {ended:?}")
                })?;
                let epochs_done = row.last.as_ref().map_or(0, |last| last.number);
                let is_far_enough = row.budget.is_some_and(|budget| epochs_done >= budget);
                rule(*state != JobState::Paused || is_far_enough, || {
                    format!("job {job} is paused after {epochs_done} epochs of {:?}", row.budget)
                })?;
                row.budget = row.budget.filter(|_| !again);
                (row.state, row.history, row.reason) = (*state, history.clone(), reason.clone());
                Ok(())
            }
            Record::RungReached { job, rung } => {
                let row = self.jobs.get_mut(job).ok_or("a job reached a rung that never ran")?;
                row.rungs.insert(rung.epoch, *rung);
                let is_compared = self.sweeps.get(&job.sweep).is_some_and(|sweep| sweep.reference.is_some());
                rule(is_compared, || format!("job {job} of a sweep without rungs has reached {rung:?}"))
            }
            Record::JobPromoted { job, budget, .. } => {
                let row = self.jobs.get_mut(job).ok_or("a job was promoted that never ran")?;
                rule(row.state == JobState::Paused, || {
                    format!("job {job} was promoted while {:?}", row.state)
                })?;
                rule(row.budget.is_some_and(|before| before < *budget), || {
                    format!("job {job} was promoted from {:?} to {budget} epochs", row.budget)
                })?;
                if let Some(mut last) = row.rungs.last_entry() {
                    last.get_mut().goes_on = true;
                }
                (row.state, row.budget) = (JobState::Pending, Some(*budget));
                Ok(())
            }
            _ => self.keep_of_attempt(record),
        }
    }

    fn keep_of_sweep(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::SweepSubmitted {
                sweep,
                request_id,
                specification,
                job_count,
                created_unix_ms,
                owner,
                ..
            } => {
                let is_new = self.requests.insert((owner.clone(), request_id.clone()));
                rule(is_new, || "one request made two sweeps".into())?;
                let row = Sweep {
                    request_id: request_id.clone(),
                    owner: owner.clone(),
                    specification: specification.clone(),
                    state: SweepState::Running,
                    created_unix_ms: *created_unix_ms,
                    ended_unix_ms: None,
                    dataset: None,
                    metrics: MetricSchema::default(),
                    job_count: *job_count,
                    without_checkpoint: None,
                    reference: Reference::of(defined(*sweep, specification)?, *job_count),
                };
                rule(self.sweeps.insert(*sweep, row).is_none(), || format!("sweep {sweep} exists twice"))
            }
            Record::SweepExtended { sweep, specification, job_count, .. } => {
                let begun = self.jobs_of(*sweep).last().map_or(0, |(key, _)| key.job);
                let row = self.sweeps.get_mut(sweep).ok_or("a sweep was extended that does not exist")?;
                // A search that learns may run out of points.
                let learns =
                    ["method: tpe", "method: external"].iter().any(|method| specification.contains(method));
                rule(*job_count >= row.job_count || learns && *job_count >= begun, || {
                    format!("sweep {sweep} has fewer jobs than have begun")
                })?;
                (row.specification, row.job_count) = (specification.clone(), *job_count);
                if let Some(reference) = &mut row.reference {
                    reference.extended(defined(*sweep, specification)?, *job_count);
                }
                Ok(())
            }
            Record::SweepChanged { sweep, state, ended_unix_ms } => {
                let row = self.sweeps.get_mut(sweep).ok_or("a sweep changed that does not exist")?;
                let again = row.state.is_final() && *state == SweepState::Running;
                rule(!row.state.is_final() || again, || {
                    format!("sweep {sweep} was {:?} and became {state:?}", row.state)
                })?;
                (row.state, row.ended_unix_ms) = (*state, *ended_unix_ms);
                Ok(())
            }
            Record::DatasetFound { sweep, dataset } => {
                let row = self.sweeps.get_mut(sweep).ok_or("a data set of a sweep that does not exist")?;
                row.dataset = Some(dataset.clone());
                Ok(())
            }
            Record::CheckpointMissed { job } => {
                let row = self.sweeps.get_mut(&job.sweep).ok_or("a checkpoint of no sweep")?;
                let is_first = row.without_checkpoint.replace(job.job).is_none();
                rule(is_first, || format!("{job} is not the first without a checkpoint"))
            }
            Record::MetricsNamed { sweep, first, names } => {
                let row = self.sweeps.get_mut(sweep).ok_or("metrics of a sweep that does not exist")?;
                rule(*first == row.metrics.len(), || format!("sweep {sweep} has a metric at place {first}"))?;
                for name in names {
                    row.metrics.add(name).map_err(|error| error.to_string())?;
                }
                rule(row.metrics.len() == first + names.len(), || "a metric has two places".into())
            }
            _ => Ok(()),
        }
    }

    fn keep_of_attempt(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::AttemptGranted { attempt, is_first, worker, slot, device, pack_size, budget, .. } => {
                rule(*is_first != self.jobs.contains_key(&attempt.job), || {
                    format!(
                        "{attempt} was granted as if its job had {} row",
                        if *is_first { "no" } else { "a" }
                    )
                })?;
                let row = Attempt {
                    worker: worker.clone(),
                    slot: *slot,
                    device: device.clone(),
                    pack_size: *pack_size,
                    started: false,
                    state: AttemptState::Running,
                };
                let before = self.jobs.get(&attempt.job).and_then(|job| job.budget);
                rule(before.is_none() || before <= *budget, || {
                    format!("{attempt} trains to {budget:?} epochs, its job was to train to {before:?}")
                })?;
                self.grant(*attempt, row)?;
                self.jobs.entry(attempt.job).or_insert_with(Job::waiting).budget = *budget;
                Ok(())
            }
            Record::AttemptStarted { attempt, .. } => {
                self.running(*attempt, "began")?.started = true;
                Ok(())
            }
            Record::EpochRecorded { attempt, epoch, best, train_seconds, .. } => {
                self.running(*attempt, "brought an epoch")?;
                let job = self.jobs.get_mut(&attempt.job).ok_or("an epoch of a job that never ran")?;
                let before = job.last.as_ref().map_or(0, |last| last.number);
                rule(epoch.number == before + 1, || {
                    format!("{attempt} has epoch {} after epoch {before}", epoch.number)
                })?;
                let names = self.sweeps.get(&attempt.job.sweep).map(|sweep| &sweep.metrics);
                let names = names.ok_or("an epoch of a sweep that does not exist")?;
                let trained = EpochReport::from(expected(attempt.job.job, epoch.number));
                let mut metrics = trained.metrics.iter();
                let is_kept = metrics.all(|(name, value)| names.get(&epoch.row, name) == Some(*value));
                let found = epoch.row.iter().flatten().count();
                rule(is_kept && found == trained.metrics.len(), || {
                    format!("{attempt} has other numbers than were trained: {epoch:?}")
                })?;
                let all = (1..=epoch.number).map(|epoch| expected(attempt.job.job, epoch).val_accuracy);
                rule(best.as_ref().is_some_and(|best| best.value == all.fold(0.0, f64::max)), || {
                    format!("{attempt} has another best epoch than was trained: {best:?}")
                })?;
                (job.last, job.best, job.train_seconds) = (Some(epoch.clone()), best.clone(), *train_seconds);
                let twice = self.epochs.insert((*attempt, epoch.number), epoch.clone()).is_some();
                rule(!twice, || format!("{attempt} has epoch {} twice", epoch.number))
            }
            Record::AttemptEnded { attempt, state, .. } => {
                self.running(*attempt, "ended")?.state = *state;
                if let Some(job) = self.jobs.get_mut(&attempt.job) {
                    job.ended = Some(*state);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn grant(&mut self, key: AttemptKey, attempt: Attempt) -> Result<(), String> {
        let shares =
            |other: &&Attempt| other.state == AttemptState::Running && other.shares_gpus_with(&attempt);
        rule(!self.attempts.values().any(|other| shares(&other)), || {
            format!("{key} was granted GPUs that another job on {} has", attempt.worker)
        })?;
        let job = self.jobs.entry(key.job).or_insert_with(Job::waiting);
        rule(job.state == JobState::Pending, || {
            format!("{key} was granted while its job was {:?}", job.state)
        })?;
        rule(key.attempt == job.attempts + 1, || {
            format!("{key} was granted after attempt {}", job.attempts)
        })?;
        (job.state, job.attempts, job.last, job.train_seconds) = (JobState::Running, key.attempt, None, 0.0);
        job.best = None;
        rule(self.attempts.insert(key, attempt).is_none(), || format!("{key} was granted twice"))
    }

    fn running(&mut self, key: AttemptKey, did: &str) -> Result<&mut Attempt, String> {
        let attempt =
            self.attempts.get_mut(&key).ok_or_else(|| format!("{key} {did} and was never granted"))?;
        match attempt.state {
            AttemptState::Running => Ok(attempt),
            state => Err(format!("{key} {did} though it is {state:?}: it is not fenced")),
        }
    }

    /// Whether an attempt has its end; none if it was never granted.
    pub(super) fn has_ended(&self, key: AttemptKey) -> Option<bool> {
        self.attempts.get(&key).map(|attempt| attempt.state != AttemptState::Running)
    }

    /// The attempts that run: at which worker, and of how many in one pack.
    pub(super) fn running_attempts(&self) -> impl Iterator<Item = (AttemptKey, &WorkerName, u32)> {
        let running = self.attempts.iter().filter(|(_, attempt)| attempt.state == AttemptState::Running);
        running.map(|(key, attempt)| (*key, &attempt.worker, attempt.pack_size))
    }

    /// Whether an epoch is kept.
    pub(super) fn has_epoch(&self, key: AttemptKey, epoch: u32) -> bool {
        self.epochs.contains_key(&(key, epoch))
    }

    /// How much has happened to a sweep.
    pub(super) fn history_length(&self, sweep: SweepId) -> usize {
        self.histories.get(&sweep).map_or(0, Vec::len)
    }

    /// Whether a sweep was, at the end of its first `length` changes or later, as a user hears that it is.
    pub(super) fn was_as_told(&self, length: usize, told: &SweepView) -> bool {
        let history = self.histories.get(&told.id()).map_or(&[][..], Vec::as_slice);
        let is_it = |(state, jobs): &(SweepState, u64)| *state == told.state && *jobs == told.job_count();
        history.iter().skip(length.saturating_sub(1)).any(is_it)
    }

    /// The sweeps that are not final.
    pub(super) fn open_sweeps(&self) -> impl Iterator<Item = (SweepId, SweepState)> + '_ {
        self.sweeps.iter().map(|(id, sweep)| (*id, sweep.state)).filter(|(_, state)| !state.is_final())
    }

    /// Whether it is known of a sweep that its jobs leave no checkpoints.
    pub(super) fn has_missed_checkpoint(&self, sweep: SweepId) -> bool {
        self.sweeps.get(&sweep).is_some_and(|sweep| sweep.without_checkpoint.is_some())
    }

    /// How many sweeps there are.
    pub(super) fn sweep_count(&self) -> usize {
        self.sweeps.len()
    }

    /// A sweep's jobs that failed or were cancelled, as a store gives them.
    pub(super) fn ended_jobs(&self, sweep: SweepId) -> Vec<EndedJob> {
        let wanted = |job: &Job| matches!(job.state, JobState::Failed | JobState::Cancelled);
        self.jobs_of(sweep)
            .filter(|(_, job)| wanted(job))
            .map(|(key, job)| EndedJob { job: key.job, attempts: job.attempts, state: job.state })
            .collect()
    }

    fn jobs_of(&self, sweep: SweepId) -> impl Iterator<Item = (&JobKey, &Job)> {
        self.jobs.range(JobKey { sweep, job: 0 }..=JobKey { sweep, job: u64::MAX })
    }

    /// What a report would say, checked: each job that is done has each of its epochs once.
    pub(super) fn check_results(&self) -> Result<(), String> {
        for (id, sweep) in &self.sweeps {
            rule(sweep.state.is_final(), || format!("sweep {id} is {:?} indefinitely", sweep.state))?;
            let definition = defined(*id, &sweep.specification)?;
            let started = self.jobs_of(*id).count() as u64;
            rule(sweep.state != SweepState::Finished || started == sweep.job_count, || {
                format!("sweep {id} is finished after {started} of {} jobs", sweep.job_count)
            })?;
            self.check_jobs(*id, &definition)?;
        }
        self.check_search()
    }

    fn check_jobs(&self, sweep: SweepId, definition: &SweepDefinition) -> Result<(), String> {
        for (key, job) in self.jobs_of(sweep) {
            // Once a sweep has ended, no job is promoted any more.
            let has_ended = job.state.is_final() || job.state == JobState::Paused;
            rule(has_ended, || format!("job {key} is {:?} indefinitely", job.state))?;
            let last = AttemptKey { job: *key, attempt: job.attempts };
            let epochs = definition.budget(key.job).unwrap_or(EPOCHS);
            let whole = (1..=epochs).all(|epoch| self.has_epoch(last, epoch));
            rule(job.state != JobState::Done || whole, || format!("job {key} is done and lacks epochs"))?;
        }
        Ok(())
    }
}
