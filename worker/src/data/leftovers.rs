//! What a packing that was killed leaves behind: files of hundreds of megabytes that nobody would ever find. The next
//! packing in the same folder removes them.

use std::{ffi::OsStr, fs, path::Path};

/// How names of unfinished packs begin. Whoever writes one holds a lock on it, which the system lets go when the process
/// ends, however it ends.
pub(super) const PREFIX: &str = ".packing-";

/// Removes the unfinished packs in `folder` that nobody writes any more. What cannot be removed stays.
pub(super) fn remove(folder: &Path) {
    let Ok(entries) = fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
    else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
        // Made a moment ago by someone who is about to lock it: nothing is in it yet.
        let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if !is_empty && file.try_lock().is_ok() && fs::remove_file(&path).is_ok() {
            tracing::info!("removed {}, which a packing that was ended left behind", path.display());
        }
    }
}

/// Removes memos that were being written. The lock of the cache is held, under which they are written.
pub(super) fn remove_memos(memos: &Path) {
    let Ok(entries) = fs::read_dir(memos) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension() == Some(OsStr::new("tmp")) {
            let _ = fs::remove_file(path);
        }
    }
}
