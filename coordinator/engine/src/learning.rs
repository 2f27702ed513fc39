//! The searcher of a sweep that learns: it proposes a point when a job is about to get its first attempt, and is told what became
//! of jobs. What it does must be durable with what it follows from, so it leaves records.
//!
//! It is as deterministic as what it is told: chance comes from the sweep's seed and the number of the point. A restart tells
//! it the same from the records, and [`recomputed`] makes each proposal again from them.

mod numbers;
mod outside;
mod searcher;

use std::{collections::HashMap, fmt, ops::RangeInclusive};

use domain::{
    points::LearnedPoints,
    proposals::{Learned, LearnedResult, Proposed, Why},
    record::{Record, StoredSearch},
};
use terms::{Goal, JobKey, JobState, ParameterMap, SweepId};

use self::searcher::ToldAgain;
pub use self::searcher::{Discarded, NotSearchable, Revived};
pub(crate) use self::{
    outside::{IsOther, Outside},
    searcher::Searcher,
};
use crate::mutants::{self, Mutant};

/// No job: numbers count from 1.
#[allow(clippy::reversed_empty_ranges)]
const NO_JOBS: RangeInclusive<u64> = 1..=0;

/// Who chooses the points.
#[derive(Debug)]
enum Chooser {
    Own(Box<Searcher>),
    /// The sweep has ended. Its searcher was dropped, and is made again where it goes on: it takes megabytes, and to be told
    /// everything takes longer than others may wait.
    Resting(LearnedPoints),
    Outside(Outside),
}

impl Chooser {
    fn points(&self) -> &LearnedPoints {
        match self {
            Self::Own(searcher) => searcher.points(),
            Self::Resting(points) => points,
            Self::Outside(outside) => outside.points(),
        }
    }

    fn start(&mut self, point: u64, parameters: &ParameterMap) {
        if let Self::Own(searcher) = self {
            searcher.start(point, parameters);
        }
    }

    fn tell(&mut self, learned: Learned, parameters: &ParameterMap) {
        match self {
            Self::Own(searcher) => searcher.tell(learned, parameters),
            // It is told when it is made again.
            Self::Resting(_) => {}
            Self::Outside(outside) => outside.tell(learned),
        }
    }

    /// The parameters of a point and why; none where no point is left, or the searcher outside has not proposed it.
    fn propose(&mut self, point: u64) -> Option<(ParameterMap, Why)> {
        match self {
            Self::Own(searcher) => searcher.propose(point),
            Self::Resting(_) => None,
            Self::Outside(outside) => Some((outside.points().included(point)?, Why::Included)),
        }
    }
}

/// The searcher of a sweep, with what it has not said yet.
#[derive(Debug)]
pub(crate) struct Learning {
    sweep: SweepId,
    chooser: Chooser,
    /// How many points have parameters.
    proposed: u64,
    /// How many results it was told.
    told: u64,
    records: Vec<Record>,
}

impl Learning {
    /// Of a sweep with these points, proposed by `searcher`; without one it rests, unless a searcher outside proposes them.
    pub(crate) fn new(sweep: SweepId, points: &LearnedPoints, searcher: Option<Searcher>) -> Self {
        let chooser = match searcher {
            _ if points.are_from_outside() => Chooser::Outside(Outside::new(points)),
            None => Chooser::Resting(points.clone()),
            Some(mut searcher) => {
                searcher.go_on_with(points);
                Chooser::Own(Box::new(searcher))
            }
        };
        Self { sweep, chooser, proposed: 0, told: 0, records: Vec::new() }
    }

    /// The sweep has ended: a searcher of its own is given up.
    pub(crate) fn rest(&mut self) -> Option<Discarded> {
        let Chooser::Own(searcher) = &self.chooser else { return None };
        let resting = Chooser::Resting(searcher.points().clone());
        match std::mem::replace(&mut self.chooser, resting) {
            Chooser::Own(searcher) => Some(Discarded::from(searcher)),
            Chooser::Resting(_) | Chooser::Outside(_) => None,
        }
    }

