//! The room that the cache may take: the packs that were used least recently make way for a new one, and none that a process has mapped.
//! Whoever uses a pack holds a lock on it, which the system releases when the process ends, in any way; a mark next to the packs, whose
//! time is that of the last use, says which is the oldest. Nothing but packs that the cache itself has made is ever removed.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::leftovers;

/// The folder of the marks.
const USED: &str = "used";

/// Digits of the hash with which the name of a pack begins.
const HASH_DIGITS: usize = 64;

/// How long a pack that is being removed is waited for. Removing it takes a moment; longer, and its process stands still.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);
/// How often to look whether it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A pack of the cache.
#[derive(Debug)]
struct Pack {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Keeps a pack from being removed for as long as the file is open, and notes that it is used. None where it is not there. A pack on
/// a share whose locks do not work is not held, and neither is one whose removal does not end: its bytes stay readable once it is
/// opened.
pub(super) fn hold(path: &Path) -> Option<File> {
    let give_up_at = Instant::now() + REMOVED_WITHIN;
    hold_after(path, || {
        thread::sleep(LOOK_INTERVAL);
        Instant::now() < give_up_at
    })
}

/// As [`hold`]; while another process removes the pack, `pause` waits a moment and says whether to wait on.
fn hold_after(path: &Path, mut pause: impl FnMut() -> bool) -> Option<File> {
    loop {
        let file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) if pause() => continue,
            Err(TryLockError::WouldBlock) => {
                tracing::warn!(
                    "{} is used without a lock: a process that was to remove it has kept its own for {REMOVED_WITHIN:?}",
                    path.display()
                );
            }
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // It may have been removed between opening and locking, or another one have taken its name.
        let is_it = fs::metadata(path).ok()?.ino() == file.metadata().ok()?.ino();
        if is_it {
            note_use(path);
            return Some(file);
        }
    }
}

fn note_use(path: &Path) {
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
        let marks = folder.join(USED);
        // Only a hint: without it, the pack counts as used when it was made.
        let _ = fs::create_dir_all(&marks).and_then(|()| fs::write(marks.join(name), b""));
    }
}

/// Removes packs until `needed` more bytes fit into `bytes_max`.
///
/// # Errors
/// They do not, as so many bytes are in use.
pub(super) fn make_room(folder: &Path, needed: u64, bytes_max: u64) -> Result<(), u64> {
    let (mut packs, unfinished) = look(folder);
    packs.sort_by_key(|pack| pack.used);
    let mut sum = unfinished + packs.iter().map(|pack| pack.bytes).sum::<u64>();
    for pack in packs {
        if sum.saturating_add(needed) <= bytes_max {
            break;
        }
        if remove_unless_held(&pack.path) {
            sum -= pack.bytes;
            tracing::info!(
                "removed {} of {} bytes, the pack that was used least recently: {needed} more bytes have to fit, and \
                 --cache-max-bytes is {bytes_max}",
                pack.path.display(),
                pack.bytes
            );
        }
    }
    if sum.saturating_add(needed) <= bytes_max { Ok(()) } else { Err(sum) }
}

/// The packs in a folder, and the bytes of those that are being made.
fn look(folder: &Path) -> (Vec<Pack>, u64) {
    let (mut packs, mut unfinished) = (Vec::new(), 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // What is gone meanwhile takes no room.
        let (Some(name), Ok(found)) = (name.to_str(), entry.metadata()) else { continue };
        if leftovers::is_unfinished(name) {
            unfinished += found.blocks() * 512;
        } else if is_pack(name) {
            let mark = fs::metadata(folder.join(USED).join(name)).and_then(|mark| mark.modified());
            let used = mark.or_else(|_| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            packs.push(Pack { path, bytes: found.len(), used });
        }
    }
    (packs, unfinished)
}

/// Whether the name is that of a pack which the cache has made: `<hash>-<size>-v<version>….safetensors`.
fn is_pack(name: &str) -> bool {
    let Some((hash, rest)) = name.split_once('-') else { return false };
    let Some((size, version)) = rest.split_once("-v") else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    hash.len() == HASH_DIGITS
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && is_number(size)
        && version.ends_with(".safetensors")
}

/// Whether it was removed: it is not while any process holds it.
fn remove_unless_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return false,
    }
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
        let _ = fs::remove_file(folder.join(USED).join(name));
    }
    fs::remove_file(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pack(folder: &Path, digit: char, bytes: usize, used_s: u64) -> PathBuf {
        let name = format!("{}-128-v3.safetensors", digit.to_string().repeat(HASH_DIGITS));
        let path = folder.join(&name);
        fs::write(&path, vec![0; bytes]).unwrap();
        note_use(&path);
        let mark = File::options().write(true).open(folder.join(USED).join(name)).unwrap();
        mark.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(used_s)).unwrap();
        path
    }

    #[test]
    fn what_was_used_least_recently_goes_first_and_nothing_that_is_in_use() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path();
        let [a, b, c] = [('a', 1), ('b', 2), ('c', 3)].map(|(digit, used)| pack(folder, digit, 100, used));
        let others =
            ["train.safetensors", &format!("{}-128-v3.txt", "d".repeat(64))].map(|name| folder.join(name));
        others.iter().for_each(|path| fs::write(path, vec![0; 1_000]).unwrap());
        assert_eq!(make_room(folder, 50, 350), Ok(()));
        let held = hold(&a).unwrap();
        assert_eq!(make_room(folder, 100, 300), Ok(()));
        assert_eq!([&a, &b, &c].map(|path| path.exists()), [true, false, true], "a is in use");
        assert_eq!(make_room(folder, 300, 300), Err(100));
        assert!(a.exists() && !c.exists());
        drop(held);
        assert_eq!(make_room(folder, 300, 300), Ok(()));
        assert!(!a.exists() && others.iter().all(|path| path.exists()), "other files are not the cache's");
        assert!(fs::read_dir(folder.join(USED)).unwrap().next().is_none());
    }

    #[test]
    fn a_pack_that_is_being_removed_is_waited_for() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path();
        let path = pack(folder, 'a', 100, 1);
        let locked = || {
            let file = File::open(&path).unwrap();
            file.lock().unwrap();
            Some(file)
        };
        let mut removing = locked();
        let held = hold_after(&path, || {
            fs::remove_file(&path).unwrap();
            removing = None;
            true
        });
        assert!(held.is_none(), "it is gone");
        // Its process ends before it has removed it.
        pack(folder, 'a', 100, 1);
        removing = locked();
        let held = hold_after(&path, || {
            removing = None;
            true
        });
        assert!(held.is_some());
        assert_eq!(make_room(folder, 100, 100), Err(100), "it is held");
        drop(held);
        // Its process stands still.
        let _removing = locked();
        assert!(hold_after(&path, || false).is_some());
    }

    #[test]
    fn a_pack_that_was_used_is_the_last_to_go() {
        let cache = tempfile::tempdir().unwrap();
        let [a, b] = [('a', 1), ('b', 2)].map(|(digit, used)| pack(cache.path(), digit, 100, used));
        drop(hold(&a).unwrap());
        assert_eq!(make_room(cache.path(), 100, 200), Ok(()));
        assert!(a.exists() && !b.exists());
        assert!(hold(&b).is_none());
    }
}
