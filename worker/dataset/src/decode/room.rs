//! Memory for large pictures: a few kilobytes may unpack to gigabytes, and there may be as many decoders as cores.

use std::sync::{Condvar, Mutex, PoisonError};

/// Memory for large pictures at a time, in bytes, for all decoders of the process together: enough for the largest
/// picture, or dozens of a camera's.
const ROOM_BYTES: u64 = 4 << 30;
/// What a picture may take without asking, in bytes: enough for nearly all of them, and little even for one per core.
const SMALL_BYTES: u64 = 32 << 20;

static ROOMS: Rooms = Rooms::new(ROOM_BYTES);

/// What all decoders share.
struct Rooms {
    bytes: u64,
    taken: Mutex<u64>,
    freed: Condvar,
}

impl Rooms {
    const fn new(bytes: u64) -> Self {
        Self { bytes, taken: Mutex::new(0), freed: Condvar::new() }
    }

    /// Whether this much may be taken; a single picture always may.
    fn fits(&self, taken: u64, bytes: u64) -> bool {
        taken == 0 || taken + bytes <= self.bytes
    }
}

/// One decoder's share, returned when this is dropped.
pub(super) struct Room<'a> {
    rooms: &'a Rooms,
    bytes: u64,
}

impl Room<'static> {
    /// A share of the process's room; empty at first.
    pub(super) fn new() -> Self {
        Self { rooms: &ROOMS, bytes: 0 }
    }
}

impl Room<'_> {
    /// Waits until there is room for `bytes`, in place of what was taken before.
    pub(super) fn take(&mut self, bytes: u64) {
        self.give_back();
        if bytes <= SMALL_BYTES {
            return;
        }
        let taken = self.rooms.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut u64| !self.rooms.fits(*taken, bytes);
        *self.rooms.freed.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner) += bytes;
        self.bytes = bytes;
    }

    fn give_back(&mut self) {
        if self.bytes > 0 {
            *self.rooms.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
            self.bytes = 0;
            self.rooms.freed.notify_all();
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn large_pictures_wait_for_each_other_and_small_ones_for_none() {
        let rooms = Rooms::new(1000 * MIB);
        let taken = || *rooms.taken.lock().unwrap();
        let room = || Room { rooms: &rooms, bytes: 0 };
        // More than there is, but no one else has any.
        let mut first = room();
        first.take(1200 * MIB);
        assert_eq!(taken(), 1200 * MIB);
        first.take(600 * MIB);
        assert!(rooms.fits(taken(), 400 * MIB) && !rooms.fits(taken(), 401 * MIB));
        room().take(SMALL_BYTES);
        thread::scope(|scope| {
            let (done, ended) = channel();
            for _ in 0..3 {
                let (done, mut own) = (done.clone(), room());
                scope.spawn(move || {
                    own.take(500 * MIB);
                    done.send(*own.rooms.taken.lock().unwrap()).unwrap();
                });
            }
            drop((done, first));
            let most = ended.iter().max();
            assert!(most <= Some(1000 * MIB), "{most:?}");
        });
        assert_eq!(taken(), 0);
    }
}
