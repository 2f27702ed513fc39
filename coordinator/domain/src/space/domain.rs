//! The values of a parameter: a list, or numbers that are drawn from a distribution. Each value is a function of 64 evenly
//! distributed bits, so that whatever chooses the bits chooses points. Functions are those of `libm`, whose bits are the
//! same on every machine: a job's parameters must be.

mod quantile;

use terms::ParameterValue;

use self::quantile::{beta_quantile, normal_quantile};

/// Decimal digits of a number that is drawn: enough to tell any two trainings apart, and few enough to read.
const DIGITS: i32 = 8;
/// The powers of ten that are exact as doubles, from 1 on.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The values of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// These, in the order of the file: never empty, each once.
    Values(Vec<ParameterValue>),
    /// These, and the probability of each: above 0, together 1.
    Weighted(Vec<ParameterValue>, Vec<f64>),
    /// Numbers from `low` to `high`, `low` being less; with a step, `low`, `low + step` and so on. On the logarithmic scale
    /// `low` is above 0.
    Float { low: f64, high: f64, is_log: bool, step: Option<f64> },
    /// Whole numbers from `low` to `high`, at least 1 apart, likewise.
    Integer { low: i64, high: i64, is_log: bool, step: i64 },
    /// Numbers of the normal distribution, or those whose logarithm is; rounded to multiples of the step.
    Normal { mean: f64, deviation: f64, is_log: bool, step: Option<ParameterValue> },
    /// Numbers of the beta distribution; rounded to multiples of the step.
    Beta { a: f64, b: f64, step: Option<ParameterValue> },
}

impl Domain {
    /// The values that are listed; empty where they are a range.
    pub fn listed(&self) -> &[ParameterValue] {
        match self {
            Self::Values(values) | Self::Weighted(values, _) => values,
            _ => &[],
        }
    }

    /// Whether there is only one value.
    pub fn is_constant(&self) -> bool {
        self.listed().len() == 1
    }

    /// Whether the values are a plain list, as those of a grid are.
    pub fn is_grid(&self) -> bool {
        matches!(self, Self::Values(_))
    }

