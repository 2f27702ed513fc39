//! Points of a sweep in the numbers of a searcher, and back. A list is a choice, whatever its values are: 32, 64 and 128 may be
//! steps of anything. Weights of a list and the shape of a distribution count only for points that are drawn without learning.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use domain::space::{Axis, Domain, Name, PartialPoint};
use search::tpe::{self, Condition, Dimension, Excluded, Point};
use terms::{ParameterMap, ParameterValue};

/// How many standard deviations from its mean a normal distribution is searched: one draw in 16,000 lies beyond.
const DEVIATIONS: f64 = 4.0;
/// The largest number of a range, so that its width is a number.
const FINITE: f64 = f64::MAX / 4.0;
/// Digits of a number that is proposed: enough to tell any two trainings apart, and few enough to read.
const DIGITS: usize = 8;

/// The axes of a space as dimensions, in the same order.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    axes: Arc<[Axis]>,
}

impl Numbers {
    pub(super) fn new(axes: &Arc<[Axis]>) -> Self {
        Self { axes: Arc::clone(axes) }
    }

    pub(super) fn dimensions(&self) -> Vec<Dimension> {
        let condition = |(name, values): (&Name, &[ParameterValue])| {
            // A definition has no condition on an unknown parameter.
            let dimension = self.index(name).unwrap_or(usize::MAX);
            let number = |value| self.axes.get(dimension).and_then(|axis| number(&axis.domain, value));
            Condition { dimension, values: values.iter().filter_map(number).collect() }
        };
        let dimension = |axis: &Axis| Dimension {
            domain: searched(&axis.domain),
            when: axis.when.iter().map(|needed| condition((&needed.name, &needed.values))).collect(),
        };
        self.axes.iter().map(dimension).collect()
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.axes.iter().position(|axis| *axis.name == *name)
    }

    pub(super) fn point(&self, parameters: &ParameterMap) -> Point {
        let value = |axis: &Axis| number(&axis.domain, parameters.get(&axis.name)?);
        self.axes.iter().map(value).collect()
    }

    pub(super) fn parameters(&self, point: &[Option<f64>]) -> ParameterMap {
        let named = |(axis, number): (&Axis, &Option<f64>)| {
            Some((axis.name.to_string(), value(&axis.domain, (*number)?)))
        };
        ParameterMap(self.axes.iter().zip(point).filter_map(named).collect())
    }

    /// Which points some entries exclude: those that have all values of one.
    pub(super) fn excluded(&self, entries: &[PartialPoint]) -> Option<Excluded> {
        let numbers = |entry: &PartialPoint| -> Option<Vec<(usize, f64)>> {
            let number = |(name, value): &(Name, ParameterValue)| {
                let index = self.index(name)?;
                Some((index, number(&self.axes[index].domain, value)?))
            };
            // An entry with a value that a parameter never has excludes nothing.
            entry.iter().map(number).collect()
        };
        // By the parameters that they name, as a point is looked up once for each of these, however many entries there are.
        let mut named: HashMap<Vec<usize>, HashSet<Vec<Option<u64>>>> = HashMap::new();
        for mut entry in entries.iter().filter_map(numbers) {
            entry.sort_unstable_by_key(|(index, _)| *index);
            let (indexes, numbers): (Vec<usize>, Vec<f64>) = entry.into_iter().unzip();
            named
                .entry(indexes)
                .or_default()
                .insert(numbers.into_iter().map(|number| Some(bits(number))).collect());
        }
        if named.is_empty() {
            return None;
        }
        let named: Vec<_> = named.into_iter().collect();
        Some(Arc::new(move |point: &[Option<f64>]| {
            named.iter().any(|(indexes, excluded)| {
                let own: Vec<_> = indexes.iter().map(|index| point[*index].map(bits)).collect();
                excluded.contains(&own)
            })
        }))
    }
}

/// What a number is known by. Adding zero makes one of both zeros.
fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

/// The numbers among which a parameter is searched.
fn searched(domain: &Domain) -> tpe::Domain {
    match domain {
        Domain::Values(_) | Domain::Weighted(..) => {
            tpe::Domain::Categorical { choices: u32::try_from(domain.listed().len()).unwrap_or(u32::MAX) }
        }
        Domain::Float { low, high, is_log, step } => {
            tpe::Domain::Float { low: *low, high: *high, log: *is_log, step: *step }
        }
        Domain::Integer { low, high, is_log, step } => {
            tpe::Domain::Integer { low: *low, high: *high, step: *step, log: *is_log }
        }
        Domain::Normal { mean, deviation, is_log, step } => {
            let at = |deviations: f64| {
                let value = mean + deviations * deviation;
                if *is_log {
                    libm::exp(value).clamp(f64::MIN_POSITIVE, FINITE)
                } else {
                    value.clamp(-FINITE, FINITE)
                }
            };
            stepped((at(-DEVIATIONS), at(DEVIATIONS)), *is_log, step.as_ref())
        }
        Domain::Beta { step, .. } => stepped((0.0, 1.0), false, step.as_ref()),
    }
}

/// The multiples of a step in a range. On a logarithmic scale none is zero.
fn stepped((low, high): (f64, f64), log: bool, step: Option<&ParameterValue>) -> tpe::Domain {
    // A very narrow distribution.
    let (low, high) = if low < high { (low, high) } else { (low.next_down(), high.next_up()) };
    let Some(step) = step.and_then(as_number) else {
        return tpe::Domain::Float { low, high, log, step: None };
    };
    let first = (low / step).ceil() * step;
    let first = if log { first.max(step) } else { first };
    tpe::Domain::Float { low: first, high: high.max(first), log, step: Some(step) }
}

fn as_number(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Integer(number) => Some(*number as f64),
        ParameterValue::Float(number) => Some(*number),
        _ => None,
    }
}

fn number(domain: &Domain, value: &ParameterValue) -> Option<f64> {
    match domain {
        Domain::Values(_) | Domain::Weighted(..) => domain.position(value).map(|position| position as f64),
        _ => as_number(value),
    }
}

fn value(domain: &Domain, number: f64) -> ParameterValue {
    match domain {
        Domain::Values(_) | Domain::Weighted(..) => domain.at(number as u64),
        Domain::Integer { .. } => ParameterValue::Integer(number as i64),
        Domain::Float { low, step: Some(step), .. } => domain.at(((number - low) / step).round() as u64),
        Domain::Float { low, high, .. } => ParameterValue::Float(shortened(number).clamp(*low, *high)),
        Domain::Normal { step: Some(ParameterValue::Integer(_)), .. }
        | Domain::Beta { step: Some(ParameterValue::Integer(_)), .. } => {
            ParameterValue::Integer(number.round() as i64)
        }
        Domain::Normal { .. } | Domain::Beta { .. } => ParameterValue::Float(shortened(number)),
    }
}

/// A number with few decimal digits.
fn shortened(number: f64) -> f64 {
    let shortened = format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number);
    // -0 and 0 are the same value.
    if shortened == 0.0 { 0.0 } else { shortened }
}
