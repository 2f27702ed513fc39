//! The bytes of columns: what comes before them, and the numbers of each, one column after the other.

mod coarse;

use axum::body::Bytes;
use serde::Serialize;
use serde_json::Value;
use terms::{JobState, VariantArray};
use utoipa::ToSchema;

use self::coarse::Scale;
use super::{Part, chosen};
use crate::api::{JobColumns, ParameterColumn};

/// Bytes to which the first column is aligned, so that a page can read all of them where they are.
const ALIGNMENT: usize = 8;
/// A column begins at a multiple of so many bytes, or of the size of its numbers where they are larger.
const COLUMN_ALIGNMENT: usize = 4;
/// Digits of a hash that name jobs as they are.
const VERSION_CHARACTERS: usize = 32;
/// Of so many jobs on, a page is sent no more bytes than it draws.
const COARSE_ROWS: usize = 20_000;

/// What comes before the columns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ColumnsHead)]
pub(in super::super) struct Head {
    rows: usize,
    left_out: u64,
    /// The same in all answers about the same jobs as they were then.
    version: String,
    /// `false` where the columns of the parameters are answered to `has=VERSION`.
    has_parameters: bool,
    /// The names of the parameters that vary.
    parameters: Vec<String>,
    columns: Vec<ColumnHead>,
}

/// What a column is.
#[derive(Debug, Serialize, ToSchema)]
struct ColumnHead {
    name: String,
    /// `u8`, `u16`, `u32`, `f32` or `f64`, the lowest byte first.
    kind: &'static str,
    /// Without what fills it up.
    bytes: usize,
    /// Of what its numbers are indexes; one beyond the last stands for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    /// Where its numbers follow from each other, and no bytes are sent: with `coarse=true` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    /// What its numbers stand for: with `coarse=true` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
    #[serde(skip)]
    data: Data,
}

/// Numbers of which each follows from the one before.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ColumnRun)]
struct Run {
    first: u32,
    /// How much larger each is: 0 or 1.
    step: u32,
}

/// The numbers of a column.
#[derive(Debug)]
enum Data {
    Whole(Vec<u32>),
    Real(Vec<f32>),
    Exact(Vec<f64>),
}

/// A name of these jobs as they are, by everything that is sent of them but their parameters, which follow from their numbers.
pub(super) fn version(columns: &JobColumns) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut hash = |bytes: Vec<u8>| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    };
    let whole = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let real = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    columns.parameter_names().for_each(|name| hash(name.into()));
    // Which of very many jobs are sent depends on what is better.
    hash(vec![columns.maximize.into()]);
    hash(columns.left_out.to_le_bytes().to_vec());
    hash(columns.states.iter().flat_map(|state| state.as_str().bytes()).collect());
    [&columns.jobs, &columns.epochs_done, &columns.pack_sizes]
        .into_iter()
        .for_each(|column| hash(whole(column)));
    [&columns.objectives, &columns.train_seconds].into_iter().for_each(|column| hash(real(column)));
    let mut name = hasher.finalize().to_hex().to_string();
    name.truncate(VERSION_CHARACTERS);
    name
}

/// The length of the head, the head, filled up with spaces, and the columns one after the other.
pub(super) fn encode(columns: &JobColumns, part: Part, version: &str) -> Bytes {
    let rows = chosen::rows(columns);
    let is_large = part != Part::Exact && rows.len() >= COARSE_ROWS;
    let mut all = if part == Part::Rest { Vec::new() } else { fixed(columns, &rows) };
    let has_parameters = part != Part::First || !is_large;
    if has_parameters {
        all.extend(columns.parameters().iter().map(|(name, column)| parameter(name, column, &rows)));
    }
    if is_large {
        all.iter_mut().for_each(ColumnHead::shorten);
    }
    let left_out = columns.left_out + (columns.jobs.len() - rows.len()) as u64;
    let head = Head {
        rows: rows.len(),
        left_out,
        version: version.to_owned(),
        has_parameters,
        parameters: columns.parameter_names().map(str::to_owned).collect(),
        columns: all,
    };
    let mut text = serde_json::to_vec(&head).unwrap_or_default();
    text.resize((text.len() + 4).next_multiple_of(ALIGNMENT) - 4, b' ');
    let data: usize = head.columns.iter().map(|column| column.bytes.next_multiple_of(ALIGNMENT)).sum();
    let mut bytes = Vec::with_capacity(4 + text.len() + data);
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text);
    head.columns.iter().for_each(|column| column.write(&mut bytes));
    bytes.into()
}

