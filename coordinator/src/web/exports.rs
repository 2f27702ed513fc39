//! The results of a sweep as files, with the bytes that `sweep export` writes: rows are read while they are sent.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Response,
};
use report::{Document, DocumentKind, Epoch, Job, view};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    reading::{query, sweep_id},
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
    /// `csv`, a row of each job, or `json`, the sweep with its jobs and their epochs.
    #[param(inline)]
    format: Format,
    /// With `csv`, a row of each epoch.
    #[serde(default)]
    epochs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Csv,
    Json,
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
    fn kind(&self) -> Answered<DocumentKind> {
        match (self.format, self.epochs) {
            (Format::Csv, false) => Ok(DocumentKind::Jobs),
            (Format::Csv, true) => Ok(DocumentKind::Epochs),
            (Format::Json, false) => Ok(DocumentKind::Json),
            (Format::Json, true) => {
                Err(Refusal::invalid("`epochs` is for csv: json has the epochs, too; leave it out"))
            }
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
        (status = 200, content((ExportShape = "application/json"), (String = "text/csv"))),
        (status = 507, description = "Too many exports and reports are read at once."),
    ),
)]
async fn export(
    State(web): State<Web>,
    Path(id): Path<String>,
    asked: Result<Query<ExportQuery>, QueryRejection>,
) -> Answered<Response> {
    let kind = query(asked)?.kind()?;
    let report = web.api.report(sweep_id(&id)?).await?;
    let (ending, content) = match kind {
        DocumentKind::Jobs => (".csv", "text/csv; charset=utf-8"),
        DocumentKind::Epochs => ("-epochs.csv", "text/csv; charset=utf-8"),
        DocumentKind::Json => (".json", "application/json"),
    };
    let definition = &report.sweep.definition;
    let name = format!("{}-{}{ending}", definition.specification.name, definition.id);
    let body = sending::body(web.stop.clone(), |sending| send(report, kind, sending))?;
    Ok(sending::attachment(&name, content, body))
}

/// Sends the document. In memory are the numbers of one job, and a piece of what they are as text.
async fn send(mut report: Report, kind: DocumentKind, mut sending: Sending) -> Result<(), Cut> {
    let (mut rows, sweep) = Rows::new(convert::report_header(&report));
    let mut document = Document::new(kind, &sweep);
    let mut text = Vec::new();
    document.begin(&mut text)?;
    let mut current: Option<(Job, Vec<Epoch>)> = None;
    while let Some(row) = report.next().await? {
        match row {
            ReportRow::Job(job) => {
                let next = (rows.job(convert::job(*job)), Vec::new());
                if let Some(trained) = current.replace(next) {
                    send_job(&mut document, &trained, &mut text, &mut sending).await?;
                }
            }
            ReportRow::Epoch(epoch) => {
                if let Some((_, epochs)) = &mut current {
                    epochs.push(rows.epoch(convert::epoch_row(&epoch)));
                }
            }
        }
        // Rows may be read as fast as they are made; others have their turn.
        tokio::task::consume_budget().await;
    }
    if let Some(trained) = current {
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
