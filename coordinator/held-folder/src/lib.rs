//! Temporary folders that show whether their process is alive: it holds a lock in them, which the system releases
//! however it ends. The next process that uses the same parent folder removes what a crash has left.

use std::{
    fs::{self, DirEntry, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use tempfile::TempDir;

/// The first file in each folder, and its content: a folder is removed only if both match, as users choose where such
/// folders lie and may have others with similar names there.
const LOCK: &str = "lock";
/// Content of the first file in each.
pub const MARK: &str = "A temporary folder of sweep, which may be removed unless this file is locked.\n";
/// Characters that are drawn for the end of a name.
const DRAWN: usize = 6;
/// How often another folder is made where someone took a new one for dead: more often than happens by chance.
const TRIES_MAX: usize = 16;

/// A temporary folder. Dropping it removes it.
#[derive(Debug)]
pub struct HeldFolder {
    lock: File,
    folder: TempDir,
}

impl HeldFolder {
    /// Makes one in `parent` whose name begins with `prefix`.
    ///
    /// # Errors
    /// The parent is not there or cannot be written.
    pub fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        for _ in 0..TRIES_MAX {
            let folder = tempfile::Builder::new().prefix(prefix).rand_bytes(DRAWN).tempdir_in(parent)?;
            if let Some(lock) = hold(folder.path())? {
                return Ok(Self { lock, folder });
            }
        }
        Err(io::Error::other(format!("new folders in {} are removed at once", parent.display())))
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether no one has removed it.
    pub fn is_there(&self) -> bool {
        is_there(&self.lock, self.path())
    }

    /// Removes the folders of this user's dead processes in `parent`. What cannot be removed stays.
    pub fn remove_stale(parent: &Path, prefix: &str) {
        let user = rustix::process::geteuid().as_raw();
        let is_ours = |entry: &DirEntry| {
            entry.file_name().to_string_lossy().strip_prefix(prefix).is_some_and(is_drawn)
                && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user)
        };
        for entry in fs::read_dir(parent).into_iter().flatten().flatten().filter(is_ours) {
            let path = entry.path();
            if remove_if_dead(&path) {
                tracing::info!("removed {}, which a process that was ended left behind", path.display());
            }
        }
    }
}

/// The lock of a new folder; none where someone took it for dead meanwhile.
fn hold(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::options().create_new(true).write(true).open(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        made => made?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // A file system without locks: no one can tell that it is dead, and it stays after a crash.
        Err(TryLockError::Error(_)) => {}
        // From now on another process may remove it once the lock is free.
        Ok(()) => (&lock).write_all(MARK.as_bytes())?,
    }
    Ok(is_there(&lock, folder).then_some(lock))
}

fn is_there(lock: &File, folder: &Path) -> bool {
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    let held = lock.metadata().map(place);
    held.is_ok_and(|held| fs::metadata(folder.join(LOCK)).map(place).is_ok_and(|found| found == held))
}

/// Whether the end of a name has the form of a drawn one.
fn is_drawn(end: &str) -> bool {
    end.len() == DRAWN && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn remove_if_dead(path: &Path) -> bool {
    let Ok(mut lock) = File::options().read(true).write(true).open(path.join(LOCK)) else { return false };
    // Held until it is gone.
    if lock.try_lock().is_err() {
        return false;
    }
    let mut mark = String::new();
    let is_ours = (&mut lock).take(MARK.len() as u64 + 1).read_to_string(&mut mark).is_ok() && mark == MARK;
    is_ours && remove(path).is_ok()
}

/// Removes a folder, its lock last: an interrupted removal is recognised by it, and the next process continues it.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == LOCK => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    fs::remove_file(path.join(LOCK))?;
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let parent = tempfile::tempdir().unwrap();
        let living = HeldFolder::create(parent.path(), ".work-").unwrap();
        fs::write(living.path().join("file"), "x").unwrap();
        let folder = |name: &str, files: &[(&str, &str)]| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
            folder
        };
        let dead = folder(".work-dEad01", &[("lock", MARK), ("file", "x")]);
        fs::create_dir(dead.join("within")).unwrap();
        fs::write(dead.join("within/file"), "x").unwrap();
        let users = [
            folder(".work-zoo", &[("lock", MARK), ("file", "x")]),
            folder(".work-models", &[("file", "x")]),
            folder(".work-locked", &[("lock", "x"), ("file", "x")]),
            folder(".work-empty1", &[]),
            folder("foreign", &[("lock", MARK)]),
        ];
        HeldFolder::remove_stale(parent.path(), ".work-");
        assert!(!dead.exists());
        assert!(living.is_there() && living.path().join("file").exists());
        for users in users {
            assert!(users.exists(), "{}", users.display());
        }
        let path = living.path().to_owned();
        fs::remove_dir_all(&path).unwrap();
        assert!(!living.is_there());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("lock"), "").unwrap();
        assert!(!living.is_there(), "another one has its name");
    }
}
