//! Which jobs are better, and the rule of which of them are kept in memory.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use proto::v1;

use super::rows::JobRow;

/// What ranks jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranking {
    metric: String,
    maximize: bool,
    use_best: bool,
}

impl Ranking {
    pub(super) fn new(metric: Option<&v1::Metric>) -> Self {
        metric.map_or_else(Self::accuracy, |metric| Self {
            metric: metric.name.clone(),
            maximize: metric.maximize,
            use_best: metric.use_best,
        })
    }

    /// The largest validation accuracy at the last epoch.
    pub(super) fn accuracy() -> Self {
        Self { metric: "val_accuracy".to_owned(), maximize: true, use_best: false }
    }

    fn of_epoch(&self, record: &v1::EpochRecord) -> Option<f64> {
        match self.metric.as_str() {
            "train_loss" => Some(record.train_loss),
            "val_loss" => record.val_loss,
            "train_accuracy" => record.train_accuracy,
            _ => Some(record.val_accuracy),
        }
    }

    /// The first epoch with the best value, and that value.
    pub(super) fn best(&self, epochs: &[v1::EpochRow]) -> Option<(u32, f64)> {
        let records = epochs.iter().filter_map(|epoch| epoch.record.clone());
        let values = records.filter_map(|record| Some((record.epoch, self.of_epoch(&record)?)));
        values.reduce(|best, one| {
            let better = if self.maximize { one.1 > best.1 } else { one.1 < best.1 };
            if better { one } else { best }
        })
    }

    pub(super) fn value(&self, job: &v1::Job, epochs: &[v1::EpochRow]) -> Option<(u32, f64)> {
        if self.use_best {
            return self.best(epochs);
        }
        let value = match self.metric.as_str() {
            "train_loss" => job.train_loss,
            "val_loss" => job.val_loss,
            "train_accuracy" => job.train_accuracy,
            _ => job.val_accuracy,
        };
        Some(job.epochs_done).zip(value)
    }

    /// A job's place: larger is better. Only jobs that are done can be the best, as for the coordinator; jobs that
    /// diverged or have no value come last, the earlier of two equal jobs first.
    pub(super) fn place(&self, row: &JobRow) -> Place {
        // A diverged job has a last epoch, but is no candidate.
        let value =
            row.ranked.map(|(_, value)| value).filter(|value| value.is_finite() && row.state != "diverged");
        Place {
            is_candidate: value.is_some() && row.state == "done",
            value: value.map(|value| if self.maximize { value } else { -value }),
            number: row.number,
        }
    }
}

/// Place of a job among others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    is_candidate: bool,
    value: Option<f64>,
    number: u64,
}

impl Place {
    /// Whether the job can be the best at all.
    pub(super) fn is_candidate(self) -> bool {
        self.is_candidate
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let value = match (self.value, other.value) {
            (Some(one), Some(two)) => one.total_cmp(&two),
            (one, two) => one.is_some().cmp(&two.is_some()),
        };
        self.is_candidate.cmp(&other.is_candidate).then(value).then(other.number.cmp(&self.number))
    }
}

/// The best of what it was offered, up to a bound; with places in [`Reverse`], the worst.
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

    /// Keeps what `make` gives, if it is among the best so far.
    pub(super) fn offer(&mut self, place: P, make: impl FnOnce() -> T) {
        self.offered += 1;
        if self.kept.len() == self.bound {
            if self.kept.peek().is_none_or(|worst| worst.0.0 >= place) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(Reverse(Ranked(place, make())));
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
    use super::*;

    fn row(number: u64, val_accuracy: Option<f64>) -> JobRow {
        let job = v1::Job {
            point: Some(v1::JobPoint { job: number, parameters: Vec::new() }),
            state: v1::JobState::Done.into(),
            val_accuracy,
            ..v1::Job::default()
        };
        JobRow::new(&job, &[], &Ranking::new(None))
    }

    #[test]
    fn the_best_are_kept_in_order_and_the_earlier_of_two_equal_ones_is_better() {
        let ranking = Ranking::new(None);
        let mut best = Best::new(3);
        for (number, accuracy) in [(1, None), (2, Some(0.5)), (3, Some(0.9)), (4, Some(0.5)), (5, Some(0.7))]
        {
            let row = row(number, accuracy);
            best.offer(ranking.place(&row), || number);
        }
        assert!(best.is_selection());
        assert_eq!(best.into_ranked(), [3, 5, 2]);
    }

    #[test]
    fn only_a_job_that_is_done_can_be_the_best() {
        let ranking = Ranking::new(None);
        let place = |number, state: v1::JobState, accuracy| {
            let point = Some(v1::JobPoint { job: number, parameters: Vec::new() });
            let job = v1::Job { point, state: state.into(), val_accuracy: accuracy, ..v1::Job::default() };
            ranking.place(&JobRow::new(&job, &[], &ranking))
        };
        let places = [
            place(1, v1::JobState::Done, Some(0.5)),
            place(2, v1::JobState::Failed, Some(0.9)),
            place(3, v1::JobState::Cancelled, Some(0.8)),
            place(4, v1::JobState::Diverged, Some(0.95)),
            place(5, v1::JobState::Failed, None),
        ];
        assert!(places.is_sorted_by(|better, worse| better > worse));
        assert_eq!(places.map(Place::is_candidate), [true, false, false, false, false]);
    }

    #[test]
    fn a_small_loss_is_better_where_the_sweep_says_so() {
        let with = |metric: &str, number, loss| {
            let ranking =
                Ranking::new(Some(&v1::Metric { name: metric.into(), maximize: false, use_best: false }));
            let point = Some(v1::JobPoint { job: number, parameters: Vec::new() });
            let state = v1::JobState::Done.into();
            let job =
                v1::Job { point, state, train_loss: Some(loss), val_loss: Some(loss), ..v1::Job::default() };
            ranking.place(&JobRow::new(&job, &[], &ranking))
        };
        for metric in ["train_loss", "val_loss"] {
            assert!(with(metric, 1, 0.1) > with(metric, 2, 0.2));
            assert!(with(metric, 1, 0.1) > with(metric, 2, f64::NAN));
        }
    }

    #[test]
    fn where_the_best_epoch_counts_the_last_one_does_not() {
        let epochs = |losses: &[f64]| -> Vec<v1::EpochRow> {
            let record = |(epoch, loss): (u32, &f64)| v1::EpochRecord {
                epoch,
                val_loss: Some(*loss),
                val_accuracy: 1.0 - loss,
                ..v1::EpochRecord::default()
            };
            let row = |record| v1::EpochRow { job: 1, attempt: 1, record: Some(record) };
            (1..).zip(losses).map(record).map(row).collect()
        };
        for (name, maximize, value) in [("val_loss", false, 0.2), ("val_accuracy", true, 0.8)] {
            let ranking = Ranking::new(Some(&v1::Metric { name: name.into(), maximize, use_best: true }));
            let row = |number, losses: &[f64]| {
                let point = Some(v1::JobPoint { job: number, parameters: Vec::new() });
                let job = v1::Job { point, state: v1::JobState::Done.into(), ..v1::Job::default() };
                JobRow::new(&job, &epochs(losses), &ranking)
            };
            // The first of two equal epochs.
            let (overfits, learns) = (row(1, &[0.5, 0.2, 0.2, 0.9]), row(2, &[0.6, 0.5, 0.4, 0.3]));
            assert_eq!(overfits.ranked, Some((2, value)));
            assert_eq!(overfits.best, Some((2, 0.8)), "also of jobs whose row does not say it");
            assert!(ranking.place(&overfits) > ranking.place(&learns));
        }
    }
}
