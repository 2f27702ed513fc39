//! The median rule: a job whose best value so far is worse than the median of the complete jobs at the same epoch is stopped
//! (Vizier, section 3.2.1; details are Optuna's).

use std::collections::BTreeMap;

use terms::Goal;

use super::Verdict;

/// Most epochs after which a job is compared: the values there are kept for each job.
pub const COMPARISONS_MAX: u32 = 1_000;

/// The rule and what it has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Median {
    goal: Goal,
    /// Complete jobs before the rule says anything.
    jobs_min: u64,
    /// The first epoch after which jobs are compared.
    epochs_min: u32,
    /// They are compared after each so many epochs from there on, at least 1.
    interval: u32,
    complete: u64,
    /// The values of complete jobs at each epoch, in increasing order.
    at: BTreeMap<u32, Vec<f64>>,
    /// The values of the jobs that are not.
    open: BTreeMap<u64, Vec<(u32, f64)>>,
}

impl Median {
    pub fn new(goal: Goal, jobs_min: u64, epochs_min: u32, interval: u32) -> Self {
        let (at, open) = (BTreeMap::new(), BTreeMap::new());
        Self { goal, jobs_min, epochs_min, interval: interval.max(1), complete: 0, at, open }
    }

    /// Whether jobs are compared after that epoch.
    pub fn compares_after(&self, epoch: u32) -> bool {
        let Some(beyond) = epoch.checked_sub(self.epochs_min) else { return false };
        // The first epoch stands for those before it, of which there are none.
        (beyond.is_multiple_of(self.interval) || epoch == 1) && beyond / self.interval < COMPARISONS_MAX
    }

    /// An epoch of a job is durable, with its value and the best of its epochs so far, where they can be ranked. What comes again
    /// replaces what came before, from this epoch on.
    pub fn observe(&mut self, job: u64, epoch: u32, value: Option<f64>, best: Option<f64>) -> Verdict {
        if !self.compares_after(epoch) {
            return Verdict::Continue;
        }
        let values = self.open.entry(job).or_default();
        values.retain(|(known, _)| *known < epoch);
        values.extend(value.filter(|value| value.is_finite()).map(|value| (epoch, value)));
        if self.complete == 0 || self.complete < self.jobs_min {
            return Verdict::Continue;
        }
        let Some(best) = best.filter(|best| best.is_finite()) else { return Verdict::Stop };
        let is_worse = self.at(epoch).is_some_and(|median| match self.goal {
            Goal::Minimize => best > median,
            Goal::Maximize => best < median,
        });
        if is_worse { Verdict::Stop } else { Verdict::Continue }
    }

    /// The job has trained all its epochs.
    pub fn complete(&mut self, job: u64) {
        self.complete += 1;
        for (epoch, value) in self.open.remove(&job).unwrap_or_default() {
            let values = self.at.entry(epoch).or_default();
            values.insert(values.partition_point(|known| *known <= value), value);
        }
    }

    /// The job has ended in another way.
    pub fn forget(&mut self, job: u64) {
        self.open.remove(&job);
    }

    /// The median of the complete jobs at an epoch.
    pub fn at(&self, epoch: u32) -> Option<f64> {
        self.at.get(&epoch).and_then(|values| median(values))
    }

    /// Takes in what a store kept of a job that is not complete: its values at the epochs after which jobs are compared. Where it is
    /// complete, [`Self::complete`] follows.
    pub fn restore(&mut self, job: u64, values: impl IntoIterator<Item = (u32, Option<f64>)>) {
        let values = values.into_iter().filter_map(|(epoch, value)| Some((epoch, value?)));
        self.open.insert(job, values.collect());
    }

    /// Takes in how many jobs are complete, with those that were too short to be compared.
    pub fn restore_complete(&mut self, jobs: u64) {
        self.complete = jobs;
    }
}

/// The median of values in increasing order, with the rounding of numpy's `percentile`.
fn median(sorted: &[f64]) -> Option<f64> {
    let below = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let above = *sorted.get(sorted.len() / 2)?;
    Some(above - (above - below) * 0.5)
}
