//! What a parameter's values are drawn from, as Optuna has it.

use report::LOGARITHMIC_FROM;
use serde_json::json;
use terms::ParameterValue;

use crate::space::{Kind, Parameter, number};

/// Most choices: as many values as a sweep file may list.
const CHOICES_MAX: usize = 10_000;

/// How far, as a part of it, a listed number may be from what a logarithmic scale gives: 0.00316 is meant for 10^-2.5.
const ROUNDED: f64 = 0.01;

/// A distribution that holds every value that came.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    of: Of,
    /// As it was before any value came: most have this one.
    first: String,
    /// Values of another type.
    unfit: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Of {
    /// Whole numbers, or others, between the least and the greatest; none before there is one.
    Numbers { ends: Option<(f64, f64)>, is_whole: bool, is_log: bool },
    /// One of some values, which Optuna knows by their places.
    Choices(Vec<ParameterValue>),
}

impl Distribution {
    pub(super) fn new(parameter: &Parameter) -> Self {
        let of = match parameter.kind() {
            kind @ (Kind::Whole | Kind::Real) if !parameter.may_be_null() => numbers(parameter, kind),
            Kind::Boolean if !parameter.may_be_null() => {
                Of::Choices([false, true].map(ParameterValue::Boolean).into())
            }
            _ => Of::Choices(parameter.listed.clone()),
        };
        Self { first: of.json(), of, unfit: 0 }
    }

    /// The number that Optuna keeps for a value, which the distribution holds from now on.
    pub(super) fn take(&mut self, value: &ParameterValue) -> Option<f64> {
        match &mut self.of {
            Of::Numbers { ends, is_whole, .. } => {
                let fits = !*is_whole || matches!(value, ParameterValue::Integer(_));
                let Some(number) = number(value).filter(|_| fits) else {
                    self.unfit += 1;
                    return None;
                };
                let (low, high) = ends.unwrap_or((number, number));
                *ends = Some((low.min(number), high.max(number)));
                Some(number)
            }
            Of::Choices(choices) => match choices.iter().position(|known| known == value) {
                Some(place) => Some(place as f64),
                None if choices.len() < CHOICES_MAX => {
                    choices.push(value.clone());
                    Some((choices.len() - 1) as f64)
                }
                None => {
                    self.unfit += 1;
                    None
                }
            },
        }
    }

    /// As it was before any value came.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// As it is now, if it has changed.
    pub(super) fn widened(&self) -> Option<String> {
        Some(self.of.json()).filter(|json| *json != self.first)
    }

    pub(super) fn unfit(&self) -> u64 {
        self.unfit
    }
}

/// Numbers, on a logarithmic scale where the sweep file says so, or lists values as `scale: log` does, or as far apart as figures show
/// on one. A stored sweep lists what its file gave as ends and a `count`.
fn numbers(parameter: &Parameter, kind: Kind) -> Of {
    let listed = parameter.listed.iter().filter_map(number);
    let ends = parameter.range.and_then(|range| range.ends);
    let ends = listed.map(|value| (value, value)).chain(ends);
    let ends = ends.reduce(|(low, high), (least, most)| (f64::min(low, least), f64::max(high, most)));
    let is_spread = ends.is_some_and(|(low, high)| low > 0.0 && high / low >= LOGARITHMIC_FROM);
    let is_log =
        parameter.range.map_or(is_spread || is_even_by_factors(&parameter.listed), |range| range.is_log);
    Of::Numbers { ends, is_whole: kind == Kind::Whole, is_log }
}

/// Whether these are, in any order, the numbers that `scale: log` gives for their ends and their count, and lie less evenly on an even
/// scale. Whole ones are rounded. Two are on any scale.
fn is_even_by_factors(listed: &[ParameterValue]) -> bool {
    let is_whole = listed.iter().all(|value| matches!(value, ParameterValue::Integer(_)));
    let mut values: Vec<f64> = listed.iter().filter_map(number).collect();
    values.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return false };
    if values.len() < 3 || low <= 0.0 {
        return false;
    }
    let (mut off_even, mut off_factors) = (0.0, 0.0);
    for (place, value) in values.iter().enumerate() {
        let part = place as f64 / (values.len() - 1) as f64;
        let by_factors = low * (high / low).powf(part);
        if (value - by_factors).abs() > if is_whole { 0.5 } else { ROUNDED * by_factors } {
            return false;
        }
        off_factors += (value - by_factors).abs();
        off_even += (value - (low + part * (high - low))).abs();
    }
    off_factors < off_even
}

