//! Where checkpoints are kept: a folder, S3, Google Cloud Storage or Azure, by URL. They are written in the background;
//! a failed write costs only the work since the checkpoint before.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use storage::{EmptyFolders, LOCATIONS, Storage};
use tokio::{runtime::Runtime, task::JoinHandle};
use trainer_protocol::{BROUGHT, CheckpointPlan};

use super::{
    super::training::Snapshot,
    format::{Refusal, Wanted, decode},
};

/// Checkpoints of a job that are kept: the furthest, and one in case that is torn; and as many of the attempt that writes, as it may
/// have had to start over because those before it cannot be read.
const KEPT: usize = 2;
/// Checkpoints of a job that are examined; there are only more if someone put them there.
const LOOKED_AT_MAX: usize = 8;
/// Longest time for one write or one lookup: 50 MB over a slow line.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a wait for a write gives a sign of life.
const WAIT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that may wait to be written: the checkpoints of a pack of twenty at the report's size.
const WRITING_BYTES_MAX: usize = 1 << 30;
/// Bytes of a checkpoint besides its tensors: the metadata, with a record for each epoch.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// Why a place for checkpoints cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is invalid.
    #[error("cannot keep checkpoints in {url}: {reason}; use {LOCATIONS}")]
    Url {
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be created.
    #[error("cannot keep checkpoints in {url}: {source}; check that the folder is writable")]
    Folder {
        url: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The writer cannot be started.
    #[error("cannot start writing checkpoints: {0}")]
    Runtime(std::io::Error),
}

/// The checkpoints of a trainer's jobs.
#[derive(Debug)]
pub struct CheckpointStore {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// The local folder, if it is one.
    local: Option<PathBuf>,
    /// Writes in progress, the oldest first; at most one per job.
    writing: VecDeque<Writing>,
    /// Those that were refused and lie there until their job has written another one.
    refused: BTreeSet<Path>,
    /// The keys of jobs whose last checkpoint could not be written.
    failed: BTreeSet<String>,
}

/// A write in progress.
#[derive(Debug)]
struct Writing {
    key: String,
    bytes: usize,
    /// Whether it was written.
    task: JoinHandle<bool>,
}

impl CheckpointStore {
    /// The place that `location` names, a folder or a URL. Credentials come from the cloud's own environment variables.
    ///
    /// # Errors
    /// It is invalid, or a folder that cannot be created.
    pub fn open(location: &str) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("checkpoints")
            .enable_all()
            .build()
            .map_err(OpenError::Runtime)?;
        let Storage { store, root, folder: local } =
            Storage::open(location, EmptyFolders::Removed).map_err(|error| refused(location, error))?;
        let (writing, refused, failed) = (VecDeque::new(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { runtime, store, root, local, writing, refused, failed })
    }

    /// Starts to write a checkpoint, after the one before of the same job has been written, and others if too many
    /// wait. Calls `waits` each second meanwhile.
    pub fn write(
        &mut self,
        plan: &CheckpointPlan,
        epoch: u32,
        images_done: i64,
        bytes: Vec<u8>,
        waits: &mut dyn FnMut(),
    ) {
        self.wait_for(&plan.key, waits);
        while self.writing.iter().map(|writing| writing.bytes).sum::<usize>() + bytes.len()
            > WRITING_BYTES_MAX
            && let Some(oldest) = self.writing.pop_front()
        {
            self.wait(oldest, waits);
        }
        let (key, length) = (plan.key.clone(), bytes.len());
        let folder = self.folder(plan);
        // Names sort by progress, then by attempt.
        let name = format!("{epoch:010}-{images_done:012}-{:010}.safetensors", plan.attempt);
        let (store, place) = (Arc::clone(&self.store), folder.clone().join(name));
        let is_here = |one: &Path| one.prefix_matches(&folder);
        let (refused, others): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.refused).into_iter().partition(is_here);
        self.refused = others;
        let work = async move {
            store.put(&place, PutPayload::from(bytes)).await?;
            let found: Vec<Path> = list(&store, &folder).await?.into_iter().map(|one| one.location).collect();
            for old in superseded(found, &refused, &place) {
                store.delete(&old).await?;
            }
            Ok::<_, object_store::Error>(())
        };
        let task = self.runtime.spawn(async move {
            let written = tokio::time::timeout(PATIENCE, work).await;
            match &written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => terminal::say!("a checkpoint could not be kept: {error}"),
                Err(_) => terminal::say!("a checkpoint could not be kept in {} s", PATIENCE.as_secs()),
            }
            matches!(written, Ok(Ok(())))
        });
        self.writing.push_back(Writing { key, bytes: length, task });
    }

    /// Waits until a job's write is finished or has failed.
    fn wait_for(&mut self, key: &str, waits: &mut dyn FnMut()) {
        if let Some(position) = self.writing.iter().position(|writing| writing.key == key)
            && let Some(own) = self.writing.remove(position)
        {
            self.wait(own, waits);
        }
    }

    fn wait(&mut self, mut writing: Writing, waits: &mut dyn FnMut()) {
        let Self { runtime, failed, .. } = self;
        let mut ended =
            || runtime.block_on(async { tokio::time::timeout(WAIT_INTERVAL, &mut writing.task).await });
        let is_written = loop {
            match ended() {
                // The task does not panic, and is not aborted before the process ends.
                Ok(ended) => break ended.unwrap_or(false),
                Err(_) => waits(),
            }
        };
        match is_written {
            true => failed.remove(&writing.key),
            false => failed.insert(writing.key),
        };
    }

    /// Waits until all writes are finished or have failed.
    pub fn flush(&mut self) {
        while let Some(writing) = self.writing.pop_front() {
            self.wait(writing, &mut || {});
        }
    }

    /// Whether the last checkpoint that a job began to write is there, once it is [flushed](Self::flush).
    pub fn has_kept(&self, plan: &CheckpointPlan) -> bool {
        !self.failed.contains(&plan.key)
    }

    /// A job's last complete checkpoint; refused ones are reported on standard error.
    pub fn latest(&mut self, plan: &CheckpointPlan, wanted: Wanted<'_>) -> Option<Snapshot> {
        self.wait_for(&plan.key, &mut || {});
        let numbers: i64 = wanted.layers.all().map(|one| one.shape.iter().product::<i64>()).sum();
        // With each parameter, an optimiser keeps two at most.
        let bytes_max = 3 * numbers.unsigned_abs() * size_of::<f32>() as u64 + METADATA_BYTES_MAX;
        let folder = self.folder(plan);
        let mut refused = BTreeSet::new();
        let search = async {
            let mut found = list(&self.store, &folder).await?;
            for one in found.drain(..).rev().take(LOOKED_AT_MAX) {
                match self.read(&one, bytes_max, wanted).await? {
                    Ok(snapshot) => return Ok(Some(snapshot)),
                    Err(refusal) => {
                        terminal::say!("the checkpoint {} is not used: {refusal}", one.location);
                        refused.insert(one.location);
                    }
                }
            }
            Ok::<_, object_store::Error>(None)
        };
        let searched = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, search).await });
        self.refused.extend(refused);
        match searched {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => {
                terminal::say!("the job starts over, as its checkpoints cannot be read: {error}");
                None
            }
            Err(_) => {
                terminal::say!("the job starts over, as its checkpoints could not be read in time");
                None
            }
        }
    }

    /// Removes a job's checkpoints, because it is done.
    pub fn remove(&mut self, plan: &CheckpointPlan) {
        self.wait_for(&plan.key, &mut || {});
        self.failed.remove(&plan.key);
        let folder = self.folder(plan);
        let torn = self.local.as_ref().map(|local| local.join(folder.as_ref()));
        torn.iter().for_each(|folder| remove_torn(folder));
        let work = async {
            for one in list(&self.store, &folder).await? {
                self.store.delete(&one.location).await?;
            }
            Ok::<_, object_store::Error>(())
        };
        match self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await }) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => terminal::say!("old checkpoints could not be removed: {error}"),
            Err(_) => terminal::say!("old checkpoints could not be removed in time"),
        }
        if let Some(folder) = torn {
            // Its own folder and its sweep's, if they are empty.
            let _ = std::fs::remove_dir(&folder);
            folder.parent().map(std::fs::remove_dir);
        }
    }

    async fn read(
        &self,
        one: &ObjectMeta,
        bytes_max: u64,
        wanted: Wanted<'_>,
    ) -> object_store::Result<Result<Snapshot, Refusal>> {
        if one.size > bytes_max {
            return Ok(Err(Refusal::Corrupt(format!("it has {} bytes", one.size))));
        }
        let bytes = match self.store.get(&one.location).await {
            // Another attempt may just have removed it.
            Err(object_store::Error::NotFound { .. }) => {
                return Ok(Err(Refusal::Corrupt("it is gone".into())));
            }
            read => read?.bytes().await?,
        };
        Ok(decode(&bytes, wanted))
    }

    fn folder(&self, plan: &CheckpointPlan) -> Path {
        plan.key.split('/').fold(self.root.clone(), |folder, part| folder.join(part))
    }
}

