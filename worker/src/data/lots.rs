//! Pictures decoded by many threads and handed over in their order, a lot of them at a time. What is in memory depends
//! on the number of threads, not on the number of pictures.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    DataError,
    decode::{DecodeError, Decoder},
    source::{Picture, Source},
};

/// Pixels of a lot, in bytes, unless one image has more: so many that handing them over costs nothing.
const LOT_BYTES: usize = 1 << 20;
/// Lots for each thread: the one that it fills, and one that waits for those before it or for the disk.
const LOTS_PER_THREAD: usize = 2;

/// What to decode, and how.
#[derive(Clone, Copy)]
pub(super) struct Decoding<'a> {
    pub(super) source: &'a Source,
    /// Side of the images, in pixels.
    pub(super) image_size: u32,
    /// Whether the pictures' bytes are hashed.
    pub(super) hashes: bool,
    /// Threads, at least 1.
    pub(super) threads: usize,
}

/// A decoded picture.
pub(super) struct Decoded<'a> {
    pub(super) picture: &'a Picture,
    /// Of the picture's bytes, if asked for.
    pub(super) hash: Option<blake3::Hash>,
    /// S·S·3 bytes.
    pub(super) image: Result<&'a [u8], &'a DecodeError>,
}

impl Decoding<'_> {
    /// Decodes all pictures and gives them to `take`, in the source's order.
    ///
    /// # Errors
    /// What `take` fails with; a picture that cannot be read; no threads.
    pub(super) fn run(
        self,
        mut take: impl FnMut(Decoded<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let image_bytes = (self.image_size * self.image_size * 3) as usize;
        let lots: Vec<_> = self.source.pictures.chunks((LOT_BYTES / image_bytes).max(1)).collect();
        let (empty, empties) = channel();
        for _ in 0..self.threads * LOTS_PER_THREAD {
            // The receiver is right here.
            let _ = empty.send(Lot::default());
        }
        let queue = Mutex::new(Queue { next: 0, empties });
        let (full, filled) = channel();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                let (queue, lots, full) = (&queue, &lots, full.clone());
                let fill = move || self.fill_lots(queue, lots, &full);
                let started = thread::Builder::new().name("decoder".into()).spawn_scoped(scope, fill);
                started.map_err(|source| DataError::Read { path: self.source.path.clone(), source })?;
            }
            drop(full);
            // Both ends go when this returns, however it does, and the threads with them.
            let (empty, filled) = (empty, filled);
            let mut early = BTreeMap::new();
            for (number, pictures) in lots.iter().enumerate() {
                let lot = loop {
                    match early.remove(&number) {
                        Some(lot) => break lot,
                        None => match filled.recv() {
                            Ok((number, lot)) => early.insert(number, lot),
                            // A thread panicked, which the scope passes on.
                            Err(_) => return Ok(()),
                        },
                    };
                };
                let lot: Lot = lot?;
                let images = lot.pixels.chunks_exact(image_bytes);
                for ((picture, outcome), image) in pictures.iter().zip(&lot.outcomes).zip(images) {
                    let image = outcome.decoded.as_ref().map(|()| image);
                    take(Decoded { picture, hash: outcome.hash, image })?;
                }
                // Nobody wants it when all lots have been handed out.
                let _ = empty.send(lot);
            }
            Ok(())
        })
    }

    /// One thread: fills lot after lot, until there is none or nobody waits for it.
    fn fill_lots(
        self,
        queue: &Mutex<Queue>,
        lots: &[&[Picture]],
        full: &Sender<(usize, Result<Lot, DataError>)>,
    ) {
        let mut reader = self.source.reader();
        let mut decoder = Decoder::new(self.image_size);
        let (mut bytes, image_bytes) = (Vec::new(), (self.image_size * self.image_size * 3) as usize);
        while let Some((number, mut lot)) = next(queue, lots.len()) {
            lot.pixels.resize(lots[number].len() * image_bytes, 0);
            lot.outcomes.clear();
            let mut fill = |(picture, image): (_, &mut [u8])| {
                reader.read(picture, &mut bytes)?;
                let hash = self.hashes.then(|| blake3::hash(&bytes));
                Ok(Outcome { hash, decoded: decoder.decode(&bytes, image) })
            };
            let images = lots[number].iter().zip(lot.pixels.chunks_exact_mut(image_bytes));
            let outcomes: Result<Vec<_>, DataError> = images.map(&mut fill).collect();
            let lot = outcomes.map(|outcomes| Lot { outcomes, ..lot });
            if full.send((number, lot)).is_err() {
                return;
            }
        }
    }
}

#[derive(Default)]
struct Lot {
    pixels: Vec<u8>,
    outcomes: Vec<Outcome>,
}

struct Outcome {
    hash: Option<blake3::Hash>,
    decoded: Result<(), DecodeError>,
}

struct Queue {
    /// The lot to be filled next.
    next: usize,
    empties: Receiver<Lot>,
}

/// The next lot's number, and memory for it. Numbers go to those who have memory, so that the first lot that is
/// missing is always being filled.
fn next(queue: &Mutex<Queue>, lots: usize) -> Option<(usize, Lot)> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let number = queue.next;
    if number == lots {
        return None;
    }
    let lot = queue.empties.recv().ok()?;
    queue.next += 1;
    Some((number, lot))
}
