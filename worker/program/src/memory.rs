//! The memory that a process may have, and whether the kernel has ended processes because it ran out: what the process's control group
//! and those around it say, version 2 or 1. Nothing is written here; `agent::cgroups` makes groups for trainers.
//!
//! The variable `SWEEP_CGROUP` names another folder to read instead, for tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Names another folder to read.
pub const VARIABLE: &str = "SWEEP_CGROUP";

/// Groups around a process that are looked at: deeper ones are made by no one.
const DEPTH_MAX: usize = 32;

/// The control groups for memory of a process: its own, and those around it that can be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryGroups {
    /// The innermost first.
    folders: Vec<PathBuf>,
}

/// How many processes the kernel has ended in each group, because its memory ran out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OomKills(Vec<(PathBuf, u64)>);

impl MemoryGroups {
    /// Those of this process.
    pub fn own() -> Self {
        if let Some(folder) = env::var_os(VARIABLE) {
            return Self::at(folder.into());
        }
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(&text, Path::new(MOUNT))
    }

    /// The one in this folder alone.
    pub fn at(folder: PathBuf) -> Self {
        Self { folders: vec![folder] }
    }

    /// By the text of `/proc/…/cgroup`, whose lines are `number:controllers:path`.
    fn of(text: &str, mount: &Path) -> Self {
        let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let of_first = lines().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
        let found = match of_first {
            Some((_, path)) => Some((mount.join("memory"), path)),
            None => lines()
                .find(|(controllers, _)| controllers.is_empty())
                .map(|(_, path)| (mount.to_owned(), path)),
        };
        let Some((root, path)) = found else { return Self::default() };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|folder| folder.starts_with(&root)).take(DEPTH_MAX);
        Self { folders: around.map(Path::to_owned).collect() }
    }

    /// The innermost group.
    pub fn innermost(&self) -> Option<&Path> {
        self.folders.first().map(PathBuf::as_path)
    }

    /// Most bytes that processes of the innermost group may have, by it or by one around it; none where that is not limited.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.folders.iter().filter_map(|folder| limit(folder)).min()
    }

    /// Bytes that the group which is limited the most has now, and its limit.
    pub fn usage_bytes(&self) -> Option<(u64, u64)> {
        let limited = self.folders.iter().filter_map(|folder| Some((limit(folder)?, folder)));
        let (limit, folder) = limited.min_by_key(|(limit, _)| *limit)?;
        let used =
            number(&folder.join("memory.current")).or_else(|| number(&folder.join("memory.usage_in_bytes")));
        Some((used?, limit))
    }

    /// How many processes the kernel has ended so far.
    pub fn oom_kills(&self) -> OomKills {
        OomKills(
            self.folders.iter().filter_map(|folder| Some((folder.clone(), oom_kills(folder)?))).collect(),
        )
    }
}

impl OomKills {
    /// Whether there are more than there were before, in a group that was there before.
    pub fn are_more_than(&self, before: &Self) -> bool {
        let was =
            |folder: &PathBuf| before.0.iter().find(|(other, _)| other == folder).map(|(_, count)| *count);
        self.0.iter().any(|(folder, count)| was(folder).is_some_and(|before| *count > before))
    }

    /// The counts, by folder.
    pub fn counts(&self) -> &[(PathBuf, u64)] {
        &self.0
    }

    /// Those that were noted before.
    pub fn noted(counts: Vec<(PathBuf, u64)>) -> Self {
        Self(counts)
    }
}

/// All memory of this machine, in bytes.
pub fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Above any memory, a group of version 1 has no limit.
const UNLIMITED: u64 = 1 << 60;

fn limit(folder: &Path) -> Option<u64> {
    let limit =
        number(&folder.join("memory.max")).or_else(|| number(&folder.join("memory.limit_in_bytes")))?;
    (limit < UNLIMITED).then_some(limit)
}

/// A file with one number; none where it holds `max`, or is not there.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn oom_kills(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("memory.events"))
        .or_else(|_| fs::read_to_string(folder.join("memory.oom_control")))
        .ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    }

    #[test]
    fn the_smallest_limit_of_the_groups_around_a_process_counts() {
        let mount = tempfile::tempdir().unwrap();
        let pod = mount.path().join("kubepods/pod1");
        write(
            &pod,
            &[
                ("memory.max", "4096\n"),
                ("memory.current", "1000\n"),
                ("memory.events", "oom 1\noom_kill 2\n"),
            ],
        );
        write(
            &pod.join("c"),
            &[("memory.max", "max\n"), ("memory.current", "9\n"), ("memory.events", "oom_kill 0\n")],
        );
        let groups = MemoryGroups::of("0::/kubepods/pod1/c\n", mount.path());
        assert_eq!(groups.innermost(), Some(pod.join("c").as_path()));
        assert_eq!((groups.limit_bytes(), groups.usage_bytes()), (Some(4096), Some((1000, 4096))));
        let before = groups.oom_kills();
        assert!(!groups.oom_kills().are_more_than(&before));
        write(&pod, &[("memory.events", "oom_kill 3\n")]);
        assert!(groups.oom_kills().are_more_than(&before));
        // A group that is new says nothing of before.
        assert!(!groups.oom_kills().are_more_than(&OomKills::default()));
    }

    #[test]
    fn groups_of_version_1_are_understood_and_none_at_all_too() {
        let mount = tempfile::tempdir().unwrap();
        let folder = mount.path().join("memory/job");
        let files = [
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("memory.oom_control", "under_oom 0\noom_kill 4\n"),
        ];
        write(&folder, &files);
        let groups = MemoryGroups::of("4:memory:/job\n1:cpu:/\n0::/\n", mount.path());
        assert_eq!(groups.limit_bytes(), None);
        assert_eq!(groups.oom_kills().counts(), [(folder.clone(), 4)]);
        write(&folder, &[("memory.limit_in_bytes", "1000"), ("memory.usage_in_bytes", "10")]);
        assert_eq!(groups.usage_bytes(), Some((10, 1000)));
        let none = MemoryGroups::of("", mount.path());
        assert_eq!((none.limit_bytes(), none.oom_kills()), (None, OomKills::default()));
        assert!(machine_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
