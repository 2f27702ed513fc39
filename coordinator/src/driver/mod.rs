//! The only owner of the engine: collect what came in, apply it, commit all of it as one transaction, and only
//! then perform the effects and answer. Whatever waits while a commit runs shares the next one. What does not need
//! a runtime lies beside it: `batch` holds back what is not durable yet, `clock` is the clock of leases. `seat` says
//! whether there is a driver at all: where coordinators share a store, one has it.
//!
//! While the store's disk is full, the engine is what the store holds, questions are answered, everything else is
//! refused; when there is room, the engine is restored once more, which arms all leases anew.

mod batch;
mod clock;
mod seat;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proto::{SweepId, v1};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use self::{
    batch::{Batch, Delivery, Released},
    clock::LeaseClock,
    seat::{Role, Seat},
};
use crate::{
    core::engine::{
        CloseReason, ControlError, Engine, EngineConfig, Input, Now, Observation, Reply, RestoreError,
        SessionId,
    },
    store::{Store, StoreError},
};

/// Inputs that may wait for the engine: some batches; senders wait when it is full.
const INPUTS_WAITING_MAX: usize = 4_096;
/// Inputs that share a commit: past it, larger transactions hardly cost less an input.
const BATCH_INPUTS_MAX: usize = 1_024;
/// Observations that a watcher may lag behind before it is given a snapshot instead.
const OBSERVATIONS_WAITING_MAX: usize = 1_024;
/// How often leases are looked at; short against any lease.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// How often room is looked for while the store's disk is full.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// Messages that may wait for a worker that reads slowly; a worker that lets more pile up is cut off.
pub const MESSAGES_WAITING_MAX: usize = 2_048;

/// What a session's stream is given.
#[derive(Debug)]
pub enum Outbound {
    /// A message for the worker.
    Message(Box<v1::CoordinatorMessage>),
    /// The last word.
    Close(CloseReason),
    /// The last word: nothing can be kept for now.
    Full,
}

/// One input on its way to the engine.
#[derive(Debug)]
struct Request {
    input: Input,
    reply: Option<oneshot::Sender<Result<Reply, CallError>>>,
    /// With `SessionOpened`: where the worker's messages go.
    outbound: Option<mpsc::Sender<Outbound>>,
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

/// Why the driver ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// What is on the disk is not known any more; the next start finds out.
    #[error("the store failed and the coordinator must start again from it: {0}")]
    Store(#[from] StoreError),
    /// The store's content cannot be gone on with.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A bug.
    #[error("the driver panicked: {0}")]
    Panicked(String),
}

/// Sends inputs to the engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    requests: mpsc::Sender<Request>,
    observations: broadcast::Sender<(SweepId, Observation)>,
}

impl DriverHandle {
    /// Sends an input and waits until what it brought is durable.
    pub async fn call(&self, input: Input) -> Result<Reply, CallError> {
        let question = input.only_asks().then(|| input.clone());
        let answer = match (self.ask(input).await, question) {
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
        self.send(Request { input, reply: Some(sender), outbound: None }).await?;
        receiver.await.map_err(|_| CallError::Stopped)?
    }

    /// Resolves when the driver has ended.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// Sends an input that nobody waits for; waits itself while too many do.
    pub async fn tell(&self, input: Input) -> Result<(), CallError> {
        self.send(Request { input, reply: None, outbound: None }).await
    }

    /// Opens a session whose messages go to `outbound`.
    pub async fn open_session(
        &self,
        input: Input,
        outbound: mpsc::Sender<Outbound>,
    ) -> Result<(), CallError> {
        self.send(Request { input, reply: None, outbound: Some(outbound) }).await
    }

    /// What becomes durable from now on.
    pub fn observe(&self) -> broadcast::Receiver<(SweepId, Observation)> {
        self.observations.subscribe()
    }

    async fn send(&self, request: Request) -> Result<(), CallError> {
        self.requests.send(request).await.map_err(|_| CallError::Stopped)
    }
}

/// The engine with its store and its streams.
#[derive(Debug)]
pub struct Driver {
    engine: Engine,
    store: Arc<dyn Store>,
    requests: mpsc::Receiver<Request>,
    observations: broadcast::Sender<(SweepId, Observation)>,
    sessions: HashMap<SessionId, mpsc::Sender<Outbound>>,
    config: EngineConfig,
    clock: LeaseClock,
    start: Instant,
    /// When room is looked for next, while the store's disk is full.
    full: Option<Instant>,
}

impl Driver {
    /// A driver that goes on where the store was left.
    pub async fn restore(
        store: Arc<dyn Store>,
        config: EngineConfig,
    ) -> Result<(Self, DriverHandle), DriverError> {
        let stored = store.load().await?;
        let (mut clock, start) = (LeaseClock::default(), Instant::now());
        let engine = Engine::restore(config, now(&mut clock, start), stored)?;
        let (sender, requests) = mpsc::channel(INPUTS_WAITING_MAX);
        let (observations, _) = broadcast::channel(OBSERVATIONS_WAITING_MAX);
        let handle = DriverHandle { requests: sender, observations: observations.clone() };
        let sessions = HashMap::new();
        let driver =
            Self { engine, store, requests, observations, sessions, config, clock, start, full: None };
        Ok((driver, handle))
    }

