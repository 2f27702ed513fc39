//! The worker's side of the conversation with the coordinator, as a pure state machine: events go in, actions come out.
//! No clock, socket, file or process is touched here; `now` is the time since an arbitrary start and never goes back.
//!
//! Rules: a slot runs one grant at a time, an attempt or a pack of them. Every granted attempt ends in exactly one
//! `Ended` event, unless the coordinator refused it. Events are numbered once and sent in order, again after every
//! reconnection, until they are acknowledged. Running trainings do not depend on the coordinator's presence.

mod conversation;
mod handing_over;
mod leaving;
mod limits;
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

use conversation::Link;
use leaving::Mode;
use outbox::Outbox;
use slot::Slot;
use terms::AttemptKey;
use types::{Departure, End, Event, EventKind, Input, Output};

pub(super) use self::{limits::TRAINER_READY_WITHIN, outbox::EVENTS_IN_FLIGHT_MAX};

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

    /// The attempts that trainers train now.
    pub(in crate::agent) fn running(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.slots.iter().flat_map(|slot| slot.running.iter().map(|running| running.attempt))
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
}
