//! What ends single jobs, and what is tried again.

use std::sync::Arc;

use domain::record::EndedJob;
use engine::{
    ControlError, Issuer, JobEnd, SweepView,
    command::{EndJob, Retried, Retry},
    query::SeeEnds,
};
use store::JobRow;
use terms::{JobKey, JobState, SweepId};

use super::{
    Answer, Api, ApiError,
    error::{task_ended, unreadable},
    page::PAGE_ROWS_MAX,
};
use crate::driver::CallError;

/// Most jobs that one call has tried again; the rest takes another call. They share a commit, which has 4 s under PostgreSQL: it
/// takes about one where nothing is optimised.
const RETRIED_JOBS_MAX: usize = 25_000;
/// How often the jobs of a retry are read again because others were tried again meanwhile, or the sweep had its end.
const RETRY_TRIES_MAX: u32 = 10;

/// What is to be tried again.
#[derive(Debug, Clone, Copy)]
pub struct RetryRequest {
    /// Of which sweep.
    pub sweep: SweepId,
    /// Only this job.
    pub job: Option<u64>,
    /// Jobs that were cancelled too, and not only those that failed.
    pub cancelled_too: bool,
}

impl Api {
    /// Has jobs that failed or were cancelled tried again. It comes to its end also where the caller hangs up.
    ///
    /// # Errors
    /// The sweep or the job is in another state.
    pub async fn retry(&self, issuer: Issuer, request: RetryRequest) -> Result<Answer<Retried>, ApiError> {
        let alone = Arc::clone(&self.retries).lock_owned().await;
        let api = self.clone();
        // A task of its own: what is on its way to the engine keeps others waiting also when the user hangs up.
        let retrying = self.tasks.spawn(async move {
            let _alone = alone;
            api.retry_alone(issuer, request).await
        });
        retrying.await.map_err(|_| task_ended())?
    }

    async fn retry_alone(&self, issuer: Issuer, request: RetryRequest) -> Result<Answer<Retried>, ApiError> {
        let sweep = request.sweep;
        let mut tries_left = RETRY_TRIES_MAX;
        loop {
            // Of the engine itself, and durable when it is answered: what is read then is what the engine knows.
            let seen = self.leadership.query_engine(SeeEnds(sweep)).await?;
            let (jobs, all) = self.jobs_to_retry(request).await?;
            tries_left -= 1;
            let place = self.answer().await?;
            match self.leadership.command(issuer.clone(), Retry { sweep, jobs, all, seen }).await {
                Ok(content) => return Ok(Answer { content, _place: place }),
                Err(CallError::Refused(ControlError::Overtaken)) if tries_left > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Jobs in these states, at most [`RETRIED_JOBS_MAX`] in all: their numbers and attempts.
    async fn ended_jobs(&self, sweep: SweepId, states: &[JobState]) -> Result<Vec<EndedJob>, ApiError> {
        let mut jobs: Vec<EndedJob> = Vec::new();
        for &state in states {
            let mut first = 1;
            while jobs.len() < RETRIED_JOBS_MAX {
                let rows = self.store.jobs_in_state(sweep, state, first, PAGE_ROWS_MAX).await;
                let rows = rows.map_err(unreadable)?;
                jobs.extend(rows.iter().map(|row| EndedJob { job: row.job, attempts: row.attempts, state }));
                match rows.last().filter(|_| rows.len() == PAGE_ROWS_MAX as usize) {
                    Some(last) => first = last.job + 1,
                    None => break,
                }
            }
        }
        jobs.truncate(RETRIED_JOBS_MAX);
        Ok(jobs)
    }

    /// The row of a job; none of one that never began.
    async fn row(&self, key: JobKey) -> Result<Option<JobRow>, ApiError> {
        let rows = self.store.jobs(key.sweep, key.job, 1).await.map_err(unreadable)?;
        Ok(rows.into_iter().find(|row| row.job == key.job))
    }

    /// Ends one job. Asked twice, it does no more.
    pub(super) async fn end_job(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        job: u64,
        how: JobEnd,
    ) -> Result<Answer<SweepView>, ApiError> {
        let job = JobKey { sweep, job };
        let place = self.answer().await?;
        match self.leadership.command(issuer, EndJob { job, how }).await {
            Ok(content) => Ok(Answer { content, _place: place }),
            Err(CallError::Refused(ControlError::JobHasEnded(key))) => {
                drop(place);
                match ended_job(key, self.row(key).await?).state {
                    JobState::Cancelled => self.sweep(sweep).await,
                    state => Err(ApiError::Refused(format!("job {key} is {} already", state.as_str()))),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Which jobs a retry is about, and whether they are all that the sweep has.
    async fn jobs_to_retry(&self, request: RetryRequest) -> Result<(Vec<EndedJob>, bool), ApiError> {
        let sweep = request.sweep;
        let states = [JobState::Failed, JobState::Cancelled];
        let states = if request.cancelled_too { &states[..] } else { &states[..1] };
        let Some(job) = request.job else {
            return Ok((self.ended_jobs(sweep, states).await?, request.cancelled_too));
        };
        let (definition, state) = self.definition(sweep).await?;
        let key = JobKey { sweep, job };
        if job > definition.job_count() {
            return Err(ControlError::NoSuchJob { job: key, jobs: definition.job_count() }.into());
        }
        let row = self.row(key).await?;
        if row.is_none() && !state.is_final() {
            // It waits for its first attempt, as was asked for.
            return Ok((Vec::new(), false));
        }
        let job = ended_job(key, row);
        match job.state {
            // It is tried again already.
            JobState::Pending | JobState::Running => Ok((Vec::new(), false)),
            state if states.contains(&state) => Ok((vec![job], false)),
            state => Err(ApiError::Refused(format!("job {key} is {}, not failed", state.as_str()))),
        }
    }
}

/// How a job ended. In a sweep that was stopped or cancelled, one that never began has no row.
fn ended_job(key: JobKey, row: Option<JobRow>) -> EndedJob {
    let never_began = EndedJob { job: key.job, attempts: 0, state: JobState::Cancelled };
    row.map_or(never_began, |row| EndedJob { job: row.job, attempts: row.attempts, state: row.state })
}
