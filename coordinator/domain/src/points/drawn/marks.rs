//! Which draws are points: found once, when the points are built. What is found for a larger number of points begins with what
//! is found for a smaller one, so that raising `run_cap` changes no point.

use std::collections::HashSet;

use super::{DrawnPoints, Places, Source};
use crate::{
    grid::{GridError, POINTS_MAX, bits::RankedBits},
    points::PointsError,
    space::{AXES_MAX, AxisSet, PartialPoint, Point, contains},
};

/// Most comparisons of a point with an entry of `exclude`: about a second of work.
const COMPARISONS_MAX: u64 = 200_000_000;
/// Draws without a new point after which a huge finite space counts as exhausted, and draws in a row that may be excluded:
/// where a hundredth of the space is left, 2,000 have a chance of 2e-9.
const VAIN_DRAWS_MAX: u64 = 65_536;
const EXCLUDED_IN_A_ROW_MAX: u64 = 2_000;
/// Draws in a row that may be excluded or repeat a point of an infinite space: a condition may hold for one value of a thousand, and
/// once all points without its range are used, each new one takes a thousand draws.
const REPEATED_IN_A_ROW_MAX: u64 = 100_000;
/// Most points of a huge finite space that are compared with each other: twenty megabytes while they are.
pub const COMPARED_MAX: u64 = 1_000_000;
/// Most draws for a space that fits a bitmap, for each point of it and altogether: those that are missed then follow.
const DRAWS_FOR_EACH_MAX: u64 = 16;
const DRAWS_MAX: u64 = 1 << 24;
/// Most draws for a larger one: some seconds of work, and less than a Sobol sequence has points.
const DRAWS_OF_MANY_MAX: u64 = 1 << 26;

/// An entry of `exclude`: the places that it names.
type Pattern = Vec<(usize, u64)>;

pub(super) struct Marks<'a> {
    points: &'a mut DrawnPoints,
    patterns: Vec<Pattern>,
    /// Of each draw so far whether it is no point.
    skipped: Vec<u64>,
    looked_at: u64,
    found: u64,
}

/// Of an infinite space the points in which no parameter with infinitely many values has one.
struct Counted {
    /// The axes of those parameters.
    endless: AxisSet,
    /// A bit for each point by its number: whether it was drawn or is included.
    taken: Vec<u64>,
}

impl Counted {
    /// Whether a draw is one of these points and was there before; from now on it was.
    fn is_taken(&mut self, points: &DrawnPoints, places: &Places, absent: AxisSet) -> bool {
        if absent & self.endless != self.endless {
            return false;
        }
        let number = points.number(places, absent);
        let (word, mark) = ((number / 64) as usize, 1 << (number % 64));
        let was_taken = self.taken[word] & mark != 0;
        self.taken[word] |= mark;
        was_taken
    }
}

impl<'a> Marks<'a> {
    /// Finds which draws are the points, at most `points_max`, of a space with `finite` many or infinitely many.
    pub(super) fn mark(
        points: &'a mut DrawnPoints,
        exclude: &[PartialPoint],
        finite: Option<u64>,
        points_max: Option<u64>,
    ) -> Result<(), PointsError> {
        let included = points.included.len() as u64;
        let wanted = match points_max {
            Some(0) => return Err(PointsError::NoneFits),
            Some(max) => max.min(POINTS_MAX),
            None if finite.is_some_and(|points| points <= POINTS_MAX) => POINTS_MAX,
            None => return Err(PointsError::NoEnd),
        };
        let to_draw = wanted.saturating_sub(included);
        let patterns = exclude.iter().filter_map(|pattern| places_of(points, pattern)).collect();
        let mut marks = Self { points, patterns, skipped: Vec::new(), looked_at: 0, found: 0 };
        match finite {
            _ if to_draw == 0 => {}
            None => marks.of_infinitely_many(to_draw)?,
            Some(number) if number <= POINTS_MAX => marks.of_a_bitmap(number, to_draw)?,
            Some(number) => marks.of_many(number, to_draw)?,
        }
        let Self { points, skipped, looked_at, found, .. } = marks;
        points.draws = found;
        points.skipped = (looked_at > found).then(|| RankedBits::new(skipped, looked_at));
        let missed = points.missed.as_ref().map_or(0, RankedBits::clear_count);
        points.count = (included + found + missed).min(wanted);
        if points.count == 0 { Err(GridError::Empty.into()) } else { Ok(()) }
    }

