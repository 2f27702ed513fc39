//! What is known of a searcher outside of the coordinator: the points that it has proposed, and the results that it is told when it asks.

use std::ops::RangeInclusive;

use domain::{
    points::{CheckedPoint, LearnedPoints},
    proposals::{Learned, Why},
};
use terms::ParameterMap;

use super::{Chooser, Learning};
use crate::mutants::{self, Mutant};

#[derive(Debug)]
pub(crate) struct Outside {
    points: LearnedPoints,
    /// Points up to this number have parameters: the file includes them, or they were proposed.
    known: u64,
    learned: Vec<Learned>,
}

/// There is another point of that number.
#[derive(Debug)]
pub(crate) struct IsOther;

impl Outside {
    pub(super) fn new(points: &LearnedPoints) -> Self {
        Self { points: points.clone(), known: points.included_count(), learned: Vec::new() }
    }

    pub(super) fn points(&self) -> &LearnedPoints {
        &self.points
    }

    pub(super) fn tell(&mut self, learned: Learned) {
        self.learned.push(learned);
    }

    pub(super) fn go_on_with(&mut self, points: &LearnedPoints) {
        self.points = points.clone();
        self.count_points();
    }

    /// Counts the points that have parameters, after some were set: they have no gaps.
    pub(super) fn count_points(&mut self) {
        let proposals = self.points.proposals();
        self.known = self.known.max(self.points.included_count());
        while proposals.get(self.known + 1).is_some() {
            self.known += 1;
        }
    }

    /// The number of the next point.
    pub(crate) fn next_point(&self) -> u64 {
        self.known + 1
    }

    /// How many points there may be.
    pub(crate) fn points_max(&self) -> u64 {
        self.points.count()
    }

    /// The last job that has a point.
    pub(crate) fn last_job(&self) -> u64 {
        self.known * u64::from(self.points.repeats())
    }

    /// How many trainings each point has.
    pub(crate) fn repeats(&self) -> u64 {
        self.points.repeats().into()
    }

    /// All that it is told, in order.
    pub(crate) fn learned(&self) -> &[Learned] {
        &self.learned
    }

    pub(crate) fn point_of(&self, job: u64) -> u64 {
        self.points.point_of(job)
    }

    /// The parameters of a point that has some.
    fn parameters(&self, point: u64) -> Option<ParameterMap> {
        let proposed = self.points.proposals().get(point).map(|proposed| proposed.parameters.clone());
        proposed.or_else(|| self.points.included(point))
    }
}

impl Learning {
    /// The searcher, where it is outside of the coordinator.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        match &self.chooser {
            Chooser::Outside(outside) => Some(outside),
            Chooser::Own(_) | Chooser::Resting(_) => None,
        }
    }

    /// Whether a point from outside is new.
    pub(crate) fn is_new(&self, point: u64, given: &CheckedPoint) -> Result<bool, IsOther> {
        let Chooser::Outside(outside) = &self.chooser else { return Ok(false) };
        match outside.parameters(point) {
            None => Ok(true),
            Some(_) if mutants::is_on(Mutant::RepeatedPointsAreNew) => Ok(true),
            Some(same) if same == *given.parameters() => Ok(false),
            Some(_) => Err(IsOther),
        }
    }

    /// Takes the next points from outside, which are new. Returns their jobs.
    pub(crate) fn take_points(&mut self, points: &[CheckedPoint], seen: u64) -> RangeInclusive<u64> {
        let before = self.outside().map_or(0, Outside::last_job);
        for point in points {
            let Some(number) = self.outside().map(Outside::next_point) else { break };
            self.record(number, point.parameters().clone(), seen, Why::Outside);
            if let Chooser::Outside(outside) = &mut self.chooser {
                outside.count_points();
            }
        }
        before + 1..=self.outside().map_or(before, Outside::last_job)
    }
}
