//! Pictures into a pack: decoded in parallel, written in order, a chunk in memory at a time.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::Path,
};

use rayon::prelude::*;

use super::{
    DataError,
    decode::{DecodeError, decode_resized},
    packed::{PackFacts, PackWriter, SKIPPED_NAMED_MAX},
    source::{Reader, Source},
};

/// Pictures decoded before they are written: enough to keep many threads busy, 25 MB at 128 pixels.
const CHUNK_PICTURES: usize = 512;

/// What came of packing.
pub(super) enum Packed {
    /// Every picture is in.
    Whole,
    /// Some were left out.
    WithoutCorrupt,
}

/// Packs `source` into `target`, which appears whole or not at all; `progress` is told the share that is done.
pub(super) fn pack(
    source: &Source,
    content_hash: &str,
    image_size: u32,
    skip_corrupt: bool,
    target: &Path,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<(Packed, tempfile::NamedTempFile), DataError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| DataError::writing(target, source))?;
    // Removed when dropped, so that nothing is left of a pack that fails.
    let file = tempfile::Builder::new()
        .prefix(".packing-")
        .tempfile_in(folder)
        .map_err(|source| DataError::writing(target, source))?;
    let out = file.reopen().map_err(|source| DataError::writing(target, source))?;
    let (writer, bad) = write_images(source, image_size, out, target, progress)?;
    if !bad.is_empty() && !skip_corrupt {
        return Err(DataError::corrupt(&source.path, &bad));
    }
    if writer.len() == 0 {
        return Err(DataError::NoImages { path: source.path.clone() });
    }
    let facts = PackFacts {
        classes: source.classes.clone(),
        content_hash: content_hash.to_owned(),
        image_size,
        skipped: bad.iter().take(SKIPPED_NAMED_MAX).map(|(path, _)| path.clone()).collect(),
        skipped_count: bad.len() as u64,
    };
    let written =
        writer.finish(&facts).and_then(|out| out.into_inner().map_err(std::io::IntoInnerError::into_error));
    written.and_then(|out| out.sync_all()).map_err(|source| DataError::writing(target, source))?;
    let packed = if bad.is_empty() { Packed::Whole } else { Packed::WithoutCorrupt };
    Ok((packed, file))
}

type Bad = Vec<(String, String)>;

fn write_images(
    source: &Source,
    image_size: u32,
    out: File,
    target: &Path,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<(PackWriter<BufWriter<File>>, Bad), DataError> {
    let write = |source| DataError::writing(target, source);
    let mut writer = PackWriter::new(BufWriter::new(out), image_size).map_err(write)?;
    let mut bad = Vec::new();
    let decode = |reader: &mut Reader<'_>, picture| -> Result<Result<Vec<u8>, DecodeError>, DataError> {
        Ok(decode_resized(&reader.read(picture)?, image_size))
    };
    for (number, chunk) in source.pictures.chunks(CHUNK_PICTURES).enumerate() {
        let images: Vec<_> =
            chunk.par_iter().map_init(|| source.reader(), decode).collect::<Result<_, _>>()?;
        for (picture, image) in chunk.iter().zip(images) {
            match image {
                Ok(image) => writer.push(&image, picture.class).map_err(write)?,
                Err(error) => bad.push((picture.path.clone(), error.to_string())),
            }
        }
        progress((number * CHUNK_PICTURES + chunk.len()) as f64 / source.pictures.len() as f64);
    }
    Ok((writer, bad))
}
