//! All rows of a sweep, job by job, as the coordinator streams them: what reports and exports are made from.

use proto::v1::{self, report_row::Row};
use report::{Epoch, Job, Sweep};
use terminal::output::say;
use tonic::Streaming;

use super::{client::Target, failure::Failure, output::count};
use crate::shapes::rows::Rows;

/// A sweep whose rows are being read.
pub(super) struct SweepRows<'t> {
    target: &'t Target,
    stream: Streaming<v1::ReportRow>,
    rows: Rows,
    /// The sweep when it began, as it came.
    pub(super) message: v1::Sweep,
    /// The same for documents.
    pub(super) sweep: Sweep,
    /// The job whose epochs come next.
    current: Option<Job>,
}

impl<'t> SweepRows<'t> {
    /// Begins to read a sweep, for whom rows are written here, or are handed on to a server that may be slow.
    pub(super) async fn open(target: &'t Target, sweep_id: u64, hands_on: bool) -> Result<Self, Failure> {
        let mut client = target.connect().await?;
        let rows = client.report_rows(v1::ReportRowsRequest { sweep_id, hands_on });
        let mut stream = target.in_time(rows).await?.into_inner();
        let header = target.in_time(stream.message()).await?.and_then(|row| row.row);
        let Some(Row::Header(header)) = header else {
            return Err(Failure::operation("the coordinator sent no rows; this is a bug"));
        };
        let message = header.sweep.clone().unwrap_or_default();
        let (rows, sweep) = Rows::new(header);
        Ok(Self { target, stream, rows, message, sweep, current: None })
    }

    /// The next job with the epochs that count; none after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<(Job, Vec<Epoch>)>, Failure> {
        let mut epochs = Vec::new();
        loop {
            // Rows may arrive as fast as they are used; a request to stop must still be noticed.
            tokio::task::consume_budget().await;
            let row = self.target.in_time(self.stream.message()).await?;
            match row.map(|row| row.row) {
                None => return Ok(self.current.take().map(|job| (job, epochs))),
                Some(Some(Row::Job(job))) => {
                    let job = self.rows.job(job);
                    if let Some(before) = self.current.replace(job) {
                        return Ok(Some((before, epochs)));
                    }
                }
                Some(Some(Row::Epoch(epoch))) if self.current.is_some() => {
                    epochs.push(self.rows.epoch(epoch));
                }
                Some(_) => {}
            }
        }
    }

    /// Says what is missing of `what`, which was made of the rows.
    pub(super) fn warn_of_later(&self, what: &str) {
        if self.rows.later() > 0 {
            let values = count(self.rows.later(), "value");
            say(&format!(
                "warning: {values} of metrics that arrived while {what} was written are missing from it; write it again"
            ));
        }
    }
}
