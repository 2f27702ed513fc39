//! Whose results a folder holds: those of another sweep are never overwritten.

use std::path::Path;

use proto::v1;
use report::view;

use super::failure::Failure;

/// What distinguishes a sweep from all others, including those of other coordinators, and its name. Written into
/// reports and `model.json`.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Identity {
    id: u64,
    name: String,
    /// None if an earlier version wrote it.
    created: Option<String>,
    /// What earlier versions wrote in place of `created`.
    created_unix_ms: Option<u64>,
}

impl Identity {
    /// Refuses `folder`, which holds `what` of this sweep, unless that is `sweep`.
    pub(super) fn refuse_other(&self, sweep: &v1::Sweep, folder: &Path, what: &str) -> Result<(), Failure> {
        let is_same_time = match (self.created_unix_ms, &self.created) {
            (Some(created), _) => created == sweep.created_unix_ms,
            (None, Some(created)) => view::time(sweep.created_unix_ms).as_ref() == Some(created),
            (None, None) => true,
        };
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
