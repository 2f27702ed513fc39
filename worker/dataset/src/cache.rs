//! The cache of packed data sets: each content and size is packed once per machine, and all processes share it.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    DataError, PackedDataset, PrepareOptions,
    cache_lock::CacheLock,
    cache_room::{hold, make_room},
    fingerprint, leftovers,
    pack::{Packed, Packing},
    packed::{HEADER_BYTES, TRANSFORM_VERSION},
    progress::{Listener, Progress, Step},
    source::Source,
};

/// Share of the progress that reading for the content hash takes; decoding takes the rest.
const READING_SHARE: f64 = 0.2;

/// Where packs are kept unless told otherwise: `sweep/datasets` in the user's cache.
pub fn default_cache_dir() -> PathBuf {
    let from = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("sweep")
        .join("datasets")
}

/// The packed form of a data set: from the cache if it is there, else made now. Progress goes to `listener`.
///
/// # Errors
/// A data set that cannot be used. One that was used from this path before and is missing now is [`DataError::Away`].
pub fn prepare(options: &PrepareOptions, listener: Listener<'_>) -> Result<PackedDataset, DataError> {
    prepare_now(options, listener).map_err(|error| {
        let (val_path, memos) = (options.val_path.as_deref(), options.cache_dir.join("sources"));
        let known = fingerprint::is_known(&options.path, val_path, &memos);
        if known { error.of_known_path() } else { error }
    })
}

fn prepare_now(options: &PrepareOptions, listener: Listener<'_>) -> Result<PackedDataset, DataError> {
    let is_pack = |path: &Path| path.extension().is_some_and(|extension| extension == "safetensors");
    if let Some(val_path) = options.val_path.as_ref().filter(|path| is_pack(&options.path) || is_pack(path)) {
        let reason = format!(
            "{} was given, but packs hold their own: make one with `sweep-worker dataset pack --val-path`",
            val_path.display()
        );
        return Err(DataError::Validation { path: options.path.clone(), reason });
    }
    if is_pack(&options.path) {
        let packed = PackedDataset::open(&options.path)?;
        if !is_intact(&packed, options, listener)? {
            let reason = "its images are not those that were packed: the file was corrupted".to_owned();
            return Err(DataError::Packed { path: options.path.clone(), reason });
        }
        if packed.image_size() != options.image_size {
            let (path, found) = (options.path.clone(), packed.image_size());
            return Err(DataError::ImageSize { path, found, wanted: options.image_size });
        }
        fingerprint::know_pack(&options.path, packed.content_hash(), &options.cache_dir.join("sources"));
        return Ok(packed);
    }
    prepare_pictures(options, listener)
}

fn prepare_pictures(options: &PrepareOptions, listener: Listener<'_>) -> Result<PackedDataset, DataError> {
    let source = Source::open(&options.path, options.val_path.as_deref(), listener)?;
    let (content_hash, memos) = hash_pictures(options, &source, listener)?;
    // Another process may prepare the same pictures from another path.
    let path = locks(options).join(format!("{content_hash}-{}", options.image_size));
    let lock = lock(&path, listener)?;
    let place = |mark: &str| {
        let size = options.image_size;
        options.cache_dir.join(format!("{content_hash}-{size}-v{TRANSFORM_VERSION}{mark}.safetensors"))
    };
    // Older versions made packs called `-skipped`, when fewer pictures could be decoded.
    let (whole, without_corrupt) = (place(""), place("-without-damaged"));
    let candidates = if options.skip_corrupt { vec![&whole, &without_corrupt] } else { vec![&whole] };
    let checking = |progress: Progress| {
        lock.tell(progress);
        listener(progress);
    };
    for candidate in candidates {
        let Some(packed) = open_cached(candidate, &content_hash) else { continue };
        if is_intact(&packed, options, &checking)? {
            return Ok(packed.of_source(&source));
        }
        tracing::warn!(path = %candidate.display(), "a pack of the cache is corrupt and is made again");
    }
    let packing = |progress: Progress| {
        let share = READING_SHARE + progress.share * (1.0 - READING_SHARE);
        let progress = Progress { share, ..progress };
        lock.tell(progress);
        listener(progress);
    };
    packing(Progress { step: Step::Packing, share: 0.0, done: 0 });
    make_room_for(options, &source)?;
    let packed = Packing {
        source: &source,
        content_hash: Some(content_hash.clone()),
        image_size: options.image_size,
        skip_corrupt: options.skip_corrupt,
        threads: options.threads.max(1),
    }
    .run(&whole, &packing);
    if matches!(packed, Err(DataError::Changed { .. })) {
        // The memo may be wrong: the next try reads everything.
        fingerprint::forget(&source, &memos);
    }
    let Packed { file, whole: is_whole, .. } = packed?;
    let target = if is_whole { whole } else { without_corrupt };
    keep(file, &target)?;
    let packed = PackedDataset::open(&target)?.holding(hold(&target));
    if let Some(bytes_max) = options.cache_bytes_max {
        // Others may have packed at the same time. What is in use stays.
        if let Err(in_use) = make_room(&options.cache_dir, 0, bytes_max) {
            tracing::warn!(
                "the packed data sets in {} take {in_use} bytes, more than --cache-max-bytes {bytes_max}, until jobs that use them have \
                 ended",
                options.cache_dir.display()
            );
        }
    }
    Ok(packed)
}

