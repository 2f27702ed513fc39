//! A job's row as every part of a report uses it, and the rule of which rows are kept in memory.

use std::{cmp::Ordering, collections::BinaryHeap};

use proto::{ParameterMap, v1};

use crate::core::state::JobState;

/// One job and what came out.
#[derive(Debug, Clone)]
pub(super) struct JobRow {
    pub(super) number: u64,
    pub(super) parameters: ParameterMap,
    pub(super) state: &'static str,
    pub(super) attempts: u32,
    pub(super) worker: String,
    pub(super) epochs_done: u32,
    /// Sum of the training loops, in seconds; none before the first epoch.
    pub(super) train_seconds: Option<f64>,
    pub(super) val_accuracy: Option<f64>,
    pub(super) train_loss: Option<f64>,
    pub(super) val_loss: Option<f64>,
    pub(super) train_accuracy: Option<f64>,
    /// The first epoch with the highest validation accuracy, and that accuracy.
    pub(super) best: Option<(u32, f64)>,
    /// What ranks the job: its metric, and of which epoch that is.
    pub(super) ranked: Option<(u32, f64)>,
    pub(super) reason: String,
    /// Jobs that its last attempt was trained together with, itself included; 0 before the first.
    pub(super) pack_size: u32,
    /// What became of its weights; empty where there is nothing to say.
    pub(super) weights: String,
}

impl JobRow {
    /// A job with the epochs that count.
    pub(super) fn new(job: &v1::Job, epochs: &[v1::EpochRow], ranking: &Ranking) -> Self {
        // Of a job that an older version finished, the epochs alone say which was the best.
        let best = job.best_epoch.zip(job.best_val_accuracy);
        let best = best.or_else(|| Ranking::accuracy().best(epochs));
        let point = job.point.clone().unwrap_or_default();
        Self {
            number: point.job,
            parameters: ParameterMap::from_wire(point.parameters),
            state: JobState::from_wire(job.state()).map_or("", JobState::as_str),
            attempts: job.attempts,
            worker: job.worker.clone(),
            epochs_done: job.epochs_done,
            train_seconds: (job.epochs_done > 0).then_some(job.train_seconds),
            val_accuracy: job.val_accuracy,
            train_loss: job.train_loss,
            val_loss: job.val_loss,
            train_accuracy: job.train_accuracy,
            best,
            ranked: ranking.value(job, epochs),
            reason: job.reason.clone(),
            pack_size: job.pack_size,
            weights: job.weights.clone(),
        }
    }

    /// A parameter as text; empty where the job has none of that name.
    pub(super) fn parameter(&self, name: &str) -> String {
        self.parameters.get(name).map_or_else(String::new, ToString::to_string)
    }

    /// `lr=0.0001, bs=32, relu`: the parameters that vary, as the original report labels them.
    pub(super) fn label(&self, varying: &[String]) -> String {
        let order = |name: &str| match name {
            "learning_rate" => 0,
            "batch_size" => 1,
            "activation" => 3,
            _ => 2,
        };
        let mut names: Vec<&str> = varying.iter().map(String::as_str).collect();
        names.sort_by_key(|name| order(name));
        let part = |name: &&str| {
            let value = self.parameter(name);
            match *name {
                "learning_rate" => format!("lr={value}"),
                "batch_size" => format!("bs={value}"),
                "activation" | "precision" => value,
                other => format!("{other}={value}"),
            }
        };
        let parts: Vec<_> = names.iter().map(part).collect();
        if parts.is_empty() { format!("job {}", self.number) } else { parts.join(", ") }
    }
}

/// Longest reason in the files for programs, in characters: the sense of an error stands at its beginning.
const REASON_CHARACTERS_MAX: usize = 300;

/// A text as one line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|sign: char| sign.is_whitespace() || sign.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(REASON_CHARACTERS_MAX) {
        Some((end, _)) => format!("{} …", line[..end].trim_end()),
        None => line,
    }
}

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
    fn accuracy() -> Self {
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
    fn best(&self, epochs: &[v1::EpochRow]) -> Option<(u32, f64)> {
        let records = epochs.iter().filter_map(|epoch| epoch.record);
        let values = records.filter_map(|record| Some((record.epoch, self.of_epoch(&record)?)));
        values.reduce(|best, one| {
            let better = if self.maximize { one.1 > best.1 } else { one.1 < best.1 };
            if better { one } else { best }
        })
    }

    fn value(&self, job: &v1::Job, epochs: &[v1::EpochRow]) -> Option<(u32, f64)> {
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

    /// A job's place: larger is better, jobs without a value last, the earlier of two equal jobs first.
    pub(super) fn place(&self, row: &JobRow) -> Place {
        // A diverged job has a last epoch, but is no candidate.
        let value =
            row.ranked.map(|(_, value)| value).filter(|value| value.is_finite() && row.state != "diverged");
        Place { value: value.map(|value| if self.maximize { value } else { -value }), number: row.number }
    }
}

/// Place of a job among others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    value: Option<f64>,
    number: u64,
}

impl Place {
    /// Whether the job can be the best at all.
    pub(super) fn is_candidate(self) -> bool {
        self.value.is_some()
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
        value.then(other.number.cmp(&self.number))
    }
}

/// The best of what it was offered, up to a bound.
#[derive(Debug)]
pub(super) struct Best<T> {
    bound: usize,
    offered: u64,
    // The worst on top.
    kept: BinaryHeap<std::cmp::Reverse<Ranked<T>>>,
}

#[derive(Debug)]
struct Ranked<T>(Place, T);

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Ranked<T> {}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Best<T> {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, offered: 0, kept: BinaryHeap::new() }
    }

    /// Keeps what `make` gives, if it is among the best so far.
    pub(super) fn offer(&mut self, place: Place, make: impl FnOnce() -> T) {
        self.offered += 1;
        if self.kept.len() == self.bound {
            if self.kept.peek().is_none_or(|worst| worst.0.0 >= place) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(std::cmp::Reverse(Ranked(place, make())));
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
    fn a_small_loss_is_better_where_the_sweep_says_so() {
        let with = |metric: &str, number, loss| {
            let ranking =
                Ranking::new(Some(&v1::Metric { name: metric.into(), maximize: false, use_best: false }));
            let point = Some(v1::JobPoint { job: number, parameters: Vec::new() });
            let job = v1::Job { point, train_loss: Some(loss), val_loss: Some(loss), ..v1::Job::default() };
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
                let job = v1::Job { point, ..v1::Job::default() };
                JobRow::new(&job, &epochs(losses), &ranking)
            };
            // The first of two equal epochs.
            let (overfits, learns) = (row(1, &[0.5, 0.2, 0.2, 0.9]), row(2, &[0.6, 0.5, 0.4, 0.3]));
            assert_eq!(overfits.ranked, Some((2, value)));
            assert_eq!(overfits.best, Some((2, 0.8)), "also of jobs whose row does not say it");
            assert!(ranking.place(&overfits) > ranking.place(&learns));
        }
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(one_line("out of memory\n  at\tstep 3\u{85}\u{1b}[31m\n"), "out of memory at step 3 [31m");
        assert_eq!(one_line(""), "");
        let long = one_line(&"語 ".repeat(1_000));
        assert_eq!(long.chars().count(), REASON_CHARACTERS_MAX - 1 + 2);
        assert!(long.ends_with("語 …"));
    }
}
