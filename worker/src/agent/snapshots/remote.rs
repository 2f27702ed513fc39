//! Snapshots from the coordinator.

use proto::v1;
use terms::snapshot::{SnapshotId, SnapshotManifest};

use super::fetch::{Piece, Source};
use crate::agent::remote::Remote;

impl Source for Remote {
    async fn manifest(&self, id: SnapshotId) -> Result<SnapshotManifest, String> {
        let request = v1::GetSnapshotRequest { snapshot_id: id.to_string() };
        let answer = self.call(request, async |client, request| client.get_snapshot(request).await).await?;
        SnapshotManifest::try_from(answer).map_err(|error| error.to_string())
    }

    async fn contents(&self, wanted: Vec<Piece>) -> Result<Vec<Piece>, String> {
        let to_wire = |piece: Piece| {
            let Piece { content, bytes, offset, data } = piece;
            v1::ContentPiece { blake3: content.to_string(), bytes, offset, data }
        };
        let request = v1::GetContentsRequest { wanted: wanted.into_iter().map(to_wire).collect() };
        let answer = self.call(request, async |client, request| client.get_contents(request).await).await?;
        let from_wire = |piece: v1::ContentPiece| {
            let v1::ContentPiece { blake3, bytes, offset, data } = piece;
            let content = blake3.parse().map_err(|_| "its answer names contents by invalid hashes")?;
            Ok(Piece { content, bytes, offset, data })
        };
        let pieces: Result<Vec<Piece>, &str> = answer.pieces.into_iter().map(from_wire).collect();
        pieces.map_err(str::to_owned)
    }
}
