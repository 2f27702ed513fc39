//! What the session does with its trainers: starting jobs, hearing of them, stopping and killing.

use std::time::Duration;

use proto::v1::Outcome;

use super::{
    Session, TRAINER_READY_WITHIN,
    slot::{Heard, Phase, Running, StopReason, Trainer},
    types::{End, GrantedJob, Output, TrainerEvent},
};

impl Session {
    pub(super) fn start_waiting(&mut self, now: Duration, index: usize) {
        let slot = &mut self.slots[index];
        if slot.running.is_some() || slot.trainer == Trainer::Dying {
            return;
        }
        let Some(GrantedJob { attempt, work }) = slot.waiting.take() else { return };
        if self.mode.is_draining() {
            return self.end(attempt, End::new(Outcome::HandedBack, "the worker is shutting down"));
        }
        match work {
            Err(reason) => self.end(attempt, End::new(Outcome::Rejected, reason)),
            Ok(work) => {
                let fresh = slot.trainer == Trainer::Absent;
                if fresh {
                    slot.trainer = Trainer::Starting;
                }
                slot.running =
                    Some(Running::new(now, attempt, work.epochs, work.timeout, now + TRAINER_READY_WITHIN));
                self.outputs.push(Output::StartJob { slot: index, attempt, work, fresh });
            }
        }
    }

    pub(super) fn on_trainer(&mut self, now: Duration, index: usize, event: TrainerEvent) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        match event {
            TrainerEvent::Broken { reason } => self.break_trainer(index, reason),
            TrainerEvent::Exited { reason, log_tail } => {
                slot.trainer = Trainer::Absent;
                let end = slot.running.as_ref().map(|running| running.end_after_exit(&reason, log_tail));
                self.release(now, index, end.flatten());
            }
            TrainerEvent::Said { message, log_tail } => match slot.hear(message, log_tail) {
                Err(reason) => self.break_trainer(index, reason),
                Ok(Heard::Nothing) => {}
                Ok(Heard::Progress) => self.progress_is_news = true,
                Ok(Heard::Record(kind)) => {
                    self.progress_is_news = true;
                    if let Some(attempt) = slot.running.as_ref().map(|running| running.attempt) {
                        self.record(attempt, kind);
                    }
                }
                Ok(Heard::Ended(end)) => self.release(now, index, end),
            },
        }
    }

    /// The slot's attempt is over; what waits for the slot can start.
    pub(super) fn release(&mut self, now: Duration, index: usize, end: Option<End>) {
        if let (Some(running), Some(end)) = (self.slots[index].running.take(), end) {
            self.end(running.attempt, end);
        }
        self.start_waiting(now, index);
    }

    /// Ends a trainer that cannot be trusted; its attempt fails when it is gone.
    pub(super) fn break_trainer(&mut self, index: usize, reason: String) {
        let slot = &mut self.slots[index];
        if slot.trainer == Trainer::Dying {
            return;
        }
        if let Some(running) = &mut slot.running {
            let why = running.stop_reason().cloned().unwrap_or(StopReason::Broken { reason });
            running.phase = Phase::Killed { why };
        }
        self.kill(index);
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.slots[index].trainer = Trainer::Dying;
        self.outputs.push(Output::KillTrainer { slot: index });
    }

    /// Asks the slot's trainer to stop. One that is stopping already goes on, for the weightier reason and with
    /// the lesser patience.
    pub(super) fn stop(&mut self, now: Duration, index: usize, why: StopReason, patience: Duration) {
        let Some(running) = &mut self.slots[index].running else { return };
        let new_kill_at = now + patience;
        let overrides = !matches!(why, StopReason::HandedBack | StopReason::TimedOut);
        match &mut running.phase {
            Phase::Training => {
                let checkpoint = why == StopReason::HandedBack;
                running.phase = Phase::Stopping { why, kill_at: new_kill_at };
                let attempt = running.attempt;
                self.outputs.push(Output::StopJob { slot: index, attempt, checkpoint });
            }
            Phase::Stopping { why: before, kill_at } => {
                *kill_at = (*kill_at).min(new_kill_at);
                if overrides {
                    *before = why;
                }
            }
            Phase::Killed { why: before } if overrides => *before = why,
            Phase::Killed { .. } => {}
        }
    }
}
