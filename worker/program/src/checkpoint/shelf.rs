//! Where the checkpoints of all jobs lie: a folder, S3, Google Cloud Storage or Azure, by URL. A job's lie under its key, named
//! by how far they are. Next to a checkpoint lies its tail once it is known what came after it: the epoch that was reported next, or
//! the orderly end of its program. A checkpoint with a tail is settled: no epoch up to it can be missing. The newest two checkpoints
//! are kept, so that a torn one leaves the one before, and the newest settled one.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, local::LocalFileSystem, path::Path,
};
use tokio::runtime::Runtime;
use url::Url;

use super::archive::{ARCHIVE_BYTES_MAX, Facts, Refusal, unpack};
use crate::metrics::tally::EpochRecord;

/// Checkpoints of a job that are kept.
const KEPT: usize = 2;

/// Checkpoints of a job that are looked at; more are only there if somebody put them there.
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
    #[error(
        "cannot keep checkpoints in {url}: {reason}; use a folder, or a URL such as file:///mnt/shared, s3://bucket/folder, gs://bucket/folder or az://container/folder"
    )]
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
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What lies beside the files.
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
        let (store, root, local) = place(location)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("checkpoints")
            .enable_all()
            .build()
            .map_err(OpenError::Runtime)?;
        Ok(Self { runtime, store, root, local })
    }

    /// Writes an archive under a name that sorts behind those that are less far, and removes what is older than those that are kept.
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
            let mut found = self.list(&folder).await?;
            let kept = kept(&found);
            found.retain(|name| !kept.iter().any(|kept| kept == stem(name)));
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
        let place = self.folder(key);
        self.remove_unfinished(key, PATIENCE);
        let found = self.wait(async { self.list(&place).await })?;
        let checkpoints = found.iter().rev().filter(|name| name.extension() == Some(ENDING));
        for one in checkpoints.take(LOOKED_AT_MAX) {
            match self.read_one(one, identity, folder)? {
                Ok(facts) => return Ok(Some(Found::new(facts, self.read_tail(&place, one)))),
                Err(refusal) => {
                    terminal::say!("the checkpoint {one} is not used: {refusal}");
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
        let beside = folder.parent().unwrap_or(folder);
        let mut archive = tempfile::tempfile_in(beside)?;
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
        let Some(local) = &self.local else { return };
        let folder = key.split('/').fold(local.clone(), |folder, part| folder.join(part));
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

    fn folder(&self, key: &str) -> Path {
        key.split('/').fold(self.root.clone(), |folder, part| folder.join(part))
    }
}

/// The stems of the checkpoints that are kept, of all names of a job in order.
fn kept(found: &[Path]) -> Vec<String> {
    let stems = |ending: &'static str| {
        let names = found.iter().filter(move |name| name.extension() == Some(ending));
        names.rev().map(|name| stem(name).to_owned())
    };
    let settled = stems(TAIL).find(|settled| stems(ENDING).any(|stem| stem == *settled));
    stems(ENDING).take(KEPT).chain(settled).collect()
}

/// The name of a checkpoint or tail without what it is.
fn stem(name: &Path) -> &str {
    let name = name.filename().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Removes what is in a folder.
pub(crate) fn empty(folder: &std::path::Path) -> io::Result<()> {
    std::fs::remove_dir_all(folder)?;
    std::fs::create_dir(folder)
}

/// The place, what its names begin with, and the local folder, if it is one.
type Place = (Arc<dyn ObjectStore>, Path, Option<PathBuf>);

fn place(location: &str) -> Result<Place, OpenError> {
    let wrong = |reason: String| OpenError::Url { url: location.to_owned(), reason };
    let folder = match location.split_once("://") {
        None => Some(PathBuf::from(location)),
        Some(("file", _)) => {
            let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
            Some(url.to_file_path().map_err(|()| wrong("a file URL needs an absolute path".into()))?)
        }
        Some(_) => None,
    };
    if let Some(folder) = folder {
        std::fs::create_dir_all(&folder)
            .map_err(|source| OpenError::Folder { url: location.to_owned(), source })?;
        let local = LocalFileSystem::new_with_prefix(&folder).map_err(|error| wrong(error.to_string()))?;
        let local = local.with_fsync(true).with_automatic_cleanup(true);
        return Ok((Arc::new(local), Path::default(), Some(folder)));
    }
    let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
    // Of two providers of TLS that could be built in, this is the one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let (store, root) =
        object_store::parse_url_opts(&url, settings).map_err(|error| wrong(error.to_string()))?;
    Ok((Arc::from(store), root, None))
}
