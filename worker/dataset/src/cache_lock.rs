//! A lock in the cache folder for each data set: one process prepares it at a time, and writes its progress into the
//! lock file, so that waiting processes can tell work from a standstill.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::progress::{Listener, Progress, Step};

/// How often the lock is tried and the progress is read.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Resolution of the share in which the progress is written.
const STEPS: f64 = 10_000.0;

/// The progress is written at least after this many files or pictures, however small a share they are.
const SIGN_INTERVAL: u64 = 64;

/// A lock that is held. The system releases it when the process ends, in any way.
pub(super) struct CacheLock {
    file: File,
    /// What was written last: the share in steps, and the count in intervals.
    written: Mutex<Option<(u64, u64)>>,
}

impl CacheLock {
    /// Waits for the lock file; the progress of the process that holds it goes to `listener`.
    ///
    /// # Errors
    /// The file cannot be created or locked.
    pub(super) fn wait(path: &Path, listener: Listener<'_>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { file, written: Mutex::new(None) };
                    lock.tell(Progress { step: Step::Waiting, share: 0.0, done: 0 });
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let (mut share, mut done) = ([0; size_of::<f64>()], [0; size_of::<u64>()]);
            // A file that was locked just now is empty.
            if file.read_exact_at(&mut share, 0).is_ok()
                && file.read_exact_at(&mut done, share.len() as u64).is_ok()
            {
                let share = f64::from_le_bytes(share).clamp(0.0, 1.0);
                listener(Progress { step: Step::Waiting, share, done: u64::from_le_bytes(done) });
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Writes the progress of the work.
    pub(super) fn tell(&self, progress: Progress) {
        let Progress { share, done, .. } = progress;
        let reached = Some(((share * STEPS) as u64, done / SIGN_INTERVAL));
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *written, reached) != reached {
            let bytes = [share.to_le_bytes(), done.to_le_bytes()].concat();
            // Only a hint: if it cannot be written, packing fails as well and is reported.
            let _ = self.file.write_all_at(&bytes, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_waits_for_the_lock_hears_how_far_its_holder_is_and_that_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = CacheLock::wait(&path, &|_| panic!("no one holds it")).unwrap();
        let (sender, heard) = channel();
        let waiting =
            thread::spawn(move || CacheLock::wait(&path, &|told| sender.send(told).unwrap()).is_ok());
        // The last one has the same share, but is a sign of life.
        for (share, done) in [(0.25, 1), (0.5, 2), (0.5, SIGN_INTERVAL)] {
            held.tell(Progress { step: Step::Looking, share, done });
            let expected = Progress { step: Step::Waiting, share, done };
            assert!(heard.iter().any(|told| told == expected));
        }
        drop(held);
        assert!(waiting.join().unwrap());
    }
}
