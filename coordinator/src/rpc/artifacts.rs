//! Weights on their way in, from workers, and out, to users. Whether they are wanted, the engine says; where they lie,
//! `artifacts` knows.

use std::{sync::Arc, time::Duration};

use domain::record::{WeightsFile, WeightsState};
use engine::{
    Issuer, SweepView, WeightsAnswer,
    command::{GiveUpWeights, KeepWeights},
    query::OfferWeights,
    weights_name,
};
use futures_util::StreamExt;
use proto::v1;
use store::{ArtifactRow, Store};
use terms::{AttemptKey, JobState, SweepId};
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::{convert, readers::Reader, refused, task_ended, unreadable};
use crate::{
    artifacts::{ArtifactError, Artifacts, MaybeArtifacts, Taken},
    driver::Leadership,
};

/// Bytes of a piece for a user: below what counts as a large answer, so that a slow reader is waited for.
const DOWNLOAD_PIECE_BYTES: usize = 32 << 10;
/// Pieces that may wait for a slow reader.
pub(super) const PIECES_WAITING_MAX: usize = 8;
/// How long a reader may take for a piece before its file is closed for others. Who still wants it goes on from where it is.
pub(super) const PIECE_WITHIN: Duration = Duration::from_secs(60);
/// Weights read from the store at a time.
const ROWS_AT_A_TIME: u32 = 1_000;

/// Takes what a worker says of weights.
pub(super) async fn offered(
    leadership: &Leadership,
    artifacts: &MaybeArtifacts,
    tasks: &TaskTracker,
    issuer: Issuer,
    request: v1::WeightsRequest,
) -> Result<v1::WeightsResponse, Status> {
    let attempt = proto::attempt_from_wire(request.attempt);
    let attempt = attempt.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let problem = request.file.as_ref().map(|file| file.problem.clone()).unwrap_or_default();
    let file = convert::weights_file(request.file)?;
    if !problem.is_empty() {
        let reason = convert::reason(problem);
        let lost = GiveUpWeights { attempt, file, reason };
        return leadership.command(issuer, lost).await.map(answer).map_err(refused);
    }
    let name = match leadership.query(OfferWeights { attempt, file: file.clone() }).await.map_err(refused)? {
        WeightsAnswer::Wanted { name } => name,
        other => return Ok(answer(other)),
    };
    let Some(artifacts) = artifacts.clone() else {
        return Ok(answer(WeightsAnswer::NotWanted("this coordinator has no place for weights".into())));
    };
    let (leadership, offset, data) = (leadership.clone(), request.offset, request.data);
    // A task of its own: what is begun is brought to its end, also when the worker hangs up.
    let taking = tasks.spawn(async move {
        take(&leadership, issuer, &artifacts, &name, (attempt, file), (offset, data)).await
    });
    taking.await.map_err(|_| task_ended())?
}

async fn take(
    leadership: &Leadership,
    issuer: Issuer,
    artifacts: &Artifacts,
    name: &str,
    (attempt, file): (AttemptKey, WeightsFile),
    (offset, data): (u64, Vec<u8>),
) -> Result<v1::WeightsResponse, Status> {
    match artifacts.take(name, &file, offset, data).await {
        Ok(Taken::UpTo(offset)) => Ok(v1::WeightsResponse {
            state: v1::WeightsState::Wanted.into(),
            offset,
            ..v1::WeightsResponse::default()
        }),
        Ok(Taken::Whole) => {
            let record = leadership.command(issuer, KeepWeights { attempt, file: file.clone() });
            let kept = match artifacts.keep(name, &file, record).await {
                Ok(kept) => kept.map_err(refused)?,
                Err(error) => return not_taken(artifacts, &error),
            };
            if matches!(kept, WeightsAnswer::NotWanted(_)) {
                // Others came first, or the attempt was fenced: what lies there has no record.
                let removed = artifacts.remove(name).await;
                removed.map_err(|error| status(&error))?;
            }
            Ok(answer(kept))
        }
        Err(error) => not_taken(artifacts, &error),
    }
}

/// What a worker is told whose weights were not taken: to offer them again later, and which of them are no use.
fn not_taken(artifacts: &Artifacts, error: &ArtifactError) -> Result<v1::WeightsResponse, Status> {
    match error {
        ArtifactError::TooMany | ArtifactError::Busy => Ok(answer(WeightsAnswer::Waiting)),
        ArtifactError::Piece | ArtifactError::Corrupt => Err(status(error)),
        ArtifactError::Full => {
            artifacts.failed(error);
            Err(status(error))
        }
        // Its disk or its network is away: not only this file has to wait.
        _ => {
            artifacts.failed(error);
            Err(Status::unavailable(error.to_string()))
        }
    }
}

fn answer(answer: WeightsAnswer) -> v1::WeightsResponse {
    let (state, reason) = match answer {
        WeightsAnswer::NotWanted(reason) => (v1::WeightsState::NotWanted, reason),
        WeightsAnswer::Waiting => (v1::WeightsState::Waiting, String::new()),
        WeightsAnswer::Wanted { .. } => (v1::WeightsState::Wanted, String::new()),
        WeightsAnswer::Durable => (v1::WeightsState::Durable, String::new()),
    };
    v1::WeightsResponse { state: state.into(), offset: 0, reason }
}

