//! Whether a process that says hello is the one that had its name before, and what it takes over.

use super::WorkerState;

/// The relation of a process that says hello to the one that had its name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// It is that process.
    Same,
    /// It has that process's spool, so that process has ended.
    Successor,
    /// Neither: another worker with the same name, or the same one without its spool.
    Stranger,
    /// Nothing is known about the one before.
    Unknown,
}

impl WorkerState {
    /// This worker with what is known from the stream before. A restarted process starts without suspicion, and one on
    /// another machine is another worker.
    pub(crate) fn after(self, before: Option<Self>, kinship: Kinship) -> Self {
        let Some(before) = before else { return self };
        let Self { unfit, away, standing, drained, .. } = before;
        match kinship {
            Kinship::Same => Self { unfit, away, standing, drained, ..self },
            Kinship::Successor | Kinship::Unknown => Self { unfit, ..self },
            Kinship::Stranger => self,
        }
    }

    /// The relation of a process to this one.
    pub(crate) fn kinship(&self, instance: &str, predecessors: &[String]) -> Kinship {
        if self.instance == instance {
            Kinship::Same
        } else if predecessors.contains(&self.instance) {
            Kinship::Successor
        } else {
            Kinship::Stranger
        }
    }
}
