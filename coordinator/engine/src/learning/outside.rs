//! What is known of a searcher outside of the coordinator: the points that it has proposed, and the results that it is told when it asks.

use domain::{
    points::{LearnedPoints, NoSuchPoint},
    proposals::{Learned, Proposed, Why},
    record::Record,
};
use terms::{JobKey, ParameterMap};

use super::{Chooser, Learning};
use crate::mutants::{self, Mutant};

#[derive(Debug)]
pub(crate) struct Outside {
    points: LearnedPoints,
    /// Points up to this number have parameters: the file includes them, or they were proposed.
    known: u64,
    learned: Vec<Learned>,
}

/// Why a point is not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    NoSuchPoint(NoSuchPoint),
    /// There is another one of its number.
    IsOther,
}

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
            Chooser::Own(_) => None,
        }
    }

    /// A point from outside as the space writes it; none where there is the same of its number already.
    pub(crate) fn check_point(
        &self,
        point: u64,
        given: &ParameterMap,
    ) -> Result<Option<ParameterMap>, NotTaken> {
        let Chooser::Outside(outside) = &self.chooser else { return Ok(None) };
        let parameters = outside.points.checked(given).map_err(NotTaken::NoSuchPoint)?;
        match outside.parameters(point) {
            None => Ok(Some(parameters)),
            Some(_) if mutants::is_on(Mutant::RepeatedPointsAreNew) => Ok(Some(parameters)),
            Some(same) if same == parameters => Ok(None),
            Some(_) => Err(NotTaken::IsOther),
        }
    }

    /// Takes the next points from outside, which were checked. Returns their jobs.
    pub(crate) fn take_points(&mut self, points: Vec<ParameterMap>, seen: u64) -> Vec<u64> {
        let Chooser::Outside(outside) = &mut self.chooser else { return Vec::new() };
        let before = outside.last_job();
        for parameters in points {
            let point = outside.next_point();
            let proposed = Proposed { parameters, seen, why: Why::Outside };
            let job = JobKey { sweep: self.sweep, job: point };
            self.records.push(Record::PointProposed { job, proposed: proposed.clone() });
            outside.points.proposals().set(point, proposed);
            outside.count_points();
        }
        (before + 1..=outside.last_job()).collect()
    }
}
