//! The grid: job number → parameters, computed when asked, so that a million jobs need no rows.
//!
//! A raw point is a mixed-radix number whose digits are positions in the axes, the last axis fastest. Excluded
//! points are marked in a bitmap with a rank index, so that the n-th point that is left is found by a binary
//! search. Included points follow the grid.

use std::cmp::Ordering;

use terms::{ParameterMap, ParameterValue};

use crate::{
    known_points::{Holders, KnownPoints},
    specification::{Axis, PartialPoint},
};

/// Most points of a grid before exclusion: a bitmap of them takes 1.25 MB.
pub const POINTS_MAX: u64 = 10_000_000;
/// Most marks that exclusion may set, counting repeats: about a second of work.
const EXCLUSION_MARKS_MAX: u64 = 100_000_000;

/// Why there is no such grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridError {
    /// More than [`POINTS_MAX`] points.
    TooManyPoints {
        /// How many, as far as 64 bits count.
        points: u64,
    },
    /// No point is left.
    Empty,
    /// The exclusions match too many points together.
    TooMuchExclusion,
}

/// The jobs of a specification.
#[derive(Debug, Clone)]
pub struct Grid {
    axes: Vec<Axis>,
    /// For each long axis, its positions in the order of their values; empty for the others.
    sorted: Vec<Vec<u32>>,
    excluded: Option<RankedBits>,
    kept: u64,
    included: Vec<Vec<ParameterValue>>,
}

impl Grid {
    /// The grid over `axes` less `exclude`, followed by those of `include` that it does not hold already.
    pub fn new(axes: &[Axis], exclude: &[PartialPoint], include: &[PartialPoint]) -> Result<Self, GridError> {
        let points = axes.iter().fold(1u64, |product, axis| product.saturating_mul(axis.values.len() as u64));
        if points > POINTS_MAX {
            return Err(GridError::TooManyPoints { points });
        }
        let sorted = axes.iter().map(sorted_positions).collect();
        let mut grid =
            Self { axes: axes.to_vec(), sorted, excluded: None, kept: points, included: Vec::new() };
        grid.exclude(points, exclude)?;
        for partial in include {
            let point = grid.complete(partial);
            if !grid.holds(&point) && !grid.included.contains(&point) {
                grid.included.push(point);
            }
        }
        if grid.job_count() == 0 {
            return Err(GridError::Empty);
        }
        Ok(grid)
    }

    /// The parameters and their values.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The points beyond the axes, their values in the order of the axes.
    pub fn included(&self) -> &[Vec<ParameterValue>] {
        &self.included
    }

    /// Leaves out every job that `known` has; none may be left. Takes time in proportion to the points.
    pub fn leave_out(&mut self, known: &KnownPoints) {
        let masks: Vec<Vec<Holders>> =
            (0..).zip(&self.axes).map(|(axis, values)| known.holders(axis, values)).collect();
        let points = self.axes.iter().map(|axis| axis.values.len() as u64).product::<u64>();
        let mut bits = match &self.excluded {
            Some(excluded) => excluded.words.clone(),
            None => vec![0u64; points.div_ceil(64) as usize],
        };
        for raw in 0..points {
            let (word, mark) = ((raw / 64) as usize, 1 << (raw % 64));
            let mut left = raw;
            let mut holders = Holders::MAX;
            for axis in masks.iter().rev() {
                let length = axis.len() as u64;
                holders &= axis[(left % length) as usize];
                left /= length;
            }
            if holders != 0 && bits[word] & mark == 0 && known.has(holders, &self.raw_values(raw)) {
                bits[word] |= mark;
            }
        }
        let ranked = RankedBits::new(bits, points);
        self.kept = ranked.clear_count();
        self.excluded = Some(ranked);
        self.included.retain(|point| !known.has(known.holders_of(point), point));
    }

    /// How many jobs there are, at least 1.
    pub fn job_count(&self) -> u64 {
        self.kept + self.included.len() as u64
    }

