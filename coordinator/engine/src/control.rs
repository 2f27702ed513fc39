//! What users do with sweeps.

use std::sync::Arc;

use domain::{definition::SweepDefinition, record::Record};
use terms::{AttemptKey, AttemptState, SweepId, SweepState, WorkerName};

use super::{
    ControlError, Engine, Issuer, Now, Output, Request, SweepView, ToWorker, WorkerView,
    command::{Extend, Extended, Submitted},
    learning::Searcher,
    observe_change,
    sessions::{revoke, send},
    settle,
    sweep_run::SweepRun,
    workers::WorkerState,
};

/// Specifications of all sweeps, in bytes of text, and the points of searches that learn, as so much text as takes their memory. Sweeps
/// stay indefinitely, and their parsed form takes six times the memory. Sweep files have some hundred bytes, those with long lists some
/// hundred thousand; a thousand points of ten parameters count as nearly two hundred thousand.
pub(super) const SPECIFICATIONS_BYTES_MAX: usize = 256 << 20;

/// Of these, what the sweeps of one owner may take: whoever submits without end leaves room for others. That is some thirty of the largest
/// searches, or some hundred thousand usual files.
pub(super) const SPECIFICATIONS_BYTES_OF_OWNER_MAX: usize = SPECIFICATIONS_BYTES_MAX / 4;

impl Engine {
    /// Whether there is room for `bytes` more bytes of specifications and points, which someone adds.
    pub(super) fn has_room_for(&self, bytes: usize, by: &Issuer) -> Result<(), ControlError> {
        if bytes == 0 {
            return Ok(());
        }
        if let Some(owner) = by.bound() {
            let own = self.sweeps.all().filter(|run| run.owner().is_some_and(|name| **name == *owner));
            let kept: usize = own.map(SweepRun::kept_bytes).sum();
            if kept.saturating_add(bytes) > SPECIFICATIONS_BYTES_OF_OWNER_MAX {
                let owner = owner.to_owned();
                return Err(ControlError::TooManySpecificationsOfOwner { owner, kept, bytes });
            }
        }
        let kept: usize = self.sweeps.all().map(SweepRun::kept_bytes).sum();
        let fits = kept.saturating_add(bytes) <= SPECIFICATIONS_BYTES_MAX;
        if fits { Ok(()) } else { Err(ControlError::TooManySpecifications { kept, bytes }) }
    }

    pub(super) fn submit(
        &mut self,
        now: Now,
        (mut definition, searcher): (SweepDefinition, Option<Searcher>),
        (request_id, owner): (String, Option<Arc<str>>),
        by: &Issuer,
        out: &mut Output,
    ) -> Result<Submitted, ControlError> {
        let request = Request { owner: owner.clone(), id: request_id.clone() };
        // A sweep from before sweeps had owners is found by those who may change it.
        let of_no_one = || {
            let request = Request { owner: None, id: request_id.clone() };
            self.requests.get(&request).filter(|_| by.bound().is_none())
        };
        let known = self.requests.get(&request).or_else(of_no_one);
        if let Some(known) = known.and_then(|sweep| self.sweeps.get(*sweep)) {
            return Ok(Submitted { sweep: known.view(), created: false });
        }
        self.has_room_for(definition.kept_bytes_max(), by)?;
        let id = self.sweeps.next_id();
        definition.id = id;
        let account = self.shares.number_of(owner.as_ref());
        let run = SweepRun::new(&definition, searcher, now.unix_ms).owned_by(owner).of_account(account);
        out.records.push(Record::SweepSubmitted {
            sweep: id,
            name: run.definition().specification.name.clone(),
            request_id,
            specification: run.definition().text(),
            manifest: run.definition().manifest.to_json(),
            objective: run.definition().specification.metric.clone(),
            job_count: run.job_count(),
            created_unix_ms: now.unix_ms,
            owner: run.owner().map(ToString::to_string),
        });
        if !request.id.is_empty() {
            self.requests.insert(request, id);
        }
        let view = run.view();
        self.sweeps.insert(run);
        Ok(Submitted { sweep: view, created: true })
    }

