//! What changes something: the same commands that the command line gives, answered with the thing as it is then.

use axum::{
    Extension, Json, Router,
    extract::{Path, State, rejection::JsonRejection},
    routing::post,
};
use engine::Issuer;
use report::view;
use serde::{Deserialize, Serialize};

use super::{
    Web,
    answers::{Answered, Refusal},
    reader::Reader,
    reading::{number, sweep_id},
};
use crate::{api::RetryRequest, rpc::convert, shapes};

/// The routes.
pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/api/v1/sweeps/{sweep}/retry", post(retry_sweep))
        .route("/api/v1/sweeps/{sweep}/{action}", post(sweep_action))
        .route("/api/v1/sweeps/{sweep}/jobs/{job}/retry", post(retry_job))
        .route("/api/v1/sweeps/{sweep}/jobs/{job}/{action}", post(job_action))
        .route("/api/v1/workers/{worker}/drain", post(drain))
}

/// Which jobs are tried again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    /// Cancelled jobs too, and not only failed ones.
    cancelled_too: bool,
}

/// What a retry has done.
#[derive(Debug, Serialize)]
struct Retried {
    sweep: view::Sweep,
    /// Jobs that are tried again.
    retried: u64,
}

async fn sweep_action(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path((id, action)): Path<(String, String)>,
) -> Answered<Json<view::Sweep>> {
    let id = sweep_id(&id)?;
    let sweep = match action.as_str() {
        "pause" => web.api.pause(issuer, id).await?,
        "resume" => web.api.resume(issuer, id).await?,
        "stop" => web.api.stop(issuer, id, None).await?,
        "cancel" => web.api.cancel(issuer, id, None).await?,
        other => return Err(unknown(other, "pause, resume, stop, cancel and retry")),
    };
    Ok(Json(sweep.encode(|sweep| reader.sweep(shapes::whole(&convert::sweep(&sweep))))))
}

async fn job_action(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path((id, job, action)): Path<(String, String, String)>,
) -> Answered<Json<view::Sweep>> {
    let (id, job) = (sweep_id(&id)?, Some(number("job", &job)?));
    let sweep = match action.as_str() {
        "stop" => web.api.stop(issuer, id, job).await?,
        "cancel" => web.api.cancel(issuer, id, job).await?,
        other => return Err(unknown(other, "stop, cancel and retry")),
    };
    Ok(Json(sweep.encode(|sweep| reader.sweep(shapes::whole(&convert::sweep(&sweep))))))
}

fn unknown(action: &str, known: &str) -> Refusal {
    Refusal::invalid(format!("there is no action {action:?}; there are {known}"))
}

async fn retry_sweep(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path(id): Path<String>,
    asked: Result<Option<Json<Retry>>, JsonRejection>,
) -> Answered<Json<Retried>> {
    let asked = asked.map_err(|error| Refusal::invalid(error.body_text()))?;
    let cancelled_too = asked.is_some_and(|Json(asked)| asked.cancelled_too);
    retry((&web, reader), issuer, RetryRequest { sweep: sweep_id(&id)?, job: None, cancelled_too }).await
}

async fn retry_job(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path((id, job)): Path<(String, String)>,
) -> Answered<Json<Retried>> {
    let job = Some(number("job", &job)?);
    retry((&web, reader), issuer, RetryRequest { sweep: sweep_id(&id)?, job, cancelled_too: false }).await
}

async fn retry(
    (web, reader): (&Web, Reader),
    issuer: Issuer,
    request: RetryRequest,
) -> Answered<Json<Retried>> {
    let retried = web.api.retry(issuer, request).await?;
    Ok(Json(retried.encode(|retried| Retried {
        sweep: reader.sweep(shapes::whole(&convert::sweep(&retried.sweep))),
        retried: retried.jobs,
    })))
}

async fn drain(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path(name): Path<String>,
) -> Answered<Json<view::Worker>> {
    let name = name.parse().map_err(|error| Refusal::invalid(format!("{error}")))?;
    let worker = web.api.drain(issuer, name).await?;
    Ok(Json(reader.worker(shapes::worker(&convert::worker(worker)))))
}
