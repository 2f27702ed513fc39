//! What users do to sweeps.

use std::sync::Arc;

use domain::{definition::SweepDefinition, record::Record};
use terms::{AttemptKey, AttemptState, JobState, SweepId, SweepState, WorkerName};

use super::{
    ControlError, Effect, Engine, Now, Observation, Output, SweepView, ToWorker, WorkerView,
    command::{Extended, Submitted},
    sessions::{revoke, send},
    settle,
    sweep_run::SweepRun,
    workers::WorkerState,
};

/// Specifications of all sweeps, in bytes of text: sweeps stay for ever, and what is made of their texts takes six times as
/// much memory. Sweep files have some hundred bytes, those with long lists some hundred thousand.
pub(super) const SPECIFICATIONS_BYTES_MAX: usize = 256 << 20;

impl Engine {
    /// Whether there is room for so many bytes of specifications more.
    pub(super) fn has_room_for(&self, bytes: usize) -> Result<(), ControlError> {
        if bytes == 0 {
            return Ok(());
        }
        let kept: usize = self.sweeps.values().map(|run| run.definition.text_bytes()).sum();
        let fits = kept.saturating_add(bytes) <= SPECIFICATIONS_BYTES_MAX;
        if fits { Ok(()) } else { Err(ControlError::TooManySpecifications { kept, bytes }) }
    }

    pub(super) fn submit(
        &mut self,
        now: Now,
        mut definition: SweepDefinition,
        request_id: String,
        out: &mut Output,
    ) -> Result<Submitted, ControlError> {
        if let Some(known) = self.requests.get(&request_id).and_then(|sweep| self.sweeps.get(sweep)) {
            return Ok(Submitted { sweep: known.view(), created: false });
        }
        self.has_room_for(definition.text_bytes())?;
        let id = SweepId(self.sweeps.keys().next_back().map_or(1, |last| last.0 + 1));
        definition.id = id;
        let run = SweepRun::new(definition, now.unix_ms);
        out.records.push(Record::SweepSubmitted {
            sweep: id,
            name: run.definition.specification.name.clone(),
            request_id: request_id.clone(),
            specification: run.definition.text(),
            manifest: run.definition.manifest.to_json(),
            objective: run.definition.specification.metric.clone(),
            job_count: run.job_count(),
            created_unix_ms: now.unix_ms,
        });
        if !request_id.is_empty() {
            self.requests.insert(request_id, id);
        }
        let view = run.view();
        self.sweeps.insert(id, run);
        self.live.insert(id);
        Ok(Submitted { sweep: view, created: true })
    }

