//! A data set that is being prepared on a thread of its own, so that whoever waits for it can be told to stop, and so that
//! what was packed is not lost when that happens.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use worker::data::{self, DataError, PackedDataset, PrepareOptions};

/// What is being prepared. Dropping it ends nothing.
#[derive(Debug)]
pub(super) struct Preparing {
    options: PrepareOptions,
    /// The share that is done, as bits.
    share: Arc<AtomicU64>,
    prepared: Receiver<Result<PackedDataset, DataError>>,
}

impl Preparing {
    /// Begins.
    pub(super) fn start(options: PrepareOptions) -> Self {
        let share = Arc::new(AtomicU64::new(0_f64.to_bits()));
        let (sender, prepared) = sync_channel(1);
        let (wanted, done) = (options.clone(), Arc::clone(&share));
        let prepare = move || {
            let told = |share: f64| done.store(share.to_bits(), Ordering::Relaxed);
            // Fails only where nobody waits any more.
            let _ = sender.send(data::prepare(&wanted, &told));
        };
        // Without a thread, the channel is closed, which is told as an error.
        let _ = thread::Builder::new().name("preparing".into()).spawn(prepare);
        Self { options, share, prepared }
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

    /// The share that is done, in [0, 1].
    pub(super) fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }
}