    fn of_infinitely_many(&mut self, to_draw: u64) -> Result<(), PointsError> {
        let mut counted = self.counted();
        if self.patterns.is_empty() && counted.is_none() {
            (self.found, self.looked_at) = (to_draw, to_draw);
            return Ok(());
        }
        let (mut excluded_in_a_row, mut in_a_row) = (0, 0);
        while self.found < to_draw {
            self.compares()?;
            let (places, absent) = self.next();
            let is_repeated = |counted: &mut Counted| counted.is_taken(self.points, &places, absent);
            let is_excluded = self.is_excluded(&places, absent);
            let is_point = !is_excluded && !counted.as_mut().is_some_and(is_repeated);
            self.note(is_point);
            excluded_in_a_row = if is_excluded { excluded_in_a_row + 1 } else { 0 };
            in_a_row = if is_point { 0 } else { in_a_row + 1 };
            if excluded_in_a_row == EXCLUDED_IN_A_ROW_MAX {
                return Err(PointsError::HardlyAny);
            }
            if in_a_row == REPEATED_IN_A_ROW_MAX {
                return Err(PointsError::HardlyAnyNew);
            }
        }
        Ok(())
    }

    /// The points without any value of infinitely many, where conditions leave some and a bitmap holds them.
    fn counted(&self) -> Option<Counted> {
        let DrawnPoints { axes, drawn, .. } = &*self.points;
        let endless = drawn.iter().filter(|of| of.cells.is_none());
        if !endless.clone().all(|of| !axes[of.axis].when.is_empty()) {
            return None;
        }
        let finite = drawn.iter().try_fold(1_u64, |product, of| product.checked_mul(of.cells.unwrap_or(1)));
        let number = finite.filter(|number| *number <= POINTS_MAX)?;
        let endless = endless.fold(0, |set: AxisSet, of| set | 1 << of.axis);
        let mut taken = vec![0_u64; number.div_ceil(64) as usize];
        for of in self.included_numbers() {
            taken[(of / 64) as usize] |= 1 << (of % 64);
        }
        Some(Counted { endless, taken })
    }

    /// A finite space with more points than a bitmap holds.
    fn of_many(&mut self, number: u64, to_draw: u64) -> Result<(), PointsError> {
        let is_permuted = matches!(self.points.source, Source::Permuted(_));
        let included: HashSet<u64> = self.included_numbers();
        if is_permuted && self.patterns.is_empty() && included.is_empty() {
            (self.found, self.looked_at) = (to_draw, to_draw);
            return Ok(());
        }
        if !is_permuted && to_draw > COMPARED_MAX {
            return Err(PointsError::TooManyCompared);
        }
        let mut seen = included;
        let draws_max = if is_permuted { number } else { DRAWS_OF_MANY_MAX };
        let mut in_vain = 0;
        while self.found < to_draw && in_vain < VAIN_DRAWS_MAX && self.looked_at < draws_max {
            self.compares()?;
            let (places, absent) = self.next();
            let number = self.points.number(&places, absent);
            let is_point = !seen.contains(&number) && !self.is_excluded(&places, absent);
            if is_point && !is_permuted {
                seen.insert(number);
            }
            self.note(is_point);
            in_vain = if is_point { 0 } else { in_vain + 1 };
        }
        Ok(())
    }

    /// A finite space whose points fit a bitmap.
    fn of_a_bitmap(&mut self, number: u64, to_draw: u64) -> Result<(), PointsError> {
        let is_permuted = matches!(self.points.source, Source::Permuted(_));
        let is_plain =
            self.patterns.is_empty() && self.points.conditions.is_empty() && self.points.included.is_empty();
        if is_permuted && is_plain {
            (self.found, self.looked_at) = (to_draw.min(number), to_draw.min(number));
            return Ok(());
        }
        let mut taken = self.unusable(number)?;
        let left = RankedBits::new(taken.clone(), number).clear_count();
        let draws_max = match is_permuted {
            true => number,
            false => number.saturating_mul(DRAWS_FOR_EACH_MAX).saturating_add(1_024).min(DRAWS_MAX),
        };
        while self.found < to_draw.min(left) && self.looked_at < draws_max {
            let mut places = [0; AXES_MAX];
            self.points.draw(self.looked_at, &mut places);
            let absent = self.points.without_value(&places);
            let is_canonical = !is_permuted || !self.points.stands_for_none(&places, absent);
            let of = self.points.number(&places, absent);
            let (word, mark) = ((of / 64) as usize, 1 << (of % 64));
            let is_point = is_canonical && taken[word] & mark == 0;
            taken[word] |= if is_point { mark } else { 0 };
            self.note(is_point);
        }
        if self.found < to_draw.min(left) {
            self.points.missed = Some(RankedBits::new(taken, number));
        }
        Ok(())
    }

