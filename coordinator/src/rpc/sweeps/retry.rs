//! What ends single jobs, and what is tried again.

use proto::{JobKey, SweepId, v1};
use tonic::{Response, Status};

use super::{SweepServer, pages::PAGE_ROWS_MAX};
use crate::{
    core::{
        engine::{ControlError, Input, JobEnd, Reply},
        record::EndedJob,
        state::JobState,
    },
    driver::CallError,
    rpc::{mismatch, refused, unreadable},
};

/// Most jobs that one call has tried again; the rest takes another call.
const RETRIED_JOBS_MAX: usize = 100_000;

impl SweepServer {
    /// Jobs in these states, at most [`RETRIED_JOBS_MAX`] in all: their numbers and attempts.
    pub(super) async fn ended_jobs(
        &self,
        sweep: SweepId,
        states: &[JobState],
    ) -> Result<Vec<EndedJob>, Status> {
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

    /// What a call on a job's end finds: how the job ended.
    pub(super) async fn ended_job(&self, key: JobKey) -> Result<EndedJob, Status> {
        let rows = self.store.jobs(key.sweep, key.job, 1).await.map_err(unreadable)?;
        // In a sweep that was stopped or cancelled, a job that never began has no row.
        let never_began = EndedJob { job: key.job, attempts: 0, state: JobState::Cancelled };
        let row = rows.into_iter().find(|row| row.job == key.job);
        Ok(row.map_or(never_began, |row| EndedJob { job: row.job, attempts: row.attempts, state: row.state }))
    }

    /// Ends one job. Asked twice, it does no more.
    pub(super) async fn end_job(
        &self,
        sweep: SweepId,
        job: u64,
        how: JobEnd,
    ) -> Result<Response<v1::Sweep>, Status> {
        let job = JobKey { sweep, job };
        match self.seat.call(Input::EndJob { job, how }).await {
            Ok(Reply::Sweep(sweep)) => Ok(Response::new(*sweep)),
            Ok(_) => Err(mismatch()),
            Err(CallError::Refused(ControlError::JobHasEnded(key))) => match self.ended_job(key).await?.state
            {
                JobState::Cancelled => self.sweep(Input::DescribeSweep(sweep)).await,
                state => Err(Status::failed_precondition(format!("job {key} is {} already", state.as_str()))),
            },
            Err(error) => Err(refused(error)),
        }
    }

    /// Which jobs a retry is about, and whether they are all that the sweep has.
    pub(super) async fn jobs_to_retry(
        &self,
        request: &v1::RetrySweepRequest,
    ) -> Result<(Vec<EndedJob>, bool), Status> {
        let sweep = SweepId(request.sweep_id);
        let states = [JobState::Failed, JobState::Cancelled];
        let states = if request.cancelled_too { &states[..] } else { &states[..1] };
        if request.job == 0 {
            return Ok((self.ended_jobs(sweep, states).await?, request.cancelled_too));
        }
        let (definition, state) = self.definition(sweep).await?;
        let key = JobKey { sweep, job: request.job };
        if request.job > definition.job_count() {
            return Err(refused(ControlError::NoSuchJob { job: key, jobs: definition.job_count() }.into()));
        }
        if !state.is_final() && self.store.jobs(sweep, request.job, 1).await.map_err(unreadable)?.is_empty() {
            // It waits for its first attempt, as was asked for.
            return Ok((Vec::new(), false));
        }
        let job = self.ended_job(key).await?;
        match job.state {
            // It is tried again already.
            JobState::Pending | JobState::Running => Ok((Vec::new(), false)),
            state if states.contains(&state) => Ok((vec![job], false)),
            state => Err(Status::failed_precondition(format!("job {key} is {}, not failed", state.as_str()))),
        }
    }
}
