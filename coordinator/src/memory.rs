//! How the process manages its memory.

/// Arenas of glibc's allocator.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: libc::c_int = 1;

/// Has all threads allocate from the same memory; call it before other threads run. By default glibc gives each thread an
/// arena of its own. Rows and messages are made by one thread and dropped by another, so those arenas fill with holes: a
/// sixth of the coordinator's memory under load, and no faster.
pub(crate) fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a parameter of the allocator; no other thread allocates yet. Refusal leaves the default.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
    }
}
