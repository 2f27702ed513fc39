//! The files of programs on their way in, from users, and out, to workers. Where they lie, `artifacts` knows.

use proto::v1;
use terms::snapshot::{SNAPSHOT_PIECES_MAX, SnapshotId, SnapshotManifest};
use tonic::Status;

use super::refused;
use crate::{
    artifacts::{ArtifactError, Artifacts, Held, MaybeArtifacts, Piece, Taken},
    driver::Leadership,
};

/// The place for files of the coordinator that leads.
fn place<'a>(leadership: &Leadership, artifacts: &'a MaybeArtifacts) -> Result<&'a Artifacts, Status> {
    leadership.driver().map_err(refused)?;
    artifacts.as_deref().ok_or_else(no_place)
}

fn no_place() -> Status {
    Status::failed_precondition(
        "this coordinator has no place for the files of programs: a database on a server has no folder next to it; start it \
         with --artifacts and a folder or a URL that all coordinators reach, such as s3://bucket/folder",
    )
}

/// Takes the names of files, and answers which contents are missing.
pub(super) async fn put(
    leadership: &Leadership,
    artifacts: &MaybeArtifacts,
    request: v1::PutSnapshotRequest,
) -> Result<v1::PutSnapshotResponse, Status> {
    let snapshot =
        request.snapshot.ok_or_else(|| Status::invalid_argument("the message lacks the field `snapshot`"))?;
    let manifest =
        SnapshotManifest::try_from(snapshot).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let artifacts = place(leadership, artifacts)?;
    let missing = artifacts.put_snapshot(&manifest).await.map_err(|error| status(artifacts, &error))?;
    Ok(v1::PutSnapshotResponse {
        snapshot_id: manifest.id().to_string(),
        missing: missing.iter().map(ToString::to_string).collect(),
    })
}

/// Takes pieces of contents.
pub(super) async fn put_contents(
    leadership: &Leadership,
    artifacts: &MaybeArtifacts,
    request: v1::PutContentsRequest,
) -> Result<v1::PutContentsResponse, Status> {
    let pieces = request.pieces.into_iter().map(piece).collect::<Result<Vec<_>, _>>()?;
    let artifacts = place(leadership, artifacts)?;
    let lengths: Vec<u64> = pieces.iter().map(|piece| piece.bytes).collect();
    let taken = artifacts.put_contents(pieces).await.map_err(|error| status(artifacts, &error))?;
    let state = |(taken, bytes)| match taken {
        Taken::Whole => v1::ContentState { offset: bytes, kept: true },
        Taken::UpTo(offset) => v1::ContentState { offset, kept: false },
    };
    Ok(v1::PutContentsResponse { contents: taken.into_iter().zip(lengths).map(state).collect() })
}

/// The files of a snapshot.
pub(super) async fn get(
    leadership: &Leadership,
    artifacts: &MaybeArtifacts,
    request: v1::GetSnapshotRequest,
) -> Result<v1::Snapshot, Status> {
    let id = named(&request.snapshot_id)?;
    let artifacts = place(leadership, artifacts)?;
    let manifest = artifacts.snapshot(id).await;
    Ok((&manifest.map_err(|error| status(artifacts, &error))?).into())
}

/// Pieces of contents.
pub(super) async fn get_contents(
    leadership: &Leadership,
    artifacts: &MaybeArtifacts,
    request: v1::GetContentsRequest,
) -> Result<v1::GetContentsResponse, Status> {
    let artifacts = place(leadership, artifacts)?;
    if request.wanted.len() > SNAPSHOT_PIECES_MAX {
        return Err(Status::invalid_argument(format!(
            "at most {SNAPSHOT_PIECES_MAX} contents are sent at a time"
        )));
    }
    let wanted = request.wanted.into_iter().map(piece).collect::<Result<Vec<_>, _>>()?;
    let pieces = artifacts.contents(wanted).await.map_err(|error| status(artifacts, &error))?;
    let to_wire = |piece: Piece| {
        let Piece { content, bytes, offset, data } = piece;
        v1::ContentPiece { blake3: content.to_string(), bytes, offset, data }
    };
    Ok(v1::GetContentsResponse { pieces: pieces.into_iter().map(to_wire).collect() })
}

/// Keeps a snapshot from being removed until its sweep is recorded.
pub(super) async fn hold(artifacts: &MaybeArtifacts, id: SnapshotId) -> Result<Held<'_>, Status> {
    let artifacts = artifacts.as_deref().ok_or_else(no_place)?;
    artifacts.hold_snapshot(id).await.map_err(|error| status(artifacts, &error))
}

/// Notes that a sweep, which is recorded, names a snapshot.
pub(super) async fn mark(artifacts: &MaybeArtifacts, id: SnapshotId) {
    let Some(artifacts) = artifacts else { return };
    if let Err(error) = artifacts.mark_snapshot(id).await {
        tracing::warn!(%error, snapshot = %id, "the files of a sweep could not be marked as used; they are at the next start");
    }
}

fn named(text: &str) -> Result<SnapshotId, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("the snapshot's name is none: {error}")))
}

fn piece(wire: v1::ContentPiece) -> Result<Piece, Status> {
    let v1::ContentPiece { blake3, bytes, offset, data } = wire;
    let content = blake3.parse();
    let content = content.map_err(|error| Status::invalid_argument(format!("`blake3` is none: {error}")))?;
    Ok(Piece { content, bytes, offset, data })
}

fn status(artifacts: &Artifacts, error: &ArtifactError) -> Status {
    let text = error.to_string();
    match error {
        ArtifactError::Full => {
            artifacts.failed(error);
            Status::resource_exhausted(text)
        }
        ArtifactError::TooMany | ArtifactError::Busy => Status::resource_exhausted(text),
        ArtifactError::Piece | ArtifactError::Length(_) => Status::invalid_argument(text),
        ArtifactError::Corrupt | ArtifactError::Manifest(_) => Status::data_loss(text),
        ArtifactError::NoSnapshot(_) | ArtifactError::NoContent(_) => Status::not_found(text),
        _ => {
            artifacts.failed(error);
            Status::unavailable(text)
        }
    }
}
