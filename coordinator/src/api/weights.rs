//! Weights on their way in, from workers, and out, to users. Whether they are wanted, the engine says; where they lie,
//! `artifacts` knows.

use std::sync::Arc;

use domain::record::{WeightsFile, WeightsState};
use engine::{
    Issuer, SweepView, WeightsAnswer,
    command::{GiveUpWeights, KeepWeights},
    query::{OfferWeights, OfferedWeights, WorkerOf},
    weights_name,
};
use futures_util::{StreamExt, stream::BoxStream};
use store::ArtifactRow;
use terms::{AttemptKey, SweepId, WorkerName};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Api, ApiError, Page,
    error::{task_ended, unreadable},
    jobs::check_job,
};
use crate::{
    access::Caller,
    artifacts::{ArtifactError, Artifacts, Taken},
};

/// Files of weights that are sent at the same time: each is open, and descriptors are few where limits are low.
pub(super) const DOWNLOADS_MAX: usize = 64;

/// Why weights are given up whose file is another one than their worker reported; a worker that notices it says the same.
const CORRUPTED: &str = "the file was corrupted on the worker's disk";

/// What a worker has of the weights of an attempt, and the piece that it hands over.
#[derive(Debug)]
pub struct Offer {
    /// Whose.
    pub attempt: AttemptKey,
    /// What they are.
    pub file: WeightsFile,
    /// Where the piece begins.
    pub offset: u64,
    /// The piece; may be empty.
    pub data: Vec<u8>,
}

/// What a worker does next with weights that it has.
#[derive(Debug, PartialEq, Eq)]
pub enum WeightsReply {
    /// Nothing, for this reason.
    NotWanted(String),
    /// Offer them again later.
    Waiting,
    /// Hand over the piece that begins here.
    Wanted(u64),
    /// Remove them: they are kept.
    Durable,
}

impl From<WeightsAnswer> for WeightsReply {
    fn from(answer: WeightsAnswer) -> Self {
        match answer {
            WeightsAnswer::NotWanted(reason) => Self::NotWanted(reason),
            WeightsAnswer::Differs { .. } => Self::NotWanted(CORRUPTED.to_owned()),
            WeightsAnswer::Waiting => Self::Waiting,
            WeightsAnswer::Wanted { .. } => Self::Wanted(0),
            WeightsAnswer::Durable => Self::Durable,
        }
    }
}

/// A page of what became of the weights of a sweep's jobs.
#[derive(Debug)]
pub struct WeightsPage {
    /// In the order of their jobs.
    pub weights: Vec<ArtifactRow>,
    /// The token of the next page; empty on the last.
    pub next: String,
}

/// A file of weights that is read. It holds its place among those that are read at the same time until it is dropped.
pub struct Download {
    /// What it is.
    pub weights: ArtifactRow,
    artifacts: Arc<Artifacts>,
    name: String,
    /// Where the next bytes begin.
    offset: u64,
    pieces: Option<BoxStream<'static, Result<Vec<u8>, ArtifactError>>>,
    _place: OwnedSemaphorePermit,
}

impl Download {
    /// The next bytes of the file; none after the last ones.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let pieces = match &mut self.pieces {
            Some(pieces) => pieces,
            // Object stores refuse to read from the end on.
            None if self.offset == self.weights.file.bytes => return Ok(None),
            None => {
                let pieces = self.artifacts.read(&self.name, self.offset).await;
                self.pieces.insert(pieces.map_err(|error| unreadable_weights(&self.weights, &error))?)
            }
        };
        let piece = pieces.next().await.transpose();
        let piece = piece.map_err(|error| unreadable_weights(&self.weights, &error))?;
        self.offset += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let bytes = self.weights.file.bytes;
        let is_right = match piece {
            Some(_) => self.offset <= bytes,
            None => self.offset == bytes,
        };
        match is_right {
            true => Ok(piece),
            false => Err(ApiError::Corrupt(format!(
                "what was kept of job {} does not have the {bytes} bytes any more that it had then",
                self.weights.job
            ))),
        }
    }
}

impl Api {
    /// Takes a piece of the weights that a worker has, where they are wanted.
    ///
    /// # Errors
    /// The attempt is another worker's, the piece cannot be one, or the place is full or away.
    pub async fn offer_weights(&self, caller: &Caller, offer: Offer) -> Result<WeightsReply, ApiError> {
        let Offer { attempt, ref file, .. } = offer;
        let offered = self.leadership.query(OfferWeights { attempt, file: file.clone() }).await?;
        let OfferedWeights { answer, worker } = offered;
        if let Some(worker) = worker {
            may_speak(caller, &worker, || format!("hand over the weights of attempt {attempt}"))?;
        }
        let issuer = caller.issuer();
        let name = match answer {
            WeightsAnswer::Wanted { name } => name,
            // Whoever asks for them would be told for good that they are on their way.
            WeightsAnswer::Differs { reported } => {
                let reason = CORRUPTED.to_owned();
                let lost = GiveUpWeights { attempt, file: reported, reason };
                return Ok(self.leadership.command(issuer, lost).await?.into());
            }
            other => return Ok(other.into()),
        };
        let Some(artifacts) = self.artifacts.clone() else {
            return Ok(WeightsReply::NotWanted("this coordinator has no place for weights".into()));
        };
        let api = self.clone();
        // A task of its own: what is begun is brought to its end, also when the worker hangs up.
        let taking = self.tasks.spawn(async move { api.take(issuer, &artifacts, &name, offer).await });
        taking.await.map_err(|_| task_ended())?
    }

