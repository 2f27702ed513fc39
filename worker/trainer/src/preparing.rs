//! A data set that is being prepared on its own thread, so that a job waiting for it can be stopped without losing what
//! was packed.

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

/// A preparation in progress. Dropping it does not stop it.
#[derive(Debug)]
pub(super) struct Preparing {
    options: PrepareOptions,
    progress: Arc<Mutex<Progress>>,
    prepared: Receiver<Result<PackedDataset, DataError>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparing {
    /// Starts it.
    pub(super) fn start(options: PrepareOptions) -> Self {
        let begun = Progress { step: Step::Listing, share: 0.0, done: 0 };
        let progress = Arc::new(Mutex::new(begun));
        let (sender, prepared) = sync_channel(1);
        let (wanted, done) = (options.clone(), Arc::clone(&progress));
        let prepare = move || {
            let told = |progress| *done.lock().unwrap_or_else(PoisonError::into_inner) = progress;
            // Fails only if no one waits any more.
            let _ = sender.send(dataset::prepare(&wanted, &told));
        };
        // Without a thread, the channel is closed, which is reported as an error.
        let thread = thread::Builder::new().name("preparing".into()).spawn(prepare).ok();
        Self { options, progress, prepared, thread }
    }

    /// The result; none if it takes longer than this.
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

    /// Its progress.
    pub(super) fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this prepares what `options` ask for.
    pub(super) fn is_of(&self, options: &PrepareOptions) -> bool {
        self.options == *options
    }

    /// Whether the thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
