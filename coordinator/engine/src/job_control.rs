//! What users do with single jobs, and jobs that are retried.

use domain::record::Record;
use terms::{AttemptState, JobKey, JobState, SweepState};

use super::{
    ControlError, Effect, Engine, Issuer, JobEnd, Now, Observation, Output, SweepView,
    command::{Retried, Retry},
    control::change_state,
    query::DescribeSweep,
    sessions::revoke,
    settle,
    sweep_run::SweepRun,
};

/// The reason of a running job that gets no more attempts. It is stored, and a restart recognises such a job by it.
pub(super) const STOPPED: &str = "stopped on request: it ends with this attempt";

impl Engine {
    /// Ends one job, now or with its attempt. Idempotent.
    pub(super) fn end_job(
        &mut self,
        now: Now,
        key: JobKey,
        how: JobEnd,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(key.sweep) else {
            return Err(ControlError::NoSuchSweep(key.sweep));
        };
        if key.job == 0 || key.job > run.job_count() {
            return Err(ControlError::NoSuchJob { job: key, jobs: run.job_count() });
        }
        let reason = match how {
            JobEnd::Stop => "stopped on request",
            JobEnd::Cancel => "cancelled on request",
        };
        if let Some(active) = run.current_mut(key.job) {
            let is_new = active.make_last();
            let (number, history) = (active.number(), active.history().clone());
            let attempt = run.attempt_key(key.job, number);
            if how == JobEnd::Cancel {
                if let Some(session) = self.session_of(attempt) {
                    revoke(session, &[attempt], reason, out);
                }
                self.end_attempt(now, attempt, AttemptState::Revoked, reason.to_owned(), Vec::new(), out);
            } else if is_new {
                let reason = STOPPED.to_owned();
                out.records.push(Record::JobChanged { job: key, state: JobState::Running, history, reason });
            }
        } else if let Some(record) = run.cancel_waiting_job(key.job, reason) {
            out.records.push(record);
            out.effects.push(Effect::Observed { sweep: key.sweep, observation: Observation::Progress });
            settle(run, now, out);
        } else {
            return Err(ControlError::JobHasEnded(key));
        }
        self.ask(now, &DescribeSweep::new(key.sweep))
    }

    /// Puts jobs back to wait, with their failures forgotten, and lets every worker try the sweep again. `all` says
    /// that these are all that the sweep has: then a sweep that was stopped or cancelled also continues, with the jobs
    /// that never started. The engine does not know the jobs that have ended, so it only accepts a list that is still
    /// current.
    pub(super) fn retry(
        &mut self,
        now: Now,
        command: &Retry,
        by: &Issuer,
        out: &mut Output,
    ) -> Result<Retried, ControlError> {
        let &Retry { sweep, ref jobs, all, ref seen, ref revived } = command;
        // One that goes on keeps room for all that it may propose.
        let grows = |run: &SweepRun| run.definition().kept_bytes_max().saturating_sub(run.kept_bytes());
        let has_room = self.has_room_for(self.sweeps.get(sweep).map_or(0, grows), by);
        let Some(run) = self.sweeps.get_mut(sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        if run.state().is_final()
            && let Some(why) = run.why_reached(run.definition().specification.target)
        {
            return Err(ControlError::TargetReached { sweep, why });
        }
        let mut retried = match run.state() {
            SweepState::Running | SweepState::Paused | SweepState::Finished => 0,
            SweepState::Stopped | SweepState::Cancelled if all => run.never_started() + run.paused_jobs(),
            state @ (SweepState::Stopped | SweepState::Cancelled) => {
                return Err(ControlError::OnlyAsAWhole { sweep, state });
            }
            state @ SweepState::Stopping => {
                return Err(ControlError::AlreadyFinal { sweep, state });
            }
        };
        if run.ends() != seen {
            return Err(ControlError::Overtaken);
        }
        let goes_on = retried > 0 || jobs.iter().any(|ended| run.can_be_tried_again(ended));
        if goes_on {
            has_room?;
        }
        if goes_on && !run.wake(revived) {
            return Err(ControlError::Overtaken);
        }
        for ended in jobs {
            if let Some(record) = run.try_again(*ended) {
                self.doubts.forget(JobKey { sweep, job: ended.job });
                out.records.push(record);
                retried += 1;
            }
        }
        if retried > 0 {
            run.outdate_ends();
        }
        if retried > 0 && run.state().is_final() {
            change_state(run, SweepState::Running, out);
        }
        settle(run, now, out);
        let view = run.view();
        if retried > 0 {
            for worker in self.workers.all_mut() {
                worker.try_sweep_again(sweep);
                worker.forgive();
            }
        }
        Ok(Retried { sweep: view, jobs: retried })
    }
}
