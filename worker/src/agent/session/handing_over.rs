//! Checkpoints of jobs that are handed back, where no other worker finds them: the coordinator takes them, and only then, or once
//! there is no more time, are the jobs handed back, so that whoever gets them finds the checkpoints.

use std::time::Duration;

use terms::{AttemptKey, Outcome};

use super::{
    Session,
    leaving::Mode,
    running::Running,
    slot::HandingOver,
    types::{End, Output},
};

/// How long handing over a checkpoint may take at least, however short the grace period is: some megabytes on their way.
const HAND_OVER_MIN: Duration = Duration::from_secs(2);

impl Session {
    /// A checkpoint was kept because the worker leaves: it is handed over while its attempt goes on.
    pub(super) fn hand_over_ahead(&mut self, index: usize, attempt: AttemptKey) {
        let key = self.slots[index].running_mut(attempt).and_then(|running| running.checkpoint_key());
        let key = key.filter(|_| self.hands_over && self.mode.is_draining()).map(str::to_owned);
        self.outputs.extend(key.map(|key| Output::HandOver { attempt, key }));
    }

    /// The end of an attempt that its trainer has reported: at once, or once its checkpoint is handed over.
    pub(super) fn hand_over_or_end(&mut self, now: Duration, index: usize, running: &Running, end: End) {
        let key = running.checkpoint_key().filter(|_| self.hands_over && end.outcome == Outcome::HandedBack);
        let Some(key) = key else { return self.close(running.attempt, Some(end)) };
        let planned = match self.mode {
            Mode::HandingBack { until } | Mode::Draining { hand_back_at: until } => until,
            Mode::Serving | Mode::Leaving { .. } | Mode::Gone => now,
        };
        let until = planned.max(now + HAND_OVER_MIN);
        self.outputs.push(Output::HandOver { attempt: running.attempt, key: key.to_owned() });
        self.slots[index].handing_over.push(HandingOver { at: running.progress(), end, until });
    }

    /// The last checkpoint that was to be handed over is there, or never will be.
    pub(super) fn on_handed_over(&mut self, attempt: AttemptKey) {
        let found = self.slots.iter_mut().find_map(|slot| slot.take_handing_over(attempt));
        found.into_iter().for_each(|found| self.close(attempt, Some(found.end)));
    }

    /// There is less time than was planned.
    pub(super) fn hurry_hand_overs(&mut self, now: Duration, until: Duration) {
        let until = until.max(now + HAND_OVER_MIN);
        let all = self.slots.iter_mut().flat_map(|slot| &mut slot.handing_over);
        all.for_each(|one| one.until = one.until.min(until));
    }

    /// Hands back what has waited for long enough.
    pub(super) fn end_late_hand_overs(&mut self, now: Duration) {
        let is_late = |one: &HandingOver| one.until <= now;
        let late: Vec<AttemptKey> = self
            .slots
            .iter()
            .flat_map(|slot| slot.handing_over.iter().filter(|one| is_late(one)))
            .map(|one| one.at.attempt)
            .collect();
        late.into_iter().for_each(|attempt| self.on_handed_over(attempt));
    }
}
