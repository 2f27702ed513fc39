//! The spool: numbered events on disk that outlive the agent's process. An append-only file of records, each with its
//! length and checksum; a torn end was never promised and is cut when the file is opened.
//!
//! A record that was written survives `kill -9`; the end of an attempt is also synced to disk. A failed write loses
//! nothing: the coordinator keeps what it acknowledges, and until then the event is in memory and written as soon as
//! there is room. One directory belongs to one process, by a lock.

mod lock;

use std::{
    borrow::Cow,
    collections::{BTreeSet, VecDeque},
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use proto::{
    Message as _,
    v1::{self, event::Event as WireKind},
};

use super::{
    session::types::Event,
    spool_format::{EVENT_BYTES_MAX, HEADER_BYTES, header, read_all, record},
    wire,
};

/// Most bytes of unacknowledged events; beyond it the trainers wait. About 700,000 epochs.
pub(crate) const UNACKNOWLEDGED_BYTES_MAX: u64 = 64 << 20;

/// Size from which the file is rewritten without the acknowledged events, if these are most of it.
const COMPACT_BYTES: u64 = 1 << 20;

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// Another process has it.
    #[error(
        "the spool {path} belongs to a worker that is running{holder}; start this one with another --name, or end the other"
    )]
    Taken {
        path: PathBuf,
        /// `, process 123 on HOST`, as far as it has said so.
        holder: String,
    },
    /// The file is something else.
    #[error("{0} is not a spool of this program; move it away, or choose another --spool folder")]
    Foreign(PathBuf),
    /// The file system refuses.
    #[error("cannot use the spool {path}: {source}; choose a writable folder with --spool")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// What an earlier process left.
#[derive(Debug, PartialEq)]
pub(crate) struct Recovered {
    /// The number of the next event.
    pub(crate) next_sequence: u64,
    /// The unacknowledged events of attempts that have ended, in order. Those of attempts that have not are dropped:
    /// their trainers died with the process.
    pub(crate) events: Vec<v1::Event>,
}

#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    file: File,
    /// Bytes of the file that are known to be complete.
    written: u64,
    /// Records that follow `written` and could not be written yet.
    unwritten: Vec<u8>,
    /// The end of an attempt was appended since the file was synced.
    has_unsynced_end: bool,
    /// Number and position of each unacknowledged event.
    live: VecDeque<(u64, u64)>,
    next_sequence: u64,
    bytes_max: u64,
    /// What was logged about a disk that refuses: it may refuse each event.
    told: BTreeSet<String>,
    /// The file, or its name, could not be synced: only a new file can be.
    needs_new_file: bool,
    /// How the file is synced; tests have disks that refuse it.
    sync: fn(&File) -> io::Result<()>,
    /// Held for its lock, which the operating system releases with the process at the latest.
    lock: File,
}

impl Drop for Spool {
    /// A child of this process that is between fork and exec shares the lock, which would outlive this until then.
    fn drop(&mut self) {
        // It ends with its descriptors at the latest.
        let _ = self.lock.unlock();
    }
}

