//! How many workers there may be: those that are connected, by number and memory, and those that have left.

use terms::manifest::{Described, builtins_described};

use super::{SlotState, WorkerState};
use crate::{
    CloseReason, Effect, Engine, Hello, Now, Output, SlotDescription,
    mutants::{self, Mutant},
};

/// How long a worker that vanished is remembered after its lease, in milliseconds of wall-clock time: long enough to be seen by who looks
/// for it, and no longer, as machines of clusters come back under other names.
const FORGET_AFTER_MS: u64 = 180_000;

/// How long a worker that left in order is remembered: whoever asked it to leave can see that it has. It is listed no longer.
const FORGET_LEFT_AFTER_MS: u64 = 60_000;

/// Departed workers that are remembered at the same time, the latest ones: a cluster whose machines get new names at
/// each start must not fill the memory.
const DEPARTED_MAX: usize = 200;

/// Workers that are connected at the same time: many times the largest cluster.
const CONNECTED_MAX: usize = 10_000;

/// Memory of all their hellos, in bytes: ten thousand workers of eight GPUs each need some twenty megabytes. Each hello
/// may be long, and one connection may bring many.
const CONNECTED_BYTES_MAX: usize = 64 << 20;

impl Hello {
    /// About how much memory is taken up by what is kept of it.
    pub(crate) fn bytes_kept(&self) -> usize {
        let of_slot = |slot: &SlotDescription| {
            size_of::<SlotState>() + slot.device.capacity() + slot.description.capacity()
        };
        // Most workers have the same, which are kept once; those that many have are built in.
        let is_own = |model: &&Described| !builtins_described().contains(model);
        let texts = [&self.instance, &self.host, &self.software_version, &self.checkpoints];
        size_of::<WorkerState>()
            + self.slots.iter().map(of_slot).sum::<usize>()
            + texts.into_iter().map(String::capacity).sum::<usize>()
            + self.models.iter().filter(is_own).map(Described::bytes).sum::<usize>()
    }
}

impl Engine {
    /// Why a newcomer is not let in although its name is free: the memory for all workers together is bounded.
    pub(crate) fn has_no_room(&self, hello: &Hello) -> Option<CloseReason> {
        let connected = |worker: &&WorkerState| worker.session.is_some();
        let add = |(workers, bytes), worker: &WorkerState| (workers + 1, bytes + worker.bytes);
        let (all, bytes): (usize, usize) = self.workers.all().filter(connected).fold((0, 0), add);
        // The worker that it replaces.
        let (own, own_bytes) = self.workers.get(&hello.name).filter(connected).into_iter().fold((0, 0), add);
        let reason = if all - own >= CONNECTED_MAX {
            format!("{CONNECTED_MAX} workers are already connected, which is the maximum")
        } else if bytes - own_bytes + hello.bytes_kept() > CONNECTED_BYTES_MAX {
            format!(
                "the names and slots of the connected workers already take {CONNECTED_BYTES_MAX} bytes, which is all that a \
                 coordinator keeps"
            )
        } else {
            return None;
        };
        Some(CloseReason::NoRoom(format!(
            "{reason}; this worker tries again, or start it with another coordinator"
        )))
    }

    /// Cuts off workers whose streams are open but silent: what they hold is lost anyway, and jobs must not wait for
    /// their slots. A worker that is alive connects again and names what it holds.
    pub(crate) fn cut_off_silent_workers(&mut self, now: Now, out: &mut Output) {
        for worker in self.workers.all_mut() {
            let silent = now.monotonic_ms.saturating_sub(worker.last_heard_ms) > self.config.lease_ms;
            let waits_for_us = !worker.welcomed && !mutants::is_on(Mutant::LeasesBeginEarly);
            if let Some(session) = worker.session.take_if(|_| silent && !waits_for_us) {
                self.sessions.remove(&session);
                // A whole lease has passed.
                worker.depart(None, 0);
                out.effects.push(Effect::Close { session, reason: CloseReason::Silent });
            }
        }
    }

    /// Forgets workers that left a while ago and hold nothing, so that names that never return cost nothing.
    pub(crate) fn forget_workers(&mut self, unix_ms: u64) {
        let mut departed: Vec<u64> = self
            .workers
            .all()
            .filter(|worker| worker.session.is_none())
            .map(|worker| worker.last_seen_unix_ms)
            .collect();
        let excess = departed.len().saturating_sub(DEPARTED_MAX);
        departed.sort_unstable();
        // Those that left until then are removed; more than needed only if several left in the same millisecond.
        let oldest = excess.checked_sub(1).and_then(|last| departed.get(last)).copied();
        self.workers.retain(|name, worker| {
            let holds = || self.sweeps.are_held_by(name);
            let after_lease_ms = self.config.lease_ms + FORGET_AFTER_MS;
            let kept_ms = if worker.draining { FORGET_LEFT_AFTER_MS } else { after_lease_ms };
            let is_due = unix_ms.saturating_sub(worker.last_seen_unix_ms) >= kept_ms
                || oldest.is_some_and(|oldest| worker.last_seen_unix_ms <= oldest);
            worker.session.is_some() || !is_due || holds()
        });
    }
}
