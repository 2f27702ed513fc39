//! The way to the driver: what can be sent to it, and what comes back.

use std::{pin::pin, sync::Arc, time::Instant};

use engine::{Command, ControlError, Event, Hello, Issued, Issuer, Observation, Query, SessionId};
use terms::SweepId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

use super::{
    asked::{Call, Ordered, Questioned},
    durable::{Durable, ENGINE_WITHIN},
    outbox::{Inbox, Outbox, Outboxes},
    pipeline::Refused,
};

/// Events that one request may hold: what a worker sends at once when many of its slots end their jobs.
pub const EVENTS_TOGETHER_MAX: usize = 64;
/// Memory of the requests that wait for the engine or for their commit, in KiB: thousands of the largest events. Whoever
/// sends more waits.
const REQUESTS_KIB_MAX: usize = 64 << 10;

/// What watchers receive of one commit.
pub type Observed = Arc<[(SweepId, Observation)]>;

/// Something on its way to the engine.
#[derive(Debug)]
pub(super) enum Request {
    /// What happened, in its order.
    Hear(Vec<Event>),
    /// A command or a query.
    Ask(Box<dyn Call>),
    /// A worker's hello, and where its messages go.
    Open(SessionId, Box<Hello>, Outbox),
}

/// A request and the memory that it takes up until it is durable.
#[derive(Debug)]
pub(super) struct Weighed {
    pub(super) request: Request,
    pub(super) room: OwnedSemaphorePermit,
}

impl Request {
    /// Its memory in KiB, rounded up.
    fn kib(&self) -> u32 {
        let bytes = match self {
            Self::Hear(events) => events.iter().map(Event::bytes).sum(),
            Self::Ask(asked) => asked.bytes(),
            Self::Open(_, hello, _) => hello.bytes(),
        };
        // One that is larger than all the room has it for itself.
        u32::try_from(bytes.div_ceil(1_024).clamp(1, REQUESTS_KIB_MAX)).unwrap_or(1)
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The driver has stopped.
    #[error(
        "the coordinator is shutting down, or no longer leads, as where its database is away; its log says why"
    )]
    Stopped,
    /// The store cannot keep what was asked for.
    #[error("{0}; send it without what the store cannot keep")]
    Unfit(String),
    /// Nothing can be kept.
    #[error("the disk of the coordinator's store is full; it goes on by itself when there is room")]
    Full,
    /// Another coordinator has the store.
    #[error("this coordinator stands by{}", .0.as_ref().map_or_else(
        || ", and knows of none that leads: its database is away, or the lead is just being taken".to_owned(),
        |leader| format!(" for the one at {leader}"),
    ))]
    NotLeading(Option<String>),
}

impl From<Refused> for CallError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Unfit(reason) => Self::Unfit(reason),
        }
    }
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

    /// Gives a command and waits until it is durable.
    ///
    /// # Errors
    /// It is refused, or cannot be kept.
    pub async fn command<C: Command>(&self, issuer: Issuer, command: C) -> Result<C::Answer, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Request::Ask(Box::new(Ordered::new(Issued { command, issuer }, sender)))).await?;
        receiver.await.map_err(|_| CallError::Stopped)?
    }

    /// Asks and waits until what the answer rests on is durable. A query that would wait for long is answered from what the
    /// store holds.
    ///
    /// # Errors
    /// There is no such thing as is asked for.
    pub async fn query<Q: Query>(&self, query: Q) -> Result<Q::Answer, CallError> {
        let asked = Instant::now();
        let Some(known) = query.for_store() else { return self.query_engine(query).await };
        let mut answer = pin!(self.query_engine(query));
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(ENGINE_WITHIN) => {}
        }
        tokio::select! {
            answer = &mut answer => answer,
            Some(answer) = self.durable.ask(&known, asked) => answer.map_err(CallError::from),
        }
    }

    /// The same, but only the engine answers, however long that takes.
    ///
    /// # Errors
    /// There is no such thing as is asked for.
    pub async fn query_engine<Q: Query>(&self, query: Q) -> Result<Q::Answer, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Request::Ask(Box::new(Questioned::new(query, sender)))).await?;
        receiver.await.map_err(|_| CallError::Stopped)?
    }

    /// Resolves when the driver has ended.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// Sends at most [`EVENTS_TOGETHER_MAX`] events; waits itself while too many do.
    ///
    /// # Errors
    /// The driver has stopped.
    pub async fn tell(&self, events: Vec<Event>) -> Result<(), CallError> {
        self.send(Request::Hear(events)).await
    }

    /// Opens a session whose messages go to `outbound`.
    ///
    /// # Errors
    /// The driver has stopped.
    pub async fn open_session(
        &self,
        session: SessionId,
        hello: Hello,
        outbound: Outbox,
    ) -> Result<(), CallError> {
        self.send(Request::Open(session, Box::new(hello), outbound)).await
    }

    /// How many requests wait for the engine, and the memory in bytes of those that wait for it or for their commit.
    pub fn waiting(&self) -> (u64, u64) {
        let requests = self.requests.max_capacity() - self.requests.capacity();
        let kib = REQUESTS_KIB_MAX.saturating_sub(self.room.available_permits());
        (requests as u64, (kib as u64) << 10)
    }

    /// How many follow what becomes durable.
    pub fn observers(&self) -> u64 {
        self.observations.receiver_count() as u64
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
