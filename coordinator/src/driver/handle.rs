//! The way to the driver: what can be sent to it, and what comes of it.

use std::{pin::pin, sync::Arc};

use proto::{SweepId, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

use super::durable::{Durable, ENGINE_WITHIN};
use crate::core::engine::{CloseReason, ControlError, Input, Observation, Reply};

/// Inputs that one request may hold: what a worker says at once when many of its slots end their jobs.
pub const INPUTS_TOGETHER_MAX: usize = 64;
/// Messages that may wait for a worker that reads slowly; a worker that lets more pile up is cut off. Enough for a grant for
/// each slot of the largest worker, many times over.
const MESSAGES_WAITING_MAX: usize = 8_192;

/// What a session's stream is given.
#[derive(Debug)]
pub enum Outbound {
    /// Messages for the worker, and the room that they take up until they are passed on.
    Messages(Vec<v1::CoordinatorMessage>, OwnedSemaphorePermit),
    /// The last word.
    Close(CloseReason),
    /// The last word: nothing can be kept for now.
    Full,
}

/// Where a worker's messages go, without waiting for it.
#[derive(Debug)]
pub struct Outbox {
    sender: mpsc::Sender<Outbound>,
    room: Arc<Semaphore>,
}

/// A worker that does not read what it is told.
#[derive(Debug)]
pub(super) struct Unread;

impl Outbox {
    /// An empty outbox, and where it is read.
    pub fn new() -> (Self, mpsc::Receiver<Outbound>) {
        // As many lots as messages may wait, and the last word.
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX + 1);
        (Self { sender, room: Arc::new(Semaphore::new(MESSAGES_WAITING_MAX)) }, receiver)
    }

    /// Adds messages, unless too many wait already.
    pub(super) fn add(&self, messages: Vec<v1::CoordinatorMessage>) -> Result<(), Unread> {
        let count = u32::try_from(messages.len()).map_err(|_| Unread)?;
        let permit = Arc::clone(&self.room).try_acquire_many_owned(count).map_err(|_| Unread)?;
        // Fails only where the stream has ended, which its reader tells.
        let _ = self.sender.try_send(Outbound::Messages(messages, permit));
        Ok(())
    }

    /// Adds the last word.
    pub(super) fn close(&self, word: Outbound) {
        // A stream that does not read ends all the same, as its sender goes.
        let _ = self.sender.try_send(word);
    }
}

/// What watchers are told of one commit.
pub type Observed = Arc<[(SweepId, Observation)]>;

/// Who waits for an answer.
pub(super) type Caller = oneshot::Sender<Result<Reply, CallError>>;

/// Something on its way to the engine.
#[derive(Debug)]
pub(super) enum Request {
    /// Inputs that nobody waits for, in their order.
    Tell(Vec<Input>),
    /// An input whose answer somebody waits for.
    Ask(Input, Caller),
    /// A worker's hello, and where its messages go.
    Open(Input, Outbox),
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The driver has stopped.
    #[error("the coordinator is shutting down")]
    Stopped,
    /// Nothing can be kept.
    #[error("the disk of the coordinator's store is full; it goes on by itself when there is room")]
    Full,
    /// Another coordinator has the store.
    #[error("this coordinator stands by{}", .0.as_ref().map(|leader| format!(" for the one at {leader}")).unwrap_or_default())]
    NotLeading(Option<String>),
}

/// Sends inputs to the engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) observations: broadcast::Sender<Observed>,
    pub(super) durable: Durable,
}

impl DriverHandle {
    /// Sends an input and waits until what it brought is durable. A question that would wait for long is answered with what
    /// the store holds.
    pub async fn call(&self, input: Input) -> Result<Reply, CallError> {
        let question = input.only_asks().then(|| input.clone());
        let mut asked = pin!(self.ask(input));
        let asked = async {
            let Some(known) = question.clone().filter(Durable::knows) else { return asked.await };
            tokio::select! {
                answer = &mut asked => return answer,
                () = tokio::time::sleep(ENGINE_WITHIN) => {}
            }
            tokio::select! {
                answer = &mut asked => answer,
                Some(reply) = self.durable.ask(known) => Ok(reply),
            }
        };
        let answer = match (asked.await, question) {
            // It shared a commit that failed; its answer would have told of what was not kept.
            (Err(CallError::Full), Some(question)) => self.ask(question).await,
            (answer, _) => answer,
        };
        match answer? {
            Reply::Refused(error) => Err(error.into()),
            reply => Ok(reply),
        }
    }

    async fn ask(&self, input: Input) -> Result<Reply, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Request::Ask(input, sender)).await?;
        receiver.await.map_err(|_| CallError::Stopped)?
    }

    /// Resolves when the driver has ended.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// Sends at most [`INPUTS_TOGETHER_MAX`] inputs that nobody waits for; waits itself while too many do.
    pub async fn tell(&self, inputs: Vec<Input>) -> Result<(), CallError> {
        self.send(Request::Tell(inputs)).await
    }

    /// Opens a session whose messages go to `outbound`.
    pub async fn open_session(&self, input: Input, outbound: Outbox) -> Result<(), CallError> {
        self.send(Request::Open(input, outbound)).await
    }

    /// What becomes durable from now on.
    pub fn observe(&self) -> broadcast::Receiver<Observed> {
        self.observations.subscribe()
    }

    async fn send(&self, request: Request) -> Result<(), CallError> {
        self.requests.send(request).await.map_err(|_| CallError::Stopped)
    }
}
