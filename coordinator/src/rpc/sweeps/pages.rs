//! Jobs as they are listed.

use std::collections::{BTreeSet, HashMap};

use domain::definition::SweepDefinition;
use proto::{Message, v1};
use store::{AttemptRow, JobRow};
use terms::{JobState, SweepState};
use tonic::Status;

use super::SweepServer;
use crate::rpc::{artifacts, convert, unreadable};

/// Rows a page where the caller does not say, and at most.
const PAGE_ROWS_DEFAULT: u32 = 100;
pub(super) const PAGE_ROWS_MAX: u32 = 1_000;
/// Jobs looked at for one page where their rows cannot tell: a page may come back short but never late.
const PAGE_SCAN_MAX: u64 = 1_000;
/// Bytes of a page of jobs; the last job may go beyond it. Far below the 4 MiB that gRPC's clients take.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Most log lines of one job that are sent, in bytes: those of its latest attempts.
const LOGS_BYTES_MAX: usize = 4 << 20;

impl SweepServer {
    /// The jobs `first` to `last`, those without a row included.
    pub(super) async fn jobs(
        &self,
        definition: &SweepDefinition,
        state: SweepState,
        first: u64,
        last: u64,
    ) -> Result<Vec<v1::Job>, Status> {
        let count = u32::try_from(last + 1 - first).unwrap_or(u32::MAX);
        let rows = self.store.jobs(definition.id, first, count).await.map_err(unreadable)?;
        let mut rows: HashMap<u64, JobRow> = rows.into_iter().map(|row| (row.job, row)).collect();
        let mut jobs: Vec<_> =
            (first..=last).map(|job| convert::job(definition, state, job, rows.remove(&job))).collect();
        artifacts::mark(&*self.store, definition.id, &mut jobs).await?;
        Ok(jobs)
    }

    /// A page of the jobs from `first` on in the wanted states, all of which have rows, and where the next page begins.
    pub(super) async fn page_of_rows(
        &self,
        definition: &SweepDefinition,
        state: SweepState,
        wanted: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<(Vec<v1::Job>, u64), Status> {
        let mut rows = Vec::new();
        for wanted in wanted {
            let found = self.store.jobs_in_state(definition.id, *wanted, first, limit).await;
            rows.extend(found.map_err(unreadable)?);
        }
        rows.sort_by_key(|row| row.job);
        // One that changes its state between the questions answers both.
        rows.dedup_by_key(|row| row.job);
        rows.truncate(limit as usize);
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map_or(u64::MAX, |row| row.job + 1);
        let job = |row: JobRow| convert::job(definition, state, row.job, Some(row));
        let mut jobs: Vec<_> = rows.into_iter().map(job).collect();
        artifacts::mark(&*self.store, definition.id, &mut jobs).await?;
        Ok((jobs, next))
    }

    /// The same for any states, or all where none is wanted: looks at one job after the other.
    pub(super) async fn page(
        &self,
        definition: &SweepDefinition,
        state: SweepState,
        wanted: &BTreeSet<JobState>,
        first: u64,
        limit: u32,
    ) -> Result<(Vec<v1::Job>, u64), Status> {
        let (mut next, limit) = (first, u64::from(limit));
        let scan_end = next.saturating_add(PAGE_SCAN_MAX);
        // Where most may be left out, many are read at a time.
        let read = if wanted.is_empty() { limit } else { u64::from(PAGE_ROWS_MAX) };
        let mut jobs: Vec<v1::Job> = Vec::new();
        while next <= definition.job_count() && next < scan_end && (jobs.len() as u64) < limit {
            let last = (next + read - 1).min(definition.job_count());
            for job in self.jobs(definition, state, next, last).await? {
                let number = job.point.as_ref().map_or(0, |point| point.job);
                if (jobs.len() as u64) == limit {
                    break;
                }
                next = number + 1;
                if wanted.is_empty()
                    || JobState::try_from(job.state()).ok().is_some_and(|state| wanted.contains(&state))
                {
                    jobs.push(job);
                }
            }
        }
        Ok((jobs, next))
    }
}

/// Whether every job in this state has a row; one that never began, or was cancelled before, has none.
pub(super) fn has_row(state: JobState) -> bool {
    match state {
        JobState::Pending | JobState::Cancelled => false,
        JobState::Running | JobState::Done | JobState::Diverged | JobState::Failed => true,
    }
}

/// Leaves out the logs of all but the latest attempts where together they are too long to be sent.
pub(super) fn bound_logs(attempts: &mut [AttemptRow]) {
    let mut left = LOGS_BYTES_MAX;
    for attempt in attempts.iter_mut().rev() {
        let bytes: usize = attempt.log_tail.iter().map(String::len).sum();
        left = left.saturating_sub(bytes);
        if left == 0 && bytes > 0 {
            attempt.log_tail =
                vec!["(left out: the logs of later attempts fill what is sent of a job)".to_owned()];
        }
    }
}

/// Cuts a page of jobs, which ends before `next`, to its size; where the next one begins.
pub(super) fn cut_page(mut jobs: Vec<v1::Job>, next: u64) -> (Vec<v1::Job>, u64) {
    let mut bytes = 0;
    let fit = jobs.iter().take_while(|job| {
        let fits = bytes < PAGE_BYTES_MAX;
        bytes += job.encoded_len();
        fits
    });
    let count = fit.count();
    match jobs.get(count).and_then(|job| job.point.as_ref()).map(|point| point.job) {
        Some(first_left_out) => {
            jobs.truncate(count);
            (jobs, first_left_out)
        }
        None => (jobs, next),
    }
}

pub(super) fn page_rows(asked: u32) -> Result<u32, Status> {
    match asked {
        0 => Ok(PAGE_ROWS_DEFAULT),
        1..=PAGE_ROWS_MAX => Ok(asked),
        _ => Err(Status::invalid_argument(format!("a page has 1 to {PAGE_ROWS_MAX} rows, not {asked}"))),
    }
}

/// Refuses a number that no job of the sweep has.
pub(super) fn check_job(definition: &SweepDefinition, job: u64) -> Result<(), Status> {
    let job_count = definition.job_count();
    if (1..=job_count).contains(&job) {
        return Ok(());
    }
    Err(Status::not_found(format!("sweep {} has the jobs 1 to {job_count}, not {job}", definition.id)))
}
