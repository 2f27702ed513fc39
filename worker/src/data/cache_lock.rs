//! The lock of a cache folder: one process packs at a time. It holds how far that is, so that those that wait can tell one
//! that works from one that stands still.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// How often the lock is tried and the share that is done is read.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Steps in which the share is written down.
const STEPS: f64 = 10_000.0;

/// A lock that is held. The system lets it go when the process ends, however it ends.
pub(super) struct CacheLock {
    file: File,
    /// The step that was written last.
    step: AtomicU64,
}

impl CacheLock {
    /// Waits for the lock file; `progress` is told how far the process is that holds it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub(super) fn wait(path: &Path, progress: &dyn Fn(f64)) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { file, step: AtomicU64::new(u64::MAX) };
                    lock.tell(0.0);
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let mut share = [0; size_of::<f64>()];
            // A program of an older version writes nothing.
            if file.read_exact_at(&mut share, 0).is_ok() {
                progress(f64::from_le_bytes(share).clamp(0.0, 1.0));
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Writes down the share that is done, in [0, 1].
    pub(super) fn tell(&self, share: f64) {
        let step = (share * STEPS) as u64;
        if self.step.swap(step, Ordering::Relaxed) != step {
            // A hint for others: where it cannot be written, the packing cannot be either, and says so.
            let _ = self.file.write_all_at(&share.to_le_bytes(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_waits_for_the_lock_hears_how_far_its_holder_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = CacheLock::wait(&path, &|_| panic!("nobody holds it")).unwrap();
        let (sender, heard) = channel();
        let waiting =
            thread::spawn(move || CacheLock::wait(&path, &|share| sender.send(share).unwrap()).is_ok());
        for share in [0.25, 0.5] {
            held.tell(share);
            assert!(heard.iter().any(|told| told == share));
        }
        drop(held);
        assert!(waiting.join().unwrap());
    }
}
