//! What the session does with its trainers: starts jobs, handles reports, stops and kills.

use std::time::Duration;

use terms::{AttemptKey, Outcome};

use super::{
    Session,
    limits::{KILL_TO_GONE, KILL_TO_GONE_LEAVING, TRAINER_READY_WITHIN},
    running::{Exit, Phase, Running, StopReason},
    slot::{Heard, Trainer},
    types::{End, GrantedJob, OUTPUT_CLOSED, Output, TrainerEvent, Work},
};

/// How long a slot waits before it starts another trainer after one, two, … in a row ended before they read a job: the
/// cause, such as a missing share or a machine without room for another process, may pass within a minute. After one
/// more failure, the worker leaves.
const START_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];

/// When a trainer ended, as the end of a sentence.
const BEFORE_READY: &str = "before it was ready";

impl Session {
    pub(super) fn start_waiting(&mut self, now: Duration, index: usize) {
        self.clear_other_slots(now, index);
        let waits_for_others = self.waits_for_other_slots(index);
        let slot = &mut self.slots[index];
        let is_early = slot.starts_at().is_some_and(|at| at > now);
        if !slot.running.is_empty() || slot.trainer.is_dying() || is_early || waits_for_others {
            return;
        }
        if let Some(kind) = slot.awaited_kind().filter(|kind| *kind != slot.kind) {
            if slot.trainer != Trainer::Absent {
                // It is idle, and occupies the slot's device.
                return self.kill(now, index);
            }
            slot.kind = kind;
        }
        let slot = &mut self.slots[index];
        let waiting = std::mem::take(&mut slot.waiting);
        let mut jobs: Vec<(AttemptKey, Work)> = Vec::with_capacity(waiting.len());
        for GrantedJob { attempt, work } in waiting {
            let obstacle = match work {
                _ if self.mode.is_draining() => End::new(Outcome::HandedBack, "the worker is shutting down"),
                Err(reason) => End::new(Outcome::Rejected, reason),
                Ok(work) if work.program.is_some() && !self.runs_programs => {
                    End::new(Outcome::Rejected, "the worker runs no programs; start it with --allow-commands")
                }
                Ok(work) if jobs.first().is_some_and(|(_, first)| first.dataset != work.dataset) => {
                    End::new(Outcome::HandedBack, "the grant holds jobs with different data sets")
                }
                Ok(work) => {
                    jobs.push((attempt, work));
                    continue;
                }
            };
            self.end(attempt, obstacle);
        }
        if jobs.is_empty() {
            return;
        }
        let slot = &mut self.slots[index];
        let fresh = slot.trainer == Trainer::Absent;
        if fresh {
            (slot.trainer, slot.trains_told) = (Trainer::Starting, 0);
        }
        slot.trains_told += 1;
        let ready_by = now + TRAINER_READY_WITHIN;
        let running = |(attempt, work): &(_, _)| Running::new(*attempt, work, jobs.len(), ready_by);
        slot.running = jobs.iter().map(running).collect();
        slot.also = jobs.first().map(|(_, work)| work.also_slots.clone()).unwrap_or_default();
        slot.heard_at = now;
        self.outputs.push(Output::StartJobs { slot: index, jobs, fresh });
    }

