//! The jobs as a table of codes: equal values of a parameter have equal codes.

use std::{cmp::Ordering, collections::HashMap};

use terms::{ParameterMap, ParameterValue};

use super::{
    collect::{Cell, Collector},
    points::Point,
    statistics::{Interval, Mean, t_interval},
};

/// Different values of a parameter that are shown each by itself. Numbers with more are put into ranges.
pub(crate) const LEVELS_MAX: usize = 20;

/// So few different numbers are shown each by itself, even if each comes once: they would make two ranges, or one.
const ALWAYS_LEVELS: usize = 10;

/// The code of a job that does not have a parameter.
pub(crate) const ABSENT: u32 = u32::MAX;

/// The jobs that have a value, or diverged.
#[derive(Debug)]
pub(crate) struct Frame {
    /// How many trainings each point is planned to have.
    pub(crate) planned: u64,
    /// Between which numbers every value lies, where that is known.
    pub(crate) bounds: Option<Interval>,
    /// Their numbers.
    pub(crate) jobs: Vec<u64>,
    /// The objective of each; NaN where it diverged.
    pub(crate) values: Vec<f64>,
    /// The parameters that vary, without the seed.
    pub(crate) parameters: Vec<Parameter>,
    /// The codes of the seed, where it varies.
    pub(crate) seed: Option<Vec<u32>>,
    texts: Vec<String>,
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// The code of each job.
    pub(crate) codes: Vec<u32>,
    /// How many codes there are.
    pub(crate) count: usize,
    pub(crate) kind: Kind,
    /// What each code stands for, as it came in.
    distinct: Vec<Cell>,
}

/// What the codes stand for.
#[derive(Debug)]
pub(crate) enum Kind {
    /// These values: numbers rising, texts in the order in which they came.
    Levels(Vec<ParameterValue>),
    /// More numbers than are shown each by itself: that of each job, NaN where it has none.
    Numbers(Vec<f64>),
}

/// What is compared: points, by the mean of their trainings; or trainings, where a single parameter varies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// The first job of it, which has its codes.
    pub(crate) row: usize,
    pub(crate) value: f64,
}

impl Frame {
    /// The interval of a mean of values, cut where no value can be; none of a single one, or where nothing varies.
    pub(crate) fn interval(&self, mean: &Mean) -> Option<Interval> {
        Some(t_interval(mean)?.cut_at(mean.mean, self.bounds))
    }

    pub(crate) fn new(collected: Collector) -> Self {
        let Collector { planned, bounds, names, is_seed, jobs, values, cells, texts, .. } = collected;
        let width = names.len();
        let (mut coded, mut seed) = (Vec::new(), None);
        for (place, name) in names.into_iter().enumerate() {
            let column: Vec<Cell> = cells.iter().skip(place).step_by(width).copied().collect();
            let (codes, distinct) = codes(&column);
            match is_seed[place] {
                true => seed = Some(codes),
                false => coded.push((name, codes, distinct)),
            }
        }
        let groups = grouped(jobs.len(), coded.iter().map(|(_, codes, _)| codes.as_slice()));
        let points = groups.iter().max().map_or(0, |last| *last as usize + 1);
        // As `compares_trainings` has it.
        let varies = coded.iter().filter(|(_, codes, distinct)| varies(codes, distinct.len())).count();
        let units = if varies <= 1 { jobs.len() } else { points };
        let parameter = |(name, codes, distinct): (String, Vec<u32>, Vec<Cell>)| {
            let kind = kind(&codes, &distinct, units, &texts);
            Parameter { name, codes, count: distinct.len(), kind, distinct }
        };
        let parameters = coded.into_iter().map(parameter).collect();
        Self { planned, bounds, jobs, values, parameters, seed, texts }
    }

    /// The parameters of a job that vary, without the seed and without those that it does not have.
    pub(crate) fn parameters_of(&self, row: usize) -> ParameterMap {
        let of = |parameter: &Parameter| {
            let cell = parameter.distinct.get(parameter.codes[row] as usize)?;
            Some((parameter.name.clone(), value(cell, &self.texts)))
        };
        ParameterMap(self.parameters.iter().filter_map(of).collect())
    }

    /// The values that are numbers.
    pub(crate) fn finite(&self) -> Vec<f64> {
        self.values.iter().copied().filter(|value| value.is_finite()).collect()
    }

