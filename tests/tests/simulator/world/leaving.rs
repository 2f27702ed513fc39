//! Workers that leave, and the checkpoints that they hand over by way of the coordinator, which has them in no record.

use engine::mutants::{self, Mutant};
use terms::Outcome;
use worker::agent::session::types::Event as Spooled;

use super::*;

/// How long a worker waits at least for a checkpoint that it hands over, however little time it has, in milliseconds.
const HAND_OVER_MIN_MS: u64 = 2_000;
/// How often it tries where no coordinator answers, in milliseconds.
const OFFERED_AGAIN_MS: u64 = 250;

impl World {
    /// A worker is asked to leave, or its machine is taken away.
    pub(super) fn leave(&mut self, index: usize) {
        if self.nodes[index].frozen_until > self.now {
            return;
        }
        let why = "the machine will be taken away".to_owned();
        let heard = if self.random.one_in(2) { Heard::Notice { why } } else { Heard::Shutdown };
        self.tell_node(index, heard);
    }

    /// A worker hands the furthest checkpoint of an attempt over, after one that is on its way.
    pub(super) fn hand_over(&mut self, index: usize, attempt: AttemptKey) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        let before = node.handing_over.insert(attempt, HandingOver { since: now, again: false });
        match before {
            None => self.send_checkpoint(index, attempt),
            Some(_) => {
                node.handing_over.insert(attempt, HandingOver { since: now, again: true });
            }
        }
        if mutants::is_on(Mutant::HandOversAreNotAwaited) {
            self.tell_node(index, Heard::HandedOver(attempt));
        }
    }

    fn send_checkpoint(&mut self, node: usize, attempt: AttemptKey) {
        let takes = if self.random.one_in(6) { self.random.below(5_000) } else { self.random.below(500) };
        self.after(takes, WorldEvent::HandedOver { node, life: self.nodes[node].life, attempt });
    }

    /// A checkpoint has arrived, or is not taken. It is where the attempt still runs.
    pub(super) fn hand_over_ends(&mut self, index: usize, attempt: AttemptKey) {
        let node = &self.nodes[index];
        let event = WorldEvent::HandedOver { node: index, life: node.life, attempt };
        let Some(HandingOver { again, .. }) = node.handing_over.get(&attempt).copied() else { return };
        if node.frozen_until > self.now {
            return self.at(node.frozen_until, event);
        }
        let epochs = node.own.as_ref().and_then(|own| own.get(&attempt.job)).copied();
        let Some(runs) =
            self.coordinators.iter_mut().find_map(|one| one.hub(self.now)?.runs(self.now, attempt))
        else {
            return self.after(OFFERED_AGAIN_MS, event);
        };
        let is_taken = runs && (self.calm || !self.random.one_in(6));
        if let Some(epochs) = epochs.filter(|_| is_taken) {
            let has_later = self.handed_over.get(&attempt.job).is_some_and(|(other, _)| *other > attempt);
            if !has_later {
                self.handed_over.insert(attempt.job, (attempt, epochs));
            }
        }
        if let Some(on_its_way) = self.nodes[index].handing_over.get_mut(&attempt).filter(|_| again) {
            on_its_way.again = false;
            return self.send_checkpoint(index, attempt);
        }
        self.nodes[index].handing_over.remove(&attempt);
        self.tell_node(index, Heard::HandedOver(attempt));
    }

    /// Brings what was handed over of a job to where the trainer of an attempt looks, unless that goes wrong; how far the checkpoint is
    /// that lies there then.
    pub(super) fn bring(&mut self, index: usize, attempt: AttemptKey) -> u32 {
        let arrives = self.calm || !self.random.one_in(4);
        let Some(own) = &mut self.nodes[index].own else {
            return self.checkpoints.get(&attempt.job).copied().unwrap_or(0);
        };
        if let Some((_, epochs)) = self.handed_over.get(&attempt.job).filter(|_| arrives) {
            let furthest = own.entry(attempt.job).or_default();
            *furthest = (*epochs).max(*furthest);
        }
        own.get(&attempt.job).copied().unwrap_or(0)
    }

    /// No attempt is handed back while its checkpoint is on its way and there is time: whoever gets its job would not find it.
    pub(super) fn check_hand_back(&mut self, index: usize, event: &Spooled) {
        let EventKind::Ended(end) = &event.kind else { return };
        let Some(on_its_way) = self.nodes[index].handing_over.get(&event.attempt) else { return };
        if end.outcome == Outcome::HandedBack && self.now < on_its_way.since + HAND_OVER_MIN_MS {
            let attempt = event.attempt;
            self.crowded
                .get_or_insert(format!("{attempt} was handed back while its checkpoint was on its way"));
        }
    }
}
