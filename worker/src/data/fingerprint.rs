//! What a data set is, whatever holds it: a hash over classes, names and bytes. The same pictures in a folder, a
//! flat folder or a .zip have the same. A memo beside the packs saves reading everything at each start.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{DataError, source::Source};

/// What was found the last time, and how to tell that nothing has changed since.
#[derive(Serialize, Deserialize)]
struct Memo {
    stamp: String,
    content_hash: String,
}

/// The content hash of a source, from the memo where nothing has changed. `progress` is told the share read.
pub(super) fn content_hash(
    source: &Source,
    memos: &Path,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<String, DataError> {
    let stamp = stamp(source)?;
    let place = memo_place(source, memos);
    if let Ok(text) = fs::read(&place)
        && let Ok(memo) = serde_json::from_slice::<Memo>(&text)
        && memo.stamp == stamp
    {
        return Ok(memo.content_hash);
    }
    let content_hash = read_all(source, progress)?;
    // Pictures that changed while they were read are told by the stamp of before. A memo that cannot be kept only
    // costs time at the next start.
    let memo = Memo { stamp, content_hash: content_hash.clone() };
    if let Ok(text) = serde_json::to_vec(&memo) {
        let fresh = place.with_extension(format!("{}.tmp", std::process::id()));
        if fs::write(&fresh, text).is_err() || fs::rename(&fresh, &place).is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }
    Ok(content_hash)
}

fn memo_place(source: &Source, memos: &Path) -> PathBuf {
    let path = fs::canonicalize(&source.path).unwrap_or_else(|_| source.path.clone());
    memos.join(format!("{}.json", blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()))
}

/// Names, sizes and times of everything.
fn stamp(source: &Source) -> Result<String, DataError> {
    let mut hasher = blake3::Hasher::new();
    for picture in &source.pictures {
        hasher.update(picture.path.as_bytes()).update(&[0]);
    }
    for (bytes, changed) in source.stamps()? {
        hasher.update(&bytes.to_le_bytes()).update(&changed.to_le_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn read_all(source: &Source, progress: &(dyn Fn(f64) + Sync)) -> Result<String, DataError> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let count = source.pictures.len();
    let hash = |reader: &mut super::source::Reader<'_>, picture| {
        let bytes = reader.read(picture)?;
        let read = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if read.is_multiple_of(256) {
            progress(read as f64 / count as f64);
        }
        Ok(blake3::hash(&bytes))
    };
    let hashes: Vec<blake3::Hash> =
        source.pictures.par_iter().map_init(|| source.reader(), hash).collect::<Result<_, DataError>>()?;
    let mut hasher = blake3::Hasher::new();
    for (picture, hash) in source.pictures.iter().zip(&hashes) {
        let class = &source.classes[usize::from(picture.class)];
        for part in [class.as_bytes(), picture.name.as_bytes(), hash.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
