//! What a searcher that learns has proposed. Points of a grid are computed from their numbers; these depend on results, so
//! they are recorded, with what they were made from.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use terms::{ParameterMap, count};

/// The point of a job, and what it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposed {
    /// The parameters that have a value there, in the order of the space.
    pub parameters: ParameterMap,
    /// Its place among the proposals of the sweep, from 1: those of the same `seen` need not be in the order of their numbers.
    pub place: u64,
    /// How many [`Learned`] results the searcher had.
    pub seen: u64,
    pub why: Why,
}

/// Why a point was proposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// The sweep file includes it.
    Included,
    /// By chance: too few jobs had ended to learn from.
    Random,
    /// It is most like good jobs and least like others.
    Model {
        /// How many jobs counted as good.
        good: u64,
        /// How many jobs ran, which count as bad.
        running: u64,
        /// The good job near which it was drawn; none if anywhere.
        near: Option<u64>,
        /// The logarithm of how much likelier it is among good jobs than among others.
        score: f64,
    },
    /// By chance among the points that had no job yet.
    Left,
    /// A searcher outside of the coordinator proposed it.
    Outside,
}

impl fmt::Display for Proposed {
    /// Why the point was proposed, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = count(self.seen, "result");
        match self.why {
            Why::Included => f.write_str("the sweep file includes this point"),
            Why::Random => {
                write!(f, "drawn at random, as too few jobs had ended to learn from ({})", self.seen)
            }
            Why::Left => {
                write!(f, "drawn at random among the points that were left, after {results}")
            }
            Why::Outside => write!(f, "by the searcher outside, which had seen {results}"),
            Why::Model { good, running, near, score } => {
                let near = near.map_or("anywhere in the space".to_owned(), |job| format!("near job {job}"));
                write!(
                    f,
                    "drawn {near}, and of all candidates the one most like the best {good} jobs and least like the others and the \
                     {running} that ran, after {results} (log ratio {score:.3})"
                )
            }
        }
    }
}

/// What a searcher was told of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    pub job: u64,
    pub result: LearnedResult,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LearnedResult {
    /// It is done with this value of the objective.
    Finished(f64),
    /// Its loss became infinite or undefined, or it is done without a value that can be ranked.
    Diverged,
    /// Early stopping has stopped or paused it after this epoch, with this value of the objective, where that can be ranked. A job
    /// that is promoted counts as this until more is known of it.
    Stopped { epoch: u32, value: Option<f64> },
    /// It failed or was cancelled: nothing is known of its point.
    Nothing,
    /// It failed or was cancelled before, and runs again.
    Again,
}

/// The points of a sweep's jobs so far. Each is set once; who has a copy sees what is set later. Definitions that follow each other
/// share what was proposed: ten thousand points are taken over while the engine waits.
#[derive(Debug, Clone, Default)]
pub struct Proposals(Arc<[OnceLock<Arc<Proposed>>]>);

impl Proposals {
    /// Of so many jobs, none of which has a point yet.
    pub fn of(job_count: u64) -> Self {
        Self((0..job_count).map(|_| OnceLock::new()).collect())
    }

    /// The point of a job, where it has one.
    pub fn get(&self, job: u64) -> Option<&Proposed> {
        self.cell(job)?.get().map(Arc::as_ref)
    }

    /// Gives a job its point. One that it has stays.
    pub fn set(&self, job: u64, proposed: impl Into<Arc<Proposed>>) {
        if let Some(cell) = self.cell(job) {
            // Set before: it stays.
            let _ = cell.set(proposed.into());
        }
    }

    /// Takes over the points that another has.
    pub fn take(&self, other: &Self) {
        for (job, cell) in (1..).zip(&*other.0) {
            if let Some(proposed) = cell.get() {
                self.set(job, Arc::clone(proposed));
            }
        }
    }

    fn cell(&self, job: u64) -> Option<&OnceLock<Arc<Proposed>>> {
        let index = usize::try_from(job.checked_sub(1)?).ok()?;
        self.0.get(index)
    }
}
