//! The files of a snapshot on the wire.

use terms::snapshot::{HashError, SnapshotError, SnapshotFile, SnapshotManifest};

use crate::v1;

/// A message without a valid snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotProblem {
    /// A hash is not one.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The files do not form a snapshot.
    #[error(transparent)]
    Files(#[from] SnapshotError),
}

impl From<&SnapshotManifest> for v1::Snapshot {
    fn from(manifest: &SnapshotManifest) -> Self {
        let file = |file: &SnapshotFile| v1::SnapshotFile {
            path: file.path.clone(),
            executable: file.executable,
            bytes: file.bytes,
            blake3: file.blake3.to_string(),
        };
        Self { files: manifest.files().iter().map(file).collect() }
    }
}

impl TryFrom<v1::Snapshot> for SnapshotManifest {
    type Error = SnapshotProblem;

    fn try_from(wire: v1::Snapshot) -> Result<Self, SnapshotProblem> {
        let file = |file: v1::SnapshotFile| {
            let v1::SnapshotFile { path, executable, bytes, blake3 } = file;
            Ok(SnapshotFile { path, executable, bytes, blake3: blake3.parse()? })
        };
        let files = wire.files.into_iter().map(file).collect::<Result<_, HashError>>()?;
        Ok(Self::new(files)?)
    }
}
