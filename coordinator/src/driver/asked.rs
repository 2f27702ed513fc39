//! Commands and queries on their way through the driver, whatever their answers are: the engine carries each out or answers
//! it, and its caller gets the answer once everything it rests on is durable.

use engine::{Command, ControlError, Engine, INPUT_BYTES, Issued, Now, Output, Query};
use tokio::sync::oneshot;

use super::{handle::CallError, pipeline::Asked};

/// A command or a query, and who waits for its answer.
pub(super) trait Call: Asked<Engine> + Send {
    /// About how much memory it takes up.
    fn bytes(&self) -> usize;

    /// Gives the caller the answer.
    fn answer(self: Box<Self>);

    /// Tells the caller why there is no answer.
    fn fail(self: Box<Self>, why: CallError);
}

impl Asked<Engine> for Box<dyn Call> {
    fn is_query(&self) -> bool {
        (**self).is_query()
    }

    fn apply(&mut self, engine: &mut Engine, now: Now) -> Output {
        (**self).apply(engine, now)
    }
}

/// The end where an answer goes.
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

impl<C: Command> Asked<Engine> for Ordered<C> {
    fn is_query(&self) -> bool {
        false
    }

    fn apply(&mut self, engine: &mut Engine, now: Now) -> Output {
        tracing::debug!(issuer = %self.issued.issuer, command = std::any::type_name::<C>(), "carried out");
        let (answer, output) = engine.execute(now, self.issued.clone());
        self.answer = Some(answer);
        output
    }
}

impl<C: Command> Call for Ordered<C> {
    fn bytes(&self) -> usize {
        INPUT_BYTES + self.issued.command.bytes()
    }

    fn answer(self: Box<Self>) {
        give(self.caller, self.answer);
    }

    fn fail(self: Box<Self>, why: CallError) {
        // The caller may be gone.
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

impl<Q: Query> Asked<Engine> for Questioned<Q> {
    fn is_query(&self) -> bool {
        true
    }

    fn apply(&mut self, engine: &mut Engine, now: Now) -> Output {
        self.answer = Some(engine.ask(now, &self.query));
        Output::default()
    }
}

impl<Q: Query> Call for Questioned<Q> {
    fn bytes(&self) -> usize {
        INPUT_BYTES
    }

    fn answer(self: Box<Self>) {
        give(self.caller, self.answer);
    }

    fn fail(self: Box<Self>, why: CallError) {
        // The caller may be gone.
        let _ = self.caller.send(Err(why));
    }
}

/// Without an answer, nothing is sent: the driver stopped first.
fn give<A>(caller: Caller<A>, answer: Option<Result<A, ControlError>>) {
    if let Some(answer) = answer {
        // The caller may be gone; what was asked for is done all the same.
        let _ = caller.send(answer.map_err(CallError::from));
    }
}
