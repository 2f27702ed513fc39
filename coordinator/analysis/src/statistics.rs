//! Intervals and tests. The special functions are those of statrs; everything is compared with SciPy (`tests/golden`).

use serde::Serialize;
use statrs::function::{
    beta::{beta_reg, inv_beta_reg},
    erf::erfc,
};
use terms::Goal;
use utoipa::ToSchema;

use super::CONFIDENCE;

/// The standard normal's quantile at 0.975, as 95 % intervals need it.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// From so many degrees of freedom on, Student's distribution is computed from the normal one: the fraction of which the incomplete beta
/// function is made needs more terms then than statrs takes.
const NEARLY_NORMAL: f64 = 1_000.0;

/// Values that differ by less than this share of the largest of them differ by rounding.
const ROUNDING: f64 = 1e-12;

/// Between which numbers something lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// That of a difference, one less the other, as how much better the one is.
    pub fn gain(self, goal: Goal) -> Self {
        match goal {
            Goal::Maximize => self,
            Goal::Minimize => Self { low: gain(self.high, goal), high: gain(self.low, goal) },
        }
    }
}

/// A difference, one less the other, as how much better the one is; negative where it is worse.
pub fn gain(difference: f64, goal: Goal) -> f64 {
    match goal {
        Goal::Maximize => difference,
        // No -0.
        Goal::Minimize => 0.0 - difference,
    }
}

/// Some values together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct Mean {
    /// How many values.
    pub count: u64,
    pub mean: f64,
    /// Sum of the squared distances from the mean.
    #[serde(skip)]
    squares: f64,
}

/// A comparison of two means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Compared {
    pub difference: f64,
    pub interval: Interval,
    /// How likely a difference at least as large is where there is none.
    pub p: f64,
    /// Degrees of freedom of Student's distribution.
    pub freedom: f64,
}

impl Interval {
    /// The numbers at most `half` away from `middle`.
    fn around(middle: f64, half: f64) -> Self {
        Self { low: middle - half, high: middle + half }
    }

    /// The part of it that lies within these bounds, where `mean`, of which it is the interval, does. Where every value lies within them, so
    /// does the mean that is looked for: what is cut off never holds it, and the confidence stays.
    pub(crate) fn cut_at(self, mean: f64, bounds: Option<Self>) -> Self {
        match bounds.filter(|bounds| bounds.contains(mean)) {
            Some(bounds) => Self { low: self.low.max(bounds.low), high: self.high.min(bounds.high) },
            None => self,
        }
    }

    /// Whether a number lies in it.
    pub fn contains(&self, number: f64) -> bool {
        self.low <= number && number <= self.high
    }
}

impl Mean {
    /// Takes a value in, by Welford's method: <https://doi.org/10.1080/00401706.1962.10490022>.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Sum of the squared distances from the mean.
    pub(crate) fn squares(&self) -> f64 {
        self.squares
    }

    /// The variance of the sample, with `n - 1` in the denominator; none of a single value.
    fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The standard deviation of the sample; none of a single value, and 0 where it is nothing but the rounding of such values.
    pub fn deviation(&self) -> Option<f64> {
        self.variance().map(|variance| without_rounding(variance.sqrt(), self.mean))
    }
}

/// A difference of values of which the largest has this size: 0 where it is nothing but their rounding, which would look like a finding.
pub(crate) fn without_rounding(difference: f64, largest: f64) -> f64 {
    if difference.abs() <= ROUNDING * largest.abs() { 0.0 } else { difference }
}

/// Whether these values, which are finite, are all the same but for their rounding.
pub(crate) fn are_equal(values: &[f64]) -> bool {
    let ends = |(low, high): (f64, f64), value: &f64| (low.min(*value), high.max(*value));
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    values.is_empty() || without_rounding(high - low, low.abs().max(high.abs())) == 0.0
}

/// Some values together.
pub fn mean_of(values: impl IntoIterator<Item = f64>) -> Mean {
    let mut mean = Mean::default();
    values.into_iter().for_each(|value| mean.add(value));
    mean
}

/// The quantile of Student's distribution that leaves `(1 - CONFIDENCE) / 2` above it. The freedom is at least 1.
pub(crate) fn student_t(freedom: f64) -> f64 {
    if freedom >= NEARLY_NORMAL {
        return expanded(freedom);
    }
    // The tail beyond t is half of I_x(freedom / 2, 1 / 2) with x = freedom / (freedom + t²).
    let x = inv_beta_reg(freedom / 2.0, 0.5, 1.0 - CONFIDENCE);
    (freedom * (1.0 - x) / x).sqrt()
}

/// The expansion of the quantile for a large freedom: Abramowitz and Stegun, 26.7.5.
fn expanded(freedom: f64) -> f64 {
    let z = NORMAL_QUANTILE;
    let odd = |factors: [f64; 4]| factors.iter().rev().fold(0.0, |sum, factor| sum * z * z + factor) * z;
    let terms = [
        odd([1.0, 0.0, 0.0, 0.0]),
        odd([1.0, 1.0, 0.0, 0.0]) / 4.0,
        odd([3.0, 16.0, 5.0, 0.0]) / 96.0,
        odd([-15.0, 17.0, 19.0, 3.0]) / 384.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| sum / freedom + term)
}

