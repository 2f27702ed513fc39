//! Searchers outside of the coordinator: the points that they give to a sweep, and what they are told of its jobs.

use std::time::Duration;

use domain::points::{LearnedPoints, NoSuchPoint};
use engine::{
    ControlError, Issuer,
    command::{ProposePoints, Proposed},
    query::{AskSearch, SearchNews},
};
use terms::{ParameterMap, ParameterValue, SweepId};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

use super::{Api, ApiError, plain};
use crate::driver::{DriverHandle, Observed};

/// Points in one call: the engine's turn compares them with those that it has, a microsecond for each.
const POINTS_MAX: usize = 1_000;
/// Longest pause before a follower asks again: workers that come and go, and jobs of other sweeps, free slots without a word about
/// this one.
const ASKS_EVERY: Duration = Duration::from_secs(1);
/// Shortest pause: what changes faster is told together.
const ASKS_AFTER: Duration = Duration::from_millis(20);

/// Points for a sweep from a searcher outside.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub sweep: SweepId,
    /// The number of the first of them.
    pub first_point: u64,
    pub points: Vec<ParameterMap>,
    /// How many results the searcher had when it chose them.
    pub seen: u64,
    /// Whether no others will come.
    pub is_exhausted: bool,
}

/// Why a point is not taken.
#[derive(Debug, thiserror::Error)]
#[error("point {number}: {reason}")]
struct Refused {
    number: u64,
    reason: NoSuchPoint,
}

/// What a searcher outside is told as it comes to be known.
#[derive(Debug)]
pub struct SearchFollower {
    driver: DriverHandle,
    sweep: SweepId,
    /// The number of the last result that was told.
    after: u64,
    observations: Receiver<Observed>,
    asked: Instant,
    /// The last news, without their results.
    told: Option<SearchNews>,
}

impl Api {
    /// Gives a sweep its next points: all of them or none. Durable when it is answered; the same again is answered the same.
    ///
    /// # Errors
    /// The sweep takes none, a point is outside of the space, or another one has its number.
    pub async fn propose_points(&self, issuer: Issuer, proposal: Proposal) -> Result<Proposed, ApiError> {
        let Proposal { sweep, first_point, points, seen, is_exhausted } = proposal;
        if points.len() > POINTS_MAX {
            let count = points.len();
            return Err(ApiError::Invalid(format!(
                "a call may have at most {POINTS_MAX} points, not {count}"
            )));
        }
        for (name, value) in points.iter().flat_map(|point| &point.0) {
            plain("points", name)?;
            if let ParameterValue::Text(text) = value {
                plain("points", text)?;
            }
        }
        let definition = self.definition(sweep).await?;
        // Beside the engine: each is compared with all that the file excludes.
        if !definition.learned().is_some_and(LearnedPoints::are_from_outside) {
            return Err(ControlError::NotFromOutside(sweep).into());
        }
        let checked = self.read(move || {
            let check = definition.learned().map(LearnedPoints::check);
            let check = check.into_iter().flat_map(|check| {
                let of = move |(number, point)| check.of(point).map_err(|reason| Refused { number, reason });
                (first_point..).zip(&points).map(of)
            });
            check.collect::<Result<Vec<_>, Refused>>()
        });
        let points = checked.await?;
        let command = ProposePoints { sweep, first_point, points, seen, is_exhausted };
        Ok(self.leadership.command(issuer, command).await?)
    }

    /// Follows what a searcher that has the results up to `after` has to know, until the sweep has ended.
    ///
    /// # Errors
    /// The sweep has no searcher outside, or fewer results.
    pub async fn follow_search(&self, sweep: SweepId, after: u64) -> Result<SearchFollower, ApiError> {
        let driver = self.leadership.driver()?;
        let observations = driver.observe();
        // Refused now rather than as the first message.
        driver.query_engine(AskSearch { sweep, after }).await?;
        Ok(SearchFollower { driver, sweep, after, observations, asked: Instant::now(), told: None })
    }
}

impl SearchFollower {
    /// What is new; none once a sweep that has ended has told all its results.
    ///
    /// # Errors
    /// The coordinator shuts down or lost its lead.
    pub async fn next(&mut self) -> Result<Option<SearchNews>, ApiError> {
        if self.told.as_ref().is_some_and(|told| told.state.is_final() && !told.has_more) {
            return Ok(None);
        }
        loop {
            self.asked = Instant::now();
            let news = self.driver.query_engine(AskSearch { sweep: self.sweep, after: self.after }).await?;
            self.after += news.results.len() as u64;
            let without_results = SearchNews { results: Vec::new(), ..news.clone() };
            let is_new = !news.results.is_empty() || self.told.as_ref() != Some(&without_results);
            self.told = Some(without_results);
            if is_new {
                return Ok(Some(news));
            }
            self.changed().await?;
        }
    }

    /// Waits until it is worth asking again.
    async fn changed(&mut self) -> Result<(), ApiError> {
        tokio::select! {
            observed = self.observations.recv() => match observed {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => {
                    return Err(ApiError::Unavailable("the coordinator is shutting down".to_owned()));
                }
            },
            () = tokio::time::sleep_until(self.asked + ASKS_EVERY) => {}
        }
        tokio::time::sleep_until(self.asked + ASKS_AFTER).await;
        self.observations = self.driver.observe();
        Ok(())
    }
}
