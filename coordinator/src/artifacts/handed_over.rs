//! Checkpoints of jobs that workers hand over when they leave: one archive for each job, `handed-over/<sweep>/<job>-<attempt>-<hash>`,
//! which later attempts read. Nothing of them is recorded: their names say all, and whoever begins to lead lists them once and keeps the
//! list (`index`); those of a sweep are listed again where an attempt begins whose last one is not among them. They are few and go once their jobs have ended.

mod index;

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use domain::record::WeightsFile;
use terms::{AttemptKey, JobKey, SweepId};

use self::index::Index;
use super::{
    ABANDONED_AFTER, ArtifactError, Artifacts, PIECE_BYTES_MAX, Taken, parts::CHECKPOINT_PARTS,
    place::blocking,
};

/// The folder.
pub(super) const FOLDER: &str = "handed-over";

/// How long a checkpoint stays of a sweep that this coordinator does not know: it is of another one that has the same place, or of a
/// store that is gone. Longer than a cluster is down over holidays.
const UNKNOWN_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

/// What is there, once it was listed.
#[derive(Debug, Default)]
pub(super) struct Known {
    state: Mutex<State>,
    /// Held by whoever lists.
    listing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// None before it was listed.
    index: Option<Index>,
    /// Changes when what a list says that was begun before may be wrong.
    changes: u64,
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read or changed of the list; none where there is none.
    fn with<T>(&self, work: impl FnOnce(&mut Index) -> T) -> Option<T> {
        self.state().index.as_mut().map(work)
    }
}

/// A checkpoint that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The folder of its sweep's files.
    pub(crate) folder: String,
    pub(crate) attempt: AttemptKey,
    pub(crate) blake3: String,
}

impl Checkpoint {
    fn name(&self) -> String {
        let Self { folder, attempt, blake3 } = self;
        format!("{FOLDER}/{folder}/{}-{}-{blake3}", attempt.job.job, attempt.attempt)
    }

    fn parse(name: &str) -> Option<Self> {
        let (folder, file) = name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
        let sweep: u64 = folder.split_once('-')?.0.parse().ok()?;
        let mut parts = file.split('-');
        let (job, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let blake3 = parts.next().filter(|hash| hash.len() == 64)?.to_owned();
        let job = JobKey { sweep: SweepId(sweep), job };
        Some(Self { folder: folder.to_owned(), attempt: AttemptKey { job, attempt }, blake3 })
    }

    fn is_of(&self, folder: &str, job: JobKey) -> bool {
        self.folder == folder && self.attempt.job == job
    }
}

impl Artifacts {
    /// This coordinator begins to lead: what others have taken and removed meanwhile is listed when it is needed next.
    pub(crate) fn forget_checkpoints(&self) {
        let mut state = self.handed_over.state();
        state.changes += 1;
        state.index = None;
    }

    /// Lists what is there, unless that was done since this coordinator leads.
    async fn list_checkpoints(&self) -> Result<(), ArtifactError> {
        let _listing = self.handed_over.listing.lock().await;
        loop {
            let changes = {
                let state = self.handed_over.state();
                if state.index.is_some() {
                    return Ok(());
                }
                state.changes
            };
            let found = self.place.list_below(FOLDER).await?;
            let mut state = self.handed_over.state();
            if state.changes == changes {
                state.index = Some(Index::new(found));
            }
        }
    }

    /// Adds what is there of a sweep and not listed: a coordinator that led before may have brought what it was taking to its end after the
    /// list was made.
    async fn look_again(&self, folder: &str) -> Result<(), ArtifactError> {
        let found = self.place.list_below(&format!("{FOLDER}/{folder}")).await?;
        self.handed_over.with(|index| index.add(found));
        Ok(())
    }

    /// Makes room for a checkpoint of that length, which is on its way; why there is none.
    ///
    /// # Errors
    /// The place cannot be read.
    pub(crate) async fn expect_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        bytes: u64,
    ) -> Result<Option<String>, ArtifactError> {
        self.list_checkpoints().await?;
        let expected = self.handed_over.with(|index| index.expect(checkpoint, bytes, Instant::now()));
        Ok(expected.and_then(Result::err))
    }

