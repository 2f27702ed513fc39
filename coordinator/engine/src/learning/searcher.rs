//! A searcher that learns here. It is made beside the engine, as that takes time in proportion to its space and to what it is told:
//! a turn of the engine only stores it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    definition::SweepDefinition,
    points::LearnedPoints,
    proposals::{Learned, LearnedResult, Why},
    record::StoredSearch,
};
use search::tpe::{self, Outcome, SpaceError, Tpe};
use terms::{Goal, ParameterMap};

use super::numbers::Numbers;

/// A space in which no search is possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{parameter}` cannot be searched by `method: tpe`, as its range is empty or too wide to compute with; narrow it"
)]
pub struct NotSearchable {
    pub parameter: String,
}

/// A searcher of numbers, and the points in them.
#[derive(Debug, Clone)]
pub(crate) struct Searcher {
    tpe: Tpe,
    numbers: Numbers,
    points: LearnedPoints,
}

impl Searcher {
    /// Takes time in proportion to the combinations of values, up to a million.
    pub(super) fn new(points: &LearnedPoints, goal: Goal) -> Result<Self, NotSearchable> {
        let numbers = Numbers::new(points.axes());
        let excluded = numbers.excluded(points.exclude());
        let tpe = Tpe::new(&numbers.dimensions(), excluded, goal, points.seed());
        let tpe = tpe.map_err(|error| {
            let (SpaceError::Empty(index) | SpaceError::Logarithm(index) | SpaceError::Condition(index)) =
                error;
            let name = points.axes().get(index).map(|axis| axis.name.to_string());
            NotSearchable { parameter: name.unwrap_or_default() }
        })?;
        Ok(Self { tpe, numbers, points: points.clone() })
    }

    /// The searcher of a sweep that has not begun; none where no searcher of its own proposes its points.
    pub(crate) fn of(definition: &SweepDefinition) -> Result<Option<Self>, NotSearchable> {
        let points = definition.learned().filter(|points| !points.are_from_outside());
        points.map(|points| Self::new(points, definition.metric.goal)).transpose()
    }

    pub(super) fn points(&self) -> &LearnedPoints {
        &self.points
    }

    /// The sweep has these points, from now on.
    pub(super) fn go_on_with(&mut self, points: &LearnedPoints) {
        self.points = points.clone();
    }

    /// All trainings of a point run from its proposal on: they begin before the next one is proposed.
    pub(crate) fn start(&mut self, point: u64, parameters: &ParameterMap) {
        let numbers = self.numbers.point(parameters);
        self.points.jobs(point).for_each(|job| self.tpe.start(job, &numbers));
    }

    pub(crate) fn tell(&mut self, Learned { job, result }: Learned, parameters: &ParameterMap) {
        let point = self.numbers.point(parameters);
        match result {
            LearnedResult::Finished(value) => self.tpe.observe(job, &point, Outcome::Finished(value)),
            LearnedResult::Diverged => self.tpe.observe(job, &point, Outcome::Diverged),
            LearnedResult::Stopped { epoch: step, value } => {
                let value = value.unwrap_or(f64::NAN);
                self.tpe.observe(job, &point, Outcome::Stopped { step, value });
            }
            LearnedResult::Nothing => self.tpe.forget(job),
            LearnedResult::Again => self.tpe.start(job, &point),
        }
    }

    /// The parameters of a point and why; none where no point is left.
    pub(crate) fn propose(&mut self, point: u64) -> Option<(ParameterMap, Why)> {
        if let Some(included) = self.points.included(point) {
            return Some((included, Why::Included));
        }
        let proposal = self.tpe.propose(point)?;
        let why = match proposal.why {
            tpe::Why::Random => Why::Random,
            tpe::Why::Left => Why::Left,
            tpe::Why::Model { good, running, near, score } => {
                Why::Model { good: good as u64, running: running as u64, near, score }
            }
        };
        Some((self.numbers.parameters(&proposal.point), why))
    }

    /// Computes what the next proposal would after much was told, so that no turn does.
    pub(super) fn prepare(&mut self) {
        self.tpe.prepare();
    }

    /// Roughly the memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.tpe.bytes()
    }
}

/// The searcher of a sweep that had ended and goes on, told what it had been told before.
pub(super) struct ToldAgain {
    pub(super) searcher: Box<Searcher>,
    /// How many points it has proposed, and how many results it was told.
    pub(super) known: (u64, u64),
}

/// A searcher that no sweep needs any more. To free it takes milliseconds, so that it leaves the engine, whoever drops it last.
#[derive(Clone)]
pub struct Discarded(Arc<Searcher>);

impl From<Box<Searcher>> for Discarded {
    fn from(searcher: Box<Searcher>) -> Self {
        Self(Arc::from(searcher))
    }
}

impl fmt::Debug for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discarded").field("bytes", &self.0.bytes()).finish_non_exhaustive()
    }
}

/// A searcher for a sweep that has ended and is to go on, which a command brings. The first engine that needs it takes it: it is not
/// copied, as that takes milliseconds where there are many results. A command that is carried out again is refused anyway, and read
/// again.
#[derive(Clone, Default)]
pub struct Revived(Arc<Mutex<Option<ToldAgain>>>);

impl fmt::Debug for Revived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revived").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Revived {
    /// The searcher of this sweep, where it has one of its own, told again what is stored: a second for ten thousand results.
    ///
    /// # Errors
    /// Its space cannot be searched.
    pub fn new(definition: &SweepDefinition, stored: &StoredSearch) -> Result<Self, NotSearchable> {
        let Some(mut searcher) = Searcher::of(definition)? else { return Ok(Self::default()) };
        for (point, proposed) in &stored.proposals {
            searcher.start(*point, &proposed.parameters);
        }
        let parameters = |point: u64| {
            let at = stored.proposals.binary_search_by_key(&point, |(point, _)| *point);
            at.ok().map(|at| &stored.proposals[at].1.parameters)
        };
        for learned in &stored.learned {
            if let Some(parameters) = parameters(searcher.points.point_of(learned.job)) {
                searcher.tell(*learned, parameters);
            }
        }
        searcher.prepare();
        let known = (stored.proposals.len() as u64, stored.learned.len() as u64);
        Ok(Self(Arc::new(Mutex::new(Some(ToldAgain { searcher: Box::new(searcher), known })))))
    }

    /// The searcher, where it is wanted. Another one stays, to be discarded.
    pub(super) fn take_if(&self, is_wanted: impl Fn(&ToldAgain) -> bool) -> Option<ToldAgain> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if(|told| is_wanted(told))
    }

    /// What is left of it once its command was carried out or refused.
    pub(crate) fn discard(&self) -> Option<Discarded> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        left.map(|told| Discarded::from(told.searcher))
    }

    /// Roughly the memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().map_or(0, |told| told.searcher.bytes())
    }
}
