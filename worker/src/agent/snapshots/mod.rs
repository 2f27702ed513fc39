//! The files of users' programs on this machine: fetched from the coordinator once, kept by content in the cache
//! folder, and copied into a folder of the attempt, which the program may change freely. A failure here is not the
//! job's fault.

mod cache;
mod fetch;
mod folders;
mod remote;
mod room;

use std::{io, path::Path, sync::Arc, time::Duration};

use terms::{AttemptKey, snapshot::SnapshotId};
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

pub(crate) use self::folders::AttemptFolder;
use self::{
    cache::Cache,
    fetch::{Source, fetch},
    folders::{Folders, UnpackError},
};
use super::remote::Remote;

/// How long fetching may take: the largest snapshot over a line of a megabyte a second. What has arrived stays, so that
/// the next try continues from there.
const FETCHED_WITHIN: Duration = Duration::from_secs(300);
/// How often a snapshot is fetched again because a content was corrupted in the cache.
const TRIES_MAX: usize = 3;

/// The files are not available at the moment: the reason, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub(crate) String);

impl Unavailable {
    fn new(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// The files of the programs that this worker runs.
#[derive(Debug)]
pub(crate) struct Snapshots<S = Remote> {
    source: S,
    cache: Arc<Cache>,
    folders: Arc<Folders>,
}

impl<S: Source> Snapshots<S> {
    /// Files from `source`, kept in `cache`, for attempts with folders within that of the spool, whose lock the caller
    /// holds. Removes attempts' folders of an earlier process. What creates and removes folders runs in `tidying`.
    ///
    /// # Errors
    /// The folder within the spool's cannot be created.
    pub(crate) fn open(source: S, cache: &Path, spool: &Path, tidying: TaskTracker) -> io::Result<Self> {
        Ok(Self {
            source,
            cache: Arc::new(Cache::new(cache.to_owned())),
            folders: Arc::new(Folders::open(spool, tidying)?),
        })
    }

    /// A folder for the attempt with the files of a snapshot. Nothing of it stays if this fails or is given up.
    ///
    /// # Errors
    /// They are not available now: the coordinator is away, or the disk is full. Another attempt may get them.
    pub(crate) async fn folder_for(
        &self,
        attempt: AttemptKey,
        id: SnapshotId,
    ) -> Result<AttemptFolder, Unavailable> {
        let fetched = tokio::time::timeout(FETCHED_WITHIN, self.fetched_folder(attempt, id)).await;
        fetched.unwrap_or_else(|_| {
            let limit = FETCHED_WITHIN.as_secs();
            Err(Unavailable(format!(
                "the files of the program did not come from the coordinator within {limit} s"
            )))
        })
    }

    async fn fetched_folder(
        &self,
        attempt: AttemptKey,
        id: SnapshotId,
    ) -> Result<AttemptFolder, Unavailable> {
        let cached = |error: io::Error| {
            Unavailable::new(
                "the files of the program cannot be kept in the cache folder of this worker",
                &error,
            )
        };
        // There for as long as someone waits: unpacking goes on in its thread when this is dropped.
        let waits = Arc::new(());
        let mut tries_left = TRIES_MAX;
        let folder = loop {
            // Until they are unpacked, so that no one removes them.
            let used = self.cache.using().await.map_err(cached)?;
            let manifest = fetch(&self.cache, &self.source, id).await?;
            let cache = Arc::clone(&self.cache);
            let unpacked = self.folders.unpack_aside(attempt, manifest, cache, used, &waits).await;
            tries_left -= 1;
            match unpacked {
                Ok(folder) => break folder,
                Err(UnpackError::Corrupt(_)) if tries_left > 0 => {}
                Err(error) => {
                    return Err(Unavailable::new(
                        "the files of the program cannot be unpacked on this worker",
                        &error,
                    ));
                }
            }
        };
        let cache = Arc::clone(&self.cache);
        // Only what no one uses: if it fails, the next one tries again.
        if let Ok(Err(error)) = spawn_blocking(move || cache.make_room()).await {
            tracing::warn!(%error, "the cache of programs' files could not be tidied");
        }
        Ok(folder)
    }

    /// Removes the folder of an attempt that has ended.
    pub(crate) async fn remove(&self, attempt: AttemptKey) {
        let folders = Arc::clone(&self.folders);
        // A panic is printed by itself.
        let _ = spawn_blocking(move || folders.remove_or_say(attempt)).await;
    }
}

#[cfg(test)]
mod tests;
