//! Back to where the engine was, from what the store kept.

use std::sync::Arc;

use domain::{
    definition::{DefinitionError, SweepDefinition},
    record::{StoredJob, StoredSweep},
};
use terms::{JobState, SweepId, SweepState};

use super::{
    Engine, EngineConfig, Now,
    job_control::STOPPED,
    sweep_run::{ActiveAttempt, SweepRun, WaitingJob},
    weights::Weights,
};
use crate::mutants::{self, Mutant};

/// Why the store's content cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What a sweep's jobs are cannot be read.
    #[error("sweep {sweep} cannot be read: {source}; it may be from a newer version of sweep")]
    Definition {
        /// Whose.
        sweep: SweepId,
        /// Why.
        source: DefinitionError,
    },
    /// The rows contradict each other.
    #[error("the store is damaged: {0}; restore it from a backup")]
    Contradiction(String),
}

impl Engine {
    /// The engine that wrote `stored`. Every lease is armed anew: the workers may have trained on meanwhile.
    pub fn restore(config: EngineConfig, now: Now, stored: Vec<StoredSweep>) -> Result<Self, RestoreError> {
        let mut engine = Self::new(config);
        for sweep in stored {
            if !sweep.request_id.is_empty() {
                engine.requests.insert(sweep.request_id.clone(), sweep.sweep);
            }
            let run = restore_sweep(sweep, now.monotonic_ms + config.lease_ms)?;
            if run.state == SweepState::Running {
                engine.live.insert(run.id);
            }
            engine.sweeps.insert(run.id, run);
        }
        engine.check_invariants().map_err(RestoreError::Contradiction)?;
        Ok(engine)
    }
}

fn restore_sweep(stored: StoredSweep, deadline_ms: u64) -> Result<SweepRun, RestoreError> {
    let id = stored.sweep;
    let definition = SweepDefinition::from_stored(id, &stored.specification)
        .map_err(|source| RestoreError::Definition { sweep: id, source })?;
    if stored.next_fresh.max(stored.ahead.last().map_or(0, |last| last + 1)) > definition.job_count() + 1 {
        return Err(RestoreError::Contradiction(format!("sweep {id} has results beyond its last job")));
    }
    let mut run = SweepRun::new(definition, stored.created_unix_ms);
    run.state = stored.state;
    run.ended_unix_ms = stored.ended_unix_ms;
    run.dataset = stored.dataset.map(Arc::new);
    run.next_fresh = stored.next_fresh;
    run.ahead = if mutants::is_on(Mutant::JobsAheadForgotten) { Default::default() } else { stored.ahead };
    run.best = stored.best;
    run.metrics = stored.metrics;
    run.weights = Weights::restored(stored.weights);
    for (state, count) in stored.finals {
        match state {
            JobState::Done => run.done = count,
            JobState::Diverged => run.diverged = count,
            JobState::Failed => run.failed = count,
            JobState::Cancelled => run.cancelled = count,
            JobState::Pending | JobState::Running => {}
        }
    }
    for job in stored.open_jobs {
        restore_job(&mut run, job, deadline_ms);
    }
    Ok(run)
}

fn restore_job(run: &mut SweepRun, stored: StoredJob, deadline_ms: u64) {
    let StoredJob { job, attempts, history, reason, running } = stored;
    let (attempts, deadline_ms) = (
        if running.is_none() && mutants::is_on(Mutant::AttemptNumbersForgotten) { 0 } else { attempts },
        if mutants::is_on(Mutant::LeasesNotRearmed) { 0 } else { deadline_ms },
    );
    match running {
        None => {
            run.waiting.insert(job, WaitingJob::again(attempts, history));
        }
        Some(attempt) => {
            let active = ActiveAttempt {
                attempt: attempts,
                worker: attempt.worker,
                slot: attempt.slot,
                device: attempt.device,
                pack_size: attempt.pack_size,
                pack_key: None,
                pack_size_max: None,
                dataset_path: run.dataset_path().into(),
                deadline_ms,
                started: attempt.started,
                resumed_epochs: 0,
                is_last: reason == STOPPED,
                history,
                epochs_total: run.definition.budget(job),
                train_seconds: attempt.train_seconds,
                progress: (
                    attempt.last.as_ref().map_or(0, |last| last.number) + u32::from(attempt.started),
                    0.0,
                ),
                objective: attempt.last.as_ref().and_then(|last| run.objective_of(&last.row)),
                last: attempt.last,
                best: attempt.best,
            };
            run.active.insert(job, active);
        }
    }
}