    /// How many values there are; none for infinitely many.
    pub fn cells(&self) -> Option<u64> {
        match self {
            Self::Values(values) | Self::Weighted(values, _) => Some(values.len() as u64),
            Self::Float { low, high, step, .. } => step.map(|step| steps(*low, *high, step)),
            Self::Integer { low, high, step, .. } => {
                let steps = (i128::from(*high) - i128::from(*low)) / i128::from(*step);
                Some(u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1))
            }
            Self::Normal { .. } | Self::Beta { .. } => None,
        }
    }

    /// Whether all of finitely many values are equally likely.
    pub fn is_even(&self) -> bool {
        match self {
            Self::Values(_) => true,
            Self::Float { is_log, step, .. } => !is_log && step.is_some(),
            Self::Integer { is_log, .. } => !is_log,
            _ => false,
        }
    }

    /// The value of a position below [`Self::cells`], or, where there are infinitely many, of 64 bits.
    pub fn at(&self, place: u64) -> ParameterValue {
        match self {
            Self::Values(values) | Self::Weighted(values, _) => {
                values.get(place as usize).or(values.last()).cloned().unwrap_or(ParameterValue::Null)
            }
            Self::Integer { low, step, .. } => {
                let value = i128::from(*low) + i128::from(place) * i128::from(*step);
                ParameterValue::Integer(i64::try_from(value).unwrap_or(i64::MAX))
            }
            Self::Float { low, high, step: Some(step), .. } => {
                ParameterValue::Float(rounded(low + place as f64 * step, high - low).clamp(*low, *high))
            }
            Self::Float { low, high, is_log, step: None } => {
                let value = between((*low, *high), *is_log, unit(place));
                ParameterValue::Float(rounded(value, high - low).clamp(*low, *high))
            }
            Self::Normal { mean, deviation, is_log, step } => {
                let value = mean + deviation * normal_quantile(unit(place));
                let value = if *is_log { libm::exp(value) } else { value };
                stepped(value, step.as_ref(), if *is_log { value } else { *deviation })
            }
            Self::Beta { a, b, step } => stepped(beta_quantile(unit(place), *a, *b), step.as_ref(), 1.0),
        }
    }

    /// The position that 64 bits choose; where there are infinitely many values, the bits themselves.
    pub fn place(&self, bits: u64) -> u64 {
        let Some(cells) = self.cells() else { return bits };
        let evenly = || ((u128::from(bits) * u128::from(cells)) >> 64) as u64;
        match self {
            Self::Weighted(_, probabilities) => {
                let (mut sum, share) = (0.0, unit(bits));
                let passes = |probability: &&f64| {
                    sum += **probability;
                    sum <= share
                };
                (probabilities.iter().take_while(passes).count() as u64).min(cells - 1)
            }
            Self::Float { low, high, is_log: true, step: Some(step) } => {
                let value = between((*low, *high), true, unit(bits));
                (((value - low) / step).round() as u64).min(cells - 1)
            }
            Self::Integer { low, high, is_log: true, step } => {
                // Half a number wider, so that the ends are as likely as their neighbours.
                let value = between((*low as f64 - 0.5, *high as f64 + 0.5), true, unit(bits));
                (((value - *low as f64) / *step as f64).round() as u64).min(cells - 1)
            }
            _ => evenly(),
        }
    }

    /// The position of a value among finitely many.
    pub fn position(&self, value: &ParameterValue) -> Option<u64> {
        match self {
            Self::Values(values) | Self::Weighted(values, _) => {
                values.iter().position(|known| known == value).map(|position| position as u64)
            }
            Self::Integer { low, step, .. } => {
                let ParameterValue::Integer(number) = value else { return None };
                let distance = u64::try_from(i128::from(*number) - i128::from(*low)).ok()?;
                let place = distance / step.unsigned_abs();
                (place < self.cells()? && self.at(place) == *value).then_some(place)
            }
            Self::Float { low, step: Some(step), .. } => {
                let ParameterValue::Float(number) = value else { return None };
                let place = ((number - low) / step).round();
                let place = (place >= 0.0).then_some(place as u64)?;
                (place < self.cells()? && self.at(place) == *value).then_some(place)
            }
            _ => None,
        }
    }

    /// A value that stands for all until one is chosen.
    pub fn first(&self) -> ParameterValue {
        self.at(if self.cells().is_some() { 0 } else { u64::MAX / 2 })
    }

    /// `value` as this domain writes equal numbers: `32.0` is 32 among whole numbers.
    pub fn as_written(&self, value: &ParameterValue) -> Option<ParameterValue> {
        let number = value.whole()?;
        match self {
            Self::Integer { .. } => Some(ParameterValue::Integer(number)),
            Self::Float { .. } => Some(ParameterValue::Float(number as f64)),
            _ => self.listed().iter().find(|other| other.whole() == Some(number)).cloned(),
        }
    }

    /// A value from outside as this domain has it; none where it is not one of its values. Numbers that come from sums of steps,
    /// such as 0.30000000000000004, are those of the nearest step.
    pub fn own(&self, value: &ParameterValue) -> Option<ParameterValue> {
        match self {
            Self::Values(_) | Self::Weighted(..) => {
                let written = || self.as_written(value);
                self.position(value).map(|_| value.clone()).or_else(written)
            }
            Self::Integer { .. } => {
                let whole = ParameterValue::Integer(value.whole()?);
                self.position(&whole).map(|_| whole)
            }
            Self::Float { low, high, step, .. } => {
                let number = finite(value).filter(|number| (*low..=*high).contains(number))?;
                let Some(step) = step else { return Some(ParameterValue::Float(number)) };
                let nearest = self.at(((number - low) / step).round() as u64);
                is_near(number, &nearest, *step).then_some(nearest)
            }
            Self::Normal { is_log, step, deviation, .. } => {
                let number = finite(value).filter(|number| !is_log || *number > 0.0)?;
                multiple(number, step.as_ref(), if *is_log { number } else { *deviation })
            }
            Self::Beta { step, .. } => {
                let number = finite(value).filter(|number| (0.0..=1.0).contains(number))?;
                multiple(number, step.as_ref(), 1.0)
            }
        }
    }

    /// Roughly the memory that it takes.
    pub fn bytes(&self) -> usize {
        let probabilities = match self {
            Self::Weighted(_, probabilities) => size_of_val(probabilities.as_slice()),
            _ => 0,
        };
        size_of_val(self.listed()) + probabilities
    }
}

