//! The worker's side of the conversation with the coordinator, as a pure state machine: events go in, actions come out.
//! No clock, socket, file or process is touched here; `now` is the time since an arbitrary start and never goes back.
//!
//! Rules: a slot runs one grant at a time, an attempt or a pack of them. Every granted attempt ends in exactly one
//! `Ended` event, unless the coordinator refused it. Events are numbered once and sent in order, again after every
//! reconnection, until they are acknowledged. Running trainings do not depend on the coordinator's presence.

mod handing_over;
mod leaving;
mod outbox;
mod running;
mod several;
mod slot;
mod time_spent;
mod trainers;
pub mod types;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use leaving::Mode;
use outbox::Outbox;
use running::{Phase, Running, StopReason};
use slot::{Slot, Trainer};
use terms::{AttemptKey, Outcome, Progress};
use types::{
    AttemptProgress, Departure, End, Event, EventKind, FromCoordinator, GrantedJob, Held, Input, Output,
    ToCoordinator,
};

pub(super) use outbox::EVENTS_IN_FLIGHT_MAX;

/// How long a trainer may take to obey `Stop`: longer than any sensible batch.
const STOP_TO_KILL: Duration = Duration::from_secs(10);

/// How much longer than its program the trainer of a program may take.
const PROGRAM_TO_TRAINER: Duration = Duration::from_secs(2);

/// Longest time that a program may be given: the bound of a sweep file.
const STOP_GRACE_PERIOD_MAX: Duration = Duration::from_secs(3600);

/// How long a trainer may take to obey `Stop` when there is hardly any grace period.
const STOP_TO_KILL_LEAVING: Duration = Duration::from_secs(2);

/// How long a killed trainer may take to be gone: the system clears its memory, and a GPU's.
const KILL_TO_GONE: Duration = Duration::from_secs(30);

/// The same while the worker leaves, which is limited by itself.
const KILL_TO_GONE_LEAVING: Duration = Duration::from_secs(5);

/// How long a job waits for a slot whose trainer cannot be killed: if it were handed back at once, it would be granted
/// again at once.
const UNKILLABLE_TO_HANDED_BACK: Duration = Duration::from_secs(30);

/// How long a trainer may take to start: loading libtorch and CUDA from a slow disk takes a minute at worst.
pub(super) const TRAINER_READY_WITHIN: Duration = Duration::from_secs(120);

/// How long the coordinator may take to answer `Hello` before the stream is reopened.
const WELCOME_WITHIN: Duration = Duration::from_secs(15);

/// Shortest time between two heartbeats, so that progress bars move without a message for each batch.
const HEARTBEAT_GAP_MIN: Duration = Duration::from_millis(500);

/// Shortest heartbeat interval that a coordinator can ask for.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The stream to the coordinator.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    Away,
    /// `Hello` is sent.
    Greeting {
        welcome_by: Duration,
    },
    /// We closed the stream because the coordinator did not answer, and wait for `Disconnected`.
    Closing,
    Open {
        heartbeat_interval: Duration,
        heartbeat_at: Duration,
        draining_told: bool,
    },
}

/// The worker's session; see the module's description.
#[derive(Debug)]
pub struct Session {
    slots: Vec<Slot>,
    outbox: Outbox,
    link: Link,
    mode: Mode,
    shutdown_requested: bool,
    /// Why the worker leaves, if it does so on its own initiative.
    failure: Option<Departure>,
    /// Why it leaves, for people, where that was its own choice or the machine will be taken away.
    why_it_leaves: Option<String>,
    /// After how long without a job it leaves; none for never.
    exit_when_idle: Option<Duration>,
    idle_since: Option<Duration>,
    grace: Duration,
    /// How long a trainer that has jobs may be silent; none for no limit.
    silence_max: Option<Duration>,
    /// Whether users' programs may be run here.
    runs_programs: bool,
    /// Whether checkpoints of jobs that are handed back go to the coordinator: no other worker finds them here.
    hands_over: bool,
    /// Progress has changed since the last heartbeat.
    progress_is_news: bool,
    last_heartbeat: Option<Duration>,
    outputs: Vec<Output>,
}

