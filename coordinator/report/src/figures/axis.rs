//! Axes with round numbers on them: whole epochs, and values on a linear or a logarithmic scale.

use super::numbers::{rounded, short};

/// Largest number on an axis, so that no sum or difference of two is infinite; what is beyond it is beyond the axis.
const LARGEST: f64 = 1e307;
/// Smaller values are drawn as 0: a fraction of them may no longer be a number.
const SMALLEST: f64 = 1e-300;
/// Longest number that an axis shows in full.
const FULL_CHARACTERS_MAX: usize = 7;

/// Positive values whose largest is this many times their smallest are drawn on a logarithmic axis.
pub const LOGARITHMIC_FROM: f64 = 1_000.0;

/// How an axis maps numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// An axis: its range and its ticks. On a logarithmic one, ends and ticks are logarithms.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From the first epoch to `last`.
    pub(super) fn epochs(last: f64) -> Self {
        let step = nice_step((last / 8.0).max(1.0)).max(1.0);
        let first = if step > 1.0 { step } else { 1.0 };
        let ticks =
            std::iter::successors(Some(first), |tick| Some(tick + step)).take_while(|tick| *tick <= last);
        let ticks = ticks.map(|tick| (tick, format!("{tick:.0}"))).collect();
        let margin = 0.03 * (last - 1.0).max(1.0);
        Self { low: 1.0 - margin, high: last + margin, scale: Scale::Linear, ticks }
    }

    /// Covers all of `values` with a margin on both sides in proportion to their range; starts at 0 if only the margin
    /// would be negative.
    pub(super) fn around(values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let mut lowest = f64::INFINITY;
        let values =
            values.map(|value| value.clamp(-LARGEST, LARGEST)).inspect(|value| lowest = lowest.min(*value));
        let (low, high) = padded(values, margin);
        let low = if lowest >= 0.0 { low.max(0.0) } else { low };
        Self { low, high, scale: Scale::Linear, ticks: linear_ticks(low, high) }
    }

    /// As [`Self::around`], on a logarithmic scale; all values are positive.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let (low, high) = padded(values.map(f64::log10), margin);
        Self { low, high, scale: Scale::Logarithmic, ticks: logarithmic_ticks(low, high) }
    }

    /// Covers all of `values`: logarithmic if they are positive and span more than a linear axis shows.
    pub(super) fn fitting<I: Iterator<Item = f64>>(values: impl Fn() -> I, margin: f64) -> Self {
        let (low, high) = values().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        if low > 0.0 && high / low >= LOGARITHMIC_FROM {
            Self::logarithmic(values(), margin)
        } else {
            Self::around(values(), margin)
        }
    }

    pub(super) fn scale(&self) -> Scale {
        self.scale
    }

    /// The position of a value: 0 at the axis's beginning, 1 at its end, and beyond them for values off the axis.
    pub(super) fn share(&self, value: f64) -> f64 {
        // A value without a logarithm is below everything.
        let value = if self.scale == Scale::Logarithmic { value.max(0.0).log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// The ticks: their positions and texts.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, &str)> {
        self.ticks.iter().map(|(tick, text)| ((tick - self.low) / (self.high - self.low), text.as_str()))
    }
}

/// The range of `values` with `margin` of its width on both sides; where they are all equal, a range around the value
/// in proportion to it, and 0 to 1 around 0.
fn padded(values: impl Iterator<Item = f64>, margin: f64) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    // Values that differ only by rounding count as one.
    let (width, size) = (high - low, low.abs().max(high.abs()));
    match (width > size * 1e-9, size > SMALLEST) {
        (_, false) => (0.0, 1.0),
        (true, true) => (low - width * margin, high + width * margin),
        (false, true) => (low - size * 0.1, high + size * 0.1),
    }
}

/// The next of 1, 2, 5, 10, … times a power of ten.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= raw * (1.0 - 1e-9)).unwrap_or(raw)
}

/// Round numbers within the range, with as many decimals as tell them apart, or with a power of ten where that would be
/// long.
fn linear_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let step = nice_step((high - low) / 6.0);
    if !step.is_finite() || step <= 0.0 {
        return Vec::new();
    }
    let first = (low / step).ceil();
    let ticks: Vec<f64> = (0..=12)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|tick| *tick <= high)
        // Rounding can leave a negative zero.
        .map(|tick| if tick.abs() < step / 2.0 { 0.0 } else { tick })
        .collect();
    let texts = tick_texts(&ticks, step);
    ticks.into_iter().zip(texts).collect()
}

/// Ticks as distinct texts, all in one form where their length allows it.
fn tick_texts(ticks: &[f64], step: f64) -> Vec<String> {
    let finest = step.log10().floor() as i32;
    let decimals = usize::try_from(-finest).unwrap_or(0);
    if decimals <= FULL_CHARACTERS_MAX {
        let full: Vec<String> = ticks.iter().map(|tick| format!("{tick:.decimals$}")).collect();
        if full.iter().all(|text| text.len() <= FULL_CHARACTERS_MAX) {
            return full;
        }
    }
    let short = |tick: &f64| {
        let digits = if *tick == 0.0 { 1 } else { tick.abs().log10().floor() as i32 - finest + 1 };
        rounded(*tick, usize::try_from(digits).unwrap_or(1).max(1))
    };
    ticks.iter().map(short).collect()
}

