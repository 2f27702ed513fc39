//! The stream behind `sweep watch`: so much waits for a slow watcher, and no more is asked for meanwhile.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proto::{Message, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tonic::Status;

use super::convert;
use crate::api::{Watch, WatchEvent};

/// Messages that may wait for a slow watcher; while they do, nothing is collected for it.
const MESSAGES_WAITING_MAX: usize = 64;
/// What may wait for a slow watcher, in bytes. A snapshot that is larger waits alone; watchers of a sweep share it.
const BYTES_WAITING_MAX: usize = 128 << 10;

/// A message on its way to a watcher, and the room that it takes up.
type Waiting = (Result<Arc<v1::WatchSweepResponse>, Status>, Option<OwnedSemaphorePermit>);

/// The way to a watcher.
#[derive(Debug)]
pub(super) struct Sender {
    messages: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// What a watcher receives.
#[derive(Debug)]
pub struct Watched(mpsc::Receiver<Waiting>);

/// The way to a watcher, and its other end.
pub(super) fn channel() -> (Sender, Watched) {
    let (messages, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    (Sender { messages, room: Arc::new(Semaphore::new(BYTES_WAITING_MAX)) }, Watched(receiver))
}

impl Sender {
    /// Waits for room and sends; whether anyone is there.
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

/// Sends what happens until it has ended or `sender`'s other side is gone.
pub(super) async fn send(mut events: Watch<v1::WatchSweepResponse>, sender: Sender) {
    loop {
        let next = tokio::select! {
            () = sender.messages.closed() => return,
            next = events.next() => next,
        };
        let message = match next {
            Ok(None) => return,
            Ok(Some(WatchEvent::Snapshot(snapshot))) => snapshot,
            Ok(Some(WatchEvent::Epoch(epoch))) => Arc::new(convert::epoch_seen(epoch)),
            Ok(Some(WatchEvent::Job(job))) => Arc::new(convert::job_seen(job)),
            Err(error) => {
                // Without a receiver there is no one to tell.
                let _ = sender.messages.send((Err(error.into()), None)).await;
                return;
            }
        };
        if !sender.send(message).await {
            return;
        }
    }
}