fn status(error: &ArtifactError) -> Status {
    match error {
        ArtifactError::Full | ArtifactError::TooMany | ArtifactError::Busy => {
            Status::resource_exhausted(error.to_string())
        }
        ArtifactError::Piece => Status::invalid_argument(error.to_string()),
        ArtifactError::Corrupt => Status::data_loss(error.to_string()),
        _ => {
            tracing::error!("{error}");
            Status::internal(error.to_string())
        }
    }
}

/// Says of jobs, in the order of their numbers, what became of their weights.
pub(super) async fn mark(store: &dyn Store, sweep: SweepId, jobs: &mut [v1::Job]) -> Result<(), Status> {
    let number = |job: &v1::Job| job.point.as_ref().map_or(0, |point| point.job);
    let is_done = |job: &&v1::Job| job.state() == v1::JobState::from(JobState::Done);
    let done = || jobs.iter().filter(is_done).map(number);
    let (Some(mut first), Some(last)) = (done().min(), done().max()) else { return Ok(()) };
    while first <= last {
        let rows = store.artifacts(sweep, first, last, ROWS_AT_A_TIME).await.map_err(unreadable)?;
        for row in &rows {
            if let Ok(place) = jobs.binary_search_by_key(&row.job, number) {
                jobs[place].weights = row.state.as_str().to_owned();
            }
        }
        first = match rows.last() {
            Some(row) if rows.len() == ROWS_AT_A_TIME as usize => row.job + 1,
            _ => break,
        };
    }
    Ok(())
}

/// The weights that are kept of a job, or of the best one where that is 0, and the name of their file.
pub(super) async fn find(
    store: &dyn Store,
    sweep: &SweepView,
    job: u64,
) -> Result<(v1::Artifact, String), Status> {
    let id = sweep.id();
    let wanted = if job > 0 { job } else { sweep.best_weights.as_ref().map_or(0, |best| best.job) };
    let rows = match wanted {
        0 => Vec::new(),
        job => store.artifacts(id, job, job, 1).await.map_err(unreadable)?,
    };
    match rows.into_iter().next() {
        Some(row) if row.state == WeightsState::Kept => {
            let name = weights_name(id, sweep.created_unix_ms, row.job, row.attempt, &row.file.blake3);
            Ok((convert::artifact(row), name))
        }
        row => Err(Status::not_found(why_none(sweep, job, row.as_ref()))),
    }
}

fn why_none(sweep: &SweepView, job: u64, row: Option<&ArtifactRow>) -> String {
    let id = sweep.id();
    let awaited = sweep.weights_awaited;
    let all = format!("`sweep artifact ls {id}` lists all");
    match row {
        Some(row) => {
            let ArtifactRow { job, worker, reason, .. } = row;
            match row.state {
                WeightsState::Awaited => {
                    format!(
                        "the weights of job {id}/{job} are still on their way from worker {worker}; try again soon"
                    )
                }
                WeightsState::Absent => format!("there are no weights of job {id}/{job}: {reason}"),
                WeightsState::Dropped | WeightsState::Kept => {
                    format!("the weights of job {id}/{job} are not kept any more: others are better; {all}")
                }
            }
        }
        None if job > 0 => format!(
            "no weights of job {id}/{job} are kept: it is not done, or was not among the best when it ended (see \
             `artifacts: {{keep: …}}` in the sweep file); {all}"
        ),
        None if awaited > 0 => {
            format!("the weights of sweep {id} are still on their way from their workers; try again soon")
        }
        None => format!(
            "no weights of sweep {id} are kept: no job is done, or the sweep file says `artifacts: {{keep: none}}`, or the \
             coordinator was started without a place for them (--artifacts), or its trainer left none; {all}"
        ),
    }
}

/// Sends a file from `offset` on.
pub(super) async fn send(
    artifacts: Arc<Artifacts>,
    (artifact, name): (v1::Artifact, String),
    offset: u64,
    reader: &Reader<v1::ArtifactPiece>,
) -> Result<(), Status> {
    reader.send(v1::ArtifactPiece { artifact: Some(artifact), data: Vec::new() }).await?;
    let mut pieces = artifacts.read(&name, offset).await.map_err(|error| status(&error))?;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| status(&error))?;
        for data in piece.chunks(DOWNLOAD_PIECE_BYTES) {
            reader.send(v1::ArtifactPiece { artifact: None, data: data.to_vec() }).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn weights_that_are_not_taken_are_offered_again_unless_they_are_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
        let code = |error| {
            not_taken(&artifacts, &error).map(|answer| answer.state()).map_err(|status| status.code())
        };
        let gone = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(code(ArtifactError::File(gone())), Err(Code::Unavailable));
        assert_eq!(code(ArtifactError::Full), Err(Code::ResourceExhausted));
        assert_eq!(code(ArtifactError::Busy), Ok(v1::WeightsState::Waiting));
        assert_eq!(code(ArtifactError::TooMany), Ok(v1::WeightsState::Waiting));
        assert_eq!(code(ArtifactError::Corrupt), Err(Code::DataLoss));
    }
}
