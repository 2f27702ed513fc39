//! Which configuration of a sweep is the best: the one rule for all who name it.
//!
//! A configuration is trained once, or as often as `repeats` says. Its value is the mean of its trainings that are done with a finite value;
//! trained once, that is the value of its job. Those of which a training is missing come after the others, as one good training says little.

use std::cmp::Ordering;

use super::Goal;

/// The rank of a configuration among those of its sweep: greater is better.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    is_complete: bool,
    /// The value where larger is better.
    worth: f64,
    job: u64,
}

impl Standing {
    /// Of a configuration whose first job has this number, and of whose `planned` trainings so many came to this mean.
    pub fn new(goal: Goal, job: u64, mean: f64, trainings: u64, planned: u64) -> Self {
        // Zeros are equal, whatever their sign.
        let worth = 0.0 + if goal == Goal::Maximize { mean } else { -mean };
        Self { is_complete: trainings >= planned, worth, job }
    }

    /// Whether all of its trainings are done.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl Ord for Standing {
    fn cmp(&self, other: &Self) -> Ordering {
        let value = self.worth.total_cmp(&other.worth);
        // Of equal ones the first is better, so that the order in which they ended does not matter.
        self.is_complete.cmp(&other.is_complete).then(value).then(other.job.cmp(&self.job))
    }
}

impl PartialOrd for Standing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Standing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_with_all_trainings_comes_first_then_the_better_mean_then_the_first() {
        let of = |job, mean, trainings| Standing::new(Goal::Minimize, job, mean, trainings, 3);
        let ranked = [of(4, 0.2, 3), of(1, 0.3, 3), of(7, 0.3, 3), of(10, 0.1, 2), of(13, 0.4, 1)];
        assert!(ranked.is_sorted_by(|better, worse| better > worse));
        assert!(ranked[2].is_complete() && !ranked[3].is_complete());
        assert_eq!(of(1, 0.0, 3), of(1, -0.0, 3));
        let larger = |mean| Standing::new(Goal::Maximize, 1, mean, 1, 1);
        assert!(larger(0.9) > larger(0.8));
    }
}