    /// Every parameter of job `job` in the model's order; none beyond 1 ..= [`Self::job_count`].
    pub fn parameters(&self, job: u64) -> Option<ParameterMap> {
        let index = job.checked_sub(1)?;
        let values = match index.checked_sub(self.kept) {
            Some(position) => self.included.get(usize::try_from(position).ok()?)?.clone(),
            None => self.raw_values(self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index))),
        };
        let names = self.axes.iter().map(|axis| axis.name.to_owned());
        Some(ParameterMap(names.zip(values).collect()))
    }

    /// One parameter of job `job`, without the others.
    pub fn value(&self, job: u64, name: &str) -> Option<&ParameterValue> {
        let index = job.checked_sub(1)?;
        let position = self.axes.iter().position(|axis| axis.name == name)?;
        if let Some(included) = index.checked_sub(self.kept) {
            return self.included.get(usize::try_from(included).ok()?)?.get(position);
        }
        let raw = self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index));
        let later: u64 = self.axes[position + 1..].iter().map(|axis| axis.values.len() as u64).product();
        let values = &self.axes[position].values;
        values.get((raw / later % values.len() as u64) as usize)
    }

    /// The jobs that differ from `job` only in parameters that `may_differ` names: those with larger numbers, then those
    /// with smaller ones, each by number. Points that were included one by one have none, and are none. Looks at no more
    /// than `points_max` points.
    pub fn mates(
        &self,
        job: u64,
        may_differ: impl Fn(&str) -> bool,
        points_max: u64,
    ) -> impl Iterator<Item = u64> + '_ {
        let own = job.checked_sub(1).filter(|index| *index < self.kept);
        let own = own.map(|index| self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index)));
        let strides = own.map_or_else(Vec::new, |_| self.strides(may_differ));
        let combinations = own.map_or(0, |_| strides.iter().map(|(length, _)| length).product::<u64>());
        // Digits that may differ set to their first value, all others as they are; and what those digits say.
        let (mut base, mut own_combination) = (own.unwrap_or(0), 0);
        for (length, stride) in &strides {
            let digit = own.unwrap_or(0) / stride % length;
            base -= digit * stride;
            own_combination = own_combination * length + digit;
        }
        let point = move |combination: u64| {
            let (mut left, mut raw) = (combination, base);
            for (length, stride) in strides.iter().rev() {
                raw += left % length * stride;
                left /= length;
            }
            raw
        };
        let steps = 1..combinations.min(points_max.saturating_add(1));
        steps
            .map(move |step| point((own_combination + step) % combinations))
            .filter_map(|raw| self.job_at(raw))
    }

    /// Length and weight of each axis that `wanted` names, in their order.
    fn strides(&self, wanted: impl Fn(&str) -> bool) -> Vec<(u64, u64)> {
        let mut stride = 1;
        let mut strides = Vec::new();
        for axis in self.axes.iter().rev() {
            let length = axis.values.len() as u64;
            if wanted(axis.name) {
                strides.push((length, stride));
            }
            stride *= length;
        }
        strides.reverse();
        strides
    }

    /// The job of a raw point, unless it is excluded.
    fn job_at(&self, raw: u64) -> Option<u64> {
        match &self.excluded {
            None => Some(raw + 1),
            Some(bits) => (!bits.is_set(raw)).then(|| bits.rank_clear(raw) + 1),
        }
    }

    fn raw_values(&self, mut raw: u64) -> Vec<ParameterValue> {
        let mut values = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            let length = axis.values.len() as u64;
            values.push(axis.values[(raw % length) as usize].clone());
            raw /= length;
        }
        values.reverse();
        values
    }

    /// The raw point with these values, if the axes hold them all.
    fn raw_index(&self, values: &[ParameterValue]) -> Option<u64> {
        (0..).zip(values).try_fold(0u64, |raw, (axis, value)| {
            Some(raw * self.axes.get(axis)?.values.len() as u64 + self.position(axis, value)?)
        })
    }

    /// Where a value stands on an axis.
    fn position(&self, axis: usize, value: &ParameterValue) -> Option<u64> {
        let values = &self.axes.get(axis)?.values;
        let sorted = self.sorted.get(axis)?;
        if sorted.is_empty() {
            return values.iter().position(|known| known == value).map(|position| position as u64);
        }
        let found = sorted.binary_search_by(|position| compare(&values[*position as usize], value));
        found.ok().map(|place| u64::from(sorted[place]))
    }

    /// Whether the axes hold a job with these values, which come in their order.
    pub fn holds(&self, values: &[ParameterValue]) -> bool {
        let kept = |raw| !self.excluded.as_ref().is_some_and(|bits| bits.is_set(raw));
        self.raw_index(values).is_some_and(kept)
    }

    /// A full point: parameters that `partial` does not name have the axis's first value, which for a constant
    /// is the only one.
    fn complete(&self, partial: &PartialPoint) -> Vec<ParameterValue> {
        let value = |axis: &Axis| {
            let named = partial.iter().find(|(name, _)| *name == axis.name);
            named.map_or_else(|| axis.values[0].clone(), |(_, value)| value.clone())
        };
        self.axes.iter().map(value).collect()
    }

    fn exclude(&mut self, points: u64, patterns: &[PartialPoint]) -> Result<(), GridError> {
        if patterns.is_empty() {
            return Ok(());
        }
        let mut bits = vec![0u64; points.div_ceil(64) as usize];
        let mut marks_left = EXCLUSION_MARKS_MAX;
        for pattern in patterns {
            let Some(choices) = self.choices(pattern) else { continue };
            let matches = choices.iter().fold(1u64, |product, choice| product * (choice.end - choice.start));
            marks_left = marks_left.checked_sub(matches).ok_or(GridError::TooMuchExclusion)?;
            self.mark(&choices, &mut bits);
        }
        let ranked = RankedBits::new(bits, points);
        self.kept = ranked.clear_count();
        self.excluded = Some(ranked);
        Ok(())
    }

    /// For each axis the positions that `pattern` allows; none where it names a value the grid lacks.
    fn choices(&self, pattern: &PartialPoint) -> Option<Vec<std::ops::Range<u64>>> {
        let choice = |(index, axis): (usize, &Axis)| match pattern.iter().find(|(name, _)| *name == axis.name)
        {
            None => Some(0..axis.values.len() as u64),
            Some((_, value)) => {
                let position = self.position(index, value)?;
                Some(position..position + 1)
            }
        };
        self.axes.iter().enumerate().map(choice).collect()
    }

    fn mark(&self, choices: &[std::ops::Range<u64>], bits: &mut [u64]) {
        let mut digits: Vec<u64> = choices.iter().map(|choice| choice.start).collect();
        loop {
            let raw = self
                .axes
                .iter()
                .zip(&digits)
                .fold(0u64, |raw, (axis, digit)| raw * axis.values.len() as u64 + digit);
            bits[(raw / 64) as usize] |= 1 << (raw % 64);
            let Some(turning) = (0..digits.len()).rev().find(|&axis| digits[axis] + 1 < choices[axis].end)
            else {
                return;
            };
            digits[turning] += 1;
            for axis in turning + 1..digits.len() {
                digits[axis] = choices[axis].start;
            }
        }
    }
}

