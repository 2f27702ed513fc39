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
//!
//! An attempt that pauses has the epochs that it was granted, whatever its program goes on to report. Later ones are held in reserve
//! ([`Tallied::Held`]): a checkpoint may contain them, and whoever goes on from that one has them. Otherwise they never count. One whose
//! objective is not finite is the last that is held: whoever goes on from a checkpoint after it diverges there, as it would have without
//! the pause.

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
    /// The attempt has the epochs that it was granted, these of the reserve included, which are to be told. What was reported counts
    /// only for an attempt that goes on from a later checkpoint; it is absent where none is kept.
    Held(Vec<EpochRecord>, Option<EpochRecord>),
    /// These epochs of the reserve are to be told; in the one that was reported, the objective is not finite.
    Diverged(Vec<EpochRecord>, String),
    /// The job has diverged before: an epoch is missing, and a later one would have its number.
    AfterDivergence,
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
    /// After how many epochs the attempt pauses, if before its job's end.
    until: Option<u32>,
    /// What was told, in order; of a job that keeps no checkpoints, the last one alone.
    records: Vec<EpochRecord>,
    /// Whether all of it is kept.
    keeps: bool,
    /// Why it is no longer, until that is said.
    why_not: Option<String>,
    /// Values in the records.
    values: usize,
    /// Records of an earlier attempt that came after its checkpoint, and of this one after it was to pause.
    reserve: Vec<EpochRecord>,
    resumption: Resumption,
    /// Names of all metrics.
    names: BTreeSet<String>,
    /// When the last report came, since the program's start.
    last: Duration,
    has_diverged: bool,
}

impl Tally {
    /// Of a job with a budget of epochs, where one is known. `keeps`: for checkpoints.
    pub(crate) fn new(objective: Option<String>, budget: Option<u32>, keeps: bool) -> Self {
        Self {
            objective,
            budget,
            until: None,
            records: Vec::new(),
            keeps,
            why_not: None,
            values: 0,
            reserve: Vec::new(),
            resumption: Resumption::Over,
            names: BTreeSet::new(),
            last: Duration::ZERO,
            has_diverged: false,
        }
    }

    /// Has the attempt pause after that many epochs.
    pub(crate) fn pause_after(&mut self, until: Option<u32>) {
        self.until = until;
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

    /// Whether the attempt has the epochs that it was granted, and its job has not all of its own.
    pub(crate) fn is_far_enough(&self) -> bool {
        self.until.is_some_and(|until| self.epochs() >= until) && !self.is_full()
    }

    /// Whether epochs are known that the attempt was not granted.
    pub(crate) fn has_more(&self) -> bool {
        !self.reserve.is_empty()
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
        if self.has_diverged {
            return Tallied::AfterDivergence;
        }
        let tallied = self.take_next(report, at);
        self.has_diverged = matches!(tallied, Tallied::Diverged(..));
        tallied
    }

    fn take_next(&mut self, report: Report, at: Duration) -> Tallied {
        let has_reported = self.resumption == Resumption::Over;
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
        // What this program reported itself and is held counts first, too; only a first report repeats what an earlier attempt had.
        if has_reported && self.reserve.last().is_some_and(|last| number <= last.number) {
            return Tallied::Repeated;
        }
        let (mut told, diverged) = self.tell_reserve(number);
        if let Some(reason) = diverged {
            return Tallied::Diverged(told, reason);
        }
        if self.is_full() {
            return Tallied::Beyond(told);
        }
        if self.is_far_enough() {
            return self.hold(report.metrics, number, at, told);
        }
        let epoch = self.epochs() + 1;
        if let Some(reason) = self.divergence(&report.metrics, epoch) {
            return Tallied::Diverged(told, reason);
        }
        let record = self.record(epoch, number, report.metrics, at);
        told.push(record.clone());
        self.push(record);
        Tallied::Epochs(told)
    }

    /// Takes an epoch beyond those that the attempt was granted. Where nothing is kept for another attempt, there is no use for it.
    fn hold(&mut self, metrics: Metrics, number: f64, at: Duration, told: Vec<EpochRecord>) -> Tallied {
        let last = self.reserve.last().or(self.records.last());
        let has_diverged = last.is_some_and(|last| self.divergence(&last.metrics, last.epoch).is_some());
        let record = self.record(last.map_or(0, |last| last.epoch) + 1, number, metrics, at);
        if !self.keeps || has_diverged || record.epoch > EPOCHS_MAX {
            return Tallied::Held(told, None);
        }
        self.count_values(&record);
        self.reserve.push(record.clone());
        Tallied::Held(told, Some(record))
    }

    /// Why the job diverges with these metrics at this epoch, if it does.
    fn divergence(&self, metrics: &Metrics, epoch: u32) -> Option<String> {
        let objective = self.objective.as_ref()?;
        let Number(value) = metrics.get(objective).filter(|value| !value.0.is_finite())?;
        Some(format!("{objective} was {value} in epoch {epoch}"))
    }

    fn record(&mut self, epoch: u32, number: f64, mut metrics: Metrics, at: Duration) -> EpochRecord {
        if number != f64::from(epoch) && metrics.len() < METRICS_MAX {
            metrics.entry(STEP.to_owned()).or_insert(Number(number));
        }
        let seconds = at.saturating_sub(self.last).as_secs_f64();
        // Two channels are not read in the order of their times.
        self.last = self.last.max(at);
        EpochRecord { epoch, number, metrics, seconds }
    }

    /// Takes note that the program has ended well. One that goes on from a checkpoint and has nothing more to report had trained all
    /// its epochs by then.
    pub(crate) fn end(&mut self) -> Tallied {
        match std::mem::replace(&mut self.resumption, Resumption::Over) {
            Resumption::Untested if !self.is_full() => Tallied::Ahead,
            Resumption::Untested | Resumption::Complete | Resumption::Over => {
                match self.tell_reserve(f64::INFINITY) {
                    (told, None) => Tallied::Epochs(told),
                    (told, Some(reason)) => Tallied::Diverged(told, reason),
                }
            }
        }
    }

    /// Takes over the records in reserve whose numbers are below this one, as far as the attempt was granted, and drops those whose
    /// epochs the program reports again. Also returns why the job diverges in one of them, if it does.
    fn tell_reserve(&mut self, number: f64) -> (Vec<EpochRecord>, Option<String>) {
        let (mut told, mut diverged) = (Vec::new(), None);
        for record in std::mem::take(&mut self.reserve) {
            if record.number >= number || self.is_full() || diverged.is_some() {
                continue;
            }
            if self.is_far_enough() {
                self.reserve.push(record);
            } else if self.follows(&record) {
                diverged = self.divergence(&record.metrics, record.epoch);
                if diverged.is_none() {
                    told.push(record.clone());
                    self.push(record);
                }
            }
        }
        (told, diverged)
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
        self.count_values(&record);
        if !self.keeps {
            self.records.clear();
        }
        self.records.push(record);
    }

    fn count_values(&mut self, record: &EpochRecord) {
        self.values += record.metrics.len();
        if self.values > VALUES_KEPT_MAX {
            self.stop_keeping(format!("it has reported more than {VALUES_KEPT_MAX} values"));
        }
    }

    fn follows(&self, record: &EpochRecord) -> bool {
        record.epoch == self.epochs() + 1
            && self.records.last().is_none_or(|last| last.number < record.number)
    }
}

#[cfg(test)]
mod tests;
