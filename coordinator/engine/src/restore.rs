//! Rebuilds the engine from what the store kept.

use domain::{definition::DefinitionError, record::StoredSweep};
use terms::SweepId;

use super::{Engine, EngineConfig, Now, Request, sweep_run::SweepRun};

/// Why the engine cannot be rebuilt from the store's content.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A sweep's definition cannot be read.
    #[error("sweep {sweep} cannot be read: {source}; it may be from a newer version of sweep")]
    Definition { sweep: SweepId, source: DefinitionError },
    /// The rows contradict each other.
    #[error("the store is corrupt: {0}; restore it from a backup")]
    Contradiction(String),
}

impl Engine {
    /// The engine that wrote `stored`. Every lease starts again: the workers may have trained on meanwhile.
    pub fn restore(config: EngineConfig, now: Now, stored: Vec<StoredSweep>) -> Result<Self, RestoreError> {
        let mut engine = Self::new(config);
        for sweep in stored {
            if !sweep.request_id.is_empty() {
                let owner = sweep.owner.as_deref().map(Into::into);
                engine.requests.insert(Request { owner, id: sweep.request_id.clone() }, sweep.sweep);
            }
            let run = SweepRun::restored(sweep, now.monotonic_ms + config.lease_ms)?;
            let account = engine.shares.number_of(run.owner());
            engine.sweeps.insert(run.of_account(account));
        }
        engine.check_invariants().map_err(RestoreError::Contradiction)?;
        Ok(engine)
    }
}
