//! The points of a sweep. Those of a grid and of a search that learns nothing are computed from their numbers; those of a search that
//! learns are proposed one after the other. And its jobs: each point is trained once, or as often as `repeats` says.

mod drawn;
mod learned;
mod outside;
mod permutation;
mod sobol;

use terms::{ParameterMap, ParameterValue};

pub use self::{
    drawn::{COMPARED_MAX, DrawnPoints},
    learned::{LEARNED_JOBS_MAX, LearnedPoints},
    outside::{CheckedPoint, NoSuchPoint, PointCheck},
};
use crate::grid::{Grid, GridError};

/// How points are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// All combinations of values, in order.
    #[default]
    Grid,
    /// Independently of each other.
    Random { seed: u64 },
    /// Evenly over the space: a scrambled Sobol sequence.
    Sobol { seed: u64 },
    /// From the results of others, by the tree-structured Parzen estimator.
    Tpe { seed: u64 },
    /// By a searcher outside of the coordinator, which is told the results.
    External,
}

impl Method {
    /// The name in sweep files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random { .. } => "random",
            Self::Sobol { .. } => "sobol",
            Self::Tpe { .. } => "tpe",
            Self::External => "external",
        }
    }

    /// What its choices depend on; none where it has no choice.
    pub fn seed(self) -> Option<u64> {
        match self {
            Self::Grid | Self::External => None,
            Self::Random { seed } | Self::Sobol { seed } | Self::Tpe { seed } => Some(seed),
        }
    }
}

/// The points of one specification, numbered from 1.
#[derive(Debug, Clone)]
pub enum Points {
    Grid(Grid),
    Drawn(DrawnPoints),
    Learned(LearnedPoints),
}

impl Points {
    /// How many there are; none only where an extension has no new ones.
    pub fn count(&self) -> u64 {
        match self {
            Self::Grid(grid) => grid.job_count(),
            Self::Drawn(points) => points.count(),
            Self::Learned(points) => points.count(),
        }
    }

    fn visit(&self, point: u64, call: &mut impl FnMut(&str, ParameterValue)) -> Option<()> {
        match self {
            Self::Grid(grid) => grid.visit(point, call),
            Self::Drawn(points) => points.visit(point, call),
            Self::Learned(points) => {
                let ParameterMap(parameters) = points.parameters(point)?;
                parameters.iter().for_each(|(name, value)| call(name, value.clone()));
                Some(())
            }
        }
    }

    fn value(&self, point: u64, name: &str) -> Option<ParameterValue> {
        match self {
            Self::Grid(grid) => grid.value(point, name).cloned(),
            Self::Drawn(points) => points.value(point, name),
            Self::Learned(points) => points.value(point, name),
        }
    }
}

/// The jobs of one specification, numbered from 1: first those of the first point.
#[derive(Debug, Clone)]
pub struct Jobs {
    points: Points,
    /// How often each point is trained, at least 1.
    repeats: u32,
    /// The parameter that the second training of a point has 1 larger, and so on.
    seed: Option<String>,
}

impl Jobs {
    /// The jobs of points that are each trained `repeats` times.
    pub fn new(points: Points, repeats: u32, seed: Option<String>) -> Self {
        Self { points, repeats: repeats.max(1), seed }
    }

    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The points, where they are a grid.
    pub fn grid(&self) -> Option<&Grid> {
        match &self.points {
            Points::Grid(grid) => Some(grid),
            Points::Drawn(_) | Points::Learned(_) => None,
        }
    }

    /// The points, where a searcher that learns proposes them.
    pub fn learned(&self) -> Option<&LearnedPoints> {
        match &self.points {
            Points::Learned(points) => Some(points),
            Points::Grid(_) | Points::Drawn(_) => None,
        }
    }

    /// The same jobs with the points that were proposed `before`.
    pub(crate) fn after(&self, before: Option<&LearnedPoints>) -> Option<Self> {
        let points = Points::Learned(self.learned()?.after(before));
        Some(Self { points, ..self.clone() })
    }

    /// The same jobs, of which there are no more than so many.
    pub(crate) fn ending_after(&self, jobs: u64) -> Option<Self> {
        let points = Points::Learned(self.learned()?.ending_after(jobs));
        Some(Self { points, ..self.clone() })
    }

    /// How many there are; none only where an extension has no new ones.
    pub fn count(&self) -> u64 {
        self.points.count().saturating_mul(self.repeats.into())
    }

    /// The point of a job, and which training of the point it is, from 1.
    pub fn point(&self, job: u64) -> Option<(u64, u32)> {
        let (index, repeats) = (job.checked_sub(1)?, u64::from(self.repeats));
        Some((index / repeats + 1, (index % repeats) as u32 + 1))
    }

    /// The parameters that a job has; none beyond the last.
    pub fn parameters(&self, job: u64) -> Option<ParameterMap> {
        let mut parameters = Vec::new();
        self.visit(job, |name, value| parameters.push((name.to_owned(), value)))?;
        Some(ParameterMap(parameters))
    }

