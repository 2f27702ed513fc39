//! The driver's sequencing as a state machine: which inputs are applied when, what shares a commit, what may leave and when.
//! It reads no clock, waits for nothing and does no I/O: the driver's task brings it requests, time and results, and performs
//! the actions that it asks for, in their order. The simulator drives the same machine.
//!
//! ```text
//!   Normal ───── a commit is refused for its content ─────▶ Restoring ──▶ OneByOne
//!     ▲ ▲                                                    │     ▲          │
//!     │ └──── the refused input was found, nothing waits ────┘     └──────────┤ its own commit is refused
//!     └─────── nothing waits and the time for it is over ─────────────────────┘
//!
//!   Normal or OneByOne ── a commit finds no room ──▶ Restoring ──▶ Full ── there is room ──▶ Restoring ──▶ Normal
//! ```
//!
//! What always holds:
//! - Nothing leaves before the commit that it rests on, and all commits before, are durable.
//! - What has no commit of its own, such as the answer to a query, leaves only while it is sure that this coordinator still leads:
//!   a leader that was frozen or is cut off from the store may have been replaced. A commit is protected by the store.
//! - One commit runs at a time. The engine goes on meanwhile; what it applies shares the next commit.
//! - Leases are looked at between two commits, after everything released has left.
//! - After a commit that was not kept, the engine is restored before streams are closed; after a full disk, commands are refused
//!   last. Queries are answered from what the store holds.
//! - Only a full disk and content that cannot be kept are survived. Any other error of a commit ends the driver.

mod exchange;

use std::{collections::VecDeque, time::Duration};

use engine::{Engine, Event, Now, SessionId};
use store::StoreError;

#[cfg(feature = "mutants")]
use engine::mutants::{self, Mutant};

use super::{
    batch::Batch,
    clock::LeaseClock,
    one_by_one::{OneByOne, Refusals, Turn},
};
pub use exchange::{Action, Asked, Closing, Core, Input, Moment, Refused};

/// Inputs that share a commit: past it, larger transactions hardly cost less an input.
const BATCH_INPUTS_MAX: usize = 1_024;
/// How often room is looked for while the store's disk is full.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State<A> {
    /// Inputs share commits.
    Normal,
    /// Each input has a commit of its own, because the store refused a commit for its content.
    OneByOne(OneByOne<A>),
    /// The disk is full: the engine is what the store holds, queries are answered, commands are refused, events are dropped.
    Full(Look),
    /// The engine is being made from the store. Nothing is taken meanwhile.
    Restoring(Then<A>),
}

#[derive(Debug)]
enum Look {
    At(Duration),
    Running,
}

/// What follows once the engine is restored.
#[derive(Debug)]
enum Then<A> {
    Normal,
    OneByOne(OneByOne<A>),
    /// With what was asked: commands are refused, queries are answered.
    Full(Vec<A>),
}

/// The state machine. `A` is a command or a query with its caller, `C` the engine.
#[derive(Debug)]
pub struct Pipeline<A, C = Engine> {
    core: C,
    state: State<A>,
    clock: LeaseClock,
    /// What was applied and is not on its way to the disk yet.
    next: Batch<A>,
    is_committing: bool,
    tick_is_due: bool,
    /// Streams that were given up since the last poll.
    given_up: Vec<SessionId>,
    /// What the engine hears once the last release has left.
    delivered: Option<Event>,
    refusals: Refusals,
    actions: VecDeque<Action<A>>,
}

impl<A: Asked<C>, C: Core> Pipeline<A, C> {
    /// A machine that begins with a restored engine. Its clock begins at zero.
    pub fn new(core: C) -> Self {
        Self {
            core,
            state: State::Normal,
            clock: LeaseClock::default(),
            next: Batch::default(),
            is_committing: false,
            tick_is_due: false,
            given_up: Vec::new(),
            delivered: None,
            refusals: Refusals::default(),
            actions: VecDeque::new(),
        }
    }

    /// The engine.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// How many inputs were applied and are not on their way to the disk.
    pub fn inputs(&self) -> usize {
        self.next.inputs()
    }

    /// Whether a commit runs.
    pub fn is_committing(&self) -> bool {
        self.is_committing
    }

    /// Whether inputs are taken now.
    pub fn has_room(&self) -> bool {
        let is_free = match &self.state {
            State::Normal | State::Full(_) => true,
            State::OneByOne(one_by_one) => !one_by_one.waits(),
            State::Restoring(_) => false,
        };
        is_free && self.next.inputs() < BATCH_INPUTS_MAX
    }

    /// The time for the engine.
    pub fn now(&mut self, moment: Moment) -> Now {
        let monotonic_ms = self.clock.read(moment.since_start, moment.waiting);
        Now { monotonic_ms, unix_ms: moment.unix_ms }
    }

