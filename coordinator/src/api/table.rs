//! The table of a sweep's jobs in numbered pages: which jobs match, and in which order. Computed from their columns, so that a browser needs
//! neither all jobs nor the time to sort them.

mod text;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Range,
};

use terms::{JobState, ParameterValue};

use super::{
    ApiError, JobColumns, ParameterColumn,
    columns::{exact, number},
};

/// Before the name of a parameter, as a column.
const PARAMETER: &str = "parameter:";
/// Before the name of a metric, as a column.
const METRIC: &str = "metric:";

/// The columns that every sweep has, as jobs are sorted by them and conditions name them. Besides them there are `parameter:NAME` and
/// `metric:NAME`.
pub const TABLE_COLUMNS: [&str; 8] =
    ["job", "state", "worker", "attempts", "epochs_done", "best_epoch", "objective", "train_seconds"];

/// Which jobs are asked for, and in which order.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The column that they are sorted by: one of [`TABLE_COLUMNS`], `parameter:NAME` or `metric:NAME`; the number where it is empty.
    pub sort: String,
    /// Whether large values come first. Jobs without a value are last either way, and equal ones in the order of their numbers.
    pub is_falling: bool,
    /// States of which one must be the job's; any where there are none.
    pub states: BTreeSet<JobState>,
    /// Words that must all be found: in the number, the state, the worker, or the name or a value of a parameter. `name=value` is a parameter with
    /// this value, as a number or as a text; of numbers there are also `name<value`, `<=`, `>` and `>=`.
    pub text: String,
    /// What else must hold.
    pub conditions: Vec<Condition>,
    /// The page, from 1; one beyond the last stands for the last.
    pub page: usize,
    /// Rows of a page, at least 1.
    pub rows: usize,
}

/// That the value of a column is in one of these ranges, or one of these values.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    pub column: String,
    /// Both ends belong to a range; without one it is open.
    pub ranges: Vec<(Option<f64>, Option<f64>)>,
    pub values: Vec<ParameterValue>,
}

/// A page of the table.
#[derive(Debug)]
pub struct TablePage {
    /// The numbers of its jobs, in order.
    pub jobs: Vec<u64>,
    /// Which page it is, from 1.
    pub page: usize,
    /// How many jobs match.
    pub matching: usize,
    /// How many jobs there are in each state, whether they match or not.
    pub states: BTreeMap<JobState, u64>,
}

