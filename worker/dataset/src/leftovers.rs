//! What a killed packing leaves behind: files of hundreds of megabytes that no one would find. The next packing in the
//! same folder removes them if they are certainly dead: the folder may be a user's own, or one that several machines
//! share.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::Path,
    time::Duration,
};

/// Prefix of unfinished packs. Whoever writes one holds a lock on it, which the system releases when the process ends,
/// in any way.
const PREFIX: &str = ".sweep-packing-";
/// The prefix in older versions.
const OLD_PREFIX: &str = ".packing-";
/// Random letters and digits at the end of such a name, as made by `tempfile`.
const RANDOM_CHARACTERS: usize = 6;

/// After this time without a write, an unfinished pack is dead even if its lock shows nothing: on a share, locks may
/// only work among the processes of one machine.
const UNWRITTEN_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long writing a memo of a hundred bytes may take on the slowest disk.
const MEMO_WRITTEN_WITHIN: Duration = Duration::from_secs(3600);

/// Prefix of the unfinished packs of this machine since it was booted.
pub(super) fn prefix() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot: String = boot.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    format!("{PREFIX}{boot}-")
}

/// Removes the unfinished packs in `folder` that no one writes any more. What cannot be removed stays.
pub(super) fn remove(folder: &Path) {
    let Ok(entries) = fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
    else {
        return;
    };
    let own = prefix();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_unfinished(name)) else { continue };
        let path = entry.path();
        let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
        if is_dead(&path, &file, name.starts_with(&own)) && fs::remove_file(&path).is_ok() {
            tracing::info!("removed {}, which a killed packing left behind", path.display());
        }
    }
}

/// Whether the name is that of an unfinished pack, and not of someone else's file.
pub(super) fn is_unfinished(name: &str) -> bool {
    let is_random =
        |text: &str| text.len() == RANDOM_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let of_boot = |rest: &str| {
        let parts = rest.split_once('-');
        parts.is_some_and(|(boot, random)| {
            boot.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_random(random)
        })
    };
    name.strip_prefix(PREFIX).is_some_and(of_boot) || name.strip_prefix(OLD_PREFIX).is_some_and(is_random)
}

/// Whether no one writes an unfinished pack any more. `own` if this machine made it since it was booted.
fn is_dead(path: &Path, file: &File, own: bool) -> bool {
    // It is still empty: its process may be about to lock it.
    let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
    let may_be_dead = if own { !is_empty } else { is_older_than(path, UNWRITTEN_FOR) };
    may_be_dead && file.try_lock().is_ok()
}

/// Removes memos whose writing was interrupted.
pub(super) fn remove_memos(memos: &Path) {
    let Ok(entries) = fs::read_dir(memos) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension() == Some(OsStr::new("tmp")) && is_older_than(&path, MEMO_WRITTEN_WITHIN) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether nothing was written to a file for this long.
fn is_older_than(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|elapsed| elapsed > age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_packs_that_are_certainly_dead_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let own = prefix();
        let write = |name: &str, bytes: &[u8], old: bool| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            if old {
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            file
        };
        // Of this machine: dead if it is not locked. Of another machine or an older version: only if it is also old.
        let cases = [
            (format!("{own}dead01"), &b"x"[..], false, false),
            (format!("{own}alive1"), b"x", true, true),
            (format!("{own}fresh1"), b"", false, true),
            (".sweep-packing-00000000-young1".to_owned(), b"x", false, true),
            (".sweep-packing-00000000-older1".to_owned(), b"x", true, false),
            (".packing-young2".to_owned(), b"x", false, true),
            (".packing-older2".to_owned(), b"x", true, false),
            (".packing-list.txt".to_owned(), b"x", true, true),
            (".sweep-packing-notes".to_owned(), b"x", true, true),
        ];
        let mut locked = Vec::new();
        for (name, bytes, old, _) in &cases {
            let file = write(name, bytes, *old);
            if name.ends_with("alive1") {
                file.lock().unwrap();
                locked.push(file);
            }
        }
        remove(folder.path());
        for (name, _, _, stays) in &cases {
            assert_eq!(folder.path().join(name).exists(), *stays, "{name}");
        }
    }
}
