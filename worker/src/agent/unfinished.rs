//! What trainers train now, as a file next to the spool: a worker that ends without a word, with everything in its control group, knows after
//! its next start what it was doing, and tells what became of it. Written without being synced: it has to outlive the process, not the machine.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use program::memory::{MemoryGroups, OomKills};
use serde::{Deserialize, Serialize};
use terms::{Again, AttemptKey, EndDetails, JobKey, Outcome};
use tokio::time::Instant;

use super::session::types::End;

/// The file, within the folder of the spool.
const FILE: &str = "unfinished.json";

/// How often to note how much memory is used, while something is trained.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Share of its limit from which memory counts as having run out, of a worker that ended without a word and whose control group is gone:
/// trainers grow by less than the rest within [`LOOK_INTERVAL`] rarely, so that below it the cause is another one.
const FULL: f64 = 0.9;

/// How often a job's attempt is handed back because its worker ended under it and came back. Later ones have failed: the job may be
/// what ends the worker.
const HANDED_BACK_MAX: u32 = 2;

/// Jobs of which it is remembered how often the worker ended under them; the largest numbers.
const JOBS_MAX: usize = 1_000;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Noted {
    /// Sweep, job and attempt of each.
    running: Vec<(u64, u64, u32)>,
    /// The machine's start.
    boot: String,
    /// What the kernel had ended in each control group.
    kills: Vec<(PathBuf, u64)>,
    /// Bytes that were used, and the limit.
    memory: Option<(u64, u64)>,
    /// How often the worker ended under a job.
    ends: Vec<((u64, u64), u32)>,
}

/// Keeps the file.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
    groups: MemoryGroups,
    boot: String,
    noted: Noted,
    looked_at: Option<Instant>,
}

impl Unfinished {
    /// In the folder of the spool, whose lock the caller holds; and the ends of attempts that an earlier process left running.
    pub(crate) fn open(spool: &Path) -> (Self, Vec<(AttemptKey, End)>) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::open_with(spool, MemoryGroups::own(), boot.trim().to_owned())
    }

    fn open_with(spool: &Path, groups: MemoryGroups, boot: String) -> (Self, Vec<(AttemptKey, End)>) {
        let path = spool.join(FILE);
        // A file that cannot be read, or is torn, says nothing: what ran is lost then.
        let before: Noted =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let mut ends: BTreeMap<(u64, u64), u32> = before.ends.iter().copied().collect();
        let ran_out = ran_out_of_memory(&before, &groups, &boot);
        let left = before.running.iter().map(|&(sweep, job, attempt)| {
            let count = ends.entry((sweep, job)).or_default();
            *count += 1;
            (AttemptKey::new(sweep, job, attempt), what_became(ran_out, *count))
        });
        let left = left.collect();
        while ends.len() > JOBS_MAX {
            ends.pop_first();
        }
        let noted = Noted { boot: boot.clone(), ends: ends.into_iter().collect(), ..Noted::default() };
        let mut opened = Self { path, groups, boot, noted, looked_at: None };
        opened.write();
        (opened, left)
    }

    /// Notes what is trained now, and now and then how much memory that takes.
    pub(crate) fn note(&mut self, running: impl Iterator<Item = AttemptKey>) {
        let of = |AttemptKey { job: JobKey { sweep, job }, attempt }: AttemptKey| (sweep.0, job, attempt);
        let running: Vec<_> = running.map(of).collect();
        let is_due = !running.is_empty() && self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL);
        if running == self.noted.running && !is_due {
            return;
        }
        self.looked_at = Some(Instant::now());
        self.noted = Noted {
            running,
            boot: self.boot.clone(),
            kills: self.groups.oom_kills().counts().to_vec(),
            memory: self.groups.usage_bytes(),
            ends: std::mem::take(&mut self.noted.ends),
        };
        self.write();
    }

    fn write(&mut self) {
        let text = serde_json::to_vec(&self.noted).map_err(io::Error::other);
        let new = self.path.with_extension("new");
        let written = text.and_then(|text| fs::write(&new, text)).and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            // Without it, what runs is lost if the worker ends without a word, as on a machine that is gone.
            tracing::debug!(%error, "what is trained cannot be noted");
        }
    }
}

