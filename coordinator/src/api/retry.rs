//! What ends single jobs, and what is tried again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::record::EndedJob;
use engine::{
    ControlError, Issuer, JobEnd, Revived, SweepView,
    command::{EndJob, Retried, Retry},
    query::{Define, Defined, SeeEnds},
};
use store::JobRow;
use terms::{JobKey, JobState, SweepId, SweepState};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Answer, Api, ApiError,
    error::{task_ended, unreadable},
    jobs::shown,
    page::PAGE_ROWS_MAX,
};
use crate::driver::CallError;

/// Jobs that are tried again in one turn of the engine, one commit, which has 4 s under PostgreSQL: it takes about one where nothing
/// is optimised. A call takes as many turns as there are jobs.
const JOBS_A_TURN: usize = 25_000;
/// A call begins no turn after this time: its user waits a minute for the answer.
const TURNS_BEGIN_WITHIN: Duration = Duration::from_secs(30);
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

/// What one turn of the engine has tried again.
#[derive(Debug, Clone, Copy)]
struct Turn {
    request: RetryRequest,
    /// The last job of the turn before, and its state.
    after: Option<(JobState, u64)>,
    jobs_max: usize,
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
            api.retry_in_turns(issuer, request, JOBS_A_TURN, TURNS_BEGIN_WITHIN).await
        });
        retrying.await.map_err(|_| task_ended())?
    }

    /// Has the jobs tried again, at most `jobs_a_turn` at a time, and begins no turn after `begin_within`. No job twice: one that fails again meanwhile has failed after the
    /// call began.
    pub(super) async fn retry_in_turns(
        &self,
        issuer: Issuer,
        request: RetryRequest,
        jobs_a_turn: usize,
        begin_within: Duration,
    ) -> Result<Answer<Retried>, ApiError> {
        let (begun, mut after, mut jobs) = (Instant::now(), None, 0);
        loop {
            let turn = Turn { request, after, jobs_max: jobs_a_turn };
            let retried = match self.retry_a_turn(issuer.clone(), turn).await {
                Ok(retried) => retried,
                Err(error) if jobs > 0 => return Err(after_some(jobs, &error)),
                Err(error) => return Err(error),
            };
            let (mut answer, last) = retried;
            jobs += answer.content.jobs;
            after = last;
            if after.is_none() || begun.elapsed() >= begin_within {
                answer.content.jobs = jobs;
                return Ok(answer);
            }
        }
    }

    /// Has jobs tried again in one turn of the engine. Also returns the last of them if there may be more.
    async fn retry_a_turn(
        &self,
        issuer: Issuer,
        turn: Turn,
    ) -> Result<(Answer<Retried>, Option<(JobState, u64)>), ApiError> {
        let sweep = turn.request.sweep;
        let mut tries_left = RETRY_TRIES_MAX;
        loop {
            // Of the engine itself, and durable when it is answered: what is read then is what the engine knows.
            let seen = self.leadership.query_engine(SeeEnds(sweep)).await?;
            let (jobs, all) = self.jobs_to_retry(turn).await?;
            let last = jobs.last().filter(|_| jobs.len() == turn.jobs_max && turn.request.job.is_none());
            let last = last.map(|last| (last.state, last.job));
            tries_left -= 1;
            let place = self.answer().await?;
            let (revived, _only) = match jobs.is_empty() && !all {
                true => Default::default(),
                false => self.revived_if_ended(sweep, !jobs.is_empty()).await?,
            };
            let command = Retry { sweep, jobs, all, seen, revived };
            match self.leadership.command(issuer.clone(), command).await {
                Ok(content) => return Ok((Answer { content, _place: place }, last)),
                Err(CallError::Refused(ControlError::Overtaken)) if tries_left > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The searcher of a sweep, where it has ended and goes on. One that was stopped or cancelled may have jobs that never began; one that
    /// has finished goes on with those that it `has_jobs` to try again, or not at all.
    async fn revived_if_ended(
        &self,
        sweep: SweepId,
        has_jobs: bool,
    ) -> Result<(Revived, Option<OwnedSemaphorePermit>), ApiError> {
        let Defined { definition, state, .. } = self.leadership.query_engine(Define(sweep)).await?;
        let goes_on = state.is_final() && (has_jobs || state != SweepState::Finished);
        if goes_on { self.revived(&definition).await } else { Ok(Default::default()) }
    }

    /// The jobs of a turn in these states: their numbers and attempts.
    async fn ended_jobs(&self, turn: Turn, states: &[JobState]) -> Result<Vec<EndedJob>, ApiError> {
        let mut jobs: Vec<EndedJob> = Vec::new();
        let is_done = |state: &&JobState| turn.after.is_some_and(|(last, _)| last != **state);
        for &state in states.iter().skip_while(is_done) {
            let mut first = turn.after.filter(|(last, _)| *last == state).map_or(1, |(_, job)| job + 1);
            while jobs.len() < turn.jobs_max {
                let rows = self.store.jobs_in_state(turn.request.sweep, state, first, PAGE_ROWS_MAX).await;
                let rows = rows.map_err(unreadable)?;
                jobs.extend(rows.iter().map(|row| EndedJob { job: row.job, attempts: row.attempts, state }));
                match rows.last().filter(|_| rows.len() == PAGE_ROWS_MAX as usize) {
                    Some(last) => first = last.job + 1,
                    None => break,
                }
            }
        }
        jobs.truncate(turn.jobs_max);
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
                // One that is paused has ended if its sweep has.
                match shown(ended_job(key, self.row(key).await?).state, SweepState::Finished) {
                    JobState::Cancelled => self.sweep(sweep).await,
                    state => Err(ApiError::Refused(format!("job {key} is {} already", state.as_str()))),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Which jobs a retry is about, and whether they are all that the sweep has.
    async fn jobs_to_retry(&self, turn: Turn) -> Result<(Vec<EndedJob>, bool), ApiError> {
        let request = turn.request;
        let sweep = request.sweep;
        let states = [JobState::Failed, JobState::Cancelled];
        let states = if request.cancelled_too { &states[..] } else { &states[..1] };
        let Some(job) = request.job else {
            // A user who has stopped the sweep since the first turn does not want it to go on.
            let all = request.cancelled_too && turn.after.is_none();
            return Ok((self.ended_jobs(turn, states).await?, all));
        };
        let Defined { definition, state, .. } = self.defined(sweep).await?;
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
        match shown(job.state, state) {
            // It is tried again already, or goes on by itself.
            JobState::Pending | JobState::Running | JobState::Paused => Ok((Vec::new(), false)),
            state if states.contains(&state) => Ok((vec![job], false)),
            state => Err(ApiError::Refused(format!("job {key} is {}, not failed", state.as_str()))),
        }
    }
}

/// Why a call ends although some of its jobs are tried again.
fn after_some(jobs: u64, error: &ApiError) -> ApiError {
    ApiError::Aborted(format!(
        "the retry ended early, with {jobs} of the jobs: {error}; `sweep retry` tries the rest again"
    ))
}

/// How a job ended. In a sweep that was stopped or cancelled, one that never began has no row.
fn ended_job(key: JobKey, row: Option<JobRow>) -> EndedJob {
    let never_began = EndedJob { job: key.job, attempts: 0, state: JobState::Cancelled };
    row.map_or(never_began, |row| EndedJob { job: row.job, attempts: row.attempts, state: row.state })
}
