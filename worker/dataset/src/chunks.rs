//! Pictures decoded by many threads and handed over in order, a chunk at a time.

use std::io;

use super::{
    DataError,
    decode::{DecodeError, Decoder},
    fingerprint::picture_hash,
    in_order::{Work, in_order},
    source::{Picture, Reader, Source},
};

/// Bytes of pixels per chunk, unless one image has more: enough that handing them over costs nothing.
const CHUNK_BYTES: usize = 1 << 20;
/// Most pictures per chunk: small images may come from large pictures, and small data sets must occupy all threads.
const CHUNK_PICTURES_MAX: usize = 32;

/// What to decode, and how.
#[derive(Clone, Copy)]
pub(super) struct Decoding<'a> {
    pub(super) source: &'a Source,
    /// Side of the images, in pixels.
    pub(super) image_size: u32,
    /// Threads, at least 1.
    pub(super) threads: usize,
}

pub(super) struct Decoded<'a> {
    pub(super) picture: &'a Picture,
    /// Hash of the picture's bytes.
    pub(super) hash: &'a blake3::Hash,
    /// S·S·3 bytes.
    pub(super) image: Result<&'a [u8], &'a DecodeError>,
}

impl Decoding<'_> {
    /// Decodes all pictures and gives them to `take`, in the source's order.
    ///
    /// # Errors
    /// An error of `take`; a picture that cannot be read; no threads.
    pub(super) fn run(
        self,
        mut take: impl FnMut(Decoded<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let image_bytes = (self.image_size * self.image_size * 3) as usize;
        let pictures = (CHUNK_BYTES / image_bytes).clamp(1, CHUNK_PICTURES_MAX);
        let chunks: Vec<&[Picture]> = self.source.pictures.chunks(pictures).collect();
        let work = Chunks { decoding: self, image_bytes, chunks: &chunks };
        let taken = in_order(&work, chunks.len(), self.threads, |number, chunk| {
            let images = chunk.pixels.chunks_exact(image_bytes);
            for ((picture, outcome), image) in chunks[number].iter().zip(&chunk.outcomes).zip(images) {
                let image = outcome.decoded.as_ref().map(|()| image);
                take(Decoded { picture, hash: &outcome.hash, image })?;
            }
            Ok(())
        });
        taken.map_err(|failure| match failure {
            Failure::Data(error) => error,
            Failure::Threads(error) => DataError::Read { path: self.source.path.clone(), source: error },
        })
    }
}

struct Chunks<'a> {
    decoding: Decoding<'a>,
    image_bytes: usize,
    chunks: &'a [&'a [Picture]],
}

#[derive(Default)]
struct Chunk {
    pixels: Vec<u8>,
    outcomes: Vec<Outcome>,
}

struct Outcome {
    hash: blake3::Hash,
    decoded: Result<(), DecodeError>,
}

enum Failure {
    Data(DataError),
    Threads(io::Error),
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Threads(error)
    }
}

/// What a thread keeps from picture to picture.
struct Tools<'a> {
    reader: Reader<'a>,
    decoder: Decoder,
    bytes: Vec<u8>,
}

impl<'a> Work for Chunks<'a> {
    type Chunk = Chunk;
    type State = Tools<'a>;
    type Error = Failure;

    fn begin(&self) -> Tools<'a> {
        let Decoding { source, image_size, .. } = self.decoding;
        Tools { reader: source.reader(), decoder: Decoder::new(image_size), bytes: Vec::new() }
    }

    fn fill(&self, tools: &mut Tools<'a>, number: usize, chunk: &mut Chunk) -> Result<(), Failure> {
        let Tools { reader, decoder, bytes } = tools;
        let pictures = self.chunks[number];
        chunk.pixels.resize(pictures.len() * self.image_bytes, 0);
        chunk.outcomes.clear();
        for (picture, image) in pictures.iter().zip(chunk.pixels.chunks_exact_mut(self.image_bytes)) {
            let read = reader.read(picture, bytes)?;
            let hash = picture_hash(&read, bytes);
            chunk.outcomes.push(Outcome { hash, decoded: read.and_then(|()| decoder.decode(bytes, image)) });
        }
        Ok(())
    }
}
