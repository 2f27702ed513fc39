//! Jobs: in pages, and one with all that is known of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use domain::{definition::SweepDefinition, record::WeightsState};
use engine::query::{Defined, ListUnbegun};
use store::{AttemptRow, CountingEpochs, EpochPlace, EpochRow, JobRow, ResultRows};
use terms::{JobKey, JobState, ParameterMap, SweepId, SweepState, VariantArray};

use super::{Api, ApiError, Page, error::unreadable};

/// Weights read from the store at a time.
const WEIGHTS_AT_A_TIME: u32 = 1_000;

/// A job as it is now.
#[derive(Debug, Clone)]
pub struct JobView {
    /// Its number within the sweep, from 1.
    pub job: u64,
    /// Its parameters, in the space's order.
    pub parameters: ParameterMap,
    /// Its state.
    pub state: JobState,
    /// What its attempts brought; none before the first.
    pub row: Option<JobRow>,
    /// What became of its weights, where there is something to say.
    pub weights: Option<WeightsState>,
    /// What there is to say of one without a row; empty for nothing.
    pub reason: String,
    /// When it trained, in reports alone.
    pub times: JobTimes,
    /// On which device its last attempt trained, in reports alone; empty where it did not, or is not said.
    pub device: String,
}

/// When a job trained, in milliseconds since 1970; nothing where it did not, or is not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobTimes {
    /// When its first attempt was granted.
    pub started_unix_ms: Option<u64>,
    /// When its last attempt ended, of a job that has ended.
    pub ended_unix_ms: Option<u64>,
}

/// The reason of a job whose parameters are not chosen yet.
const NOT_PROPOSED: &str = "not proposed yet";

impl JobView {
    /// A job of the sweep: its row, or what its absence means.
    fn new(defined: &Defined, job: u64, row: Option<JobRow>) -> Self {
        let Defined { definition, state: sweep, not_needed, .. } = defined;
        let is_known = row.is_some() || is_proposed(defined, job);
        let reason = match (&row, sweep.is_final()) {
            (None, true) => not_needed.clone().unwrap_or_default(),
            (None, false) if !is_known => NOT_PROPOSED.to_owned(),
            _ => String::new(),
        };
        Self {
            job,
            parameters: if is_known { definition.parameters(job) } else { ParameterMap::default() },
            state: row.as_ref().map_or(unbegun(*sweep), |row| shown(row.state, *sweep)),
            row,
            weights: None,
            reason,
            times: JobTimes::default(),
            device: String::new(),
        }
    }
}

/// Whether the point of a job is known, and durably so: those that came after the sweep was asked for may not be.
fn is_proposed(Defined { definition, proposed, .. }: &Defined, job: u64) -> bool {
    definition.learned().is_none() || definition.proposed(job).is_some_and(|point| point.place <= *proposed)
}

/// Which jobs are asked for.
#[derive(Debug, Clone, Default)]
pub struct WantedJobs {
    /// States of which one must be the job's; any where there are none.
    pub states: BTreeSet<JobState>,
    /// Whether a job must have begun, or must not have; either where there is none. One that was cancelled by itself counts as begun.
    pub begun: Option<bool>,
}

impl From<BTreeSet<JobState>> for WantedJobs {
    fn from(states: BTreeSet<JobState>) -> Self {
        Self { states, begun: None }
    }
}

/// A page of jobs.
#[derive(Debug)]
pub struct JobsPage {
    /// In the order of their numbers.
    pub jobs: Vec<JobView>,
    /// The number at which the next page begins; none on the last.
    pub next: Option<u64>,
}

/// A job with all that is known of it.
#[derive(Debug)]
pub struct JobDetail {
    /// The job.
    pub job: JobView,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptRow>,
    /// The epochs that count, in order.
    pub epochs: Vec<EpochRow>,
    /// Why it has its point, where a searcher that learns proposed it.
    pub proposal: Option<String>,
}

