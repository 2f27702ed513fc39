//! The points of a search that learns nothing: point n is computed from the seed and n, and nothing is kept of it.
//!
//! Draws are numbered from 0. In a space with finitely many points that are equally likely, draw i is place i of a keyed
//! permutation of them. Otherwise a draw has 64 bits for each parameter, random ones or those of a Sobol sequence. Draws that
//! are excluded, and in a finite space those that repeat a point, are marked in a bitmap with a rank index when the points
//! are built: a bit for each draw, and nothing where there is nothing to mark. So point n is the n-th unmarked draw. A finite
//! space that many draws have not exhausted ends with the points that they missed, in the order of a grid.

mod marks;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use terms::ParameterValue;

pub use self::marks::COMPARED_MAX;
use self::marks::Marks;
use super::{Method, PointsError, mix, permutation::Permutation, sobol::Sobol};
use crate::{
    grid::{POINTS_MAX, bits::RankedBits},
    space::{AXES_MAX, Axis, AxisSet, Conditions, PartialPoint, Point, completed, contains},
};

/// Most points of a space that counts as finite. Ten million draws from a larger one repeat a point with a chance of less than
/// one in 90,000.
const FINITE_MAX: u64 = 1 << 62;

/// For each axis the place of its value: its position, or the bits of a number that is drawn.
type Places = [u64; AXES_MAX];

/// Points that are drawn.
#[derive(Debug, Clone)]
pub struct DrawnPoints {
    axes: Vec<Axis>,
    conditions: Conditions,
    /// The axes with more than one value.
    drawn: Vec<Drawn>,
    source: Source,
    /// The points that the file names, which come first.
    included: Vec<Point>,
    /// Draws that are no points; none where all are.
    skipped: Option<RankedBits>,
    /// How many points are draws.
    draws: u64,
    /// The points that no draw found, as numbers of a grid.
    missed: Option<RankedBits>,
    count: u64,
}

/// An axis with more than one value.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    axis: usize,
    /// How many values it has, unless infinitely many.
    cells: Option<u64>,
}

#[derive(Debug, Clone)]
enum Source {
    Permuted(Permutation),
    Random([u8; 32]),
    Sobol(Sobol),
}

impl DrawnPoints {
    /// The points of `include`, then those that `method` draws, without `exclude`: at most `points_max`.
    ///
    /// # Errors
    /// The search has no end, or nothing is left to draw.
    pub fn new(
        axes: &[Axis],
        (exclude, include): (&[PartialPoint], &[PartialPoint]),
        method: Method,
        points_max: Option<u64>,
    ) -> Result<Self, PointsError> {
        let conditions =
            Conditions::new(axes).map_err(|_| PointsError::Grid(crate::grid::GridError::Conditions))?;
        let drawn = |(axis, of): (usize, &Axis)| {
            (!of.domain.is_constant()).then(|| Drawn { axis, cells: of.domain.cells() })
        };
        let drawn: Vec<Drawn> = axes.iter().enumerate().filter_map(drawn).collect();
        let finite = drawn.iter().try_fold(1_u64, |product, of| product.checked_mul(of.cells?));
        let finite = finite.filter(|points| *points <= FINITE_MAX);
        let is_even = drawn.iter().all(|of| axes[of.axis].domain.is_even());
        // In a huge space with conditions, nearly all places of a permutation may stand for no point of their own.
        let permuted = finite.filter(|points| is_even && (conditions.is_empty() || *points <= POINTS_MAX));
        let seed = method.seed().unwrap_or(0);
        let source = match (method, permuted) {
            (Method::Sobol { .. }, _) => Source::Sobol(Sobol::new(mix(seed))),
            (_, Some(points)) => Source::Permuted(Permutation::new(points, mix(seed))),
            (_, None) => Source::Random(ChaCha8Rng::seed_from_u64(seed).get_seed()),
        };
        let mut included = Vec::new();
        for partial in include {
            let point = completed(axes, &conditions, partial);
            if !included.contains(&point) {
                included.push(point);
            }
        }
        let axes = axes.to_vec();
        let (skipped, missed, draws, count) = (None, None, 0, 0);
        let mut points = Self { axes, conditions, drawn, source, included, skipped, draws, missed, count };
        Marks::mark(&mut points, exclude, finite, points_max)?;
        Ok(points)
    }

    /// How many points there are, at least 1.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The parameters of a point; none outside 1 ..= [`Self::count`].
    #[cfg(test)]
    pub(super) fn parameters(&self, point: u64) -> Option<terms::ParameterMap> {
        let mut parameters = Vec::with_capacity(self.axes.len());
        self.visit(point, &mut |name: &str, value| parameters.push((name.to_owned(), value)))?;
        Some(terms::ParameterMap(parameters))
    }

    /// Calls with each parameter of a point, in the order of the axes; none outside 1 ..= [`Self::count`].
    pub(super) fn visit(&self, point: u64, call: &mut impl FnMut(&str, ParameterValue)) -> Option<()> {
        let mut visit = |axis: usize, value: Option<ParameterValue>| {
            if let Some(value) = value {
                call(&self.axes[axis].name, value);
            }
        };
        match self.locate(point)? {
            Located::Included(values) => {
                values.iter().enumerate().for_each(|(axis, value)| visit(axis, value.clone()));
            }
            drawn => {
                let places = self.places(&drawn);
                let absent = self.without_value(&places);
                for axis in 0..self.axes.len() {
                    visit(axis, self.value_at(axis, &places, absent));
                }
            }
        }
        Some(())
    }

