//! The median rule: a job whose best value so far is worse than the median of the complete jobs at the same epoch is stopped
//! (Vizier, section 3.2.1; details are Optuna's).

use std::collections::BTreeMap;

use terms::Goal;

use super::Verdict;

/// The rule and what it has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Median {
    goal: Goal,
    /// Complete jobs before the rule says anything.
    jobs_min: u64,
    /// The first epoch after which it is asked.
    epochs_min: u32,
    /// It is asked after each so many epochs from there on, at least 1.
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

    /// An epoch of a job is durable, with its value where that can be ranked. Epochs of a job come in their order; those that come
    /// again replace the later ones.
    pub fn observe(&mut self, job: u64, epoch: u32, value: Option<f64>) -> Verdict {
        let values = self.open.entry(job).or_default();
        values.retain(|(known, _)| *known < epoch);
        values.extend(value.filter(|value| value.is_finite()).map(|value| (epoch, value)));
        if self.complete == 0 || self.complete < self.jobs_min || !self.is_asked_after(epoch) {
            return Verdict::Continue;
        }
        let values = self.open[&job].iter().map(|(_, value)| *value);
        let (best, is_worse): (_, fn(f64, f64) -> bool) = match self.goal {
            Goal::Minimize => (values.reduce(f64::min), |best, median| best > median),
            Goal::Maximize => (values.reduce(f64::max), |best, median| best < median),
        };
        let Some(best) = best else { return Verdict::Stop };
        match self.at.get(&epoch).and_then(|values| median(values)) {
            Some(median) if is_worse(best, median) => Verdict::Stop,
            _ => Verdict::Continue,
        }
    }

    fn is_asked_after(&self, epoch: u32) -> bool {
        let Some(beyond) = epoch.checked_sub(self.epochs_min) else { return false };
        // The first epoch is asked about where the epochs before it would have been.
        beyond.is_multiple_of(self.interval) || epoch == 1
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

    /// The median at an epoch, for people.
    pub fn at(&self, epoch: u32) -> Option<f64> {
        self.at.get(&epoch).and_then(|values| median(values))
    }
}

/// The median of values in increasing order, with the rounding of numpy's `percentile`.
fn median(sorted: &[f64]) -> Option<f64> {
    let below = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let above = *sorted.get(sorted.len() / 2)?;
    Some(above - (above - below) * 0.5)
}