    /// The group of each job: those of one group are equal in these columns. Groups are numbered as they come.
    pub(crate) fn grouped<'a>(&self, columns: impl Iterator<Item = &'a [u32]>) -> Vec<u32> {
        grouped(self.jobs.len(), columns)
    }

    /// Whether trainings are what is compared: all points differ in a single parameter.
    pub(crate) fn compares_trainings(&self) -> bool {
        self.parameters.iter().filter(|parameter| parameter.varies()).count() <= 1
    }

    /// What is compared.
    pub(crate) fn units(&self, points: &[Point]) -> Vec<Unit> {
        if self.compares_trainings() {
            let rows = self.values.iter().enumerate().filter(|(_, value)| value.is_finite());
            return rows.map(|(row, value)| Unit { row, value: *value }).collect();
        }
        let counted = points.iter().filter(|point| point.is_counted());
        counted.map(|point| Unit { row: point.row, value: point.mean.mean }).collect()
    }
}

impl Parameter {
    /// Whether jobs differ in it: by its values, or as some do not have it.
    pub(crate) fn varies(&self) -> bool {
        varies(&self.codes, self.count)
    }
}

fn varies(codes: &[u32], count: usize) -> bool {
    count > 1 || (count == 1 && codes.contains(&ABSENT))
}

fn grouped<'a>(rows: usize, columns: impl Iterator<Item = &'a [u32]>) -> Vec<u32> {
    let mut groups = vec![0; rows];
    for column in columns {
        let mut known: HashMap<(u32, u32), u32> = HashMap::new();
        for (group, code) in groups.iter_mut().zip(column) {
            let next = known.len() as u32;
            *group = *known.entry((*group, *code)).or_insert(next);
        }
    }
    groups
}

/// The code of each row, and what each code stands for, in order.
fn codes(cells: &[Cell]) -> (Vec<u32>, Vec<Cell>) {
    let mut order: Vec<usize> = (0..cells.len()).filter(|row| cells[*row] != Cell::Absent).collect();
    order.sort_by(|one, other| compare(&cells[*one], &cells[*other]));
    let (mut codes, mut distinct) = (vec![ABSENT; cells.len()], Vec::<Cell>::new());
    for row in order {
        if distinct.last() != Some(&cells[row]) {
            distinct.push(cells[row]);
        }
        codes[row] = distinct.len() as u32 - 1;
    }
    (codes, distinct)
}

/// What the codes stand for. Numbers are shown each by itself where they are few and come again.
fn kind(codes: &[u32], distinct: &[Cell], units: usize, texts: &[String]) -> Kind {
    let (are_numbers, count) = (distinct.iter().all(|cell| number(cell).is_some()), distinct.len());
    let come_again = count <= ALWAYS_LEVELS || units >= 2 * count;
    if !are_numbers || (count <= LEVELS_MAX && come_again) {
        return Kind::Levels(distinct.iter().map(|cell| value(cell, texts)).collect());
    }
    let of_code = |code: &u32| distinct.get(*code as usize).and_then(number).unwrap_or(f64::NAN);
    Kind::Numbers(codes.iter().map(of_code).collect())
}

/// Numbers by their size, and the rest by kind and by when it came.
fn compare(one: &Cell, other: &Cell) -> Ordering {
    let rank = |cell: &Cell| match cell {
        Cell::Absent | Cell::Null => 0_u8,
        Cell::Boolean(_) => 1,
        Cell::Integer(_) | Cell::Float(_) => 2,
        Cell::Text(_) => 3,
    };
    match (one, other) {
        (Cell::Boolean(one), Cell::Boolean(other)) => one.cmp(other),
        (Cell::Integer(one), Cell::Integer(other)) => one.cmp(other),
        (Cell::Text(one), Cell::Text(other)) => one.cmp(other),
        _ => match (number(one), number(other)) {
            (Some(number), Some(another)) => {
                // Equal numbers of both kinds are told apart, so that each kind is together.
                number.total_cmp(&another).then_with(|| is_float(one).cmp(&is_float(other)))
            }
            _ => rank(one).cmp(&rank(other)),
        },
    }
}

fn is_float(cell: &Cell) -> bool {
    matches!(cell, Cell::Float(_))
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Integer(value) => Some(*value as f64),
        Cell::Float(value) => Some(*value),
        _ => None,
    }
}

fn value(cell: &Cell, texts: &[String]) -> ParameterValue {
    match cell {
        Cell::Absent | Cell::Null => ParameterValue::Null,
        Cell::Boolean(value) => ParameterValue::Boolean(*value),
        Cell::Integer(value) => ParameterValue::Integer(*value),
        Cell::Float(value) => ParameterValue::Float(*value),
        Cell::Text(text) => ParameterValue::Text(texts.get(*text as usize).cloned().unwrap_or_default()),
    }
}