/// The end of an attempt under whose job the worker ended for the n-th time.
fn what_became(ran_out_of_memory: bool, count: u32) -> End {
    if ran_out_of_memory {
        let reason = "out of memory: the kernel has ended the worker, with all that it had started, while it trained this job";
        return End::new(Outcome::OutOfMemory, reason);
    }
    let how = "the worker ended without a word while it trained this job, and has come back";
    if count <= HANDED_BACK_MAX {
        return End::new(Outcome::HandedBack, how);
    }
    // Elsewhere it may end another worker: not more than once for the same reason.
    let details = EndDetails { again: Again::UnlessRepeated, ..EndDetails::default() };
    let reason = format!("{how}, more than {HANDED_BACK_MAX} times: the job may be what ends it");
    End { details, ..End::new(Outcome::Failed, reason) }
}

/// Whether memory has run out since: by the kernel's own count, where the control group is still there; else by how much was used last.
fn ran_out_of_memory(before: &Noted, groups: &MemoryGroups, boot: &str) -> bool {
    if before.boot != boot || before.running.is_empty() {
        return false;
    }
    let kills = OomKills::noted(before.kills.clone());
    let was_full = before.memory.is_some_and(|(used, limit)| used as f64 >= limit as f64 * FULL);
    groups.oom_kills().are_more_than(&kills) || was_full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(kills: u64, used: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        set(&folder, kills, used);
        folder
    }

    fn set(folder: &tempfile::TempDir, kills: u64, used: u64) {
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("memory.events", format!("oom {kills}\noom_kill {kills}\n"));
        write("memory.current", used.to_string());
        write("memory.max", "1000".to_owned());
    }

    /// A worker on this spool; what it finds.
    fn start(spool: &Path, group: &tempfile::TempDir, boot: &str) -> (Unfinished, Vec<(u32, Outcome)>) {
        let groups = MemoryGroups::at(group.path().to_owned());
        let (opened, left) = Unfinished::open_with(spool, groups, boot.to_owned());
        (opened, left.into_iter().map(|(attempt, end)| (attempt.attempt, end.outcome)).collect())
    }

    fn attempt(number: u32) -> AttemptKey {
        AttemptKey::new(1, 2, number)
    }

    #[test]
    fn a_worker_that_the_kernel_ended_says_so_by_the_kernels_count_or_by_how_full_memory_was() {
        let (spool, own) = (tempfile::tempdir().unwrap(), group(3, 100));
        let (mut worker, left) = start(spool.path(), &own, "b");
        assert_eq!(left, []);
        worker.note([attempt(1)].into_iter());
        set(&own, 4, 100);
        let (mut worker, left) = start(spool.path(), &own, "b");
        assert_eq!(left, [(1, Outcome::OutOfMemory)]);
        // In the container that comes next, the counts begin again.
        set(&own, 4, 950);
        worker.note([attempt(2)].into_iter());
        let (mut worker, left) = start(spool.path(), &group(0, 10), "b");
        assert_eq!(left, [(2, Outcome::OutOfMemory)]);
        // The machine itself was started again.
        worker.note([attempt(3)].into_iter());
        let (_, left) = start(spool.path(), &group(9, 10), "c");
        assert_eq!(left, [(3, Outcome::Failed)], "for the third time under this job");
    }

    #[test]
    fn a_worker_that_comes_back_hands_back_what_it_had_and_the_third_time_the_job_has_failed() {
        let (spool, own) = (tempfile::tempdir().unwrap(), group(0, 10));
        let (mut worker, _) = start(spool.path(), &own, "b");
        let mut found = Vec::new();
        for number in 1..=3 {
            worker.note([attempt(number)].into_iter());
            let left;
            (worker, left) = start(spool.path(), &own, "b");
            found.extend(left);
        }
        assert_eq!(found, [(1, Outcome::HandedBack), (2, Outcome::HandedBack), (3, Outcome::Failed)]);
        // Nothing runs any more.
        worker.note([attempt(4)].into_iter());
        worker.note(std::iter::empty());
        assert_eq!(start(spool.path(), &own, "b").1, []);
        fs::write(spool.path().join(FILE), "{").unwrap();
        assert_eq!(start(spool.path(), &own, "b").1, []);
    }
}
