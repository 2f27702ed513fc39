//! Commands and queries on their way through the driver, whatever their answers are: each is carried out or answered by the
//! engine, and its caller gets the answer once all that it rests on is durable.

use std::fmt::Debug;

use engine::{Command, ControlError, Engine, INPUT_BYTES, Issued, Now, Output, Query};
use tokio::sync::oneshot;

use super::handle::CallError;

/// A command or a query, and who waits for its answer.
pub(super) trait Asked: Debug + Send {
    /// About how much memory it takes up.
    fn bytes(&self) -> usize;

    /// Whether it only asks, so that nothing changes with it.
    fn only_asks(&self) -> bool;

    /// Brings it to the engine and keeps the answer; once more after a commit that was given up.
    fn apply(&mut self, engine: &mut Engine, now: Now) -> Output;

    /// Gives the caller the answer.
    fn answer(self: Box<Self>);

    /// Tells the caller why there is no answer.
    fn fail(self: Box<Self>, why: CallError);
}

/// Who waits for an answer.
type Caller<A> = oneshot::Sender<Result<A, CallError>>;

/// A command on its way.
#[derive(Debug)]
pub(super) struct Ordered<C: Command> {
    issued: Issued<C>,
    answer: Option<Result<C::Answer, ControlError>>,
    caller: Caller<C::Answer>,
}

impl<C: Command> Ordered<C> {
    pub(super) fn new(issued: Issued<C>, caller: Caller<C::Answer>) -> Self {
        Self { issued, answer: None, caller }
    }
}

impl<C: Command> Asked for Ordered<C> {
    fn bytes(&self) -> usize {
        INPUT_BYTES + self.issued.command.bytes()
    }

    fn only_asks(&self) -> bool {
        false
    }

    fn apply(&mut self, engine: &mut Engine, now: Now) -> Output {
        tracing::debug!(issuer = %self.issued.issuer, command = std::any::type_name::<C>(), "carried out");
        let (answer, output) = engine.execute(now, self.issued.clone());
        self.answer = Some(answer);
        output
    }

    fn answer(self: Box<Self>) {
        give(self.caller, self.answer);
    }

    fn fail(self: Box<Self>, why: CallError) {
        // Who asked may be gone.
        let _ = self.caller.send(Err(why));
    }
}

/// A query on its way.
#[derive(Debug)]
pub(super) struct Questioned<Q: Query> {
    query: Q,
    answer: Option<Result<Q::Answer, ControlError>>,
    caller: Caller<Q::Answer>,
}

impl<Q: Query> Questioned<Q> {
    pub(super) fn new(query: Q, caller: Caller<Q::Answer>) -> Self {
        Self { query, answer: None, caller }
    }
}

impl<Q: Query> Asked for Questioned<Q> {
    fn bytes(&self) -> usize {
        INPUT_BYTES
    }

    fn only_asks(&self) -> bool {
        true
    }

    fn apply(&mut self, engine: &mut Engine, now: Now) -> Output {
        self.answer = Some(engine.ask(now, &self.query));
        Output::default()
    }

    fn answer(self: Box<Self>) {
        give(self.caller, self.answer);
    }

    fn fail(self: Box<Self>, why: CallError) {
        // Who asked may be gone.
        let _ = self.caller.send(Err(why));
    }
}

/// Without an answer, nothing is sent: the driver stops before it came to it.
fn give<A>(caller: Caller<A>, answer: Option<Result<A, ControlError>>) {
    if let Some(answer) = answer {
        // Who asked may be gone; what was asked for is done all the same.
        let _ = caller.send(answer.map_err(CallError::from));
    }
}
