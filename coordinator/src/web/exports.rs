//! The results of a sweep as files, with the bytes that `sweep export` writes: rows are read while they are sent.

mod tables;

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Response,
};
use export::ParquetTable;
use report::{Document, DocumentKind, Epoch, Job, view};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    asked::query,
    reading::sweep_id,
    sending::{self, Cut, PIECE_BYTES, Sending},
};
use crate::{
    api::{Report, ReportRow},
    rpc::convert,
    shapes::rows::Rows,
};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(export))
}

/// What is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// `csv` or `parquet`, a row of each job, or `json`, the sweep with its jobs and their epochs.
    #[param(inline, required = true)]
    format: Option<Format>,
    /// With `csv` and `parquet`, a row of each epoch.
    #[serde(default)]
    epochs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Csv,
    Json,
    Parquet,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Document(DocumentKind),
    Table(ParquetTable),
}

/// A sweep with its jobs and their epochs: what an export as JSON has. It is written piece by piece and never whole; the description says
/// what is in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
struct ExportShape {
    #[schema(value_type = view::ShownSweep)]
    sweep: (),
    #[schema(value_type = Vec<view::ExportedJob>)]
    jobs: (),
}

impl ExportQuery {
    fn wanted(&self) -> Answered<Wanted> {
        let format = self
            .format
            .ok_or_else(|| Refusal::invalid("`format` is missing: it is one of `csv`, `json`, `parquet`"))?;
        Ok(match (format, self.epochs) {
            (Format::Csv, false) => Wanted::Document(DocumentKind::Jobs),
            (Format::Csv, true) => Wanted::Document(DocumentKind::Epochs),
            (Format::Json, false) => Wanted::Document(DocumentKind::Json),
            (Format::Parquet, false) => Wanted::Table(ParquetTable::Jobs),
            (Format::Parquet, true) => Wanted::Table(ParquetTable::Epochs),
            (Format::Json, true) => {
                return Err(Refusal::invalid(
                    "`epochs` is for csv and parquet: json has the epochs, too; leave it out",
                ));
            }
        })
    }
}

impl Wanted {
    /// How its file's name ends, and its type.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Document(DocumentKind::Jobs) => (".csv", "text/csv; charset=utf-8"),
            Self::Document(DocumentKind::Epochs) => ("-epochs.csv", "text/csv; charset=utf-8"),
            Self::Document(DocumentKind::Json) => (".json", "application/json"),
            Self::Table(ParquetTable::Jobs) => (".parquet", tables::KIND),
            Self::Table(ParquetTable::Epochs) => ("-epochs.parquet", tables::KIND),
        }
    }
}

/// The results of a sweep as a file, with the bytes that `sweep export` writes.
///
/// Of a sweep that goes on, it has what there is; export
/// again once it has ended. A file that is cut off ends with an error of the transfer.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/export",
    params(ExportQuery),
    responses(
        (status = 200, content(
            (ExportShape = "application/json"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = 507, description = "Too many exports and reports are read at once."),
    ),
)]
async fn export(
    State(web): State<Web>,
    Path(id): Path<String>,
    asked: Result<Query<ExportQuery>, QueryRejection>,
) -> Answered<Response> {
    let wanted = query(asked)?.wanted()?;
    let report = web.api.report(sweep_id(&id)?).await?;
    let (ending, content) = wanted.file();
    let definition = &report.sweep.definition;
    let name = format!("{}-{}{ending}", definition.specification.name, definition.id);
    let stop = web.stop.clone();
    let body = match wanted {
        Wanted::Document(kind) => sending::body(stop, |sending| send(report, kind, sending))?,
        Wanted::Table(which) => sending::body(stop, |sending| tables::send(report, which, sending))?,
    };
    Ok(sending::attachment(&name, content, body))
}

/// Reads the jobs of a report one after the other, each with its epochs.
struct Jobs {
    report: Report,
    rows: Rows,
    next: Option<Job>,
}

impl Jobs {
    fn new(report: Report, rows: Rows) -> Self {
        Self { report, rows, next: None }
    }

    /// The next job; none after the last one. In memory are the numbers of one job.
    async fn next(&mut self) -> Result<Option<(Job, Vec<Epoch>)>, Cut> {
        let mut epochs = Vec::new();
        while let Some(row) = self.report.next().await? {
            match row {
                ReportRow::Job(job) => {
                    let begun = self.next.replace(self.rows.job(convert::job(*job)));
                    if let Some(job) = begun {
                        return Ok(Some((job, epochs)));
                    }
                }
                ReportRow::Epoch(epoch) => epochs.push(self.rows.epoch(convert::epoch_row(&epoch))),
            }
            // Rows may be read as fast as they are made; others have their turn.
            tokio::task::consume_budget().await;
        }
        Ok(self.next.take().map(|job| (job, epochs)))
    }
}

/// Sends the document. In memory are the numbers of one job, and a piece of what they are as text.
async fn send(report: Report, kind: DocumentKind, mut sending: Sending) -> Result<(), Cut> {
    let (rows, sweep) = Rows::new(convert::report_header(&report));
    let mut document = Document::new(kind, &sweep);
    let mut text = Vec::new();
    document.begin(&mut text)?;
    let mut jobs = Jobs::new(report, rows);
    while let Some(trained) = jobs.next().await? {
        send_job(&mut document, &trained, &mut text, &mut sending).await?;
    }
    document.end(&mut text)?;
    sending.send(text).await
}

/// Sends a job with its epochs after the text that waits; what does not fill a piece waits for the next one.
async fn send_job(
    document: &mut Document,
    (job, epochs): &(Job, Vec<Epoch>),
    text: &mut Vec<u8>,
    sending: &mut Sending,
) -> Result<(), Cut> {
    for piece in document.pieces(job, epochs) {
        text.extend(piece?);
        if text.len() >= PIECE_BYTES {
            sending.send(std::mem::take(text)).await?;
        }
        tokio::task::consume_budget().await;
    }
    Ok(())
}
