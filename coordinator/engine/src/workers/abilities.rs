//! What a worker can run: which models and programs, with how many GPUs, and what it has refused.

use terms::{SweepId, manifest::Described};

use super::WorkerState;
use crate::sweep_run::SweepRun;

impl WorkerState {
    /// Whether it can run the sweep's jobs: it knows what they are, has the GPUs that one of them takes, and can pause them
    /// where they pause.
    pub(crate) fn can_run(&self, run: &SweepRun) -> bool {
        self.knows(run) && self.gpus_of_a_job() >= run.gpus() && self.can_pause(run)
    }

    /// How much memory its trainers may have together, in bytes; 0 where that is not known.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Whether it finds the checkpoints that another worker has kept.
    pub(crate) fn shares_checkpoints_with(&self, other: &Self) -> bool {
        !self.checkpoints.is_empty() && self.checkpoints == other.checkpoints
    }

    /// Whether it can pause the sweep's jobs, as far as they pause: older workers train every job to its end.
    pub(crate) fn can_pause(&self, run: &SweepRun) -> bool {
        self.pauses || !run.pauses()
    }

    /// Whether it can run what the sweep is about: programs only where its user allows them, models only where its trainer
    /// trains them.
    pub(crate) fn knows(&self, run: &SweepRun) -> bool {
        match run.model() {
            None => self.runs_programs,
            Some(model) => self.models.iter().any(|own| own.trains(model)),
        }
    }

    /// How many GPUs it has.
    pub(crate) fn gpus(&self) -> u32 {
        self.gpus
    }

    /// How many of them one job may have: older workers run each job in one slot.
    pub(crate) fn gpus_of_a_job(&self) -> u32 {
        if self.spans_slots { self.gpus } else { self.gpus.min(1) }
    }

    /// What its trainer trains.
    pub(crate) fn models(&self) -> &[Described] {
        &self.models
    }

    /// It has reported that it cannot run a sweep.
    pub(crate) fn refuse_sweep(&mut self, sweep: SweepId) {
        self.unfit.insert(sweep);
    }

    /// It may try a sweep again that it could not run.
    pub(crate) fn try_sweep_again(&mut self, sweep: SweepId) {
        self.unfit.remove(&sweep);
    }

    pub(crate) fn has_refused_sweep(&self, sweep: SweepId) -> bool {
        self.unfit.contains(&sweep)
    }

    pub(crate) fn refused_sweeps(&self) -> impl Iterator<Item = SweepId> + '_ {
        self.unfit.iter().copied()
    }
}
