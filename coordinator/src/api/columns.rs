//! All jobs of a sweep that had an attempt, column by column: what charts and tables of a hundred thousand jobs are drawn from. Rows come
//! from the store in pages, and parameters from the definition, which computes them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use engine::{JobCounts, query::Defined};
use store::{CountingEpochs, JobRow};
use terms::{JobState, MetricUse, ParameterValue, SweepId};

use super::{
    Api, ApiError,
    error::unreadable,
    jobs::{JobView, check_job, shown},
};

/// Most jobs of which there are columns: some megabytes. Of a larger sweep, those that come first by their numbers.
const ROWS_MAX: usize = 200_000;
/// Jobs read at a time: a few milliseconds, after which others have their turn.
const ROWS_READ: u32 = 2_000;
/// Different numbers of a parameter that are kept each once, with an index of one byte a job; with more, each job has its number.
const NUMBERS_MAX: usize = 256;
/// Different texts of a parameter that are kept.
const TEXTS_MAX: usize = 65_535;
/// Jobs whose learning curves are asked for at once, and jobs that are asked for by their numbers.
const CURVES_MAX: usize = 64;
const NUMBERED_MAX: usize = 200;
/// Points of a curve: more than a screen has.
const POINTS_MAX: usize = 2_000;

/// Jobs, column by column. All columns have one entry for each job.
#[derive(Debug, Default)]
pub struct JobColumns {
    /// Their numbers, rising.
    pub jobs: Vec<u32>,
    /// Their states as users see them.
    pub states: Vec<JobState>,
    /// Epochs that count.
    pub epochs_done: Vec<u32>,
    /// The objective, at the best epoch or the last, as the sweep ranks jobs; NaN where there is none.
    pub objectives: Vec<f32>,
    /// Seconds of the training loops of the epochs that count.
    pub train_seconds: Vec<f32>,
    /// The parameters that vary, in the order of the space.
    pub parameters: Vec<(String, ParameterColumn)>,
    /// Jobs that had an attempt and are not here.
    pub left_out: u64,
}

/// The values of a parameter.
#[derive(Debug)]
pub enum ParameterColumn {
    /// Few that are different: each once, and which one each job has; [`ParameterColumn::ABSENT`] where it has none.
    Few { values: Vec<ParameterValue>, indexes: Vec<u32> },
    /// Numbers, nearly all of them different; NaN where a job has none.
    Numbers(Vec<f32>),
}

/// A value by which equal ones are found.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(u64),
    Text(String),
}

/// A column that is being filled.
#[derive(Debug)]
struct Filling {
    known: HashMap<Key, u32>,
    column: ParameterColumn,
}

/// A learning curve: a metric of the epochs of a job that count.
#[derive(Debug)]
pub struct Curve {
    /// Whose.
    pub job: u64,
    /// Numbers of epochs, rising; of a long curve some, evenly, with the last.
    pub epochs: Vec<u32>,
    /// The metric's value at each; none where the epoch has none.
    pub values: Vec<Option<f64>>,
}

impl ParameterColumn {
    /// Stands for no value among indexes.
    pub const ABSENT: u32 = u32::MAX;
}

impl Key {
    fn of(value: &ParameterValue) -> Self {
        match value {
            ParameterValue::Null => Self::Null,
            ParameterValue::Boolean(value) => Self::Boolean(*value),
            ParameterValue::Integer(value) => Self::Integer(*value),
            ParameterValue::Float(value) => Self::Float(value.to_bits()),
            ParameterValue::Text(value) => Self::Text(value.clone()),
        }
    }
}

/// A value as charts place it; none where it is no number.
fn number(value: &ParameterValue) -> Option<f32> {
    match value {
        // Charts are drawn to a few digits; whoever wants all of them asks for the job.
        ParameterValue::Integer(value) => Some(*value as f32),
        ParameterValue::Float(value) => Some(*value as f32),
        _ => None,
    }
}

impl Filling {
    fn new() -> Self {
        let column = ParameterColumn::Few { values: Vec::new(), indexes: Vec::new() };
        Self { known: HashMap::new(), column }
    }