/// The columns that every sweep has.
fn fixed(columns: &JobColumns, rows: &[u32]) -> Vec<ColumnHead> {
    let states: Vec<Value> = JobState::VARIANTS.iter().map(|state| state.as_str().into()).collect();
    let state = |state: JobState| {
        let place = JobState::VARIANTS.iter().position(|known| *known == state);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(ParameterColumn::ABSENT)
    };
    let of_states = picked(&columns.states, rows).into_iter().map(state).collect();
    vec![
        ColumnHead::whole("job", picked(&columns.jobs, rows)),
        ColumnHead::indexes("state", states, of_states),
        ColumnHead::whole("epochs_done", picked(&columns.epochs_done, rows)),
        ColumnHead::real("objective", picked(&columns.objectives, rows)),
        ColumnHead::real("train_seconds", picked(&columns.train_seconds, rows)),
        ColumnHead::whole("pack_size", picked(&columns.pack_sizes, rows)),
    ]
}

fn parameter(name: &str, column: &ParameterColumn, rows: &[u32]) -> ColumnHead {
    let name = format!("parameter:{name}");
    match column {
        ParameterColumn::Numbers(numbers) => ColumnHead::real(name, picked(numbers, rows)),
        ParameterColumn::Exact(numbers) => ColumnHead::exact(name, picked(numbers, rows)),
        ParameterColumn::Few { values, indexes } => {
            let values = values.iter().map(|value| serde_json::to_value(value).unwrap_or_default());
            ColumnHead::indexes(name, values.collect(), picked(indexes, rows))
        }
    }
}

/// What these rows have.
fn picked<T: Copy>(all: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().filter_map(|row| all.get(*row as usize).copied()).collect()
}

impl ColumnHead {
    fn new(name: impl Into<String>, kind: &'static str, bytes: usize, data: Data) -> Self {
        Self { name: name.into(), kind, bytes, values: None, run: None, scale: None, data }
    }

    fn real(name: impl Into<String>, numbers: Vec<f32>) -> Self {
        Self::new(name, "f32", numbers.len() * 4, Data::Real(numbers))
    }

    /// Numbers with all their digits: whole ones in four bytes where each has them.
    fn exact(name: impl Into<String>, numbers: Vec<f64>) -> Self {
        let fits = |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
        if numbers.iter().all(fits) {
            return Self::whole(name, numbers.into_iter().map(|number| number as u32).collect());
        }
        Self::new(name, "f64", numbers.len() * 8, Data::Exact(numbers))
    }

    /// Whole numbers in as few bytes as hold the largest.
    fn whole(name: impl Into<String>, numbers: Vec<u32>) -> Self {
        let (kind, size) = match numbers.iter().max().copied().unwrap_or(0) {
            0..=0xff => ("u8", 1),
            0x100..=0xffff => ("u16", 2),
            _ => ("u32", 4),
        };
        Self::new(name, kind, numbers.len() * size, Data::Whole(numbers))
    }

    /// Indexes of `values`, of which the one beyond the last stands for none.
    fn indexes(name: impl Into<String>, values: Vec<Value>, mut indexes: Vec<u32>) -> Self {
        let none = u32::try_from(values.len()).unwrap_or(u32::MAX);
        indexes.iter_mut().for_each(|index| *index = none.min(*index));
        Self { values: Some(values), ..Self::whole(name, indexes) }
    }

    /// Leaves out what a drawing does not need: numbers that follow from each other, and digits of those by which no job is ranked.
    fn shorten(&mut self) {
        match &self.data {
            Data::Whole(numbers) => {
                if let Some(run) = Run::of(numbers) {
                    (self.run, self.bytes, self.data) = (Some(run), 0, Data::Whole(Vec::new()));
                }
            }
            Data::Real(numbers) if self.name != "objective" => {
                if let Some(whole) = coarse::whole(numbers) {
                    *self = Self::whole(std::mem::take(&mut self.name), whole);
                } else if let Some((scale, steps)) = coarse::steps(numbers) {
                    let bytes = 2 * steps.len();
                    (self.kind, self.bytes) = ("u16", bytes);
                    (self.scale, self.data) = (Some(scale), Data::Whole(steps));
                }
            }
            Data::Real(_) | Data::Exact(_) => {}
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match (&self.data, self.kind) {
            (Data::Real(numbers), _) => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
            (Data::Exact(numbers), _) => {
                bytes.resize(bytes.len().next_multiple_of(size_of::<f64>()), 0);
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }
            // None is larger than its kind holds.
            (Data::Whole(numbers), "u8") => bytes.extend(numbers.iter().map(|number| *number as u8)),
            (Data::Whole(numbers), "u16") => {
                bytes.extend(numbers.iter().flat_map(|number| (*number as u16).to_le_bytes()));
            }
            (Data::Whole(numbers), _) => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
        }
        bytes.resize(bytes.len().next_multiple_of(COLUMN_ALIGNMENT), 0);
    }
}

impl Run {
    /// The run that these numbers are, where they are one.
    fn of(numbers: &[u32]) -> Option<Self> {
        let (first, second) = (*numbers.first()?, *numbers.get(1)?);
        let step = second.checked_sub(first).filter(|step| *step <= 1)?;
        let follows = |two: &[u32]| two[0].checked_add(step) == Some(two[1]);
        numbers.windows(2).all(follows).then_some(Self { first, step })
    }
}

#[cfg(test)]
mod tests;
