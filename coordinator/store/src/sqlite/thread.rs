//! The writer thread. Commits share no threads with requests: however many of those wait, a commit begins at once.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Sender, channel},
};

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that runs its work one after the other and ends with its owner. At most one commit waits for it, and one check
/// for disk space.
#[derive(Debug)]
pub(super) struct WriterThread(Sender<Work>);

impl WriterThread {
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = channel::<Work>();
        std::thread::Builder::new().name("sweep-store".to_owned()).spawn(move || {
            for work in receiver {
                // A panic drops the answer, which tells the waiting side.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        })?;
        Ok(Self(sender))
    }

    /// Runs work on the thread, even if no one waits for the answer any more; none if it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || drop(answer.send(work())));
        self.0.send(work).ok()?;
        answered.await.ok()
    }
}