/// The values of a column.
#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Whole(&'a [u32]),
    Real(&'a [f32]),
    Exact(&'a [f64]),
    States(&'a [JobState]),
    /// Each value once, and which one each job has.
    Few(&'a [ParameterValue], &'a [u32]),
}

impl JobColumns {
    /// A page of the jobs that match.
    ///
    /// # Errors
    /// There is no such column.
    pub fn page(&self, question: &Question) -> Result<TablePage, ApiError> {
        let mut rows = self.matching(question)?;
        let matching = rows.len();
        let keys = self.column(&question.sort)?.keys();
        let size = question.rows.max(1);
        let page = question.page.clamp(1, matching.div_ceil(size).max(1));
        let first = (page - 1) * size;
        let shown = sorted_between(&mut rows, first..matching.min(first + size), &keys, question.is_falling);
        let job = |row: &u32| self.jobs.get(*row as usize).map(|job| u64::from(*job));
        let jobs = shown.iter().filter_map(job).collect();
        let mut states = BTreeMap::new();
        self.states.iter().for_each(|state| *states.entry(*state).or_insert(0) += 1);
        Ok(TablePage { jobs, page, matching, states })
    }

    /// The rows that match, in the order of the jobs' numbers.
    fn matching(&self, question: &Question) -> Result<Vec<u32>, ApiError> {
        let mut tests: Vec<Box<dyn Fn(usize) -> bool + '_>> = Vec::new();
        if !question.states.is_empty() {
            tests.push(Box::new(|row| {
                self.states.get(row).is_some_and(|state| question.states.contains(state))
            }));
        }
        for condition in &question.conditions {
            tests.push(self.column(&condition.column)?.test(condition));
        }
        let words: BTreeSet<String> = question.text.split_whitespace().map(str::to_lowercase).collect();
        tests.extend(words.iter().map(|word| text::test(self, word)));
        let rows = 0..u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        Ok(rows.filter(|row| tests.iter().all(|test| test(*row as usize))).collect())
    }

    fn column(&self, name: &str) -> Result<Values<'_>, ApiError> {
        let of = |columns: &'_ [(String, Vec<f32>)], name: &str| -> Option<usize> {
            columns.iter().position(|(known, _)| known == name)
        };
        let found = match name {
            "" | "job" => Some(Values::Whole(&self.jobs)),
            "state" => Some(Values::States(&self.states)),
            "objective" => Some(Values::Real(&self.objectives)),
            "epochs_done" => Some(Values::Whole(&self.epochs_done)),
            "train_seconds" => Some(Values::Real(&self.train_seconds)),
            "best_epoch" => Some(Values::Real(&self.best_epochs)),
            "attempts" => Some(Values::Whole(&self.attempts)),
            "worker" => Some(Values::of(&self.workers)),
            name => match (name.strip_prefix(PARAMETER), name.strip_prefix(METRIC)) {
                (Some(name), _) => {
                    let found = self.parameters().iter().find(|(known, _)| known == name);
                    found.map(|(_, column)| Values::of(column))
                }
                // Of a metric that no epoch has yet, no job has a value.
                (_, Some(name)) => Some(
                    of(&self.metrics, name).map_or(Values::Real(&[]), |at| Values::Real(&self.metrics[at].1)),
                ),
                _ => None,
            },
        };
        found.ok_or_else(|| ApiError::Invalid(no_such_column(name)))
    }
}

fn no_such_column(name: &str) -> String {
    format!(
        "there is no column {name:?}; there are {}, {PARAMETER}NAME of the parameters that vary, and {METRIC}NAME",
        TABLE_COLUMNS.join(", ")
    )
}

/// The rows that stand at these places once all are sorted by their keys: those without one (NaN) come last, equal ones in the order of their
/// numbers. Only they are sorted, which takes as long as looking at all others a few times.
fn sorted_between<'r>(
    rows: &'r mut [u32],
    places: Range<usize>,
    keys: &[f64],
    is_falling: bool,
) -> &'r mut [u32] {
    let key = |row: u32| {
        let key = keys.get(row as usize).copied().filter(|key| !key.is_nan());
        key.map_or((true, 0.0), |key| (false, if is_falling { -key } else { key }))
    };
    let order = |one: &u32, other: &u32| {
        let ((is_last, key_of_one), (other_is_last, key_of_other)) = (key(*one), key(*other));
        let by_key = is_last.cmp(&other_is_last).then(key_of_one.total_cmp(&key_of_other));
        by_key.then(one.cmp(other))
    };
    if places.end < rows.len() {
        rows.select_nth_unstable_by(places.end, order);
    }
    let rows = &mut rows[..places.end];
    if places.start < rows.len() && places.start > 0 {
        rows.select_nth_unstable_by(places.start, order);
    }
    let rows = &mut rows[places.start..];
    rows.sort_unstable_by(order);
    rows
}

impl<'a> Values<'a> {
    fn of(column: &'a ParameterColumn) -> Self {
        match column {
            ParameterColumn::Few { values, indexes } => Self::Few(values, indexes),
            ParameterColumn::Numbers(numbers) => Self::Real(numbers),
            ParameterColumn::Exact(numbers) => Self::Exact(numbers),
        }
    }

    /// What rows are sorted by: numbers, and of names their places in the alphabet, after the numbers; NaN where a row has nothing.
    fn keys(self) -> Vec<f64> {
        match self {
            Self::Whole(numbers) => numbers.iter().map(|number| f64::from(*number)).collect(),
            Self::Real(numbers) => numbers.iter().map(|number| f64::from(*number)).collect(),
            Self::Exact(numbers) => numbers.to_vec(),
            Self::States(states) => {
                let names: BTreeSet<&str> = states.iter().map(|state| state.as_str()).collect();
                let place = |state: &JobState| names.range(..state.as_str()).count() as f64;
                states.iter().map(place).collect()
            }
            Self::Few(values, indexes) => {
                let keys = keys_of(values);
                indexes.iter().map(|index| keys.get(*index as usize).copied().unwrap_or(f64::NAN)).collect()
            }
        }
    }

