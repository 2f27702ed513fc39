//! Axes with round numbers on them: whole epochs, and values on a linear or a logarithmic scale.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// How numbers lie on a vertical axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    Linear,
    /// The axis holds decimal logarithms.
    Logarithmic,
}

/// An axis and where its numbers stand.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
    scale: Scale,
    /// Whether its numbers are whole.
    whole: bool,
}

impl Axis {
    /// From the first epoch to `last`.
    pub(super) fn epochs(last: f64) -> Self {
        let range = 1.0 - 0.03 * last..last + 0.03 * last;
        Self { range, ticks: epoch_ticks(last), scale: Scale::Linear, whole: true }
    }

    /// Over `range`, which holds logarithms where the scale does.
    pub(super) fn values(range: Range<f64>, scale: Scale) -> Self {
        Self { ticks: value_ticks(&range, scale), range, scale, whole: false }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        if self.whole { format!("{value:.0}") } else { tick_label(*value, self.scale) }
    }
}

/// Whole epochs, at most about ten of them.
fn epoch_ticks(last: f64) -> Vec<f64> {
    let step = (last / 10.0).ceil().max(1.0);
    let first = if step > 1.0 { step } else { 1.0 };
    std::iter::successors(Some(first), |tick| Some(tick + step)).take_while(|tick| *tick <= last).collect()
}

/// Round numbers within the range: steps of 1, 2 or 5, or 1, 2 and 5 of each power of ten.
fn value_ticks(range: &std::ops::Range<f64>, scale: Scale) -> Vec<f64> {
    match scale {
        Scale::Linear => {
            let raw = (range.end - range.start) / 6.0;
            let power = 10f64.powf(raw.log10().floor());
            let step =
                [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw);
            let step = step.unwrap_or(raw);
            let first = (range.start / step).ceil();
            (0..=12)
                .map(|index| (first + f64::from(index)) * step)
                .take_while(|tick| *tick <= range.end)
                .collect()
        }
        Scale::Logarithmic => {
            let powers = range.start.floor() as i32..=range.end.ceil() as i32;
            let factors: &[f64] = if range.end - range.start > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let ticks =
                powers.flat_map(|power| factors.iter().map(move |factor| f64::from(power) + factor.log10()));
            ticks.filter(|tick| range.contains(tick)).collect()
        }
    }
}

fn tick_label(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Linear => format!("{value:.2}"),
        Scale::Logarithmic => {
            // Rounded to three digits, as the tick was a round number before its logarithm.
            let number = 10f64.powf(value);
            let digits = usize::try_from((2.0 - number.log10().floor()).clamp(0.0, 9.0) as i64).unwrap_or(0);
            let text = format!("{number:.digits$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(range: std::ops::Range<f64>, scale: Scale) -> Vec<String> {
        value_ticks(&range, scale).into_iter().map(|tick| tick_label(tick, scale)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(0.43..1.01, Scale::Linear), ["0.50", "0.60", "0.70", "0.80", "0.90", "1.00"]);
        assert_eq!(labels(-1.2..0.8, Scale::Logarithmic), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(
            labels(-4.1..2.1, Scale::Logarithmic),
            ["0.0001", "0.001", "0.01", "0.1", "1", "10", "100"]
        );
    }

    #[test]
    fn epochs_are_whole_and_few() {
        assert_eq!(epoch_ticks(5.0), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(epoch_ticks(1.0), [1.0]);
        assert_eq!(epoch_ticks(95.0), [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]);
    }
}
