//! How many files and connections a worker may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The connection, the spool, the log, the runtime, and the search for GPUs.
const RESERVED: u64 = 64;
/// A slot's streams to and from its trainer, and those of the next trainer, which starts before the last is gone.
const A_SLOT: u64 = 8;
/// The limit to suggest: the usual one.
const SUGGESTED: u64 = 1_024;

/// Makes sure that a worker with this many slots may open the files that it needs.
///
/// # Errors
/// The system does not allow it.
pub(super) fn claim(slots: usize) -> anyhow::Result<()> {
    let needed = RESERVED + A_SLOT * slots as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = current.unwrap_or(u64::MAX);
    let raised = Rlimit { current: Some(needed), maximum };
    if allowed >= needed || setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    anyhow::bail!(
        "a worker with {} needs {needed} open files and connections, but the system allows the process \
         {allowed}; raise the limit with `ulimit -n {}`, LimitNOFILE= of systemd or --ulimit nofile= of Docker",
        terms::count(slots as u64, "slot"),
        SUGGESTED.max(needed)
    )
}
