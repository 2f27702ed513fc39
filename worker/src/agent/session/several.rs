//! Jobs that occupy several slots: one slot runs such a job with the GPUs of all of them, and the others run nothing meanwhile.

use std::time::Duration;

use super::{
    Session,
    slot::{Slot, Trainer},
    types::TrainerKind,
};

impl Session {
    /// Whether a grant for the slot can be accepted: now, or as soon as the trainers that occupy it have ended what is no longer
    /// wanted.
    pub(super) fn has_room(&self, index: usize) -> bool {
        let makes_room = |(other, slot): (usize, &Slot)| {
            let is_awaited = other != index && slot.awaited_slots().contains(&index);
            !is_awaited
                && (!slot.also.contains(&index) || slot.running.iter().all(|running| running.makes_room()))
        };
        self.slots[index].has_room() && self.slots.iter().enumerate().all(makes_room)
    }

    /// Whether the jobs that wait for the slot cannot start because of other slots: one of them runs a job that occupies this slot, or
    /// is to be occupied by a waiting job and is not free.
    pub(super) fn waits_for_other_slots(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        let needed = || slot.awaited_slots().iter().copied().chain([index]);
        let is_free =
            |slot: &Slot| slot.running.is_empty() && !slot.trainer.is_dying() && !slot.holds_device();
        !slot.waiting.is_empty()
            && (needed().any(|needed| self.is_occupied(needed))
                || slot.awaited_slots().iter().any(|other| !is_free(&self.slots[*other])))
    }

    /// Ends the trainers of models that hold the GPUs of a waiting job in other slots, where they have nothing to do.
    pub(super) fn clear_other_slots(&mut self, now: Duration, index: usize) {
        for other in self.slots[index].awaited_slots().to_vec() {
            let slot = &self.slots[other];
            if slot.running.is_empty() && slot.holds_device() {
                self.kill(now, other);
            }
        }
    }

    /// Whether the waiting jobs of a slot wait for a trainer that was killed and is still there.
    pub(super) fn waits_for_unkillable(&self, index: usize) -> bool {
        !self.slots[index].waiting.is_empty() && self.unkillable(index).is_some()
    }

    /// The slot whose trainer, killed and still there, keeps the waiting jobs of a slot from starting.
    pub(super) fn unkillable(&self, index: usize) -> Option<usize> {
        let is_needed =
            |needed: usize| needed == index || self.slots[index].awaited_slots().contains(&needed);
        let mut stuck = self.slots.iter().enumerate().filter(|(_, slot)| slot.trainer == Trainer::Unkillable);
        let stuck =
            stuck.find(|(other, slot)| is_needed(*other) || slot.also.iter().any(|also| is_needed(*also)));
        stuck.map(|(other, _)| other)
    }

    /// Whether another slot's trainer occupies the slot.
    fn is_occupied(&self, index: usize) -> bool {
        self.slots.iter().any(|slot| slot.also.contains(&index))
    }
}

impl Slot {
    /// Whether its trainer holds its device even without a job: only that of models does.
    fn holds_device(&self) -> bool {
        self.kind == TrainerKind::Model && matches!(self.trainer, Trainer::Starting | Trainer::Ready)
    }
}
