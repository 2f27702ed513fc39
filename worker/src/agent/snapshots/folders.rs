//! The folders of attempts, within that of the spool. Each is created by copying, as programs write into it, and files
//! are hashed meanwhile, as a power cut may have corrupted the cache. A folder is removed with its attempt; the next
//! process removes what a killed one left.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use terms::{
    AttemptKey,
    snapshot::{ContentHash, SnapshotFile, SnapshotManifest},
};

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
    /// The file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where attempts have their folders.
#[derive(Debug)]
pub(super) struct Folders(PathBuf);

impl Folders {
    /// The folders of this worker; earlier ones are removed.
    pub(super) fn open(spool: &Path) -> io::Result<Self> {
        let folder = spool.join(FOLDER);
        clear(&folder)?;
        // Private: a program's files may be secret.
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(Self(folder))
    }

    fn of(&self, attempt: AttemptKey) -> PathBuf {
        self.0.join(format!("{}-{}-{}", attempt.job.sweep.0, attempt.job.job, attempt.attempt))
    }

    /// Creates the folder of an attempt and copies the files of a snapshot into it, which must be in the cache.
    pub(super) fn unpack(
        &self,
        attempt: AttemptKey,
        manifest: &SnapshotManifest,
        cache: &Cache,
    ) -> Result<PathBuf, UnpackError> {
        self.remove(attempt)?;
        room::check(&self.0, manifest.bytes())?;
        let folder = self.of(attempt);
        fs::create_dir(&folder)?;
        let mut piece = vec![0; PIECE_BYTES];
        for file in manifest.files() {
            let unpacked = copy(&folder, file, cache, &mut piece);
            if let Err(UnpackError::Corrupt(content)) = unpacked {
                cache.forget(content);
            }
            unpacked?;
        }
        Ok(folder)
    }

    /// Removes the folder of an attempt.
    pub(super) fn remove(&self, attempt: AttemptKey) -> io::Result<()> {
        clear(&self.of(attempt))
    }
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
