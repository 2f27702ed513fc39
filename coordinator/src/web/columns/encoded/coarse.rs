//! Numbers that are only drawn, in two bytes each: a screen has some thousand points, and nothing is ranked by them. Exact ones are in the rows
//! of the table and of jobs.

use serde::Serialize;
use utoipa::ToSchema;

/// How many steps there are between the smallest number and the largest. One more stands for none.
const STEPS: u16 = u16::MAX - 1;
const NONE: u32 = u16::MAX as u32;
/// Numbers of which the largest is so many times the smallest are told apart by their ratios: of small ones nothing would be left otherwise.
const RATIO_MIN: f64 = 100.0;

/// What numbers from 0 to 65,534 stand for; 65,535 stands for none.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ColumnScale)]
pub(super) struct Scale {
    /// What 0 stands for.
    low: f64,
    /// What 65,534 stands for.
    high: f64,
    /// Whether steps are equal ratios, and not equal differences.
    is_log: bool,
}

/// The numbers as they are, where all are whole and fit into two bytes.
pub(super) fn whole(numbers: &[f32]) -> Option<Vec<u32>> {
    let fits = |number: &f32| number.fract() == 0.0 && (0.0..=f32::from(u16::MAX)).contains(number);
    numbers.iter().all(fits).then(|| numbers.iter().map(|number| *number as u32).collect())
}

/// The numbers as steps of a scale; none where one is infinite, or none is there.
pub(super) fn steps(numbers: &[f32]) -> Option<(Scale, Vec<u32>)> {
    let there = || numbers.iter().copied().filter(|number| !number.is_nan()).map(f64::from);
    let (low, high) = (there().reduce(f64::min)?, there().reduce(f64::max)?);
    if !low.is_finite() || !high.is_finite() {
        return None;
    }
    let is_log = low > 0.0 && high / low >= RATIO_MIN;
    let place = |number: f64| if is_log { number.ln() } else { number };
    let (from, size) = (place(low), place(high) - place(low));
    let step = |number: &f32| match number.is_nan() {
        true => NONE,
        false if size == 0.0 => 0,
        false => ((place(f64::from(*number)) - from) / size * f64::from(STEPS)).round() as u32,
    };
    Some((Scale { low, high, is_log }, numbers.iter().map(step).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a page reads them.
    fn read(scale: &Scale, step: u32) -> f64 {
        let share = f64::from(step) / f64::from(STEPS);
        match scale.is_log {
            true => scale.low * (scale.high / scale.low).powf(share),
            false => scale.low + (scale.high - scale.low) * share,
        }
    }

    #[test]
    fn what_is_drawn_is_within_half_a_step_of_what_was() {
        for (low, high) in [(0.0_f32, 1.0_f32), (-3.0, 5.0), (1e-5, 1.0), (0.001, 0.0011), (2.0, 2.0)] {
            let numbers: Vec<f32> =
                (0..=1_000).map(|at| low + (high - low) * (at as f32 / 1e3).powi(3)).collect();
            let (scale, found) = steps(&numbers).unwrap();
            assert_eq!(scale.is_log, low > 0.0 && high / low > 100.0);
            assert!(
                (read(&scale, found[1_000]) - f64::from(high)).abs() < 1e-9,
                "the ends are what they were"
            );
            for (number, step) in numbers.iter().zip(&found) {
                let (number, drawn) = (f64::from(*number), read(&scale, *step));
                let half = match scale.is_log {
                    true => number * ((scale.high / scale.low).ln() / 65_534.0) * 0.51,
                    false => (scale.high - scale.low) / 65_534.0 * 0.51,
                };
                assert!((number - drawn).abs() <= half, "{number} is drawn at {drawn}");
            }
        }
    }

    #[test]
    fn what_is_not_there_or_has_no_place_stays_so() {
        let (scale, found) = steps(&[f32::NAN, 0.25, 0.5]).unwrap();
        assert_eq!((scale, found), (Scale { low: 0.25, high: 0.5, is_log: false }, vec![NONE, 0, 65_534]));
        assert_eq!(steps(&[f32::NAN]), None);
        assert_eq!(steps(&[1.0, f32::INFINITY]), None);
        assert_eq!(whole(&[3.0, 65_535.0]), Some(vec![3, 65_535]));
        assert_eq!((whole(&[0.5]), whole(&[65_536.0]), whole(&[f32::NAN])), (None, None, None));
    }
}
