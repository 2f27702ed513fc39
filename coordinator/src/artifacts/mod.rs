//! Files of trained weights: taken in piece by piece, checked against their hash, kept under names that the engine gives,
//! and read again. Which are wanted and which count, the engine decides and the store records; here are only bytes.
//! A file is in its place before it is recorded, and removed after its record says so; what a crash leaves between the two
//! is removed when a coordinator begins to lead.

mod place;
mod tidy;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::stream::BoxStream;
use tokio::sync::{RwLock, Semaphore};

use self::place::{Place, blocking};
pub use self::tidy::tidy;
use crate::{
    core::{engine::WeightsNames, record::WeightsFile},
    told::Told,
};

/// Longest file, in bytes: the weights of SimpleCNN at its largest images have half of it.
pub const WEIGHTS_BYTES_MAX: u64 = 2 << 30;
/// Longest piece, in bytes: with what goes with it, well below the longest message.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Files that are put together at the same time; others wait at their workers.
const STAGED_FILES_MAX: usize = 64;
/// Calls that work on files at the same time: a place that does not answer must not hold all threads that wait for disks.
const CALLS_MAX: usize = 64;
/// Room that is left on the disk, in bytes: weights must not take what records need, which often lie on the same one.
const ROOM_LEFT_BYTES: u64 = 2 << 20;

/// Why a file cannot be taken, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The URL is not understood.
    #[error(
        "cannot keep weights in {url}: {reason}; give --artifacts a folder, or a URL such as file:///mnt/shared, \
         s3://bucket/folder, gs://bucket/folder or az://container/folder"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be used.
    #[error(
        "cannot keep weights in {folder}: {source}; check that it is writable, or name another with --artifacts"
    )]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room.
    #[error("the disk where weights are kept is full; make room there")]
    Full,
    /// Too many are on their way.
    #[error("as many files of weights are on their way as may be; this one waits at its worker")]
    TooMany,
    /// The file came in twice at a time.
    #[error("another call hands over the same file of weights")]
    Busy,
    /// What came in is not what was announced.
    #[error("the weights that came in do not have the hash that was announced")]
    Damaged,
    /// A piece is too long or goes beyond the end.
    #[error("a piece of weights has at most {PIECE_BYTES_MAX} bytes and lies within the file")]
    Piece,
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

/// How far a file has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The next piece begins here.
    UpTo(u64),
    /// All of it is there.
    Whole,
}

/// All files of weights of a coordinator.
#[derive(Debug)]
pub struct Artifacts {
    place: Place,
    /// Names of the files that calls work on now.
    busy: Mutex<HashSet<String>>,
    /// For each call that works on a file.
    calls: Semaphore,
    /// What the log was told since the place last took something.
    told: Mutex<Told>,
    /// Held while a file has its name and is not recorded yet, so that it is not taken for a leftover.
    recording: RwLock<()>,
}

