//! What the log says of a full disk: that it is full, once, and that there is room again, once that is certain.

use store::StoreError;

use crate::logged::Logged;

/// What was logged since the last commit that found room.
#[derive(Debug, Default)]
pub(super) struct DiskLog {
    logged: Logged,
    /// Commits found no room though there seemed to be some: then only a commit shows that there is.
    seemed_roomy: bool,
}

impl DiskLog {
    /// A commit has ended.
    pub(super) fn commit_ended(&mut self, kept: &Result<(), StoreError>) {
        match kept {
            Ok(()) => {
                if std::mem::take(&mut self.seemed_roomy) {
                    tracing::info!("the disk of the store has room again");
                }
                self.logged.clear();
            }
            Err(error @ StoreError::Full(_)) => {
                self.seemed_roomy |= !self.logged.is_empty();
                if self.logged.is_new(&error.to_string()) {
                    tracing::error!("{error}; submissions and events are refused until there is room");
                }
            }
            Err(_) => {}
        }
    }

    /// There seems to be room again.
    pub(super) fn room_found(&self) {
        if !self.seemed_roomy {
            tracing::info!("the disk of the store has room again");
        }
    }
}