    /// The numbers that are no points to draw: excluded ones, included ones, and those in which a parameter without a value is
    /// not at its first.
    fn unusable(&self, number: u64) -> Result<Vec<u64>, PointsError> {
        if number.saturating_mul(self.patterns.len() as u64) > COMPARISONS_MAX {
            return Err(GridError::TooMuchExclusion.into());
        }
        let mut marks = vec![0_u64; number.div_ceil(64) as usize];
        for of in self.included_numbers() {
            marks[(of / 64) as usize] |= 1 << (of % 64);
        }
        if self.patterns.is_empty() && self.points.conditions.is_empty() {
            return Ok(marks);
        }
        for of in 0..number {
            let mut places = [0; AXES_MAX];
            self.points.read(of, &mut places);
            let absent = self.points.without_value(&places);
            if self.points.stands_for_none(&places, absent) || self.is_excluded(&places, absent) {
                marks[(of / 64) as usize] |= 1 << (of % 64);
            }
        }
        Ok(marks)
    }

    /// The numbers of the included points that the space has.
    fn included_numbers(&self) -> HashSet<u64> {
        self.points.included.iter().filter_map(|point| self.points.number_of(point)).collect()
    }

    fn next(&self) -> (Places, AxisSet) {
        let mut places = [0; AXES_MAX];
        self.points.draw(self.looked_at, &mut places);
        let absent = self.points.without_value(&places);
        (places, absent)
    }

    fn note(&mut self, is_point: bool) {
        let (word, bit) = ((self.looked_at / 64) as usize, self.looked_at % 64);
        if word == self.skipped.len() {
            self.skipped.push(0);
        }
        self.skipped[word] |= u64::from(!is_point) << bit;
        self.looked_at += 1;
        self.found += u64::from(is_point);
    }

    fn compares(&self) -> Result<(), PointsError> {
        let compared = self.looked_at.saturating_mul(self.patterns.len() as u64);
        if compared > COMPARISONS_MAX { Err(GridError::TooMuchExclusion.into()) } else { Ok(()) }
    }

    /// Whether an entry matches, all of whose parameters have a value.
    fn is_excluded(&self, places: &Places, absent: AxisSet) -> bool {
        let has = |(axis, place): &(usize, u64)| !contains(absent, *axis) && places[*axis] == *place;
        self.patterns.iter().any(|pattern| pattern.iter().all(has))
    }
}

/// The places that an entry names; none where the space has no such value.
fn places_of(points: &DrawnPoints, pattern: &PartialPoint) -> Option<Pattern> {
    let place = |(name, value): &(crate::space::Name, terms::ParameterValue)| {
        let axis = points.axes.iter().position(|axis| axis.name == *name)?;
        Some((axis, points.axes[axis].domain.position(value)?))
    };
    pattern.iter().map(place).collect()
}

impl DrawnPoints {
    /// Whether a parameter without a value is not at its first one, so that another number stands for the point.
    fn stands_for_none(&self, places: &Places, absent: AxisSet) -> bool {
        absent != 0 && self.drawn.iter().any(|of| contains(absent, of.axis) && places[of.axis] > 0)
    }

    /// The number of a point in a grid, if all its values are on the axes and the conditions agree.
    fn number_of(&self, point: &Point) -> Option<u64> {
        let mut places = [0; AXES_MAX];
        for (axis, value) in point.iter().enumerate() {
            if let Some(value) = value {
                places[axis] = self.axes[axis].domain.position(value)?;
            }
        }
        let absent = self.without_value(&places);
        let agrees = (0..).zip(point).all(|(axis, value)| contains(absent, axis) == value.is_none());
        agrees.then(|| self.number(&places, absent))
    }
}
