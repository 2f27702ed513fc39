//! All that a report needs: the sweep, then each job with its epochs, read from the store chunk by chunk while it is written.

use std::{collections::VecDeque, sync::Arc};

use engine::{SweepView, query::Defined};
use store::{CountingEpochs, EpochRow};
use terms::SweepId;
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, ApiError, JobView, error::unreadable};

/// Jobs read at a time for a report.
const REPORT_CHUNK_JOBS: u64 = 500;
/// Reports that are read at the same time, each of which holds a chunk of jobs and a page of epochs.
pub(super) const REPORTS_MAX: usize = 16;

/// A row of a report.
#[derive(Debug)]
pub enum ReportRow {
    /// Each job, in the order of their numbers, followed by its epochs.
    Job(JobView),
    /// An epoch of the job before that counts, in order.
    Epoch(EpochRow),
}

/// A report that is being read. It holds its place among those that are read at the same time until it is dropped.
#[derive(Debug)]
pub struct Report {
    /// The sweep when it began.
    pub sweep: SweepView,
    /// Every parameter's name, in order.
    pub parameters: Vec<String>,
    api: Api,
    defined: Defined,
    /// The jobs that were read and are still to come.
    jobs: VecDeque<JobView>,
    /// The job whose epochs come: its number, its last attempt, and how many epochs count.
    current: Option<(u64, u32, u32)>,
    epochs: CountingEpochs,
    /// The job with which the next chunk begins.
    next: u64,
    _place: OwnedSemaphorePermit,
}

impl Api {
    /// Begins the report of a sweep.
    ///
    /// # Errors
    /// There is no such sweep, or too many reports are being read.
    pub async fn report(&self, sweep: SweepId) -> Result<Report, ApiError> {
        let defined = self.defined(sweep).await?;
        let axes = &defined.definition.specification.axes;
        let parameters = axes.iter().map(|axis| axis.name.to_string()).collect();
        let place = Arc::clone(&self.reports).try_acquire_owned().map_err(|_| {
            ApiError::Full(format!("{REPORTS_MAX} reports are being read already; try again in 10 s"))
        })?;
        let overview = self.overview().await?;
        let view = self.view(sweep).await?;
        drop(overview);
        Ok(Report {
            sweep: view,
            parameters,
            api: self.clone(),
            epochs: CountingEpochs::new(Arc::clone(&self.store), sweep, 1, 0),
            defined,
            jobs: VecDeque::new(),
            current: None,
            next: 1,
            _place: place,
        })
    }
}

impl Report {
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
        Ok(job.map(ReportRow::Job))
    }

    /// Reads the next chunk of jobs, where there is one.
    async fn read(&mut self) -> Result<(), ApiError> {
        let first = self.next;
        let definition = &self.defined.definition;
        let last = (first + REPORT_CHUNK_JOBS - 1).min(definition.job_count());
        if first > last {
            return Ok(());
        }
        self.jobs = self.api.jobs_between(&self.defined, first, last).await?.into();
        self.epochs = CountingEpochs::new(Arc::clone(&self.api.store), definition.id, first, last);
        self.next = last + 1;
        Ok(())
    }
}
