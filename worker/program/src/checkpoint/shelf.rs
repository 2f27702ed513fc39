//! Where the checkpoints of all jobs lie: a folder, S3, Google Cloud Storage or Azure, by URL. A job's lie under its key, named
//! by how far they are. Next to a checkpoint lies its tail once it is known what came after it: the epoch that was reported next, or
//! the orderly end of its program. A checkpoint with a tail is settled: no epoch up to it can be missing. The furthest two checkpoints
//! are kept, so that a torn one leaves the one before, and the furthest settled one; and the same of those that the present attempt has
//! written, as it may have had to start over because the ones before it cannot be read. Those that it refused give way to its first.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, path::Path};
use storage::{EmptyFolders, LOCATIONS, Storage};
use tokio::runtime::Runtime;
use trainer_protocol::BROUGHT;

use super::archive::{ARCHIVE_BYTES_MAX, Facts, Refusal, unpack};
use crate::metrics::tally::EpochRecord;

/// Checkpoints of a job that are kept.
const KEPT: usize = 2;

/// Checkpoints of a job that are looked at; more are only there if someone put them there.
const LOOKED_AT_MAX: usize = 8;

/// Longest time that writing or reading one may take: eight gigabytes over a gigabit line have 64 s.
const PATIENCE: Duration = Duration::from_secs(600);

/// Longest tail, in bytes: a hundred metrics with the longest names, and its hash.
const TAIL_BYTES_MAX: u64 = 256 << 10;

/// Bytes that are sent at a time, and parts that are on their way.
const PART_BYTES: usize = 8 << 20;
const PARTS_MAX: usize = 4;

/// What came after a checkpoint: the epoch that was reported next, or nothing, where its program ended in order.
pub(crate) type Tail = Option<EpochRecord>;

/// How names of checkpoints and tails end.
const ENDING: &str = "checkpoint";
const TAIL: &str = "tail";

/// Why a place for checkpoints cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot keep checkpoints in {url}: {reason}; use {LOCATIONS}")]
    Url { url: String, reason: String },
    #[error("cannot keep checkpoints in {url}: {source}; check that the folder is writable")]
    Folder { url: String, source: io::Error },
    #[error("cannot start writing checkpoints: {0}")]
    Runtime(io::Error),
}

/// Why something was not written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error(transparent)]
    Store(#[from] object_store::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it took more than {} s", PATIENCE.as_secs())]
    Slow,
}

/// The place. Its methods block.
#[derive(Debug)]
pub(crate) struct Shelf {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// The local folder, if it is one.
    local: Option<PathBuf>,
    /// What the last reading refused.
    refused: Mutex<BTreeSet<Path>>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What lies next to the files.
    pub(crate) facts: Facts,
    /// Epochs that may have been reported after it, in order.
    pub(crate) reserve: Vec<EpochRecord>,
    /// Whether it is known what came after it.
    pub(crate) is_settled: bool,
}

impl Found {
    pub(super) fn new(mut facts: Facts, tail: Option<Tail>) -> Self {
        let mut reserve = std::mem::take(&mut facts.reserve);
        let is_settled = tail.is_some();
        if let Some(record) = tail.flatten() {
            reserve.retain(|before| before.number < record.number);
            reserve.push(record);
        }
        Self { facts, reserve, is_settled }
    }

    /// Whether a job can go on from it without losing an epoch. Before the first report, the number that comes next is not known. But
    /// a program with several checkpoints before its first report writes them within an epoch.
    pub(crate) fn can_be_used(&self) -> bool {
        let has_records = !self.facts.records.is_empty() || !self.reserve.is_empty();
        self.is_settled || has_records || self.facts.unreported >= 2
    }
}

