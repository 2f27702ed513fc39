//! The grid: job number → parameters, computed on demand, so that a million jobs need no rows.
//!
//! A raw point is a mixed-radix number whose digits are positions on the axes, the last axis fastest. Excluded points
//! are marked in a bitmap with a rank index, so that a binary search finds the n-th remaining point. Included points
//! follow the grid. A parameter whose conditions do not hold is at its first value in the raw point; raw points with
//! any other value of it are not points, and are marked like excluded ones.

pub(crate) mod bits;

use std::cmp::Ordering;

use terms::ParameterValue;

use self::bits::RankedBits;
use crate::{
    known_points::{Holders, KnownPoints},
    space::{Axis, AxisSet, Conditions, PartialPoint, Point, completed, contains},
};

/// Most points of a grid before exclusion: a bitmap of them takes 1.25 MB.
pub const POINTS_MAX: u64 = 10_000_000;
/// Most bits that exclusions may set, counting repeats: about a second of work.
const EXCLUSION_MARKS_MAX: u64 = 100_000_000;

/// Why there is no such grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridError {
    /// More than [`POINTS_MAX`] points.
    TooManyPoints {
        /// How many, saturating at 64 bits.
        points: u64,
    },
    /// No point is left.
    Empty,
    /// The exclusions match too many points in total.
    TooMuchExclusion,
    /// The conditions of the axes cannot be used; [`Conditions::new`] says why.
    Conditions,
}

/// The jobs of a specification.
#[derive(Debug, Clone)]
pub struct Grid {
    axes: Vec<Axis>,
    conditions: Conditions,
    /// For each long axis, its positions sorted by value; empty for the others.
    sorted: Vec<Vec<u32>>,
    excluded: Option<RankedBits>,
    kept: u64,
    included: Vec<Point>,
    /// Jobs beyond this number are left out.
    jobs_max: u64,
}

impl Grid {
    /// The grid over `axes` without `exclude`, followed by the points of `include` that it lacks.
    pub fn new(axes: &[Axis], exclude: &[PartialPoint], include: &[PartialPoint]) -> Result<Self, GridError> {
        let points =
            axes.iter().fold(1u64, |product, axis| product.saturating_mul(axis.values().len() as u64));
        if points > POINTS_MAX {
            return Err(GridError::TooManyPoints { points });
        }
        let conditions = Conditions::new(axes).map_err(|_| GridError::Conditions)?;
        let sorted = axes.iter().map(sorted_positions).collect();
        let (axes, included, jobs_max) = (axes.to_vec(), Vec::new(), u64::MAX);
        let mut grid = Self { axes, conditions, sorted, excluded: None, kept: points, included, jobs_max };
        grid.exclude(points, exclude)?;
        for partial in include {
            let point = completed(&grid.axes, &grid.conditions, partial);
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

    /// Leaves out all but the first jobs; none for no limit.
    pub fn limit(&mut self, jobs_max: Option<u64>) {
        self.jobs_max = jobs_max.unwrap_or(u64::MAX);
    }

    /// The points beyond the axes, their values in the order of the axes.
    pub fn included(&self) -> &[Point] {
        let count = self.job_count().saturating_sub(self.kept);
        &self.included[..count as usize]
    }

    /// Removes every job that `known` has; possibly all. Takes time in proportion to the number of points.
    pub fn leave_out(&mut self, known: &KnownPoints) {
        let masks: Vec<Vec<Holders>> =
            (0..).zip(&self.axes).map(|(axis, values)| known.holders(axis, values)).collect();
        let without: Vec<Holders> = (0..self.axes.len()).map(|axis| known.holders_without(axis)).collect();
        let points = self.points();
        let mut bits = self.marks(points);
        let mut digits = vec![0; self.axes.len()];
        for raw in 0..points {
            let (word, mark) = ((raw / 64) as usize, 1 << (raw % 64));
            if bits[word] & mark != 0 {
                continue;
            }
            self.read_digits(raw, &mut digits);
            let absent = self.conditions.without_value(&digits);
            let holders = (0..digits.len()).fold(Holders::MAX, |holders, axis| {
                let of_axis =
                    if contains(absent, axis) { without[axis] } else { masks[axis][digits[axis] as usize] };
                holders & of_axis
            });
            if holders != 0 && known.has(holders, &self.raw_values(raw)) {
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
        (self.kept + self.included.len() as u64).min(self.jobs_max)
    }

    /// The parameters that job `job` has; none outside 1 ..= [`Self::job_count`].
    #[cfg(test)]
    pub(crate) fn parameters(&self, job: u64) -> Option<terms::ParameterMap> {
        let mut parameters = Vec::with_capacity(self.axes.len());
        self.visit(job, &mut |name: &str, value| parameters.push((name.to_owned(), value)))?;
        Some(terms::ParameterMap(parameters))
    }

    /// Calls with each parameter that job `job` has, in the order of the axes; none outside 1 ..= [`Self::job_count`].
    pub(crate) fn visit(&self, job: u64, call: &mut impl FnMut(&str, ParameterValue)) -> Option<()> {
        let index = job.checked_sub(1).filter(|_| job <= self.jobs_max)?;
        let values = match index.checked_sub(self.kept) {
            Some(position) => self.included.get(usize::try_from(position).ok()?)?.clone(),
            None => self.raw_values(self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index))),
        };
        for (axis, value) in self.axes.iter().zip(values) {
            if let Some(value) = value {
                call(&axis.name, value);
            }
        }
        Some(())
    }

    /// One parameter of job `job`, without computing the others.
    pub fn value(&self, job: u64, name: &str) -> Option<&ParameterValue> {
        let index = job.checked_sub(1).filter(|_| job <= self.jobs_max)?;
        let position = self.axes.iter().position(|axis| *axis.name == *name)?;
        if let Some(included) = index.checked_sub(self.kept) {
            return self.included.get(usize::try_from(included).ok()?)?.get(position)?.as_ref();
        }
        let raw = self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index));
        if !self.axes[position].when.is_empty() {
            let mut digits = vec![0; self.axes.len()];
            self.read_digits(raw, &mut digits);
            if contains(self.conditions.without_value(&digits), position) {
                return None;
            }
        }
        let later: u64 = self.axes[position + 1..].iter().map(|axis| axis.values().len() as u64).product();
        let values = self.axes[position].values();
        values.get((raw / later % values.len() as u64) as usize)
    }

