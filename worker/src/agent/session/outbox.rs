//! The events that the coordinator has not acknowledged: a copy of the spool in memory, which numbers events and says
//! what to send next. It lives as long as the process; the spool's file outlives it.

use std::collections::{BTreeSet, VecDeque};

use terms::AttemptKey;

use super::types::{Event, EventKind};

/// Most events that are in flight without an acknowledgement. It bounds what the outgoing channel must hold after a
/// reconnection, and is far more than a round trip's worth of epochs.
pub(crate) const EVENTS_IN_FLIGHT_MAX: usize = 256;

/// Unacknowledged events, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Outbox {
    events: VecDeque<Event>,
    /// How many of the first events were sent on this stream.
    sent: usize,
    next_sequence: u64,
}

impl Outbox {
    /// An outbox that continues with the events of an earlier process: `events` in order, all below `next_sequence`.
    pub(super) fn new(next_sequence: u64, events: Vec<Event>) -> Self {
        Self { events: events.into(), sent: 0, next_sequence }
    }

    /// Numbers and keeps an event.
    pub(super) fn push(&mut self, attempt: AttemptKey, kind: EventKind) -> &Event {
        let event = Event { sequence: self.next_sequence, attempt, kind };
        self.next_sequence += 1;
        self.events.push_back(event);
        self.events.back().expect("an event was pushed just now")
    }

    /// True when nothing waits for an acknowledgement.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Events sent on the lost stream no longer count as sent.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The next event to send, unless enough are in flight.
    pub(super) fn next_to_send(&mut self) -> Option<Event> {
        if self.sent >= EVENTS_IN_FLIGHT_MAX {
            return None;
        }
        let event = self.events.get(self.sent)?.clone();
        self.sent += 1;
        Some(event)
    }

    /// Forgets events that were sent and are acknowledged; a number beyond what was sent forgets no unsent event.
    /// Returns the number up to which the spool may forget, if that has changed.
    pub(super) fn acknowledge(&mut self, through: u64) -> Option<u64> {
        let acknowledged =
            self.events.iter().take(self.sent).take_while(|event| event.sequence <= through).count();
        if acknowledged == 0 {
            return None;
        }
        self.events.drain(..acknowledged);
        self.sent -= acknowledged;
        Some(self.forgettable())
    }

    /// Drops every event of an attempt that the coordinator gave up. Returns the same as `acknowledge`.
    pub(super) fn drop_attempt(&mut self, attempt: AttemptKey) -> Option<u64> {
        let before = self.events.len();
        let is_its = |event: &Event| event.attempt == attempt;
        let sent_dropped = self.events.iter().take(self.sent).filter(|event| is_its(event)).count();
        self.events.retain(|event| !is_its(event));
        self.sent -= sent_dropped;
        (self.events.len() < before).then(|| self.forgettable())
    }

    /// True when the end of the attempt waits here.
    pub(super) fn holds_end_of(&self, attempt: AttemptKey) -> bool {
        self.events.iter().any(|event| event.attempt == attempt && matches!(event.kind, EventKind::Ended(_)))
    }

    /// The attempts whose end waits here.
    pub(super) fn ended(&self) -> BTreeSet<AttemptKey> {
        let is_end = |event: &&Event| matches!(event.kind, EventKind::Ended(_));
        self.events.iter().filter(is_end).map(|event| event.attempt).collect()
    }

    fn forgettable(&self) -> u64 {
        self.events.front().map_or(self.next_sequence, |event| event.sequence) - 1
    }
}