/// Removes packs that no one uses, so that another one of these pictures fits.
fn make_room_for(options: &PrepareOptions, source: &Source) -> Result<(), DataError> {
    let Some(bytes_max) = options.cache_bytes_max else { return Ok(()) };
    let side = u64::from(options.image_size);
    let needed = HEADER_BYTES as u64 + source.pictures.len() as u64 * (3 * side * side + 1);
    // Not even for all that is there.
    let too_large = needed > bytes_max;
    let made = if too_large { Err(0) } else { make_room(&options.cache_dir, needed, bytes_max) };
    made.map_err(|in_use| DataError::CacheFull { path: options.cache_dir.clone(), needed, bytes_max, in_use })
}

/// The content hash of the pictures, and where it is remembered.
fn hash_pictures(
    options: &PrepareOptions,
    source: &Source,
    listener: Listener<'_>,
) -> Result<(String, PathBuf), DataError> {
    let memos = options.cache_dir.join("sources");
    fs::create_dir_all(&memos).map_err(|error| DataError::writing(&memos, error))?;
    // One process reads a data set; the others wait for the lock and then find its memo.
    let lock = lock(&lock_path(options), listener)?;
    let reading = |progress: Progress| {
        let progress = Progress { share: progress.share * READING_SHARE, ..progress };
        lock.tell(progress);
        listener(progress);
    };
    leftovers::remove_memos(&memos);
    let content_hash = pool(options)?.install(|| fingerprint::content_hash(source, &memos, &reading))?;
    Ok((content_hash, memos))
}

fn pool(options: &PrepareOptions) -> Result<rayon::ThreadPool, DataError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.max(1)).build();
    pool.map_err(|error| DataError::Read { path: options.path.clone(), source: std::io::Error::other(error) })
}

/// Whether a pack is as it was packed; progress goes to `listener`.
fn is_intact(
    packed: &PackedDataset,
    options: &PrepareOptions,
    listener: Listener<'_>,
) -> Result<bool, DataError> {
    let bytes = packed.images().len();
    let told = |done| listener(Progress { step: Step::Checking, share: done as f64 / bytes as f64, done });
    Ok(pool(options)?.install(|| packed.is_intact(&told)))
}

/// The lock that is held while the pictures of this data set are read. Each data set has its own, so that no one waits
/// for a disk that its own data set is not on.
pub fn lock_path(options: &PrepareOptions) -> PathBuf {
    locks(options).join(fingerprint::name_of(&options.path, options.val_path.as_deref()))
}

fn locks(options: &PrepareOptions) -> PathBuf {
    options.cache_dir.join("locks")
}

fn lock(path: &Path, listener: Listener<'_>) -> Result<CacheLock, DataError> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| CacheLock::wait(path, listener)).map_err(|error| DataError::writing(path, error))
}

/// A pack of the cache; none if it is missing or broken, in which case it is made again.
fn open_cached(path: &Path, content_hash: &str) -> Option<PackedDataset> {
    let held = hold(path);
    match PackedDataset::open(path).map(|packed| packed.holding(held)) {
        Ok(packed) if packed.content_hash() == content_hash => Some(packed),
        Ok(_) | Err(DataError::Missing { .. }) => None,
        Err(error) => {
            tracing::warn!(%error, "a pack of the cache is corrupt and is made again");
            None
        }
    }
}

/// Gives a finished temporary file its name, and makes the name durable.
pub(super) fn keep(file: tempfile::NamedTempFile, target: &Path) -> Result<(), DataError> {
    file.persist(target).map_err(|error| DataError::writing(target, error.error))?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| DataError::writing(target, error))
}
