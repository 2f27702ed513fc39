//! The files of a program, from the coordinator that has its sweep to the one that trains a job of it again: as they were sent, so
//! that what lies next to the sweep file today has no part in it.

use std::collections::VecDeque;

use proto::v1;
use terms::snapshot::{SNAPSHOT_PIECES_MAX, SnapshotId};

use crate::cli::{client::Target, failure::Failure};

/// How often the receiver may say that contents are missing.
const ROUNDS_MAX: usize = 2;

/// Copies a snapshot.
///
/// # Errors
/// It is not kept any more, or a coordinator does not answer.
pub(super) async fn copy(id: SnapshotId, from: &Target, to: &Target) -> Result<(), Failure> {
    let mut source = from.connect_for_files().await?;
    let request = v1::GetSnapshotRequest { snapshot_id: id.to_string() };
    let snapshot = from.in_time(source.get_snapshot(request)).await?.into_inner();
    let mut receiver = to.connect().await?;
    for _ in 0..ROUNDS_MAX {
        let request = v1::PutSnapshotRequest { snapshot: Some(snapshot.clone()) };
        let missing = to.in_time(receiver.put_snapshot(request)).await?.into_inner().missing;
        if missing.is_empty() {
            return Ok(());
        }
        let bytes = |hash: &str| {
            let file = snapshot.files.iter().find(|file| file.blake3 == hash);
            file.map_or(0, |file| file.bytes)
        };
        let wanted = |blake3: String| v1::ContentPiece {
            bytes: bytes(&blake3),
            blake3,
            ..v1::ContentPiece::default()
        };
        let mut wanted: VecDeque<_> = missing.into_iter().map(wanted).collect();
        while !wanted.is_empty() {
            let request =
                v1::GetContentsRequest { wanted: wanted.iter().take(SNAPSHOT_PIECES_MAX).cloned().collect() };
            let pieces = from.in_time(source.get_contents(request)).await?.into_inner().pieces;
            let count = pieces.len();
            if count == 0 || count > wanted.len() {
                return Err(Failure::operation(format!(
                    "the coordinator at {} sends other files than those of the program",
                    from.url
                )));
            }
            let request = v1::PutContentsRequest { pieces };
            let states = to.in_time(receiver.put_contents(request)).await?.into_inner().contents;
            take(&mut wanted, &states);
        }
    }
    Err(Failure::operation(
        "the files of the program cannot be kept here: contents are missing again and again",
    ))
}

/// Notes how far the first contents are: whole ones are wanted no more.
fn take(wanted: &mut VecDeque<v1::ContentPiece>, states: &[v1::ContentState]) {
    let begun: Vec<_> = wanted.drain(..states.len().min(wanted.len())).collect();
    for (piece, state) in begun.into_iter().zip(states).rev() {
        if !state.kept {
            wanted.push_front(v1::ContentPiece { offset: state.offset, ..piece });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_wanted_no_more_and_the_rest_goes_on_where_it_is() {
        let piece = |name: &str| v1::ContentPiece {
            blake3: name.to_owned(),
            bytes: 9,
            ..v1::ContentPiece::default()
        };
        let mut wanted: VecDeque<_> = ["a", "b", "c"].map(piece).into();
        let state = |offset, kept| v1::ContentState { offset, kept };
        take(&mut wanted, &[state(9, true), state(4, false)]);
        let left: Vec<_> = wanted.iter().map(|piece| (piece.blake3.as_str(), piece.offset)).collect();
        assert_eq!(left, [("b", 4), ("c", 0)]);
    }
}
