//! How long trainers may take for what they do, and what happens once one takes longer. The other limits stand next to what they bound; when
//! the next of all of them is due is said here.

use std::time::Duration;

use terms::AttemptKey;

use super::{
    Session,
    running::{Phase, Running, StopReason},
    slot::{Slot, Trainer},
};

/// How long a trainer may take to obey `Stop`: longer than any sensible batch.
pub(super) const STOP_TO_KILL: Duration = Duration::from_secs(10);

/// How much longer than its program the trainer of a program may take.
pub(super) const PROGRAM_TO_TRAINER: Duration = Duration::from_secs(2);

/// Longest time that a program may be given: the bound of a sweep file.
pub(super) const STOP_GRACE_PERIOD_MAX: Duration = Duration::from_secs(3600);

/// How long a trainer may take to obey `Stop` when there is hardly any grace period.
pub(super) const STOP_TO_KILL_LEAVING: Duration = Duration::from_secs(2);

/// How long a killed trainer may take to be gone: the system clears its memory, and a GPU's.
pub(super) const KILL_TO_GONE: Duration = Duration::from_secs(30);

/// The same while the worker leaves, which is limited by itself.
pub(super) const KILL_TO_GONE_LEAVING: Duration = Duration::from_secs(5);

/// How long a job waits for a slot whose trainer cannot be killed: if it were handed back at once, it would be granted
/// again at once.
pub(super) const UNKILLABLE_TO_HANDED_BACK: Duration = Duration::from_secs(30);

/// How long a trainer may take to start: loading libtorch and CUDA from a slow disk takes a minute at worst.
pub(in crate::agent) const TRAINER_READY_WITHIN: Duration = Duration::from_secs(120);

impl Session {
    /// When `Tick` is needed if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let slots = self.slots.iter().flat_map(|slot| {
            slot.running.iter().filter_map(|running| match running.phase {
                // Its end will be reported.
                _ if slot.trainer.is_dying() => None,
                Phase::Training if slot.trainer == Trainer::Starting => Some(running.ready_by),
                Phase::Training => running.deadline,
                Phase::Stopping { kill_at, .. } => Some(kill_at),
                Phase::Killed { .. } => None,
            })
        });
        let unkillable = self.slots.iter().filter_map(|slot| match slot.trainer {
            Trainer::Dying { gone_by, .. } => Some(gone_by),
            _ => None,
        });
        let waiting = (0..self.slots.len()).filter(|index| self.waits_for_unkillable(*index));
        let waiting = waiting.map(|index| self.slots[index].waiting_until);
        let hand_overs = self.slots.iter().flat_map(|slot| slot.handing_over.iter().map(|one| one.until));
        let silences = self.slots.iter().filter_map(|slot| slot.silent_at(self.silence_max));
        let may_start = |(index, _): &(usize, &Slot)| !self.waits_for_other_slots(*index);
        let starts = self.slots.iter().enumerate().filter(may_start).filter_map(|(_, slot)| slot.starts_at());
        slots
            .chain(unkillable)
            .chain(waiting)
            .chain(silences)
            .chain(hand_overs)
            .chain(self.idle_until())
            .chain(starts)
            .chain(self.link_due())
            .chain(self.mode.deadline())
            .min()
    }

    pub(super) fn on_time(&mut self, now: Duration) {
        for index in 0..self.slots.len() {
            let attempts: Vec<_> = self.slots[index].running.iter().map(|running| running.attempt).collect();
            for attempt in attempts {
                self.on_time_of(now, index, attempt);
            }
            self.end_if_silent(now, index);
            self.give_up_if_unkillable(now, index);
        }
        for index in 0..self.slots.len() {
            self.hand_back_if_unkillable(now, index);
            self.start_waiting(now, index);
        }
        self.close_if_not_welcomed(now);
        self.hand_back_when_grace_is_over(now);
        self.end_late_hand_overs(now);
    }

    fn on_time_of(&mut self, now: Duration, index: usize, attempt: AttemptKey) {
        let slot = &mut self.slots[index];
        let trainer = slot.trainer;
        let Some(running) = slot.running_mut(attempt).filter(|_| !trainer.is_dying()) else { return };
        match &running.phase {
            Phase::Training if running.deadline.is_some_and(|deadline| deadline <= now) => {
                let spent = running.time_spent(now);
                self.stop(now, index, attempt, StopReason::TimedOut { spent }, None);
            }
            Phase::Training if trainer == Trainer::Starting && running.ready_by <= now => {
                let limit = TRAINER_READY_WITHIN.as_secs();
                self.break_trainer(now, index, &format!("the trainer was not ready within {limit} s"));
            }
            Phase::Stopping { why, kill_at } if *kill_at <= now => {
                running.phase = Phase::Killed { why: why.clone() };
                slot.killed_for = Some(format!(
                    "the worker killed the trainer, which did not stop {attempt} when asked to,"
                ));
                self.kill(now, index);
            }
            _ => {}
        }
    }

    /// Ends a trainer that is silent for too long: no one can wait for it.
    fn end_if_silent(&mut self, now: Duration, index: usize) {
        let slot = &self.slots[index];
        let is_silent = slot.silent_at(self.silence_max).is_some_and(|deadline| deadline <= now);
        let training = slot.running.iter().find(|running| running.phase == Phase::Training);
        let Some(running) = training.filter(|_| is_silent) else { return };
        let silence = humantime::format_duration(self.silence_max.unwrap_or_default());
        let said_nothing = format!("the trainer said nothing for {silence} {}", running.place());
        if slot.running.iter().any(Running::has_started) {
            let reason = format!("{said_nothing}, as if it stood still (--trainer-silence)");
            return self.break_trainer(now, index, &reason);
        }
        let reason = format!("{said_nothing}, as where a disk or share does not answer (--trainer-silence)");
        self.end_trainer(now, index, &StopReason::Stalled { reason });
    }
}
