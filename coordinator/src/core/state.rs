//! The states of sweeps, jobs and attempts, their names, and which of them are final.

use proto::v1;

/// A sweep's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepState {
    /// Jobs run or wait.
    Running,
    /// No more jobs start until it is resumed; running ones go on.
    Paused,
    /// No more jobs start; running ones end.
    Stopping,
    /// Final: every job has its end.
    Finished,
    /// Final: ended by `stop`.
    Stopped,
    /// Final: ended by `cancel`.
    Cancelled,
}

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Waits for a free slot, for the first time or again.
    Pending,
    /// An attempt holds its lease.
    Running,
    /// Final: all epochs were trained.
    Done,
    /// Final: the loss is not a number any more; a result.
    Diverged,
    /// Final: no attempts are left.
    Failed,
    /// Final: ended by `stop` or `cancel`.
    Cancelled,
}

/// An attempt's state: running, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    /// Holds its lease.
    Running,
    /// All epochs were trained.
    Done,
    /// The loss is not a number any more.
    Diverged,
    /// The trainer failed.
    Failed,
    /// The worker gave it back.
    HandedBack,
    /// The coordinator took it back.
    Revoked,
    /// The worker cannot run it at all.
    Rejected,
    /// What it needs is not there at the moment.
    Unavailable,
    /// Its worker fell silent or lost it.
    Lost,
}

impl SweepState {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Running, "running"),
        (Self::Paused, "paused"),
        (Self::Stopping, "stopping"),
        (Self::Finished, "finished"),
        (Self::Stopped, "stopped"),
        (Self::Cancelled, "cancelled"),
    ];

    /// Whether nothing can change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Stopped | Self::Cancelled)
    }

    /// The name in the store.
    pub fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }

    /// The state with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        state_of(&Self::NAMES, name)
    }
}

impl JobState {
    /// Every state with its name.
    pub const NAMES: [(Self, &'static str); 6] = [
        (Self::Pending, "pending"),
        (Self::Running, "running"),
        (Self::Done, "done"),
        (Self::Diverged, "diverged"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
    ];

    /// Whether nothing can change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The name in the store and in reports.
    pub fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }

    /// The state with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        state_of(&Self::NAMES, name)
    }
}

impl AttemptState {
    const NAMES: [(Self, &'static str); 9] = [
        (Self::Running, "running"),
        (Self::Done, "done"),
        (Self::Diverged, "diverged"),
        (Self::Failed, "failed"),
        (Self::HandedBack, "handed_back"),
        (Self::Revoked, "revoked"),
        (Self::Rejected, "rejected"),
        (Self::Unavailable, "unavailable"),
        (Self::Lost, "lost"),
    ];

    /// The name in the store and on the wire.
    pub fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

fn name_of<S: Copy + PartialEq>(names: &[(S, &'static str)], state: S) -> &'static str {
    names.iter().find(|(known, _)| *known == state).map_or("", |(_, name)| name)
}

fn state_of<S: Copy>(names: &[(S, &'static str)], name: &str) -> Option<S> {
    names.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
}

impl From<SweepState> for v1::SweepState {
    fn from(state: SweepState) -> Self {
        match state {
            SweepState::Running => Self::Running,
            SweepState::Paused => Self::Paused,
            SweepState::Stopping => Self::Stopping,
            SweepState::Finished => Self::Finished,
            SweepState::Stopped => Self::Stopped,
            SweepState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Pending => Self::Pending,
            JobState::Running => Self::Running,
            JobState::Done => Self::Done,
            JobState::Diverged => Self::Diverged,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

impl SweepState {
    /// From the wire; none for an unspecified state.
    pub fn from_wire(wire: v1::SweepState) -> Option<Self> {
        match wire {
            v1::SweepState::Unspecified => None,
            v1::SweepState::Running => Some(Self::Running),
            v1::SweepState::Paused => Some(Self::Paused),
            v1::SweepState::Stopping => Some(Self::Stopping),
            v1::SweepState::Finished => Some(Self::Finished),
            v1::SweepState::Stopped => Some(Self::Stopped),
            v1::SweepState::Cancelled => Some(Self::Cancelled),
        }
    }
}

impl JobState {
    /// From the wire; none for an unspecified state.
    pub fn from_wire(wire: v1::JobState) -> Option<Self> {
        match wire {
            v1::JobState::Unspecified => None,
            v1::JobState::Pending => Some(Self::Pending),
            v1::JobState::Running => Some(Self::Running),
            v1::JobState::Done => Some(Self::Done),
            v1::JobState::Diverged => Some(Self::Diverged),
            v1::JobState::Failed => Some(Self::Failed),
            v1::JobState::Cancelled => Some(Self::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_states() {
        for (state, name) in JobState::NAMES {
            assert_eq!((state.as_str(), JobState::from_name(name)), (name, Some(state)));
        }
        for (state, name) in SweepState::NAMES {
            assert_eq!((state.as_str(), SweepState::from_name(name)), (name, Some(state)));
        }
        assert_eq!(JobState::from_name("finished"), None);
    }
}
