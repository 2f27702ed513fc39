//! Writes pictures into a pack, which appears complete or not at all.

use std::{
    fs::{self, Permissions},
    io::BufWriter,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::{
    DataError,
    chunks::{Decoded, Decoding},
    fingerprint::ContentHasher,
    leftovers,
    packed::{PackFacts, PackWriter, SKIPPED_NAMED_MAX},
    progress::{Listener, Progress, Step},
    source::Source,
    synced_file::SyncedFile,
};

/// What to pack, and how.
pub(super) struct Packing<'a> {
    pub(super) source: &'a Source,
    /// The source's hash, if known; other pictures are refused.
    pub(super) content_hash: Option<String>,
    /// Side of the images, in pixels.
    pub(super) image_size: u32,
    /// Leave out pictures that cannot be decoded, instead of refusing the source.
    pub(super) skip_corrupt: bool,
    /// Threads that decode, at least 1.
    pub(super) threads: usize,
}

/// A pack that is on disk; dropping it removes it, unless it was given its name.
pub(super) struct Packed {
    pub(super) file: tempfile::NamedTempFile,
    pub(super) content_hash: String,
    /// Whether no picture was left out.
    pub(super) whole: bool,
}

impl Packing<'_> {
    /// Packs into a temporary file next to `target`; progress goes to `listener`.
    pub(super) fn run(self, target: &Path, listener: Listener<'_>) -> Result<Packed, DataError> {
        let write = |source| DataError::writing(target, source);
        let folder = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(write)?;
        // Readable like any other file of the user.
        let mode = Permissions::from_mode(0o666);
        leftovers::remove(folder);
        let file =
            tempfile::Builder::new().prefix(&leftovers::prefix()).permissions(mode).tempfile_in(folder);
        let file = file.map_err(write)?;
        // Until it has its name or this process ends, no one takes it for a leftover.
        let _ = file.as_file().lock();
        let out = file.reopen().and_then(SyncedFile::new).map_err(write)?;
        let mut writer = PackWriter::new(BufWriter::new(out), self.image_size).map_err(write)?;

        let Self { source, image_size, threads, .. } = self;
        let mut hasher = ContentHasher::default();
        let mut bad: Vec<(String, String)> = Vec::new();
        let (mut done, mut validation) = (0, 0);
        let mut train_by_class = vec![0_u64; source.classes.len()];
        Decoding { source, image_size, threads }.run(|Decoded { picture, hash, image }| {
            hasher.add(source, done, hash);
            match image {
                Ok(image) => {
                    writer.push(image, picture.class).map_err(write)?;
                    let is_training = done < source.train;
                    validation += usize::from(!is_training);
                    train_by_class[usize::from(picture.class)] += u64::from(is_training);
                }
                Err(error) => bad.push((picture.shown(), error.to_string())),
            }
            done += 1;
            let share = done as f64 / source.pictures.len() as f64;
            listener(Progress { step: Step::Packing, share, done: done as u64 });
            Ok(())
        })?;
        let content_hash = hasher.finish();
        if self.content_hash.is_some_and(|known| known != content_hash) {
            return Err(DataError::Changed { path: source.path.clone() });
        }
        if !bad.is_empty() && !self.skip_corrupt {
            return Err(DataError::corrupt(&source.path, &bad));
        }
        if writer.len() == validation {
            let found = format!(" that can be decoded, of {}", source.train);
            return Err(DataError::NoImages { path: source.path.clone(), found });
        }
        if let Some(class) = train_by_class.iter().position(|count| *count == 0) {
            let (path, class) = (source.path.clone(), source.classes[class].shown.clone());
            return Err(DataError::EmptyClass { path, class, found: " that can be decoded".to_owned() });
        }
        if source.validation.is_some() && validation == 0 {
            let reason = "none of its pictures can be decoded".to_owned();
            return Err(DataError::Validation { path: source.path.clone(), reason });
        }
        let facts = PackFacts {
            classes: source.classes.iter().map(|class| class.shown.clone()).collect(),
            content_hash: content_hash.clone(),
            image_size,
            skipped: bad.iter().take(SKIPPED_NAMED_MAX).map(|(path, _)| path.clone()).collect(),
            skipped_count: bad.len() as u64,
            validation_count: validation,
            validation: source.validation.clone(),
            left_out: source.left_out.list(),
        };
        let out = writer.finish(&facts).and_then(|out| out.into_inner().map_err(|error| error.into_error()));
        out.and_then(SyncedFile::finish).map_err(write)?;
        Ok(Packed { file, content_hash, whole: bad.is_empty() })
    }
}
