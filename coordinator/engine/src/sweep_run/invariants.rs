//! What must hold of a sweep between any two changes.

use super::{HeldSlots, Learning, SweepRun};

impl SweepRun {
    /// Checks that the sweep is consistent; says what is not.
    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        self.weights.check_invariants(self)?;
        self.waiting.check_invariants().map_err(|wrong| format!("sweep {}: {wrong}", self.id))?;
        let counted = self.never_started()
            + (self.waiting.len() + self.active.len() + self.paused.len()) as u64
            + self.done
            + self.diverged
            + self.stopped
            + self.failed
            + self.cancelled;
        if counted != self.job_count() {
            return Err(format!("sweep {}: {counted} jobs counted of {}", self.id, self.job_count()));
        }
        if let Some(job) =
            self.waiting.range(..).find(|job| self.active.contains_key(job) || !self.has_begun(*job))
        {
            return Err(format!("job {}/{job} waits and runs, or waits though it never ran", self.id));
        }
        let twice = |job: &&u64| self.active.contains_key(job) || self.waiting.contains(**job);
        if let Some(job) = self.paused.keys().find(|job| twice(job) || !self.has_begun(**job)) {
            return Err(format!("job {}/{job} is paused and waits or runs, or never ran", self.id));
        }
        if self.out_of_order.first().is_some_and(|job| *job <= self.next_unstarted)
            || self.out_of_order.last().is_some_and(|job| *job > self.job_count())
        {
            return Err(format!("sweep {}: jobs are counted twice, or beyond the last", self.id));
        }
        let mut held = HeldSlots::default();
        self.active.values().for_each(|active| held.begin(active.placement()));
        if held != self.held {
            return Err(format!("sweep {} holds {held:?} and counts {:?}", self.id, self.held));
        }
        if self.active.keys().any(|job| !self.has_begun(*job)) {
            return Err(format!("sweep {}: a job runs that never started", self.id));
        }
        if !self.notes_who_has_come() {
            return Err(format!(
                "sweep {}: a job has yet to reach its first rung, and no one waits for it",
                self.id
            ));
        }
        if self.state.is_final() && !self.active.is_empty() {
            return Err(format!("sweep {} is {} and runs jobs", self.id, self.state.as_str()));
        }
        if self.learning.as_ref().is_some_and(Learning::rests) && !self.state.is_final() {
            return Err(format!("sweep {} goes on without its searcher", self.id));
        }
        if let Some((job, active)) =
            self.active.iter().find(|(_, active)| active.epochs_done() > active.epochs_max())
        {
            return Err(format!(
                "job {}/{job} has {} epochs of {}",
                self.id,
                active.epochs_done(),
                active.epochs_max()
            ));
        }
        Ok(())
    }
}