    /// The jobs that differ from `job` only in parameters that `may_differ` accepts: larger numbers first, then smaller
    /// ones, each in order. Included points neither have such jobs nor are such jobs. Looks at no more than
    /// `points_max` points.
    pub fn differing_only_in(
        &self,
        job: u64,
        may_differ: impl Fn(&str) -> bool,
        points_max: u64,
    ) -> impl Iterator<Item = u64> + '_ {
        let own = job.checked_sub(1).filter(|index| *index < self.kept);
        let own = own.map(|index| self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index)));
        let strides = own.map_or_else(Vec::new, |_| self.strides(may_differ));
        let combinations = own.map_or(0, |_| strides.iter().map(|(length, _)| length).product::<u64>());
        // The raw point with the digits that may differ at zero, and those digits as one number.
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

    /// Says of other jobs whether they are among those that differ from `job` only in parameters that `may_differ` accepts.
    pub fn is_alike(&self, job: u64, may_differ: impl Fn(&str) -> bool) -> impl Fn(u64) -> bool + '_ {
        let raw = |job: u64| {
            let index = job.checked_sub(1).filter(|index| *index < self.kept)?;
            Some(self.excluded.as_ref().map_or(index, |bits| bits.select_clear(index)))
        };
        let own = raw(job);
        let shared = self.strides(|name| !may_differ(name));
        move |other: u64| {
            let Some((own, raw)) = own.zip(raw(other).filter(|_| other <= self.jobs_max)) else {
                return false;
            };
            other != job
                && shared.iter().all(|(length, stride)| own / stride % length == raw / stride % length)
        }
    }

    /// Length and stride of each axis that `wanted` accepts, in order.
    fn strides(&self, wanted: impl Fn(&str) -> bool) -> Vec<(u64, u64)> {
        let mut stride = 1;
        let mut strides = Vec::new();
        for axis in self.axes.iter().rev() {
            let length = axis.values().len() as u64;
            if wanted(&axis.name) {
                strides.push((length, stride));
            }
            stride *= length;
        }
        strides.reverse();
        strides
    }

    /// The job of a raw point, unless it is left out.
    fn job_at(&self, raw: u64) -> Option<u64> {
        let job = match &self.excluded {
            None => Some(raw + 1),
            Some(bits) => (!bits.is_set(raw)).then(|| bits.rank_clear(raw) + 1),
        };
        job.filter(|job| *job <= self.jobs_max)
    }

    /// How many raw points there are.
    fn points(&self) -> u64 {
        self.axes.iter().map(|axis| axis.values().len() as u64).product()
    }

    /// The position of a raw point on each axis.
    fn read_digits(&self, mut raw: u64, digits: &mut [u32]) {
        for (axis, digit) in self.axes.iter().zip(digits).rev() {
            let length = axis.values().len() as u64;
            *digit = (raw % length) as u32;
            raw /= length;
        }
    }

    fn raw_values(&self, raw: u64) -> Point {
        let mut digits = vec![0; self.axes.len()];
        self.read_digits(raw, &mut digits);
        let absent = self.conditions.without_value(&digits);
        let value = |(axis, digit): (usize, &u32)| {
            (!contains(absent, axis)).then(|| self.axes[axis].values()[*digit as usize].clone())
        };
        digits.iter().enumerate().map(value).collect()
    }

    /// The raw point with these values, if all are on the axes and the conditions agree.
    fn raw_index(&self, values: &[Option<ParameterValue>]) -> Option<u64> {
        let position = |(axis, value): (usize, &Option<ParameterValue>)| match value {
            Some(value) => self.position(axis, value),
            None => Some(0),
        };
        let digits: Vec<u32> =
            values.iter().enumerate().map(|value| Some(position(value)? as u32)).collect::<Option<_>>()?;
        if digits.len() != self.axes.len() {
            return None;
        }
        let absent = (0..).zip(values).fold(0, |set, (axis, value)| match value {
            Some(_) => set,
            None => set | 1 << axis,
        });
        let raw =
            |raw: u64, (axis, digit): (&Axis, &u32)| raw * axis.values().len() as u64 + u64::from(*digit);
        (self.conditions.without_value(&digits) == absent).then(|| self.axes.iter().zip(&digits).fold(0, raw))
    }

    /// The position of a value on an axis.
    fn position(&self, axis: usize, value: &ParameterValue) -> Option<u64> {
        let values = self.axes.get(axis)?.values();
        let sorted = self.sorted.get(axis)?;
        if sorted.is_empty() {
            return values.iter().position(|known| known == value).map(|position| position as u64);
        }
        let found = sorted.binary_search_by(|position| compare(&values[*position as usize], value));
        found.ok().map(|place| u64::from(sorted[place]))
    }

    /// Whether the grid has a job with these values, which are in the order of the axes.
    pub fn holds(&self, values: &[Option<ParameterValue>]) -> bool {
        self.raw_index(values).is_some_and(|raw| self.job_at(raw).is_some())
    }

    fn exclude(&mut self, points: u64, patterns: &[PartialPoint]) -> Result<(), GridError> {
        if patterns.is_empty() && self.conditions.is_empty() {
            return Ok(());
        }
        let mut bits = self.marks(points);
        let mut marks_left = EXCLUSION_MARKS_MAX;
        for pattern in patterns {
            let Some(choices) = self.choices(pattern) else { continue };
            let matches = choices.iter().fold(1u64, |product, choice| product * (choice.end - choice.start));
            marks_left = marks_left.checked_sub(matches).ok_or(GridError::TooMuchExclusion)?;
            self.mark(pattern, &choices, &mut bits);
        }
        self.mark_those_without_meaning(points, &mut bits);
        let ranked = RankedBits::new(bits, points);
        self.kept = ranked.clear_count();
        self.excluded = Some(ranked);
        Ok(())
    }

    /// A copy of the bitmap of excluded points, to be changed.
    fn marks(&self, points: u64) -> Vec<u64> {
        match &self.excluded {
            Some(excluded) => excluded.words.clone(),
            None => vec![0u64; points.div_ceil(64) as usize],
        }
    }

    /// Marks the raw points in which a parameter without a value is not at its first one.
    fn mark_those_without_meaning(&self, points: u64, bits: &mut [u64]) {
        if self.conditions.is_empty() {
            return;
        }
        let mut digits = vec![0; self.axes.len()];
        for raw in 0..points {
            self.read_digits(raw, &mut digits);
            let absent = self.conditions.without_value(&digits);
            if (0..).zip(&digits).any(|(axis, digit)| *digit > 0 && contains(absent, axis)) {
                bits[(raw / 64) as usize] |= 1 << (raw % 64);
            }
        }
    }

    /// The axes without a value at these positions.
    fn absent_at(&self, digits: &[u64]) -> AxisSet {
        self.conditions.without_value(digits)
    }

    /// For each axis the positions that `pattern` allows; none where it names a value that the grid lacks.
    fn choices(&self, pattern: &PartialPoint) -> Option<Vec<std::ops::Range<u64>>> {
        let choice = |(index, axis): (usize, &Axis)| match pattern.iter().find(|(name, _)| *name == axis.name)
        {
            None => Some(0..axis.values().len() as u64),
            Some((_, value)) => {
                let position = self.position(index, value)?;
                Some(position..position + 1)
            }
        };
        self.axes.iter().enumerate().map(choice).collect()
    }

    /// Marks the raw points that `choices` allow and in which every parameter of `pattern` has a value.
    fn mark(&self, pattern: &PartialPoint, choices: &[std::ops::Range<u64>], bits: &mut [u64]) {
        let is_named = |axis: &Axis| pattern.iter().any(|(name, _)| *name == axis.name);
        let named = (0..).zip(&self.axes).filter(|(_, axis)| is_named(axis));
        let named = named.fold(0, |set, (axis, _)| set | 1 << axis);
        let mut digits: Vec<u64> = choices.iter().map(|choice| choice.start).collect();
        loop {
            let raw = self
                .axes
                .iter()
                .zip(&digits)
                .fold(0u64, |raw, (axis, digit)| raw * axis.values().len() as u64 + digit);
            if self.conditions.is_empty() || self.absent_at(&digits) & named == 0 {
                bits[(raw / 64) as usize] |= 1 << (raw % 64);
            }
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

/// Axes up to this length are searched linearly.
const SHORT_AXIS: usize = 16;

fn sorted_positions(axis: &Axis) -> Vec<u32> {
    if axis.values().len() <= SHORT_AXIS {
        return Vec::new();
    }
    let mut positions: Vec<u32> = (0..).take(axis.values().len()).collect();
    positions.sort_unstable_by(|one, other| {
        compare(&axis.values()[*one as usize], &axis.values()[*other as usize])
    });
    positions
}

/// An order of all values that groups them by type.
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

#[cfg(test)]
mod tests;