    /// Takes a request. [`Pipeline::has_room`] said that it may come.
    pub fn received(&mut self, moment: Moment, input: Input<A>) {
        debug_assert!(self.has_room(), "an input came while none is taken");
        self.clock.has_read();
        let now = self.now(moment);
        match input {
            Input::Events(events) => events.into_iter().for_each(|event| self.hear(now, event)),
            Input::Asked(asked) => self.ask(now, asked),
            Input::Opened(session, _) if matches!(self.state, State::Full(_)) => {
                self.actions.push_back(Action::RefuseSession(session));
            }
            Input::Opened(session, hello) => self.hear(now, Event::SessionOpened { session, hello: *hello }),
        }
    }

    /// Some time has passed: leases are looked at as soon as no commit runs.
    pub fn tick(&mut self) {
        self.tick_is_due = true;
    }

    /// Whether leases wait to be looked at.
    pub fn tick_is_due(&self) -> bool {
        self.tick_is_due
    }

    /// A stream was given up, because its worker does not read.
    pub fn gave_up(&mut self, session: SessionId) {
        self.given_up.push(session);
    }

    /// The next action; the one before has been performed. With none, the machine waits for an input or a result.
    pub fn poll(&mut self, moment: Moment) -> Option<Action<A>> {
        if let Some(action) = self.actions.pop_front() {
            return Some(self.leaves(action));
        }
        if matches!(self.state, State::Restoring(_)) {
            return None;
        }
        if let Some(delivered) = self.delivered.take() {
            let now = self.now(moment);
            self.hear(now, delivered);
        }
        for session in std::mem::take(&mut self.given_up) {
            let now = self.now(moment);
            self.hear(now, Event::SessionClosed(session));
        }
        #[cfg(feature = "mutants")]
        if let Some(early) = self.next.early() {
            return Some(self.leaves(Action::Release(early)));
        }
        if self.is_committing {
            return None;
        }
        if self.looks_for_room(moment.since_start) {
            return Some(Action::LookForRoom);
        }
        if std::mem::take(&mut self.tick_is_due) {
            let now = self.now(moment);
            self.hear(now, Event::Tick);
        }
        self.take_turn(moment);
        self.close_batch(moment)
    }

