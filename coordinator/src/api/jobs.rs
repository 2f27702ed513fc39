//! Jobs: in pages, and one with all that is known of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use domain::{definition::SweepDefinition, record::WeightsState};
use engine::query::Defined;
use store::{AttemptRow, CountingEpochs, EpochRow, JobRow, ResultRows};
use terms::{JobKey, JobState, ParameterMap, SweepId, SweepState, VariantArray};

use super::{Api, ApiError, Page, error::unreadable, page::PAGE_ROWS_MAX};

/// Jobs looked at for one page where their rows cannot tell: a page may come back short but never late.
const PAGE_SCAN_MAX: u64 = 1_000;
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
        let without_row = if sweep.is_final() { JobState::Cancelled } else { JobState::Pending };
        let reason = match (&row, sweep.is_final()) {
            (None, true) => not_needed.clone().unwrap_or_default(),
            (None, false) if !is_known => NOT_PROPOSED.to_owned(),
            _ => String::new(),
        };
        Self {
            job,
            parameters: if is_known { definition.parameters(job) } else { ParameterMap::default() },
            state: row.as_ref().map_or(without_row, |row| shown(row.state, *sweep)),
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
    /// A page of the jobs of a sweep in some states, or of all where none is wanted.
    ///
    /// # Errors
    /// There is no such sweep or page.
    pub async fn jobs(
        &self,
        sweep: SweepId,
        wanted: &BTreeSet<JobState>,
        page: &Page,
    ) -> Result<JobsPage, ApiError> {
        let limit = page.limit()?;
        let defined = self.defined(sweep).await?;
        let first = page.number()?.unwrap_or(1).max(1);
        let (jobs, next) = if !wanted.is_empty() && wanted.iter().all(|state| has_row(*state)) {
            self.page_of_rows(&defined, wanted, first, limit).await?
        } else {
            self.page_of_jobs(&defined, wanted, first, limit).await?
        };
        Ok(JobsPage { jobs, next: Some(next).filter(|next| *next <= defined.definition.job_count()) })
    }

    /// One job with its attempts and epochs.
    ///
    /// # Errors
    /// The sweep has no such job.
    pub async fn job(&self, key: JobKey) -> Result<JobDetail, ApiError> {
        let defined = self.defined(key.sweep).await?;
        check_job(&defined.definition, key.job)?;
        let found = self.jobs_between(&defined, key.job, key.job).await?.pop();
        let job = found.ok_or_else(|| ApiError::NotFound(format!("there is no job {key}")))?;
        let attempts = self.store.attempts(key).await.map_err(unreadable)?;
        let mut counting = CountingEpochs::new(Arc::clone(&self.store) as _, key.sweep, key.job, key.job);
        let (attempt, done) = job.row.as_ref().map_or((0, 0), |row| (row.attempts, row.epochs_done));
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

    /// The jobs `first` to `last`, those without a row included.
    pub(super) async fn jobs_between(
        &self,
        defined: &Defined,
        first: u64,
        last: u64,
    ) -> Result<Vec<JobView>, ApiError> {
        jobs_between(&*self.store, defined, (first, last)).await
    }

    /// A page of the jobs from `first` on in the wanted states, all of which have rows, and where the next page begins.
    async fn page_of_rows(
        &self,
        defined: &Defined,
        wanted: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<(Vec<JobView>, u64), ApiError> {
        let mut rows = Vec::new();
        let kept = JobState::VARIANTS.iter().filter(|kept| wanted.contains(&shown(**kept, defined.state)));
        for wanted in kept {
            let found = self.store.jobs_in_state(defined.definition.id, *wanted, first, limit).await;
            rows.extend(found.map_err(unreadable)?);
        }
        rows.sort_by_key(|row| row.job);
        // One that changes its state between the questions answers both.
        rows.dedup_by_key(|row| row.job);
        rows.truncate(limit as usize);
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map_or(u64::MAX, |row| row.job + 1);
        let job = |row: JobRow| JobView::new(defined, row.job, Some(row));
        let mut jobs: Vec<_> = rows.into_iter().map(job).collect();
        mark_weights(&*self.store, defined.definition.id, &mut jobs).await?;
        Ok((jobs, next))
    }

    /// The same for any states, or all where none is wanted: looks at one job after the other.
    async fn page_of_jobs(
        &self,
        defined: &Defined,
        wanted: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<(Vec<JobView>, u64), ApiError> {
        let (mut next, limit) = (first, u64::from(limit));
        let scan_end = next.saturating_add(PAGE_SCAN_MAX);
        // Where most may be left out, many are read at a time.
        let read = if wanted.is_empty() { limit } else { u64::from(PAGE_ROWS_MAX) };
        let mut jobs: Vec<JobView> = Vec::new();
        while next <= defined.definition.job_count() && next < scan_end && (jobs.len() as u64) < limit {
            let last = (next + read - 1).min(defined.definition.job_count());
            for job in self.jobs_between(defined, next, last).await? {
                if (jobs.len() as u64) == limit {
                    break;
                }
                next = job.job + 1;
                if wanted.is_empty() || wanted.contains(&job.state) {
                    jobs.push(job);
                }
            }
        }
        Ok((jobs, next))
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

/// Whether every job in this state has a row; one that never began, or was cancelled before, has none.
fn has_row(state: JobState) -> bool {
    match state {
        JobState::Pending | JobState::Cancelled => false,
        JobState::Running
        | JobState::Paused
        | JobState::Done
        | JobState::Diverged
        | JobState::Stopped
        | JobState::Failed => true,
    }
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