    /// Gives a sweep the jobs that its new definition has more, and its settings. A limit counts for what is granted from
    /// now on.
    pub(super) fn extend(
        &mut self,
        sweep: SweepId,
        base: &Arc<SweepDefinition>,
        definition: Arc<SweepDefinition>,
        out: &mut Output,
    ) -> Result<Extended, ControlError> {
        let has_room = self.has_room_for(definition.text_bytes().saturating_sub(base.text_bytes()));
        let Some(run) = self.sweeps.get_mut(&sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state {
            SweepState::Running | SweepState::Paused | SweepState::Finished => {}
            state => return Err(ControlError::AlreadyFinal { sweep, state }),
        }
        has_room?;
        if !Arc::ptr_eq(&run.definition, base) {
            return Err(ControlError::Overtaken);
        }
        let used = base.metric.used;
        if definition.metric.used != used && !run.weights.is_empty() {
            // Their values are of other epochs than those that would be compared with them.
            return Err(ControlError::WeightsChosen { sweep, used });
        }
        let added = definition.job_count().saturating_sub(base.job_count());
        let is_set = !definition.specification.has_settings_of(&base.specification);
        if added == 0 && !is_set {
            return Ok(Extended { sweep: run.view(), added_jobs: 0 });
        }
        let has_moved = definition.specification.dataset_path() != base.specification.dataset_path();
        let counts = run.counts();
        if has_moved
            && added == 0
            && run.state == SweepState::Finished
            && counts.failed + counts.cancelled == 0
        {
            let path = base.specification.dataset_path().display().to_string();
            return Err(ControlError::NobodyLooks { sweep, path });
        }
        out.records.push(Record::SweepExtended {
            sweep,
            name: definition.specification.name.clone(),
            specification: definition.text(),
            job_count: definition.job_count(),
        });
        run.definition = definition;
        // It may keep the weights of fewer jobs now.
        run.trim_weights(out);
        if added > 0 {
            let state = if run.state == SweepState::Finished { SweepState::Running } else { run.state };
            run.ended_unix_ms = None;
            change_state(run, state, out);
            self.live.insert(sweep);
        } else {
            out.effects.push(Effect::Observed { sweep, observation: Observation::Ended });
        }
        let view = run.view();
        if has_moved {
            // Who could not use the data set may find it at its new place.
            for worker in self.workers.values_mut() {
                worker.unfit.remove(&sweep);
            }
        }
        Ok(Extended { sweep: view, added_jobs: added })
    }

    pub(super) fn pause(
        &mut self,
        now: Now,
        sweep: SweepId,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(&sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state {
            SweepState::Paused => {}
            SweepState::Running => {
                change_state(run, SweepState::Paused, out);
                settle(run, now, out);
            }
            state => return Err(ControlError::AlreadyFinal { sweep, state }),
        }
        Ok(run.view())
    }

    pub(super) fn resume(&mut self, sweep: SweepId, out: &mut Output) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(&sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state {
            SweepState::Running => {}
            SweepState::Paused => {
                change_state(run, SweepState::Running, out);
                self.live.insert(sweep);
            }
            state => return Err(ControlError::AlreadyFinal { sweep, state }),
        }
        Ok(run.view())
    }

    pub(super) fn drain(
        &mut self,
        now: Now,
        name: &WorkerName,
        out: &mut Output,
    ) -> Result<WorkerView, ControlError> {
        let connected = self.workers.get_mut(name).filter(|worker| worker.session.is_some());
        let Some(worker) = connected else {
            return Err(ControlError::NoSuchWorker(name.clone()));
        };
        worker.drained = true;
        tell_to_leave(worker, out);
        self.describe_worker(now, name)
    }

    pub(super) fn stop(
        &mut self,
        now: Now,
        sweep: SweepId,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(&sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state {
            SweepState::Stopping | SweepState::Stopped => return Ok(run.view()),
            SweepState::Finished | SweepState::Cancelled => {
                return Err(ControlError::AlreadyFinal { sweep, state: run.state });
            }
            SweepState::Running | SweepState::Paused => {}
        }
        change_state(run, SweepState::Stopping, out);
        cancel_waiting(run, "the sweep was stopped", out);
        settle(run, now, out);
        Ok(run.view())
    }

    pub(super) fn cancel(
        &mut self,
        now: Now,
        sweep: SweepId,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(&sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state {
            SweepState::Cancelled => return Ok(run.view()),
            SweepState::Finished | SweepState::Stopped => {
                return Err(ControlError::AlreadyFinal { sweep, state: run.state });
            }
            SweepState::Running | SweepState::Paused | SweepState::Stopping => {}
        }
        // Stopping first, so that the ends of its attempts start nothing and settle nothing but the stop.
        run.state = SweepState::Stopping;
        cancel_waiting(run, "the sweep was cancelled", out);
        let running: Vec<AttemptKey> =
            run.active.iter().map(|(job, active)| run.attempt_key(*job, active.attempt)).collect();
        let mut cancelled = Output::default();
        for attempt in running {
            if let Some(session) = self.session_of(attempt) {
                revoke(session, &[attempt], "the sweep was cancelled", out);
            }
            let reason = "the sweep was cancelled".to_owned();
            self.end_attempt(now, attempt, AttemptState::Revoked, reason, Vec::new(), &mut cancelled);
        }
        cancelled.records.retain(|record| !matches!(record, Record::SweepChanged { .. }));
        out.records.append(&mut cancelled.records);
        out.effects.append(&mut cancelled.effects);
        let Some(run) = self.sweeps.get_mut(&sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        run.finish(SweepState::Cancelled, now.unix_ms);
        let ended_unix_ms = Some(now.unix_ms);
        out.records.push(Record::SweepChanged { sweep, state: SweepState::Cancelled, ended_unix_ms });
        out.effects.push(Effect::Observed { sweep, observation: Observation::Ended });
        Ok(run.view())
    }

    /// The stream of the worker that runs an active attempt.
    pub(super) fn session_of(&self, attempt: AttemptKey) -> Option<super::SessionId> {
        let active = self.sweeps.get(&attempt.job.sweep)?.active(attempt)?;
        self.workers.get(&active.worker)?.session
    }

    pub(super) fn list(&self, before: Option<SweepId>, limit: usize) -> Vec<SweepView> {
        let older = |(id, _): &(&SweepId, &SweepRun)| before.is_none_or(|before| **id < before);
        self.sweeps.iter().rev().filter(older).take(limit).map(|(_, run)| run.view()).collect()
    }
}

/// Has a worker leave that does not yet: a user wants it to.
pub(super) fn tell_to_leave(worker: &mut WorkerState, out: &mut Output) {
    if let Some(session) = worker.session.filter(|_| !worker.draining) {
        worker.draining = true;
        worker.leaving = "drained on request".to_owned();
        send(session, ToWorker::Drain { reason: worker.leaving.clone() }, out);
    }
}

pub(super) fn change_state(run: &mut SweepRun, state: SweepState, out: &mut Output) {
    run.state = state;
    out.records.push(Record::SweepChanged { sweep: run.id, state, ended_unix_ms: None });
    out.effects.push(Effect::Observed { sweep: run.id, observation: Observation::Ended });
}

/// Jobs that wait for another attempt get none.
fn cancel_waiting(run: &mut SweepRun, reason: &str, out: &mut Output) {
    for (job, waiting) in std::mem::take(&mut run.waiting) {
        run.count_end(job, JobState::Cancelled, None, None);
        out.records.push(Record::JobChanged {
            job: terms::JobKey { sweep: run.id, job },
            state: JobState::Cancelled,
            history: waiting.history,
            reason: reason.to_owned(),
        });
    }
}
