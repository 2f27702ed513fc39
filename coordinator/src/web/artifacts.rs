//! What is kept of a job: trained weights, or the files that a program left, one by one or as the archive that they are kept in.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::Response,
};
use domain::record::{WeightsFile, WeightsState};
use report::view;
use serde::Serialize;
use store::ArtifactRow;
use terms::{JobKey, outputs::OutputIndex};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Code, Refusal},
    reader::Reader,
    reading::{number, sweep_id},
    sending::{self, Cut, Sending},
};
use crate::api::{ApiError, Download, Page};

/// The names of what is kept as one: weights, or an archive that any `tar` reads.
const WEIGHTS: &str = "model.safetensors";
const ARCHIVE: &str = "files.tar";
/// Before the names of the files in the archive, which have this folder in it.
const FOLDER: &str = "files/";

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(artifacts)).routes(routes!(artifact))
}

/// What is kept of a job.
#[derive(Debug, Serialize, ToSchema)]
struct Artifacts {
    items: Vec<Artifact>,
    /// What the job wrote and was not kept.
    left_out: Vec<FilesLeftOut>,
}

/// A file of a job.
#[derive(Debug, Serialize, ToSchema)]
struct Artifact {
    /// By which it is fetched; null where it is not kept.
    name: Option<String>,
    /// `kept`, `awaited` (on its way from the worker), `dropped` (others ranked higher) or `absent`.
    state: &'static str,
    /// Whether it lies in the archive that comes first.
    in_archive: bool,
    /// Its length; null where it is not known.
    bytes: Option<u64>,
    /// BLAKE3 of its content, as hexadecimal digits.
    blake3: Option<String>,
    /// The attempt that left it.
    attempt: u32,
    /// The worker that had the attempt.
    worker: String,
    /// The metric that ranked the job.
    value: view::Number,
    /// Why there is none; may be empty.
    reason: String,
}

/// Files that were left out for one reason.
#[derive(Debug, Serialize, ToSchema)]
struct FilesLeftOut {
    /// For people.
    reason: String,
    /// How many.
    count: u64,
    /// Some of them.
    examples: Vec<String>,
}

/// What is kept of a job: its weights, or the files that its program left.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/jobs/{job}/artifacts",
    responses((status = 200, body = Artifacts)),
)]
async fn artifacts(
    State(web): State<Web>,
    reader: Reader,
    Path((id, job)): Path<(String, String)>,
) -> Answered<Json<Artifacts>> {
    let key = JobKey { sweep: sweep_id(&id)?, job: number("job", &job)? };
    let Some(row) = row(&web, key).await? else {
        return Ok(Json(Artifacts { items: Vec::new(), left_out: Vec::new() }));
    };
    let is_kept = row.state == WeightsState::Kept;
    let index = if is_kept { web.api.outputs(key.sweep, key.job).await?.1 } else { None };
    Ok(Json(listed(&row, index, reader)))
}

/// What is recorded of a job; none where nothing was ever to be kept.
async fn row(web: &Web, key: JobKey) -> Answered<Option<ArtifactRow>> {
    let page = Page { rows: 1, token: String::new() };
    let found = web.api.weights(key.sweep, Some(key.job), &page).await?;
    Ok(found.weights.into_iter().next())
}

fn listed(row: &ArtifactRow, index: Option<OutputIndex>, reader: Reader) -> Artifacts {
    let is_kept = row.state == WeightsState::Kept;
    let of = |name: Option<String>, bytes: u64, blake3: String, in_archive| Artifact {
        name,
        state: row.state.as_str(),
        in_archive,
        bytes: Some(bytes).filter(|bytes| *bytes > 0 || in_archive),
        blake3: Some(blake3).filter(|hash| !hash.is_empty()),
        attempt: row.attempt,
        worker: row.worker.clone(),
        value: view::Number(Some(row.value)),
        reason: reader.reason(&row.reason),
    };
    let whole = if index.is_some() { ARCHIVE } else { WEIGHTS };
    let name = is_kept.then(|| whole.to_owned());
    let mut items = vec![of(name, row.file.bytes, row.file.blake3.clone(), false)];
    let OutputIndex { files, left_out } = index.unwrap_or_default();
    items.extend(
        files.into_iter().map(|file| {
            of(Some(format!("{FOLDER}{}", file.path)), file.bytes, file.blake3.to_string(), true)
        }),
    );
    let left_out = left_out.into_iter().map(|one| FilesLeftOut {
        reason: reader.reason(&one.reason),
        count: one.count,
        examples: one.examples,
    });
    Artifacts { items, left_out: left_out.collect() }
}

/// One of the files of a job, by its name, in which `/` is written as `%2F`.
///
/// It is sent whole: `Range` has no effect. One that is cut off is shorter
/// than its `Content-Length`.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/jobs/{job}/artifacts/{name}",
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 507, description = "Too many files are read at once."),
    ),
)]
async fn artifact(
    State(web): State<Web>,
    Path((id, job, name)): Path<(String, String, String)>,
) -> Answered<Response> {
    let key = JobKey { sweep: sweep_id(&id)?, job: number("job", &job)? };
    let (file, index) = web.api.outputs(key.sweep, key.job).await?;
    let Some((begin, bytes)) = place(&file, index.as_ref(), &name) else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            format!("job {id}/{job} has no file {name:?}; its `artifacts` list those that it has"),
        ));
    };
    let download = web.api.download(key.sweep, Some(key.job), begin).await?;
    if download.weights.file != file {
        let changed = format!("what is kept of job {id}/{job} was replaced just now; ask again");
        return Err(ApiError::Aborted(changed).into());
    }
    let body = sending::body(web.stop.clone(), |sending| send(download, bytes, sending))?;
    let last = name.rsplit('/').next().unwrap_or_default();
    let mut answer = sending::attachment(&format!("{id}-{job}-{last}"), "application/octet-stream", body);
    answer.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    Ok(answer)
}

/// Where a file begins in what is kept, and how many bytes it has; none for a name that is of none.
fn place(kept: &WeightsFile, index: Option<&OutputIndex>, name: &str) -> Option<(u64, u64)> {
    match index {
        None => (name == WEIGHTS).then_some((0, kept.bytes)),
        Some(_) if name == ARCHIVE => Some((0, kept.bytes)),
        Some(index) => {
            let path = name.strip_prefix(FOLDER)?;
            let (file, begin) = index.files.iter().zip(index.places()).find(|(file, _)| file.path == path)?;
            Some((begin, file.bytes))
        }
    }
}

/// Sends so many bytes.
async fn send(mut download: Download, bytes: u64, mut sending: Sending) -> Result<(), Cut> {
    let mut left = bytes;
    while left > 0 {
        // Where it ends before, its length tells its reader.
        let Some(piece) = download.next().await? else { break };
        let mut piece = Bytes::from(piece);
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= piece.len() as u64;
        sending.send(piece).await?;
    }
    Ok(())
}