/// A finite number, with -0 as 0.
fn finite(value: &ParameterValue) -> Option<f64> {
    let number = match value {
        ParameterValue::Integer(number) => *number as f64,
        ParameterValue::Float(number) => *number,
        _ => return None,
    };
    number.is_finite().then_some(if number == 0.0 { 0.0 } else { number })
}

/// Whether a number is one of the steps, up to the error of adding steps up.
fn is_near(number: f64, step_value: &ParameterValue, step: f64) -> bool {
    const OFF_MAX: f64 = 1e-9;
    finite(step_value).is_some_and(|own| (number - own).abs() <= OFF_MAX * step.abs())
}

/// A number that must be a multiple of the step, where there is one.
fn multiple(number: f64, step: Option<&ParameterValue>, width: f64) -> Option<ParameterValue> {
    let Some(step) = step else { return Some(ParameterValue::Float(number)) };
    let nearest = stepped(number, Some(step), width);
    is_near(number, &nearest, finite(step)?).then_some(nearest)
}

/// How many steps lead from `low` to `high`, both ends counted. 0.3 / 0.1 is 2.9999999999999996 in doubles.
pub fn steps(low: f64, high: f64, step: f64) -> u64 {
    (((high - low) / step * (1.0 + 1e-12) + 1e-9).floor() as u64).saturating_add(1)
}

/// A number in (0, 1) of the upper 52 bits: neither end can come out.
fn unit(bits: u64) -> f64 {
    const WIDTH: f64 = 1.0 / (1_u64 << 52) as f64;
    ((bits >> 12) as f64 + 0.5) * WIDTH
}

fn between((low, high): (f64, f64), is_log: bool, share: f64) -> f64 {
    if !is_log {
        // Not low + (high - low) * share, whose difference may be infinite.
        return low * (1.0 - share) + high * share;
    }
    let (low, high) = (libm::log(low), libm::log(high));
    libm::exp(low + (high - low) * share)
}

/// A value as a multiple of the step, where there is one.
fn stepped(value: f64, step: Option<&ParameterValue>, width: f64) -> ParameterValue {
    match step {
        None => ParameterValue::Float(rounded(value, width)),
        Some(ParameterValue::Integer(step)) => {
            let multiple = (value / *step as f64).round() as i64;
            ParameterValue::Integer(multiple.saturating_mul(*step))
        }
        Some(ParameterValue::Float(step)) => {
            let multiple = (value / step).round() * step;
            // -0 and 0 are the same value.
            ParameterValue::Float(if multiple == 0.0 { 0.0 } else { rounded(multiple, width) })
        }
        Some(_) => ParameterValue::Float(value),
    }
}

/// A number with few decimal digits, unless so few would not tell the numbers of a range of this width apart.
fn rounded(value: f64, width: f64) -> f64 {
    let magnitude = value.abs();
    if magnitude == 0.0 || !magnitude.is_finite() {
        return if magnitude == 0.0 { 0.0 } else { value };
    }
    let power = DIGITS - 1 - libm::floor(libm::log10(magnitude)) as i32;
    let Some(scale) = EXACT_POWERS.get(power.unsigned_abs() as usize) else { return value };
    if 10_f64.powi(2 - DIGITS) * magnitude > width.abs() {
        return value;
    }
    // Both operands are exact, so that the quotient is the double next to the decimal number.
    if power >= 0 { (value * scale).round() / scale } else { (value / scale).round() * scale }
}

#[cfg(test)]
mod tests;