/// Axes up to this length are looked through from the start.
const SHORT_AXIS: usize = 16;

fn sorted_positions(axis: &Axis) -> Vec<u32> {
    if axis.values.len() <= SHORT_AXIS {
        return Vec::new();
    }
    let mut positions: Vec<u32> = (0..).take(axis.values.len()).collect();
    positions
        .sort_unstable_by(|one, other| compare(&axis.values[*one as usize], &axis.values[*other as usize]));
    positions
}

/// An order of all values, in which those of a type lie together.
fn compare(one: &ParameterValue, other: &ParameterValue) -> Ordering {
    use ParameterValue::{Boolean, Float, Integer, Null, Text};
    let kind = |value: &ParameterValue| match value {
        Integer(_) => 0,
        Float(_) => 1,
        Text(_) => 2,
        Boolean(_) => 3,
        Null => 4,
    };
    match (one, other) {
        (Integer(one), Integer(other)) => one.cmp(other),
        (Float(one), Float(other)) => one.total_cmp(other),
        (Text(one), Text(other)) => one.cmp(other),
        (Boolean(one), Boolean(other)) => one.cmp(other),
        _ => kind(one).cmp(&kind(other)),
    }
}

/// A bitmap that finds its n-th clear bit.
#[derive(Debug, Clone)]
struct RankedBits {
    words: Vec<u64>,
    /// Clear bits before each word.
    clear_before: Vec<u32>,
    clear_count: u64,
}