impl Api {
    /// A page of the jobs of a sweep, of all or of those that are wanted: each but the last is full.
    ///
    /// # Errors
    /// There is no such sweep or page.
    pub async fn jobs(&self, sweep: SweepId, wanted: &WantedJobs, page: &Page) -> Result<JobsPage, ApiError> {
        let limit = page.limit()?;
        let defined = self.defined(sweep).await?;
        let first = page.number()?.unwrap_or(1).max(1);
        let job_count = defined.definition.job_count();
        let jobs = if wanted.states.is_empty() && wanted.begun.is_none() {
            let last = first.saturating_add(u64::from(limit) - 1).min(job_count);
            if first > last { Vec::new() } else { self.jobs_between(&defined, first, last).await? }
        } else {
            self.page_of_some(&defined, wanted, first, limit).await?
        };
        let is_full = jobs.len() == limit as usize;
        let next = jobs.last().filter(|_| is_full).map(|last| last.job + 1);
        Ok(JobsPage { jobs, next: next.filter(|next| *next <= job_count) })
    }

    /// One job with its attempts and epochs.
    ///
    /// # Errors
    /// The sweep has no such job.
    pub async fn job(&self, key: JobKey) -> Result<JobDetail, ApiError> {
        self.job_after(key, 0).await
    }

    /// The same with its epochs beyond one alone, for who has the others.
    ///
    /// # Errors
    /// The sweep has no such job.
    pub async fn job_after(&self, key: JobKey, after: u32) -> Result<JobDetail, ApiError> {
        let defined = self.defined(key.sweep).await?;
        check_job(&defined.definition, key.job)?;
        let found = self.jobs_between(&defined, key.job, key.job).await?.pop();
        let job = found.ok_or_else(|| ApiError::NotFound(format!("there is no job {key}")))?;
        let attempts = self.store.attempts(key).await.map_err(unreadable)?;
        let (attempt, done) = job.row.as_ref().map_or((0, 0), |row| (row.attempts, row.epochs_done));
        let known = EpochPlace { job: key.job, attempt, epoch: after };
        let mut counting = CountingEpochs::beyond(Arc::clone(&self.store) as _, key.sweep, known);
        let mut epochs = Vec::new();
        // As many as a job may have, at most.
        while let Some(row) = counting.next(key.job, attempt, done).await.map_err(unreadable)? {
            epochs.push(row);
        }
        let proposed = defined.definition.proposed(key.job);
        let proposed = proposed.filter(|_| job.row.is_some() || is_proposed(&defined, key.job));
        let proposal = proposed.map(ToString::to_string);
        Ok(JobDetail { job, attempts, epochs, proposal })
    }

    /// The attempts of a job, in order, without its epochs.
    ///
    /// # Errors
    /// The sweep has no such job.
    pub async fn attempts(&self, key: JobKey) -> Result<Vec<AttemptRow>, ApiError> {
        check_job(&*self.definition(key.sweep).await?, key.job)?;
        self.store.attempts(key).await.map_err(unreadable)
    }

    /// The jobs `first` to `last`, those without a row included.
    pub(super) async fn jobs_between(
        &self,
        defined: &Defined,
        first: u64,
        last: u64,
    ) -> Result<Vec<JobView>, ApiError> {
        jobs_between(&*self.store, defined, (first, last)).await
    }

