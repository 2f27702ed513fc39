//! Which jobs are better, and so which of them are kept in memory.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use terms::{Goal, MetricRow, MetricSchema, MetricUse, Objective};

use super::{
    model::{Epoch, Job},
    rows::JobRow,
};

/// What ranks the jobs of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    objective: Objective,
    /// The index of the objective in rows; none where it has no value yet.
    index: Option<usize>,
}

impl Ranking {
    /// By this objective, whose value is among these metrics.
    pub fn new(objective: Objective, metrics: &MetricSchema) -> Self {
        Self { index: metrics.index(&objective.name), objective }
    }

    /// Whether the best epoch counts, and not the last.
    pub(super) fn uses_best(&self) -> bool {
        self.objective.used == MetricUse::Best
    }

    /// The objective's value in a row.
    pub fn of_row(&self, row: &MetricRow) -> Option<f64> {
        row.get(self.index?)
    }

    /// The first epoch of a job with the best value, and that value.
    pub fn best_of(&self, job: &Job, epochs: &[Epoch]) -> Option<(u32, f64)> {
        // For a job that an older version finished, only the epochs say which was the best.
        let best = job.best_epoch.zip(self.of_row(&job.best_metrics));
        best.or_else(|| self.best(epochs))
    }

    /// The first epoch with the best value, and that value. A value that is not finite is only better than none.
    pub(super) fn best(&self, epochs: &[Epoch]) -> Option<(u32, f64)> {
        let values = epochs.iter().filter_map(|epoch| Some((epoch.number, self.of_row(&epoch.metrics)?)));
        values.reduce(|best, one| {
            let is_better = match (one.1.is_finite(), best.1.is_finite()) {
                (true, true) => self.objective.beats(one.1, best.1),
                (is_finite, _) => is_finite,
            };
            if is_better { one } else { best }
        })
    }

    /// What ranks a job: the epoch that counts, and its value.
    pub fn value(&self, job: &Job, epochs: &[Epoch]) -> Option<(u32, f64)> {
        match self.objective.used {
            MetricUse::Best => self.best(epochs),
            MetricUse::Last => Some(job.epochs_done).zip(self.of_row(&job.metrics)),
        }
    }

    /// A job's rank: larger is better. Only jobs that are done can be the best, as for the coordinator. Jobs that
    /// diverged or have no value come last, and of two equal jobs the earlier is better.
    pub(super) fn rank(&self, row: &JobRow) -> Rank {
        // A diverged job has a last epoch, but is not a candidate.
        let value =
            row.ranked.map(|(_, value)| value).filter(|value| value.is_finite() && row.state != "diverged");
        Rank {
            is_candidate: value.is_some() && row.state == "done",
            // Zeros are equal, whatever their sign.
            value: value
                .map(|value| 0.0 + if self.objective.goal == Goal::Maximize { value } else { -value }),
            number: row.number,
        }
    }
}

/// The rank of a job among others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rank {
    is_candidate: bool,
    value: Option<f64>,
    number: u64,
}

impl Rank {
    /// Whether the job can be the best at all.
    pub(super) fn is_candidate(self) -> bool {
        self.is_candidate
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let value = match (self.value, other.value) {
            (Some(one), Some(two)) => one.total_cmp(&two),
            (one, two) => one.is_some().cmp(&two.is_some()),
        };
        self.is_candidate.cmp(&other.is_candidate).then(value).then(other.number.cmp(&self.number))
    }
}

/// The best of what was offered, up to a bound; with ranks in [`Reverse`], the worst.
#[derive(Debug)]
pub(super) struct Best<P, T> {
    bound: usize,
    offered: u64,
    // The worst on top.
    kept: BinaryHeap<Reverse<Ranked<P, T>>>,
}

#[derive(Debug)]
struct Ranked<P, T>(P, T);

impl<P: Eq, T> PartialEq for Ranked<P, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<P: Eq, T> Eq for Ranked<P, T> {}