    /// Whether a searcher must be made before the sweep can go on.
    pub(crate) fn rests(&self) -> bool {
        matches!(self.chooser, Chooser::Resting(_))
    }

    /// The sweep goes on with a searcher that was made beside the engine. False where it needs one, and there is none that was told all
    /// that is known.
    pub(crate) fn wake(&mut self, revived: &Revived) -> bool {
        let Chooser::Resting(points) = &self.chooser else { return true };
        let known = (self.proposed, self.told);
        let knows_all = |told: &ToldAgain| told.known == known || mutants::is_on(Mutant::StaleSearchersWake);
        let Some(ToldAgain { mut searcher, .. }) = revived.take_if(knows_all) else { return false };
        searcher.go_on_with(points);
        self.chooser = Chooser::Own(searcher);
        true
    }

    /// How many points have parameters.
    pub(crate) fn proposed_points(&self) -> u64 {
        self.proposed
    }

    /// Goes on from what was recorded.
    pub(crate) fn restore(&mut self, stored: StoredSearch) {
        self.proposed = stored.proposals.len() as u64;
        for (point, proposed) in stored.proposals {
            self.chooser.start(point, &proposed.parameters);
            self.chooser.points().proposals().set(point, proposed);
        }
        if let Chooser::Outside(outside) = &mut self.chooser {
            outside.count_points();
        }
        let forgotten = usize::from(mutants::is_on(Mutant::RestartsForgetResults));
        let learned = stored.learned.len().saturating_sub(forgotten);
        // One that rests is told when it is made again.
        if !self.rests() {
            stored.learned[..learned].iter().for_each(|learned| self.tell(*learned));
        }
        self.told = stored.learned.len() as u64;
        if let Chooser::Own(searcher) = &mut self.chooser {
            searcher.prepare();
        }
    }

    /// The sweep may have more points now; those so far are among them.
    pub(crate) fn go_on_with(&mut self, points: &LearnedPoints) {
        match &mut self.chooser {
            Chooser::Own(searcher) => searcher.go_on_with(points),
            Chooser::Resting(before) => *before = points.clone(),
            Chooser::Outside(outside) => outside.go_on_with(points),
        }
    }

    /// Whether the point of a job is yet to be proposed, here.
    pub(crate) fn proposes(&self, job: u64) -> bool {
        matches!(self.chooser, Chooser::Own(_))
            && self.proposed(self.chooser.points().point_of(job)).is_none()
    }

    /// A job is about to have its first attempt: its point is chosen, unless it has one. Returns the jobs whose point is new; none where
    /// no point is left.
    pub(crate) fn begin(&mut self, job: u64) -> Option<RangeInclusive<u64>> {
        let point = self.chooser.points().point_of(job);
        if self.proposed(point).is_some() {
            return Some(NO_JOBS);
        }
        let (parameters, why) = self.chooser.propose(point)?;
        if !mutants::is_on(Mutant::RunningJobsDoNotCount) {
            self.chooser.start(point, &parameters);
        }
        self.record(point, parameters, self.told, why);
        Some(self.chooser.points().jobs(point))
    }

    /// A point has these parameters from now on, chosen after so many results.
    fn record(&mut self, point: u64, parameters: ParameterMap, seen: u64, why: Why) {
        self.proposed += 1;
        let proposed = Proposed { parameters, place: self.proposed, seen, why };
        if !mutants::is_on(Mutant::ProposalsAreNotRecorded) {
            let job = JobKey { sweep: self.sweep, job: point };
            self.records.push(Record::PointProposed { job, proposed: proposed.clone() });
        }
        self.chooser.points().proposals().set(point, proposed);
    }

    fn proposed(&self, point: u64) -> Option<&Proposed> {
        self.chooser.points().proposals().get(point)
    }

