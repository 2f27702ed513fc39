//! Makes epochs of a program's reports. Epochs count 1, 2, 3, as every sweep's do. The program's own numbers may be
//! anything that grows: epochs from 0, every hundredth step, fractions of an epoch. Where they are not the epochs' own, they are
//! kept as the metric `step`. A report whose number is not larger than the one before is left out: the first one counts.
//!
//! A later attempt repeats the epochs of its checkpoint. Programs write a checkpoint before or after they report its epoch, and only
//! the program knows which state it read, so its first report decides:
//!
//! - The epoch that an earlier attempt reported right after the checkpoint is in reserve. It counts if the first report is of a later
//!   epoch.
//! - If the program died between its checkpoint and the report, the checkpoint is ahead of the records: the first report then leaves
//!   a gap ([`Tallied::Ahead`]), and an earlier checkpoint has to be used.
//!
//! Both need numbers that the program gives itself, so no checkpoints are kept of a program whose reports have none.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use terms::EPOCHS_MAX;

use super::{METRICS_MAX, Metrics, Number, Report};

/// The metric that keeps a program's own number.
pub(crate) const STEP: &str = "step";

/// A first report leaves a gap if it is further from the last record than this many of the smallest steps so far. One step is the
/// next epoch, two are a gap; the rest is room for fractions that do not add up exactly.
const GAP_STEPS: f64 = 1.5;

/// Why no checkpoints are kept of a program whose reports are only counted.
const NO_NUMBERS: &str = "its reports have no epoch numbers; give them with sweep.report(epoch, ...), or as a group or column epoch";

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
    /// The job has its budget, these epochs of the reserve included, which are to be told.
    Beyond(Vec<EpochRecord>),
    /// These epochs of the reserve are to be told; in the one that was reported, the objective is not finite.
    Diverged(Vec<EpochRecord>, String),
    /// The program went on from a state that the records do not reach.
    Ahead,
}

