//! The workers that the engine knows: their slots and what occupies them.

use std::collections::{BTreeMap, BTreeSet};

use proto::{AttemptKey, JobKey, SweepId, v1};

use super::{CloseReason, Effect, Engine, Now, Output, SessionId, SlotDescription};
use crate::core::mutants::{self, Mutant};

/// How long a worker that left is remembered, in milliseconds of wall-clock time: long enough to ask about it.
pub(super) const FORGET_AFTER_MS: u64 = 3_600_000;

/// One worker.
#[derive(Debug)]
pub(super) struct WorkerState {
    /// Its stream; none while it is away.
    pub(super) session: Option<SessionId>,
    pub(super) host: String,
    pub(super) software_version: String,
    pub(super) draining: bool,
    pub(super) slots: Vec<SlotState>,
    pub(super) last_seen_unix_ms: u64,
    /// When the last message came, on the clock of leases.
    pub(super) last_heard_ms: u64,
    /// Sweeps that it said it cannot run.
    pub(super) unfit: BTreeSet<SweepId>,
    /// Its process, told from one that was started anew.
    pub(super) instance: String,
    /// Jobs that crashed here since the last one that did not, and why.
    pub(super) crashed: BTreeMap<JobKey, String>,
    /// How many things it said that cannot be, and the last one.
    pub(super) refused: u32,
    pub(super) refusal: String,
}

/// One slot.
#[derive(Debug)]
pub(super) struct SlotState {
    pub(super) description: SlotDescription,
    /// What runs there, or was revoked and has not ended yet: one attempt, or a pack.
    pub(super) occupants: BTreeSet<AttemptKey>,
}

impl SlotState {
    /// Whether nothing is in the way of a job.
    pub(super) fn is_free(&self) -> bool {
        self.occupants.is_empty()
    }
}

impl WorkerState {
    /// This worker with what is known of it from the stream before; a process that was started anew is innocent.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        let Some(before) = before else { return self };
        let worker = Self { unfit: before.unfit, ..self };
        if worker.instance != before.instance {
            return worker;
        }
        let Self { crashed, refused, refusal, .. } = before;
        Self { crashed, refused, refusal, ..worker }
    }

    /// Whether it takes jobs.
    pub(super) fn accepts(&self) -> bool {
        self.session.is_some() && !self.draining
    }

    /// Whether a slot is free.
    pub(super) fn has_room(&self) -> bool {
        self.slots.iter().any(SlotState::is_free)
    }

    /// Frees the slot that `attempt` occupies.
    pub(super) fn release(&mut self, attempt: AttemptKey) {
        if mutants::is_on(Mutant::SlotsNotFreed) {
            return;
        }
        for slot in &mut self.slots {
            slot.occupants.remove(&attempt);
        }
    }
}

impl Engine {
    pub(super) fn workers_view(&self) -> Vec<v1::Worker> {
        let view = |(name, worker): (&proto::WorkerName, &WorkerState)| v1::Worker {
            name: name.to_string(),
            host: worker.host.clone(),
            software_version: worker.software_version.clone(),
            state: match worker.session {
                None => "disconnected",
                Some(_) if worker.draining => "draining",
                Some(_) if self.set_aside(worker).is_some() => "set_aside",
                Some(_) => "connected",
            }
            .to_owned(),
            slots: worker
                .slots
                .iter()
                .map(|slot| v1::Slot {
                    index: slot.description.index,
                    device: slot.description.device.clone(),
                    description: slot.description.description.clone(),
                    pack_size_max: slot.description.pack_size_max,
                })
                .collect(),
            running: worker
                .slots
                .iter()
                .flat_map(|slot| slot.occupants.iter().map(|attempt| (*attempt).into()))
                .collect(),
            last_seen_unix_ms: worker.last_seen_unix_ms,
            reason: self.set_aside(worker).unwrap_or_default(),
        };
        self.workers.iter().map(view).collect()
    }

    /// Cuts off workers whose streams stand but carry nothing: what they hold is lost anyway, and jobs must not
    /// wait for their slots. One that is alive connects again and says what it holds.
    pub(super) fn cut_off_silent_workers(&mut self, now: Now, out: &mut Output) {
        for worker in self.workers.values_mut() {
            let silent = now.monotonic_ms.saturating_sub(worker.last_heard_ms) > self.config.lease_ms;
            if let Some(session) = worker.session.take_if(|_| silent) {
                self.sessions.remove(&session);
                out.effects.push(Effect::Close { session, reason: CloseReason::Silent });
            }
        }
    }

    /// Forgets workers that left long ago and hold nothing, so that names that never return cost nothing.
    pub(super) fn forget_workers(&mut self, unix_ms: u64) {
        self.workers.retain(|name, worker| {
            let holds =
                || self.sweeps.values().any(|run| run.active.values().any(|active| active.worker == *name));
            worker.session.is_some()
                || unix_ms.saturating_sub(worker.last_seen_unix_ms) < FORGET_AFTER_MS
                || holds()
        });
    }
}
