//! Where a database lies, and who has it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::super::StoreError;

/// Links that are followed one after the other before they are taken for a circle, as the system does.
const LINKS_MAX: usize = 40;

/// The database's own path, whichever links lead to it: what belongs to a database lies next to it, above all its lock.
pub(crate) fn real(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let real = resolved(path).map_err(failed)?;
    match fs::metadata(&real) {
        // Each name would have a lock and a log of its own.
        Ok(found) if found.nlink() > 1 => tracing::warn!(
            "{} has {} names (hard links): a coordinator that is given another of them is not noticed, and both corrupt the \
             database; use one of them only",
            real.display(),
            found.nlink()
        ),
        _ => {}
    }
    Ok(real)
}

fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        // Not there yet: its folder is, and perhaps a link to where it will be.
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder)?;
        path = match fs::read_link(folder.join(&name)) {
            Ok(target) => folder.join(target),
            Err(_) => return Ok(folder.join(name)),
        };
    }
    Err(io::Error::other("its links lead in a circle"))
}

/// Takes the lock file next to the database.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(sibling(path, ".lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Which file a database is: under its name, another one may come to lie, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file that has this path now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }

    /// Whether this file no longer has that path. What cannot be told is not taken for a removal.
    pub(super) fn has_left(self, path: &Path) -> bool {
        match Self::of(path) {
            Ok(found) => found != self,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// A file that goes with the database.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
