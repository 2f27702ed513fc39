//! The files of programs, on their way in from users and out to workers. Where they lie, `artifacts` knows.

use terms::snapshot::{ContentHash, SNAPSHOT_PIECES_MAX, SnapshotId, SnapshotManifest};

use super::{Api, ApiError};
use crate::artifacts::{ArtifactError, Artifacts, Held, Piece, Taken};

/// How much of a content is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentState {
    /// Where the next piece must begin.
    pub offset: u64,
    /// Whether it is whole, checked and kept.
    pub kept: bool,
}

impl Api {
    /// Takes the names of files, and answers which contents are missing; where none is, the snapshot is kept.
    ///
    /// # Errors
    /// There is no place for files, or it refuses.
    pub async fn put_snapshot(&self, manifest: &SnapshotManifest) -> Result<Vec<ContentHash>, ApiError> {
        let artifacts = self.place_for_files()?;
        artifacts.put_snapshot(manifest).await.map_err(|error| not_done(artifacts, &error))
    }

    /// Takes pieces of contents, and answers for each how far its content is.
    ///
    /// # Errors
    /// There is no place for files, it refuses, or a content is not what its hash says.
    pub(crate) async fn put_contents(&self, pieces: Vec<Piece>) -> Result<Vec<ContentState>, ApiError> {
        let artifacts = self.place_for_files()?;
        let lengths: Vec<u64> = pieces.iter().map(|piece| piece.bytes).collect();
        let taken = artifacts.put_contents(pieces).await.map_err(|error| not_done(artifacts, &error))?;
        let state = |(taken, bytes)| match taken {
            Taken::Whole => ContentState { offset: bytes, kept: true },
            Taken::UpTo(offset) => ContentState { offset, kept: false },
        };
        Ok(taken.into_iter().zip(lengths).map(state).collect())
    }

    /// The files of a snapshot.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<SnapshotManifest, ApiError> {
        let artifacts = self.place_for_files()?;
        artifacts.snapshot(id).await.map_err(|error| not_done(artifacts, &error))
    }

    /// Pieces of contents, from where each is wanted, as many as go together.
    ///
    /// # Errors
    /// Too many are wanted, or one is not here.
    pub(crate) async fn contents(&self, wanted: Vec<Piece>) -> Result<Vec<Piece>, ApiError> {
        let artifacts = self.place_for_files()?;
        if wanted.len() > SNAPSHOT_PIECES_MAX {
            return Err(ApiError::Invalid(format!(
                "at most {SNAPSHOT_PIECES_MAX} contents are sent at a time"
            )));
        }
        artifacts.contents(wanted).await.map_err(|error| not_done(artifacts, &error))
    }

    /// Keeps a snapshot from being removed until its sweep is recorded.
    pub(super) async fn hold_snapshot(&self, id: SnapshotId) -> Result<Held<'_>, ApiError> {
        let artifacts = self.artifacts.as_deref().ok_or_else(no_place)?;
        artifacts.hold_snapshot(id).await.map_err(|error| not_done(artifacts, &error))
    }

    /// Notes that a sweep, which is recorded, names a snapshot.
    pub(super) async fn mark_snapshot(&self, id: SnapshotId) {
        let Some(artifacts) = &self.artifacts else { return };
        if let Err(error) = artifacts.mark_snapshot(id).await {
            tracing::warn!(%error, snapshot = %id, "the files of a sweep could not be marked as used; they are at the next start");
        }
    }

    /// The place for files of the coordinator that leads.
    fn place_for_files(&self) -> Result<&Artifacts, ApiError> {
        self.leadership.driver()?;
        self.artifacts.as_deref().ok_or_else(no_place)
    }
}

fn no_place() -> ApiError {
    ApiError::Refused(
        "this coordinator has no place for the files of programs: a database on a server has no folder next to it; start it \
         with --artifacts and a folder or a URL that all coordinators reach, such as s3://bucket/folder"
            .to_owned(),
    )
}

fn not_done(artifacts: &Artifacts, error: &ArtifactError) -> ApiError {
    let text = error.to_string();
    match error {
        ArtifactError::Full => {
            artifacts.failed(error);
            ApiError::Full(text)
        }
        ArtifactError::TooMany | ArtifactError::Busy => ApiError::Full(text),
        ArtifactError::Piece
        | ArtifactError::Pieces
        | ArtifactError::TooLong(_)
        | ArtifactError::Beyond(_)
        | ArtifactError::Length(_) => ApiError::Invalid(text),
        ArtifactError::Corrupt | ArtifactError::Manifest(_) => ApiError::Corrupt(text),
        ArtifactError::NoSnapshot(_) | ArtifactError::NoContent(_) => ApiError::NotFound(text),
        _ => {
            artifacts.failed(error);
            ApiError::Unavailable(text)
        }
    }
}
