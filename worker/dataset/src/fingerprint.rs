//! The identity of a data set, however it is stored: a hash over classes, names and bytes. The same pictures in a
//! folder, a flat folder or a .zip have the same hash. A memo next to the packs saves reading everything at each start.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    DataError, DecodeError,
    progress::{Listener, Progress, Step},
    source::{Reader, Source},
};

/// No name is as long as its first eight bytes say.
const VALIDATION_MARK: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xffvalidation";

/// Hashed in place of the bytes of a picture that cannot be read.
const UNREADABLE_MARK: &[u8] = b"a picture that cannot be read";

/// The last content hash, and what shows that nothing has changed since.
#[derive(Serialize, Deserialize)]
struct Memo {
    stamp: String,
    content_hash: String,
}

/// Where the content hash of a source is remembered, and the state of the source before it was read.
pub(super) struct Fingerprint {
    place: PathBuf,
    /// Taken before reading, so that pictures that change meanwhile are noticed.
    stamp: String,
}

impl Fingerprint {
    /// Examines the source without reading its pictures. `memos` is the folder of memos.
    pub(super) fn of(source: &Source, memos: &Path, listener: Listener<'_>) -> Result<Self, DataError> {
        Ok(Self { place: place_of(source, memos), stamp: stamp(source, listener)? })
    }

    /// The remembered content hash, if nothing has changed since.
    pub(super) fn remembered(&self) -> Option<String> {
        let memo: Memo = serde_json::from_slice(&fs::read(&self.place).ok()?).ok()?;
        (memo.stamp == self.stamp).then_some(memo.content_hash)
    }

    /// Keeps the hash. A memo that cannot be kept only costs time at the next start.
    pub(super) fn remember(self, content_hash: &str) {
        keep(&self.place, &Memo { stamp: self.stamp, content_hash: content_hash.to_owned() });
    }
}

/// Remembers that a pack was used from `path`.
pub(super) fn know_pack(path: &Path, content_hash: &str, memos: &Path) {
    let place = memo_place(path, None, memos);
    if !place.exists() {
        keep(&place, &Memo { stamp: String::new(), content_hash: content_hash.to_owned() });
    }
}

fn keep(place: &Path, memo: &Memo) {
    let _ = place.parent().map(fs::create_dir_all);
    if let Ok(text) = serde_json::to_vec(memo) {
        let fresh = place.with_extension(format!("{}.tmp", std::process::id()));
        if fs::write(&fresh, text).is_err() || fs::rename(&fresh, place).is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }
}

/// The hash over classes, names and bytes, picture by picture in the source's order.
#[derive(Default)]
pub(super) struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Adds the next picture; `bytes` is the hash of its bytes. A separate validation set begins with a mark, so that
    /// it differs from the same pictures used for training; without one, nothing is added.
    pub(super) fn add(&mut self, source: &Source, number: usize, bytes: &blake3::Hash) {
        let picture = &source.pictures[number];
        if number == source.train {
            self.0.update(VALIDATION_MARK);
        }
        let class = &source.classes[usize::from(picture.class)];
        for part in [&class.name[..], &picture.name[..], &bytes.as_bytes()[..]] {
            self.0.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }

    /// In hexadecimal digits.
    pub(super) fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// The hash of a picture's bytes. One that cannot be read to its end has a fixed hash, as the number of bytes read is
/// random.
pub(super) fn picture_hash(read: &Result<(), DecodeError>, bytes: &[u8]) -> blake3::Hash {
    blake3::hash(if read.is_ok() { bytes } else { UNREADABLE_MARK })
}

/// The content hash of a source, from the memo if nothing has changed. The share read goes to `listener`.
pub(super) fn content_hash(
    source: &Source,
    memos: &Path,
    listener: Listener<'_>,
) -> Result<String, DataError> {
    let fingerprint = Fingerprint::of(source, memos, listener)?;
    if let Some(content_hash) = fingerprint.remembered() {
        return Ok(content_hash);
    }
    let content_hash = read_all(source, listener)?;
    fingerprint.remember(&content_hash);
    Ok(content_hash)
}

/// Forgets the content of the source, but not that it was known.
pub(super) fn forget(source: &Source, memos: &Path) {
    keep(&place_of(source, memos), &Memo { stamp: String::new(), content_hash: String::new() });
}

/// Whether the data set at `path`, with the validation set at `val_path`, was known before.
pub(super) fn is_known(path: &Path, val_path: Option<&Path>, memos: &Path) -> bool {
    memo_place(path, val_path, memos).exists()
}

fn place_of(source: &Source, memos: &Path) -> PathBuf {
    memo_place(&source.path, source.val_path(), memos)
}

fn memo_place(path: &Path, val_path: Option<&Path>, memos: &Path) -> PathBuf {
    memos.join(format!("{}.json", name_of(path, val_path)))
}

/// A name for a data set, from its paths as given: while a link's target is missing, it cannot be resolved.
pub(super) fn name_of(path: &Path, val_path: Option<&Path>) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut hasher = blake3::Hasher::new();
    hasher.update(absolute(path).as_os_str().as_encoded_bytes());
    if let Some(val_path) = val_path {
        // No path contains a zero byte.
        hasher.update(&[0]).update(absolute(val_path).as_os_str().as_encoded_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Names, sizes, times and inodes of everything.
fn stamp(source: &Source, listener: Listener<'_>) -> Result<String, DataError> {
    let mut hasher = blake3::Hasher::new();
    for (place, path) in source.paths() {
        hasher.update(&[place]).update(path).update(&[0]);
    }
    hasher.update(&source.train.to_le_bytes());
    for value in source.stamps(listener)?.into_iter().flatten() {
        hasher.update(&value.to_le_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn read_all(source: &Source, listener: Listener<'_>) -> Result<String, DataError> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let count = source.pictures.len();
    let hash = |(reader, bytes): &mut (Reader<'_>, Vec<u8>), picture| {
        let read_whole = reader.read(picture, bytes)?;
        let read = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if read.is_multiple_of(32) {
            listener(Progress { step: Step::Reading, share: read as f64 / count as f64, done: read as u64 });
        }
        Ok(picture_hash(&read_whole, bytes))
    };
    let hashes: Vec<blake3::Hash> = source
        .pictures
        .par_iter()
        .map_init(|| (source.reader(), Vec::new()), hash)
        .collect::<Result<_, DataError>>()?;
    let mut hasher = ContentHasher::default();
    for (number, hash) in hashes.iter().enumerate() {
        hasher.add(source, number, hash);
    }
    Ok(hasher.finish())
}
