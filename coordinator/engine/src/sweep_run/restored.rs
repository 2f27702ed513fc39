//! Rebuilds a sweep from what the store kept.

use std::sync::Arc;

use domain::{
    definition::SweepDefinition,
    record::{StoredJob, StoredStage, StoredSweep},
};
use terms::JobState;

use super::{ActiveAttempt, Lease, SweepRun, WaitingJob};
use crate::{
    job_control::STOPPED,
    learning::Searcher,
    mutants::{self, Mutant},
    restore::RestoreError,
    weights::Weights,
};

impl SweepRun {
    /// The sweep as the store has it; every lease lasts until `deadline_ms`.
    pub(crate) fn restored(stored: StoredSweep, deadline_ms: u64) -> Result<Self, RestoreError> {
        let id = stored.sweep;
        let definition = SweepDefinition::from_stored(id, &stored.specification, stored.manifest.as_deref())
            .map_err(|source| RestoreError::Definition { sweep: id, source })?;
        if stored.next_unstarted.max(stored.out_of_order.last().map_or(0, |last| last + 1))
            > definition.job_count() + 1
        {
            return Err(RestoreError::Contradiction(format!("sweep {id} has results beyond its last job")));
        }
        // One that has ended needs none, unless it goes on some day.
        let searcher = if stored.state.is_final() { Ok(None) } else { Searcher::of(&definition) };
        let searcher =
            searcher.map_err(|error| RestoreError::Contradiction(format!("sweep {id}: {error}")))?;
        let owner = stored.owner.map(Into::into);
        let mut run = Self::new(&definition, searcher, stored.created_unix_ms).owned_by(owner);
        if stored.job_count < run.job_count() {
            // Those that it has now, which are not those of the definition that was read.
            run.redefine(run.definition.ending_after(stored.job_count));
        }
        run.state = stored.state;
        run.ended_unix_ms = stored.ended_unix_ms;
        run.dataset = stored.dataset.map(Arc::new);
        run.next_unstarted = stored.next_unstarted;
        run.out_of_order = if mutants::is_on(Mutant::OutOfOrderForgotten) {
            Default::default()
        } else {
            stored.out_of_order
        };
        run.best = stored.best;
        run.best_points = stored.best_points.or(run.best_points);
        run.metrics = stored.metrics;
        run.parameters = stored.parameters;
        run.weights = Weights::restored(stored.weights);
        for (state, count) in stored.finals {
            match state {
                JobState::Done => run.done = count,
                JobState::Diverged => run.diverged = count,
                JobState::Stopped => run.stopped = count,
                JobState::Failed => run.failed = count,
                JobState::Cancelled => run.cancelled = count,
                JobState::Pending | JobState::Running | JobState::Paused => {}
            }
        }
        if let Some(learning) = &mut run.learning {
            // Before its jobs, whose epochs may be searched, too.
            learning.restore(stored.search);
        }
        let missed =
            stored.without_checkpoint.filter(|_| !mutants::is_on(Mutant::MissedCheckpointsForgotten));
        missed.into_iter().for_each(|job| run.do_without_pauses(job));
        run.restore_rungs(&stored.rungs);
        for job in stored.open_jobs {
            restore_job(&mut run, job, deadline_ms);
        }
        Ok(run)
    }
}

fn restore_job(run: &mut SweepRun, stored: StoredJob, deadline_ms: u64) {
    let is_running = stored.running().is_some();
    let StoredJob { job, attempts, history, reason, worker, budget, stage } = stored;
    let budget = budget.filter(|_| !mutants::is_on(Mutant::BudgetsForgotten));
    let (attempts, deadline_ms) = (
        if !is_running && mutants::is_on(Mutant::AttemptNumbersForgotten) { 0 } else { attempts },
        if mutants::is_on(Mutant::LeasesNotRearmed) { 0 } else { deadline_ms },
    );
    match stage {
        StoredStage::Waiting => {
            run.waiting.insert(job, WaitingJob::again(attempts, history, budget));
        }
        StoredStage::Paused => {
            let kept_by = worker.filter(|_| run.leaves_checkpoint(job));
            run.paused.insert(job, WaitingJob::again(attempts, history, budget).kept_at(kept_by));
        }
        StoredStage::Running(attempt) => {
            let objective = attempt.last.as_ref().and_then(|last| run.objective_of(&last.row));
            let (plan, is_last, lease) =
                (run.plan(job, budget), reason == STOPPED, Lease::until(deadline_ms));
            let active = ActiveAttempt::restored(attempts, history, attempt, plan, objective, is_last, lease);
            run.begin_attempt(job, active);
        }
    }
}
