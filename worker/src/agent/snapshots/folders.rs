//! The folders of attempts, within that of the spool. Each is created by copying, as programs write into it, and files
//! are hashed meanwhile, as a power cut may have corrupted the cache. A folder is removed with its attempt, and as soon
//! as no one wants it any more; the next process removes what a killed one left.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use terms::{
    AttemptKey,
    snapshot::{ContentHash, SnapshotFile, SnapshotManifest},
};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{cache::Cache, fetch::remove_folder, room};

/// Within the spool's folder.
const FOLDER: &str = "programs";
/// Bytes that are copied at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Why files are not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// A content in the cache has changed; it was removed.
    #[error("the content {0} was corrupted in the cache")]
    Corrupt(ContentHash),
    /// No one waits for the folder any more.
    #[error("its job has ended")]
    Unwanted,
    /// The file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where attempts have their folders.
#[derive(Debug)]
pub(super) struct Folders {
    folder: PathBuf,
    /// What removes folders, so that a worker that leaves can wait for it.
    tidying: TaskTracker,
}

/// The folder of an attempt, with its files. Removed when this is dropped, unless it is given to the attempt.
#[derive(Debug)]
pub(crate) struct AttemptFolder {
    /// None once the attempt has it, which removes it when it ends.
    folders: Option<Arc<Folders>>,
    attempt: AttemptKey,
    path: PathBuf,
}

impl AttemptFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the attempt.
    pub(crate) fn give(mut self) -> PathBuf {
        self.folders = None;
        std::mem::take(&mut self.path)
    }

    /// Removes it. Blocks.
    fn remove(mut self) {
        if let Some(folders) = self.folders.take() {
            folders.remove_or_say(self.attempt);
        }
    }
}

impl Drop for AttemptFolder {
    fn drop(&mut self) {
        let Some(folders) = self.folders.take() else { return };
        let attempt = self.attempt;
        // Not on the thread that gives it up, which has heartbeats to send.
        if tokio::runtime::Handle::try_current().is_ok() {
            let tidying = folders.tidying.clone();
            tidying.spawn_blocking(move || folders.remove_or_say(attempt));
        } else {
            folders.remove_or_say(attempt);
        }
    }
}

impl Folders {
    /// The folders of this worker; earlier ones are removed.
    pub(super) fn open(spool: &Path, tidying: TaskTracker) -> io::Result<Self> {
        let folder = spool.join(FOLDER);
        clear(&folder)?;
        // Private: a program's files may be secret.
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(Self { folder, tidying })
    }

    /// [`Self::unpack`] on a thread that may wait for the disk, for as long as this is awaited and `waits` is there. `used`
    /// prevents removals from the cache meanwhile.
    pub(super) async fn unpack_aside(
        self: &Arc<Self>,
        attempt: AttemptKey,
        manifest: SnapshotManifest,
        cache: Arc<Cache>,
        used: File,
        waits: &Arc<()>,
    ) -> Result<AttemptFolder, UnpackError> {
        let (done, unpacked) = oneshot::channel();
        let (folders, waits) = (Arc::clone(self), Arc::downgrade(waits));
        self.tidying.spawn_blocking(move || {
            let folder = folders.unpack(attempt, &manifest, &cache, || waits.strong_count() > 0);
            drop(used);
            // No one waits: it is removed before this counts as done.
            if let Err(Ok(folder)) = done.send(folder) {
                folder.remove();
            }
        });
        unpacked.await.unwrap_or_else(|error| Err(UnpackError::Io(io::Error::other(error))))
    }

    fn of(&self, attempt: AttemptKey) -> PathBuf {
        self.folder.join(format!("{}-{}-{}", attempt.job.sweep.0, attempt.job.job, attempt.attempt))
    }

    /// Creates the folder of an attempt and copies the files of a snapshot into it, which must be in the cache. Leaves
    /// nothing behind if it fails, or if `is_wanted` says that no one waits for it. Blocks.
    pub(super) fn unpack(
        self: &Arc<Self>,
        attempt: AttemptKey,
        manifest: &SnapshotManifest,
        cache: &Cache,
        is_wanted: impl Fn() -> bool,
    ) -> Result<AttemptFolder, UnpackError> {
        self.remove(attempt)?;
        room::check(&self.folder, manifest.bytes())?;
        let path = self.of(attempt);
        let folder = AttemptFolder { folders: Some(Arc::clone(self)), attempt, path };
        match copy_all(folder.path(), manifest, cache, is_wanted) {
            Ok(()) => Ok(folder),
            Err(error) => {
                folder.remove();
                Err(error)
            }
        }
    }

    /// Removes the folder of an attempt.
    pub(super) fn remove(&self, attempt: AttemptKey) -> io::Result<()> {
        clear(&self.of(attempt))
    }

    pub(super) fn remove_or_say(&self, attempt: AttemptKey) {
        if let Err(error) = self.remove(attempt) {
            tracing::warn!(%error, %attempt, "the folder of an attempt that has ended stays until the next start");
        }
    }
}

fn copy_all(
    folder: &Path,
    manifest: &SnapshotManifest,
    cache: &Cache,
    is_wanted: impl Fn() -> bool,
) -> Result<(), UnpackError> {
    fs::create_dir(folder)?;
    let mut piece = vec![0; PIECE_BYTES];
    for file in manifest.files() {
        let unpacked = copy(folder, file, cache, &mut piece);
        if let Err(UnpackError::Corrupt(content)) = unpacked {
            cache.forget(content);
        }
        unpacked?;
        if !is_wanted() {
            return Err(UnpackError::Unwanted);
        }
    }
    Ok(())
}

/// Copies one file. Its path was checked with its manifest: it is below the folder, which has no links.
fn copy(folder: &Path, file: &SnapshotFile, cache: &Cache, piece: &mut [u8]) -> Result<(), UnpackError> {
    let place = folder.join(&file.path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if file.executable { 0o755 } else { 0o644 };
    let mut target: File = OpenOptions::new().create_new(true).write(true).mode(mode).open(&place)?;
    let mut source = match cache.open(file.blake3) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(UnpackError::Corrupt(file.blake3));
        }
        opened => opened?,
    };
    let mut hasher = blake3::Hasher::new();
    loop {
        match source.read(piece)? {
            0 => break,
            bytes => {
                hasher.update(&piece[..bytes]);
                target.write_all(&piece[..bytes])?;
            }
        }
    }
    if ContentHash::from(hasher.finalize()) != file.blake3 {
        return Err(UnpackError::Corrupt(file.blake3));
    }
    Ok(())
}

/// Removes a folder, even if a program removed the permission to do so.
fn clear(folder: &Path) -> io::Result<()> {
    match remove_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            allow(folder)?;
            remove_folder(folder)
        }
        removed => removed,
    }
}

fn allow(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            allow(&entry.path())?;
        }
    }
    Ok(())
}