impl Shelf {
    /// The place that `location` names. Credentials come from the cloud's own environment variables.
    ///
    /// # Errors
    /// It is not understood, or is a folder that cannot be made.
    pub(crate) fn open(location: &str) -> Result<Self, OpenError> {
        let Storage { store, root, folder } =
            Storage::open(location, EmptyFolders::Removed).map_err(|error| refused(location, error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("checkpoints")
            .enable_all()
            .build()
            .map_err(OpenError::Runtime)?;
        Ok(Self { runtime, store, root, local: folder, refused: Mutex::default() })
    }

    /// Writes an archive under a name that sorts behind those that are less far, and removes those that need not be kept.
    pub(crate) fn write(&self, key: &str, name: &str, mut archive: File) -> Result<(), ShelfError> {
        let folder = self.folder(key);
        let place = folder.clone().join(format!("{name}.{ENDING}"));
        archive.rewind()?;
        self.wait(async {
            let upload = self.store.put_multipart(&place).await?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            let mut piece = vec![0; PART_BYTES];
            loop {
                let length = archive.read(&mut piece)?;
                if length == 0 {
                    break;
                }
                writer.wait_for_capacity(PARTS_MAX).await?;
                writer.write(&piece[..length]);
            }
            writer.finish().await?;
            let (mut found, refused) = (self.list(&folder).await?, self.refused().clone());
            let (refused, rest): (Vec<_>, Vec<_>) = found.iter().cloned().partition(|name| {
                refused.iter().any(|refused| refused.prefix_matches(&folder) && stem(refused) == stem(name))
            });
            let mut kept = kept(&rest);
            let own: Vec<_> =
                rest.into_iter().filter(|other| attempt(stem(other)) == attempt(name)).collect();
            kept.extend(self::kept(&own));
            found.retain(|name| refused.contains(name) || !kept.iter().any(|kept| kept == stem(name)));
            for old in found {
                self.delete(&old).await?;
            }
            Ok(())
        })
    }

    /// Settles a checkpoint.
    pub(crate) fn write_tail(&self, key: &str, name: &str, tail: &Tail) -> Result<(), ShelfError> {
        let text = serde_json::to_string(tail).map_err(io::Error::from)?;
        let text = format!("{}\n{text}", blake3::hash(text.as_bytes()).to_hex());
        let place = self.folder(key).join(format!("{name}.{TAIL}"));
        self.wait(async { Ok(self.store.put(&place, PutPayload::from(text)).await.map(drop)?) })
    }

    /// Unpacks the furthest whole checkpoint of a job with this identity into `folder`, which is empty. What is refused
    /// is told on standard error.
    pub(crate) fn read(
        &self,
        key: &str,
        identity: &str,
        folder: &std::path::Path,
    ) -> Result<Option<Found>, ShelfError> {
        self.refused().clear();
        let place = self.folder(key);
        self.remove_unfinished(key, PATIENCE);
        let found = self.wait(async { self.list(&place).await })?;
        let checkpoints = found.iter().rev().filter(|name| name.extension() == Some(ENDING));
        for one in checkpoints.take(LOOKED_AT_MAX) {
            match self.read_one(one, identity, folder)? {
                Ok(facts) => return Ok(Some(Found::new(facts, self.read_tail(&place, one)))),
                Err(refusal) => {
                    terminal::say!("the checkpoint {one} is not used: {refusal}");
                    self.refused().insert(one.clone());
                    empty(folder)?;
                }
            }
        }
        Ok(None)
    }

    fn read_one(
        &self,
        one: &Path,
        identity: &str,
        folder: &std::path::Path,
    ) -> Result<Result<Facts, Refusal>, ShelfError> {
        let parent = folder.parent().unwrap_or(folder);
        let mut archive = tempfile::tempfile_in(parent)?;
        let fetched = self.wait(async {
            let got = match self.store.get(one).await {
                // Another attempt may remove it just now.
                Err(object_store::Error::NotFound { .. }) => return Ok(Some("it is gone".to_owned())),
                got => got?,
            };
            if got.meta.size > ARCHIVE_BYTES_MAX {
                return Ok(Some(format!("it has {} bytes", got.meta.size)));
            }
            let (mut pieces, mut length) = (got.into_stream(), 0_u64);
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                length += piece.len() as u64;
                if length > ARCHIVE_BYTES_MAX {
                    return Ok(Some("it is longer than it says".to_owned()));
                }
                archive.write_all(&piece)?;
            }
            Ok(None)
        })?;
        if let Some(reason) = fetched {
            return Ok(Err(Refusal::Corrupted(reason)));
        }
        archive.seek(SeekFrom::Start(0))?;
        match unpack(&mut archive, identity, folder) {
            // A folder that cannot be written is no fault of the checkpoint.
            Err(Refusal::Io(error)) => Err(error.into()),
            unpacked => Ok(unpacked),
        }
    }

    /// Nothing where there is none, or one that is not whole.
    fn read_tail(&self, folder: &Path, checkpoint: &Path) -> Option<Tail> {
        let place = folder.clone().join(format!("{}.{TAIL}", stem(checkpoint)));
        let bytes = self.wait(async {
            let got = self.store.get(&place).await?;
            if got.meta.size > TAIL_BYTES_MAX {
                return Ok(Vec::new());
            }
            Ok(got.bytes().await?.to_vec())
        });
        let text = String::from_utf8(bytes.ok()?).ok()?;
        let (hash, record) = text.split_once('\n')?;
        let is_whole = blake3::hash(record.as_bytes()).to_hex().as_str() == hash;
        serde_json::from_str(record).ok().filter(|_| is_whole)
    }

    /// Removes the checkpoints of a job that are not settled.
    pub(crate) fn remove_unsettled(&self, key: &str) -> Result<(), ShelfError> {
        let folder = self.folder(key);
        let found = self.wait(async { self.list(&folder).await })?;
        for one in found.iter().filter(|name| name.extension() == Some(ENDING)) {
            if self.read_tail(&folder, one).is_none() {
                self.wait(async { self.delete(one).await })?;
            }
        }
        Ok(())
    }

    /// Removes all that is kept of a job, which has its end.
    pub(crate) fn remove(&self, key: &str) -> Result<(), ShelfError> {
        self.remove_unfinished(key, Duration::ZERO);
        // Where there is one; the folder goes with its last file.
        let _ = self.local_folder(key).map(|folder| std::fs::remove_file(folder.join(BROUGHT)));
        let folder = self.folder(key);
        self.wait(async {
            for one in self.list(&folder).await? {
                self.delete(&one).await?;
            }
            Ok(())
        })
    }

    /// Removes what a process that was killed had begun to write and no one has written to for this long; it may have gigabytes, and is
    /// in no list. A cloud has rules of its own for it.
    fn remove_unfinished(&self, key: &str, unchanged_for: Duration) {
        let Some(folder) = self.local_folder(key) else { return };
        let is_unfinished = |name: &str| {
            name.rsplit_once('#').is_some_and(|(name, suffix)| {
                let is_ours = [ENDING, TAIL].iter().any(|ending| name.ends_with(&format!(".{ending}")));
                is_ours && suffix.bytes().all(|digit| digit.is_ascii_digit())
            })
        };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let changed = entry.metadata().and_then(|found| found.modified()).ok();
            let unchanged = changed.and_then(|changed| changed.elapsed().ok()).unwrap_or_default();
            if unchanged >= unchanged_for && is_unfinished(&entry.file_name().to_string_lossy()) {
                // It may be gone already; otherwise the next attempt finds it.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn refused(&self) -> MutexGuard<'_, BTreeSet<Path>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list(&self, folder: &Path) -> Result<Vec<Path>, ShelfError> {
        let found: Vec<_> = self.store.list(Some(folder)).try_collect().await?;
        let mut found: Vec<Path> = found.into_iter().map(|one| one.location).collect();
        found.retain(|one| matches!(one.extension(), Some(ENDING | TAIL)));
        found.sort();
        Ok(found)
    }

    async fn delete(&self, one: &Path) -> Result<(), ShelfError> {
        match self.store.delete(one).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, ShelfError>>) -> Result<T, ShelfError> {
        let work = async { tokio::time::timeout(PATIENCE, work).await };
        self.runtime.block_on(work).unwrap_or(Err(ShelfError::Slow))
    }

    fn local_folder(&self, key: &str) -> Option<PathBuf> {
        Some(key.split('/').fold(self.local.clone()?, |folder, part| folder.join(part)))
    }

    fn folder(&self, key: &str) -> Path {
        key.split('/').fold(self.root.clone(), |folder, part| folder.join(part))
    }
}

/// The stems of the checkpoints that are kept, of these names of a job in order.
fn kept(found: &[Path]) -> Vec<String> {
    let stems = |ending: &'static str| {
        let names = found.iter().filter(move |name| name.extension() == Some(ending));
        names.rev().map(|name| stem(name).to_owned())
    };
    let settled = stems(TAIL).find(|settled| stems(ENDING).any(|stem| stem == *settled));
    stems(ENDING).take(KEPT).chain(settled).collect()
}

/// The attempt that wrote a checkpoint, from its stem ([`super::keeper`]).
fn attempt(stem: &str) -> Option<&str> {
    stem.split('-').nth(1)
}

/// The name of a checkpoint or tail without what it is.
fn stem(name: &Path) -> &str {
    let name = name.filename().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn refused(location: &str, error: storage::OpenError) -> OpenError {
    let url = location.to_owned();
    match error {
        storage::OpenError::Location(reason) => OpenError::Url { url, reason },
        storage::OpenError::Folder { source, .. } => OpenError::Folder { url, source },
    }
}

/// Removes what is in a folder.
pub(crate) fn empty(folder: &std::path::Path) -> io::Result<()> {
    std::fs::remove_dir_all(folder)?;
    std::fs::create_dir(folder)
}
