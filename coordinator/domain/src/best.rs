//! The best of a sweep: its best job, and its best configuration. They are two things where `repeats` trains each configuration several times:
//! people are told of the best configuration, and the target, searches, early stopping and `artifacts.keep` go by jobs.

use std::collections::BTreeMap;

use terms::{MetricUse, Objective, Standing};

/// The best done jobs of a sweep, each with its value of the objective.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BestJobs {
    /// By the value at the last epoch.
    pub by_last: Option<(u64, f64)>,
    /// By the best value of all epochs.
    pub by_best: Option<(u64, f64)>,
}

impl BestJobs {
    /// Takes a job that is done into account.
    pub fn consider(&mut self, objective: &Objective, job: u64, last: Option<f64>, best: Option<f64>) {
        for (champion, value) in [(&mut self.by_last, last), (&mut self.by_best, best)] {
            let Some(value) = value else { continue };
            if champion.is_none_or(|best| objective.outranks((job, value), best)) {
                *champion = Some((job, value));
            }
        }
    }

    /// The best by the value that the metric uses.
    pub fn of(&self, used: MetricUse) -> Option<(u64, f64)> {
        match used {
            MetricUse::Last => self.by_last,
            MetricUse::Best => self.by_best,
        }
    }
}

/// The best configuration of a sweep, as users see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Its first job that is done.
    pub job: u64,
    /// The mean of its trainings that are done; of one training, its value.
    pub value: f64,
    /// How many those are.
    pub trainings: u32,
}

/// The configurations of a sweep with `repeats`, by both values that may rank its jobs. What it keeps is of those that were begun and are not
/// complete: about as many as are trained at once, and those of which a job failed. Each has some 100 bytes, and 16 for each of its trainings
/// that are done, of which there may be as many as `repeats` says.
#[derive(Debug, Clone, PartialEq)]
pub struct BestPoints {
    repeats: u32,
    by_last: Points,
    by_best: Points,
}

/// The configurations by one of the values.
#[derive(Debug, Clone, Default, PartialEq)]
struct Points {
    /// The best of those with all trainings.
    complete: Option<(Standing, Best)>,
    /// The trainings of the others: jobs and their values.
    open: BTreeMap<u64, Vec<(u64, f64)>>,
    /// The others by their rank, until one is complete: after that they cannot be the best.
    partial: BTreeMap<Standing, Best>,
}

impl BestPoints {
    /// For a sweep whose specification has this text; none where each configuration is trained once.
    pub fn of_text(specification: &str) -> Option<Self> {
        Self::new(repeats(specification))
    }

    /// For so many trainings of each; none where that is one.
    pub fn new(repeats: u32) -> Option<Self> {
        (repeats > 1).then(|| Self { repeats, by_last: Points::default(), by_best: Points::default() })
    }

    /// Takes a job that is done into account, once.
    pub fn consider(&mut self, objective: &Objective, job: u64, last: Option<f64>, best: Option<f64>) {
        for (points, value) in [(&mut self.by_last, last), (&mut self.by_best, best)] {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                points.add(objective, self.repeats, job, value);
            }
        }
    }

    /// The best by the value that the metric uses.
    pub fn of(&self, used: MetricUse) -> Option<Best> {
        let points = match used {
            MetricUse::Last => &self.by_last,
            MetricUse::Best => &self.by_best,
        };
        let partial = || points.partial.last_key_value().map(|(_, best)| *best);
        points.complete.map(|(_, best)| best).or_else(partial)
    }
}

