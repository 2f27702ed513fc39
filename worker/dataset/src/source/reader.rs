//! Reading single pictures, from a folder or an archive.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{
    super::{DataError, DecodeError},
    Picture,
    archive::Archive,
    below,
};

/// Largest file that is read as a picture: five times the largest camera JPEGs.
pub const PICTURE_BYTES_MAX: u64 = 256 << 20;
/// Memory that a reader keeps from one picture to the next, in bytes: enough for nearly all pictures.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Reads pictures of a source.
pub(crate) struct Reader<'a> {
    pub(super) places: Vec<(&'a Path, Option<Archive>)>,
}

impl Reader<'_> {
    /// Reads one picture into `bytes`, replacing its content. An error of the picture alone is the inner one: it is too
    /// large, or corrupt within its archive.
    ///
    /// # Errors
    /// What the system cannot read.
    pub(crate) fn read(
        &mut self,
        picture: &Picture,
        bytes: &mut Vec<u8>,
    ) -> Result<Result<(), DecodeError>, DataError> {
        let (place, archive) = &mut self.places[usize::from(picture.place)];
        let Some(archive) = archive else {
            let path = below(place, &picture.path);
            let read = File::open(&path).and_then(|file| read_bounded(file, bytes));
            return read.map_err(|source| DataError::Read { path, source });
        };
        // Everything is in memory, so any failure is the picture's own.
        let broken = |error: &dyn std::fmt::Display| Err(DecodeError::Broken(error.to_string()));
        Ok(match archive.by_index(picture.index) {
            Ok(entry) if entry.size() > PICTURE_BYTES_MAX => Err(too_large()),
            Ok(entry) => read_bounded(entry, bytes).unwrap_or_else(|error| broken(&error)),
            Err(error) => broken(&error),
        })
    }
}

/// Reads at most [`PICTURE_BYTES_MAX`], whatever size a file or an archive claims.
fn read_bounded(reader: impl Read, bytes: &mut Vec<u8>) -> io::Result<Result<(), DecodeError>> {
    bytes.clear();
    bytes.shrink_to(KEPT_BYTES_MAX);
    reader.take(PICTURE_BYTES_MAX + 1).read_to_end(bytes)?;
    Ok(if bytes.len() as u64 > PICTURE_BYTES_MAX { Err(too_large()) } else { Ok(()) })
}

fn too_large() -> DecodeError {
    DecodeError::Broken(format!("it has more than {} MiB", PICTURE_BYTES_MAX >> 20))
}
