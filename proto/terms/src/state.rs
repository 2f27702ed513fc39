//! The states of sweeps, jobs and attempts, their names, and which of them are final.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// A sweep's state.
///
/// ```text
///            extend, retry
///     ┌─────────────────────────────┐
///     ▼                             │
///  Running ◄──► Paused ──────► Finished
///     │            │
///     └─────┬──────┘          retry of all jobs goes back
///           ▼                 to Running from here
///        Stopping ─────────────► Stopped
///           │
///           ▼ (also from Running and Paused)
///       Cancelled
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum SweepState {
    /// Jobs run or wait.
    Running,
    /// No more jobs start until it is resumed; running ones continue.
    Paused,
    /// No more jobs start; running ones finish.
    Stopping,
    /// Final: every job has ended.
    Finished,
    /// Final: ended by `stop`.
    Stopped,
    /// Final: ended by `cancel`.
    Cancelled,
}

/// A job's state.
///
/// ```text
///            grant                      ┌──► Done
///  Pending ─────────► Running ──────────┼──► Diverged
///   ▲  │ ▲             │   │            ├──► Stopped
///   │  │ └─────────────┘   │            ├──► Failed ────┐
///   │  │   tried again     │            └──► Cancelled ─┤
///   │  └───────────────────┼─────────────────►▲         │ retry
///   │                      ▼                  │         │
///   ├───────────────── Paused ──► Stopped ────┘         │
///   │      promoted                 (or Cancelled)      │
///   └───────────────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum JobState {
    /// Waits for a free slot, for the first time or again.
    Pending,
    /// An attempt holds its lease.
    Running,
    /// Has trained as far as it was granted, and keeps a checkpoint: no attempt, no slot. It waits again once the rule of
    /// early stopping promotes it.
    Paused,
    /// Final: all epochs were trained.
    Done,
    /// Final: the loss is no longer a number. This is a result.
    Diverged,
    /// Final: the rule of early stopping ended it before its last epoch. This is a result, of the epochs that it has.
    Stopped,
    /// Final: no attempts are left.
    Failed,
    /// Final: ended by `stop` or `cancel`.
    Cancelled,
}

/// An attempt's state: running, or how it ended.
///
/// ```text
///  (granted) ──► Running ──► Done, Paused, Diverged, Failed, HandedBack, Revoked, Rejected, Unavailable, Lost
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AttemptState {
    /// Holds its lease.
    Running,
    /// All epochs were trained.
    Done,
    /// It was trained as far as it was granted, and kept a checkpoint.
    Paused,
    /// The loss is no longer a number.
    Diverged,
    /// The trainer failed.
    Failed,
    /// The worker gave it back.
    HandedBack,
    /// The coordinator took it back.
    Revoked,
    /// The worker cannot run it at all.
    Rejected,
    /// What it needs is not available at the moment.
    Unavailable,
    /// Its worker fell silent or lost it.
    Lost,
}

/// How a worker says that an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// All epochs were trained.
    Done,
    /// It was trained as far as it was granted, and kept a checkpoint for another attempt.
    Paused,
    /// The training loss is no longer a number; a result, never tried again.
    Diverged,
    /// The trainer failed; tried again while attempts are left.
    Failed,
    /// The worker gave the unfinished job back on its own initiative; not charged to the job.
    HandedBack,
    /// Stopped because the coordinator revoked it.
    Revoked,
    /// The worker cannot train the job at all.
    Rejected,
    /// Memory ran out while the job trained in a pack; not charged to the job, which is tried again in a smaller pack.
    OutOfMemory,
    /// The trainer of the job's pack ended or broke its protocol, because of any of its jobs; not charged to the job,
    /// which is tried again in a smaller pack, so that in the end the job that causes it is alone.
    PackLost,
    /// What the job needs is not available at the moment; not charged to the job.
    Unavailable,
}

impl SweepState {
    /// Whether a sweep may change from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use SweepState::{Cancelled, Finished, Paused, Running, Stopped, Stopping};
        match self {
            Running => matches!(next, Paused | Stopping | Finished | Cancelled),
            Paused => matches!(next, Running | Stopping | Finished | Cancelled),
            Stopping => matches!(next, Stopped | Cancelled),
            Finished | Stopped | Cancelled => next == Running,
        }
    }

    /// Whether it can never change again without a user.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Stopped | Self::Cancelled)
    }
}

impl JobState {
    /// Whether a job may change from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use JobState::{Cancelled, Diverged, Done, Failed, Paused, Pending, Running, Stopped};
        match self {
            Pending => matches!(next, Running | Cancelled),
            Running => next != Running,
            Paused => matches!(next, Pending | Stopped | Cancelled),
            Failed | Cancelled => next == Pending,
            Done | Diverged | Stopped => false,
        }
    }

    /// Whether it can never change again without a user.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Paused)
    }
}

impl AttemptState {
    /// Whether an attempt may change from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        self == Self::Running && next != Self::Running
    }
}

/// What all of these enums have: a name in the store, on the wire and in reports.
macro_rules! named {
    ($($state:ident),*) => {$(
        impl $state {
            /// Its name.
            pub fn as_str(self) -> &'static str {
                self.into()
            }

            /// Every one of them.
            pub fn all() -> &'static [Self] {
                Self::VARIANTS
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                name.parse().ok()
            }
        }
    )*};
}

named!(SweepState, JobState, AttemptState, Outcome);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_is_left_by_a_retry_or_an_extension_alone() {
        for state in JobState::VARIANTS.iter().filter(|state| state.is_final()) {
            for next in JobState::VARIANTS.iter().filter(|next| state.may_become(**next)) {
                assert_eq!(*next, JobState::Pending, "{state:?}");
            }
        }
        for state in SweepState::VARIANTS.iter().filter(|state| state.is_final()) {
            for next in SweepState::VARIANTS.iter().filter(|next| state.may_become(**next)) {
                assert_eq!(*next, SweepState::Running, "{state:?}");
            }
        }
        for state in AttemptState::VARIANTS {
            assert!(!state.may_become(AttemptState::Running));
        }
    }

    #[test]
    fn names_lead_back_to_their_states() {
        for state in JobState::VARIANTS {
            assert_eq!(JobState::from_name(state.as_str()), Some(*state));
        }
        for state in SweepState::VARIANTS {
            assert_eq!(SweepState::from_name(state.as_str()), Some(*state));
        }
        assert_eq!(AttemptState::HandedBack.as_str(), "handed_back");
        assert_eq!(JobState::from_name("finished"), None);
    }
}
