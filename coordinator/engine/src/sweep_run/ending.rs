//! When a sweep has ended, and why: all is trained, its target is reached, or a user has ended it.

use super::*;

impl SweepRun {
    /// The value that ranks a job, given the values of the objective at its last and its best epoch.
    pub(crate) fn ranked_value(&self, last: Option<f64>, best: Option<f64>) -> Option<f64> {
        match self.definition.metric.used {
            MetricUse::Last => last,
            MetricUse::Best => best,
        }
    }

    /// Whether one job is better than another. On a tie the smaller number wins, so that the order in which they ended
    /// does not matter.
    pub(crate) fn outranks(&self, one: (u64, f64), other: (u64, f64)) -> bool {
        self.definition.metric.outranks(one, other)
    }

    /// The best job, its value and the target of the sweep file, where the job reaches it: the sweep has found enough.
    pub(crate) fn reached(&self) -> Option<(u64, f64, f64)> {
        self.reaches(self.definition.specification.target?)
    }

    fn reaches(&self, target: f64) -> Option<(u64, f64, f64)> {
        let (job, value) = self.best.of(self.definition.metric.used)?;
        (!self.definition.metric.beats(target, value)).then_some((job, value, target))
    }

    /// Why it is stopped, where its target is the reason.
    pub(crate) fn stopped(&self) -> Option<String> {
        let is_stopped = matches!(self.state, SweepState::Stopping | SweepState::Stopped);
        self.why_reached(self.definition.specification.target).filter(|_| is_stopped)
    }

    /// Which job has a value that reaches a target, for people.
    pub(crate) fn why_reached(&self, target: Option<f64>) -> Option<String> {
        let (job, value, target) = self.reaches(target?)?;
        let metric = &self.definition.metric.name;
        let [value, target] = told_apart([value, target]);
        Some(format!("job {job} reached the target of {target} with {metric} = {value}"))
    }

    /// Whether no job was cancelled or is left paused.
    fn has_trained_all(&self) -> bool {
        let counts = self.counts();
        counts.cancelled + counts.paused + counts.pending == 0
    }

    /// The final state to enter now, if the sweep has nothing left to do.
    pub(crate) fn settled_state(&self) -> Option<SweepState> {
        let idle = self.active.is_empty();
        match self.state {
            // What is paused then is not promoted any more.
            SweepState::Running | SweepState::Paused => {
                let left = match mutants::is_on(Mutant::SweepsEndBeforePromotions) {
                    true => self.waiting_jobs(),
                    false => self.open_jobs(),
                };
                (idle && left == 0).then_some(SweepState::Finished)
            }
            // Where its target came with the last of its jobs, nothing was stopped.
            SweepState::Stopping if self.reached().is_some() && self.has_trained_all() => {
                idle.then_some(SweepState::Finished)
            }
            SweepState::Stopping => idle.then_some(SweepState::Stopped),
            _ => None,
        }
    }
}