impl Artifacts {
    /// The files at `location`, a folder or a URL.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(location: &str) -> Result<Self, ArtifactError> {
        Ok(Self {
            place: Place::open(location)?,
            busy: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
            told: Mutex::default(),
            recording: RwLock::default(),
        })
    }

    /// Takes a piece of the file that will have this name; an empty one asks how far it is. A piece that begins elsewhere is
    /// left out.
    ///
    /// # Errors
    /// There is no room, or the disk refuses. What there is of the file is given up where the disk is full.
    pub async fn take(
        &self,
        name: &str,
        file: &WeightsFile,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Taken, ArtifactError> {
        let _call = self.calls.try_acquire().map_err(|_| ArtifactError::TooMany)?;
        let _guard = self.guard(name)?;
        let (part, bytes, staging) = (self.part(name), file.bytes, self.place.staging.clone());
        if data.len() > PIECE_BYTES_MAX || offset.saturating_add(data.len() as u64) > bytes {
            return Err(ArtifactError::Piece);
        }
        let taken = blocking(move || {
            let taken = append(&staging, &part, bytes, offset, &data);
            if taken.as_ref().is_err_and(is_full) {
                // Half a file is of no use, and others need the room.
                let _ = fs::remove_file(&part);
            }
            taken
        })
        .await;
        match taken {
            Ok(None) => Err(ArtifactError::TooMany),
            Ok(Some(length)) if length == bytes => Ok(Taken::Whole),
            Ok(Some(length)) => Ok(Taken::UpTo(length)),
            Err(ArtifactError::File(error)) if is_full(&error) => Err(ArtifactError::Full),
            Err(error) => Err(error),
        }
    }

    /// Checks a file that is whole, puts it in its place and has it recorded; it is no leftover meanwhile.
    ///
    /// # Errors
    /// It is not what was announced and is given up, or cannot be put there.
    pub async fn keep<T>(
        &self,
        name: &str,
        file: &WeightsFile,
        record: impl Future<Output = T>,
    ) -> Result<T, ArtifactError> {
        let _call = self.calls.try_acquire().map_err(|_| ArtifactError::TooMany)?;
        let _guard = self.guard(name)?;
        let (part, expected) = (self.part(name), file.blake3.clone());
        let checked = part.clone();
        let is_right = blocking(move || {
            let is_right = hash(&checked)? == expected;
            if is_right {
                File::open(&checked)?.sync_all()?;
            } else {
                fs::remove_file(&checked)?;
            }
            Ok(is_right)
        })
        .await?;
        if !is_right {
            return Err(ArtifactError::Damaged);
        }
        let _recording = self.recording.read().await;
        match self.place.publish(part, name).await {
            Err(ArtifactError::File(error)) if is_full(&error) => return Err(ArtifactError::Full),
            published => published?,
        }
        self.works();
        Ok(record.await)
    }

    /// The place cannot take a file at the moment, which its worker offers again; the log is told once of each reason.
    pub fn failed(&self, error: &ArtifactError) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_new(&error.to_string()) {
            tracing::error!("{error}; what is offered waits at its worker and is offered again");
        }
    }

    /// The place takes files.
    fn works(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.is_empty() {
            tracing::info!("weights can be kept again");
            told.clear();
        }
    }

    /// The bytes of a file that is kept, from `offset` on.
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

    /// Removes a file that is not kept any more.
    ///
    /// # Errors
    /// It stays; the next coordinator that leads removes it.
    pub async fn remove(&self, name: &str) -> Result<(), ArtifactError> {
        self.place.remove(name).await
    }

    /// Removes what crashes left: files of this coordinator's sweeps that no record tells of. `names` is asked once the files
    /// are listed, so that what is kept meanwhile is known. How many they were.
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
        let awaited: HashSet<PathBuf> = names.awaited.iter().map(|name| self.part(name)).collect();
        let (staging, folders) = (self.place.staging.clone(), names.folders);
        let parts = blocking(move || {
            let is_ours = |path: &Path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.split_once('_').is_some_and(|(folder, _)| folders.contains(folder))
            };
            let mut removed = 0;
            for entry in fs::read_dir(staging)? {
                let path = entry?.path();
                if is_ours(&path) && !awaited.contains(&path) {
                    fs::remove_file(path)?;
                    removed += 1;
                }
            }
            Ok(removed)
        });
        Ok(removed + parts.await?)
    }

    /// Where a file is put together.
    fn part(&self, name: &str) -> PathBuf {
        self.place.staging.join(format!("{}.part", name.replace('/', "_")))
    }

    fn guard(&self, name: &str) -> Result<Guard<'_>, ArtifactError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(name.to_owned()) {
            return Err(ArtifactError::Busy);
        }
        Ok(Guard { busy: &self.busy, name: name.to_owned() })
    }
}

/// Keeps other calls from a file.
struct Guard<'a> {
    busy: &'a Mutex<HashSet<String>>,
    name: String,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Adds a piece at the end of a part, where it belongs there. How long the part is then; nothing where there are too many
/// already.
fn append(staging: &Path, part: &Path, bytes: u64, offset: u64, data: &[u8]) -> io::Result<Option<u64>> {
    let length = match fs::metadata(part) {
        Ok(found) if found.len() > bytes => {
            fs::remove_file(part)?;
            0
        }
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if length == 0 {
        if fs::read_dir(staging)?.count() >= STAGED_FILES_MAX {
            return Ok(None);
        }
        check_room(staging, bytes)?;
    }
    if data.is_empty() || offset != length {
        return Ok(Some(length));
    }
    let file = File::options().create(true).truncate(false).write(true).open(part)?;
    file.write_all_at(data, length)?;
    Ok(Some(length + data.len() as u64))
}

/// Fails as a full disk does where a file would fill it.
fn check_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let found = rustix::fs::statvfs(folder)?;
    if found.f_bavail.saturating_mul(found.f_frsize) < bytes.saturating_add(ROOM_LEFT_BYTES) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
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

/// Where weights are kept that were given no place: beside the file of an SQLite store. A database on a server has nothing
/// beside it.
pub fn default_location(store_url: &str) -> Option<String> {
    let path = store_url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest))?;
    Some(format!("{path}-artifacts"))
}

/// As [`Artifacts`], shared; none where there is no place.
pub type MaybeArtifacts = Option<Arc<Artifacts>>;

#[cfg(test)]
mod tests;
