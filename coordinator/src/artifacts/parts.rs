//! Files that are being assembled: where, how many at a time, and which of them a call works on.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirEntry, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use held_folder::HeldFolder;
use tokio::sync::Notify;

use super::{ArtifactError, is_full};

/// Files of weights that are assembled at the same time, and checkpoints; others wait at their workers. Many workers that leave at once
/// must not hold up weights, nor weights them.
pub(super) const PARTS_MAX: usize = 64;
/// How the names of those of checkpoints begin.
pub(super) const CHECKPOINT_PARTS: &str = "handed-over_";
/// A part that received nothing for this long makes room for a new one: a worker that is alive pauses for half a
/// minute, and waits a minute for an answer. One that comes back begins again.
pub(super) const ABANDONED_AFTER: Duration = Duration::from_secs(300);
/// Space that is left free on the disk, in bytes: weights must not take what records need, which are often on the same
/// disk.
const ROOM_LEFT_BYTES: u64 = 2 << 20;
/// Prefix of temporary folders.
const PREFIX: &str = "sweep-uploads-";
const EXTENSION: &str = "part";

/// Where files are assembled.
#[derive(Debug)]
pub(super) enum Staging {
    /// Next to their final place: the next process continues with what is there.
    NextTo(PathBuf),
    /// In a temporary folder of this process.
    Own(Mutex<HeldFolder>),
}

impl Staging {
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self::Own(Mutex::new(HeldFolder::create(&std::env::temp_dir(), PREFIX)?)))
    }

    /// The folder. A temporary one is created again if someone removed it: systems do that with what seems unused.
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        match self {
            Self::NextTo(folder) => Ok(folder.clone()),
            Self::Own(held) => {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                if !held.is_there() {
                    *held = HeldFolder::create(&std::env::temp_dir(), PREFIX)?;
                }
                Ok(held.path().to_owned())
            }
        }
    }
}

/// All files being assembled.
#[derive(Debug)]
pub(super) struct Parts {
    staging: Staging,
    /// Those that calls work on now.
    busy: Mutex<HashSet<String>>,
    /// Notified whenever one of them is free again.
    freed: Notify,
    room: Room,
}

/// The room on the disk where files are assembled.
#[derive(Debug)]
struct Room {
    /// How many bytes are free there.
    free: fn(&Path) -> io::Result<u64>,
    /// Bytes that calls are writing, which may not be missing from those that are free yet.
    being_written: Mutex<u64>,
}

impl Room {
    /// Room for `writes` bytes until it is dropped. Fails like a full disk where what is `missing` of a file would fill it.
    fn hold(&self, folder: &Path, missing: u64, writes: u64) -> io::Result<HeldRoom<'_>> {
        let mut being_written = self.being_written.lock().unwrap_or_else(PoisonError::into_inner);
        check((self.free)(folder)?, missing.saturating_add(*being_written))?;
        *being_written += writes;
        Ok(HeldRoom { room: self, writes })
    }
}

/// Room for what a call writes.
#[derive(Debug)]
struct HeldRoom<'r> {
    room: &'r Room,
    writes: u64,
}

impl Drop for HeldRoom<'_> {
    fn drop(&mut self) {
        *self.room.being_written.lock().unwrap_or_else(PoisonError::into_inner) -= self.writes;
    }
}

impl Parts {
    pub(super) fn new(staging: Staging) -> Self {
        Self::on_disk(staging, free)
    }

    /// The same on a disk that has as many bytes free as `free` says.
    pub(super) fn on_disk(staging: Staging, free: fn(&Path) -> io::Result<u64>) -> Self {
        let room = Room { free, being_written: Mutex::default() };
        Self { staging, busy: Mutex::default(), freed: Notify::new(), room }
    }

    /// The part of the file that will have this name, for one call only.
    pub(super) fn part(self: &Arc<Self>, name: &str) -> Result<Part, ArtifactError> {
        self.part_of(file_name(name)).ok_or(ArtifactError::Busy)
    }

    fn part_of(self: &Arc<Self>, file: String) -> Option<Part> {
        let is_free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(file.clone());
        is_free.then(|| Part { parts: Arc::clone(self), file })
    }

    /// The same, once no other call works on it.
    pub(super) async fn part_once_free(self: &Arc<Self>, name: &str) -> Part {
        loop {
            let freed = self.freed.notified();
            if let Ok(part) = self.part(name) {
                return part;
            }
            freed.await;
        }
    }

    /// Removes parts in `folders` that belong to none of `awaited`, and what dead processes left. Returns how many
    /// files were removed.
    pub(super) fn remove_unknown(
        &self,
        awaited: &BTreeSet<String>,
        folders: &BTreeSet<String>,
    ) -> io::Result<usize> {
        if matches!(self.staging, Staging::Own(_)) {
            HeldFolder::remove_stale(&std::env::temp_dir(), PREFIX);
        }
        let awaited: HashSet<String> = awaited.iter().map(|name| file_name(name)).collect();
        let mut removed = 0;
        for entry in parts_in(&self.staging.folder()?)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.split_once('_').is_some_and(|(folder, _)| folders.contains(folder));
            if is_ours && !awaited.contains(&name) && if_there(fs::remove_file(entry.path()))?.is_some() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes the parts with this prefix that received nothing since `before`.
    pub(super) fn remove_older(self: &Arc<Self>, prefix: &str, before: SystemTime) -> io::Result<()> {
        for entry in parts_in(&self.staging.folder()?)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with(prefix) {
                continue;
            }
            let modified = if_there(entry.metadata())?.map(|found| found.modified()).transpose()?;
            if modified.is_none_or(|modified| modified >= before) {
                continue;
            }
            if let Some(part) = self.part_of(name) {
                part.remove()?;
            }
        }
        Ok(())
    }