impl Of {
    /// As Optuna writes it.
    fn json(&self) -> String {
        let (name, attributes) = match self {
            Self::Choices(choices) => ("CategoricalDistribution", json!({ "choices": choices })),
            Self::Numbers { ends, is_whole, is_log } => {
                let (low, high) = ends.unwrap_or_default();
                // Of what has no logarithm Optuna accepts no logarithmic scale.
                let is_log = *is_log && low >= if *is_whole { 1.0 } else { f64::MIN_POSITIVE };
                if *is_whole {
                    let (low, high) = (low as i64, high as i64);
                    let attributes = json!({ "log": is_log, "step": 1, "low": low, "high": high });
                    ("IntDistribution", attributes)
                } else {
                    let attributes = json!({ "step": null, "low": low, "high": high, "log": is_log });
                    ("FloatDistribution", attributes)
                }
            }
        };
        json!({ "name": name, "attributes": attributes }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Range;

    fn listed(values: &[ParameterValue]) -> Distribution {
        Distribution::new(&Parameter { listed: values.to_vec(), ..Parameter::unknown("x") })
    }

    fn float(value: f64) -> ParameterValue {
        ParameterValue::Float(value)
    }

    #[test]
    fn numbers_that_are_listed_are_a_range_and_other_values_are_choices() {
        let rates = listed(&[float(0.1), float(0.0001)]);
        assert_eq!(
            rates.first(),
            r#"{"attributes":{"high":0.1,"log":true,"low":0.0001,"step":null},"name":"FloatDistribution"}"#
        );
        let sizes = listed(&[ParameterValue::Integer(32), ParameterValue::Integer(64)]);
        assert_eq!(
            sizes.first(),
            r#"{"attributes":{"high":64,"log":false,"low":32,"step":1},"name":"IntDistribution"}"#
        );
        let mixed = listed(&[float(1.0), ParameterValue::Null, ParameterValue::Text("1".into())]);
        assert_eq!(
            mixed.first(),
            r#"{"attributes":{"choices":[1.0,null,"1"]},"name":"CategoricalDistribution"}"#
        );
    }

    #[test]
    fn what_is_listed_as_a_logarithmic_scale_gives_it_is_on_one() {
        let is_log = |values: &[ParameterValue]| listed(values).first().contains(r#""log":true"#);
        let floats = |values: &[f64]| values.iter().copied().map(float).collect::<Vec<_>>();
        let whole = |values: &[i64]| values.iter().copied().map(ParameterValue::Integer).collect::<Vec<_>>();
        // `{min: 0.001, max: 0.01, count: 3, scale: log}` as a stored sweep has it.
        assert!(is_log(&floats(&[0.001, 0.0031622776602, 0.01])));
        assert!(is_log(&whole(&[64, 16, 32])) && is_log(&whole(&[1, 2, 5, 10])));
        assert!(!is_log(&floats(&[0.001, 0.0055, 0.01])) && !is_log(&floats(&[0.001, 0.003, 0.01])));
        assert!(is_log(&floats(&[0.001, 0.00316, 0.01])) && !is_log(&floats(&[1.0, 1.005, 1.01])));
        assert!(!is_log(&whole(&[1, 2, 3])) && !is_log(&whole(&[32, 64])) && !is_log(&whole(&[0, 1, 2])));
    }

    #[test]
    fn a_distribution_holds_every_value_that_came() {
        let mut rates = listed(&[float(0.5)]);
        assert_eq!((rates.take(&float(0.5)), rates.widened()), (Some(0.5), None));
        assert_eq!(rates.take(&ParameterValue::Integer(2)), Some(2.0));
        assert!(rates.widened().unwrap().contains(r#""high":2.0,"log":false,"low":0.5"#));
        assert_eq!((rates.take(&ParameterValue::Null), rates.unfit()), (None, 1));
        let mut choices = listed(&[ParameterValue::Text("a".into())]);
        let other = ParameterValue::Boolean(true);
        assert_eq!(
            [&other, &ParameterValue::Text("a".into()), &other].map(|value| choices.take(value)),
            [Some(1.0), Some(0.0), Some(1.0)]
        );
        assert!(choices.widened().unwrap().contains(r#""choices":["a",true]"#));
    }

    #[test]
    fn what_is_drawn_without_ends_has_those_of_its_values() {
        let range = Range { ends: None, is_whole: false, is_log: true };
        let mut drawn = Distribution::new(&Parameter { range: Some(range), ..Parameter::unknown("x") });
        for value in [0.25, 4.0] {
            drawn.take(&float(value));
        }
        assert!(drawn.widened().unwrap().contains(r#""high":4.0,"log":true,"low":0.25"#));
    }
}
