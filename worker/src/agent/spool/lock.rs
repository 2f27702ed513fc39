//! The lock of a spool's folder: one process has it at a time, and its file says which.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::Path,
};

use super::SpoolError;

/// Longest text about who has the lock, in bytes: a number and the name of a host.
const HOLDER_BYTES_MAX: u64 = 200;

/// Takes the lock of a spool's folder, and writes into it who has it.
pub(super) fn take(folder: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Io { path: folder.to_owned(), source };
    let path = folder.join("lock");
    let mut lock =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut said = String::new();
            // What another program has written there is not shown.
            let read = lock.take(HOLDER_BYTES_MAX).read_to_string(&mut said);
            let is_plain =
                read.is_ok() && said.starts_with("process ") && !said.chars().any(char::is_control);
            let holder = if is_plain { format!(", {said}") } else { String::new() };
            return Err(SpoolError::Taken { path: folder.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = format!("process {} on {host}", std::process::id());
    // A disk that is full keeps no one from the spool.
    let _ = lock.set_len(0).and_then(|()| lock.write_all(holder.as_bytes()));
    Ok(lock)
}
