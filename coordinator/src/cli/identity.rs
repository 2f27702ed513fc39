//! Whose results a folder holds: those of another sweep are never overwritten.

use std::path::Path;

use proto::v1;

use super::failure::Failure;

/// What distinguishes a sweep from all others, including those of other coordinators, and its name. Written into
/// reports and `model.json`.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Identity {
    id: u64,
    name: String,
    /// None if an earlier version wrote it.
    created_unix_ms: Option<u64>,
}

impl Identity {
    /// Refuses `folder`, which holds `what` of this sweep, unless that is `sweep`.
    pub(super) fn refuse_other(&self, sweep: &v1::Sweep, folder: &Path, what: &str) -> Result<(), Failure> {
        let is_same_time = self.created_unix_ms.is_none_or(|created| created == sweep.created_unix_ms);
        if self.id == sweep.sweep_id && is_same_time {
            return Ok(());
        }
        Err(Failure::operation(format!(
            "{} holds {what} of another sweep ({}, sweep {}); choose another folder with --output",
            folder.display(),
            self.name,
            self.id
        )))
    }
}
