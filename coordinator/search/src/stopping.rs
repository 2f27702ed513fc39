//! Early stopping: which job pauses or stops after which epoch, and which paused job goes on. A rule sees values of the
//! objective at epochs and what became of jobs, in the order of their commits; it asks no one and draws no random number. Its
//! state depends only on what was seen, not on the order in which different jobs were: so it can be rebuilt from what a
//! store kept of each job.
//!
//! Two rules make all kinds. [`Halving`] compares jobs at *rungs*, numbers of epochs: of those at a rung, the best share goes
//! on. [`Median`] compares a job with those that are complete. Formulas are Optuna's where it has the rule, and decisions are
//! equal (`golden/pruning.json`); its rules only stop, because it cannot continue a job, while [`Halving`] can pause jobs.

mod brackets;
mod halving;
mod ladder;
mod median;
mod rung;
mod value;

pub use self::{
    brackets::Brackets,
    halving::{Halving, Promotion},
    ladder::{Ladder, RUNGS_MAX},
    median::{COMPARISONS_MAX, Median},
    rung::{Quota, Standing},
};

/// What a job does after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It trains its next epoch.
    Continue,
    /// It has reached a rung, and waits there until it is promoted.
    Pause,
    /// It ends here.
    Stop,
}

#[cfg(test)]
mod tests;