    /// A job has entered this state after `epoch`, with the value that ranks it where it has one.
    pub(crate) fn entered(&mut self, job: u64, state: JobState, epoch: u32, value: Option<f64>) {
        let result = match (state, value) {
            (JobState::Done, Some(value)) => LearnedResult::Finished(value),
            // What cannot be ranked is as bad as can be.
            (JobState::Done, None) | (JobState::Diverged, _) => LearnedResult::Diverged,
            (JobState::Paused, _) if mutants::is_on(Mutant::PausedJobsAreNotLearned) => return,
            (JobState::Paused | JobState::Stopped, value) => LearnedResult::Stopped { epoch, value },
            (JobState::Failed | JobState::Cancelled, _) => LearnedResult::Nothing,
            // It still runs, or will.
            (JobState::Pending | JobState::Running, _) => return,
        };
        self.learn(job, result);
    }

    /// A job that failed or was cancelled is tried again.
    pub(crate) fn again(&mut self, job: u64) {
        self.learn(job, LearnedResult::Again);
    }

    fn learn(&mut self, job: u64, result: LearnedResult) {
        let is_known = self.proposed(self.chooser.points().point_of(job)).is_some();
        // A job that was cancelled before it had a point is not known here. That it is tried again is recorded, as proposals are
        // ordered by what they had seen.
        if !is_known && (result == LearnedResult::Nothing || matches!(self.chooser, Chooser::Outside(_))) {
            return;
        }
        self.told += 1;
        let learned = Learned { job, result };
        self.records.push(Record::ResultLearned { sweep: self.sweep, number: self.told, learned });
        self.tell(learned);
    }

    fn tell(&mut self, learned: Learned) {
        let point = self.chooser.points().point_of(learned.job);
        if let Some(parameters) = self.proposed(point).map(|proposed| proposed.parameters.clone()) {
            self.chooser.tell(learned, &parameters);
        }
    }

    /// What must become durable with everything that it follows from.
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }
}

/// A proposal that is not what its searcher would propose.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The number of the point.
    pub point: u64,
    pub recorded: ParameterMap,
    /// None where no point would be left.
    pub computed: Option<ParameterMap>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |parameters: &ParameterMap| {
            let each = parameters.0.iter().map(|(name, value)| format!("{name}={value}"));
            each.collect::<Vec<_>>().join(" ")
        };
        let computed = self.computed.as_ref().map_or("nothing".to_owned(), text);
        write!(
            f,
            "point {} is {}, and from what it had seen follows {computed}",
            self.point,
            text(&self.recorded)
        )
    }
}

/// Makes each proposal again from what it had seen, as recorded. Returns those that come out different. Takes about a millisecond for
/// each of thousands.
///
/// # Errors
/// The space is not one that can be searched, so that nothing was proposed.
pub fn recomputed(
    points: &LearnedPoints,
    goal: Goal,
    stored: &StoredSearch,
) -> Result<Vec<Difference>, NotSearchable> {
    let mut searcher = Searcher::new(points, goal)?;
    let mut proposals: Vec<&(u64, Proposed)> = stored.proposals.iter().collect();
    // A job that is tried again comes before others with smaller numbers.
    proposals.sort_by_key(|(_, proposed)| proposed.place);
    let mut made: HashMap<u64, &ParameterMap> = HashMap::new();
    let (mut told, mut found) = (0, Vec::new());
    for (point, proposed) in proposals {
        let seen = usize::try_from(proposed.seen).unwrap_or(usize::MAX).min(stored.learned.len());
        for learned in stored.learned.get(told..seen).unwrap_or_default() {
            if let Some(parameters) = made.get(&points.point_of(learned.job)) {
                searcher.tell(*learned, parameters);
            }
        }
        told = told.max(seen);
        let computed = searcher.propose(*point).map(|(parameters, _)| parameters);
        if computed.as_ref() != Some(&proposed.parameters) {
            let recorded = proposed.parameters.clone();
            found.push(Difference { point: *point, recorded, computed });
        }
        made.insert(*point, &proposed.parameters);
        searcher.start(*point, &proposed.parameters);
    }
    Ok(found)
}