    /// Calls with each of them: of a million jobs, without a copy of each name.
    pub(crate) fn visit(&self, job: u64, mut call: impl FnMut(&str, ParameterValue)) -> Option<()> {
        let (point, repeat) = self.point(job)?;
        let seed = self.seed.as_deref().filter(|_| repeat > 1);
        self.points.visit(point, &mut |name: &str, mut value| {
            if seed == Some(name) {
                count_up(&mut value, repeat);
            }
            call(name, value);
        })
    }

    /// One parameter of a job, mostly without computing the others.
    pub fn value(&self, job: u64, name: &str) -> Option<ParameterValue> {
        let (point, repeat) = self.point(job)?;
        let mut value = self.points.value(point, name)?;
        if self.seed.as_deref() == Some(name) {
            count_up(&mut value, repeat);
        }
        Some(value)
    }

    /// The jobs that differ from `job` only in parameters that `may_differ` accepts, where they can be listed without
    /// looking at others; none where each must be asked by [`Self::is_alike`].
    pub fn differing_only_in(
        &self,
        job: u64,
        may_differ: impl Fn(&str) -> bool,
        points_max: u64,
    ) -> Option<impl Iterator<Item = u64> + '_> {
        let (point, repeat) = self.point(job)?;
        let grid = self.grid()?;
        let job_of = move |point: u64| (point - 1) * u64::from(self.repeats) + u64::from(repeat);
        Some(grid.differing_only_in(point, may_differ, points_max).map(job_of))
    }

    /// Says of other jobs whether they differ from `job` only in parameters that `may_differ` accepts. Trainings of
    /// different numbers never do, as their seeds differ. None where [`Self::differing_only_in`] lists them.
    pub fn is_alike(&self, job: u64, may_differ: impl Fn(&str) -> bool) -> Option<impl Fn(u64) -> bool + '_> {
        let (point, repeat) = self.point(job)?;
        let Points::Drawn(points) = &self.points else { return None };
        let is_alike = points.is_alike(point, may_differ)?;
        Some(move |other: u64| {
            self.point(other).is_some_and(|(point, number)| number == repeat && is_alike(point))
        })
    }

    /// The same where [`Self::differing_only_in`] lists them: some, to be asked one by one, may be fewer than those.
    pub fn is_listed(
        &self,
        job: u64,
        may_differ: impl Fn(&str) -> bool,
    ) -> Option<impl Fn(u64) -> bool + '_> {
        let (point, repeat) = self.point(job)?;
        let is_alike = self.grid()?.is_alike(point, may_differ);
        Some(move |other: u64| {
            self.point(other).is_some_and(|(point, number)| number == repeat && is_alike(point))
        })
    }

    /// Whether some of so many jobs are probably alike; looking at them is no use otherwise.
    pub fn has_alike(&self, may_differ: impl Fn(&str) -> bool, among: u64) -> bool {
        match &self.points {
            Points::Grid(_) => true,
            Points::Drawn(points) => points.combinations(may_differ).is_some_and(|shapes| shapes <= among),
            // The next point is chosen when a slot is free for it.
            Points::Learned(_) => false,
        }
    }

    /// The same without the points of a grid that `known` has, and no more than `points_max`.
    pub(crate) fn without(self, known: &crate::known_points::KnownPoints, points_max: Option<u64>) -> Self {
        let points = match self.points {
            Points::Grid(mut grid) => {
                grid.leave_out(known);
                grid.limit(points_max);
                Points::Grid(grid)
            }
            others @ (Points::Drawn(_) | Points::Learned(_)) => others,
        };
        Self { points, ..self }
    }
}

fn count_up(value: &mut ParameterValue, repeat: u32) {
    if let ParameterValue::Integer(number) = value {
        *number = number.saturating_add(i64::from(repeat) - 1);
    }
}

/// Why there are no such points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointsError {
    Grid(GridError),
    /// The search has no end of its own: there are more points than a sweep may have, or infinitely many.
    NoEnd,
    /// Nearly every point that is drawn is excluded.
    HardlyAny,
    /// Nearly every point that is drawn is one of the finitely many that conditions leave without a value of any range, and was drawn
    /// before.
    HardlyAnyNew,
    /// In a finite space that fits no bitmap, more than [`COMPARED_MAX`] points would have to be compared with each other.
    TooManyCompared,
    /// `run_cap` does not allow all trainings of one point.
    NoneFits,
    /// A search that learns may have more than [`LEARNED_JOBS_MAX`] jobs.
    TooManyToLearn,
}

impl From<GridError> for PointsError {
    fn from(error: GridError) -> Self {
        Self::Grid(error)
    }
}

/// Mixes 64 bits, so that near numbers become unlike ones (the finaliser of SplitMix64, by S. Vigna).
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