    /// Whether a row has one of the condition's values.
    fn test(self, condition: &'a Condition) -> Box<dyn Fn(usize) -> bool + 'a> {
        let sought = Sought::of(condition);
        match self {
            Self::Whole(numbers) => {
                Box::new(move |row| numbers.get(row).is_some_and(|n| sought.has_number(f64::from(*n))))
            }
            Self::Real(numbers) => Box::new(move |row| {
                numbers.get(row).is_some_and(|n| !n.is_nan() && sought.has_number(f64::from(*n)))
            }),
            Self::Exact(numbers) => Box::new(move |row| {
                numbers.get(row).is_some_and(|number| !number.is_nan() && sought.has_number(*number))
            }),
            Self::States(states) => Box::new(move |row| {
                states.get(row).is_some_and(|state| sought.texts.contains(state.as_str()))
            }),
            Self::Few(values, indexes) => {
                let holds: Vec<bool> = values.iter().map(|value| sought.has(value)).collect();
                Box::new(move |row| {
                    indexes.get(row).is_some_and(|index| holds.get(*index as usize) == Some(&true))
                })
            }
        }
    }
}

/// What a condition asks for. It may name thousands of values, of which each is found in a few steps.
#[derive(Debug)]
struct Sought<'a> {
    ranges: &'a [(Option<f64>, Option<f64>)],
    /// In order.
    numbers: Vec<f64>,
    texts: HashSet<&'a str>,
    /// Booleans and null.
    others: Vec<&'a ParameterValue>,
}

impl<'a> Sought<'a> {
    fn of(condition: &'a Condition) -> Self {
        let Condition { ranges, values, .. } = condition;
        let mut sought = Self { ranges, numbers: Vec::new(), texts: HashSet::new(), others: Vec::new() };
        for value in values {
            match value {
                ParameterValue::Text(text) => drop(sought.texts.insert(text)),
                value => match exact(value) {
                    Some(number) => sought.numbers.push(one_zero(number)),
                    None if sought.others.contains(&value) => {}
                    None => sought.others.push(value),
                },
            }
        }
        sought.numbers.sort_by(f64::total_cmp);
        sought
    }

    fn has_number(&self, number: f64) -> bool {
        let is_in = |(from, to): &(Option<f64>, Option<f64>)| {
            from.is_none_or(|from| number >= from) && to.is_none_or(|to| number <= to)
        };
        let known = |known: &f64| known.total_cmp(&one_zero(number));
        self.ranges.iter().any(is_in) || self.numbers.binary_search_by(known).is_ok()
    }

    fn has(&self, value: &ParameterValue) -> bool {
        match value {
            ParameterValue::Text(text) => self.texts.contains(text.as_str()),
            value => {
                exact(value).map_or_else(|| self.others.contains(&value), |number| self.has_number(number))
            }
        }
    }
}

/// Zeros are equal, whatever their sign.
fn one_zero(number: f64) -> f64 {
    0.0 + number
}

/// Where each of these values stands among them.
fn keys_of(values: &[ParameterValue]) -> Vec<f64> {
    if values.iter().all(|value| number(value).is_some()) {
        return values.iter().map(|value| exact(value).unwrap_or(f64::NAN)).collect();
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    let key = |place: &usize| {
        let value = &values[*place];
        (exact(value).is_none(), exact(value).unwrap_or(0.0), value.to_string())
    };
    order.sort_by(|one, other| {
        let (one, other) = (key(one), key(other));
        one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)).then(one.2.cmp(&other.2))
    });
    let mut keys = vec![0.0; values.len()];
    order.into_iter().enumerate().for_each(|(place, value)| keys[value] = place as f64);
    keys
}

#[cfg(test)]
mod tests;
