//! All sweeps, and which of them are running, so that an event's cost depends on what runs, not on all that was ever
//! submitted.

use std::collections::{BTreeMap, BTreeSet};

use terms::{AttemptKey, SweepId, SweepState, WorkerName};

use super::{
    Output,
    sweep_run::{ActiveAttempt, SweepRun},
};

/// The sweeps by number.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    runs: BTreeMap<SweepId, SweepRun>,
    /// Every sweep that is running or has running jobs, and others that were touched recently.
    touched: BTreeSet<SweepId>,
}

impl Sweeps {
    pub(super) fn get(&self, sweep: SweepId) -> Option<&SweepRun> {
        self.runs.get(&sweep)
    }

    /// The sweep; it may be running afterwards.
    pub(super) fn get_mut(&mut self, sweep: SweepId) -> Option<&mut SweepRun> {
        let run = self.runs.get_mut(&sweep)?;
        self.touched.insert(sweep);
        Some(run)
    }

    pub(super) fn insert(&mut self, run: SweepRun) {
        self.touched.insert(run.id());
        self.runs.insert(run.id(), run);
    }

    /// The number of the next sweep.
    pub(super) fn next_id(&self) -> SweepId {
        SweepId(self.runs.keys().next_back().map_or(1, |last| last.0 + 1))
    }

    /// By number, the oldest first.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &SweepRun> + Clone {
        self.runs.values()
    }

    /// Those that are running, in the order of their submission.
    pub(super) fn running(&self) -> impl Iterator<Item = &SweepRun> {
        let runs = self.touched.iter().filter_map(|id| self.runs.get(id));
        runs.filter(|run| run.state() == SweepState::Running)
    }

    /// Those that are running or have running jobs, in the order of their submission.
    pub(super) fn moving(&self) -> impl Iterator<Item = &SweepRun> {
        self.touched.iter().filter_map(|id| self.runs.get(id))
    }

    /// Whether a sweep is running.
    pub(super) fn is_running(&self, sweep: SweepId) -> bool {
        self.get(sweep).is_some_and(|run| run.state() == SweepState::Running)
    }

    /// Forgets which sweeps were touched and are not running, and have no running jobs.
    pub(super) fn forget_touched(&mut self) {
        let runs = &self.runs;
        let moves = |run: &SweepRun| run.state() == SweepState::Running || run.running_jobs() > 0;
        self.touched.retain(|id| runs.get(id).is_some_and(moves));
    }

    /// Every attempt that holds its lease.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (AttemptKey, &ActiveAttempt)> + Clone {
        self.runs.values().flat_map(SweepRun::attempts)
    }

    /// Whether a worker holds the lease of any attempt.
    pub(super) fn are_held_by(&self, worker: &WorkerName) -> bool {
        self.attempts().any(|(_, active)| active.worker() == worker)
    }

    /// Extends the leases of a worker, except those that it cannot know of yet.
    pub(super) fn extend_leases(&mut self, worker: &WorkerName, deadline_ms: u64) {
        let active = self.runs.values_mut().flat_map(SweepRun::attempts_mut);
        for active in active.filter(|active| active.worker() == worker && active.lease().has_begun()) {
            active.extend_lease(deadline_ms);
        }
    }

    /// Takes what searchers that learn were told since the last time.
    pub(super) fn take_learned(&mut self, out: &mut Output) {
        for id in &self.touched {
            if let Some(run) = self.runs.get_mut(id) {
                out.records.append(&mut run.take_learned());
            }
        }
    }

    pub(super) fn check_invariants(&self) -> Result<(), String> {
        for run in self.runs.values() {
            run.check_invariants()?;
            let is_overlooked = !self.touched.contains(&run.id());
            if is_overlooked && (run.can_start() || run.slots_held() > 0) {
                return Err(format!(
                    "sweep {} has jobs that are never started, or are not counted",
                    run.id()
                ));
            }
        }
        Ok(())
    }
}