impl Spool {
    /// Opens the spool in `folder`, which is created if missing.
    ///
    /// # Errors
    /// Another process has it, it is not a spool, or the file system refuses.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Recovered), SpoolError> {
        let failed = |source| SpoolError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = lock::take(folder)?;
        let recovered = recover(&folder.join(FILE_NAME))?;
        let base = recovered.next_sequence;
        let mut content = header(recovered.events.first().map_or(base, |event| event.sequence), base);
        let mut live = VecDeque::new();
        for event in &recovered.events {
            live.push_back((event.sequence, content.len() as u64));
            content.extend(record(event));
        }
        let (file, named) = replace(folder, &content).map_err(failed)?;
        named.map_err(failed)?;
        let written = content.len() as u64;
        let next_sequence = recovered.next_sequence;
        let spool = Self {
            folder: folder.to_owned(),
            file,
            written,
            unwritten: Vec::new(),
            has_unsynced_end: false,
            live,
            next_sequence,
            bytes_max: UNACKNOWLEDGED_BYTES_MAX,
            told: BTreeSet::new(),
            needs_new_file: false,
            sync: File::sync_data,
            lock,
        };
        Ok((spool, recovered))
    }

    /// Keeps an event. If the disk refuses, the event stays in memory and is written later: see `flush`.
    pub(crate) fn append(&mut self, event: &v1::Event) {
        self.next_sequence = event.sequence + 1;
        let Some(event) = fitting(Cow::Borrowed(event)) else { return };
        let position = self.end();
        self.live.push_back((event.sequence, position));
        self.unwritten.extend(record(&event));
        self.has_unsynced_end |= is_end(&event);
        self.flush();
    }

    /// Tries to write what the disk refused before, and syncs it if the end of an attempt is in it; true if nothing waits.
    pub(crate) fn flush(&mut self) -> bool {
        if !self.write_out() {
            return false;
        }
        if self.has_unsynced_end {
            self.sync();
        }
        !self.has_unsynced_end
    }

    /// Syncs the file. After a failure the system counts as written what may not be, and the next sync of the same file would
    /// succeed: from then on only a new file is trusted, at this flush or at a later one.
    fn sync(&mut self) {
        if !self.needs_new_file {
            let Err(error) = (self.sync)(&self.file) else {
                self.has_unsynced_end = false;
                return;
            };
            self.needs_new_file = true;
            if self.is_news("sync", &error) {
                tracing::warn!(%error, "the spool cannot be synced to disk and is written to a new file");
            }
        }
        self.rewrite(self.start());
    }

    fn write_out(&mut self) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        // The next write overwrites what a failed one left beyond `written`.
        match self.file.write_all_at(&self.unwritten, self.written) {
            Ok(()) => {
                self.written += self.unwritten.len() as u64;
                self.unwritten.clear();
                let told = self.told.len();
                self.told.retain(|told| !told.starts_with("write"));
                if self.told.len() < told {
                    tracing::info!(folder = %self.folder.display(), "the spool can be written again");
                }
                true
            }
            Err(error) => {
                if self.is_news("write", &error) {
                    tracing::warn!(
                        %error, folder = %self.folder.display(), bytes = self.unwritten.len(),
                        "the spool cannot be written; results stay in memory until the coordinator has them: make room"
                    );
                }
                false
            }
        }
    }

    /// Forgets every event up to `through`.
    pub(crate) fn forget(&mut self, through: u64) {
        while self.live.front().is_some_and(|(sequence, _)| *sequence <= through) {
            self.live.pop_front();
        }
        self.drop_unwritten();
        let start = self.start();
        if self.unwritten.is_empty() && start >= COMPACT_BYTES && start >= self.written / 2 {
            return self.rewrite(start);
        }
        // Losing this write only means that events are sent again after a crash.
        let first = self.live.front().map_or(self.next_sequence, |(sequence, _)| *sequence);
        let note = header(first, self.next_sequence);
        if let Err(error) = self.file.write_all_at(&note, 0)
            && self.is_news("header", &error)
        {
            tracing::warn!(%error, "the spool's header cannot be written");
        }
    }

    /// Drops what was acknowledged before it could be written: otherwise memory would grow while the disk stays full.
    fn drop_unwritten(&mut self) {
        let start = self.start();
        let dropped = start.saturating_sub(self.written);
        self.unwritten.drain(..usize::try_from(dropped).unwrap_or(usize::MAX));
        self.live.iter_mut().for_each(|(_, position)| *position -= dropped);
    }

    /// Sets another limit than [`UNACKNOWLEDGED_BYTES_MAX`].
    pub(crate) fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// True while no more events may be made: the coordinator has been away for long, or the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Bytes of the unacknowledged events.
    pub(crate) fn bytes(&self) -> u64 {
        self.end() - self.start()
    }

    /// Whether this was not logged yet.
    fn is_news(&mut self, what: &str, error: &io::Error) -> bool {
        self.told.insert(format!("{what}: {error}"))
    }

    /// Where the unacknowledged events begin.
    fn start(&self) -> u64 {
        self.live.front().map_or(self.end(), |(_, position)| *position)
    }

    fn end(&self) -> u64 {
        self.written + self.unwritten.len() as u64
    }

    /// Writes a new file with only what follows `start`, and syncs it. If it cannot, the old one stays.
    fn rewrite(&mut self, start: u64) {
        let first = self.live.front().map_or(self.next_sequence, |(sequence, _)| *sequence);
        let mut content = header(first, self.next_sequence);
        let kept = usize::try_from(self.written - start).unwrap_or(usize::MAX);
        content.resize(HEADER_BYTES + kept, 0);
        let result = self
            .file
            .read_exact_at(&mut content[HEADER_BYTES..], start)
            .and_then(|()| replace(&self.folder, &content));
        match result {
            Ok((file, named)) => {
                self.file = file;
                self.needs_new_file = named.is_err();
                self.has_unsynced_end &= self.needs_new_file;
                if let Err(error) = named
                    && self.is_news("name", &error)
                {
                    tracing::warn!(%error, "the name of the spool's new file cannot be synced to disk");
                }
                self.written = content.len() as u64;
                let moved = start - HEADER_BYTES as u64;
                self.live.iter_mut().for_each(|(_, position)| *position -= moved);
            }
            Err(error) => {
                if self.is_news("rewrite", &error) {
                    tracing::warn!(%error, "the spool cannot be rewritten; the old file stays");
                }
            }
        }
    }
}

