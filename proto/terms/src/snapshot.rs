//! The files that are sent with a sweep, as a snapshot by content: the path of each, and the hash of its content. Two
//! sweeps with the same files have the same snapshot. The command line decides which files belong to a sweep;
//! coordinator and workers decide where contents are stored.

pub(crate) mod path;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::path::PathProblem;

/// Most files of a snapshot: programs have hundreds. More are data, which belong on a share.
pub const SNAPSHOT_FILES_MAX: usize = 10_000;
/// Longest file, in bytes: source texts and small tables have far less.
pub const SNAPSHOT_FILE_BYTES_MAX: u64 = 64 << 20;
/// All files together, in bytes: each attempt has a copy of its own on its worker's disk.
pub const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
/// All paths together, in bytes: a manifest travels in one message, whose bound is 4 MiB.
pub const SNAPSHOT_PATHS_BYTES_MAX: usize = 1 << 20;
/// Longest piece of a content in one message, in bytes, and of all pieces in it together.
pub const SNAPSHOT_PIECE_BYTES_MAX: usize = 1 << 20;
/// Most pieces in one message: their hashes are small next to their bytes.
pub const SNAPSHOT_PIECES_MAX: usize = 256;

/// BLAKE3 of a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash([u8; 32]);

/// Names a snapshot: BLAKE3 of its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(ContentHash);

/// A text that is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a BLAKE3 hash has 64 of the digits 0-9 and a-f")]
pub struct HashError;

impl ContentHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl FromStr for ContentHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        // Only one spelling, as hashes name files.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(HashError);
        }
        blake3::Hash::from_hex(text).map(Into::into).map_err(|_| HashError)
    }
}

impl TryFrom<String> for ContentHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SnapshotId {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Its path below the folder of the attempt: names separated by `/`.
    pub path: String,
    /// Whether it is executable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: ContentHash,
}

/// Why files do not form a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// There are none.
    #[error("a snapshot has at least one file")]
    Empty,
    /// There are too many.
    #[error(
        "{0} files are more than the {SNAPSHOT_FILES_MAX} that a sweep may send; name fewer, and put data on a share that all \
         workers reach"
    )]
    TooMany(usize),
    /// One is too long.
    #[error(
        "{path} has {bytes} bytes, more than the {most} MiB that a file of a sweep may have; put data on a share that all \
         workers reach",
        most = SNAPSHOT_FILE_BYTES_MAX >> 20
    )]
    FileTooLong {
        /// Which.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// They are too long together.
    #[error(
        "the files have {0} bytes, more than the {most} MiB that those of a sweep may have together; put data on a share that \
         all workers reach",
        most = SNAPSHOT_BYTES_MAX >> 20
    )]
    TooLong(u64),
    /// Their paths are too long together.
    #[error(
        "the paths of the files have {0} bytes, more than the {SNAPSHOT_PATHS_BYTES_MAX} that they may have together; name \
         fewer files"
    )]
    PathsTooLong(usize),
    /// A path is not allowed.
    #[error("the path {path:?} cannot be sent: {problem}")]
    Path {
        /// Which.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Two paths name the same file, at least where case does not count.
    #[error(
        "{one:?} and {other:?} are one and the same where upper and lower case do not count; rename one of them"
    )]
    Clash {
        /// A path.
        one: String,
        /// Another.
        other: String,
    },
    /// One content has two lengths.
    #[error("the content of {path:?} has another length than that of another file with the same hash")]
    Length {
        /// Of one of them.
        path: String,
    },
}

/// The files of a sweep in the order of their paths, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawManifest", into = "RawManifest")]
pub struct SnapshotManifest {
    files: Vec<SnapshotFile>,
}

/// As stored on disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    files: Vec<SnapshotFile>,
}

impl From<SnapshotManifest> for RawManifest {
    fn from(manifest: SnapshotManifest) -> Self {
        Self { files: manifest.files }
    }
}

impl TryFrom<RawManifest> for SnapshotManifest {
    type Error = SnapshotError;

    fn try_from(raw: RawManifest) -> Result<Self, SnapshotError> {
        Self::new(raw.files)
    }
}

impl SnapshotManifest {
    /// The snapshot of these files, in any order.
    ///
    /// # Errors
    /// They are too many or too long, or a path is not possible on every worker.
    pub fn new(mut files: Vec<SnapshotFile>) -> Result<Self, SnapshotError> {
        if files.is_empty() {
            return Err(SnapshotError::Empty);
        }
        if files.len() > SNAPSHOT_FILES_MAX {
            return Err(SnapshotError::TooMany(files.len()));
        }
        let paths = files.iter().map(|file| file.path.len()).sum();
        if paths > SNAPSHOT_PATHS_BYTES_MAX {
            return Err(SnapshotError::PathsTooLong(paths));
        }
        let mut all: u64 = 0;
        for file in &files {
            let (path, bytes) = (file.path.clone(), file.bytes);
            if let Err(problem) = path::check(&path) {
                return Err(SnapshotError::Path { path, problem });
            }
            if bytes > SNAPSHOT_FILE_BYTES_MAX {
                return Err(SnapshotError::FileTooLong { path, bytes });
            }
            // Ten thousand of the longest files are far from the end of a u64.
            all += bytes;
        }
        if all > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLong(all));
        }
        if let Some((one, other)) = path::clash(files.iter().map(|file| file.path.as_str())) {
            return Err(SnapshotError::Clash { one: one.to_owned(), other: other.to_owned() });
        }
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        check_lengths(&files)?;
        Ok(Self { files })
    }

    /// By path.
    pub fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    /// How many bytes all files have together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Each content once, with its length, in the order of the hashes.
    pub fn contents(&self) -> Vec<(ContentHash, u64)> {
        let mut contents: Vec<_> = self.files.iter().map(|file| (file.blake3, file.bytes)).collect();
        contents.sort_unstable();
        contents.dedup();
        contents
    }

    /// Names this snapshot.
    pub fn id(&self) -> SnapshotId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"sweep snapshot 1\0");
        for file in &self.files {
            // Lengths first, so that no two manifests are hashed from the same bytes.
            hasher.update(&(file.path.len() as u64).to_le_bytes());
            hasher.update(file.path.as_bytes());
            hasher.update(&[u8::from(file.executable)]);
            hasher.update(&file.bytes.to_le_bytes());
            hasher.update(&file.blake3.0);
        }
        SnapshotId(hasher.finalize().into())
    }
}

fn check_lengths(files: &[SnapshotFile]) -> Result<(), SnapshotError> {
    let mut contents: Vec<&SnapshotFile> = files.iter().collect();
    contents.sort_unstable_by_key(|file| (file.blake3, file.bytes));
    let differ = |pair: &&[&SnapshotFile]| matches!(pair, [one, other] if one.blake3 == other.blake3 && one.bytes != other.bytes);
    match contents.windows(2).find(differ) {
        Some(pair) => Err(SnapshotError::Length { path: pair[0].path.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
