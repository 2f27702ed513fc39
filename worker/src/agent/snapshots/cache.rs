//! The cache of contents and manifests, which all workers of a machine share:
//!
//! ```text
//! lock                     held by who uses something of the cache, and alone by who removes something
//! manifests/ID.json        the files of a snapshot; its time is that of its last use
//! manifests/ID.lock        held by who fetches the snapshot
//! contents/AB/HASH         a content
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;
use terms::snapshot::{ContentHash, SnapshotId, SnapshotManifest};

/// Bytes of unused contents that are kept: eight of the largest snapshots.
const CACHE_BYTES_MAX: u64 = 2 << 30;
/// How often a lock is tried.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Longest manifest, in bytes: ten thousand files, and a megabyte of paths that JSON may double.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;
/// Prefix of files that are not complete yet.
const UNFINISHED: &str = ".unfinished-";

/// The cache, in a folder that is created when something is kept.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, bytes_max: CACHE_BYTES_MAX }
    }

    /// The same with another bound.
    #[cfg(test)]
    pub(super) fn with_bytes_max(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Prevents removals until the result is dropped.
    pub(super) async fn using(&self) -> io::Result<File> {
        locked(&self.folder.join("lock"), File::try_lock_shared).await
    }

    /// The right to fetch a snapshot, which one process of this machine has at a time.
    pub(super) async fn fetching(&self, id: SnapshotId) -> io::Result<File> {
        locked(&self.manifest_path(id).with_extension("lock"), File::try_lock).await
    }

    fn manifest_path(&self, id: SnapshotId) -> PathBuf {
        self.folder.join("manifests").join(format!("{id}.json"))
    }

    fn content_path(&self, content: ContentHash) -> PathBuf {
        let digits = content.to_string();
        self.folder.join("contents").join(&digits[..2]).join(digits)
    }

    /// The manifest, if it is kept and complete; it counts as used now.
    pub(super) fn manifest(&self, id: SnapshotId) -> Option<SnapshotManifest> {
        let path = self.manifest_path(id);
        let manifest = read_manifest(&path).filter(|manifest| manifest.id() == id)?;
        let file = OpenOptions::new().append(true).open(&path);
        // Only the order of removal depends on it.
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        Some(manifest)
    }

    pub(super) fn put_manifest(&self, manifest: &SnapshotManifest) -> io::Result<()> {
        let path = self.manifest_path(manifest.id());
        let mut file = unfinished(&path)?;
        file.write_all(&serde_json::to_vec(manifest)?)?;
        file.persist(path)?;
        Ok(())
    }

    /// Whether a content of this length is kept. Its hash is checked when it is unpacked.
    pub(super) fn has(&self, content: ContentHash, bytes: u64) -> bool {
        fs::metadata(self.content_path(content)).is_ok_and(|found| found.is_file() && found.len() == bytes)
    }

    pub(super) fn open(&self, content: ContentHash) -> io::Result<File> {
        File::open(self.content_path(content))
    }

    /// A temporary file for a content.
    pub(super) fn begin(&self, content: ContentHash) -> io::Result<NamedTempFile> {
        unfinished(&self.content_path(content))
    }

    /// Keeps a complete content.
    pub(super) fn finish(&self, content: ContentHash, file: NamedTempFile) -> io::Result<()> {
        // Not synced to disk: it is hashed again when it is unpacked.
        file.persist(self.content_path(content))?;
        Ok(())
    }

    /// Forgets a content that is corrupt.
    pub(super) fn forget(&self, content: ContentHash) {
        // If it cannot be removed, the next unpacking finds it corrupt again and says so.
        let _ = fs::remove_file(self.content_path(content));
    }

    /// Removes the least recently used snapshots until the others fit, and unfinished files. Does nothing while someone
    /// uses the cache.
    pub(super) fn make_room(&self) -> io::Result<()> {
        let lock = open_lock(&self.folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut contents: BTreeMap<ContentHash, (PathBuf, u64)> = BTreeMap::new();
        for folder in entries(&self.folder.join("contents"))? {
            for path in entries(&folder)? {
                let name =
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if name.starts_with(UNFINISHED) {
                    fs::remove_file(&path)?;
                } else if let Ok(content) = name.parse() {
                    let bytes = fs::metadata(&path)?.len();
                    contents.insert(content, (path, bytes));
                }
            }
        }
        if contents.values().map(|(_, bytes)| bytes).sum::<u64>() <= self.bytes_max {
            return Ok(());
        }
        self.remove_unused(contents)
    }

    fn remove_unused(&self, mut contents: BTreeMap<ContentHash, (PathBuf, u64)>) -> io::Result<()> {
        let mut manifests = Vec::new();
        for path in entries(&self.folder.join("manifests"))? {
            if path.extension().is_some_and(|extension| extension == "json") {
                manifests.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        // The most recently used are kept first.
        manifests.sort_unstable_by(|one, other| other.cmp(one));
        let mut kept: u64 = 0;
        for (_, path) in manifests {
            let own = read_manifest(&path).map(|manifest| manifest.contents()).unwrap_or_default();
            let more: u64 = own
                .iter()
                .filter(|(content, _)| contents.contains_key(content))
                .map(|(_, bytes)| bytes)
                .sum();
            if own.is_empty() || kept + more > self.bytes_max {
                fs::remove_file(&path)?;
            } else {
                kept += more;
                // No one needs what is left in the end.
                own.iter().for_each(|(content, _)| drop(contents.remove(content)));
            }
        }
        for (path, _) in contents.into_values() {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn read_manifest(path: &Path) -> Option<SnapshotManifest> {
    if fs::metadata(path).ok()?.len() > MANIFEST_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// A temporary file next to `path`.
fn unfinished(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
}

fn open_lock(path: &Path) -> io::Result<File> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

/// Waits for a lock, which the system releases when its process ends, in any way.
async fn locked(path: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<File> {
    let file = open_lock(path)?;
    loop {
        match lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK_INTERVAL).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// The entries of a folder; none if it does not exist.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(found) => found.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
