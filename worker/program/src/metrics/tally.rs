//! Makes epochs of a program's reports. Epochs count 1, 2, 3, as every sweep's do. The program's own numbers may be
//! anything that grows: epochs from 0, every hundredth step, fractions of an epoch. Where they are not the epochs' own, they are
//! kept as the metric `step`. A report whose number is not larger than the one before is left out: the first one counts.
//!
//! A later attempt tells the epochs of a checkpoint again. Which of them count is decided by what the program reports
//! first: it knows which state it read. Programs write their checkpoint before or after they report its epoch; in
//! the first case, the epoch's record came after the checkpoint and lies in reserve until then.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{METRICS_MAX, Metrics, Number, Report};

/// The metric that keeps a program's own number.
pub(crate) const STEP: &str = "step";

/// Most epochs of a job. A program that reports each batch of a long training has fewer.
pub(crate) const EPOCHS_MAX: u32 = 1_000_000;

/// Most values that are kept of a job for its checkpoints: about half a gigabyte of memory. A program with more has none.
const VALUES_KEPT_MAX: usize = 5_000_000;

/// One epoch, as it is told and as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct EpochRecord {
    /// From 1.
    pub(crate) epoch: u32,
    /// The program's own number.
    pub(crate) number: f64,
    /// What it reported.
    pub(crate) metrics: Metrics,
    /// Since the report before, or since the program's start.
    pub(crate) seconds: f64,
}

/// What comes of a report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tallied {
    /// These epochs are to be told: of the reserve, and the one that was reported.
    Epochs(Vec<EpochRecord>),
    /// Its number is not larger than that of the last one.
    Repeated,
    /// The job has had its budget.
    Beyond,
    /// The objective is not finite.
    Diverged(String),
}

/// The epochs of one attempt.
#[derive(Debug)]
pub(crate) struct Tally {
    objective: Option<String>,
    budget: Option<u32>,
    /// What was told, in order; of a job that keeps no checkpoints, the last one alone.
    records: Vec<EpochRecord>,
    /// Whether all of it is kept.
    keeps: bool,
    /// Values in the records.
    values: usize,
    /// Records of an earlier attempt that came after its checkpoint.
    reserve: Vec<EpochRecord>,
    /// Names of all metrics.
    names: BTreeSet<String>,
    /// When the last report came, since the program's start.
    last: Duration,
}

impl Tally {
    /// Of a job with a budget of epochs, where one is known. `keeps`: for checkpoints.
    pub(crate) fn new(objective: Option<String>, budget: Option<u32>, keeps: bool) -> Self {
        Self {
            objective,
            budget,
            records: Vec::new(),
            keeps,
            values: 0,
            reserve: Vec::new(),
            names: BTreeSet::new(),
            last: Duration::ZERO,
        }
    }

    /// Goes on from a checkpoint: with the records of its time, and those that came later.
    pub(crate) fn resume(&mut self, records: Vec<EpochRecord>, reserve: Vec<EpochRecord>) {
        self.names.extend(records.iter().flat_map(|record| record.metrics.keys().cloned()));
        self.values = records.iter().map(|record| record.metrics.len()).sum();
        (self.records, self.reserve) = (records, reserve);
    }

    /// What was told so far.
    #[cfg(test)]
    pub(crate) fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// What was told so far, and what will be by the next report at the latest: a program that writes a checkpoint before it
    /// has reported anything is one that writes them before it reports.
    /// None where not all of it is kept.
    pub(crate) fn records_and_reserve(&self) -> Option<Vec<EpochRecord>> {
        self.keeps.then(|| self.records.iter().chain(&self.reserve).cloned().collect())
    }

    /// How many epochs were told.
    pub(crate) fn epochs(&self) -> u32 {
        self.records.last().map_or(0, |record| record.epoch)
    }

    /// Whether the budget is used up.
    pub(crate) fn is_full(&self) -> bool {
        let epochs_max = self.budget.map_or(EPOCHS_MAX, |budget| budget.clamp(1, EPOCHS_MAX));
        self.epochs() >= epochs_max
    }

    /// Whether the job is to have a number of epochs.
    pub(crate) fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// Whether the objective has ever come, where there is one.
    pub(crate) fn has_objective(&self) -> bool {
        self.objective.as_ref().is_none_or(|objective| self.names.contains(objective))
    }

    /// The names of what has come.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Takes a report that came so long after the program's start.
    pub(crate) fn take(&mut self, report: Report, at: Duration) -> Tallied {
        let number =
            report.number.unwrap_or_else(|| self.records.last().map_or(0.0, |last| last.number) + 1.0);
        if self.records.last().is_some_and(|last| number <= last.number) {
            return Tallied::Repeated;
        }
        let mut told = Vec::new();
        // It went on from a state that was later than what the checkpoint's records say.
        for record in std::mem::take(&mut self.reserve) {
            if record.number < number && !self.is_full() && self.follows(&record) {
                told.push(record.clone());
                self.push(record);
            }
        }
        if self.is_full() {
            return Tallied::Beyond;
        }
        let epoch = self.epochs() + 1;
        if let Some(objective) = &self.objective
            && let Some(Number(value)) = report.metrics.get(objective)
            && !value.is_finite()
        {
            return Tallied::Diverged(format!("{objective} was {value} in epoch {epoch}"));
        }
        let mut metrics = report.metrics;
        if number != f64::from(epoch) && metrics.len() < METRICS_MAX {
            metrics.entry(STEP.to_owned()).or_insert(Number(number));
        }
        let seconds = at.saturating_sub(self.last).as_secs_f64();
        self.last = at;
        let record = EpochRecord { epoch, number, metrics, seconds };
        told.push(record.clone());
        self.push(record);
        Tallied::Epochs(told)
    }

