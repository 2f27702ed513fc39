//! Files of trained weights: received piece by piece, checked against their hash, kept under names that the engine
//! gives, and read again. The engine decides which are wanted and which count, and the store records it; here are only
//! bytes. Next to them are the files that are sent with sweeps (`snapshots`). A file is in its place before it is
//! recorded, and removed after its record says so. What a crash leaves between the two is removed when a coordinator
//! begins to lead.

mod handed_over;
mod parts;
mod place;
mod snapshots;
mod tidy;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use domain::record::WeightsFile;
use engine::WeightsNames;
use futures_util::stream::BoxStream;
use storage::LOCATIONS;
use terms::snapshot::{
    ContentHash, SNAPSHOT_FILE_BYTES_MAX, SNAPSHOT_PIECE_BYTES_MAX, SNAPSHOT_PIECES_MAX, SnapshotId,
};
use tokio::sync::{RwLock, Semaphore};

pub use self::tidy::tidy;
pub(crate) use self::{
    handed_over::Checkpoint,
    snapshots::{Held, Piece},
};
use self::{
    parts::{ABANDONED_AFTER, Part, Parts},
    place::{Place, blocking},
};
use crate::logged::Logged;

/// Longest file, in bytes: the weights of SimpleCNN at its largest images have half of it.
pub const WEIGHTS_BYTES_MAX: u64 = 2 << 30;
/// Longest piece, in bytes: with its headers, well below the longest message.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Calls that work on files of weights at the same time, and on checkpoints: a place that does not answer must not occupy all threads
/// that wait for disks.
const CALLS_MAX: usize = 64;

/// Why a file cannot be received, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The URL is invalid.
    #[error("cannot keep weights in {url}: {reason}; give --artifacts {LOCATIONS}")]
    Url {
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be used.
    #[error(
        "cannot keep weights in {folder}: {source}; check that it is writable, or name another with --artifacts"
    )]
    Folder {
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no room.
    #[error("the disk where weights are kept is full; make room there")]
    Full,
    /// Too many are in progress.
    #[error("too many files are being uploaded; try again later")]
    TooMany,
    /// The file arrives twice at the same time.
    #[error("another call uploads the same file")]
    Busy,
    /// The content differs from what was announced.
    #[error("the content does not have the announced hash")]
    Corrupt,
    /// A piece is too long or goes beyond the end.
    #[error("a piece has at most {PIECE_BYTES_MAX} bytes and lies within its file")]
    Piece,
    /// Pieces that are too many or too long together.
    #[error(
        "a message has at most {SNAPSHOT_PIECES_MAX} pieces with {SNAPSHOT_PIECE_BYTES_MAX} bytes together"
    )]
    Pieces,
    /// A content is longer than any may be.
    #[error(
        "the content {0} is longer than the {SNAPSHOT_FILE_BYTES_MAX} bytes that a file of a program may have"
    )]
    TooLong(ContentHash),
    /// A piece begins beyond the end of its content.
    #[error("a piece of the content {0} begins beyond its end")]
    Beyond(ContentHash),
    /// No such snapshot is kept.
    #[error("there is no snapshot {0} of files here; submit the sweep again, which sends them")]
    NoSnapshot(SnapshotId),
    /// No such content is kept.
    #[error("there is no content {0} here; submit the sweep again, which sends it")]
    NoContent(ContentHash),
    /// A content has another length than in the message.
    #[error("the content {0} has another length than the message says")]
    Length(ContentHash),
    /// A manifest differs from what was kept.
    #[error("the manifest of snapshot {0} is corrupt where artifacts are kept")]
    Manifest(SnapshotId),
    /// The file system refuses.
    #[error("weights cannot be written or read: {0}")]
    File(io::Error),
    /// The cloud refuses.
    #[error("weights cannot be kept or read: {0}")]
    Store(#[from] object_store::Error),
}

impl From<io::Error> for ArtifactError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// How much of a file has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The next piece begins here.
    UpTo(u64),
    /// All of it is there.
    Whole,
}

/// Permits for calls that work on a file: many workers that leave at once must not hold up weights, nor weights them.
#[derive(Debug)]
struct Calls {
    weights: Semaphore,
    checkpoints: Semaphore,
}

impl Calls {
    fn new() -> Self {
        Self { weights: Semaphore::new(CALLS_MAX), checkpoints: Semaphore::new(CALLS_MAX) }
    }

    /// Those for a file of this name.
    fn of(&self, name: &str) -> &Semaphore {
        if name.starts_with(handed_over::FOLDER) { &self.checkpoints } else { &self.weights }
    }
}

/// All files of weights of a coordinator.
#[derive(Debug)]
pub struct Artifacts {
    place: Place,
    parts: Arc<Parts>,
    calls: Calls,
    /// What was logged since the place last accepted something.
    logged: Mutex<Logged>,
    /// Held while a file has its name and is not recorded yet, so that it does not count as a leftover.
    recording: RwLock<()>,
    /// Checkpoints that workers have handed over.
    handed_over: handed_over::Known,
}