    /// Drops the least recently changed part of these, if it is abandoned. Returns whether there was one.
    fn make_way(self: &Arc<Self>, folder: &Path, parts: &[DirEntry]) -> io::Result<bool> {
        // A part that is gone meanwhile has made room.
        let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        let is_abandoned =
            |modified: SystemTime| modified.elapsed().is_ok_and(|idle| idle >= ABANDONED_AFTER);
        let mut found: Vec<(SystemTime, String)> = parts
            .iter()
            .filter_map(|entry| {
                Some((modified(&entry.path())?, entry.file_name().to_string_lossy().into_owned()))
            })
            .collect();
        found.sort_unstable();
        for (_, file) in found.into_iter().take_while(|(modified, _)| is_abandoned(*modified)) {
            // A part that a call works on, or has just worked on, is not abandoned.
            let Some(part) = self.part_of(file) else { continue };
            let path = folder.join(&part.file);
            if modified(&path).is_some_and(is_abandoned) {
                tracing::info!("gave {} up, of which nothing came for long: others wait", path.display());
                return part.remove().map(|()| true);
            }
        }
        Ok(false)
    }
}

/// A file being assembled, held by one call. Its methods wait for disks.
#[derive(Debug)]
pub(super) struct Part {
    parts: Arc<Parts>,
    file: String,
}

impl Part {
    pub(super) fn path(&self) -> io::Result<PathBuf> {
        Ok(self.parts.staging.folder()?.join(&self.file))
    }

    /// Appends a piece, if it belongs at the end. Returns the length then, of `bytes`; nothing if there are too many
    /// already. If the disk is full, the part is dropped.
    pub(super) fn append(&self, bytes: u64, offset: u64, data: &[u8]) -> io::Result<Option<u64>> {
        let taken = self.try_append(bytes, offset, data);
        if taken.as_ref().is_err_and(is_full) {
            // Half a file is useless, and others need the room.
            let _ = self.remove();
        }
        taken
    }

    fn try_append(&self, bytes: u64, offset: u64, data: &[u8]) -> io::Result<Option<u64>> {
        let folder = self.parts.staging.folder()?;
        let path = folder.join(&self.file);
        let length = match fs::metadata(&path) {
            Ok(found) if found.len() > bytes => {
                fs::remove_file(&path)?;
                0
            }
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if length == 0 {
            let mut parts = parts_in(&folder)?;
            parts.retain(|part| {
                is_of_checkpoint(&part.file_name().to_string_lossy()) == is_of_checkpoint(&self.file)
            });
            if parts.len() >= PARTS_MAX && !self.parts.make_way(&folder, &parts)? {
                return Ok(None);
            }
        }
        let writes = if offset == length { data.len() as u64 } else { 0 };
        // Before each piece: others that had begun have taken room since.
        let hold = || self.parts.room.hold(&folder, bytes - length, writes);
        let _held = (writes > 0 || length == 0).then(hold).transpose()?;
        if writes == 0 {
            if length > 0 {
                // Its worker is active: it is not abandoned.
                File::options().write(true).open(&path)?.set_modified(SystemTime::now())?;
            }
            return Ok(Some(length));
        }
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.write_all_at(data, length)?;
        Ok(Some(length + data.len() as u64))
    }

    /// Removes it; a missing one is fine.
    pub(super) fn remove(&self) -> io::Result<()> {
        if_there(fs::remove_file(self.path()?)).map(drop)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.parts.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.file);
        self.parts.freed.notify_waiters();
    }
}

/// The result of a call on a file; none if it is gone meanwhile: uploads go on while others tidy.
pub(super) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn file_name(name: &str) -> String {
    format!("{}.{EXTENSION}", name.replace('/', "_"))
}

fn is_of_checkpoint(file: &str) -> bool {
    file.starts_with(CHECKPOINT_PARTS)
}

/// The parts in a folder, without the lock that may be next to them.
fn parts_in(folder: &Path) -> io::Result<Vec<DirEntry>> {
    let is_part = |entry: &io::Result<DirEntry>| {
        entry
            .as_ref()
            .map_or(true, |entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
    };
    fs::read_dir(folder)?.filter(is_part).collect()
}

/// Fails like a full disk if a file would fill it.
pub(super) fn check_room(folder: &Path, bytes: u64) -> io::Result<()> {
    check(free(folder)?, bytes)
}

fn check(free: u64, bytes: u64) -> io::Result<()> {
    match free < bytes.saturating_add(ROOM_LEFT_BYTES) {
        true => Err(io::Error::from(io::ErrorKind::StorageFull)),
        false => Ok(()),
    }
}

/// How many bytes are free on the disk of a folder.
fn free(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
