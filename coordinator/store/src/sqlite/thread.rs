//! The thread that writes. Commits share no threads with requests: however many of those wait, a commit begins at once.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Sender, channel},
};

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that does what it is given, one after the other, and ends with its owner. At most one commit waits for it, and
/// one look for room.
#[derive(Debug)]
pub(super) struct WriterThread(Sender<Work>);

impl WriterThread {
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = channel::<Work>();
        std::thread::Builder::new().name("sweep-store".to_owned()).spawn(move || {
            for work in receiver {
                // Who waits learns of a panic, as its answer does not come.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        })?;
        Ok(Self(sender))
    }

    /// Has it do something, also where nobody waits for the answer any more; nothing where it panicked.
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
