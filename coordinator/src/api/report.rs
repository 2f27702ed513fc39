//! All that a report needs: the sweep, then each job with its epochs, read from the store chunk by chunk while it is written.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use engine::{SweepView, query::Defined};
use store::{AttemptPlace, CountingEpochs, EpochRow, ResultRows};
use terms::SweepId;
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, ApiError, JobTimes, JobView, error::unreadable, jobs::jobs_between};

/// Jobs read at a time for a report.
const REPORT_CHUNK_JOBS: u64 = 500;
/// Attempts read at a time: each may have fifty lines of its log.
const ATTEMPTS_READ_MAX: u32 = 100;
/// Reports that are read at the same time, each of which holds a chunk of jobs and a page of epochs.
pub(super) const REPORTS_MAX: usize = 16;

/// A row of a report.
#[derive(Debug)]
pub enum ReportRow {
    /// Each job, in the order of their numbers, followed by its epochs.
    Job(Box<JobView>),
    /// An epoch of the job before that counts, in order.
    Epoch(EpochRow),
}

/// A report that is being read. Of a coordinator, it holds its place among those that are read at the same time until it is dropped.
#[derive(Debug)]
pub struct Report {
    /// The sweep when it began.
    pub sweep: SweepView,
    /// Every parameter's name, in order.
    pub parameters: Vec<String>,
    rows: Arc<dyn ResultRows>,
    defined: Defined,
    /// The jobs that were read and are still to come.
    jobs: VecDeque<JobView>,
    /// The job whose epochs come: its number, its last attempt, and how many epochs count.
    current: Option<(u64, u32, u32)>,
    epochs: CountingEpochs,
    /// The job with which the next chunk begins.
    next: u64,
    _place: Option<OwnedSemaphorePermit>,
}

impl Api {
    /// Begins the report of a sweep.
    ///
    /// # Errors
    /// There is no such sweep, or too many reports are being read.
    pub async fn report(&self, sweep: SweepId) -> Result<Report, ApiError> {
        let defined = self.defined(sweep).await?;
        let place = Arc::clone(&self.reports).try_acquire_owned().map_err(|_| {
            ApiError::Full(format!("{REPORTS_MAX} reports are being read already; try again in 10 s"))
        })?;
        let overview = self.overview().await?;
        let view = self.view(sweep).await?;
        drop(overview);
        Ok(Report { _place: Some(place), ..Report::of(Arc::clone(&self.store) as _, view, defined) })
    }
}

/// Says of jobs, in the order of their numbers, when and on which devices they trained.
async fn mark_attempts(rows: &dyn ResultRows, sweep: SweepId, jobs: &mut [JobView]) -> Result<(), ApiError> {
    let (Some(first), Some(last)) = (jobs.first(), jobs.last()) else { return Ok(()) };
    let (mut after, last) = (AttemptPlace::before(first.job), last.job);
    // By job: when its first attempt was granted; when its last one ended, and its device.
    let mut times: BTreeMap<u64, (u64, Option<u64>, String)> = BTreeMap::new();
    loop {
        let page = rows.attempts_of_jobs(sweep, after, last, ATTEMPTS_READ_MAX).await;
        let page = page.map_err(unreadable)?;
        let is_last = page.len() < ATTEMPTS_READ_MAX as usize;
        for (place, row) in page {
            let (_, ended, device) =
                times.entry(place.job).or_insert((row.granted_unix_ms, None, String::new()));
            (*ended, *device) = (row.ended_unix_ms, row.device);
            after = place;
        }
        if is_last {
            break;
        }
    }
    for job in jobs {
        if let Some((started, ended, device)) = times.remove(&job.job) {
            let ended = ended.filter(|_| job.state.is_final());
            job.times = JobTimes { started_unix_ms: Some(started), ended_unix_ms: ended };
            job.device = device;
        }
    }
    Ok(())
}

impl Report {
    /// The report of a sweep of which all rows are at hand.
    pub(crate) fn of(rows: Arc<dyn ResultRows>, sweep: SweepView, defined: Defined) -> Self {
        let axes = &defined.definition.specification.axes;
        Self {
            sweep,
            parameters: axes.iter().map(|axis| axis.name.to_string()).collect(),
            epochs: CountingEpochs::new(Arc::clone(&rows), defined.definition.id, 1, 0),
            rows,
            defined,
            jobs: VecDeque::new(),
            current: None,
            next: 1,
            _place: None,
        }
    }

    /// The next row; none after the last one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Option<ReportRow>, ApiError> {
        if let Some((job, attempt, done)) = self.current {
            if let Some(epoch) = self.epochs.next(job, attempt, done).await.map_err(unreadable)? {
                return Ok(Some(ReportRow::Epoch(epoch)));
            }
            self.current = None;
        }
        if self.jobs.is_empty() {
            self.read().await?;
        }
        let job = self.jobs.pop_front();
        self.current =
            job.as_ref().and_then(|job| job.row.as_ref()).map(|row| (row.job, row.attempts, row.epochs_done));
        Ok(job.map(Box::new).map(ReportRow::Job))
    }

    /// Reads the next chunk of jobs, where there is one.
    async fn read(&mut self) -> Result<(), ApiError> {
        let first = self.next;
        let definition = &self.defined.definition;
        let last = (first + REPORT_CHUNK_JOBS - 1).min(definition.job_count());
        if first > last {
            return Ok(());
        }
        let mut jobs = jobs_between(&*self.rows, &self.defined, (first, last)).await?;
        mark_attempts(&*self.rows, definition.id, &mut jobs).await?;
        self.jobs = jobs.into();
        self.epochs = CountingEpochs::new(Arc::clone(&self.rows), definition.id, first, last);
        self.next = last + 1;
        Ok(())
    }
}