    /// Receives a piece; keeps the whole, in place of earlier ones of its job.
    ///
    /// # Errors
    /// As of [`Artifacts::take`] and [`Artifacts::keep`].
    pub(crate) async fn take_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        bytes: u64,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Taken, ArtifactError> {
        let name = checkpoint.name();
        if self.handed_over.with(|index| index.has(&name)) == Some(true) {
            return Ok(Taken::Whole);
        }
        let file = WeightsFile { bytes, blake3: checkpoint.blake3.clone() };
        let taken = self.take(&name, &file, offset, data).await?;
        if taken == Taken::Whole {
            self.keep(&name, &file, std::future::ready(())).await?;
            for earlier in self.arrived(checkpoint, bytes) {
                // It is of no use any more; it is removed with the job's others where it stays now.
                if let Err(error) = self.remove_checkpoint(&earlier).await {
                    tracing::warn!(%error, "an earlier checkpoint could not be removed");
                }
            }
        }
        Ok(taken)
    }

    /// Notes that a checkpoint is there; the earlier ones of its job.
    fn arrived(&self, checkpoint: &Checkpoint, bytes: u64) -> Vec<Checkpoint> {
        let mut state = self.handed_over.state();
        match &mut state.index {
            Some(index) => index.arrived(checkpoint, bytes, SystemTime::now()),
            None => {
                // The lead was lost meanwhile; a list that was begun may lack it.
                state.changes += 1;
                Vec::new()
            }
        }
    }

    /// The furthest checkpoint from which an attempt may go on, if one was handed over, its length, and the piece that begins at `offset`.
    ///
    /// # Errors
    /// The place cannot be read.
    pub(crate) async fn read_checkpoint(
        &self,
        folder: &str,
        attempt: AttemptKey,
        offset: u64,
    ) -> Result<Option<(WeightsFile, Vec<u8>)>, ArtifactError> {
        let _call = self.calls.of(FOLDER).try_acquire().map_err(|_| ArtifactError::TooMany)?;
        self.list_checkpoints().await?;
        let last_of = || self.handed_over.with(|index| index.last_of(folder, attempt.job)).flatten();
        let is_the_latest = |last: Checkpoint| last.attempt.attempt + 1 >= attempt.attempt;
        if offset == 0 && !last_of().is_some_and(is_the_latest) {
            self.look_again(folder).await?;
        }
        loop {
            let Some(last) = last_of() else { return Ok(None) };
            let name = last.name();
            if let Some((data, bytes)) = self.place.read_piece(&name, offset, PIECE_BYTES_MAX as u64).await? {
                return Ok(Some((WeightsFile { bytes, blake3: last.blake3 }, data)));
            }
            tracing::warn!(name, "a checkpoint that was handed over is gone from where it was kept");
            self.handed_over.with(|index| index.gone(&name));
        }
    }

    /// The checkpoints that are kept.
    ///
    /// # Errors
    /// The place cannot be read.
    pub(crate) async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ArtifactError> {
        self.list_checkpoints().await?;
        Ok(self.handed_over.with(|index| index.all()).unwrap_or_default())
    }

    /// Removes a checkpoint that is of no use any more.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn remove_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
        let name = checkpoint.name();
        self.remove(&name).await?;
        self.handed_over.with(|index| index.gone(&name));
        Ok(())
    }

    /// Removes old checkpoints of sweeps that are not among those with these folders. Returns how many were removed.
    ///
    /// # Errors
    /// The place cannot be read, or one stays.
    pub(crate) async fn remove_unknown_checkpoints(
        &self,
        folders: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<usize, ArtifactError> {
        self.list_checkpoints().await?;
        let before = now.checked_sub(UNKNOWN_AFTER).unwrap_or(SystemTime::UNIX_EPOCH);
        let unknown = self.handed_over.with(|index| index.unknown(folders, before)).unwrap_or_default();
        for checkpoint in &unknown {
            self.remove_checkpoint(checkpoint).await?;
        }
        Ok(unknown.len())
    }

    /// Removes what came only in part, and of which nothing came for long: its worker is gone.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) async fn remove_abandoned_checkpoints(&self, now: SystemTime) -> Result<(), ArtifactError> {
        let parts = self.parts.clone();
        let before = now.checked_sub(ABANDONED_AFTER).unwrap_or(SystemTime::UNIX_EPOCH);
        blocking(move || parts.remove_older(CHECKPOINT_PARTS, before)).await
    }
}

#[cfg(test)]
mod tests;