    fn push(&mut self, record: EpochRecord) {
        for name in record.metrics.keys() {
            if !self.names.contains(name) {
                self.names.insert(name.clone());
            }
        }
        self.values += record.metrics.len();
        if self.keeps && self.values > VALUES_KEPT_MAX {
            self.keeps = false;
            terminal::say!(
                "no more checkpoints are kept of this job: it has reported more than {VALUES_KEPT_MAX} values"
            );
        }
        if !self.keeps {
            self.records.clear();
        }
        self.records.push(record);
    }

    fn follows(&self, record: &EpochRecord) -> bool {
        record.epoch == self.epochs() + 1
            && self.records.last().is_none_or(|last| last.number < record.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(number: Option<f64>, loss: f64) -> Report {
        Report::new(number, Metrics::from([("loss".to_owned(), Number(loss))])).unwrap()
    }

    fn tally(budget: Option<u32>) -> Tally {
        Tally::new(Some("loss".to_owned()), budget, true)
    }

    /// Takes reports with these numbers, one a second; the epochs and steps that come of it.
    fn take(tally: &mut Tally, numbers: &[Option<f64>]) -> Vec<(u32, Option<f64>)> {
        let mut told = Vec::new();
        for (second, number) in numbers.iter().enumerate() {
            let taken = tally.take(report(*number, 0.5), Duration::from_secs(second as u64 + 1));
            if let Tallied::Epochs(records) = taken {
                told.extend(
                    records
                        .iter()
                        .map(|record| (record.epoch, record.metrics.get(STEP).map(|Number(step)| *step))),
                );
            }
        }
        told
    }

    #[test]
    fn epochs_count_on_and_other_numbers_are_kept_as_steps() {
        let some = |numbers: &[f64]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
        for (numbers, expected) in [
            (some(&[1.0, 2.0, 3.0]), vec![(1, None), (2, None), (3, None)]),
            (vec![None, None], vec![(1, None), (2, None)]),
            (some(&[0.0, 1.0]), vec![(1, Some(0.0)), (2, Some(1.0))]),
            (some(&[100.0, 200.0]), vec![(1, Some(100.0)), (2, Some(200.0))]),
            (some(&[1.0, 1.0, 2.0, 1.0]), vec![(1, None), (2, None)]),
            (some(&[0.5, 1.0]), vec![(1, Some(0.5)), (2, Some(1.0))]),
        ] {
            assert_eq!(take(&mut tally(None), &numbers), expected, "{numbers:?}");
        }
    }

    #[test]
    fn an_epoch_took_the_time_since_the_report_before() {
        let mut tally = tally(None);
        let at = Duration::from_millis;
        tally.take(report(None, 1.0), at(1_500));
        tally.take(report(None, 1.0), at(2_000));
        let seconds: Vec<f64> = tally.records().iter().map(|record| record.seconds).collect();
        assert_eq!(seconds, [1.5, 0.5]);
    }

    #[test]
    fn an_objective_that_is_not_finite_diverges_and_other_metrics_may_be_anything() {
        let with =
            |name: &str, value| Report::new(None, Metrics::from([(name.to_owned(), Number(value))])).unwrap();
        let mut tally = tally(None);
        assert!(!tally.has_objective());
        assert!(matches!(tally.take(with("other", f64::NAN), Duration::ZERO), Tallied::Epochs(_)));
        assert!(!tally.has_objective());
        let diverged = tally.take(with("loss", f64::INFINITY), Duration::ZERO);
        assert_eq!(diverged, Tallied::Diverged("loss was inf in epoch 2".to_owned()));
    }

    #[test]
    fn nothing_is_told_beyond_the_budget() {
        let mut tally = tally(Some(2));
        take(&mut tally, &[None]);
        assert!(!tally.is_full());
        take(&mut tally, &[None]);
        assert!(tally.is_full());
        assert_eq!(tally.take(report(None, 0.5), Duration::ZERO), Tallied::Beyond);
    }

    /// Four epochs; the checkpoint was written with two of them reported, and the third came after it.
    fn resumed() -> Tally {
        let mut before = tally(None);
        take(&mut before, &[Some(10.0), Some(20.0), Some(30.0)]);
        let records = before.records().to_vec();
        let mut after = tally(None);
        after.resume(records[..2].to_vec(), records[2..].to_vec());
        after
    }

    #[test]
    fn what_a_program_reports_first_says_which_epochs_of_the_earlier_attempt_count() {
        // It wrote its checkpoint after the report of 20, or before that of 30.
        for (first, expected) in
            [(30.0, vec![(3, Some(30.0))]), (40.0, vec![(3, Some(30.0)), (4, Some(40.0))]), (20.0, vec![])]
        {
            assert_eq!(take(&mut resumed(), &[Some(first)]), expected, "{first}");
        }
    }

    proptest! {
        #[test]
        fn epochs_are_always_numbered_from_one_and_their_numbers_grow(
            numbers in proptest::collection::vec(proptest::option::of(-5.0..50.0f64), 0..40),
            budget in proptest::option::of(1..30u32),
        ) {
            let mut tally = tally(budget);
            let told = take(&mut tally, &numbers);
            let epochs: Vec<u32> = told.iter().map(|(epoch, _)| *epoch).collect();
            prop_assert_eq!(epochs, (1..=told.len() as u32).collect::<Vec<_>>());
            prop_assert!(tally.records().windows(2).all(|pair| pair[0].number < pair[1].number));
            prop_assert!(budget.is_none_or(|budget| told.len() as u32 <= budget));
        }
    }
}
