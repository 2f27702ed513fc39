//! Reading of sweep files, which may take seconds: on a few threads of its own, so that commits and answers do not wait for
//! it. A caller that goes away while it waits for a thread is dropped; where too much waits, more is refused.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use super::{ApiError, error::task_ended};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Threads that read at the same time: half of the processors, so that the other half is for everything else.
const THREADS_MAX: usize = 4;
/// Texts that are being read or wait for it or for their commit, in KiB: sixteen of the largest sweep files, hundreds of usual ones.
const WAITING_KIB_MAX: u32 = 16 << 10;
/// What counts of the smallest: bounds how many wait.
const TEXT_KIB_MIN: u32 = 16;
/// When to try again: most files are read much faster.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The threads and the queue before them.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    threads: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Reading {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            threads: Arc::new(Semaphore::new((processors / 2).clamp(1, THREADS_MAX))),
            waiting: Arc::new(Semaphore::new(WAITING_KIB_MAX as usize)),
        }
    }
}

impl Reading {
    /// A place in the queue for a text of `bytes`, held until it is dropped.
    pub(super) fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib =
            u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).clamp(TEXT_KIB_MIN, WAITING_KIB_MAX);
        Arc::clone(&self.waiting).try_acquire_many_owned(kib).map_err(|_| ApiError::Busy {
            message: format!(
                "too many sweep files are being read already; try again in {} s",
                RETRY_AFTER.as_secs()
            ),
            retry_after: RETRY_AFTER,
        })
    }

    /// Does `work` when a thread is free; not at all where the caller goes away before.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| task_ended())?;
        let (sender, receiver) = oneshot::channel();
        let thread = thread::Builder::new().name("sweep-file".to_owned()).spawn(move || {
            let _turn = turn;
            // Who asked may have gone meanwhile.
            let _ = sender.send(work());
        });
        thread.map_err(|error| ApiError::Unavailable(format!("no thread can be started: {error}")))?;
        receiver.await.map_err(|_| task_ended())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    #[test]
    fn what_waits_is_bounded_and_the_rest_hears_when_to_try_again() {
        let reading = Reading::default();
        let mut admitted = Vec::new();
        let refused = loop {
            match reading.admit(200 << 10) {
                Ok(place) => admitted.push(place),
                Err(error) => break error,
            }
        };
        assert_eq!(admitted.len(), 81, "81 × 200 KiB are 16 MiB");
        assert!(refused.to_string().contains("try again in 2 s"), "{refused:?}");
        assert!(matches!(refused, ApiError::Busy { retry_after: RETRY_AFTER, .. }), "{refused:?}");
        admitted.pop();
        assert!(reading.admit(4 << 20).is_err() && reading.admit(200 << 10).is_ok());
    }

    #[tokio::test]
    async fn work_whose_caller_is_gone_is_not_done() {
        let reading = Reading { threads: Arc::new(Semaphore::new(1)), ..Reading::default() };
        let (go_on, wait) = mpsc::channel::<()>();
        let busy = reading.clone();
        let busy = tokio::spawn(async move { busy.run(move || wait.recv()).await });
        while reading.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let done = Arc::new(AtomicUsize::new(0));
        let count = |done: &Arc<AtomicUsize>| {
            let done = Arc::clone(done);
            move || done.fetch_add(1, Ordering::SeqCst)
        };
        let (gone, stays) = (reading.run(count(&done)), reading.run(count(&done)));
        let (mut gone, mut stays) = (Box::pin(gone), Box::pin(stays));
        // Both wait in the queue, in this order.
        assert!(futures_poll(&mut gone).await && futures_poll(&mut stays).await);
        drop(gone);
        go_on.send(()).unwrap();
        assert!(busy.await.unwrap().is_ok());
        assert_eq!(stays.await.unwrap(), 0, "nothing was done before it");
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }

    /// Polls once; whether it waits.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