impl<P: Ord, T> PartialOrd for Ranked<P, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Ord, T> Ord for Ranked<P, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<P: Ord, T> Best<P, T> {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, offered: 0, kept: BinaryHeap::new() }
    }

    /// Keeps the result of `make`, if it is among the best so far.
    pub(super) fn offer(&mut self, rank: P, make: impl FnOnce() -> T) {
        self.offered += 1;
        if self.kept.len() == self.bound {
            if self.kept.peek().is_none_or(|worst| worst.0.0 >= rank) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(Reverse(Ranked(rank, make())));
    }

    /// Whether something was left out.
    pub(super) fn is_selection(&self) -> bool {
        self.offered > self.kept.len() as u64
    }

    /// What was kept, the best first.
    pub(super) fn into_ranked(self) -> Vec<T> {
        self.kept.into_sorted_vec().into_iter().map(|ranked| ranked.0.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use terms::{JobState, MISSING};

    use super::*;

    const METRICS: [&str; 2] = ["val_loss", "val_accuracy"];

    fn ranking(name: &str, goal: Goal, used: MetricUse) -> Ranking {
        let objective = Objective { name: name.into(), goal, used };
        Ranking::new(objective, &MetricSchema::of(METRICS).unwrap())
    }

    fn accuracy() -> Ranking {
        ranking("val_accuracy", Goal::Maximize, MetricUse::Last)
    }

    fn row(number: u64, state: JobState, value: Option<f64>) -> JobRow {
        let metrics = MetricRow::new(&[0.5, value.unwrap_or(MISSING)]);
        JobRow::new(&Job { number, state: Some(state), metrics, ..Job::default() }, &[], &accuracy())
    }

    #[test]
    fn the_best_are_kept_in_order_and_the_earlier_of_two_equal_ones_is_better() {
        let mut best = Best::new(3);
        for (number, value) in [(1, None), (2, Some(0.5)), (3, Some(0.9)), (4, Some(0.5)), (5, Some(0.7))] {
            best.offer(accuracy().rank(&row(number, JobState::Done, value)), || number);
        }
        assert!(best.is_selection());
        assert_eq!(best.into_ranked(), [3, 5, 2]);
    }

    #[test]
    fn only_a_job_that_is_done_can_be_the_best() {
        let rank = |number, state, value| accuracy().rank(&row(number, state, value));
        let ranks = [
            rank(1, JobState::Done, Some(0.5)),
            rank(2, JobState::Failed, Some(0.9)),
            rank(3, JobState::Cancelled, Some(0.8)),
            rank(4, JobState::Diverged, Some(0.95)),
            rank(5, JobState::Failed, None),
        ];
        assert!(ranks.is_sorted_by(|better, worse| better > worse));
        assert_eq!(ranks.map(Rank::is_candidate), [true, false, false, false, false]);
    }

    #[test]
    fn a_small_loss_is_better_where_the_sweep_says_so() {
        let with = |number, loss| {
            let ranking = ranking("val_loss", Goal::Minimize, MetricUse::Last);
            let metrics = MetricRow::new(&[loss]);
            let job = Job { number, state: Some(JobState::Done), metrics, ..Job::default() };
            ranking.rank(&JobRow::new(&job, &[], &ranking))
        };
        assert!(with(1, 0.1) > with(2, 0.2));
        assert!(with(1, 0.1) > with(2, f64::NAN));
    }

    #[test]
    fn zeros_are_equal_whatever_their_sign() {
        for goal in [Goal::Minimize, Goal::Maximize] {
            let ranking = ranking("val_loss", goal, MetricUse::Last);
            let with = |number, loss| {
                let metrics = MetricRow::new(&[loss]);
                let job = Job { number, state: Some(JobState::Done), metrics, ..Job::default() };
                ranking.rank(&JobRow::new(&job, &[], &ranking))
            };
            for (first, second) in [(0.0, -0.0), (-0.0, 0.0)] {
                assert!(with(1, first) > with(2, second), "{goal:?} {first} {second}");
            }
        }
    }

    #[test]
    fn where_the_best_epoch_counts_the_last_one_does_not() {
        let epochs = |losses: &[f64]| -> Vec<Epoch> {
            let epoch = |(number, loss): (u32, &f64)| Epoch {
                number,
                metrics: MetricRow::new(&[*loss, 1.0 - loss]),
                ..Epoch::default()
            };
            (1..).zip(losses).map(epoch).collect()
        };
        for (name, goal, value) in [("val_loss", Goal::Minimize, 0.2), ("val_accuracy", Goal::Maximize, 0.8)]
        {
            let ranking = ranking(name, goal, MetricUse::Best);
            let row = |number, losses: &[f64]| {
                let job = Job { number, state: Some(JobState::Done), ..Job::default() };
                JobRow::new(&job, &epochs(losses), &ranking)
            };
            // The first of two equal epochs.
            let (overfits, learns) = (row(1, &[0.5, 0.2, 0.2, 0.9]), row(2, &[0.6, 0.5, 0.4, 0.3]));
            assert_eq!(overfits.ranked, Some((2, value)));
            assert_eq!(overfits.best, Some((2, value)), "also of jobs whose row does not say it");
            assert!(ranking.rank(&overfits) > ranking.rank(&learns));
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let begins_badly = row(3, &[bad, 0.4]);
                assert_eq!(begins_badly.ranked.map(|(epoch, _)| epoch), Some(2), "{bad}");
                let ends_badly = row(3, &[0.4, bad]);
                assert_eq!(ends_badly.ranked.map(|(epoch, _)| epoch), Some(1), "{bad}");
            }
        }
    }

    #[test]
    fn a_metric_that_never_came_in_ranks_nothing() {
        let ranking = ranking("f1", Goal::Maximize, MetricUse::Last);
        let job = Job { state: Some(JobState::Done), metrics: MetricRow::new(&[0.5, 0.5]), ..Job::default() };
        assert!(!ranking.rank(&JobRow::new(&job, &[], &ranking)).is_candidate());
    }
}