    /// A commit has ended.
    ///
    /// # Errors
    /// The driver must end: only a start from the store shows what it holds.
    pub fn commit_ended(
        &mut self,
        moment: Moment,
        batch: Batch<A>,
        kept: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        debug_assert!(self.is_committing, "a commit ended that did not begin");
        self.is_committing = false;
        match kept {
            Ok(()) => self.actions.push_back(Action::Release(batch.committed())),
            #[cfg(feature = "mutants")]
            Err(error) if tells_what_was_refused(&error) => {
                self.actions.push_back(Action::Release(batch.committed()));
            }
            Err(StoreError::Full(_)) => self.stop_writing(batch),
            Err(StoreError::Unfit(reason)) => self.find_what_is_unfit(moment, reason, batch)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The engine was made from the store again.
    pub fn restored(&mut self, moment: Moment, core: C) {
        let State::Restoring(then) = std::mem::replace(&mut self.state, State::Normal) else { return };
        self.core = core;
        self.given_up.clear();
        self.delivered = None;
        match then {
            Then::Normal => self.actions.push_back(Action::CloseSessions(Closing::Again)),
            Then::OneByOne(one_by_one) => {
                self.state = State::OneByOne(one_by_one);
                self.actions.push_back(Action::CloseSessions(Closing::Again));
            }
            Then::Full(waiting) => {
                self.state = State::Full(Look::At(moment.since_start + ROOM_INTERVAL));
                self.actions.push_back(Action::CloseSessions(Closing::Full));
                let now = self.now(moment);
                waiting.into_iter().for_each(|asked| self.ask(now, asked));
            }
        }
    }

    /// Whether the store has room again. With room, the engine is restored, which arms every lease again: no one could
    /// renew one meanwhile.
    pub fn room_looked_for(&mut self, moment: Moment, has_room: bool) {
        if !matches!(self.state, State::Full(_)) {
            return;
        }
        if has_room {
            self.restore(Then::Normal);
        } else {
            self.state = State::Full(Look::At(moment.since_start + ROOM_INTERVAL));
        }
    }

    /// An action on its way out. What a release tells is only heard by the engine at the next poll, when it has left.
    fn leaves(&mut self, mut action: Action<A>) -> Action<A> {
        if let Action::Release(released) = &mut action {
            self.delivered = released.delivered.take();
        }
        action
    }

    fn hear(&mut self, now: Now, event: Event) {
        match &mut self.state {
            // Workers keep what is not acknowledged.
            State::Full(_) => {}
            State::OneByOne(one_by_one) => {
                one_by_one.wait(Turn::Event(self.refusals.with_what_was_refused(event)));
            }
            State::Normal | State::Restoring(_) => {
                let event = self.refusals.with_what_was_refused(event);
                self.apply(now, event);
            }
        }
    }

    fn ask(&mut self, now: Now, asked: A) {
        match &mut self.state {
            State::Full(_) if !asked.is_query() => self.actions.push_back(Action::Fail(asked, Refused::Full)),
            State::OneByOne(one_by_one) => one_by_one.wait(Turn::Asked(asked)),
            State::Normal | State::Full(_) | State::Restoring(_) => self.carry_out(now, asked),
        }
    }

    fn apply(&mut self, now: Now, event: Event) {
        self.next.add(|output| self.core.hear(now, event, output));
    }

    fn carry_out(&mut self, now: Now, mut asked: A) {
        let output = asked.apply(&mut self.core, now);
        self.next.add_asked(asked, output);
    }

    /// Whether it is time to look for room.
    fn looks_for_room(&mut self, since_start: Duration) -> bool {
        let is_due = matches!(self.state, State::Full(Look::At(at)) if since_start >= at);
        if is_due {
            self.state = State::Full(Look::Running);
        }
        is_due
    }

    /// In [`State::OneByOne`], applies one input, which has its commit for itself.
    fn take_turn(&mut self, moment: Moment) {
        let State::OneByOne(one_by_one) = &mut self.state else { return };
        if self.next.inputs() > 0 {
            return;
        }
        match one_by_one.next() {
            Some(Turn::Asked(asked)) => {
                let now = self.now(moment);
                self.carry_out(now, asked);
            }
            Some(Turn::Event(event)) => {
                let now = self.now(moment);
                self.apply(now, event);
            }
            None if one_by_one.is_over(moment.since_start) => self.state = State::Normal,
            None => {}
        }
    }

    /// What was applied goes to the disk, or out where there is nothing to keep. No commit runs, so what it rests on is
    /// durable. It stays where it is not sure whether another coordinator has changed what it rests on.
    fn close_batch(&mut self, moment: Moment) -> Option<Action<A>> {
        if self.next.inputs() == 0 || (self.next.records().is_empty() && !moment.leads_surely) {
            return None;
        }
        let next = Batch::as_large_as(&self.next);
        let batch = std::mem::replace(&mut self.next, next);
        if batch.records().is_empty() {
            return Some(self.leaves(Action::Release(batch.committed())));
        }
        self.is_committing = true;
        Some(Action::Commit(batch))
    }

    /// After a commit that found no room. What was applied meanwhile rests on it.
    fn stop_writing(&mut self, batch: Batch<A>) {
        let mut waiting = self.abandon(batch);
        if let State::OneByOne(one_by_one) = std::mem::replace(&mut self.state, State::Normal) {
            waiting.extend(one_by_one.callers());
        }
        self.restore(Then::Full(waiting));
    }

    /// After a commit that the store refused for its content. Workers connect and send again what was not acknowledged;
    /// callers are kept here. Each input then has a commit of its own, until one is refused alone: that is the one.
    fn find_what_is_unfit(
        &mut self,
        moment: Moment,
        reason: String,
        batch: Batch<A>,
    ) -> Result<(), StoreError> {
        tracing::error!(reason, "the store refused a commit; looking for the input it was for");
        let callers = self.abandon(batch);
        let State::OneByOne(mut one_by_one) = std::mem::replace(&mut self.state, State::Normal) else {
            self.restore(Then::OneByOne(OneByOne::of(callers, moment.since_start)));
            return Ok(());
        };
        for asked in callers {
            tracing::error!(reason, ?asked, "refused");
            self.actions.push_back(Action::Fail(asked, Refused::Unfit(reason.clone())));
        }
        match one_by_one.refused(&mut self.refusals, &reason) {
            Ok(()) if one_by_one.waits() => self.restore(Then::OneByOne(one_by_one)),
            Ok(()) => self.restore(Then::Normal),
            Err(()) => return Err(StoreError::Unfit(reason)),
        }
        Ok(())
    }

    /// Discards what was not kept and what was applied after it; who waits for an answer.
    fn abandon(&mut self, batch: Batch<A>) -> Vec<A> {
        let next = std::mem::take(&mut self.next);
        batch.abandoned().into_iter().chain(next.abandoned()).collect()
    }

    fn restore(&mut self, then: Then<A>) {
        self.state = State::Restoring(then);
        self.actions.push_back(Action::Restore);
    }
}

#[cfg(feature = "mutants")]
fn tells_what_was_refused(error: &StoreError) -> bool {
    match error {
        StoreError::Full(_) | StoreError::Unfit(_) => mutants::is_on(Mutant::RefusedCommitsAreTold),
        StoreError::Superseded => mutants::is_on(Mutant::LostLeadIsIgnored),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
