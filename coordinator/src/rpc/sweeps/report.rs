//! The rows of a report, streamed.

use std::{sync::Arc, time::Duration};

use domain::definition::SweepDefinition;
use proto::v1;
use store::CountingEpochs;
use terms::SweepState;
use tonic::Status;

use super::SweepServer;
use crate::rpc::{convert, readers::Reader, unreadable};

/// Jobs read at a time for a report.
const REPORT_CHUNK_JOBS: u64 = 500;
/// Report rows that may wait for a slow reader: with the longest reasons, half a megabyte.
pub(super) const REPORT_ROWS_WAITING_MAX: usize = 128;
/// Reports that are read at the same time, each of which holds a chunk of jobs and a page of epochs.
pub(super) const REPORTS_MAX: usize = 16;
/// How long a reader of a report may take for a row before the report is given up for others.
pub(super) const REPORT_ROW_WITHIN: Duration = Duration::from_secs(60);

impl SweepServer {
    /// Streams a report: each job, and then its epochs.
    pub(super) async fn send_rows(
        &self,
        header: v1::ReportHeader,
        definition: &SweepDefinition,
        state: SweepState,
        reader: &Reader<v1::ReportRow>,
    ) -> Result<(), Status> {
        use v1::report_row::Row;
        let send = |row| reader.send(v1::ReportRow { row: Some(row) });
        send(Row::Header(header)).await?;
        let (mut first, job_count) = (1, definition.job_count());
        while first <= job_count {
            let last = (first + REPORT_CHUNK_JOBS - 1).min(job_count);
            let jobs = self.jobs(definition, state, first, last).await?;
            let mut epochs = CountingEpochs::new(Arc::clone(&self.store), definition.id, first, last);
            for job in jobs {
                let number = job.point.as_ref().map_or(0, |point| point.job);
                let (attempt, done) = (job.attempts, job.epochs_done);
                send(Row::Job(job)).await?;
                while let Some(epoch) = epochs.next(number, attempt, done).await.map_err(unreadable)? {
                    send(Row::Epoch(convert::epoch_row(&epoch))).await?;
                }
            }
            first = last + 1;
        }
        Ok(())
    }
}
