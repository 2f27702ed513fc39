//! All rows of a sweep, job by job, as the coordinator streams them or a run's folder holds them: what reports and exports are made from.

use proto::v1::{self, report_row::Row};
use report::{Epoch, Job, Sweep};
use terminal::output::say;
use tonic::Streaming;
use traces::Context;

use super::{
    client::Target,
    failure::Failure,
    folder::{self, Named},
    output::count,
    spans,
};
use crate::{
    api::{ApiError, Report, ReportRow},
    rpc::convert,
    shapes::rows::Rows,
};

/// Where rows come from.
enum Source<'t> {
    Coordinator { target: &'t Target, stream: Box<Streaming<v1::ReportRow>> },
    Folder(Box<Report>),
}

impl Source<'_> {
    /// The next row, as it travels; none after the last one.
    async fn next(&mut self) -> Result<Option<Option<Row>>, Failure> {
        match self {
            Self::Coordinator { target, stream } => {
                Ok(target.in_time(stream.message()).await?.map(|row| row.row))
            }
            Self::Folder(report) => {
                let row =
                    report.next().await.map_err(|error: ApiError| Failure::operation(error.to_string()))?;
                Ok(row.map(|row| {
                    Some(match row {
                        ReportRow::Job(job) => Row::Job(convert::job(*job)),
                        ReportRow::Epoch(epoch) => Row::Epoch(convert::epoch_row(&epoch)),
                    })
                }))
            }
        }
    }
}

/// A sweep whose rows are being read.
pub(super) struct SweepRows<'t> {
    source: Source<'t>,
    rows: Rows,
    /// The sweep when it began, as it came.
    pub(super) message: v1::Sweep,
    /// The same for documents.
    pub(super) sweep: Sweep,
    /// The first span of the sweep, where its coordinator makes any.
    pub(super) first_span: Option<Context>,
    /// The job whose epochs come next.
    current: Option<Job>,
}

impl<'t> SweepRows<'t> {
    /// Begins to read a sweep, for whom rows are written here, or are handed on to a server that may be slow.
    pub(super) async fn open(target: &'t Target, named: &Named, hands_on: bool) -> Result<Self, Failure> {
        let mut first_span = None;
        let (source, header) = match named {
            Named::Sweep(sweep_id) => {
                let mut client = target.connect().await?;
                let rows = client.report_rows(v1::ReportRowsRequest { sweep_id: *sweep_id, hands_on });
                let answer = target.in_time(rows).await?;
                first_span = spans::of_sweep(&answer);
                let mut stream = answer.into_inner();
                let header = target.in_time(stream.message()).await?.and_then(|row| row.row);
                let Some(Row::Header(header)) = header else {
                    return Err(Failure::operation("the coordinator sent no rows; this is a bug"));
                };
                (Source::Coordinator { target, stream: Box::new(stream) }, header)
            }
            Named::Folder(folder) => {
                let folder::Held { rows, sweep, defined } = folder::open(folder).await?;
                let report = Report::of(rows, sweep, defined);
                let header = convert::report_header(&report);
                (Source::Folder(Box::new(report)), header)
            }
        };
        let message = header.sweep.clone().unwrap_or_default();
        let (rows, sweep) = Rows::new(header);
        Ok(Self { source, rows, message, sweep, first_span, current: None })
    }

    /// The next job with the epochs that count; none after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<(Job, Vec<Epoch>)>, Failure> {
        let mut epochs = Vec::new();
        loop {
            // Rows may arrive as fast as they are used; a request to stop must still be noticed.
            tokio::task::consume_budget().await;
            match self.source.next().await? {
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
