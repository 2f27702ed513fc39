//! The values of a range, evenly or by equal ratios. Whole numbers are computed as such: between large seeds, floating
//! point would miss most.

use serde::Deserialize;
use terms::ParameterValue;

use crate::parameters::{ParameterDefinition, ParameterKind};

/// Decimal digits kept of a value of a range, so that 1e-5 … 1e-2 in four steps gives 0.0001 and not its neighbour.
const RANGE_DIGITS: usize = 12;

/// How the values of a range lie.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// By equal ratios.
    Log,
}

/// `count` values from `min` to `max`, both included; among whole numbers that lie closer, some more than once.
pub(super) fn range(
    parameter: &ParameterDefinition,
    (min, max): (&ParameterValue, &ParameterValue),
    count: usize,
    logarithmic: bool,
) -> Result<Vec<ParameterValue>, String> {
    let name = parameter.name;
    let upside_down = || format!("`{name}` has its `min` {min} above its `max` {max}");
    let no_logarithm = || format!("`{name}` needs a `min` above 0 for `scale: log`, but has {min}");
    let values: Vec<_> = match (min, max) {
        (ParameterValue::Integer(low), ParameterValue::Integer(high)) => {
            let (low, high) = (*low, *high);
            if low > high {
                return Err(upside_down());
            }
            if logarithmic && low <= 0 {
                return Err(no_logarithm());
            }
            let at = if logarithmic { whole_by_ratio } else { whole_evenly };
            (0..count).map(|index| ParameterValue::Integer(at(low, high, index, count))).collect()
        }
        (ParameterValue::Float(low), ParameterValue::Float(high)) => {
            if low > high {
                return Err(upside_down());
            }
            if logarithmic && *low <= 0.0 {
                return Err(no_logarithm());
            }
            floats(*low, *high, count, logarithmic).into_iter().map(ParameterValue::Float).collect()
        }
        _ => return Err(format!("`{name}` has no range: it is {}", ParameterKind::range(&parameter.kind))),
    };
    values.into_iter().map(|value| parameter.check(value)).collect()
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
/// from `low` is computed in floating point, so that neighbours stay apart however large they are.
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

/// `count` numbers from `low` to `high`, rounded to as few digits as tell them apart.
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
