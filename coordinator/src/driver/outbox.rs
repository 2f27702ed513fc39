//! Messages that wait for workers that read slowly. They are bounded in bytes, for each worker and for all together, so that
//! workers that do not read cannot fill the memory. A worker that lets more pile up is cut off; it connects again and
//! receives what still matters.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use engine::{CloseReason, ToWorker};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Chunks of messages that may wait for a worker: one a commit, so minutes of a busy coordinator.
const CHUNKS_WAITING_MAX: usize = 8_192;
/// Memory of the messages that may wait for a worker: grants of some hundred jobs for each of sixteen GPUs.
const WORKER_BYTES_MAX: usize = 16 << 20;
/// Of that, what each worker may use whatever the others do: a grant of a hundred jobs, or many acknowledgements.
const OWN_BYTES: usize = 256 << 10;
/// Memory of what waits beyond that, for all workers together.
const SHARED_BYTES_MAX: usize = 128 << 20;

/// What goes to a session's stream.
#[derive(Debug)]
pub enum Outbound {
    /// Messages for the worker, and the memory that they take up until they are passed on.
    Messages(Vec<ToWorker>, Room),
    /// The last word.
    Close(CloseReason),
    /// The last word: nothing can be kept for now.
    Full,
    /// The last word: what was sent since the last acknowledgement must be sent again, on another stream.
    Again,
}

/// Memory that is taken up until this is dropped.
#[derive(Debug)]
pub struct Room {
    _of_worker: OwnedSemaphorePermit,
    _of_all: Option<OwnedSemaphorePermit>,
}

/// Makes outboxes that share what they may hold.
#[derive(Debug, Clone)]
pub(super) struct Outboxes(Arc<Semaphore>);

impl Default for Outboxes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SHARED_BYTES_MAX)))
    }
}

impl Outboxes {
    /// An empty outbox, and where it is read.
    pub(super) fn open(&self) -> (Outbox, Inbox) {
        // And the last word.
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX + 1);
        let own = Arc::new(Semaphore::new(WORKER_BYTES_MAX));
        let inbox = Inbox(Arc::new(Mutex::new(receiver)));
        (Outbox { sender, inbox: inbox.clone(), own, shared: Arc::clone(&self.0) }, inbox)
    }
}

/// Where a worker's stream takes its messages from.
#[derive(Debug, Clone)]
pub struct Inbox(Arc<Mutex<mpsc::Receiver<Outbound>>>);

impl Inbox {
    /// The next thing to pass on; none when the stream has ended.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Option<Outbound>> {
        self.lock().poll_recv(context)
    }

    /// Whether nothing more is added; what waits is still passed on.
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed()
    }

    fn lock(&self) -> MutexGuard<'_, mpsc::Receiver<Outbound>> {
        // A queue has no state in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a worker's messages go, without waiting for it.
#[derive(Debug)]
pub struct Outbox {
    sender: mpsc::Sender<Outbound>,
    /// The other end: what waits for a stream that is given up is discarded, though its reader never asks for it.
    inbox: Inbox,
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

/// A worker does not read its messages.
#[derive(Debug)]
pub(super) struct Unread;

impl Outbox {
    /// Adds messages, unless too much waits already.
    pub(super) fn add(&self, messages: Vec<ToWorker>) -> Result<(), Unread> {
        // What is larger than the bound takes all of it.
        let bytes = messages.iter().map(ToWorker::bytes).sum::<usize>().min(WORKER_BYTES_MAX);
        let permits = u32::try_from(bytes).map_err(|_| Unread)?;
        let before = WORKER_BYTES_MAX - self.own.available_permits();
        let of_worker = Arc::clone(&self.own).try_acquire_many_owned(permits).map_err(|_| Unread)?;
        let of_all = if before + bytes <= OWN_BYTES {
            None
        } else {
            Some(Arc::clone(&self.shared).try_acquire_many_owned(permits).map_err(|_| Unread)?)
        };
        match self
            .sender
            .try_send(Outbound::Messages(messages, Room { _of_worker: of_worker, _of_all: of_all }))
        {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Unread),
            // The stream has ended, which its reader reports.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Discards what waits and adds the last word, if there is one.
    pub(super) fn close(self, word: Option<Outbound>) {
        while self.inbox.lock().try_recv().is_ok() {}
        if let Some(word) = word {
            // Fails only where the stream has ended.
            let _ = self.sender.try_send(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use terms::AttemptKey;

    use super::*;

    fn revoke(attempts: u64) -> Vec<ToWorker> {
        let attempts = (0..attempts).map(|job| AttemptKey::new(1, job, 1)).collect();
        vec![ToWorker::Revoke { attempts, reason: String::new() }]
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_for_each_worker_and_for_all() {
        let outboxes = Outboxes::default();
        let mut deaf = Vec::new();
        // Each may have its own bytes and a part of the shared ones.
        while outboxes.0.available_permits() >= WORKER_BYTES_MAX {
            let (outbox, receiver) = outboxes.open();
            while outbox.add(revoke(10_000)).is_ok() {}
            assert!(receiver.lock().len() * revoke(10_000)[0].bytes() <= WORKER_BYTES_MAX);
            deaf.push((outbox, receiver));
        }
        assert!(
            deaf.len() <= SHARED_BYTES_MAX / (WORKER_BYTES_MAX - OWN_BYTES - revoke(10_000)[0].bytes()) + 1
        );
        while deaf[0].0.add(revoke(100)).is_ok() {}
        let (honest, messages) = outboxes.open();
        assert!(honest.add(revoke(1)).is_ok(), "the others cost it nothing");
        assert!(messages.lock().try_recv().is_ok());
        // Who is cut off holds nothing, though it never reads.
        let kept: Vec<Inbox> =
            deaf.into_iter().map(|(outbox, inbox)| (outbox.close(None), inbox).1).collect();
        assert_eq!((outboxes.0.available_permits(), kept.is_empty()), (SHARED_BYTES_MAX, false));
    }

    #[test]
    fn what_was_passed_on_makes_room() {
        let (outbox, messages) = Outboxes::default().open();
        for _ in 0..10 {
            while outbox.add(revoke(50_000)).is_ok() {}
            while messages.lock().try_recv().is_ok() {}
        }
        assert_eq!(outbox.own.available_permits(), WORKER_BYTES_MAX);
        assert_eq!(outbox.shared.available_permits(), SHARED_BYTES_MAX);
    }
}