    fn push(&mut self, value: Option<&ParameterValue>) {
        if let ParameterColumn::Few { values, indexes } = &mut self.column {
            let Some(value) = value else {
                indexes.push(ParameterColumn::ABSENT);
                return;
            };
            let count = values.len();
            match self.known.entry(Key::of(value)) {
                Entry::Occupied(known) => indexes.push(*known.get()),
                Entry::Vacant(new) if count < NUMBERS_MAX || (count < TEXTS_MAX && !are_numbers(values)) => {
                    let index = u32::try_from(count).unwrap_or(ParameterColumn::ABSENT);
                    new.insert(index);
                    values.push(value.clone());
                    indexes.push(index);
                }
                Entry::Vacant(_) => {
                    self.spread();
                    self.push(Some(value));
                }
            }
        } else if let ParameterColumn::Numbers(numbers) = &mut self.column {
            numbers.push(value.and_then(number).unwrap_or(f32::NAN));
        }
    }

    /// Gives each job its number.
    fn spread(&mut self) {
        if let ParameterColumn::Few { values, indexes } = &self.column {
            let at = |index: &u32| values.get(*index as usize).and_then(number).unwrap_or(f32::NAN);
            self.column = ParameterColumn::Numbers(indexes.iter().map(at).collect());
            self.known = HashMap::new();
        }
    }
}

fn are_numbers(values: &[ParameterValue]) -> bool {
    values.iter().all(|value| number(value).is_some())
}

impl Api {
    /// All jobs of a sweep that had an attempt, column by column.
    ///
    /// # Errors
    /// There is no such sweep, or the store cannot be read.
    pub async fn columns(&self, sweep: SweepId) -> Result<JobColumns, ApiError> {
        let defined = self.defined(sweep).await?;
        let mut columns = JobColumns::default();
        let mut filling: Vec<_> = defined.definition.varying.iter().map(|_| Filling::new()).collect();
        let mut first = 1;
        loop {
            let rows = self.store.jobs(sweep, first, ROWS_READ).await.map_err(unreadable)?;
            let is_last = rows.len() < ROWS_READ as usize;
            first = rows.last().map_or(first, |row| row.job + 1);
            rows.iter().for_each(|row| columns.push(&defined, row, &mut filling));
            if is_last {
                break;
            }
            if columns.jobs.len() >= ROWS_MAX {
                columns.left_out =
                    begun(&self.view(sweep).await?.counts).saturating_sub(columns.jobs.len() as u64);
                break;
            }
            tokio::task::yield_now().await;
        }
        let names = defined.definition.varying.iter().map(ToString::to_string);
        columns.parameters = names.zip(filling.into_iter().map(|filling| filling.column)).collect();
        Ok(columns)
    }

    /// Some jobs by their numbers, in the order in which they are asked for.
    ///
    /// # Errors
    /// They are too many, or the sweep has no such job.
    pub async fn jobs_numbered(&self, sweep: SweepId, numbers: &[u64]) -> Result<Vec<JobView>, ApiError> {
        let defined = self.defined(sweep).await?;
        check_numbers(&defined, numbers, NUMBERED_MAX)?;
        let mut jobs = Vec::with_capacity(numbers.len());
        for number in numbers {
            jobs.extend(self.jobs_between(&defined, *number, *number).await?);
        }
        Ok(jobs)
    }

    /// The learning curves of some jobs.
    ///
    /// # Errors
    /// They are too many, or the sweep has no such job.
    pub async fn curves(
        &self,
        sweep: SweepId,
        numbers: &[u64],
        metric: &str,
    ) -> Result<Vec<Curve>, ApiError> {
        let defined = self.defined(sweep).await?;
        check_numbers(&defined, numbers, CURVES_MAX)?;
        let mut curves = Vec::with_capacity(numbers.len());
        for number in numbers {
            let row = self.store.jobs(sweep, *number, 1).await.map_err(unreadable)?.pop();
            let mut curve = Curve { job: *number, epochs: Vec::new(), values: Vec::new() };
            if let Some(row) = row.filter(|row| row.job == *number) {
                self.read_curve(sweep, &row, metric, &mut curve).await?;
            }
            curves.push(curve);
        }
        Ok(curves)
    }