impl Points {
    fn add(&mut self, objective: &Objective, repeats: u32, job: u64, value: f64) {
        // The trainings of a configuration are jobs with consecutive numbers.
        let point = job.saturating_sub(1) / u64::from(repeats);
        let trainings = self.open.entry(point).or_default();
        let before = ranked(objective, repeats, trainings);
        // In the order of their numbers, so that the mean is the same to the bit whichever ended first.
        let place = trainings.partition_point(|(other, _)| *other < job);
        trainings.insert(place, (job, value));
        let after = ranked(objective, repeats, trainings);
        if let Some((standing, _)) = before {
            self.partial.remove(&standing);
        }
        let Some((standing, best)) = after else { return };
        if standing.is_complete() {
            self.open.remove(&point);
            self.partial.clear();
            if self.complete.is_none_or(|(champion, _)| standing > champion) {
                self.complete = Some((standing, best));
            }
        } else if self.complete.is_none() {
            self.partial.insert(standing, best);
        }
    }
}

/// What these trainings of a configuration come to.
fn ranked(objective: &Objective, repeats: u32, trainings: &[(u64, f64)]) -> Option<(Standing, Best)> {
    let (job, _) = trainings.first()?;
    // As in an analysis, by Welford's method: <https://doi.org/10.1080/00401706.1962.10490022>.
    let mean =
        (1..).zip(trainings).fold(0.0, |mean, (count, (_, value))| mean + (value - mean) / f64::from(count));
    let count = trainings.len() as u32;
    let standing = Standing::new(objective.goal, *job, mean, count.into(), repeats.into());
    Some((standing, Best { job: *job, value: mean, trainings: count }))
}

/// How often each configuration is trained, as the text of a specification says it on a line of its own.
pub fn repeats(specification: &str) -> u32 {
    let said = specification.lines().find_map(|line| line.strip_prefix("repeats:"));
    said.and_then(|said| said.trim().parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use terms::Goal;

    use super::*;

    fn accuracy() -> Objective {
        Objective { name: "val_accuracy".into(), goal: Goal::Maximize, used: MetricUse::Last }
    }

    fn best(jobs: &[(u64, f64)]) -> Option<Best> {
        let mut points = BestPoints::new(2).unwrap();
        jobs.iter().for_each(|(job, value)| points.consider(&accuracy(), *job, Some(*value), None));
        assert_eq!(points.of(MetricUse::Best), None, "no epoch had a best value");
        points.of(MetricUse::Last)
    }

    #[test]
    fn the_best_configuration_has_all_trainings_and_the_best_mean_of_them() {
        let of = |job, value, trainings| Some(Best { job, value, trainings });
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[(4, 0.5)]), of(4, 0.5, 1), "before one is complete, the best of what there is");
        assert_eq!(best(&[(4, 0.5), (1, 0.75)]), of(1, 0.75, 1));
        assert_eq!(best(&[(4, 0.5), (1, 0.75), (3, 0.25)]), of(3, 0.375, 2), "one good training says little");
        // The luckiest training is of configuration 1, the best mean of 2.
        assert_eq!(best(&[(1, 0.9), (2, 0.1), (3, 0.75), (4, 0.5)]), of(3, 0.625, 2));
        assert_eq!(best(&[(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5)]), of(1, 0.5, 2), "the first of equals");
        assert_eq!(best(&[(1, 0.5), (2, f64::INFINITY), (3, 0.25), (4, 0.25)]), of(3, 0.25, 2));
    }

    #[test]
    fn the_order_in_which_jobs_end_does_not_matter() {
        let jobs = [(1, 0.1), (2, 0.7), (3, 0.2), (4, 0.6), (5, 0.3), (7, 0.9)];
        let reversed: Vec<_> = jobs.iter().rev().copied().collect();
        assert_eq!(best(&jobs), best(&reversed));
    }

    #[test]
    fn complete_configurations_take_no_room() {
        let mut points = BestPoints::of_text("name: a\nrepeats: 2\n").unwrap();
        (1..=1_000).for_each(|job| points.consider(&accuracy(), job, Some(0.5), Some(0.5)));
        assert!(points.by_last.open.is_empty() && points.by_last.partial.is_empty());
        assert_eq!(BestPoints::of_text("name: a\n"), None);
    }
}