/// How a program that goes on from a checkpoint is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumption {
    /// It started from the beginning, or has reported since.
    Over,
    /// No record is missing.
    Complete,
    /// The epoch of its checkpoint may never have been reported.
    Untested,
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
    /// Why it is no longer, until that is said.
    why_not: Option<String>,
    /// Values in the records.
    values: usize,
    /// Records of an earlier attempt that came after its checkpoint.
    reserve: Vec<EpochRecord>,
    resumption: Resumption,
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
            why_not: None,
            values: 0,
            reserve: Vec::new(),
            resumption: Resumption::Over,
            names: BTreeSet::new(),
            last: Duration::ZERO,
        }
    }

    /// Goes on from a checkpoint: with the records of its time, and those that came later. `is_settled`: what the program had to
    /// report of it was heard.
    pub(crate) fn resume(&mut self, records: Vec<EpochRecord>, reserve: Vec<EpochRecord>, is_settled: bool) {
        self.resumption = if is_settled { Resumption::Complete } else { Resumption::Untested };
        self.names.extend(records.iter().flat_map(|record| record.metrics.keys().cloned()));
        self.values = records.iter().map(|record| record.metrics.len()).sum();
        (self.records, self.reserve) = (records, reserve);
    }

    /// What was told so far.
    #[cfg(test)]
    pub(crate) fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// What was told so far and what is in reserve; none where not all of it is kept.
    pub(crate) fn kept(&self) -> Option<(&[EpochRecord], &[EpochRecord])> {
        self.keeps.then_some((&self.records, &self.reserve))
    }

    /// Why no more checkpoints are kept; said once.
    pub(crate) fn why_not(&mut self) -> Option<String> {
        self.why_not.take()
    }

    /// Whether records may be missing: the program goes on from a checkpoint whose epoch may never have been reported, and has not
    /// reported since.
    pub(crate) fn is_untested(&self) -> bool {
        self.resumption == Resumption::Untested
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

    /// The objective's name; empty where there is none.
    pub(crate) fn objective(&self) -> &str {
        self.objective.as_deref().unwrap_or_default()
    }

    /// Whether the objective has ever come, where there is one.
    pub(crate) fn has_objective(&self) -> bool {
        self.objective.as_ref().is_none_or(|objective| self.names.contains(objective))
    }

    /// The names of what has come.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Takes a report that came this long after the program's start.
    pub(crate) fn take(&mut self, report: Report, at: Duration) -> Tallied {
        let number =
            report.number.unwrap_or_else(|| self.records.last().map_or(0.0, |last| last.number) + 1.0);
        if self.leaves_gap(number, report.is_counted) {
            return Tallied::Ahead;
        }
        self.resumption = Resumption::Over;
        if report.is_counted {
            self.stop_keeping(NO_NUMBERS.to_owned());
        }
        if self.records.last().is_some_and(|last| number <= last.number) {
            return Tallied::Repeated;
        }
        let mut told = self.tell_reserve(number);
        if self.is_full() {
            return Tallied::Beyond(told);
        }
        let epoch = self.epochs() + 1;
        if let Some(objective) = &self.objective
            && let Some(Number(value)) = report.metrics.get(objective)
            && !value.is_finite()
        {
            return Tallied::Diverged(told, format!("{objective} was {value} in epoch {epoch}"));
        }
        let mut metrics = report.metrics;
        if number != f64::from(epoch) && metrics.len() < METRICS_MAX {
            metrics.entry(STEP.to_owned()).or_insert(Number(number));
        }
        let seconds = at.saturating_sub(self.last).as_secs_f64();
        // Two channels are not read in the order of their times.
        self.last = self.last.max(at);
        let record = EpochRecord { epoch, number, metrics, seconds };
        told.push(record.clone());
        self.push(record);
        Tallied::Epochs(told)
    }

    /// Takes note that the program has ended well. One that goes on from a checkpoint and has nothing more to report had trained all
    /// its epochs by then.
    pub(crate) fn end(&mut self) -> Tallied {
        match std::mem::replace(&mut self.resumption, Resumption::Over) {
            Resumption::Untested if !self.is_full() => Tallied::Ahead,
            Resumption::Untested | Resumption::Complete | Resumption::Over => {
                Tallied::Epochs(self.tell_reserve(f64::INFINITY))
            }
        }
    }

    /// Takes over the records in reserve whose numbers are below this one, and drops the others.
    fn tell_reserve(&mut self, number: f64) -> Vec<EpochRecord> {
        let mut told = Vec::new();
        for record in std::mem::take(&mut self.reserve) {
            if record.number < number && !self.is_full() && self.follows(&record) {
                told.push(record.clone());
                self.push(record);
            }
        }
        told
    }

    /// Whether the first report of a program that goes on shows that a record is missing. Where numbers are counted here, it cannot
    /// be known.
    fn leaves_gap(&self, number: f64, is_counted: bool) -> bool {
        let numbers = || self.records.iter().chain(&self.reserve).map(|record| record.number);
        let Some(last) = numbers().next_back() else { return false };
        match self.resumption {
            Resumption::Over => false,
            Resumption::Complete | Resumption::Untested if is_counted => true,
            Resumption::Complete => false,
            Resumption::Untested => {
                let steps = numbers().zip(numbers().skip(1)).map(|(one, next)| next - one);
                let step = steps.reduce(f64::min).unwrap_or(1.0);
                number - last > GAP_STEPS * step
            }
        }
    }

    /// Keeps no more checkpoints.
    fn stop_keeping(&mut self, why: String) {
        if std::mem::replace(&mut self.keeps, false) {
            self.why_not = Some(why);
        }
    }

    fn push(&mut self, record: EpochRecord) {
        for name in record.metrics.keys() {
            if !self.names.contains(name) {
                self.names.insert(name.clone());
            }
        }
        self.values += record.metrics.len();
        if self.values > VALUES_KEPT_MAX {
            self.stop_keeping(format!("it has reported more than {VALUES_KEPT_MAX} values"));
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
        tally.take(report(Some(1.0), 1.0), at(1_500));
        tally.take(report(Some(2.0), 1.0), at(2_000));
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
        assert_eq!(diverged, Tallied::Diverged(Vec::new(), "loss was inf in epoch 2".to_owned()));
    }

    #[test]
    fn nothing_is_reported_beyond_the_budget() {
        let mut tally = tally(Some(2));
        take(&mut tally, &[None]);
        assert!(!tally.is_full());
        take(&mut tally, &[None]);
        assert!(tally.is_full());
        assert_eq!(tally.take(report(None, 0.5), Duration::ZERO), Tallied::Beyond(Vec::new()));
    }

    #[test]
    fn a_program_without_a_budget_has_as_many_epochs_as_a_coordinator_accepts() {
        let mut tally = tally(None);
        take(&mut tally, &vec![None; EPOCHS_MAX as usize]);
        assert_eq!(tally.epochs(), EPOCHS_MAX);
        assert_eq!(tally.take(report(None, 0.5), Duration::ZERO), Tallied::Beyond(Vec::new()));
    }

    /// Three epochs: the checkpoint was written when two of them had been reported, and the third was reported after it.
    fn resumed() -> Tally {
        let mut before = tally(None);
        take(&mut before, &[Some(10.0), Some(20.0), Some(30.0)]);
        let records = before.records().to_vec();
        let mut after = tally(None);
        after.resume(records[..2].to_vec(), records[2..].to_vec(), true);
        after
    }

    /// Two epochs, and a checkpoint that no report has followed.
    fn untested(numbers: &[f64]) -> Tally {
        let mut before = tally(None);
        take(&mut before, &numbers.iter().copied().map(Some).collect::<Vec<_>>());
        let mut after = tally(None);
        after.resume(before.records().to_vec(), Vec::new(), false);
        after
    }

    #[test]
    fn a_first_report_that_leaves_a_gap_is_not_taken() {
        for (before, first, is_ahead) in [
            (&[1.0, 2.0][..], Some(3.0), false),
            (&[1.0, 2.0], Some(4.0), true),
            (&[1.0, 2.0], Some(2.0), false),
            (&[1.0, 2.0], None, true),
            (&[0.0], Some(1.0), false),
            (&[0.0], Some(2.0), true),
            (&[100.0, 200.0], Some(300.0), false),
            (&[100.0, 200.0], Some(400.0), true),
            (&[0.1, 0.2, 0.30000000000000004], Some(0.4), false),
            (&[], Some(7.0), false),
        ] {
            let taken = untested(before).take(report(first, 0.5), Duration::ZERO);
            assert_eq!(taken == Tallied::Ahead, is_ahead, "{before:?} {first:?}: {taken:?}");
        }
        let mut going = untested(&[1.0, 2.0]);
        assert_eq!(take(&mut going, &[Some(3.0), Some(9.0)]).len(), 2, "later reports may leave gaps");
    }

    #[test]
    fn a_program_that_ends_without_a_report_had_reported_all_or_is_ahead() {
        assert_eq!(untested(&[1.0, 2.0]).end(), Tallied::Ahead);
        let mut complete = resumed();
        assert!(matches!(complete.end(), Tallied::Epochs(told) if told.len() == 1 && told[0].epoch == 3));
        assert_eq!(tally(None).end(), Tallied::Epochs(Vec::new()));
    }

    #[test]
    fn no_checkpoints_are_kept_of_reports_that_have_no_numbers() {
        let mut tally = tally(None);
        assert!(tally.kept().is_some());
        take(&mut tally, &[None]);
        assert!(tally.kept().is_none());
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

    #[test]
    fn epochs_of_the_earlier_attempt_count_also_where_the_first_report_does_not() {
        let diverged = resumed().take(report(Some(40.0), f64::NAN), Duration::ZERO);
        assert!(matches!(diverged, Tallied::Diverged(told, _) if told.len() == 1 && told[0].epoch == 3));
        let mut full = resumed();
        full.budget = Some(3);
        let beyond = full.take(report(Some(40.0), 0.5), Duration::ZERO);
        assert!(matches!(beyond, Tallied::Beyond(told) if told.len() == 1 && told[0].epoch == 3));
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
