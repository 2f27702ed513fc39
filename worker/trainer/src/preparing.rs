//! A data set that is being prepared on a thread of its own, so that whoever waits for it can be told to stop, and so that
//! what was packed is not lost when that happens.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use dataset::{
    self, DataError, PackedDataset, PrepareOptions,
    progress::{Progress, Step},
};

/// What is being prepared. Dropping it ends nothing.
#[derive(Debug)]
pub(super) struct Preparing {
    options: PrepareOptions,
    progress: Arc<Mutex<Progress>>,
    prepared: Receiver<Result<PackedDataset, DataError>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparing {
    /// Begins.
    pub(super) fn start(options: PrepareOptions) -> Self {
        let begun = Progress { step: Step::Listing, share: 0.0, done: 0 };
        let progress = Arc::new(Mutex::new(begun));
        let (sender, prepared) = sync_channel(1);
        let (wanted, done) = (options.clone(), Arc::clone(&progress));
        let prepare = move || {
            let told = |progress| *done.lock().unwrap_or_else(PoisonError::into_inner) = progress;
            // Fails only where nobody waits any more.
            let _ = sender.send(dataset::prepare(&wanted, &told));
        };
        // Without a thread, the channel is closed, which is told as an error.
        let thread = thread::Builder::new().name("preparing".into()).spawn(prepare).ok();
        Self { options, progress, prepared, thread }
    }

    /// What came of it; nothing where it takes longer than this.
    pub(super) fn wait(&self, patience: Duration) -> Option<Result<PackedDataset, DataError>> {
        match self.prepared.recv_timeout(patience) {
            Ok(prepared) => Some(prepared),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(DataError::Read {
                path: self.options.path.clone(),
                source: io::Error::other("there is no thread to prepare it"),
            })),
        }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is what `options` ask for.
    pub(super) fn is_of(&self, options: &PrepareOptions) -> bool {
        self.options == *options
    }

    /// Whether nothing is done any more.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
