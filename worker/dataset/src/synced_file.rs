//! A file that is synced to disk while it is written, so that little is left to wait for at the end.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
};

/// After this many bytes, a sync is started in the background.
const SYNCED_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct SyncedFile {
    file: File,
    /// Bytes written since the last sync was started.
    unsynced: usize,
    syncs: SyncSender<()>,
    /// Ends at the first failure. The system reports an error to only one call, so this thread's result counts.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl SyncedFile {
    /// Wraps a file that is to be written.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let (syncs, asked) = sync_channel(1);
        let same = file.try_clone()?;
        let sync = move || asked.into_iter().try_for_each(|()| same.sync_data());
        let syncing = std::thread::Builder::new().name("sync".into()).spawn(sync)?;
        Ok(Self { file, unsynced: 0, syncs, syncing: Some(syncing) })
    }

    /// Waits until everything is on disk.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { file, syncs, syncing, .. } = self;
        drop(syncs);
        join(syncing)?;
        file.sync_all()
    }
}

/// The result of the thread that syncs.
fn join(syncing: Option<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    let ended = syncing.map(JoinHandle::join).unwrap_or_else(|| Ok(Err(io::Error::other("syncing failed"))));
    ended.unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")))
}

impl Write for SyncedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= SYNCED_BYTES {
            self.unsynced = 0;
            // One pending request is enough.
            if let Err(TrySendError::Disconnected(())) = self.syncs.try_send(()) {
                join(self.syncing.take())?;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for SyncedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
