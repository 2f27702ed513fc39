//! Streams of workers: hello, heartbeat, end.

use terms::{AttemptKey, AttemptState, GpuUse, SweepId, WorkerName};

use super::{
    CloseReason, Effect, Engine, Heartbeat, HeldAttempt, Hello, Now, Observation, Output, SessionId,
    ToWorker, Welcome,
    control::tell_to_leave,
    sweep_run::{ActiveAttempt, Placement},
    workers::{Kinship, Rival, WorkerState},
};
use crate::mutants::{self, Mutant};

impl Engine {
    pub(super) fn session_opened(&mut self, now: Now, session: SessionId, hello: Hello, out: &mut Output) {
        self.take_losses_back(&hello, out);
        if let Some(refusal) = self.name_is_taken(now, &hello).or_else(|| self.has_no_room(&hello)) {
            out.effects.push(Effect::Close { session, reason: refusal });
            return;
        }
        let name = hello.name.clone();
        let before = self.workers.remove(&name);
        let kinship = before
            .as_ref()
            .map_or(Kinship::Unknown, |before| before.kinship(&hello.instance, &hello.predecessors));
        if let Some(replaced) = before.as_ref().and_then(WorkerState::session) {
            self.sessions.remove(&replaced);
            let (name, host) = (name.clone(), hello.host.clone());
            let reason = match kinship {
                // One whose spool was copied keeps running, and learns why it is refused.
                Kinship::Stranger | Kinship::Successor => CloseReason::NameTaken { name, host },
                Kinship::Same | Kinship::Unknown => CloseReason::Replaced,
            };
            out.effects.push(Effect::Close { session: replaced, reason });
        }
        let held = hello.held.clone();
        let worker = WorkerState::new(now, session, hello).after(before, kinship);
        self.workers.insert(name.clone(), worker);
        self.sessions.insert(session, name.clone());
        let (kept, refused): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|held| self.reattach(now, &name, *held));
        let kept: Vec<AttemptKey> = kept.into_iter().map(|held| held.attempt).collect();
        self.lose_unheld(now, &name, &kept, kinship, out);
        let welcome = Welcome {
            lease_ms: self.config.lease_ms,
            heartbeat_interval_ms: self.config.heartbeat_interval_ms,
            refused: refused.into_iter().map(|held| held.attempt).collect(),
        };
        send(session, ToWorker::Welcome(welcome), out);
        // The stream may have broken before the order arrived.
        if let Some(worker) = self.workers.get_mut(&name).filter(|worker| worker.is_asked_to_leave()) {
            tell_to_leave(worker, out);
        }
    }

    /// Extends the lease of an attempt that the worker still has a right to; returns whether it has.
    fn reattach(&mut self, now: Now, name: &WorkerName, held: HeldAttempt) -> bool {
        let Some(worker) = self.workers.get_mut(name) else { return false };
        let active = self.sweeps.get_mut(held.attempt.job.sweep).and_then(|run| run.active_mut(held.attempt));
        let right = |active: &&mut ActiveAttempt| {
            active.worker() == name && held.slot.is_none_or(|slot| slot == active.placement().slot)
        };
        let Some(active) = active.filter(right) else { return false };
        // A worker that came back with fewer slots still reports what ended on the others.
        let Placement { slot, device, .. } = active.placement();
        if !worker.occupy(*slot, device, held.attempt) && held.slot.is_some() {
            return false;
        }
        active.extend_lease(now.monotonic_ms + self.config.lease_ms);
        true
    }

    /// Ends what the worker should run but does not hold. That is lost; but an attempt that the worker never received
    /// is not, and one that another worker of the same name ran is taken back from that one.
    fn lose_unheld(
        &mut self,
        now: Now,
        name: &WorkerName,
        kept: &[AttemptKey],
        kinship: Kinship,
        out: &mut Output,
    ) {
        let missing: Vec<(AttemptKey, bool)> = self
            .sweeps
            .attempts()
            .filter(|(attempt, active)| active.worker() == name && !kept.contains(attempt))
            .map(|(attempt, active)| (attempt, active.has_started()))
            .collect();
        for (attempt, started) in missing {
            let (state, reason) = match kinship {
                _ if !started => {
                    (AttemptState::HandedBack, format!("worker {name} came back before it began"))
                }
                Kinship::Stranger => (
                    AttemptState::Lost,
                    format!(
                        "worker {name} went away with it, and another process came in its place; if both live, give \
                         each worker its own --name"
                    ),
                ),
                _ => (AttemptState::Lost, format!("worker {name} came back without it")),
            };
            let before = self.history(attempt.job).cloned().unwrap_or_default();
            self.end_attempt(now, attempt, state, reason, Vec::new(), out);
            if kinship != Kinship::Same {
                self.doubt(attempt, name, before);
            }
        }
    }

    /// Why a newcomer is not let in while a worker of the same name is connected or about to come back.
    fn name_is_taken(&mut self, now: Now, hello: &Hello) -> Option<CloseReason> {
        let holds = || self.sweeps.are_held_by(&hello.name);
        let Some(worker) = self.workers.get(&hello.name) else {
            let (name, host) = (hello.name.clone(), String::new());
            return self.is_of_another(hello).then_some(CloseReason::NameTaken { name, host });
        };
        let is_there = worker.session().is_some() || (worker.is_expected_back(now.monotonic_ms) && holds());
        if !is_there
            || worker.kinship(&hello.instance, &hello.predecessors) != Kinship::Stranger
            || mutants::is_on(Mutant::NewcomersReplace)
        {
            return None;
        }
        let worker = self.workers.get_mut(&hello.name)?;
        worker.has_rival(Rival { host: hello.host.clone(), at_unix_ms: now.unix_ms });
        Some(CloseReason::NameTaken { name: hello.name.clone(), host: worker.host().to_owned() })
    }

    /// Whether attempts from before this coordinator's start certainly belong to another worker of the newcomer's name:
    /// the newcomer holds none of them, and has no spool of a process that held them. That worker has until their
    /// leases end to come back.
    fn is_of_another(&self, hello: &Hello) -> bool {
        let mut running = self.sweeps.attempts();
        let holds = |attempt: AttemptKey| hello.held.iter().any(|held| held.attempt == attempt);
        hello.predecessors.is_empty()
            && running.clone().any(|(_, active)| *active.worker() == hello.name && active.has_started())
            && !running.any(|(attempt, active)| *active.worker() == hello.name && holds(attempt))
    }

    /// Grants and welcomes have left: the workers can know of them from now on, and their silence counts.
    pub(super) fn delivered(&mut self, now: Now, granted: &[AttemptKey], welcomed: &[SessionId]) {
        let deadline_ms = now.monotonic_ms + self.config.lease_ms;
        for attempt in granted {
            let run = self.sweeps.get_mut(attempt.job.sweep);
            if let Some(active) = run.and_then(|run| run.active_mut(*attempt))
                && !active.lease().has_begun()
            {
                active.extend_lease(deadline_ms);
            }
        }
        for session in welcomed {
            let Some(name) = self.sessions.get(session) else { continue };
            let Some(worker) = self.workers.get_mut(name) else { continue };
            worker.is_welcomed(now.monotonic_ms);
            self.sweeps.extend_leases(name, deadline_ms);
        }
    }

    /// Whether a worker has said hello and has no answer yet: it sends nothing until then.
    pub(super) fn waits_for_us(&self, name: &WorkerName) -> bool {
        self.workers.get(name).is_some_and(WorkerState::waits_for_welcome)
            && !mutants::is_on(Mutant::LeasesBeginEarly)
    }

    pub(super) fn session_closed(&mut self, now: Now, session: SessionId) {
        let returns_until_ms = now.monotonic_ms + self.config.heartbeat_interval_ms;
        if let Some(worker) = self.sessions.remove(&session).and_then(|name| self.workers.get_mut(&name)) {
            worker.depart(Some(now.unix_ms), returns_until_ms);
        }
    }

    pub(super) fn worker_shut_out(&mut self, session: SessionId, reason: &str) {
        if let Some(worker) = self.sessions.get(&session).and_then(|name| self.workers.get_mut(name)) {
            worker.is_shut_out(reason);
        }
    }

    pub(super) fn worker_draining(&mut self, session: SessionId, reason: String) {
        if let Some(worker) = self.sessions.get(&session).and_then(|name| self.workers.get_mut(name)) {
            worker.says_draining(reason);
        }
    }

    /// The worker of a stream that has just sent something.
    pub(super) fn heard(&mut self, now: Now, session: SessionId) -> Option<WorkerName> {
        let name = self.sessions.get(&session).cloned()?;
        self.workers.get_mut(&name)?.is_heard(now);
        Some(name)
    }

    /// A heartbeat names everything that the worker runs; an attempt that has ended here and is not named holds no slot
    /// there.
    fn free_slots_of_ended_attempts(&mut self, name: &WorkerName, running: &[Heartbeat]) {
        let sweeps = &self.sweeps;
        self.workers.keep_occupants(name, |occupant| {
            let run = sweeps.get(occupant.job.sweep);
            if mutants::is_on(Mutant::PausedJobsKeepTheirSlots)
                && run.is_some_and(|run| run.is_paused(occupant.job.job))
            {
                return true;
            }
            let current = run.and_then(|run| run.current(occupant.job.job));
            current.is_some_and(|active| active.number() == occupant.attempt)
                || running.iter().any(|beat| beat.attempt == occupant)
        });
    }

    /// What the GPUs of a worker do, for people; nothing is decided by it.
    pub(super) fn gpus_seen(&mut self, session: SessionId, gpus: Vec<GpuUse>) {
        if let Some(worker) = self.sessions.get(&session).and_then(|name| self.workers.get_mut(name)) {
            worker.has_seen(gpus);
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        session: SessionId,
        running: Vec<Heartbeat>,
        out: &mut Output,
    ) {
        let Some(name) = self.heard(now, session) else { return };
        self.free_slots_of_ended_attempts(&name, &running);
        let mut unknown = Vec::new();
        let mut touched: Vec<SweepId> = Vec::new();
        for Heartbeat { attempt, progress } in running {
            let run = self.sweeps.get_mut(attempt.job.sweep);
            let active = run.and_then(|run| run.active_mut(attempt)).filter(|active| active.is_of(&name));
            let Some(active) = active else {
                unknown.push(attempt);
                continue;
            };
            active.extend_lease(now.monotonic_ms + self.config.lease_ms);
            if active.report(progress) {
                touched.push(attempt.job.sweep);
            }
        }
        touched.dedup();
        let progress = |sweep| Effect::Observed { sweep, observation: Observation::Progress };
        out.effects.extend(touched.into_iter().map(progress));
        for attempt in unknown.iter().filter(|attempt| self.is_foreign(&name, **attempt)).collect::<Vec<_>>()
        {
            self.refuse(&name, &format!("it claimed to run {attempt}, which it was never given"));
        }
        if !unknown.is_empty() {
            revoke(session, &unknown, "the lease is lost", out);
        }
    }
}

pub(super) fn send(session: SessionId, message: ToWorker, out: &mut Output) {
    out.effects.push(Effect::Send { session, message });
}

/// Tells a worker to stop attempts.
pub(super) fn revoke(session: SessionId, attempts: &[AttemptKey], reason: &str, out: &mut Output) {
    send(session, ToWorker::Revoke { attempts: attempts.to_vec(), reason: reason.to_owned() }, out);
}
