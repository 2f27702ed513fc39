//! How a worker leaves: asked by a user, by itself, or with its stream; and what is kept of it then.

use super::WorkerState;
use crate::SessionId;

/// Slots that are remembered of a departed worker, and characters of each text: with [`DEPARTED_MAX`], some megabytes
/// in total.
const DEPARTED_SLOTS_MAX: usize = 16;
const DEPARTED_TEXT_MAX: usize = 200;

impl WorkerState {
    /// Whether it takes no more jobs.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Why it takes no more jobs, for people.
    pub(crate) fn leaving(&self) -> &str {
        &self.leaving
    }

    /// It has confirmed that it takes no more jobs.
    pub(crate) fn says_draining(&mut self, reason: String) {
        (self.draining, self.has_said_draining) = (true, true);
        if self.leaving.is_empty() {
            self.leaving = reason;
        }
    }

    /// It may stay no longer, for this reason.
    pub(crate) fn is_shut_out(&mut self, reason: &str) {
        reason.clone_into(&mut self.leaving);
    }

    /// A user wants it to leave.
    pub(crate) fn ask_to_leave(&mut self) {
        self.drained = true;
    }

    /// Whether a user wants it to leave.
    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.drained
    }

    /// Lets it leave at a user's request: returns its stream, and why; nothing if it leaves already.
    pub(crate) fn leave_on_request(&mut self) -> Option<(SessionId, String)> {
        let session = self.session.filter(|_| !self.draining)?;
        self.draining = true;
        self.leaving = "drained on request".to_owned();
        Some((session, self.leaving.clone()))
    }

    /// Whether a user has asked it to leave, and it has not confirmed.
    pub(crate) fn was_only_told(&self) -> bool {
        self.drained && !self.has_said_draining
    }

    /// Whether it is expected back, although its stream is gone.
    pub(crate) fn is_expected_back(&self, monotonic_ms: u64) -> bool {
        !self.draining && monotonic_ms < self.returns_until_ms
    }

    /// Its stream is gone; it may be back until then. What is kept of it is bounded.
    pub(crate) fn depart(&mut self, seen_unix_ms: Option<u64>, returns_until_ms: u64) {
        self.session = None;
        self.last_seen_unix_ms = seen_unix_ms.unwrap_or(self.last_seen_unix_ms);
        self.returns_until_ms = returns_until_ms;
        self.models = Vec::new();
        self.gpu_use = Vec::new();
        self.slots.truncate(DEPARTED_SLOTS_MAX);
        self.slots.shrink_to_fit();
        let slots = self.slots.iter_mut().map(|slot| &mut slot.description);
        let texts = slots.flat_map(|slot| [&mut slot.device, &mut slot.description]);
        let own = [&mut self.host, &mut self.software_version, &mut self.checkpoints, &mut self.leaving];
        for text in texts.chain(own) {
            if let Some((end, _)) = text.char_indices().nth(DEPARTED_TEXT_MAX) {
                text.truncate(end);
                text.shrink_to_fit();
            }
        }
    }

    /// Whether it has said that it leaves, and has.
    pub(crate) fn has_left(&self) -> bool {
        self.session.is_none() && self.has_said_draining
    }
}