impl Artifacts {
    /// The files at `location`, a folder or a URL.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(location: &str) -> Result<Self, ArtifactError> {
        let (place, staging) = Place::open(location)?;
        Ok(Self {
            place,
            parts: Arc::new(Parts::new(staging)),
            calls: Calls::new(),
            logged: Mutex::default(),
            recording: RwLock::default(),
            handed_over: handed_over::Known::default(),
        })
    }

    /// Receives a piece of the file that will have this name; an empty piece asks how much has arrived. A piece that
    /// begins elsewhere is ignored.
    ///
    /// # Errors
    /// There is no room, or the disk refuses. If the disk is full, what has arrived is dropped.
    pub async fn take(
        &self,
        name: &str,
        file: &WeightsFile,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Taken, ArtifactError> {
        let _call = self.calls.of(name).try_acquire().map_err(|_| ArtifactError::TooMany)?;
        let (part, bytes) = (self.parts.part(name)?, file.bytes);
        if data.len() > PIECE_BYTES_MAX || offset.saturating_add(data.len() as u64) > bytes {
            return Err(ArtifactError::Piece);
        }
        let taken = blocking(move || part.append(bytes, offset, &data)).await;
        match taken {
            Ok(None) => Err(ArtifactError::TooMany),
            Ok(Some(length)) if length == bytes => Ok(Taken::Whole),
            Ok(Some(length)) => Ok(Taken::UpTo(length)),
            Err(ArtifactError::File(error)) if is_full(&error) => Err(ArtifactError::Full),
            Err(error) => Err(error),
        }
    }

    /// Checks a complete file, puts it in its place and calls back to record it; it does not count as a leftover
    /// meanwhile.
    ///
    /// # Errors
    /// It differs from what was announced and is dropped, or cannot be put there.
    pub async fn keep<T>(
        &self,
        name: &str,
        file: &WeightsFile,
        record: impl Future<Output = T>,
    ) -> Result<T, ArtifactError> {
        let _call = self.calls.of(name).try_acquire().map_err(|_| ArtifactError::TooMany)?;
        let (part, expected) = (self.parts.part(name)?, file.blake3.clone());
        let check = move |part: &Part| {
            let path = part.path()?;
            let is_right = hash(&path)? == expected;
            if is_right {
                File::open(&path)?.sync_all()?;
            } else {
                part.remove()?;
            }
            Ok((path, is_right))
        };
        // Held until it is recorded.
        let (_part, (path, is_right)) = blocking(move || check(&part).map(|checked| (part, checked))).await?;
        if !is_right {
            return Err(ArtifactError::Corrupt);
        }
        let _recording = self.recording.read().await;
        match self.place.publish(path, name).await {
            Err(ArtifactError::File(error)) if is_full(&error) => return Err(ArtifactError::Full),
            published => published?,
        }
        self.works();
        Ok(record.await)
    }

    /// Logs that the place cannot accept a file at the moment, once per reason; its worker offers it again.
    pub fn failed(&self, error: &ArtifactError) {
        if self.logged.lock().unwrap_or_else(PoisonError::into_inner).is_new(&error.to_string()) {
            tracing::error!("{error}; what is offered waits at its worker and is offered again");
        }
    }

    /// Notes that the place accepts files.
    fn works(&self) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if !logged.is_empty() {
            tracing::info!("weights can be kept again");
            logged.clear();
        }
    }

    /// The bytes of a kept file, from `offset`.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(
        &self,
        name: &str,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Vec<u8>, ArtifactError>>, ArtifactError> {
        self.place.read(name, offset).await
    }

    /// Removes a file that is no longer kept, and any part of it that has arrived.
    ///
    /// # Errors
    /// It stays; the next coordinator that leads removes it.
    pub async fn remove(&self, name: &str) -> Result<(), ArtifactError> {
        let part = self.parts.part_once_free(name).await;
        // Held until both are gone.
        let _part = blocking(move || part.remove().map(|()| part)).await?;
        self.place.remove(name).await
    }

    /// Removes what crashes left: files of this coordinator's sweeps without a record. Calls `names` after listing the
    /// files, so that files kept meanwhile are known. Returns how many were removed.
    ///
    /// # Errors
    /// The place cannot be listed, or a file stays.
    pub(crate) async fn remove_leftovers(
        &self,
        names: impl Future<Output = Option<WeightsNames>>,
    ) -> Result<usize, ArtifactError> {
        let _recording = self.recording.write().await;
        let files = self.place.list().await?;
        let Some(names) = names.await else { return Ok(0) };
        let is_ours =
            |name: &&String| name.split_once('/').is_some_and(|(folder, _)| names.folders.contains(folder));
        let mut removed = 0;
        for name in files.iter().filter(is_ours).filter(|name| !names.kept.contains(*name)) {
            self.place.remove(name).await?;
            removed += 1;
        }
        let (parts, awaited, folders) = (Arc::clone(&self.parts), names.awaited, names.folders);
        Ok(removed + blocking(move || parts.remove_unknown(&awaited, &folders)).await?)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// BLAKE3 of a file, as hexadecimal digits.
fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut piece) =
        (File::open(path)?, blake3::Hasher::new(), vec![0; PIECE_BYTES_MAX]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            bytes => hasher.update(&piece[..bytes]),
        };
    }
}

/// Where weights are kept by default: next to the file of an SQLite store. A database on a server has no such place.
pub fn default_location(store_url: &str) -> Option<String> {
    let path = store_url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest))?;
    Some(format!("{path}-artifacts"))
}

/// Shared [`Artifacts`]; none if there is no place.
pub type MaybeArtifacts = Option<Arc<Artifacts>>;

#[cfg(test)]
mod tests;
