//! The trainer process of a slot: none, one that waits, or one that was given jobs.

use super::TrainerProcess;

/// A slot's trainer process, of which there is at most one.
pub(super) enum SlotProcess {
    /// None: the next job starts one.
    None,
    /// Ready, and waits for the first job.
    Spare(TrainerProcess),
    /// It was given jobs.
    InUse(TrainerProcess),
}

impl SlotProcess {
    pub(super) fn in_use(&mut self) -> Option<&mut TrainerProcess> {
        match self {
            Self::InUse(process) => Some(process),
            Self::None | Self::Spare(_) => None,
        }
    }

    /// Takes out the one that was given jobs.
    pub(super) fn take_in_use(&mut self) -> Option<TrainerProcess> {
        match std::mem::replace(self, Self::None) {
            Self::InUse(process) => Some(process),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes out the one that waits.
    pub(super) fn take_spare(&mut self) -> Option<TrainerProcess> {
        match std::mem::replace(self, Self::None) {
            Self::Spare(process) => Some(process),
            other => {
                *self = other;
                None
            }
        }
    }
}
