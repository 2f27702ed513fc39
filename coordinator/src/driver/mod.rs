//! The owner of the engine: a task that applies what arrives, commits it, and only then performs the effects and answers.
//! What happens in which order is decided by `pipeline`, which the simulator drives as well; here are the task, the streams
//! and the store. `batch` holds back what is not durable yet, `clock` is the clock of leases, `one_by_one` finds an input that
//! the store cannot keep. `handle` is the way to the driver; `leadership` says whether there is one at all: where
//! coordinators share a store, only the leader has a driver.

mod asked;
mod batch;
mod clock;
mod disk_log;
mod durable;
mod handle;
mod leadership;
mod one_by_one;
mod outbox;
mod pipeline;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use domain::record::{Quota, StoredSweep};
use engine::{Engine, EngineConfig, Event, Now, RestoreError, SessionId, ToWorker};
use store::{Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use self::{
    asked::Call,
    disk_log::DiskLog,
    durable::Durable,
    handle::{Request, Weighed},
};
pub use self::{
    batch::{Batch, Delivery, Released},
    clock::LeaseClock,
    handle::{CallError, DriverHandle, EVENTS_TOGETHER_MAX, Observed},
    leadership::{Leadership, Role},
    outbox::{Inbox, Outbound, Outbox, Room},
    pipeline::{Action, Asked, Closing, Core, Input, Moment, Pipeline, Refused},
};
use crate::{metrics::Counted, traced::Traced};

/// Requests that may wait for the engine, each of at most [`EVENTS_TOGETHER_MAX`] inputs; senders wait when it is full.
const REQUESTS_WAITING_MAX: usize = 1_024;
/// Inputs that are applied before the driver looks whether the commit that runs has ended.
const TURN_INPUTS_MAX: usize = 256;
/// Commits whose observations a watcher may lag behind before it receives a snapshot instead.
const OBSERVED_WAITING_MAX: usize = 64;
/// Files of weights that wait to be removed: as many as a sweep keeps by number, which a change of that number drops at once.
/// More stay until a coordinator begins to lead.
const DROPPED_WEIGHTS_MAX: usize = 1_024;
/// How often leases are looked at; short against any lease.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// A commit that runs: in the end, its batch and whether it is durable.
type Commit = Pin<Box<dyn Future<Output = (Batch<Box<dyn Call>>, Result<(), StoreError>)> + Send>>;

/// Why the driver ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// What is on the disk is not known; the next start finds out.
    #[error("the store failed and the coordinator must start again from it: {0}")]
    Store(#[from] StoreError),
    /// The store's content makes no sense to the engine.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A bug.
    #[error("the driver panicked: {0}")]
    Panicked(String),
}

/// The pipeline with its store and its streams.
#[derive(Debug)]
pub struct Driver {
    pipeline: Pipeline<Box<dyn Call>>,
    store: Arc<dyn Store>,
    requests: mpsc::Receiver<Weighed>,
    observations: broadcast::Sender<Observed>,
    /// The memory of the requests that are not on their way to the disk yet.
    room: Option<OwnedSemaphorePermit>,
    sessions: HashMap<SessionId, Outbox>,
    config: EngineConfig,
    start: Instant,
    /// Where the names of files of weights go that can be removed.
    dropped_weights: Option<mpsc::Sender<String>>,
    disk_log: DiskLog,
    counted: Counted,
    traced: Traced,
    /// When the commit that runs, or the last one, began.
    commit_begun: Instant,
}

impl Driver {
    /// A driver that continues from what the store holds.
    pub async fn restore(
        store: Arc<dyn Store>,
        config: EngineConfig,
    ) -> Result<(Self, DriverHandle), DriverError> {
        Self::restore_traced(store, config, Traced::default()).await
    }

    /// The same of one whose records are traced.
    pub async fn restore_traced(
        store: Arc<dyn Store>,
        config: EngineConfig,
        traced: Traced,
    ) -> Result<(Self, DriverHandle), DriverError> {
        let stored = stored(&*store).await?;
        traced.restored(
            stored.0.iter().map(|sweep| (sweep.sweep, sweep.request_id.as_str(), sweep.created_unix_ms)),
        );
        // Before anything is asked of it, no time passes.
        let now = Now { monotonic_ms: 0, unix_ms: unix_ms() };
        let (engine, start) = (restored(config, now, stored).await?, Instant::now());
        let (sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (observations, _) = broadcast::channel(OBSERVED_WAITING_MAX);
        let durable = Durable::new(Arc::clone(&store), config);
        let handle = DriverHandle::new(sender, observations.clone(), durable);
        let driver = Self {
            pipeline: Pipeline::new(engine),
            store,
            requests,
            observations,
            room: None,
            sessions: HashMap::new(),
            config,
            start,
            dropped_weights: None,
            disk_log: DiskLog::default(),
            counted: Counted::default(),
            traced,
            commit_begun: start,
        };
        Ok((driver, handle))
    }

    /// The names of files of weights that can be removed from now on, as their records say so.
    pub fn dropped_weights(&mut self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(DROPPED_WEIGHTS_MAX);
        self.dropped_weights = Some(sender);
        receiver
    }

    /// Counts what passes with these from now on.
    pub fn count_with(&mut self, counted: Counted) {
        self.counted = counted;
    }

    /// Runs until `stop` is cancelled or the store fails. What came in before the stop is still committed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DriverError> {
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut commit, mut stopping, mut drained) = (None, false, false);
        loop {
            while let Some(action) = self.pipeline.poll(self.moment()) {
                self.perform(action, &mut commit).await?;
            }
            if commit.is_none() {
                if drained {
                    return Ok(());
                }
                if self.pipeline.inputs() == 0 {
                    // Everything that was taken has left or was refused.
                    self.room = None;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    self.requests.close();
                    stopping = true;
                }
                (batch, kept) = ended(&mut commit) => {
                    commit = None;
                    self.disk_log.commit_ended(&kept);
                    let took = self.commit_begun.elapsed();
                    self.counted.commit_ended(batch.records(), batch.refused(), &kept, took);
                    if kept.is_ok() {
                        self.traced.committed(batch.records(), took);
                    }
                    self.pipeline.commit_ended(self.moment(), batch, kept)?;
                }
                _ = tick.tick(), if !self.pipeline.tick_is_due() && !stopping => self.pipeline.tick(),
                received = self.requests.recv(), if self.pipeline.has_room() && !drained => match received {
                    Some(request) => self.take_all(request),
                    None => drained = true,
                },
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            since_start: self.start.elapsed(),
            unix_ms: unix_ms(),
            waiting: self.requests.len(),
            leads_surely: self.store.leads_surely(),
        }
    }

    /// Takes a request, and those that wait with it, for a turn.
    fn take_all(&mut self, request: Weighed) {
        let inputs_max = self.pipeline.inputs() + TURN_INPUTS_MAX;
        self.take(request);
        // A request that is refused is no input.
        for _ in 1..TURN_INPUTS_MAX {
            if self.pipeline.inputs() >= inputs_max || !self.pipeline.has_room() {
                return;
            }
            let Ok(request) = self.requests.try_recv() else { return };
            self.take(request);
        }
    }

    fn take(&mut self, Weighed { request, room }: Weighed) {
        match &mut self.room {
            Some(others) => others.merge(room),
            none => *none = Some(room),
        }
        let input = match request {
            Request::Hear(events) => {
                for event in &events {
                    if let Event::SessionClosed(session) = event {
                        self.sessions.remove(session);
                    }
                }
                Input::Events(events)
            }
            Request::Ask(asked) => Input::Asked(asked),
            Request::Open(session, hello, outbound) => {
                self.sessions.insert(session, outbound);
                Input::Opened(session, hello)
            }
        };
        self.pipeline.received(self.moment(), input);
    }

    /// Performs an action; a commit goes on in `commit`. The others are awaited, as the pipeline takes nothing meanwhile.
    async fn perform(
        &mut self,
        action: Action<Box<dyn Call>>,
        commit: &mut Option<Commit>,
    ) -> Result<(), DriverError> {
        match action {
            Action::Commit(batch) => *commit = Some(self.commit(batch)),
            Action::Release(released) => self.release(released),
            Action::Restore => {
                let stored = stored(&*self.store).await?;
                let now = self.pipeline.now(self.moment());
                let engine = restored(self.config, now, stored).await?;
                self.pipeline.restored(self.moment(), engine);
            }
            Action::LookForRoom => {
                let has_room = self.store.has_room().await;
                if has_room {
                    self.disk_log.room_found();
                    self.counted.room_found();
                }
                self.pipeline.room_looked_for(self.moment(), has_room);
            }
            Action::CloseSessions(closing) => {
                for (_, outbox) in self.sessions.drain() {
                    outbox.close(Some(last_word(closing)));
                }
            }
            Action::RefuseSession(session) => self.close(session, Some(Outbound::Full)),
            Action::Fail(asked, refused) => asked.fail(refused.into()),
        }
        Ok(())
    }

    /// Sends a batch on its way to the disk, with the memory of its requests.
    fn commit(&mut self, batch: Batch<Box<dyn Call>>) -> Commit {
        let (store, room) = (Arc::clone(&self.store), self.room.take());
        self.commit_begun = Instant::now();
        Box::pin(async move {
            let _room = room;
            let kept = store.commit(batch.records()).await;
            (batch, kept)
        })
    }

    /// Lets out what is durable.
    fn release(&mut self, released: Released<Box<dyn Call>>) {
        for delivery in released.deliveries {
            match delivery {
                Delivery::Messages(session, messages) => self.deliver(session, messages),
                Delivery::RemoveWeights(name) => {
                    if self.dropped_weights.as_ref().is_some_and(|dropped| dropped.try_send(name).is_err()) {
                        tracing::debug!("weights that are no longer kept stay until the next start");
                    }
                }
                Delivery::Discard(discarded) => drop(tokio::task::spawn_blocking(move || drop(discarded))),
                Delivery::Close(session, reason) => self.close(session, Some(Outbound::Close(reason))),
            }
        }
        if !released.observed.is_empty() && self.observations.receiver_count() > 0 {
            // An error only says that no one watches any more.
            let _ = self.observations.send(released.observed.into());
        }
        released.answered.into_iter().for_each(|asked| asked.answer());
    }

    /// Hands messages to a stream without waiting. A stream that does not keep up is given up: it ends once it is read, and
    /// until then nothing that comes by it counts.
    fn deliver(&mut self, session: SessionId, messages: Vec<ToWorker>) {
        let Some(outbox) = self.sessions.get(&session) else { return };
        if outbox.add(messages).is_err() {
            tracing::warn!(session = session.0, "a worker does not read its messages; its stream is ended");
            self.close(session, None);
            self.pipeline.gave_up(session);
        }
    }

    fn close(&mut self, session: SessionId, word: Option<Outbound>) {
        if let Some(outbox) = self.sessions.remove(&session) {
            outbox.close(word);
        }
    }
}

fn last_word(closing: Closing) -> Outbound {
    match closing {
        Closing::Full => Outbound::Full,
        Closing::Again => Outbound::Again,
    }
}

/// Resolves when the commit that runs, if any, has ended.
async fn ended(commit: &mut Option<Commit>) -> (Batch<Box<dyn Call>>, Result<(), StoreError>) {
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

/// What an engine is restored from.
async fn stored(store: &dyn Store) -> Result<(Vec<StoredSweep>, Vec<Quota>), StoreError> {
    Ok((store.load().await?, store.quotas().await?))
}

/// [`Engine::restore`] on a thread of its own: it parses every specification, which takes seconds where grids are large.
/// Meanwhile the lead must be kept, even on a single processor.
async fn restored(
    config: EngineConfig,
    now: Now,
    (sweeps, quotas): (Vec<StoredSweep>, Vec<Quota>),
) -> Result<Engine, DriverError> {
    let restored = tokio::task::spawn_blocking(move || Engine::restore(config, now, sweeps)).await;
    let engine = restored.map_err(|error| DriverError::Panicked(error.to_string()))??;
    Ok(engine.with_quotas(quotas))
}

#[cfg(test)]
mod tests;
