//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What to raise the limit to: the usual one.
const SUGGESTED: u64 = 1_024;

/// There may be too few.
#[derive(Debug, thiserror::Error)]
#[error(
    "this needs {needed} open files and connections, but the system allows the process {allowed}; raise the limit with \
     `ulimit -n {}`, LimitNOFILE= of systemd or --ulimit nofile= of Docker",
    SUGGESTED.max(*needed)
)]
pub struct TooFewDescriptors {
    /// How many it needs.
    pub needed: u64,
    /// How many it may have.
    pub allowed: u64,
}

/// Makes the limit as high as `wanted` where the system allows it; how many there may be, at least `needed` and at most
/// `wanted`.
///
/// # Errors
/// The system allows fewer than `needed`.
pub fn claim(needed: u64, wanted: u64) -> Result<u64, TooFewDescriptors> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < wanted {
        let raised = wanted.min(maximum.unwrap_or(u64::MAX));
        // Where the system refuses, it stays as it is.
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
            allowed = raised;
        }
    }
    if allowed < needed { Err(TooFewDescriptors { needed, allowed }) } else { Ok(allowed.min(wanted)) }
}
