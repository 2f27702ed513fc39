//! The values of a range, spaced evenly or by equal ratios. Whole numbers are computed in integers: floating point
//! would miss most of those between large seeds.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error},
};
use terms::{ParameterValue, manifest::ManifestParameter};

use super::{super::VALUES_MAX, checked::checked, drawn::one_value};

/// Decimal digits kept of a value of a range, so that 1e-5 … 1e-2 in four steps gives 0.0001 and not a neighbouring
/// double.
const RANGE_DIGITS: usize = 12;

/// How the values of a range are spaced.
#[derive(Debug, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scale {
    Linear,
    /// By equal ratios.
    Log,
}

/// Which values of a range are taken.
pub(super) enum Steps {
    /// This many.
    Count(usize),
    /// Those at this distance.
    Of(ParameterValue),
}

/// Reads the distance between the values of a range.
pub(super) struct StepSeed;

impl<'de> DeserializeSeed<'de> for StepSeed {
    type Value = ParameterValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let positive = |value| match value {
            ParameterValue::Integer(1..) => Some(value),
            ParameterValue::Float(number) if number.is_finite() && number > 0.0 => Some(value),
            _ => None,
        };
        checked(deserializer, "the distance of two values, above 0", positive)?
            .ok_or_else(|| D::Error::custom("`q` is missing"))
    }
}

/// Values from `min` to `max`, both included where the steps reach them. Whole numbers that lie closer than the steps
/// may repeat.
pub(super) fn range(
    parameter: &ManifestParameter,
    (min, max): (&ParameterValue, &ParameterValue),
    steps: &Steps,
    scale: Scale,
) -> Result<Vec<ParameterValue>, String> {
    let name = &parameter.name;
    let (low, high) = match (as_float(min), as_float(max)) {
        (Some(low), Some(high)) => (low, high),
        _ => return Err(format!("`{name}` has no range: it is {}", parameter.kind.range())),
    };
    let whole = match (min, max) {
        (ParameterValue::Integer(low), ParameterValue::Integer(high)) => Some((*low, *high)),
        _ => None,
    };
    if whole.map_or(low > high, |(low, high)| low > high) {
        return Err(format!("`{name}` has its `min` {min} above its `max` {max}"));
    }
    let is_log = matches!(scale, Scale::Log);
    if is_log && low <= 0.0 {
        return Err(format!("`{name}` needs a `min` above 0 for `scale: log`, but has {min}"));
    }
    let values: Vec<ParameterValue> = match (steps, whole) {
        (Steps::Count(count), Some((low, high))) => {
            let at = if is_log { whole_by_ratio } else { whole_evenly };
            (0..*count).map(|index| ParameterValue::Integer(at(low, high, index, *count))).collect()
        }
        (Steps::Count(count), None) => {
            floats(low, high, *count, is_log).into_iter().map(ParameterValue::Float).collect()
        }
        (Steps::Of(_), _) if is_log => {
            return Err(format!(
                "`{name}` has `q`, whose values lie evenly, and `scale: log`; give `count` in its place"
            ));
        }
        (Steps::Of(ParameterValue::Integer(step)), Some(whole)) => whole_steps(name, whole, *step)?,
        (Steps::Of(step), _) => float_steps(name, (low, high), as_float(step).unwrap_or(f64::NAN))?,
    };
    if let (Steps::Of(step), [only]) = (steps, values.as_slice())
        && low < high
    {
        return Err(one_value(name, step, (min, max), only));
    }
    values.into_iter().map(|value| parameter.check(&value)).collect()
}

#[allow(clippy::cast_precision_loss)]
fn as_float(value: &ParameterValue) -> Option<f64> {
    match value {
        ParameterValue::Integer(number) => Some(*number as f64),
        ParameterValue::Float(number) => Some(*number),
        _ => None,
    }
}

fn too_many(name: &str) -> String {
    format!("the range of `{name}` has more than {VALUES_MAX} values; give `count`, or a larger `q`")
}

fn whole_steps(name: &str, (low, high): (i64, i64), step: i64) -> Result<Vec<ParameterValue>, String> {
    let (low, span, step) = (i128::from(low), i128::from(high) - i128::from(low), i128::from(step));
    let count = span / step + 1;
    if count > VALUES_MAX as i128 {
        return Err(too_many(name));
    }
    let value = |index| i64::try_from(low + index * step).ok().map(ParameterValue::Integer);
    Ok((0..count).filter_map(value).collect())
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn float_steps(name: &str, (low, high): (f64, f64), step: f64) -> Result<Vec<ParameterValue>, String> {
    // 0.3 / 0.1 is 2.9999999999999996 in doubles.
    let count = ((high - low) / step * (1.0 + 1e-12) + 1e-9).floor() + 1.0;
    if !(1.0..=VALUES_MAX as f64).contains(&count) {
        return Err(too_many(name));
    }
    let value = |index: usize| match index {
        0 => low,
        index => rounded(low + index as f64 * step).min(high),
    };
    Ok((0..count as usize).map(|index| ParameterValue::Float(value(index))).collect())
}

/// The `index`-th of `count` whole numbers, evenly from `low` to `high`; halves are rounded up.
fn whole_evenly(low: i64, high: i64, index: usize, count: usize) -> i64 {
    let steps = count.saturating_sub(1).max(1) as i128;
    // Below 2^64 · 10,000.
    let doubled = 2 * (i128::from(high) - i128::from(low)) * index as i128;
    let value = i128::from(low) + (doubled + steps) / (2 * steps);
    i64::try_from(value).unwrap_or(high)
}

/// The `index`-th of `count` whole numbers by equal ratios from `low`, which is positive, to `high`. Only the distance
/// from `low` is computed in floating point, so that neighbours stay distinct, however large they are.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn whole_by_ratio(low: i64, high: i64, index: usize, count: usize) -> i64 {
    if index > 0 && index + 1 == count {
        return high;
    }
    let share = index as f64 / count.saturating_sub(1).max(1) as f64;
    let span = i128::from(high) - i128::from(low);
    let growth = (span as f64 / low as f64).ln_1p();
    let distance = (low as f64 * (share * growth).exp_m1()).round() as i128;
    i64::try_from(i128::from(low) + distance.clamp(0, span)).unwrap_or(high)
}

/// `count` numbers from `low` to `high`, rounded to as few digits as keep them distinct.
#[allow(clippy::cast_precision_loss)]
fn floats(low: f64, high: f64, count: usize, logarithmic: bool) -> Vec<f64> {
    let exact = |index: usize| {
        if index == 0 {
            return low;
        }
        if index + 1 == count {
            return high;
        }
        let share = index as f64 / (count - 1) as f64;
        if logarithmic { low * (high / low).powf(share) } else { low + (high - low) * share }
    };
    let shown =
        |index: usize| if index == 0 || index + 1 == count { exact(index) } else { rounded(exact(index)) };
    let values: Vec<f64> = (0..count).map(shown).collect();
    if values.is_sorted_by(|one, next| one < next) { values } else { (0..count).map(exact).collect() }
}

fn rounded(value: f64) -> f64 {
    format!("{value:.*e}", RANGE_DIGITS - 1).parse().unwrap_or(value)
}
