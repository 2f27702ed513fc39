//! What the pipeline takes, and what it asks its driver to do.

use std::{fmt::Debug, time::Duration};

use engine::{Engine, Event, Hello, Now, Output, SessionId};

use super::super::batch::{Batch, Released};

/// What inputs are applied to: the engine; in the simulator, the engine with checks around it.
pub trait Core {
    /// Takes what happened, and adds what follows from it to `output`.
    fn hear(&mut self, now: Now, event: Event, output: &mut Output);
}

impl Core for Engine {
    fn hear(&mut self, now: Now, event: Event, output: &mut Output) {
        self.hear_into(now, event, output);
    }
}

/// A command or a query with its caller.
pub trait Asked<C>: Debug {
    /// Whether it is a query, which changes nothing.
    fn is_query(&self) -> bool;

    /// Applies it and keeps the answer. It is applied again after a commit that failed for another input.
    fn apply(&mut self, core: &mut C, now: Now) -> Output;
}

/// The time of an input.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since the driver started, on a clock that never goes back.
    pub since_start: Duration,
    /// By the wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Requests that have arrived and were not brought here yet.
    pub waiting: usize,
    /// Whether no other coordinator can lead now.
    pub leads_surely: bool,
}

/// What arrives.
#[derive(Debug)]
pub enum Input<A> {
    /// Events, in their order.
    Events(Vec<Event>),
    /// A command or a query.
    Asked(A),
    /// A worker's stream and its hello.
    Opened(SessionId, Box<Hello>),
}

/// What the driver does next.
#[derive(Debug)]
pub enum Action<A> {
    /// Write this; [`super::Pipeline::commit_ended`] takes the result.
    Commit(Batch<A>),
    /// Let this out.
    Release(Released<A>),
    /// Make the engine from the store again; [`super::Pipeline::restored`] takes it.
    Restore,
    /// Find out whether the store has room; [`super::Pipeline::room_looked_for`] takes the result.
    LookForRoom,
    /// End every stream.
    CloseSessions(Closing),
    /// End a stream that opened while the disk is full.
    RefuseSession(SessionId),
    /// Give a caller this instead of an answer.
    Fail(A, Refused),
}

/// Why streams end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The disk is full. Workers keep their events.
    Full,
    /// What was not acknowledged was discarded and must be sent again.
    Again,
}

/// Why a caller gets no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The disk is full.
    Full,
    /// The store cannot keep what was asked for.
    Unfit(String),
}
