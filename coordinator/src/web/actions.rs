//! What changes something: the same commands that the command line gives, answered with the thing as it is then.

use axum::{
    Extension, Json,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
};
use domain::specification::FILE_BYTES_MAX;
use engine::Issuer;
use report::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use super::{
    BODY_BYTES_MAX, Web,
    answers::{Answered, Refusal},
    asked::body,
    reader::Reader,
    reading::{number, sweep_id},
};
use crate::{
    api::{RetryRequest, Source, Submission, lines, plain},
    rpc::convert,
    shapes,
};

/// Largest request that submits a sweep: its file as a text of JSON, in which a sign of one byte may take two, and what it changes.
const SUBMISSION_BYTES_MAX: usize = 2 * FILE_BYTES_MAX + (64 << 10);

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(submit).layer(DefaultBodyLimit::max(SUBMISSION_BYTES_MAX)))
        .routes(routes!(retry_sweep))
        .routes(routes!(sweep_action))
        .routes(routes!(retry_job))
        .routes(routes!(job_action))
        .routes(routes!(drain))
}

/// A sweep to make, or jobs to add to one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Submit {
    /// The text of a sweep file: YAML, of which JSON is a part.
    file: String,
    /// Its name, for messages.
    #[serde(default)]
    file_name: String,
    /// Changes in it, each as `KEY=VALUE`.
    #[serde(default)]
    overrides: Vec<String>,
    /// Instead of the file's `dataset.path`.
    #[serde(default)]
    dataset_path: String,
    /// Makes a repeated request harmless.
    #[serde(default)]
    request_id: String,
    /// The sweep that gets the jobs which it lacks, instead of a new one.
    extend: Option<u64>,
}

/// What came of a submission.
#[derive(Debug, Serialize, ToSchema)]
struct Submitted {
    #[schema(value_type = view::ShownSweep)]
    sweep: view::Sweep,
    /// Whether it is new.
    created: bool,
    /// How many jobs an extension added.
    added_jobs: u64,
    /// What the file says without effect, for people.
    notes: Vec<String>,
}

/// Which jobs are tried again. Without a body, all that failed and all that were cancelled, as `sweep retry` does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    /// Cancelled jobs too. `false`: only those that failed, as `sweep retry --failed` does.
    #[schema(default = true)]
    cancelled_too: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self { cancelled_too: true }
    }
}

/// What a retry has done.
#[derive(Debug, Serialize, ToSchema)]
struct Retried {
    #[schema(value_type = view::ShownSweep)]
    sweep: view::Sweep,
    /// Jobs that are tried again.
    retried: u64,
}

/// Submits a sweep, or adds to one the jobs that it lacks.
#[utoipa::path(post, path = "/api/v1/sweeps", request_body = Submit, responses((status = 200, body = Submitted)))]
async fn submit(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    asked: Result<Json<Submit>, JsonRejection>,
) -> Answered<Json<Submitted>> {
    let Json(asked) = body(asked, SUBMISSION_BYTES_MAX)?;
    lines("file", &asked.file)?;
    plain("file_name", &asked.file_name)?;
    plain("dataset_path", &asked.dataset_path)?;
    asked.overrides.iter().try_for_each(|change| lines("overrides", change))?;
    let Submit { file, file_name, overrides, dataset_path, request_id, extend } = asked;
    let source = Source { text: file, file_name, overrides, dataset_path, ..Source::default() };
    let extend = extend.map(|sweep| sweep_id(&sweep.to_string())).transpose()?;
    let submitted = web.api.submit(issuer, Submission { source, request_id, extend }).await?;
    Ok(Json(submitted.encode(|submitted| Submitted {
        sweep: reader.sweep(shapes::whole(&convert::sweep(&submitted.sweep))),
        created: submitted.created,
        added_jobs: submitted.added_jobs,
        notes: submitted.notes,
    })))
}

/// Pauses, resumes, stops or cancels a sweep, and answers with the sweep as it is then.
#[utoipa::path(
    post,
    path = "/api/v1/sweeps/{sweep}/{action}",
    responses((status = 200, body = view::ShownSweep)),
)]
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

/// Stops or cancels a job, and answers with its sweep as it is then.
#[utoipa::path(
    post,
    path = "/api/v1/sweeps/{sweep}/jobs/{job}/{action}",
    responses((status = 200, body = view::ShownSweep)),
)]
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

/// Tries the failed jobs of a sweep again, and the cancelled ones unless the body says otherwise.
#[utoipa::path(
    post,
    path = "/api/v1/sweeps/{sweep}/retry",
    request_body = Option<Retry>,
    responses((status = 200, body = Retried)),
)]
async fn retry_sweep(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path(id): Path<String>,
    asked: Result<Option<Json<Retry>>, JsonRejection>,
) -> Answered<Json<Retried>> {
    let Json(Retry { cancelled_too }) = body(asked, BODY_BYTES_MAX)?.unwrap_or_default();
    retry((&web, reader), issuer, RetryRequest { sweep: sweep_id(&id)?, job: None, cancelled_too }).await
}

/// Tries a job again that has failed or was cancelled.
#[utoipa::path(
    post,
    path = "/api/v1/sweeps/{sweep}/jobs/{job}/retry",
    responses((status = 200, body = Retried)),
)]
async fn retry_job(
    State(web): State<Web>,
    reader: Reader,
    Extension(issuer): Extension<Issuer>,
    Path((id, job)): Path<(String, String)>,
) -> Answered<Json<Retried>> {
    let job = Some(number("job", &job)?);
    // Whoever names a job means it, as on the command line.
    retry((&web, reader), issuer, RetryRequest { sweep: sweep_id(&id)?, job, cancelled_too: true }).await
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

/// Lets a worker finish what it trains and leave.
#[utoipa::path(post, path = "/api/v1/workers/{worker}/drain", responses((status = 200, body = view::Worker)))]
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