impl Session {
    /// A session with `slots` idle slots that continues with the events of an earlier process in the spool. `grace` is
    /// how long the worker may take to leave once it is asked to; running jobs continue for most of it.
    pub fn new(slots: usize, grace: Duration, next_sequence: u64, recovered: Vec<Event>) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::new()).collect(),
            outbox: Outbox::new(next_sequence, recovered),
            link: Link::Away,
            mode: Mode::Serving,
            shutdown_requested: false,
            failure: None,
            why_it_leaves: None,
            exit_when_idle: None,
            idle_since: None,
            grace,
            silence_max: None,
            runs_programs: false,
            hands_over: false,
            progress_is_news: false,
            last_heartbeat: None,
            outputs: Vec::new(),
        }
    }

    /// Ends trainers that have jobs and are silent for this long; without it they may be silent indefinitely.
    #[must_use]
    pub fn with_silence_max(self, silence_max: Option<Duration>) -> Self {
        Self { silence_max, ..self }
    }

    /// Allows users' programs, or not.
    #[must_use]
    pub fn with_programs(self, runs_programs: bool) -> Self {
        Self { runs_programs, ..self }
    }

    /// Hands checkpoints of jobs that it hands back over to the coordinator, or not.
    #[must_use]
    pub fn with_hand_over(self, hands_over: bool) -> Self {
        Self { hands_over, ..self }
    }

    /// Leaves after this long without a job while it is connected; without it, never.
    #[must_use]
    pub fn with_exit_when_idle(self, exit_when_idle: Option<Duration>) -> Self {
        Self { exit_when_idle, ..self }
    }

    /// Trainers could not be heard until `now`: this does not count as their silence.
    pub fn was_deaf(&mut self, now: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.heard_at = now);
    }

    /// Trainers waited this long for room for their results: that does not count as their jobs' time, or as time that
    /// they have to stop or to be gone.
    pub fn trainers_waited(&mut self, time: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.postpone(time));
    }

    /// Handles an input at `now` and returns what to do. After an `Exit` it returns nothing more.
    pub fn apply(&mut self, now: Duration, input: Input) -> Vec<Output> {
        if self.mode == Mode::Gone {
            return Vec::new();
        }
        match input {
            Input::Connected => self.greet(now),
            Input::Disconnected => {
                self.link = Link::Away;
                self.outbox.rewind();
            }
            Input::Message(message) => self.on_message(now, message),
            Input::Trainer { slot, event } => self.on_trainer(now, slot, event),
            Input::Refused { reason } => self.on_refusal(now, reason),
            Input::Tick => {}
            Input::Shutdown => self.on_shutdown(now),
            Input::Notice { why } => self.on_notice(now, why),
            Input::HandedOver(attempt) => self.on_handed_over(attempt),
        }
        self.on_time(now);
        self.leave_if_idle_for_long(now);
        self.leave_if_done(now);
        self.send_what_is_due(now);
        std::mem::take(&mut self.outputs)
    }

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
        let link = match self.link {
            Link::Away | Link::Closing => None,
            Link::Greeting { welcome_by } => Some(welcome_by),
            Link::Open { .. } => self.heartbeat_due(),
        };
        slots
            .chain(unkillable)
            .chain(waiting)
            .chain(silences)
            .chain(hand_overs)
            .chain(self.idle_until())
            .chain(starts)
            .chain(link)
            .chain(self.mode.deadline())
            .min()
    }

    fn greet(&mut self, now: Duration) {
        self.outbox.rewind();
        let ended = self.outbox.ended();
        let held = self.held_running().chain(ended.into_iter().map(|attempt| Held::Ended { attempt }));
        let hello = ToCoordinator::Hello { held: held.collect(), draining: self.mode.is_draining() };
        self.outputs.push(Output::Send(hello));
        self.link = Link::Greeting { welcome_by: now + WELCOME_WITHIN };
    }

    /// Attempts that a trainer works on or is about to, except those that the coordinator has forgotten.
    fn held_running(&self) -> impl Iterator<Item = Held> + '_ {
        self.slots.iter().enumerate().flat_map(|(index, slot)| {
            let running =
                slot.running.iter().filter(|running| !running.is_refused()).map(|running| running.attempt);
            let waiting = slot.waiting.iter().map(|job| job.attempt);
            let handing_over = slot.handing_over.iter().map(|one| one.at.attempt);
            running
                .chain(waiting)
                .chain(handing_over)
                .map(move |attempt| Held::Running { attempt, slot: index })
        })
    }

    /// The attempts that trainers train now.
    pub(in crate::agent) fn running(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.slots.iter().flat_map(|slot| slot.running.iter().map(|running| running.attempt))
    }

    fn on_message(&mut self, now: Duration, message: FromCoordinator) {
        match message {
            FromCoordinator::Welcome { heartbeat_interval, refused } => {
                self.on_welcome(now, heartbeat_interval, &refused);
            }
            FromCoordinator::Grant { slot, jobs } => self.on_grant(now, slot, jobs),
            FromCoordinator::Acknowledged { through } => {
                let forgettable = self.outbox.acknowledge(through);
                self.forget(forgettable);
            }
            FromCoordinator::Revoke { attempts, reason } => {
                attempts.into_iter().for_each(|attempt| self.revoke(now, attempt, &reason));
            }
            FromCoordinator::Drain => self.on_drain(now),
        }
    }

    fn on_welcome(&mut self, now: Duration, heartbeat_interval: Duration, refused: &[AttemptKey]) {
        for attempt in refused {
            let forgettable = self.outbox.drop_attempt(*attempt);
            self.forget(forgettable);
            for index in 0..self.slots.len() {
                let slot = &mut self.slots[index];
                slot.take_waiting(*attempt);
                if slot.take_handing_over(*attempt).is_some() {
                    self.close(*attempt, None);
                }
                self.stop(now, index, *attempt, StopReason::Refused, None);
            }
        }
        if let Link::Greeting { .. } = self.link {
            self.link = Link::Open {
                heartbeat_interval: heartbeat_interval.max(HEARTBEAT_INTERVAL_MIN),
                heartbeat_at: now,
                draining_told: false,
            };
        }
    }

    fn on_grant(&mut self, now: Duration, slot: usize, jobs: Vec<GrantedJob>) {
        let known = |attempt| {
            self.held_running().any(|held| held.attempt() == attempt) || self.outbox.holds_end_of(attempt)
        };
        let jobs: Vec<GrantedJob> = jobs.into_iter().filter(|job| !known(job.attempt)).collect();
        match self.obstacle(slot, &jobs) {
            Some(reason) => {
                for job in jobs {
                    self.end(job.attempt, End::new(Outcome::HandedBack, reason.clone()));
                }
            }
            None => {
                self.slots[slot].waiting = jobs;
                self.slots[slot].waiting_until = now + UNKILLABLE_TO_HANDED_BACK;
                self.start_waiting(now, slot);
            }
        }
    }

    /// Why jobs granted to this slot, and to those that they occupy besides, cannot be accepted.
    fn obstacle(&self, slot: usize, jobs: &[GrantedJob]) -> Option<String> {
        if self.mode.is_draining() {
            return Some("the worker takes no new jobs, it is about to leave".to_owned());
        }
        let also = jobs.iter().filter_map(|job| job.work.as_ref().ok()).flat_map(|work| &work.also_slots);
        [slot].iter().chain(also).find_map(|index| match self.slots.get(*index) {
            None => Some(format!("the worker has no slot {index}, it has {}", self.slots.len())),
            Some(_) if !self.has_room(*index) => Some(format!("slot {index} is busy with another attempt")),
            Some(_) => None,
        })
    }

    fn revoke(&mut self, now: Duration, attempt: AttemptKey, reason: &str) {
        let reason = if reason.is_empty() { "revoked by the coordinator" } else { reason };
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.take_waiting(attempt).is_some() || slot.take_handing_over(attempt).is_some() {
                self.end(attempt, End::new(Outcome::Revoked, reason));
            } else if slot.running_mut(attempt).is_some_and(|running| !running.is_refused()) {
                let forgettable = self.outbox.drop_attempt(attempt);
                self.forget(forgettable);
                self.stop(now, index, attempt, StopReason::Revoked { reason: reason.to_owned() }, None);
            }
        }
    }

    fn on_time(&mut self, now: Duration) {
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
        if matches!(self.link, Link::Greeting { welcome_by } if welcome_by <= now) {
            self.link = Link::Closing;
            self.outputs.push(Output::CloseSession);
        }
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

    /// The end of an attempt; nothing where no one wants to know it.
    fn close(&mut self, attempt: AttemptKey, end: Option<End>) {
        match end {
            Some(end) => self.end(attempt, end),
            None => self.outputs.push(Output::Dropped(attempt)),
        }
    }

    fn end(&mut self, attempt: AttemptKey, end: End) {
        self.progress_is_news = true;
        self.record(attempt, EventKind::Ended(end));
    }

    fn record(&mut self, attempt: AttemptKey, kind: EventKind) {
        let event = self.outbox.push(attempt, kind.cut_to_size()).clone();
        self.outputs.push(Output::Append(event));
    }

    fn forget(&mut self, forgettable: Option<u64>) {
        self.outputs.extend(forgettable.map(|through| Output::Forget { through }));
    }

    fn heartbeat_due(&self) -> Option<Duration> {
        let Link::Open { heartbeat_at, .. } = self.link else { return None };
        let soon = self.last_heartbeat.map_or(Duration::ZERO, |last| last + HEARTBEAT_GAP_MIN);
        Some(if self.progress_is_news { heartbeat_at.min(soon) } else { heartbeat_at })
    }

    fn send_what_is_due(&mut self, now: Duration) {
        if self.mode == Mode::Gone {
            return;
        }
        let is_due = self.heartbeat_due().is_some_and(|due| due <= now);
        if self.mode.is_draining() {
            self.tell_draining();
        }
        let Link::Open { heartbeat_interval, heartbeat_at, .. } = &mut self.link else { return };
        if is_due {
            *heartbeat_at = now + *heartbeat_interval;
            self.last_heartbeat = Some(now);
            self.progress_is_news = false;
            self.outputs.push(Output::Send(ToCoordinator::Heartbeat(self.progress())));
        }
        while let Some(event) = self.outbox.next_to_send() {
            self.outputs.push(Output::Send(ToCoordinator::Event(event)));
        }
    }

    fn progress(&self) -> Vec<AttemptProgress> {
        let of_slot = |slot: &Slot| {
            let running = slot.running.iter().filter(|running| !running.is_refused()).map(Running::progress);
            let waiting = slot
                .waiting
                .iter()
                .map(|job| AttemptProgress { attempt: job.attempt, progress: Progress::NONE });
            let handing_over = slot.handing_over.iter().map(|one| one.at);
            running.chain(waiting).chain(handing_over).collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(of_slot).collect()
    }
}
