//! Whether the points of a search that learns follow from what it had seen, as the records say.

use std::sync::Arc;

use domain::points::LearnedPoints;
use engine::{Difference, recomputed};
use terms::SweepId;

use super::{Api, ApiError, error::unreadable, task_ended};

/// What came of making each proposal again.
#[derive(Debug)]
pub struct Verified {
    /// How many points were proposed.
    pub proposals: u64,
    /// How many results the searcher was told.
    pub results: u64,
    /// The proposals that come out different.
    pub differences: Vec<Difference>,
}

impl Api {
    /// Makes each proposal of a search that learns again, from the records, beside the engine: up to two milliseconds for each of at most
    /// ten thousand.
    ///
    /// # Errors
    /// There is no such sweep, its points do not rest on results here, or another one is being verified.
    pub async fn verify_search(&self, sweep: SweepId) -> Result<Verified, ApiError> {
        let definition = self.definition(sweep).await?;
        let proposed_here = |points: &&LearnedPoints| !points.are_from_outside();
        if definition.learned().filter(proposed_here).is_none() {
            let method = definition.specification.method.as_str();
            return Err(ApiError::Refused(format!(
                "sweep {sweep} has `method: {method}`, whose points do not rest on results of the sweep; only those of `method: tpe` are recomputed"
            )));
        }
        let place = Arc::clone(&self.verifications)
            .try_acquire_owned()
            .map_err(|_| ApiError::Full("another search is being verified; try again in 10 s".to_owned()))?;
        // Each proposal is stored with what it had seen, so that those that follow meanwhile do not matter.
        let stored = self.store.search(sweep).await.map_err(unreadable)?;
        let made = tokio::task::spawn_blocking(move || {
            // As long as the work, which goes on when its caller hangs up.
            let _place = place;
            let differences = recomputed(definition.learned()?, definition.metric.goal, &stored).ok()?;
            let (proposals, results) = (stored.proposals.len() as u64, stored.learned.len() as u64);
            Some(Verified { proposals, results, differences })
        });
        made.await.ok().flatten().ok_or_else(task_ended)
    }
}
