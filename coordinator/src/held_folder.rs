//! Temporary folders that tell whether their process lives: it holds a lock in them, which the system lets go however it
//! ends. What a crash leaves is removed by the next process that looks in the same place.

use std::{
    fs::{self, DirEntry, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use tempfile::TempDir;

/// The first file in each.
const LOCK: &str = "lock";
/// How often another one is made where somebody took a new one for dead: more often than chance needs.
const TRIES_MAX: usize = 16;

/// A temporary folder. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct HeldFolder {
    lock: File,
    folder: TempDir,
}

impl HeldFolder {
    /// Makes one in `parent` whose name begins with `prefix`.
    ///
    /// # Errors
    /// The parent is not there or cannot be written.
    pub(crate) fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        for _ in 0..TRIES_MAX {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            if let Some(lock) = hold(folder.path())? {
                return Ok(Self { lock, folder });
            }
        }
        Err(io::Error::other(format!("new folders in {} are removed at once", parent.display())))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether nobody has removed it.
    pub(crate) fn is_there(&self) -> bool {
        is_there(&self.lock, self.path())
    }

    /// Removes those of dead processes of this user in `parent`. What cannot be removed stays.
    pub(crate) fn remove_stale(parent: &Path, prefix: &str) {
        let user = rustix::process::geteuid().as_raw();
        let is_ours = |entry: &DirEntry| {
            entry.file_name().to_string_lossy().starts_with(prefix)
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

/// The lock of a new folder; none where somebody took it for dead meanwhile.
fn hold(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::options().create_new(true).write(true).open(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        made => made?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // A file system without locks: nobody can tell that it is dead, and it stays after a crash.
        Err(TryLockError::Error(_)) | Ok(()) => {}
    }
    Ok(is_there(&lock, folder).then_some(lock))
}

fn is_there(lock: &File, folder: &Path) -> bool {
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    let held = lock.metadata().map(place);
    held.is_ok_and(|held| fs::metadata(folder.join(LOCK)).map(place).is_ok_and(|found| found == held))
}

fn remove_if_dead(path: &Path) -> bool {
    // One without a lock was made a moment ago, and who made it makes another, or its removal was cut off.
    if fs::remove_dir(path).is_ok() {
        return true;
    }
    match File::options().write(true).open(path.join(LOCK)) {
        // Held until it is gone.
        Ok(lock) => lock.try_lock().is_ok() && fs::remove_dir_all(path).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound && fs::remove_dir_all(path).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let parent = tempfile::tempdir().unwrap();
        let living = HeldFolder::create(parent.path(), ".work-").unwrap();
        fs::write(living.path().join("file"), "x").unwrap();
        for (name, files) in
            [(".work-dead", &["lock", "file"][..]), (".work-cut", &["file"]), (".work-new", &[])]
        {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            files.iter().for_each(|file| fs::write(folder.join(file), "x").unwrap());
        }
        fs::create_dir(parent.path().join("foreign")).unwrap();
        fs::write(parent.path().join(".work-file"), "x").unwrap();
        HeldFolder::remove_stale(parent.path(), ".work-");
        assert!(living.is_there() && living.path().join("file").exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 3, "the living one and what is none");
        let path = living.path().to_owned();
        fs::remove_dir_all(&path).unwrap();
        assert!(!living.is_there());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("lock"), "").unwrap();
        assert!(!living.is_there(), "another one has its name");
    }
}
