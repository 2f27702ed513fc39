//! The points of a search that learns. They depend on the results of others, so that nothing here chooses them: the engine does
//! when a job is about to begin, and sets them once.

use std::{ops::RangeInclusive, sync::Arc};

use terms::{ParameterMap, ParameterValue};

use super::{Method, PointsError};
use crate::{
    proposals::Proposals,
    space::{Axis, Conditions, PartialPoint, Point, completed},
};

/// Most jobs of a search that learns. A proposal takes time in proportion to the jobs so far: with so many, a fraction of what
/// the engine may be held up by. Their points are kept in memory.
pub const LEARNED_JOBS_MAX: u64 = 10_000;

/// How many times the memory of its text a specification takes.
const PARSED_TIMES: usize = 6;
/// The text whose parsed form takes as much memory as a parameter of a point, texts aside: some hundred bytes.
const VALUE_TEXT_BYTES: usize = 16;

/// Points that are proposed one after the other. Copies share what was proposed.
#[derive(Debug, Clone)]
pub struct LearnedPoints {
    axes: Arc<[Axis]>,
    exclude: Arc<[PartialPoint]>,
    /// The points that the file names, which come first.
    included: Arc<[Point]>,
    method: Method,
    /// How often each is trained.
    repeats: u32,
    points_max: u64,
    bytes_of_point: usize,
    proposals: Proposals,
    /// How many there are, once no other is left.
    exhausted: Option<u64>,
}

impl LearnedPoints {
    /// The points of `include`, then those that are proposed, without `exclude`: at most `points_max`.
    ///
    /// # Errors
    /// There may be more than a search that learns can have, or the search has no end.
    pub fn new(
        axes: &[Axis],
        (exclude, include): (&[PartialPoint], &[PartialPoint]),
        method: Method,
        repeats: u32,
        points_max: Option<u64>,
    ) -> Result<Self, PointsError> {
        let conditions =
            Conditions::new(axes).map_err(|_| PointsError::Grid(crate::grid::GridError::Conditions))?;
        let mut included = Vec::new();
        for partial in include {
            let point = completed(axes, &conditions, partial);
            if !included.contains(&point) {
                included.push(point);
            }
        }
        let finite = axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.domain.cells()?));
        // A searcher outside may propose what was trained before.
        let finite = finite.filter(|_| method != Method::External);
        let finite = finite.map(|points| points.saturating_add(included.len() as u64));
        let points_max = match (points_max, finite) {
            (None, None) => return Err(PointsError::NoEnd),
            (max, finite) => max.unwrap_or(u64::MAX).min(finite.unwrap_or(u64::MAX)),
        };
        if points_max.saturating_mul(repeats.into()) > LEARNED_JOBS_MAX {
            return Err(PointsError::TooManyToLearn);
        }
        Ok(Self {
            axes: axes.into(),
            bytes_of_point: axes.iter().map(value_bytes).sum(),
            exclude: exclude.into(),
            included: included.into(),
            method,
            repeats,
            points_max,
            proposals: Proposals::of(points_max),
            exhausted: None,
        })
    }

    pub fn axes(&self) -> &Arc<[Axis]> {
        &self.axes
    }

    pub fn exclude(&self) -> &[PartialPoint] {
        &self.exclude
    }

    pub fn seed(&self) -> u64 {
        self.method.seed().unwrap_or(0)
    }

    /// Whether a searcher outside of the coordinator proposes them.
    pub fn are_from_outside(&self) -> bool {
        self.method == Method::External
    }

    /// The memory of each point that is proposed, as that of so much of a specification's text.
    pub(crate) fn bytes_of_point(&self) -> usize {
        self.bytes_of_point
    }

    /// What was proposed so far.
    pub fn proposals(&self) -> &Proposals {
        &self.proposals
    }

    /// How many there are or will be.
    pub fn count(&self) -> u64 {
        self.exhausted.map_or(self.points_max, |count| self.points_max.min(count))
    }

    /// These points, of which there are no more than those of so many jobs: no other is left.
    pub(crate) fn ending_after(&self, jobs: u64) -> Self {
        // The first one counts: points are not given back.
        let exhausted = self.exhausted.or(Some(jobs / u64::from(self.repeats)));
        Self { exhausted, ..self.clone() }
    }

    /// These points with what was proposed of them `before`, where there may be fewer; no others are left where that was so before and
    /// there may not be more now. Nothing that is proposed of one of them from now on is seen by the other.
    pub(crate) fn after(&self, before: Option<&Self>) -> Self {
        let proposals = Proposals::of(self.points_max);
        if let Some(before) = before {
            proposals.take(&before.proposals);
        }
        let as_many = before.filter(|before| before.points_max == self.points_max);
        Self { proposals, exhausted: as_many.and_then(|before| before.exhausted), ..self.clone() }
    }

    /// How often each is trained.
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// The point that a job trains.
    pub fn point_of(&self, job: u64) -> u64 {
        job.saturating_sub(1) / u64::from(self.repeats) + 1
    }

    /// The jobs that train a point.
    pub fn jobs(&self, point: u64) -> RangeInclusive<u64> {
        let repeats = u64::from(self.repeats);
        (point - 1) * repeats + 1..=point * repeats
    }

    /// The parameters of a point that the file includes.
    pub fn included(&self, point: u64) -> Option<ParameterMap> {
        let values = self.included.get(usize::try_from(point.checked_sub(1)?).ok()?)?;
        Some(self.map(values))
    }

    /// How many points the file includes, which come first.
    pub fn included_count(&self) -> u64 {
        self.points_max.min(self.included.len() as u64)
    }

    /// The parameters that have a value in a point, with their names.
    pub(super) fn map(&self, point: &Point) -> ParameterMap {
        let named =
            |(axis, value): (&Axis, &Option<ParameterValue>)| Some((axis.name.to_string(), value.clone()?));
        ParameterMap(self.axes.iter().zip(point).filter_map(named).collect())
    }

    /// The parameters of a point that was proposed.
    pub(super) fn parameters(&self, point: u64) -> Option<&ParameterMap> {
        Some(&self.proposals.get(point)?.parameters)
    }

    pub(super) fn value(&self, point: u64, name: &str) -> Option<ParameterValue> {
        let constant = || {
            let axis = self.axes.iter().find(|axis| *axis.name == *name)?;
            (axis.domain.is_constant() && axis.when.is_empty()).then(|| axis.domain.first())
        };
        match self.proposals.get(point) {
            Some(proposed) => proposed.parameters.get(name).cloned(),
            None => constant(),
        }
    }
}

/// The memory of a parameter of a point, its name and value, as that of so much of a specification's text.
fn value_bytes(axis: &Axis) -> usize {
    let text = |value: &ParameterValue| match value {
        ParameterValue::Text(text) => text.len(),
        _ => 0,
    };
    let longest = axis.values().iter().map(text).max().unwrap_or(0);
    VALUE_TEXT_BYTES + (axis.name.len() + longest) / PARSED_TIMES
}
