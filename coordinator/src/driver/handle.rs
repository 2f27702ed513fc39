//! The way to the driver: what can be sent to it, and what comes of it.

use std::{pin::pin, sync::Arc, time::Instant};

use engine::{ControlError, Input, Observation, Reply};
use terms::SweepId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

use super::{
    durable::{Durable, ENGINE_WITHIN},
    outbox::{Inbox, Outbox, Outboxes},
};

/// Inputs that one request may hold: what a worker says at once when many of its slots end their jobs.
pub const INPUTS_TOGETHER_MAX: usize = 64;
/// Memory of the requests that wait for the engine or for their commit, in KiB: thousands of worker's largest events.
/// Whoever sends more waits.
const REQUESTS_KIB_MAX: usize = 64 << 10;

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

/// A request and the memory that it takes up until what it brought is durable.
#[derive(Debug)]
pub(super) struct Weighed {
    pub(super) request: Request,
    pub(super) room: OwnedSemaphorePermit,
}

impl Request {
    /// Its memory in KiB, rounded up.
    fn kib(&self) -> u32 {
        let bytes = match self {
            Self::Tell(inputs) => inputs.iter().map(Input::bytes).sum(),
            Self::Ask(input, _) | Self::Open(input, _) => input.bytes(),
        };
        // One that is larger than all the room has it for itself.
        u32::try_from(bytes.div_ceil(1_024).clamp(1, REQUESTS_KIB_MAX)).unwrap_or(1)
    }
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
    /// The store cannot keep what was asked for.
    #[error("{0}; send it without what the store cannot keep")]
    Unfit(String),
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
    pub(super) requests: mpsc::Sender<Weighed>,
    pub(super) observations: broadcast::Sender<Observed>,
    pub(super) durable: Durable,
    room: Arc<Semaphore>,
    outboxes: Outboxes,
}

impl DriverHandle {
    /// The way to a driver that takes from the other end of `requests`.
    pub(super) fn new(
        requests: mpsc::Sender<Weighed>,
        observations: broadcast::Sender<Observed>,
        durable: Durable,
    ) -> Self {
        let room = Arc::new(Semaphore::new(REQUESTS_KIB_MAX));
        Self { requests, observations, durable, room, outboxes: Outboxes::default() }
    }

    /// An empty outbox for a worker's stream, and where it is read.
    pub fn outbox(&self) -> (Outbox, Inbox) {
        self.outboxes.open()
    }

    /// Sends an input and waits until what it brought is durable. A question that would wait for long is answered with what
    /// the store holds.
    pub async fn call(&self, input: Input) -> Result<Reply, CallError> {
        let asked = Instant::now();
        let known = Durable::knows(&input).then(|| input.clone());
        let Some(known) = known else { return self.call_engine(input).await };
        let mut answer = pin!(self.call_engine(input));
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(ENGINE_WITHIN) => {}
        }
        tokio::select! {
            answer = &mut answer => answer,
            Some(reply) = self.durable.ask(known, asked) => accepted(reply),
        }
    }

    /// The same, but only the engine itself answers, however long that takes.
    pub async fn call_engine(&self, input: Input) -> Result<Reply, CallError> {
        let question = input.only_asks().then(|| input.clone());
        let answer = match (self.ask(input).await, question) {
            // It shared a commit that failed; its answer would have told of what was not kept.
            (Err(CallError::Full), Some(question)) => self.ask(question).await,
            (answer, _) => answer,
        };
        accepted(answer?)
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

    pub(super) async fn send(&self, request: Request) -> Result<(), CallError> {
        let room = Arc::clone(&self.room).acquire_many_owned(request.kib());
        let room = room.await.map_err(|_| CallError::Stopped)?;
        self.requests.send(Weighed { request, room }).await.map_err(|_| CallError::Stopped)
    }
}

/// A reply that is no refusal.
fn accepted(reply: Reply) -> Result<Reply, CallError> {
    match reply {
        Reply::Refused(error) => Err(error.into()),
        reply => Ok(reply),
    }
}