/// The spool's file within its folder.
const FILE_NAME: &str = "events";

/// Replaces the spool's file by `content`, completely or not at all, and opens it. The second result says whether its new
/// name is synced: if it is not, a power cut may bring the old file back.
fn replace(folder: &Path, content: &[u8]) -> io::Result<(File, io::Result<()>)> {
    let new = folder.join("events.new");
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(FILE_NAME))?;
    let named = File::open(folder).and_then(|folder| folder.sync_all());
    Ok((file, named))
}

fn recover(path: &Path) -> Result<Recovered, SpoolError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Recovered { next_sequence: 1, events: Vec::new() });
        }
        Err(source) => return Err(SpoolError::Io { path: path.to_owned(), source }),
    };
    let read = read_all(&content).ok_or_else(|| SpoolError::Foreign(path.to_owned()))?;
    if read.torn_bytes > 0 {
        tracing::warn!(path = %path.display(), bytes = read.torn_bytes, "the spool's end was torn and is cut");
    }
    let last = read.events.last().map_or(0, |event| event.sequence);
    let next_sequence = read.next_sequence.max(last + 1);
    let ended: BTreeSet<_> = read.events.iter().filter(|event| is_end(event)).map(attempt_of).collect();
    let is_kept =
        |event: &v1::Event| event.sequence >= read.first_unacknowledged && ended.contains(&attempt_of(event));
    let events = read.events.into_iter().filter(is_kept);
    let events = events.filter_map(|event| fitting(Cow::Owned(event)).map(Cow::into_owned)).collect();
    Ok(Recovered { next_sequence, events })
}

/// The event in a size that a coordinator accepts: a larger one would be refused each time, and hold up what is behind
/// it indefinitely. None if it stays too large without its texts, which the end of an attempt never does.
fn fitting(event: Cow<'_, v1::Event>) -> Option<Cow<'_, v1::Event>> {
    let (sequence, bytes) = (event.sequence, event.encoded_len());
    if bytes <= EVENT_BYTES_MAX {
        return Some(event);
    }
    let cut = wire::decode_event(event.into_owned()).ok().map(|event| {
        let kind = event.kind.cut_to_size();
        wire::encode_event(Event { kind, ..event })
    });
    let fits = cut.filter(|event| event.encoded_len() <= EVENT_BYTES_MAX);
    let becomes = if fits.is_some() { "its texts are cut" } else { "it is dropped" };
    tracing::warn!(sequence, "an event of {bytes} bytes is more than a coordinator takes: {becomes}");
    fits.map(Cow::Owned)
}

fn is_end(event: &v1::Event) -> bool {
    matches!(event.event, Some(WireKind::Ended(_)))
}

fn attempt_of(event: &v1::Event) -> Option<(u64, u64, u32)> {
    event.attempt.as_ref().map(|attempt| (attempt.sweep_id, attempt.job, attempt.attempt))
}

#[cfg(test)]
mod tests;
