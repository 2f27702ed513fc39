//! The files of programs, on their way in from users and out to workers. Where they lie, `artifacts` knows.

use std::collections::BTreeMap;

use terms::snapshot::{ContentHash, SNAPSHOT_PIECES_MAX, SnapshotFile, SnapshotId, SnapshotManifest};

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

    /// Which files two snapshots do not have in common, in brackets; empty where that cannot be told.
    pub(super) async fn changed_files(&self, both: (Option<SnapshotId>, Option<SnapshotId>)) -> String {
        let (Some(before), Some(after)) = both else { return String::new() };
        match (self.snapshot(before).await, self.snapshot(after).await) {
            (Ok(before), Ok(after)) => named(&differences(before.files(), after.files())),
            _ => String::new(),
        }
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

/// Most files that a refusal names.
const NAMED_MAX: usize = 5;

/// The paths whose files are new, gone or others, in their order, with what happened to them.
fn differences(before: &[SnapshotFile], after: &[SnapshotFile]) -> Vec<String> {
    let of = |files: &[SnapshotFile]| -> BTreeMap<String, (ContentHash, bool)> {
        files.iter().map(|file| (file.path.clone(), (file.blake3, file.executable))).collect()
    };
    let (before, after) = (of(before), of(after));
    let changed = after.iter().filter_map(|(path, file)| match before.get(path) {
        None => Some(format!("{path} is new")),
        Some(known) => (known != file).then(|| format!("{path} is another")),
    });
    let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("{path} is gone"));
    changed.chain(gone).collect()
}

/// The first of them in brackets, and how many more there are.
fn named(differences: &[String]) -> String {
    let more = differences.len().saturating_sub(NAMED_MAX);
    let shown = differences[..differences.len() - more].join(", ");
    match (differences.len(), more) {
        (0, _) => String::new(),
        (_, 0) => format!(" ({shown})"),
        _ => format!(" ({shown}, and {more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> SnapshotFile {
        let (bytes, blake3) = (content.len() as u64, ContentHash::of(content.as_bytes()));
        SnapshotFile { path: path.to_owned(), executable: false, bytes, blake3 }
    }

    #[test]
    fn a_few_of_the_files_that_differ_are_named() {
        let before = [file("lib/a.py", "1"), file("old.py", "1"), file("train.py", "1")];
        let after = [file("lib/a.py", "1"), file("new.py", "1"), file("train.py", "2")];
        let found = named(&differences(&before, &after));
        assert_eq!(found, " (new.py is new, train.py is another, old.py is gone)");
        assert_eq!(named(&differences(&before, &before)), "");
        let many: Vec<SnapshotFile> = (0..9).map(|number| file(&format!("{number}"), "")).collect();
        let found = named(&differences(&many, &[]));
        assert!(found.ends_with("4 is gone, and 4 more)"), "{found}");
    }
}