    pub(super) fn on_trainer(&mut self, now: Duration, index: usize, event: TrainerEvent) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        match event {
            TrainerEvent::Broken { reason } => self.break_trainer(now, index, &reason),
            TrainerEvent::Alive => slot.heard_at = now,
            TrainerEvent::Exited { reason, log_tail, data_lost, trains_heard, out_of_memory } => {
                let exit = Exit { reason, log_tail, data_lost, out_of_memory };
                self.on_exited(now, index, exit, trains_heard);
            }
            TrainerEvent::Said { message, log_tail, weights } => {
                let leaving = self.mode.is_draining();
                match slot.hear(now, message, log_tail, weights, leaving) {
                    Err(reason) => self.break_trainer(now, index, &reason),
                    Ok(Heard::Nothing) => {}
                    Ok(Heard::Progress) => self.progress_is_news = true,
                    Ok(Heard::Kept(attempt)) => self.hand_over_ahead(index, attempt),
                    Ok(Heard::Record(attempt, kind)) => {
                        self.progress_is_news = true;
                        self.record(attempt, kind);
                        if self.slots[index].must_be_paused(attempt) {
                            self.stop(now, index, attempt, StopReason::Paused, None);
                        }
                    }
                    Ok(Heard::Ended(attempt, end)) => self.release(now, index, attempt, end),
                }
            }
        }
    }

    /// A slot's trainer is gone, and with it what it ran. What it had not read did not cause its end: another cause may
    /// have.
    fn on_exited(&mut self, now: Duration, index: usize, mut exit: Exit, trains_heard: u32) {
        let leaving = self.mode.is_draining();
        let slot = &mut self.slots[index];
        let was_never_ready = slot.trainer.was_never_ready();
        let when = if was_never_ready { BEFORE_READY } else { "before it read its job" };
        let did_nothing = was_never_ready || trains_heard == 0;
        let heard_all = !did_nothing && trains_heard >= slot.trains_told;
        if let Some(reason) = slot.killed_for.take() {
            (exit.reason, exit.out_of_memory) = (reason, false);
        }
        slot.trainer = Trainer::Absent;
        slot.also.clear();
        let running = std::mem::take(&mut slot.running);
        if did_nothing {
            // A trainer that was killed because of its jobs has not failed.
            let failure = running.iter().find_map(|running| running.unheard(&exit.reason, when));
            failure
                .into_iter()
                .for_each(|failure| self.on_failed_start(now, index, &failure, &exit.log_tail));
        } else {
            slot.failed_starts = 0;
        }
        for running in running {
            let end = match running.unheard(&exit.reason, when).filter(|_| !heard_all) {
                Some(reason) => {
                    Some(End { log_tail: exit.log_tail.clone(), ..End::new(Outcome::HandedBack, reason) })
                }
                None => running.end_after_exit(&exit, leaving),
            };
            match end {
                // What it has kept outlives it.
                Some(end) if leaving => self.hand_over_or_end(now, index, &running, end),
                end => self.close(running.attempt, end),
            }
        }
        self.start_waiting(now, index);
    }

    /// A slot's trainer ended before it read a job. The next start waits a little. If that repeats, the worker leaves:
    /// a slot that cannot train would take job after job.
    fn on_failed_start(&mut self, now: Duration, index: usize, reason: &str, log_tail: &[String]) {
        let slot = &mut self.slots[index];
        slot.failed_starts += 1;
        match START_PAUSES.get(slot.failed_starts - 1) {
            Some(pause) => slot.start_at = now + *pause,
            None => {
                let times = slot.failed_starts;
                let last = log_tail.last().map_or(String::new(), |line| format!(": {line}"));
                self.on_failure(now, format!("slot {index}, {times} times in a row: {reason}{last}"));
            }
        }
    }

    /// An attempt of the slot is over; once none is left, the jobs that wait for the slot can start.
    pub(super) fn release(&mut self, now: Duration, index: usize, attempt: AttemptKey, end: Option<End>) {
        let slot = &mut self.slots[index];
        let position = slot.running.iter().position(|running| running.attempt == attempt);
        let released = position.map(|position| slot.running.remove(position));
        if slot.running.is_empty() && !slot.trainer.is_dying() {
            slot.also.clear();
        }
        match (released, end) {
            (Some(running), Some(end)) => self.hand_over_or_end(now, index, &running, end),
            (_, end) => self.close(attempt, end),
        }
        self.start_waiting(now, index);
    }

    /// Ends a trainer that cannot be trusted; its attempts fail when it is gone. If the worker leaves, a trainer that
    /// closed its output was asked to leave, too, and its attempts are handed back.
    pub(super) fn break_trainer(&mut self, now: Duration, index: usize, reason: &str) {
        let leaves_too = self.mode.is_draining() && reason == OUTPUT_CLOSED;
        let broken = || StopReason::Broken { reason: reason.to_owned() };
        self.end_trainer(now, index, &if leaves_too { StopReason::HandedBack } else { broken() });
    }

    /// Kills a trainer; this is the reason for its attempts unless they have another one.
    pub(super) fn end_trainer(&mut self, now: Duration, index: usize, why: &StopReason) {
        let slot = &mut self.slots[index];
        if slot.trainer.is_dying() {
            return;
        }
        for running in &mut slot.running {
            let why = running.stop_reason().unwrap_or(why).clone();
            running.phase = Phase::Killed { why };
        }
        self.kill(now, index);
    }

    pub(super) fn kill(&mut self, now: Duration, index: usize) {
        let patience = if self.mode.is_draining() { KILL_TO_GONE_LEAVING } else { KILL_TO_GONE };
        let trainer = &mut self.slots[index].trainer;
        if !trainer.is_dying() {
            *trainer = Trainer::Dying { was_ready: *trainer == Trainer::Ready, gone_by: now + patience };
            self.outputs.push(Output::KillTrainer { slot: index });
        }
    }

    /// Ends the attempts of a trainer that was killed long ago and is not gone. Until it is gone, the slot is out of use, and so are
    /// further ones that its job occupied.
    pub(super) fn give_up_if_unkillable(&mut self, now: Duration, index: usize) {
        let leaving = self.mode.is_draining();
        let slot = &mut self.slots[index];
        if let Trainer::Dying { was_ready, gone_by } = slot.trainer
            && gone_by <= now
        {
            let killed = slot.killed_for.take();
            let killed = killed.unwrap_or_else(|| "the worker killed the trainer".to_owned());
            let out_of_use = out_of_use(index);
            slot.trainer = Trainer::Unkillable;
            for running in std::mem::take(&mut slot.running) {
                let end = match running.unheard(&killed, BEFORE_READY).filter(|_| !was_ready) {
                    Some(reason) => Some(End::new(Outcome::HandedBack, reason)),
                    None => running.end_after_exit(&Exit::of(killed.clone()), leaving),
                };
                let end = end.map(|end| End { reason: format!("{}; {out_of_use}", end.reason), ..end });
                self.close(running.attempt, end);
            }
        }
    }

    /// Hands back the jobs that wait for a slot which is out of use.
    pub(super) fn hand_back_if_unkillable(&mut self, now: Duration, index: usize) {
        if let Some(stuck) = self.unkillable(index).filter(|_| self.slots[index].waiting_until <= now) {
            for job in std::mem::take(&mut self.slots[index].waiting) {
                self.end(job.attempt, End::new(Outcome::HandedBack, out_of_use(stuck)));
            }
        }
    }

    /// Asks the slot's trainer to stop an attempt, which has its own time for that unless there is only so much. If it is
    /// stopping already, the weightier reason and the shorter limit count.
    pub(super) fn stop(
        &mut self,
        now: Duration,
        index: usize,
        attempt: AttemptKey,
        why: StopReason,
        patience: Option<Duration>,
    ) {
        let Some(running) = self.slots[index].running_mut(attempt) else { return };
        let new_kill_at = now + patience.unwrap_or(running.stop_to_kill);
        let overrides =
            !matches!(why, StopReason::HandedBack | StopReason::Paused | StopReason::TimedOut { .. });
        match &mut running.phase {
            Phase::Training => {
                let checkpoint = matches!(why, StopReason::HandedBack | StopReason::Paused);
                running.phase = Phase::Stopping { why, kill_at: new_kill_at };
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

/// Why a slot takes no jobs while its killed trainer is still there.
fn out_of_use(slot: usize) -> String {
    format!(
        "the process of its trainer is still there after SIGKILL, as where a disk or share does not answer; slot {slot} is \
         out of use until it has ended"
    )
}