/// 1, 2 and 5 of each power of ten, or fewer where there are many.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let factors: &[f64] = if high - low > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let every = ((high - low) / 8.0).ceil().max(1.0) as i32;
    let powers = (low.floor() as i32..=high.ceil() as i32).filter(|power| power.rem_euclid(every) == 0);
    let ticks = powers.flat_map(|power| factors.iter().map(move |factor| f64::from(power) + factor.log10()));
    let ticks: Vec<(f64, String)> = ticks
        .filter(|tick| (low..=high).contains(tick))
        .map(|tick| (tick, short(10f64.powf(tick))))
        .collect();
    // Within less than one of these steps, linear ticks are rounder.
    if ticks.len() >= 2 {
        return ticks;
    }
    let linear = linear_ticks(10f64.powf(low), 10f64.powf(high));
    linear
        .into_iter()
        .filter_map(|(tick, text)| (tick > 0.0).then(|| (tick.log10(), text)))
        .filter(|(tick, _)| (low..=high).contains(tick))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers_with_as_many_decimals_as_they_need() {
        let linear = |values: [f64; 2]| Axis::around(values.into_iter(), 0.0);
        assert_eq!(texts(&linear([0.43, 1.01])), ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]);
        assert_eq!(
            texts(&linear([0.4914, 0.4917])),
            ["0.49140", "0.49145", "0.49150", "0.49155", "0.49160", "0.49165", "0.49170"]
        );
        assert_eq!(texts(&linear([0.0, 3600.0])), ["0", "1000", "2000", "3000"]);
        let logarithmic = |values: [f64; 2]| Axis::logarithmic(values.into_iter(), 0.0);
        assert_eq!(texts(&logarithmic([0.07, 7.0])), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(texts(&logarithmic([8e-5, 120.0])), ["0.0001", "0.001", "0.01", "0.1", "1", "10", "100"]);
        assert!(texts(&logarithmic([1e-300, 1e300])).len() <= 10);
        for below in [0.0, -1.0, f64::NEG_INFINITY] {
            assert!(logarithmic([0.07, 7.0]).share(below) < 0.0, "{below}");
        }
    }

    #[test]
    fn positive_values_far_apart_have_a_logarithmic_axis() {
        let scale = |values: &[f64]| Axis::fitting(|| values.iter().copied(), 0.08).scale();
        assert_eq!(scale(&[0.1, 100.0]), Scale::Logarithmic);
        for linear in [&[0.1, 99.0] as &[f64], &[0.0, 100.0], &[-0.1, 1000.0], &[], &[5.0]] {
            assert_eq!(scale(linear), Scale::Linear, "{linear:?}");
        }
    }

    #[test]
    fn epochs_are_whole_and_few() {
        assert_eq!(texts(&Axis::epochs(5.0)), ["1", "2", "3", "4", "5"]);
        assert_eq!(texts(&Axis::epochs(1.0)), ["1"]);
        assert_eq!(texts(&Axis::epochs(95.0)), ["20", "40", "60", "80"]);
    }

    #[test]
    fn room_around_values_is_in_proportion_to_them() {
        assert_eq!(padded([].into_iter(), 0.1), (0.0, 1.0));
        assert_eq!(padded([0.0, 10.0].into_iter(), 0.1), (-1.0, 11.0));
        assert_eq!(padded([0.0].into_iter(), 0.1), (0.0, 1.0));
        assert_eq!(padded([5.0].into_iter(), 0.1), (4.5, 5.5));
        // Epochs of a small model take milliseconds.
        let (low, high) = padded([0.020, 0.021].into_iter(), 0.1);
        assert!(high - low < 0.0013, "{low} {high}");
        let one = Axis::around([0.25].into_iter(), 0.1);
        assert!((one.share(0.25) - 0.5).abs() < 1e-9 && !texts(&one).is_empty());
    }

    #[test]
    fn numbers_that_are_long_have_a_power_of_ten() {
        let around = |values: [f64; 2]| Axis::around(values.into_iter(), 0.0);
        for (values, expected) in [
            ([0.0, 1e7], &["0", "2e6", "4e6", "6e6", "8e6", "1e7"] as &[_]),
            ([0.98e17, 1.57e17], &["1e17", "1.1e17", "1.2e17", "1.3e17", "1.4e17", "1.5e17"]),
            ([0.9e-300, 4.1e-300], &["1e-300", "2e-300", "3e-300", "4e-300"]),
            ([-2.5e-8, 2.5e-8], &["-2e-8", "-1e-8", "0", "1e-8", "2e-8"]),
        ] {
            assert_eq!(texts(&around(values)), expected);
        }
        let all_one = |value: f64| Axis::around([value].into_iter(), 0.08);
        assert_eq!(texts(&all_one(0.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        for value in [1.6e300, 1e-299, 1e-320, f64::MAX, -1e17] {
            let axis = all_one(value);
            assert!(axis.ticks().count() > 2, "{value}: {axis:?}");
            assert!(axis.ticks().all(|(share, text)| share.is_finite() && text.len() <= 9), "{axis:?}");
        }
        let widest = around([f64::MIN, f64::MAX]);
        assert!(widest.share(0.0) > 0.4 && widest.share(f64::MAX) > 1.0, "{widest:?}");
    }

    #[test]
    fn no_axis_begins_below_zero_where_no_value_is() {
        let begins = |values: [f64; 2]| -Axis::around(values.into_iter(), 0.1).share(0.0).min(0.0);
        assert!(begins([0.0, 10.0]).abs() < 1e-9 && begins([0.01, 10.0]).abs() < 1e-9);
        assert!(begins([5.0, 10.0]) > 0.0, "nor at zero where there is nothing");
        let below = Axis::around([-1.0, 10.0].into_iter(), 0.1);
        assert!(below.share(-1.0) > 0.0);
    }
}