    /// At most `limit` of the jobs from `first` on that are wanted, in order. What is read is as much of each wanted state, and as many numbers
    /// of jobs that never began, however many there are of others.
    async fn page_of_some(
        &self,
        defined: &Defined,
        wanted: &WantedJobs,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobView>, ApiError> {
        let WantedJobs { states, begun } = wanted;
        let mut numbers = Vec::new();
        if *begun != Some(true) && (states.is_empty() || states.contains(&unbegun(defined.state))) {
            // Asked for before the rows: one that begins meanwhile is found there, too.
            let asked = ListUnbegun { sweep: defined.definition.id, first, limit: limit as usize };
            numbers = self.leadership.query(asked).await?;
        }
        let rows = match begun {
            Some(false) => Vec::new(),
            _ => self.rows_in(defined, states, first, limit).await?,
        };
        let mut jobs: Vec<_> =
            rows.into_iter().map(|row| JobView::new(defined, row.job, Some(row))).collect();
        jobs.extend(numbers.into_iter().map(|job| JobView::new(defined, job, None)));
        jobs.sort_by_key(|job| job.job);
        // One that changes its state between the questions answers both.
        jobs.dedup_by_key(|job| job.job);
        jobs.truncate(limit as usize);
        mark_weights(&*self.store, defined.definition.id, &mut jobs).await?;
        Ok(jobs)
    }

    /// At most `limit` rows of each of these states, or of all where there are none, from the number `first` on.
    async fn rows_in(
        &self,
        defined: &Defined,
        states: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobRow>, ApiError> {
        let sweep = defined.definition.id;
        if states.is_empty() {
            return self.store.jobs(sweep, first, limit).await.map_err(unreadable);
        }
        let mut rows = Vec::new();
        let kept = JobState::VARIANTS.iter().filter(|kept| states.contains(&shown(**kept, defined.state)));
        for state in kept {
            rows.extend(self.store.jobs_in_state(sweep, *state, first, limit).await.map_err(unreadable)?);
        }
        Ok(rows)
    }
}

/// The jobs `first` to `last` of these rows, those without a row included.
pub(super) async fn jobs_between(
    rows: &dyn ResultRows,
    defined: &Defined,
    (first, last): (u64, u64),
) -> Result<Vec<JobView>, ApiError> {
    let count = u32::try_from(last + 1 - first).unwrap_or(u32::MAX);
    let found = rows.jobs(defined.definition.id, first, count).await.map_err(unreadable)?;
    let mut found: HashMap<u64, JobRow> = found.into_iter().map(|row| (row.job, row)).collect();
    let mut jobs: Vec<_> = (first..=last).map(|job| JobView::new(defined, job, found.remove(&job))).collect();
    mark_weights(rows, defined.definition.id, &mut jobs).await?;
    Ok(jobs)
}

/// The state that users see of a job with a row. Once its sweep has ended, early stopping promotes no job any more.
pub(super) fn shown(state: JobState, sweep: SweepState) -> JobState {
    if state == JobState::Paused && sweep.is_final() { JobState::Stopped } else { state }
}

/// The state of a job that never began: it has no row.
fn unbegun(sweep: SweepState) -> JobState {
    if sweep.is_final() { JobState::Cancelled } else { JobState::Pending }
}

/// Refuses a number that no job of the sweep has.
pub(super) fn check_job(definition: &SweepDefinition, job: u64) -> Result<(), ApiError> {
    let job_count = definition.job_count();
    if (1..=job_count).contains(&job) {
        return Ok(());
    }
    Err(ApiError::NotFound(format!("sweep {} has the jobs 1 to {job_count}, not {job}", definition.id)))
}

/// Says of jobs, in the order of their numbers, what became of their weights.
async fn mark_weights(rows: &dyn ResultRows, sweep: SweepId, jobs: &mut [JobView]) -> Result<(), ApiError> {
    let done = || jobs.iter().filter(|job| job.state == JobState::Done).map(|job| job.job);
    let (Some(mut first), Some(last)) = (done().min(), done().max()) else { return Ok(()) };
    while first <= last {
        let found = rows.artifacts(sweep, first, last, WEIGHTS_AT_A_TIME).await.map_err(unreadable)?;
        for row in &found {
            if let Ok(place) = jobs.binary_search_by_key(&row.job, |job| job.job) {
                jobs[place].weights = Some(row.state);
            }
        }
        first = match found.last() {
            Some(row) if found.len() == WEIGHTS_AT_A_TIME as usize => row.job + 1,
            _ => break,
        };
    }
    Ok(())
}