    /// Gives a sweep the additional jobs and the settings of its new definition. A limit applies to what is granted
    /// from now on.
    pub(super) fn extend(
        &mut self,
        now: Now,
        command: &Extend,
        by: &Issuer,
        out: &mut Output,
    ) -> Result<Extended, ControlError> {
        let Extend { sweep, base, definition, revived } = command;
        let sweep = *sweep;
        let (kept, needed) = match definition.job_count() > base.job_count() {
            true => (self.sweeps.get(sweep).map_or(0, SweepRun::kept_bytes), definition.kept_bytes_max()),
            false => (base.text_bytes(), definition.text_bytes()),
        };
        let has_room = self.has_room_for(needed.saturating_sub(kept), by);
        let Some(run) = self.sweeps.get_mut(sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        if !Arc::ptr_eq(run.definition(), base) {
            return Err(ControlError::Overtaken);
        }
        // With the points that are proposed: where no others are left, those do not come back.
        let definition = definition.after(Some(base));
        let added = definition.job_count().saturating_sub(base.job_count());
        let is_set = !definition.specification.has_settings_of(&base.specification);
        if added == 0 && !is_set {
            return Ok(Extended { sweep: run.view(), added_jobs: 0 });
        }
        if added > 0
            && let Some(why) = run.why_reached(definition.specification.target)
        {
            let is_of_file = definition.specification.target != base.specification.target;
            return Err(match is_of_file {
                true => ControlError::TargetOfFileReached { sweep, why },
                false => ControlError::TargetReached { sweep, why },
            });
        }
        let state = run.state();
        if state == SweepState::Stopping {
            return Err(ControlError::AlreadyFinal { sweep, state });
        }
        // One that its target has stopped goes on where the extension has another target. Others only a retry begins again, with the
        // settings that they have then.
        if added > 0 && is_ended_early(state) && run.stopped().is_none() {
            return Err(ControlError::EndedEarly { sweep, state });
        }
        has_room?;
        let used = base.metric.used;
        if definition.metric.used != used && !run.weights().is_empty() {
            // Their values are from other epochs than those they would be compared with.
            return Err(ControlError::WeightsChosen { sweep, used });
        }
        let has_moved = definition.specification.dataset_path() != base.specification.dataset_path();
        let counts = run.counts();
        if has_moved
            && added == 0
            && run.state() == SweepState::Finished
            && counts.failed + counts.cancelled == 0
        {
            let path = base.specification.dataset_path().display().to_string();
            return Err(ControlError::NobodyLooks { sweep, path });
        }
        if added > 0 && !run.wake(revived) {
            return Err(ControlError::Overtaken);
        }
        out.records.push(run.redefine(definition));
        // It may keep the weights of fewer jobs now.
        run.trim_weights(out);
        if added > 0 {
            change_state(run, if state.is_final() { SweepState::Running } else { state }, out);
        } else {
            observe_change(run, out);
        }
        stop_at_target(run, out);
        settle(run, now, out);
        let view = run.view();
        if has_moved {
            // Workers that could not use the data set may find it at its new path.
            self.workers.all_mut().for_each(|worker| worker.try_sweep_again(sweep));
        }
        Ok(Extended { sweep: view, added_jobs: added })
    }

    pub(super) fn pause(
        &mut self,
        now: Now,
        sweep: SweepId,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state() {
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
        let Some(run) = self.sweeps.get_mut(sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state() {
            SweepState::Running => {}
            SweepState::Paused => {
                change_state(run, SweepState::Running, out);
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
        let connected = self.workers.get_mut(name).filter(|worker| worker.session().is_some());
        let Some(worker) = connected else {
            return Err(ControlError::NoSuchWorker(name.clone()));
        };
        worker.ask_to_leave();
        tell_to_leave(worker, out);
        self.describe_worker(now, name)
    }

    pub(super) fn stop(
        &mut self,
        now: Now,
        sweep: SweepId,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state() {
            SweepState::Stopping | SweepState::Stopped => return Ok(run.view()),
            SweepState::Finished | SweepState::Cancelled => {
                return Err(ControlError::AlreadyFinal { sweep, state: run.state() });
            }
            SweepState::Running | SweepState::Paused => {}
        }
        stop(run, "the sweep was stopped", out);
        settle(run, now, out);
        Ok(run.view())
    }

    pub(super) fn cancel(
        &mut self,
        now: Now,
        sweep: SweepId,
        out: &mut Output,
    ) -> Result<SweepView, ControlError> {
        let Some(run) = self.sweeps.get_mut(sweep) else {
            return Err(ControlError::NoSuchSweep(sweep));
        };
        match run.state() {
            SweepState::Cancelled => return Ok(run.view()),
            SweepState::Finished | SweepState::Stopped => {
                return Err(ControlError::AlreadyFinal { sweep, state: run.state() });
            }
            SweepState::Running | SweepState::Paused | SweepState::Stopping => {}
        }
        // First, so that the ends of its attempts start and end nothing else.
        let ended = run.finish(SweepState::Cancelled, now.unix_ms, out);
        out.records.append(&mut run.cancel_waiting("the sweep was cancelled"));
        let running: Vec<AttemptKey> = run.attempts().map(|(attempt, _)| attempt).collect();
        for attempt in running {
            if let Some(session) = self.session_of(attempt) {
                revoke(session, &[attempt], "the sweep was cancelled", out);
            }
            let reason = "the sweep was cancelled".to_owned();
            self.end_attempt(now, attempt, AttemptState::Revoked, reason, Vec::new(), out);
        }
        out.records.push(ended);
        let run = self.sweep(sweep)?;
        observe_change(run, out);
        Ok(run.view())
    }

    /// The stream of the worker that runs an active attempt.
    pub(super) fn session_of(&self, attempt: AttemptKey) -> Option<super::SessionId> {
        let active = self.sweeps.get(attempt.job.sweep)?.active(attempt)?;
        self.workers.get(active.worker())?.session()
    }

    pub(super) fn list(&self, before: Option<SweepId>, limit: usize) -> Vec<SweepView> {
        let older = |run: &&SweepRun| before.is_none_or(|before| run.id() < before);
        let held = self.slots_held();
        let view = |run: &SweepRun| SweepView { share: self.share_of(run, &held), ..run.view() };
        self.sweeps.all().rev().filter(older).take(limit).map(view).collect()
    }
}

/// Starts no new jobs; those that run go on to their ends.
fn stop(run: &mut SweepRun, reason: &str, out: &mut Output) {
    change_state(run, SweepState::Stopping, out);
    out.records.append(&mut run.cancel_waiting(reason));
}

/// The reason of jobs that are not needed any more.
pub(super) fn stopped_as(why: &str) -> String {
    format!("the sweep was stopped, as {why}")
}

/// Stops a sweep that has found what its file looks for.
pub(super) fn stop_at_target(run: &mut SweepRun, out: &mut Output) {
    if matches!(run.state(), SweepState::Running | SweepState::Paused)
        && let Some(why) = run.why_reached(run.definition().specification.target)
    {
        stop(run, &stopped_as(&why), out);
    }
}

/// Whether it has ended with jobs that were never trained to their end.
fn is_ended_early(state: SweepState) -> bool {
    matches!(state, SweepState::Stopped | SweepState::Cancelled)
}

/// Tells a worker to leave, unless it does already, because a user wants it to.
pub(super) fn tell_to_leave(worker: &mut WorkerState, out: &mut Output) {
    if let Some((session, reason)) = worker.leave_on_request() {
        send(session, ToWorker::Drain { reason }, out);
    }
}

pub(super) fn change_state(run: &mut SweepRun, state: SweepState, out: &mut Output) {
    out.records.push(run.change_state(state));
    observe_change(run, out);
}
