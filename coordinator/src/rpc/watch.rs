//! The stream behind `sweep watch`: a snapshot, then what happens, then a last snapshot.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use domain::definition::SweepDefinition;
use engine::{
    Observation,
    query::{Define, TakeSnapshot},
};
use proto::{Message, v1};
use terms::{SweepId, SweepState};
use tokio::sync::{self, OwnedSemaphorePermit, Semaphore, broadcast::error::RecvError, mpsc};
use tokio_stream::Stream;
use tonic::Status;

use super::{convert, refused};
use crate::driver::DriverHandle;

/// Messages that may wait for a slow watcher; while they do, nothing is collected for it.
const MESSAGES_WAITING_MAX: usize = 64;
/// What may wait for a slow watcher, in bytes. A snapshot that is larger waits alone; watchers of a sweep share it.
const BYTES_WAITING_MAX: usize = 128 << 10;
/// Shortest time between two snapshots: as often as a person sees a difference.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Most events between two snapshots: more than a person can read, and than a thousand workers bring about. The rest is
/// only in the next snapshot.
const EVENTS_A_SNAPSHOT_MAX: usize = 1_000;

/// A message on its way to a watcher, and the room that it takes up.
type Waiting = (Result<Arc<v1::WatchSweepResponse>, Status>, Option<OwnedSemaphorePermit>);

/// The way to a watcher.
#[derive(Debug)]
pub(super) struct Sender {
    messages: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// What a watcher is told.
#[derive(Debug)]
pub struct Watched(mpsc::Receiver<Waiting>);

/// The way to a watcher, and its other end.
pub(super) fn channel() -> (Sender, Watched) {
    let (messages, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    (Sender { messages, room: Arc::new(Semaphore::new(BYTES_WAITING_MAX)) }, Watched(receiver))
}

impl Sender {
    /// Waits for room and sends; whether anybody is there.
    async fn send(&self, message: Arc<v1::WatchSweepResponse>) -> bool {
        let bytes = u32::try_from(message.encoded_len().min(BYTES_WAITING_MAX)).unwrap_or(0);
        tokio::select! {
            () = self.messages.closed() => false,
            room = Arc::clone(&self.room).acquire_many_owned(bytes) => {
                self.messages.send((Ok(message), room.ok())).await.is_ok()
            }
        }
    }
}

impl Stream for Watched {
    type Item = Result<v1::WatchSweepResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Only now a copy of its own, which is encoded at once.
        let own = |(message, _): Waiting| message.map(Arc::unwrap_or_clone);
        self.0.poll_recv(context).map(|next| next.map(own))
    }
}

/// Snapshots that watchers of a sweep share.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshots(Arc<Mutex<HashMap<SweepId, Weak<Shared>>>>);

/// The last snapshot of a sweep, and when it was asked for.
type Shared = sync::Mutex<Option<(Instant, Arc<v1::WatchSweepResponse>)>>;

impl Snapshots {
    /// The place of a sweep's snapshot, for as long as anybody has it.
    fn of(&self, sweep: SweepId) -> Arc<Shared> {
        let mut sweeps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = sweeps.get(&sweep).and_then(Weak::upgrade) {
            return shared;
        }
        sweeps.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared::default());
        sweeps.insert(sweep, Arc::downgrade(&shared));
        shared
    }
}

/// Follows a sweep until it has ended or `sender`'s other side is gone.
pub(super) async fn follow(
    driver: DriverHandle,
    snapshots: Snapshots,
    sweep: SweepId,
    definition: Arc<SweepDefinition>,
    sender: Sender,
) {
    let watcher = Watcher { driver, snapshot: snapshots.of(sweep), sweep, sender };
    if let Err(status) = watcher.follow(definition).await {
        // Without a receiver there is nobody to tell.
        let _ = watcher.sender.messages.send((Err(status), None)).await;
    }
}

/// Who follows a sweep.
struct Watcher {
    driver: DriverHandle,
    snapshot: Arc<Shared>,
    sweep: SweepId,
    sender: Sender,
}