    async fn read_curve(
        &self,
        sweep: SweepId,
        row: &JobRow,
        metric: &str,
        curve: &mut Curve,
    ) -> Result<(), ApiError> {
        let mut counting = CountingEpochs::new(Arc::clone(&self.store), sweep, row.job, row.job);
        let every = (row.epochs_done as usize).div_ceil(POINTS_MAX).max(1);
        while let Some(epoch) =
            counting.next(row.job, row.attempts, row.epochs_done).await.map_err(unreadable)?
        {
            let number = epoch.epoch.number;
            if (number as usize).is_multiple_of(every) || number == row.epochs_done || number == 1 {
                curve.epochs.push(number);
                curve.values.push(epoch.names.get(&epoch.epoch.row, metric));
            }
        }
        Ok(())
    }
}

/// Jobs that had an attempt, without those that wait for another or were cancelled.
fn begun(counts: &JobCounts) -> u64 {
    let JobCounts { running, paused, done, diverged, stopped, failed, .. } = *counts;
    running + paused + done + diverged + stopped + failed
}

fn check_numbers(defined: &Defined, numbers: &[u64], most: usize) -> Result<(), ApiError> {
    if numbers.is_empty() || numbers.len() > most {
        return Err(ApiError::Invalid(format!("`jobs` names 1 to {most} jobs, not {}", numbers.len())));
    }
    numbers.iter().try_for_each(|number| check_job(&defined.definition, *number))
}

impl JobColumns {
    fn push(&mut self, defined: &Defined, row: &JobRow, filling: &mut [Filling]) {
        let Ok(job) = u32::try_from(row.job) else {
            self.left_out += 1;
            return;
        };
        let objective = match defined.definition.metric.used {
            MetricUse::Best => row.best.as_ref().map(|best| best.value),
            MetricUse::Last => row.objective,
        };
        self.jobs.push(job);
        self.states.push(shown(row.state, defined.state));
        self.epochs_done.push(row.epochs_done);
        self.objectives.push(objective.map_or(f32::NAN, |value| value as f32));
        self.train_seconds.push(row.train_seconds as f32);
        let parameters = defined.definition.parameters(row.job);
        for (name, filling) in defined.definition.varying.iter().zip(filling) {
            filling.push(parameters.get(name.as_ref()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: &[Option<ParameterValue>]) -> ParameterColumn {
        let mut filling = Filling::new();
        values.iter().for_each(|value| filling.push(value.as_ref()));
        filling.column
    }

    #[test]
    fn few_values_are_kept_once_each() {
        let text = |text: &str| Some(ParameterValue::Text(text.to_owned()));
        let column = filled(&[text("a"), None, text("b"), text("a"), Some(ParameterValue::Integer(1))]);
        let ParameterColumn::Few { values, indexes } = column else { panic!("{column:?}") };
        assert_eq!(values.len(), 3);
        assert_eq!(indexes, [0, ParameterColumn::ABSENT, 1, 0, 2]);
    }

    #[test]
    fn many_numbers_stand_for_themselves_and_many_texts_do_not() {
        let count = NUMBERS_MAX as i64 + 10;
        let mut values: Vec<_> = (0..count).map(|n| Some(ParameterValue::Integer(n))).collect();
        values.insert(3, None);
        let column = filled(&values);
        let ParameterColumn::Numbers(numbers) = column else { panic!("{column:?}") };
        assert_eq!(numbers.len(), values.len());
        assert!(numbers[3].is_nan());
        assert_eq!((numbers[0], numbers[values.len() - 1]), (0.0, (count - 1) as f32));
        let texts: Vec<_> = (0..count).map(|n| Some(ParameterValue::Text(n.to_string()))).collect();
        assert!(matches!(filled(&texts), ParameterColumn::Few { values, .. } if values.len() == texts.len()));
    }
}
