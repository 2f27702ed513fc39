//! The only owner of the engine: apply what comes in, commit it, and only then perform the effects and answer. While a
//! commit runs, the engine goes on; what comes in meanwhile shares the next commit, which begins when this one has ended,
//! so nothing is told before everything that led to it is durable. What does not need a runtime lies beside it: `batch`
//! holds back what is not durable yet, `clock` is the clock of leases. `handle` is the way to it; `leadership` says whether
//! there is a driver at all: where coordinators share a store, one has it.
//!
//! While the store's disk is full, the engine is what the store holds, questions are answered, everything else is
//! refused; when there is room, the engine is restored once more, which arms all leases anew.

mod asked;
mod batch;
mod clock;
mod durable;
mod handle;
mod leadership;
mod one_by_one;
mod outbox;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use domain::record::StoredSweep;
use engine::{Engine, EngineConfig, Event, Now, RestoreError, SessionId, ToWorker};
use store::{Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use self::{
    asked::Asked,
    durable::Durable,
    handle::{Request, Weighed},
    one_by_one::{OneByOne, Turn},
};
pub use self::{
    batch::{Batch, Delivery, Released},
    clock::LeaseClock,
    handle::{CallError, DriverHandle, EVENTS_TOGETHER_MAX, Observed},
    leadership::{Leadership, Role},
    outbox::{Inbox, Outbound, Outbox, Room},
};
use crate::told::Told;

/// Requests that may wait for the engine, each of at most [`EVENTS_TOGETHER_MAX`] inputs; senders wait when it is full.
const REQUESTS_WAITING_MAX: usize = 1_024;
/// Inputs that share a commit: past it, larger transactions hardly cost less an input.
const BATCH_INPUTS_MAX: usize = 1_024;
/// Inputs that are applied before the driver looks whether the commit that runs has ended.
const TURN_INPUTS_MAX: usize = 256;
/// Commits whose observations a watcher may lag behind before it is given a snapshot instead.
const OBSERVED_WAITING_MAX: usize = 64;
/// Files of weights that wait to be removed: as many as a sweep keeps by number, which a change of that number drops at once.
/// More stay until a coordinator begins to lead.
const DROPPED_WEIGHTS_MAX: usize = 1_024;
/// How often leases are looked at; short against any lease.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// How often room is looked for while the store's disk is full.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// A commit that runs: in the end, its batch and whether it is durable.
type Commit = Pin<Box<dyn Future<Output = (Batch<Box<dyn Asked>>, Result<(), StoreError>)> + Send>>;

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

/// The engine with its store and its streams.
#[derive(Debug)]
pub struct Driver {
    engine: Engine,
    store: Arc<dyn Store>,
    requests: mpsc::Receiver<Weighed>,
    observations: broadcast::Sender<Observed>,
    /// What was applied and is not on its way to the disk yet.
    next: Batch<Box<dyn Asked>>,
    /// The memory that the requests behind it take up.
    room: Option<OwnedSemaphorePermit>,
    /// What is done after a commit that the store refused.
    one_by_one: OneByOne,
    sessions: HashMap<SessionId, Outbox>,
    /// Streams that were given up since the last batch; the engine hears of it with the next one.
    given_up: Vec<SessionId>,
    config: EngineConfig,
    clock: LeaseClock,
    start: Instant,
    /// Where the names of files of weights go that can be removed.
    dropped_weights: Option<mpsc::Sender<String>>,
    /// When room is looked for next, while the store's disk is full.
    full: Option<Instant>,
    /// What was said of a full disk since the last commit that found room.
    told_full: Told,
    /// Whether commits found no room though there seemed to be some: then only a commit shows that there is.
    seemed_roomy: bool,
}

impl Driver {
    /// A driver that goes on where the store was left.
    pub async fn restore(
        store: Arc<dyn Store>,
        config: EngineConfig,
    ) -> Result<(Self, DriverHandle), DriverError> {
        let stored = store.load().await?;
        // Before anything is asked of it, no time passes.
        let now = Now { monotonic_ms: 0, unix_ms: unix_ms() };
        let (clock, engine, start) =
            (LeaseClock::default(), restored(config, now, stored).await?, Instant::now());
        let (sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (observations, _) = broadcast::channel(OBSERVED_WAITING_MAX);
        let durable = Durable::new(Arc::clone(&store), config);
        let handle = DriverHandle::new(sender, observations.clone(), durable);
        let driver = Self {
            engine,
            store,
            requests,
            observations,
            next: Batch::default(),
            room: None,
            one_by_one: OneByOne::default(),
            sessions: HashMap::new(),
            given_up: Vec::new(),
            config,
            clock,
            start,
            dropped_weights: None,
            full: None,
            told_full: Told::default(),
            seemed_roomy: false,
        };
        Ok((driver, handle))
    }

    /// The names of files of weights that can be removed from now on, as their records say so.
    pub fn dropped_weights(&mut self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(DROPPED_WEIGHTS_MAX);
        self.dropped_weights = Some(sender);
        receiver
    }

    /// Runs until `stop` is cancelled or the store fails. What came in before the stop is still committed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DriverError> {
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut commit, mut tick_is_due, mut stopping, mut drained) = (None, false, false, false);
        loop {
            self.close_given_up();
            if commit.is_none() {
                self.look_for_room().await?;
                // Leases are only looked at between two commits, when all that was told has left.
                if std::mem::take(&mut tick_is_due) && !stopping {
                    self.take(Request::Hear(vec![Event::Tick]));
                }
                self.take_one();
                commit = self.begin_commit();
            }
            // Without a commit that runs, nothing is left that was applied.
            if commit.is_none() && drained && !self.one_by_one.waits() {
                return Ok(());
            }
            let has_room = self.next.inputs() < BATCH_INPUTS_MAX && !self.one_by_one.waits();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    self.requests.close();
                    stopping = true;
                }
                (batch, kept) = ended(&mut commit) => {
                    commit = None;
                    self.end_commit(batch, kept).await?;
                }
                // What waits its turn has it now.
                () = std::future::ready(()), if commit.is_none() && self.one_by_one.waits() => {}
                _ = tick.tick(), if !tick_is_due && !stopping => tick_is_due = true,
                received = self.requests.recv(), if has_room && !drained => match received {
                    Some(request) => self.take_all(request),
                    None => drained = true,
                },
            }
        }
    }

    /// Tells the engine of the streams that were given up.
    fn close_given_up(&mut self) {
        for session in std::mem::take(&mut self.given_up) {
            let now = self.now();
            self.hear(now, Event::SessionClosed(session));
        }
    }

    /// The time by the clock of leases, and the wall clock's.
    fn now(&mut self) -> Now {
        Now { monotonic_ms: self.clock.read(self.start.elapsed(), self.requests.len()), unix_ms: unix_ms() }
    }

    /// Applies a request, and those that wait with it.
    fn take_all(&mut self, request: Weighed) {
        let inputs_max = (self.next.inputs() + TURN_INPUTS_MAX).min(BATCH_INPUTS_MAX);
        self.take_weighed(request);
        while self.next.inputs() < inputs_max
            && !self.one_by_one.waits()
            && let Ok(request) = self.requests.try_recv()
        {
            self.take_weighed(request);
        }
    }

    fn take_weighed(&mut self, Weighed { request, room }: Weighed) {
        self.clock.has_read();
        match &mut self.room {
            Some(others) => others.merge(room),
            none => *none = Some(room),
        }
        self.take(request);
    }

    fn take(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Hear(events) => {
                for event in events {
                    if let Event::SessionClosed(session) = &event {
                        self.sessions.remove(session);
                    }
                    self.hear(now, event);
                }
            }
            Request::Ask(asked) if self.one_by_one.is_on() && !self.refuses(&*asked) => {
                self.one_by_one.wait(Turn::Asked(asked));
            }
            Request::Ask(asked) => self.ask(now, asked),
            Request::Open(_, _, outbound) if self.full.is_some() => outbound.close(Some(Outbound::Full)),
            Request::Open(session, hello, outbound) => {
                self.sessions.insert(session, outbound);
                self.hear(now, Event::SessionOpened { session, hello: *hello });
            }
        }
    }

    /// Whether nothing can be kept of what this would bring.
    fn refuses(&self, asked: &dyn Asked) -> bool {
        self.full.is_some() && !asked.only_asks()
    }

    fn hear(&mut self, now: Now, event: Event) {
        if self.full.is_some() {
            return;
        }
        let event = self.one_by_one.with_what_was_refused(event);
        if self.one_by_one.is_on() {
            return self.one_by_one.wait(Turn::Event(event));
        }
        let output = self.engine.hear(now, event);
        self.next.add(output, None);
    }

    fn ask(&mut self, now: Now, mut asked: Box<dyn Asked>) {
        if self.refuses(&*asked) {
            return asked.fail(CallError::Full);
        }
        let output = asked.apply(&mut self.engine, now);
        self.next.add(output, Some(asked));
    }

    /// After a commit that the store refused: applies one input, which has its commit for itself. No commit runs.
    fn take_one(&mut self) {
        if self.next.inputs() == 0
            && let Some(turn) = self.one_by_one.next()
        {
            let now = self.now();
            match turn {
                Turn::Asked(asked) => self.ask(now, asked),
                Turn::Event(_) if self.full.is_some() => {}
                Turn::Event(event) => {
                    let output = self.engine.hear(now, event);
                    self.next.add(output, None);
                }
            }
        }
    }

    /// Sends what was applied on its way to the disk, or lets it out where there is nothing to keep. No commit runs, so
    /// what it rests on is durable.
    fn begin_commit(&mut self) -> Option<Commit> {
        let room = self.room.take();
        let batch = loop {
            if self.next.inputs() == 0 {
                return None;
            }
            let next = Batch::as_large_as(&self.next);
            let batch = std::mem::replace(&mut self.next, next);
            if !batch.records().is_empty() {
                break batch;
            }
            // Once more where the engine heard of something that left: that sends nothing of the kind again.
            self.release(batch.committed());
        };
        let store = Arc::clone(&self.store);
        Some(Box::pin(async move {
            let _room = room;
            let kept = store.commit(batch.records()).await;
            (batch, kept)
        }))
    }

    async fn end_commit(
        &mut self,
        batch: Batch<Box<dyn Asked>>,
        kept: Result<(), StoreError>,
    ) -> Result<(), DriverError> {
        match kept {
            Ok(()) => {
                if std::mem::take(&mut self.seemed_roomy) {
                    tracing::info!("the disk of the store has room again");
                }
                self.told_full.clear();
                self.release(batch.committed());
                Ok(())
            }
            Err(error @ StoreError::Full(_)) => {
                self.seemed_roomy |= !self.told_full.is_empty();
                if self.told_full.is_new(&error.to_string()) {
                    tracing::error!("{error}; submissions and events are refused until there is room");
                }
                // What was applied meanwhile rests on it.
                let next = std::mem::take(&mut self.next);
                self.stop_writing(batch.abandoned().into_iter().chain(next.abandoned()).collect()).await
            }
            Err(StoreError::Unfit(reason)) => {
                let next = std::mem::take(&mut self.next);
                let asked = batch.abandoned().into_iter().chain(next.abandoned()).collect();
                self.find_what_is_unfit(reason, asked).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lets out what is durable.
    fn release(&mut self, released: Released<Box<dyn Asked>>) {
        let Released { deliveries, told, observed, answered } = released;
        for delivery in deliveries {
            match delivery {
                Delivery::Messages(session, messages) => {
                    self.deliver(session, messages);
                }
                Delivery::RemoveWeights(name) => {
                    if self.dropped_weights.as_ref().is_some_and(|dropped| dropped.try_send(name).is_err()) {
                        tracing::debug!("weights that are not kept any more stay until the next start");
                    }
                }
                Delivery::Close(session, reason) => {
                    if let Some(outbox) = self.sessions.remove(&session) {
                        outbox.close(Some(Outbound::Close(reason)));
                    }
                }
            }
        }
        if let Some(told) = told {
            let now = self.now();
            self.hear(now, told);
        }
        if !observed.is_empty() && self.observations.receiver_count() > 0 {
            // An error only says that nobody watches any more.
            let _ = self.observations.send(observed.into());
        }
        answered.into_iter().for_each(|asked| asked.answer());
    }

    /// After a commit that found no room: back to what the store holds, without workers, which keep their events.
    async fn stop_writing(&mut self, waiting: Vec<Box<dyn Asked>>) -> Result<(), DriverError> {
        self.restore_engine().await?;
        self.full = Some(Instant::now() + ROOM_INTERVAL);
        for (_, outbound) in self.sessions.drain() {
            outbound.close(Some(Outbound::Full));
        }
        waiting.into_iter().for_each(|asked| asked.fail(CallError::Full));
        Ok(())
    }

    /// After a commit that the store refused for what is in it: back to what the store holds. Workers connect again and
    /// say again what was not acknowledged; who asked is asked for no more. Each input then has a commit for itself, until
    /// one is refused alone: it is the one.
    async fn find_what_is_unfit(
        &mut self,
        reason: String,
        waiting: Vec<Box<dyn Asked>>,
    ) -> Result<(), DriverError> {
        self.one_by_one.refused(&reason, waiting).map_err(|()| StoreError::Unfit(reason))?;
        self.restore_engine().await?;
        self.given_up.clear();
        for (_, outbound) in self.sessions.drain() {
            outbound.close(Some(Outbound::Again));
        }
        Ok(())
    }

    /// Goes on when the disk has room again. All leases are armed anew: nobody could renew one meanwhile.
    async fn look_for_room(&mut self) -> Result<(), DriverError> {
        if self.full.is_some_and(|due| Instant::now() >= due) {
            if self.store.has_room().await {
                self.restore_engine().await?;
                self.full = None;
                if !self.seemed_roomy {
                    tracing::info!("the disk of the store has room again");
                }
            } else {
                self.full = Some(Instant::now() + ROOM_INTERVAL);
            }
        }
        Ok(())
    }

    async fn restore_engine(&mut self) -> Result<(), DriverError> {
        let stored = self.store.load().await?;
        self.engine = restored(self.config, self.now(), stored).await?;
        Ok(())
    }

    /// Hands messages to a stream without waiting; a stream that does not keep up is given up: it ends once it is
    /// read, and until then nothing that comes by it counts.
    fn deliver(&mut self, session: SessionId, messages: Vec<ToWorker>) {
        let Some(outbox) = self.sessions.get(&session) else { return };
        if outbox.add(messages).is_err() {
            tracing::warn!(session = session.0, "a worker does not read its messages; its stream is ended");
            if let Some(outbox) = self.sessions.remove(&session) {
                outbox.close(None);
            }
            self.given_up.push(session);
        }
    }
}

/// Resolves when the commit that runs, if any, has ended.
async fn ended(commit: &mut Option<Commit>) -> (Batch<Box<dyn Asked>>, Result<(), StoreError>) {
    match commit {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}

/// The wall clock's time, in milliseconds since 1970.
fn unix_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}

/// [`Engine::restore`] on a thread of its own: it parses every specification, which takes seconds where grids are large, and
/// meanwhile the lead must be kept up, by a single processor too.
async fn restored(config: EngineConfig, now: Now, stored: Vec<StoredSweep>) -> Result<Engine, DriverError> {
    let restored = tokio::task::spawn_blocking(move || Engine::restore(config, now, stored)).await;
    Ok(restored.map_err(|error| DriverError::Panicked(error.to_string()))??)
}

#[cfg(test)]
mod tests;