impl Watcher {
    async fn follow(&self, mut definition: Arc<SweepDefinition>) -> Result<(), Status> {
        let (driver, sweep, sender) = (&self.driver, self.sweep, &self.sender);
        // Listening begins before the snapshot, so that nothing falls between the two.
        let mut observations = driver.observe();
        let mut ended = self.send_snapshot().await?;
        let mut due = tokio::time::interval(SNAPSHOT_INTERVAL);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut changed, mut events_left) = (false, EVENTS_A_SNAPSHOT_MAX);
        while !ended {
            tokio::select! {
                () = sender.messages.closed() => return Ok(()),
                _ = due.tick(), if changed => {
                    (changed, events_left) = (false, EVENTS_A_SNAPSHOT_MAX);
                    ended = self.send_snapshot().await?;
                }
                observed = observations.recv() => match observed {
                    Ok(observed) => {
                        for (_, observation) in observed.iter().filter(|(observed, _)| *observed == sweep) {
                            changed = true;
                            if matches!(observation, Observation::SweepChanged) {
                                // Whoever waits for the end is not kept waiting.
                                due.reset_immediately();
                            }
                            if events_left == 0 {
                                continue;
                            }
                            if job_of(observation) > definition.job_count() {
                                definition = define(driver, sweep).await?;
                            }
                            if let Some(event) = event(&definition, observation) {
                                events_left -= 1;
                                if !sender.send(Arc::new(event)).await {
                                    return Ok(());
                                }
                            }
                        }
                    }
                    // What was missed is in the next snapshot.
                    Err(RecvError::Lagged(_)) => changed = true,
                    Err(RecvError::Closed) => return Err(Status::unavailable("the coordinator is shutting down")),
                },
            }
        }
        Ok(())
    }

    /// Sends the whole picture; returns whether the sweep has ended.
    async fn send_snapshot(&self) -> Result<bool, Status> {
        let asked = Instant::now();
        let (ended, message) = {
            let mut shared = self.snapshot.lock().await;
            let message = match shared.as_ref().filter(|(since, _)| *since >= asked) {
                // Another watcher asked for it after this one had seen what it is for.
                Some((_, message)) => Arc::clone(message),
                None => {
                    let since = Instant::now();
                    let message = Arc::new(snapshot(&self.driver, self.sweep).await?);
                    *shared = Some((since, Arc::clone(&message)));
                    message
                }
            };
            (has_ended(&message), message)
        };
        Ok(!self.sender.send(message).await || ended)
    }
}

/// What the jobs of a sweep are now: it may have been extended.
async fn define(driver: &DriverHandle, sweep: SweepId) -> Result<Arc<SweepDefinition>, Status> {
    driver.query(Define(sweep)).await.map(|defined| defined.definition).map_err(refused)
}

/// The job that an observation is about; 0 for none.
fn job_of(observation: &Observation) -> u64 {
    match observation {
        Observation::Epoch { attempt, .. } | Observation::Job { attempt, .. } => attempt.job.job,
        Observation::Progress | Observation::SweepChanged => 0,
    }
}

/// The whole picture.
async fn snapshot(driver: &DriverHandle, sweep: SweepId) -> Result<v1::WatchSweepResponse, Status> {
    let snapshot = driver.query(TakeSnapshot(sweep)).await.map_err(refused)?;
    let event = v1::watch_sweep_response::Event::Snapshot(convert::snapshot(snapshot));
    Ok(v1::WatchSweepResponse { event: Some(event) })
}

fn has_ended(message: &v1::WatchSweepResponse) -> bool {
    match &message.event {
        Some(v1::watch_sweep_response::Event::Snapshot(snapshot)) => {
            snapshot.sweep.as_ref().is_some_and(|sweep| is_final(sweep.state()))
        }
        _ => false,
    }
}

fn is_final(state: v1::SweepState) -> bool {
    [SweepState::Finished, SweepState::Stopped, SweepState::Cancelled]
        .map(v1::SweepState::from)
        .contains(&state)
}

fn event(definition: &SweepDefinition, observation: &Observation) -> Option<v1::WatchSweepResponse> {
    use v1::watch_sweep_response::Event;
    let event = match *observation {
        Observation::Epoch { attempt, ref epoch, ref metrics, resumed_epochs } => {
            Event::Epoch(v1::EpochObserved {
                point: Some(proto::job_point(attempt.job.job, definition.parameters(attempt.job.job))),
                attempt: attempt.attempt,
                epochs_total: definition.budget(attempt.job.job).unwrap_or(0),
                record: Some(proto::epoch_to_wire(metrics, epoch)),
                resumed_epochs,
            })
        }
        Observation::Job { attempt, state, ref worker, ref reason } => Event::Job(v1::JobChanged {
            point: Some(proto::job_point(attempt.job.job, definition.parameters(attempt.job.job))),
            state: v1::JobState::from(state).into(),
            attempt: attempt.attempt,
            worker: worker.to_string(),
            reason: reason.clone(),
        }),
        Observation::Progress | Observation::SweepChanged => return None,
    };
    Some(v1::WatchSweepResponse { event: Some(event) })
}
