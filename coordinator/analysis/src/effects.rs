//! What the values of a parameter come to.

use serde::Serialize;
use terms::{Goal, ParameterValue};
use utoipa::ToSchema;

use super::{
    frame::{ABSENT, Frame, Kind, LEVELS_MAX, Parameter, Unit},
    pairs::{Others, Pair, of_trainings, pairs},
    points::better,
    statistics::{Interval, Mean},
};

/// Most ranges into which numbers are put.
const RANGES_MAX: usize = 8;
/// Fewest numbers of a range, as far as there are enough.
const RANGE_MIN: usize = 4;

/// The effect of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Effect {
    pub parameter: String,
    /// Its values, or ranges of them with about as many points each: numbers rising.
    pub levels: Vec<Level>,
    /// How many values are not listed, as there are too many.
    pub left_out: u64,
    /// How many trainings with those diverged.
    pub diverged_left_out: u64,
    /// Differences between points that are equal in everything else: of all values; where there are more than five, of each and the first, and of
    /// the best and the worst mean.
    pub pairs: Vec<Pair>,
}

impl Effect {
    /// The values that have a mean, the best first; of equal ones the earlier.
    pub fn ranked(&self, goal: Goal) -> Vec<&Level> {
        ranked(&self.levels, goal).into_iter().map(|(_, level)| level).collect()
    }
}

/// The points, or the trainings of the only parameter, with a value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Level {
    /// The value; null for a range, and where points do not have the parameter.
    #[schema(value_type = Value)]
    pub value: Option<ParameterValue>,
    /// The smallest and the largest number.
    pub range: Option<Range>,
    /// Whether these are the points that do not have the parameter.
    pub absent: bool,
    /// How many points.
    pub count: u64,
    /// How many trainings diverged, which are in no mean.
    pub diverged: u64,
    pub mean: Option<f64>,
    /// The standard deviation of the sample.
    pub deviation: Option<f64>,
    /// Student's interval of the mean; none of a single point, or where nothing varies. Points of a grid differ in other parameters, too, and this is in it.
    pub interval: Option<Interval>,
}

/// Some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Range {
    pub from: f64,
    pub to: f64,
}

/// A level as its points come in.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    mean: Mean,
    diverged: u64,
}

/// The effect of each parameter that varies.
pub(crate) fn effects(frame: &Frame, units: &[Unit], goal: Goal) -> Vec<Effect> {
    let others = Others::new(frame);
    // Trainings of the only parameter of which no seed says which belong together.
    let are_samples = frame.compares_trainings() && frame.seed.is_none();
    let effect = |(place, parameter): (usize, &Parameter)| {
        let (levels, left_out, diverged_left_out) = match &parameter.kind {
            Kind::Levels(values) => of_levels(frame, parameter, values, units),
            Kind::Numbers(numbers) => (of_ranges(frame, numbers, units), 0, 0),
        };
        let pairs = match &parameter.kind {
            Kind::Levels(values) if values.len() <= LEVELS_MAX => {
                let extremes = extremes(&levels, values.len(), goal);
                let samples = are_samples.then(|| of_trainings(parameter, values, units, extremes)).flatten();
                let groups = || others.groups(frame, place);
                samples.unwrap_or_else(|| pairs(parameter, values, units, &groups(), extremes))
            }
            _ => Vec::new(),
        };
        Effect { parameter: parameter.name.clone(), levels, left_out, diverged_left_out, pairs }
    };
    let varying = frame.parameters.iter().enumerate().filter(|(_, parameter)| parameter.varies());
    varying.map(effect).collect()
}

/// The levels that have a mean, with their places, the best first; of equal ones the earlier.
fn ranked(levels: &[Level], goal: Goal) -> Vec<(usize, &Level)> {
    let mean = |level: &Level| level.mean.unwrap_or(f64::NAN);
    let mut ranked: Vec<(usize, &Level)> =
        levels.iter().enumerate().filter(|(_, level)| level.mean.is_some()).collect();
    ranked.sort_by(|(_, one), (_, other)| better(goal, mean(other), mean(one)));
    ranked
}

/// The codes of the values with the best and the worst mean, the smaller code first. All of so many values have a level, in the order of their
/// codes; none where one of the two is the absence of the parameter, which is equal to nothing in everything else.
fn extremes(levels: &[Level], values: usize, goal: Goal) -> Option<(u32, u32)> {
    let ranked = ranked(levels, goal);
    let (best, worst) = (ranked.first()?.0, ranked.last()?.0);
    (best.max(worst) < values).then_some((best.min(worst) as u32, best.max(worst) as u32))
}