    /// Runs until `stop` is cancelled or the store fails. What came in before the stop is still committed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DriverError> {
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_INPUTS_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.requests.close();
                    while self.requests.recv_many(&mut batch, BATCH_INPUTS_MAX).await > 0 {
                        self.process(&mut batch).await?;
                    }
                    return Ok(());
                }
                _ = tick.tick() => batch.push(Request { input: Input::Tick, reply: None, outbound: None }),
                received = self.requests.recv_many(&mut batch, BATCH_INPUTS_MAX) => if received == 0 { return Ok(()) },
            }
            self.process(&mut batch).await?;
        }
    }

    /// Applies a batch, commits it, and only then lets anything out.
    async fn process(&mut self, batch: &mut Vec<Request>) -> Result<(), DriverError> {
        self.look_for_room().await?;
        let mut inputs = Vec::with_capacity(batch.len());
        for Request { input, reply, outbound } in batch.drain(..) {
            if self.full.is_some() && !input.only_asks() {
                refuse(reply, outbound.as_ref());
                continue;
            }
            if let (Input::SessionOpened { session, .. }, Some(outbound)) = (&input, outbound) {
                self.sessions.insert(*session, outbound);
            }
            if let Input::SessionClosed(session) = &input {
                self.sessions.remove(session);
            }
            inputs.push((input, reply));
        }
        let batch = Batch::apply(&mut self.engine, || now(&mut self.clock, self.start), inputs);
        if !batch.records().is_empty() {
            match self.store.commit(batch.records()).await {
                Ok(()) => {}
                Err(error @ StoreError::Full(_)) => {
                    tracing::error!("{error}; submissions and events are refused until there is room");
                    return self.stop_writing(batch.abandoned()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Released { deliveries, replies } = batch.committed();
        for delivery in deliveries {
            match delivery {
                Delivery::Message(session, message) => self.deliver(session, Outbound::Message(message)),
                Delivery::Close(session, reason) => {
                    self.deliver(session, Outbound::Close(reason));
                    self.sessions.remove(&session);
                }
                // An error only says that nobody watches.
                Delivery::Observed(sweep, observation) => drop(self.observations.send((sweep, observation))),
            }
        }
        for (sender, reply) in replies {
            // Who asked may be gone; what was asked for is done all the same.
            let _ = sender.send(Ok(reply));
        }
        Ok(())
    }

    /// After a commit that found no room: back to what the store holds, without workers, which keep their events.
    async fn stop_writing(
        &mut self,
        waiting: Vec<oneshot::Sender<Result<Reply, CallError>>>,
    ) -> Result<(), DriverError> {
        self.restore_engine().await?;
        self.full = Some(Instant::now() + ROOM_INTERVAL);
        for (_, outbound) in self.sessions.drain() {
            refuse(None, Some(&outbound));
        }
        waiting.into_iter().for_each(|reply| refuse(Some(reply), None));
        Ok(())
    }

    /// Goes on when the disk has room again. All leases are armed anew: nobody could renew one meanwhile.
    async fn look_for_room(&mut self) -> Result<(), DriverError> {
        if self.full.is_some_and(|due| Instant::now() >= due) {
            if self.store.has_room().await {
                self.restore_engine().await?;
                self.full = None;
                tracing::info!("the disk of the store has room again");
            } else {
                self.full = Some(Instant::now() + ROOM_INTERVAL);
            }
        }
        Ok(())
    }

    async fn restore_engine(&mut self) -> Result<(), DriverError> {
        let stored = self.store.load().await?;
        self.engine = Engine::restore(self.config, now(&mut self.clock, self.start), stored)?;
        Ok(())
    }

    /// Hands a message to a stream without waiting; a stream that does not keep up is dropped, which ends it.
    fn deliver(&mut self, session: SessionId, outbound: Outbound) {
        let Some(sender) = self.sessions.get(&session) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(outbound) {
            tracing::warn!(session = session.0, "a worker does not read its messages; its stream is ended");
            self.sessions.remove(&session);
        }
    }
}

/// Tells who waits that nothing can be kept.
fn refuse(
    reply: Option<oneshot::Sender<Result<Reply, CallError>>>,
    outbound: Option<&mpsc::Sender<Outbound>>,
) {
    if let Some(reply) = reply {
        // Who asked may be gone.
        let _ = reply.send(Err(CallError::Full));
    }
    if let Some(outbound) = outbound {
        // A stream that does not read ends all the same, as its sender goes.
        let _ = outbound.try_send(Outbound::Full);
    }
}

/// The time by the clock of leases, and the wall clock's.
fn now(clock: &mut LeaseClock, start: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        monotonic_ms: clock.read(start.elapsed()),
        unix_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}
