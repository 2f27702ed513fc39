//! The rows of a report, streamed.

use std::time::Duration;

use proto::v1;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tonic::Status;

use super::SweepServer;
use crate::{
    core::{definition::SweepDefinition, state::SweepState},
    rpc::{convert, unreadable},
    store::counting_epochs,
};

/// Jobs read at a time for a report.
const REPORT_CHUNK_JOBS: u64 = 500;
/// Report rows that may wait for a slow reader: with the longest reasons, half a megabyte.
pub(super) const REPORT_ROWS_WAITING_MAX: usize = 128;
/// Reports that are read at the same time, each of which holds a chunk of jobs.
pub(super) const REPORTS_MAX: usize = 16;
/// How long a reader of a report may take for a row before the report is given up for others.
const REPORT_ROW_WITHIN: Duration = Duration::from_secs(60);

impl SweepServer {
    /// Streams a report in chunks of jobs; ends early when nobody listens any more.
    pub(super) async fn send_rows(
        &self,
        header: v1::ReportHeader,
        definition: &SweepDefinition,
        state: SweepState,
        sender: &mpsc::Sender<Result<v1::ReportRow, Status>>,
    ) -> Result<(), Status> {
        use v1::report_row::Row;
        let job_count = definition.job_count();
        let mut chunk = vec![Row::Header(header)];
        let mut first = 1;
        loop {
            for row in chunk.drain(..) {
                match sender.send_timeout(Ok(v1::ReportRow { row: Some(row) }), REPORT_ROW_WITHIN).await {
                    Ok(()) => {}
                    Err(SendTimeoutError::Closed(_)) => return Ok(()),
                    Err(SendTimeoutError::Timeout(_)) => {
                        return Err(Status::deadline_exceeded("the report was not read for a minute"));
                    }
                }
            }
            if first > job_count {
                return Ok(());
            }
            let last = (first + REPORT_CHUNK_JOBS - 1).min(job_count);
            // Epochs first: a job's row then knows at least as many as were read.
            let epochs = self.store.epochs(definition.id, first, last).await.map_err(unreadable)?;
            let mut epochs = epochs.into_iter().peekable();
            for job in self.jobs(definition, state, first, last).await? {
                let (number, done) = (job.point.as_ref().map_or(0, |point| point.job), job.epochs_done);
                chunk.push(Row::Job(job));
                let rows = std::iter::from_fn(|| epochs.next_if(|row| row.job == number)).collect::<Vec<_>>();
                chunk.extend(
                    counting_epochs(rows, done)
                        .into_iter()
                        .map(|row| convert::epoch_row(&row))
                        .map(Row::Epoch),
                );
            }
            first = last + 1;
        }
    }
}