    /// Notes that a worker does not have weights any more that it said it had.
    ///
    /// # Errors
    /// The attempt is another worker's, or it cannot be kept.
    pub async fn give_up_weights(
        &self,
        caller: &Caller,
        attempt: AttemptKey,
        file: WeightsFile,
        reason: String,
    ) -> Result<WeightsReply, ApiError> {
        let Some(worker) = self.leadership.query(WorkerOf(attempt)).await? else {
            return Ok(WeightsReply::NotWanted("no weights of this attempt are awaited".to_owned()));
        };
        may_speak(caller, &worker, || format!("give up the weights of attempt {attempt}"))?;
        let lost = GiveUpWeights { attempt, file, reason };
        Ok(self.leadership.command(caller.issuer(), lost).await?.into())
    }

    async fn take(
        &self,
        issuer: Issuer,
        artifacts: &Artifacts,
        name: &str,
        offer: Offer,
    ) -> Result<WeightsReply, ApiError> {
        let Offer { attempt, file, offset, data } = offer;
        match artifacts.take(name, &file, offset, data).await {
            Ok(Taken::UpTo(offset)) => Ok(WeightsReply::Wanted(offset)),
            Ok(Taken::Whole) => {
                let record = self.leadership.command(issuer, KeepWeights { attempt, file: file.clone() });
                let kept = match artifacts.keep(name, &file, record).await {
                    Ok(kept) => kept?,
                    Err(error) => return not_taken(artifacts, &error),
                };
                if matches!(kept, WeightsAnswer::NotWanted(_) | WeightsAnswer::Differs { .. }) {
                    // Others came first, or the attempt was fenced: what lies there has no record.
                    let removed = artifacts.remove(name).await;
                    removed.map_err(|error| failed(&error))?;
                }
                Ok(kept.into())
            }
            Err(error) => not_taken(artifacts, &error),
        }
    }

    /// A page of what became of the weights of a sweep's jobs, or of one job.
    ///
    /// # Errors
    /// There is no such sweep, job or page.
    pub async fn weights(
        &self,
        sweep: SweepId,
        job: Option<u64>,
        page: &Page,
    ) -> Result<WeightsPage, ApiError> {
        let limit = page.limit()?;
        let definition = self.definition(sweep).await?;
        let (first, last) = match job {
            None => (page.number()?.unwrap_or(1), definition.job_count()),
            Some(job) => {
                check_job(&definition, job)?;
                (job, job)
            }
        };
        let weights = self.store.artifacts(sweep, first, last, limit).await.map_err(unreadable)?;
        let is_full = weights.len() == limit as usize && job.is_none();
        let next = weights.last().filter(|_| is_full).map(|row| (row.job + 1).to_string());
        Ok(WeightsPage { weights, next: next.unwrap_or_default() })
    }

    /// The weights that are kept of a job, or of the best one, from `offset` on.
    ///
    /// # Errors
    /// There are none, with the reason; or too many are being read.
    pub async fn download(
        &self,
        sweep: SweepId,
        job: Option<u64>,
        offset: u64,
    ) -> Result<Download, ApiError> {
        let sweep = self.view(sweep).await?;
        if let Some(job) = job {
            check_job(&sweep.definition, job)?;
        }
        let (weights, name) = self.find(&sweep, job).await?;
        if offset > weights.file.bytes {
            return Err(ApiError::OutOfRange(format!("the file has {} bytes", weights.file.bytes)));
        }
        let artifacts = self.artifacts.clone().ok_or_else(|| {
            ApiError::Refused(
                "this coordinator was started without the place where what jobs left is kept; give it --artifacts URL"
                    .to_owned(),
            )
        })?;
        let place = Arc::clone(&self.downloads).try_acquire_owned().map_err(|_| {
            ApiError::Full(format!("what {DOWNLOADS_MAX} jobs left is being read already; try again in 10 s"))
        })?;
        Ok(Download { weights, artifacts, name, offset, pieces: None, _place: place })
    }