/// The probability of a value of Student's distribution that is at least as far from 0 as `t`.
pub(crate) fn student_p(t: f64, freedom: f64) -> f64 {
    if freedom >= NEARLY_NORMAL {
        return erfc(normal(t, freedom) / std::f64::consts::SQRT_2);
    }
    beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// The standard normal value that is as far out as `t`, for a large freedom: Hill's algorithm 395,
/// <https://doi.org/10.1145/355598.362775>.
fn normal(t: f64, freedom: f64) -> f64 {
    let a = freedom - 0.5;
    let b = 48.0 * a * a;
    let square = a * (t * t / freedom).ln_1p();
    let small = ((-0.4 * square - 3.3) * square - 24.0) * square - 85.5;
    ((small / (0.8 * square * square + 100.0 + b) + square + 3.0) / b + 1.0) * square.sqrt()
}

/// Student's 95 % interval of the mean of normally distributed values; none of a single value, or where nothing varies: values that came out the
/// same do not say that the next one will.
pub fn t_interval(mean: &Mean) -> Option<Interval> {
    let deviation = mean.deviation().filter(|deviation| *deviation > 0.0)?;
    let error = deviation / (mean.count as f64).sqrt();
    Some(Interval::around(mean.mean, student_t((mean.count - 1) as f64) * error))
}

/// Whether the mean of these differences is 0: the paired t-test. None of fewer than two differences, or where all are the same but for the
/// rounding of values as large as `largest`, of which they are the differences.
pub fn paired(differences: &Mean, largest: f64) -> Option<Compared> {
    let deviation = differences.deviation().filter(|deviation| *deviation > ROUNDING * largest.abs())?;
    let error = deviation / (differences.count as f64).sqrt();
    compared(differences.mean, error, (differences.count - 1) as f64)
}

/// Welch's t-test: whether two samples, whose variances may differ, have the same mean. None where one has fewer than two values, or
/// neither varies by more than rounding.
pub fn welch(one: &Mean, other: &Mean) -> Option<Compared> {
    let varies =
        |mean: &Mean| mean.deviation().is_some_and(|deviation| deviation > ROUNDING * mean.mean.abs());
    if !varies(one) && !varies(other) {
        return None;
    }
    let of_mean = |mean: &Mean| Some(mean.variance()? / mean.count as f64);
    let (one_error, other_error) = (of_mean(one)?, of_mean(other)?);
    let both = one_error + other_error;
    // By Welch and Satterthwaite.
    let part = |error: f64, mean: &Mean| error * error / (mean.count - 1) as f64;
    let freedom = both * both / (part(one_error, one) + part(other_error, other));
    compared(one.mean - other.mean, both.sqrt(), freedom)
}

/// None where nothing varies, or so much that squares are no numbers.
fn compared(difference: f64, error: f64, freedom: f64) -> Option<Compared> {
    let t = difference / error;
    (error > 0.0 && t.is_finite() && freedom >= 1.0 && freedom.is_finite()).then(|| Compared {
        difference,
        interval: Interval::around(difference, student_t(freedom) * error),
        p: student_p(t, freedom),
        freedom,
    })
}

/// Wilson's score interval of a share that was found among `count` trials.
pub fn wilson(share: f64, count: u64) -> Interval {
    let (n, z) = (count as f64, NORMAL_QUANTILE);
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    // Rounding must not leave the shares.
    Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}

/// Newcombe's interval of the difference of two shares that were found among as many trials each, made of their Wilson intervals:
/// method 10 of <https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C873::AID-SIM779%3E3.0.CO;2-I>.
pub(crate) fn newcombe(one: f64, other: f64, count: u64) -> Interval {
    let (first, second) = (wilson(one, count), wilson(other, count));
    let difference = one - other;
    Interval {
        low: difference - (one - first.low).hypot(second.high - other),
        high: difference + (first.high - one).hypot(other - second.low),
    }
}

/// The probability that a standard normal value lies between two numbers, also far from 0.
pub(crate) fn normal_mass(low: f64, high: f64) -> f64 {
    let below = |number: f64| 0.5 * erfc(-number / std::f64::consts::SQRT_2);
    // On the side where both are small, as differences of numbers near 1 lose their digits.
    if low > 0.0 { below(-low) - below(-high) } else { below(high) - below(low) }
}

/// The quantiles 2.5 % and 97.5 % of values, interpolated linearly, as NumPy does it.
pub(crate) fn percentiles(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len().checked_sub(1)?) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        Some(values[low] + (values[high] - values[low]) * (place - place.floor()))
    };
    Some(Interval { low: at(0.025)?, high: at(0.975)? })
}
