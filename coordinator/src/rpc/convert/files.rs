//! Files of programs and weights, both ways.

use domain::record::WeightsFile;
use proto::v1;
use store::ArtifactRow;
use terms::{
    AttemptKey,
    snapshot::{SnapshotId, SnapshotManifest},
};
use tonic::Status;

use super::{reason, weights_file};
use crate::{
    api::{ContentState, Offer, WeightsReply},
    artifacts::Piece,
};

/// The names of files.
pub(in crate::rpc) fn manifest(snapshot: Option<v1::Snapshot>) -> Result<SnapshotManifest, Status> {
    let snapshot =
        snapshot.ok_or_else(|| Status::invalid_argument("the message lacks the field `snapshot`"))?;
    SnapshotManifest::try_from(snapshot).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The name of a snapshot.
pub(in crate::rpc) fn snapshot_id(text: &str) -> Result<SnapshotId, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("the snapshot's name is none: {error}")))
}

/// Parts of contents.
pub(in crate::rpc) fn pieces(wire: Vec<v1::ContentPiece>) -> Result<Vec<Piece>, Status> {
    let piece = |wire: v1::ContentPiece| {
        let v1::ContentPiece { blake3, bytes, offset, data } = wire;
        let content = blake3.parse();
        let content =
            content.map_err(|error| Status::invalid_argument(format!("`blake3` is none: {error}")))?;
        Ok(Piece { content, bytes, offset, data })
    };
    wire.into_iter().map(piece).collect()
}

/// A part of a content.
pub(in crate::rpc) fn content_piece(piece: Piece) -> v1::ContentPiece {
    let Piece { content, bytes, offset, data } = piece;
    v1::ContentPiece { blake3: content.to_string(), bytes, offset, data }
}

/// How much of a content is there.
pub(in crate::rpc) fn content_state(state: ContentState) -> v1::ContentState {
    let ContentState { offset, kept } = state;
    v1::ContentState { offset, kept }
}

/// What a worker says of weights.
pub(in crate::rpc) enum WeightsSaid {
    /// It has them.
    Offer(Offer),
    /// It does not have them any more.
    GivenUp { attempt: AttemptKey, file: WeightsFile, reason: String },
}

/// What a worker says of weights.
pub(in crate::rpc) fn weights_said(wire: v1::WeightsRequest) -> Result<WeightsSaid, Status> {
    let v1::WeightsRequest { attempt, file, offset, data } = wire;
    let attempt = proto::attempt_from_wire(attempt);
    let attempt = attempt.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let problem = file.as_ref().map(|file| file.problem.clone()).unwrap_or_default();
    let file = weights_file(file)?;
    Ok(match problem.is_empty() {
        true => WeightsSaid::Offer(Offer { attempt, file, offset, data }),
        false => WeightsSaid::GivenUp { attempt, file, reason: reason(problem) },
    })
}

/// What the worker does next with them.
pub(in crate::rpc) fn weights_reply(reply: WeightsReply) -> v1::WeightsResponse {
    let (state, offset, reason) = match reply {
        WeightsReply::NotWanted(reason) => (v1::WeightsState::NotWanted, 0, reason),
        WeightsReply::Waiting => (v1::WeightsState::Waiting, 0, String::new()),
        WeightsReply::Wanted(offset) => (v1::WeightsState::Wanted, offset, String::new()),
        WeightsReply::Durable => (v1::WeightsState::Durable, 0, String::new()),
    };
    v1::WeightsResponse { state: state.into(), offset, reason }
}

/// What became of the weights of a job.
pub(in crate::rpc) fn artifact(row: ArtifactRow) -> v1::Artifact {
    let ArtifactRow { job, attempt, state, worker, file, value, reason } = row;
    let WeightsFile { bytes, blake3 } = file;
    v1::Artifact { job, attempt, state: state.as_str().to_owned(), bytes, blake3, worker, value, reason }
}