    /// One parameter of a point.
    pub fn value(&self, point: u64, name: &str) -> Option<ParameterValue> {
        let axis = self.axes.iter().position(|axis| *axis.name == *name)?;
        let of = &self.axes[axis];
        if of.domain.is_constant() && of.when.is_empty() && point > self.included.len() as u64 {
            return (point <= self.count).then(|| of.domain.first());
        }
        match self.locate(point)? {
            Located::Included(values) => values[axis].clone(),
            drawn => {
                let places = self.places(&drawn);
                self.value_at(axis, &places, self.without_value(&places))
            }
        }
    }

    /// Says of other points whether they differ from `point` only in parameters that `may_differ` accepts.
    pub(super) fn is_alike(
        &self,
        point: u64,
        may_differ: impl Fn(&str) -> bool,
    ) -> Option<impl Fn(u64) -> bool + '_> {
        let own = self.values(point)?;
        let shared: Vec<usize> =
            (0..self.axes.len()).filter(|axis| !may_differ(&self.axes[*axis].name)).collect();
        let varies =
            |axis: &usize| !self.axes[*axis].domain.is_constant() || !self.axes[*axis].when.is_empty();
        let drawn: Vec<usize> = shared.iter().copied().filter(varies).collect();
        let is_included = self.is_included(point);
        Some(move |other: u64| {
            if drawn.is_empty() && !is_included && !self.is_included(other) {
                return other <= self.count;
            }
            match self.locate(other) {
                None => false,
                Some(Located::Included(values)) => shared.iter().all(|axis| own[*axis] == values[*axis]),
                Some(found) => {
                    let places = self.places(&found);
                    let absent = self.without_value(&places);
                    // An included point may have another value of what is constant elsewhere.
                    let compared = if is_included { &shared } else { &drawn };
                    compared.iter().all(|axis| own[*axis] == self.value_at(*axis, &places, absent))
                }
            }
        })
    }

    /// Of how many points one is alike, if all values are equally likely: the combinations of what may not differ.
    pub(super) fn combinations(&self, may_differ: impl Fn(&str) -> bool) -> Option<u64> {
        let mut shared = self.drawn.iter().filter(|of| !may_differ(&self.axes[of.axis].name));
        shared.try_fold(1_u64, |product, of| product.checked_mul(of.cells?))
    }

    fn is_included(&self, point: u64) -> bool {
        point <= self.included.len() as u64
    }

    fn values(&self, point: u64) -> Option<Point> {
        Some(match self.locate(point)? {
            Located::Included(values) => values.clone(),
            drawn => {
                let places = self.places(&drawn);
                let absent = self.without_value(&places);
                (0..self.axes.len()).map(|axis| self.value_at(axis, &places, absent)).collect()
            }
        })
    }

    fn locate(&self, point: u64) -> Option<Located<'_>> {
        let index = point.checked_sub(1).filter(|_| point <= self.count)?;
        let Some(index) = index.checked_sub(self.included.len() as u64) else {
            return self.included.get(index as usize).map(Located::Included);
        };
        Some(match index.checked_sub(self.draws) {
            None => Located::Draw(self.skipped.as_ref().map_or(index, |bits| bits.select_clear(index))),
            Some(index) => Located::Missed(self.missed.as_ref()?.select_clear(index)),
        })
    }

    /// The places of a point that is not included.
    fn places(&self, located: &Located<'_>) -> Places {
        let mut places = [0; AXES_MAX];
        match located {
            Located::Included(_) => {}
            Located::Draw(draw) => self.draw(*draw, &mut places),
            Located::Missed(number) => self.read(*number, &mut places),
        }
        places
    }

    /// The places of a draw, whether it is a point or not.
    fn draw(&self, draw: u64, places: &mut Places) {
        match &self.source {
            Source::Permuted(permutation) => self.read(permutation.at(draw), places),
            Source::Random(seed) => {
                let mut random = ChaCha8Rng::from_seed(*seed);
                random.set_stream(draw);
                for of in &self.drawn {
                    places[of.axis] = self.axes[of.axis].domain.place(random.next_u64());
                }
            }
            Source::Sobol(sobol) => {
                for (dimension, of) in self.drawn.iter().enumerate() {
                    let bits = sobol.at(draw as u32, dimension);
                    places[of.axis] = self.axes[of.axis].domain.place(bits);
                }
            }
        }
    }

    /// The places of a point of a finite space by its number in a grid, the last axis fastest.
    fn read(&self, mut number: u64, places: &mut Places) {
        for of in self.drawn.iter().rev() {
            let cells = of.cells.unwrap_or(1);
            places[of.axis] = number % cells;
            number /= cells;
        }
    }

    /// The number of places in a grid, where axes without a value count as at their first.
    fn number(&self, places: &Places, absent: AxisSet) -> u64 {
        self.drawn.iter().fold(0, |number, of| {
            let place = if contains(absent, of.axis) { 0 } else { places[of.axis] };
            number * of.cells.unwrap_or(1) + place
        })
    }

    fn without_value(&self, places: &Places) -> AxisSet {
        if self.conditions.is_empty() { 0 } else { self.conditions.without_value(places) }
    }

    fn value_at(&self, axis: usize, places: &Places, absent: AxisSet) -> Option<ParameterValue> {
        (!contains(absent, axis)).then(|| self.axes[axis].domain.at(places[axis]))
    }
}

/// What a point is.
enum Located<'a> {
    Included(&'a Point),
    Draw(u64),
    /// A number in a grid.
    Missed(u64),
}
