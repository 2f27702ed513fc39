//! Whether a disk has room.

use std::{io, path::Path};

/// Room that is left on a disk, in bytes: what a worker has to tell often lies on the same one.
const ROOM_LEFT_BYTES: u64 = 64 << 20;

/// Fails as a full disk does where so many bytes would fill it.
pub(super) fn check(folder: &Path, bytes: u64) -> io::Result<()> {
    let found = rustix::fs::statvfs(folder)?;
    if found.f_bavail.saturating_mul(found.f_frsize) < bytes.saturating_add(ROOM_LEFT_BYTES) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}
