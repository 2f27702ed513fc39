//! Whether a disk has room.

use std::{io, path::Path};

/// Space that is left free on a disk, in bytes: the spool is often on the same one.
const ROOM_LEFT_BYTES: u64 = 64 << 20;

/// Fails like a full disk if `bytes` more would fill it.
pub(super) fn check(folder: &Path, bytes: u64) -> io::Result<()> {
    let found = rustix::fs::statvfs(folder)?;
    if found.f_bavail.saturating_mul(found.f_frsize) < bytes.saturating_add(ROOM_LEFT_BYTES) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}