impl RankedBits {
    /// `length` bits; those beyond it in the last word count as set.
    fn new(mut words: Vec<u64>, length: u64) -> Self {
        if !length.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last |= u64::MAX << (length % 64);
        }
        let mut clear_count = 0u64;
        let mut clear_before = Vec::with_capacity(words.len());
        for word in &words {
            clear_before.push(u32::try_from(clear_count).expect("a grid has at most POINTS_MAX points"));
            clear_count += u64::from(word.count_zeros());
        }
        Self { words, clear_before, clear_count }
    }

    fn clear_count(&self) -> u64 {
        self.clear_count
    }

    fn is_set(&self, index: u64) -> bool {
        self.words[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// How many clear bits there are before `index`.
    fn rank_clear(&self, index: u64) -> u64 {
        let word = (index / 64) as usize;
        let before = !self.words[word] & ((1 << (index % 64)) - 1);
        u64::from(self.clear_before[word]) + u64::from(before.count_ones())
    }

    /// The position of the clear bit number `rank`, from 0; `rank` must be below the count of clear bits.
    fn select_clear(&self, rank: u64) -> u64 {
        let word = self.clear_before.partition_point(|&before| u64::from(before) <= rank) - 1;
        let mut left = rank - u64::from(self.clear_before[word]);
        let mut clear = !self.words[word];
        while left > 0 {
            clear &= clear - 1;
            left -= 1;
        }
        word as u64 * 64 + u64::from(clear.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis(name: &'static str, values: std::ops::Range<i64>) -> Axis {
        Axis { name, values: values.map(ParameterValue::Integer).collect() }
    }

    fn point(pairs: &[(&'static str, i64)]) -> PartialPoint {
        pairs.iter().map(|&(name, value)| (name, ParameterValue::Integer(value))).collect()
    }

    fn all(grid: &Grid) -> Vec<Vec<String>> {
        let text = |job| grid.parameters(job).unwrap().0.iter().map(|(_, value)| value.to_string()).collect();
        (1..=grid.job_count()).map(text).collect()
    }

    #[test]
    fn the_last_axis_varies_fastest_and_jobs_count_from_one() {
        let grid = Grid::new(&[axis("a", 0..2), axis("b", 0..3)], &[], &[]).unwrap();
        assert_eq!(all(&grid), [["0", "0"], ["0", "1"], ["0", "2"], ["1", "0"], ["1", "1"], ["1", "2"]]);
        assert!(grid.parameters(0).is_none());
        assert!(grid.parameters(7).is_none());
    }

    #[test]
    fn an_exclusion_leaves_out_every_point_that_it_matches() {
        let axes = [axis("a", 0..2), axis("b", 0..3)];
        let grid =
            Grid::new(&axes, &[point(&[("a", 0)]), point(&[("b", 2)]), point(&[("b", 9)])], &[]).unwrap();
        assert_eq!(all(&grid), [["1", "0"], ["1", "1"]]);
    }

    #[test]
    fn included_points_follow_once_and_take_constants() {
        let axes = [axis("a", 0..2), axis("b", 5..6)];
        let include = [point(&[("a", 1)]), point(&[("a", 7)]), point(&[("a", 7)]), point(&[("a", 0)])];
        let grid = Grid::new(&axes, &[point(&[("a", 0)])], &include).unwrap();
        assert_eq!(all(&grid), [["1", "5"], ["7", "5"], ["0", "5"]]);
    }

    #[test]
    fn a_grid_has_bounds() {
        let large = [axis("a", 0..10_000), axis("b", 0..1_001)];
        assert_eq!(Grid::new(&large, &[], &[]).unwrap_err(), GridError::TooManyPoints { points: 10_010_000 });
        let none = Grid::new(&[axis("a", 0..2)], &[point(&[])], &[]);
        assert_eq!(none.unwrap_err(), GridError::Empty);
    }

    #[test]
    fn mates_differ_only_where_they_may_and_come_by_number_from_the_job_on() {
        let axes = [axis("a", 0..2), axis("b", 0..3), axis("c", 0..2)];
        let whole = Grid::new(&axes, &[], &[point(&[("a", 7)])]).unwrap();
        let mates = |grid: &Grid, job, free: &[&str]| {
            grid.mates(job, |name| free.contains(&name), 99).collect::<Vec<_>>()
        };
        // Job 6 is a=0, b=2, c=1.
        assert_eq!(mates(&whole, 6, &["a", "b"]), [8, 10, 12, 2, 4]);
        let few: Vec<_> = whole.mates(6, |name| name != "c", 4).collect();
        assert_eq!(few, [8, 10, 12, 2]);
        assert_eq!(mates(&whole, 6, &["c"]), [5]);
        assert!(mates(&whole, 6, &[]).is_empty());
        assert!(mates(&whole, 13, &["a", "b"]).is_empty(), "an included point");
        assert!(mates(&whole, 14, &["a", "b"]).is_empty() && mates(&whole, 0, &["a"]).is_empty());
        // Without a=0, b=1 and without a=1, b=0: jobs 1, 2 | 3, 4 | 5, 6 | 7, 8.
        let exclude = [point(&[("a", 0), ("b", 1)]), point(&[("a", 1), ("b", 0)])];
        let some = Grid::new(&axes, &exclude, &[]).unwrap();
        assert_eq!(mates(&some, 3, &["a", "b"]), [5, 7, 1]);
    }

    proptest! {
        #[test]
        fn mates_are_what_a_filter_would_find(
            sizes in prop::collection::vec(1i64..6, 3),
            excluded in prop::collection::vec((0i64..6, 0i64..6), 0..4),
            free in prop::collection::vec(any::<bool>(), 3),
        ) {
            let names = ["a", "b", "c"];
            let axes: Vec<Axis> = sizes.iter().zip(names).map(|(&size, name)| axis(name, 0..size)).collect();
            let patterns: Vec<_> = excluded.iter().map(|&(a, b)| point(&[("a", a), ("b", b)])).collect();
            let Ok(grid) = Grid::new(&axes, &patterns, &[]) else { return Ok(()) };
            let may_differ = |name: &str| free[names.iter().position(|known| *known == name).unwrap()];
            let jobs: Vec<_> = (1..=grid.job_count()).map(|job| grid.parameters(job).unwrap()).collect();
            for (index, own) in jobs.iter().enumerate() {
                let alike = |other: &&(u64, &ParameterMap)| {
                    other.0 != index as u64 + 1
                        && own.0.iter().zip(&other.1.0).all(|(one, two)| one == two || may_differ(&one.0))
                };
                let numbered: Vec<_> = (1..).zip(&jobs).collect();
                let expected: Vec<u64> = numbered.iter().filter(alike).map(|(job, _)| *job).collect();
                let mut found: Vec<_> = grid.mates(index as u64 + 1, may_differ, u64::MAX).collect();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn exclusion_is_what_a_filter_would_do(
            sizes in prop::collection::vec(1i64..9, 1..4),
            patterns in prop::collection::vec(prop::collection::vec(prop::option::of(0i64..9), 3), 0..6),
        ) {
            let names = ["a", "b", "c"];
            let axes: Vec<Axis> = sizes.iter().zip(names).map(|(&size, name)| axis(name, 0..size)).collect();
            let patterns: Vec<PartialPoint> = patterns.iter().map(|pattern| {
                let named = pattern.iter().zip(names).take(axes.len());
                named.filter_map(|(value, name)| Some((name, ParameterValue::Integer((*value)?)))).collect()
            }).collect();
            let whole = Grid::new(&axes, &[], &[]).unwrap();
            let expected: Vec<ParameterMap> = (1..=whole.job_count()).map(|job| whole.parameters(job).unwrap())
                .filter(|point| !patterns.iter().any(|pattern| {
                    pattern.iter().all(|(name, value)| point.get(name) == Some(value))
                })).collect();
            match Grid::new(&axes, &patterns, &[]) {
                Err(error) => { prop_assert_eq!(error, GridError::Empty); prop_assert!(expected.is_empty()); }
                Ok(grid) => {
                    let jobs: Vec<_> = (1..=grid.job_count()).map(|job| grid.parameters(job).unwrap()).collect();
                    for (number, point) in (1..).zip(&jobs) {
                        for (name, value) in &point.0 {
                            prop_assert_eq!(grid.value(number, name), Some(value));
                        }
                    }
                    prop_assert_eq!(jobs, expected);
                }
            }
        }
    }
}