impl Drop for CheckpointStore {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What need not be kept of a job's checkpoints, which are in order, once `written` is there.
fn superseded(mut found: Vec<Path>, refused: &BTreeSet<Path>, written: &Path) -> Vec<Path> {
    let attempt = |one: &Path| one.filename().and_then(|name| name.rsplit('-').next()).map(str::to_owned);
    let mut kept: Vec<Path> = found.iter().filter(|one| !refused.contains(one)).cloned().collect();
    let own: Vec<Path> = kept.iter().filter(|one| attempt(one) == attempt(written)).cloned().collect();
    kept.drain(..kept.len().saturating_sub(KEPT));
    kept.extend(own.into_iter().rev().take(KEPT));
    found.retain(|one| !kept.contains(one));
    found
}

/// The objects in a folder, by progress.
async fn list(store: &Arc<dyn ObjectStore>, folder: &Path) -> object_store::Result<Vec<ObjectMeta>> {
    let mut found: Vec<ObjectMeta> = store.list(Some(folder)).try_collect().await?;
    found.retain(|one| one.location.extension() == Some("safetensors"));
    found.sort_by(|one, other| one.location.cmp(&other.location));
    Ok(found)
}

/// Removes what killed writes left, and what the worker noted: files that a listing does not show.
fn remove_torn(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let is_torn = |path: &PathBuf| {
        path.ends_with(BROUGHT) || path.to_str().is_some_and(|path| path.contains(".safetensors#"))
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_torn) {
        if let Err(error) = std::fs::remove_file(&path) {
            terminal::say!("{} could not be removed: {error}", path.display());
        }
    }
}

fn refused(location: &str, error: storage::OpenError) -> OpenError {
    let url = location.to_owned();
    match error {
        storage::OpenError::Location(reason) => OpenError::Url { url, reason },
        storage::OpenError::Folder { source, .. } => OpenError::Folder { url, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrupt_checkpoint_does_not_win_against_a_good_one_that_was_written_later() {
        let path = |name: &str| Path::from(format!("1-9/3/{name}.safetensors"));
        let old = ["8-0-1", "9-0-1"].map(path);
        let with = |own: &[&str]| {
            let own: Vec<Path> = own.iter().map(|name| path(name)).collect();
            let mut found = [old.as_slice(), &own].concat();
            found.sort();
            (found, own.last().unwrap().clone())
        };
        let (found, written) = with(&["1-0-2"]);
        assert_eq!(superseded(found, &old.clone().into(), &written), old, "those that were refused give way");
        let (found, written) = with(&["1-0-2", "2-0-2", "3-0-2"]);
        assert_eq!(superseded(found, &BTreeSet::new(), &written), ["1-0-2"].map(path), "others may be good");
        let (found, written) = with(&["95-0-2", "96-0-2"]);
        assert_eq!(superseded(found, &BTreeSet::new(), &written), old);
    }

    #[test]
    fn who_waits_for_a_slow_write_can_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = CheckpointStore::open(folder.path().to_str().unwrap()).unwrap();
        let (go_on, told) = tokio::sync::oneshot::channel::<()>();
        let task = store.runtime.spawn(async {
            let _ = told.await;
            true
        });
        let mut go_on = Some(go_on);
        store.wait(Writing { key: "a".into(), bytes: 1, task }, &mut || drop(go_on.take()));
        assert!(go_on.is_none(), "the write only ended after the signs of life");
    }
}