/// Each value by itself; of too many those with the most points and diverged trainings, how many are left out, and how many trainings diverged
/// with those.
fn of_levels(
    frame: &Frame,
    parameter: &Parameter,
    values: &[ParameterValue],
    units: &[Unit],
) -> (Vec<Level>, u64, u64) {
    let place = |row: usize| match parameter.codes[row] {
        ABSENT => values.len(),
        code => code as usize,
    };
    let sums = summed(frame, units, values.len() + 1, place);
    let mut shown: Vec<usize> = (0..values.len()).collect();
    // Stable, so that of equal ones those that came first stay.
    shown.sort_by_key(|code| std::cmp::Reverse(sums[*code].mean.count + sums[*code].diverged));
    let rest = shown.split_off(shown.len().min(LEVELS_MAX));
    let diverged_left_out = rest.iter().map(|code| sums[*code].diverged).sum();
    shown.sort_unstable();
    let mut levels: Vec<Level> =
        shown.into_iter().map(|code| sums[code].level(frame, Some(values[code].clone()), None)).collect();
    levels.extend(absent(frame, &sums[values.len()]));
    (levels, rest.len() as u64, diverged_left_out)
}

/// Ranges with about as many points each.
fn of_ranges(frame: &Frame, numbers: &[f64], units: &[Unit]) -> Vec<Level> {
    let mut sorted: Vec<f64> = units.iter().map(|unit| numbers[unit.row]).collect();
    sorted.retain(|number| !number.is_nan());
    sorted.sort_by(f64::total_cmp);
    let count = (sorted.len() / RANGE_MIN).clamp(1, RANGES_MAX);
    // Each range ends with one of these; equal numbers are in one range.
    let mut ends: Vec<f64> = (1..=count)
        .filter_map(|range| sorted.get((sorted.len() * range / count).checked_sub(1)?))
        .copied()
        .collect();
    // Where trainings diverged beyond all that ended well, they have ranges of their own: below the least number, and above the last.
    let all = frame.values.iter().zip(numbers).filter(|(value, number)| value.is_nan() && !number.is_nan());
    let mut diverged: Vec<f64> = all.map(|(_, number)| *number).collect();
    diverged.sort_by(f64::total_cmp);
    let last = ends.last().copied().unwrap_or(f64::NEG_INFINITY);
    if let Some(first) = sorted.first().filter(|first| diverged.first().is_some_and(|lowest| lowest < *first))
    {
        ends.insert(0, first.next_down());
    }
    ends.extend(diverged.last().filter(|highest| **highest > last));
    ends.dedup();
    let of_number = |number: f64| ends.partition_point(|end| *end < number);
    let place = |row: usize| match numbers[row] {
        number if number.is_nan() => ends.len(),
        number => of_number(number),
    };
    let sums = summed(frame, units, ends.len() + 1, place);
    let range = |place: usize| {
        let all = sorted.iter().chain(diverged.iter());
        let within = all.filter(|number| of_number(**number) == place);
        let (from, to) = within.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), number| {
            (number.min(from), number.max(to))
        });
        Range { from, to }
    };
    let mut levels: Vec<Level> =
        (0..ends.len()).map(|place| sums[place].level(frame, None, Some(range(place)))).collect();
    levels.extend(absent(frame, &sums[ends.len()]));
    levels
}

fn summed(frame: &Frame, units: &[Unit], places: usize, place: impl Fn(usize) -> usize) -> Vec<Sum> {
    let mut sums = vec![Sum::default(); places];
    units.iter().for_each(|unit| sums[place(unit.row)].mean.add(unit.value));
    let diverged = frame.values.iter().enumerate().filter(|(_, value)| value.is_nan());
    diverged.for_each(|(row, _)| sums[place(row)].diverged += 1);
    sums
}

/// The points that do not have the parameter, where there are some.
fn absent(frame: &Frame, sum: &Sum) -> Option<Level> {
    (sum.mean.count > 0 || sum.diverged > 0).then(|| Level { absent: true, ..sum.level(frame, None, None) })
}

impl Sum {
    fn level(&self, frame: &Frame, value: Option<ParameterValue>, range: Option<Range>) -> Level {
        Level {
            value,
            range,
            absent: false,
            count: self.mean.count,
            diverged: self.diverged,
            mean: (self.mean.count > 0).then_some(self.mean.mean),
            deviation: self.mean.deviation(),
            interval: frame.interval(&self.mean),
        }
    }
}
