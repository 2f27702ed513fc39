//! Where this worker keeps the checkpoints of all jobs if it was given no place for checkpoints: next to its spool, so that a job that
//! pauses, fails or is killed continues on this machine, and so that a worker that leaves has something to hand over. A job removes its own
//! when it is done here. What jobs leave that were done elsewhere is removed when the worker starts, by age and, beyond a size, the oldest
//! first, and what a crash kept from being brought.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::handovers::brought::SCRATCH;

/// The folder's name, within that of the spool.
const FOLDER: &str = "checkpoints";

/// How long the checkpoints of a job are kept without a new one: longer than a cluster is down over holidays.
const AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// Most bytes of all jobs together: two archives of the largest size for each of four slots.
const BYTES_MAX: u64 = 64 << 30;

/// The place for the checkpoints of programs, by the spool's folder.
pub(super) fn folder(spool: &Path) -> PathBuf {
    spool.join(FOLDER)
}

/// Removes what is too old or too much. The caller holds the spool's lock.
///
/// # Errors
/// The file system refuses for some jobs; what can be removed of the others is gone.
pub(super) fn tidy(folder: &Path, now: SystemTime) -> io::Result<()> {
    tidy_to(folder, now, BYTES_MAX)
}

/// The checkpoints of one job.
struct Job {
    folder: PathBuf,
    changed: SystemTime,
    bytes: u64,
}

fn tidy_to(folder: &Path, now: SystemTime, bytes_max: u64) -> io::Result<()> {
    tidy_with(folder, now, bytes_max, look)
}

fn tidy_with(
    folder: &Path,
    now: SystemTime,
    bytes_max: u64,
    look: impl Fn(PathBuf) -> io::Result<Job>,
) -> io::Result<()> {
    let (mut jobs, mut refused) = (Vec::new(), Ok(()));
    let mut note = |result: io::Result<()>| {
        if refused.is_ok() {
            refused = result;
        }
    };
    let is_scratch =
        |folder: &PathBuf| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH));
    let (scratch, sweeps): (Vec<_>, Vec<_>) = entries(folder)?.into_iter().partition(is_scratch);
    scratch.into_iter().for_each(|folder| note(fs::remove_dir_all(folder)));
    for sweep in sweeps {
        match entries(&sweep) {
            Ok(found) => found.into_iter().for_each(|job| match look(job) {
                Ok(job) => jobs.push(job),
                Err(error) => note(Err(error)),
            }),
            Err(error) => note(Err(error)),
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.changed));
    let mut bytes = 0_u64;
    for job in jobs {
        bytes = bytes.saturating_add(job.bytes);
        // A time in the future is new.
        let age = now.duration_since(job.changed).unwrap_or_default();
        if age > AGE_MAX || bytes > bytes_max {
            match fs::remove_dir_all(&job.folder) {
                Ok(()) => bytes -= job.bytes,
                Err(error) => note(Err(error)),
            }
        }
    }
    for sweep in entries(folder)? {
        // Fails where it still holds jobs.
        let _ = fs::remove_dir(sweep);
    }
    refused
}

/// The folders in a folder, which may not exist.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut folders = Vec::new();
    for entry in found {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn look(folder: PathBuf) -> io::Result<Job> {
    let mut job = Job { changed: fs::metadata(&folder)?.modified()?, folder, bytes: 0 };
    for entry in fs::read_dir(&job.folder)? {
        let found = entry?.metadata()?;
        job.bytes += found.len();
        job.changed = job.changed.max(found.modified()?);
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(place: &Path) -> Vec<String> {
        let mut left: Vec<_> = entries(place)
            .unwrap()
            .iter()
            .flat_map(|sweep| entries(sweep).unwrap())
            .map(|job| job.strip_prefix(place).unwrap().display().to_string())
            .collect();
        left.sort();
        left
    }

    #[test]
    fn what_is_old_or_too_much_is_removed_the_oldest_first() {
        let place = tempfile::tempdir().unwrap();
        assert!(tidy(&place.path().join("none"), SystemTime::now()).is_ok());
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        for (days, job) in [(0, "1-9/1"), (1, "1-9/2"), (2, "2-9/1")] {
            let folder = place.path().join(job);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a.checkpoint"), [0; 100]).unwrap();
            let changed = start + Duration::from_secs(days * 24 * 3600);
            for path in [folder.join("a.checkpoint"), folder] {
                fs::File::open(path).unwrap().set_modified(changed).unwrap();
            }
        }
        // What a crash kept from being brought.
        fs::create_dir_all(place.path().join(format!("{SCRATCH}a1/new/3"))).unwrap();
        let tidied = |days: u64, bytes_max| {
            tidy_to(place.path(), start + Duration::from_secs(days * 24 * 3600), bytes_max).unwrap();
            left(place.path())
        };
        assert_eq!(tidied(14, 300), ["1-9/1", "1-9/2", "2-9/1"]);
        assert_eq!(tidied(14, 299), ["1-9/2", "2-9/1"]);
        assert_eq!(tidied(16, 299), ["2-9/1"]);
        assert!(!place.path().join("1-9").exists());
    }

    #[test]
    fn a_job_that_cannot_be_looked_at_keeps_no_other_from_being_removed() {
        let place = tempfile::tempdir().unwrap();
        for job in ["1-9/1", "2-9/1"] {
            fs::create_dir_all(place.path().join(job)).unwrap();
        }
        let later = SystemTime::now() + AGE_MAX + Duration::from_secs(60);
        let refused = {
            let closed = place.path().join("1-9/1");
            let look = |folder: PathBuf| match folder == closed {
                true => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
                false => look(folder),
            };
            tidy_with(place.path(), later, 0, look)
        };
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(left(place.path()), ["1-9/1"]);
        assert!(tidy_to(place.path(), later, 0).is_ok() && left(place.path()).is_empty());
    }
}