    /// The weights that are kept of a job, or of the best one, and the name of their file.
    async fn find(&self, sweep: &SweepView, job: Option<u64>) -> Result<(ArtifactRow, String), ApiError> {
        let id = sweep.id();
        let rows = match job.or_else(|| sweep.best_weights.as_ref().map(|best| best.job)) {
            None => Vec::new(),
            Some(job) => self.store.artifacts(id, job, job, 1).await.map_err(unreadable)?,
        };
        match rows.into_iter().next() {
            Some(row) if row.state == WeightsState::Kept => {
                let name = weights_name(id, sweep.created_unix_ms, row.job, row.attempt, &row.file.blake3);
                Ok((row, name))
            }
            row => Err(ApiError::NotFound(why_none(sweep, job, row.as_ref()))),
        }
    }
}

/// Lets no worker act on what is another's.
pub(super) fn may_speak(
    caller: &Caller,
    worker: &WorkerName,
    what: impl FnOnce() -> String,
) -> Result<(), ApiError> {
    caller.is_worker(worker.as_str(), what).map_err(ApiError::Forbidden)
}

/// What a worker receives whose weights were not taken: which to offer again later, and which are of no use.
pub(super) fn not_taken(artifacts: &Artifacts, error: &ArtifactError) -> Result<WeightsReply, ApiError> {
    match error {
        ArtifactError::TooMany | ArtifactError::Busy => Ok(WeightsReply::Waiting),
        ArtifactError::Piece | ArtifactError::Corrupt => Err(failed(error)),
        ArtifactError::Full => {
            artifacts.failed(error);
            Err(failed(error))
        }
        // Its disk or its network is away: not only this file has to wait.
        _ => {
            artifacts.failed(error);
            Err(ApiError::Unavailable(error.to_string()))
        }
    }
}

/// A file that is gone although its record says that it is kept was lost, and asking again does not bring it back.
fn unreadable_weights(weights: &ArtifactRow, error: &ArtifactError) -> ApiError {
    match error {
        ArtifactError::Store(object_store::Error::NotFound { .. }) => {
            let job = weights.job;
            tracing::error!(job, "a file that is recorded as kept is gone: {error}");
            ApiError::Corrupt(format!(
                "what was kept of job {job} is gone from where the coordinator keeps artifacts"
            ))
        }
        _ => failed(error),
    }
}

pub(super) fn failed(error: &ArtifactError) -> ApiError {
    let text = error.to_string();
    match error {
        ArtifactError::Full | ArtifactError::TooMany | ArtifactError::Busy => ApiError::Full(text),
        ArtifactError::Piece => ApiError::Invalid(text),
        ArtifactError::Corrupt => ApiError::Corrupt(text),
        _ => {
            tracing::error!("{text}");
            ApiError::Internal(text)
        }
    }
}

/// Why nothing is kept of a job, or of the best one.
fn why_none(sweep: &SweepView, job: Option<u64>, row: Option<&ArtifactRow>) -> String {
    let id = sweep.id();
    let is_of_program = sweep.definition.specification.trainable.program().is_some();
    let (what, wrote_none) = match is_of_program {
        true => ("files", "its program wrote none into SWEEP_OUTPUT_DIR"),
        false => ("weights", "its trainer left none"),
    };
    let all = format!("`sweep artifact ls {id}` lists all");
    match (row, job) {
        (Some(ArtifactRow { job, worker, reason, state, .. }), _) => match state {
            WeightsState::Awaited => {
                format!(
                    "the {what} of job {id}/{job} are still on their way from worker {worker}; try again soon"
                )
            }
            WeightsState::Absent => format!("there are no {what} of job {id}/{job}: {reason}"),
            WeightsState::Dropped | WeightsState::Kept => {
                format!("the {what} of job {id}/{job} are not kept any more: others are better; {all}")
            }
        },
        (None, Some(job)) => format!(
            "no {what} of job {id}/{job} are kept: it is not done, or was not among the best when it ended (see \
             `artifacts: {{keep: …}}` in the sweep file); {all}"
        ),
        (None, None) if sweep.weights_awaited > 0 => {
            format!("the {what} of sweep {id} are still on their way from their workers; try again soon")
        }
        (None, None) => format!(
            "no {what} of sweep {id} are kept: no job is done, or the sweep file says `artifacts: {{keep: none}}`, or the \
             coordinator was started without a place for them (--artifacts), or {wrote_none}; {all}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_are_not_taken_are_offered_again_unless_they_are_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path().to_str().unwrap()).unwrap();
        let answer = |error| not_taken(&artifacts, &error);
        let gone = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(matches!(answer(ArtifactError::File(gone())), Err(ApiError::Unavailable(_))));
        assert!(matches!(answer(ArtifactError::Full), Err(ApiError::Full(_))));
        assert!(matches!(answer(ArtifactError::Busy), Ok(WeightsReply::Waiting)));
        assert!(matches!(answer(ArtifactError::TooMany), Ok(WeightsReply::Waiting)));
        assert!(matches!(answer(ArtifactError::Corrupt), Err(ApiError::Corrupt(_))));
    }
}
