//! Control groups for trainers: where the worker's own group (version 2) is its own to divide, each slot's trainer runs in a group below it,
//! so that a trainer whose memory runs out is ended alone, and the worker stays to say so. Elsewhere trainers run in the worker's group.
//!
//! The kernel wants processes in groups without groups below alone, so the worker moves itself: `…/agent` for itself, `…/trainers/slot-N` for the
//! trainers. The limit of the group around both is less a reserve that of `trainers`, so that it is reached there first.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use program::memory::MemoryGroups;

/// What the worker and its keepers have for themselves of the limit, in bytes.
const RESERVE_BYTES: u64 = 128 << 20;

/// The groups of this process's slots, once they are made.
static DIVIDED: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Makes groups for so many slots, where that is possible; says in the log where it is not.
pub(crate) fn divide(slots: usize) {
    DIVIDED.get_or_init(|| {
        let own = MemoryGroups::own();
        let folder = own.innermost()?;
        match try_to_divide(folder, slots, own.limit_bytes()) {
            Ok(trainers) => {
                tracing::info!(group = %trainers.display(), "each slot has a control group of its own");
                Some(trainers)
            }
            Err(reason) => {
                tracing::debug!("trainers share the worker's control group: {reason}");
                None
            }
        }
    });
}

/// What says of a slot's trainer whether its memory ran out.
pub(super) fn of_slot(slot: usize) -> MemoryGroups {
    match DIVIDED.get() {
        Some(Some(trainers)) => MemoryGroups::at(of(trainers, slot)),
        _ => MemoryGroups::own(),
    }
}

/// Puts a trainer that has just been started into the group of its slot.
pub(super) fn put(slot: usize, pid: u32) {
    let Some(Some(trainers)) = DIVIDED.get() else { return };
    if let Err(error) = fs::write(of(trainers, slot).join("cgroup.procs"), pid.to_string()) {
        tracing::warn!(slot, %error, "the trainer stays in the worker's control group");
    }
}

fn of(trainers: &Path, slot: usize) -> PathBuf {
    trainers.join(format!("slot-{slot}"))
}

/// Divides the group; the folder of the trainers' groups.
fn try_to_divide(own: &Path, slots: usize, limit_bytes: Option<u64>) -> Result<PathBuf, String> {
    let read = |name: &str| fs::read_to_string(own.join(name)).map_err(|error| format!("{name}: {error}"));
    if !read("cgroup.controllers")?.split_whitespace().any(|controller| controller == "memory") {
        return Err("it has no controller for memory".to_owned());
    }
    let pid = std::process::id().to_string();
    let others: Vec<String> =
        read("cgroup.procs")?.lines().map(str::to_owned).filter(|other| *other != pid).collect();
    if !others.is_empty() {
        return Err(format!("other processes are in it: {}", others.join(", ")));
    }
    let (agent, trainers) = (own.join("agent"), own.join("trainers"));
    let made = make(own, &agent, &trainers, slots, limit_bytes);
    made.map_err(|error| {
        // Back to where it was; what was made is empty.
        let _ = fs::write(own.join("cgroup.procs"), &pid);
        (0..slots).map(|slot| of(&trainers, slot)).chain([trainers.clone(), agent]).for_each(|folder| {
            let _ = fs::remove_dir(folder);
        });
        error.to_string()
    })?;
    Ok(trainers)
}

fn make(own: &Path, agent: &Path, trainers: &Path, slots: usize, limit_bytes: Option<u64>) -> io::Result<()> {
    for folder in [agent, trainers] {
        make_folder(folder)?;
    }
    fs::write(agent.join("cgroup.procs"), std::process::id().to_string())?;
    fs::write(own.join("cgroup.subtree_control"), "+memory")?;
    if let Some(limit) = limit_bytes {
        fs::write(
            trainers.join("memory.max"),
            limit.saturating_sub(RESERVE_BYTES).max(limit / 2).to_string(),
        )?;
    }
    fs::write(trainers.join("cgroup.subtree_control"), "+memory")?;
    (0..slots).try_for_each(|slot| make_folder(&of(trainers, slot)))
}

/// One of an earlier process may be there.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(procs: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(folder.path().join("cgroup.procs"), procs).unwrap();
        folder
    }

    #[test]
    fn a_group_of_its_own_is_divided_and_its_limit_is_reached_by_the_trainers_first() {
        let own = group(&format!("{}\n", std::process::id()));
        let trainers = try_to_divide(own.path(), 2, Some(1 << 30)).unwrap();
        let read = |path: &str| fs::read_to_string(own.path().join(path)).unwrap();
        assert_eq!(read("agent/cgroup.procs"), std::process::id().to_string());
        assert_eq!(
            (read("cgroup.subtree_control"), read("trainers/cgroup.subtree_control")),
            ("+memory".into(), "+memory".into())
        );
        assert_eq!(read("trainers/memory.max"), ((1_u64 << 30) - RESERVE_BYTES).to_string());
        assert!(of(&trainers, 0).is_dir() && of(&trainers, 1).is_dir());
    }

    #[test]
    fn a_group_of_others_stays_as_it_is() {
        let own = group(&format!("1\n{}\n", std::process::id()));
        assert!(try_to_divide(own.path(), 1, None).unwrap_err().contains("other processes are in it: 1"));
        assert!(!own.path().join("agent").exists());
        fs::write(own.path().join("cgroup.controllers"), "cpu\n").unwrap();
        assert!(try_to_divide(own.path(), 1, None).unwrap_err().contains("no controller for memory"));
        assert!(try_to_divide(Path::new("/nowhere"), 1, None).is_err());
    }
}
