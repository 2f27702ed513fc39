//! A packed data set: one .safetensors file with the images as bytes, mapped into memory and shared by every process
//! that reads it.

use std::{
    collections::HashMap,
    fs::File,
    io::{Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::{DataError, source::Source};
use terms::LeftOut;

/// Space for the header, in bytes; it is written last, when the number of images is known, and padded with spaces.
pub(super) const HEADER_BYTES: usize = 256 << 10;
/// Revision of decoding and resizing: packs of another revision in the cache are made again. Version 2 refuses corrupt
/// pictures as Pillow does, and supports a validation set. Version 3 reads four colours without Adobe's mark and 16-bit
/// grey with a transparent value as Pillow does, and has a hash of the images.
pub(super) const TRANSFORM_VERSION: u32 = 3;
/// Oldest revision of a user's own pack that is still read.
const TRANSFORM_VERSION_MIN: u32 = 1;
/// Images that could not be decoded and are listed in a pack; the rest are counted.
pub(super) const SKIPPED_NAMED_MAX: usize = 100;
/// Longest name kept of such an image, in characters.
const NAME_CHARACTERS_MAX: usize = 200;

/// What a pack says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackFacts {
    pub(super) classes: Vec<String>,
    pub(super) content_hash: String,
    pub(super) image_size: u32,
    pub(super) skipped: Vec<String>,
    pub(super) skipped_count: u64,
    /// How many of the last images are the validation set.
    pub(super) validation_count: usize,
    /// Where the validation set came from, for people.
    pub(super) validation: Option<String>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Bytes between two progress reports while a pack is checked.
const CHECKED_BYTES: usize = 256 << 20;
/// Packs that a process remembers as checked: a trainer uses a few at a time.
const CHECKED_MAX: usize = 64;

/// A packed data set, mapped.
#[derive(Debug)]
pub struct PackedDataset {
    map: Mmap,
    images: Range<usize>,
    labels: Range<usize>,
    facts: PackFacts,
    seal: Seal,
    file: FileState,
    /// Keeps it in the cache.
    _held: Option<File>,
}

/// How the images were made, and what shows that they have not changed.
#[derive(Debug)]
struct Seal {
    transform_version: u64,
    /// BLAKE3 of images and labels; packs older than version 3 have none.
    pixels_hash: Option<String>,
}

/// The state of a file when it was opened: device, inode, and time of change in seconds and nanoseconds.
type FileState = (u64, u64, i64, i64);

impl PackedDataset {
    /// All images, `[N, S, S, 3]` bytes: rows of RGB pixels. The address stays the same for as long as this lives.
    pub fn images(&self) -> &[u8] {
        &self.map[self.images.clone()]
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u8] {
        &self.map[self.labels.clone()]
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images; a pack that was opened always has some.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Side of the images, in pixels.
    pub fn image_size(&self) -> u32 {
        self.facts.image_size
    }

    /// Class names in the order of their labels.
    pub fn classes(&self) -> &[String] {
        &self.facts.classes
    }

    /// BLAKE3 of the pictures and their classes, in hexadecimal digits.
    pub fn content_hash(&self) -> &str {
        &self.facts.content_hash
    }

    /// Pictures that were left out because they could not be decoded; at most 100 are named.
    pub fn skipped(&self) -> &[String] {
        &self.facts.skipped
    }

    /// How many were left out.
    pub fn skipped_count(&self) -> u64 {
        self.facts.skipped_count
    }

    /// How many of the last images are a separate validation set; 0 if there is none.
    pub fn validation_count(&self) -> usize {
        self.facts.validation_count
    }

    /// Where the validation set came from, for people; none if there is none.
    pub fn validation(&self) -> Option<&str> {
        self.facts.validation.as_deref()
    }

    /// What lay in the source and was not used, by reason.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.facts.left_out
    }

    /// The same images, for a source with the same content but other files next to it.
    pub(super) fn of_source(mut self, source: &Source) -> Self {
        self.facts.validation.clone_from(&source.validation);
        self.facts.left_out = source.left_out.list();
        self
    }

    /// Identifies a pack: packs of the same pictures may hold other images, made by another version or without corrupt
    /// ones.
    pub fn identity(&self) -> String {
        let PackFacts { content_hash, image_size, skipped_count, validation_count, .. } = &self.facts;
        let Seal { transform_version, pixels_hash } = &self.seal;
        format!(
            "{content_hash} {image_size} {} {validation_count} {skipped_count} {transform_version} {pixels_hash:?}",
            self.len()
        )
    }

    /// Whether images and labels are as they were packed: disks lose bits. Each process reads a file once for this; a
    /// pack without a hash is trusted. The number of bytes read goes to `listener`.
    pub(super) fn is_intact(&self, listener: &(dyn Fn(u64) + Sync)) -> bool {
        static CHECKED: Mutex<Vec<FileState>> = Mutex::new(Vec::new());
        let checked = || CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(expected) = &self.seal.pixels_hash else { return true };
        if checked().contains(&self.file) {
            return true;
        }
        let mut hasher = blake3::Hasher::new();
        let mut done = 0;
        for part in self.images().chunks(CHECKED_BYTES) {
            hasher.update_rayon(part);
            done += part.len() as u64;
            listener(done);
        }
        hasher.update(self.labels());
        let is_intact = hasher.finalize().to_hex().as_str() == expected;
        if is_intact {
            let mut checked = checked();
            if checked.len() == CHECKED_MAX {
                checked.clear();
            }
            checked.push(self.file);
        }
        is_intact
    }

    /// Maps a packed file and checks its whole structure: it may come from anywhere.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let read = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => DataError::Missing { path: path.to_owned() },
            _ => DataError::Read { path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(read)?;
        let state = file.metadata().map_err(read)?;
        let state = (state.dev(), state.ino(), state.ctime(), state.ctime_nsec());
        // SAFETY: packs are written under another name and renamed, never changed in place; a file that is truncated
        // under the map raises a signal instead of reading wrong memory.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let refuse = |reason: String| DataError::Packed { path: path.to_owned(), reason };
        let (images, labels, facts, seal) = check(&map).map_err(refuse)?;
        Ok(Self { map, images, labels, facts, seal, file: state, _held: None })
    }

    /// The same, which stays in the cache while this lives.
    pub(super) fn holding(self, held: Option<File>) -> Self {
        Self { _held: held, ..self }
    }
}

fn check(map: &[u8]) -> Result<(Range<usize>, Range<usize>, PackFacts, Seal), String> {
    let (_, metadata) = SafeTensors::read_metadata(map).map_err(|error| error.to_string())?;
    let (facts, seal) = read_facts(metadata.metadata().as_ref().ok_or("it does not describe itself")?)?;
    let tensors = SafeTensors::deserialize(map).map_err(|error| error.to_string())?;
    let images = tensors.tensor("images").map_err(|error| error.to_string())?;
    let labels = tensors.tensor("labels").map_err(|error| error.to_string())?;
    let side = facts.image_size as usize;
    let [count] = *labels.shape() else {
        return Err(format!("the labels have the shape {:?}", labels.shape()));
    };
    if images.dtype() != Dtype::U8 || labels.dtype() != Dtype::U8 || images.shape() != [count, side, side, 3]
    {
        return Err(format!("expected {count} images of {side}×{side}×3 bytes, found {:?}", images.shape()));
    }
    if count == 0 {
        return Err("it holds no images".to_owned());
    }
    if facts.validation_count >= count {
        return Err(format!("of its {count} images, {} are for validation", facts.validation_count));
    }
    if let Some(label) = labels.data().iter().find(|label| usize::from(**label) >= facts.classes.len()) {
        return Err(format!("the label {label} is beyond its {} classes", facts.classes.len()));
    }
    let range = |data: &[u8]| {
        let start = data.as_ptr() as usize - map.as_ptr() as usize;
        start..start + data.len()
    };
    Ok((range(images.data()), range(labels.data()), facts, seal))
}

fn read_facts(metadata: &HashMap<String, String>) -> Result<(PackFacts, Seal), String> {
    let get = |key: &str| metadata.get(key).ok_or_else(|| format!("it lacks `{key}`"));
    let list = |key: &str| serde_json::from_str(get(key)?).map_err(|error| format!("`{key}`: {error}"));
    let number = |key: &str| get(key)?.parse::<u64>().map_err(|error| format!("`{key}`: {error}"));
    let version = number("transform_version")?;
    if !(u64::from(TRANSFORM_VERSION_MIN)..=u64::from(TRANSFORM_VERSION)).contains(&version) {
        return Err("it was packed by another version of sweep".to_owned());
    }
    // Version 1 has neither.
    let has_more = metadata.contains_key("validation_count");
    let validation_count = if has_more { number("validation_count")? } else { 0 };
    let facts = PackFacts {
        classes: list("classes")?,
        content_hash: get("content_hash")?.clone(),
        image_size: u32::try_from(number("image_size")?).map_err(|error| error.to_string())?,
        skipped: list("skipped")?,
        skipped_count: number("skipped_count")?,
        validation_count: usize::try_from(validation_count).map_err(|error| error.to_string())?,
        validation: metadata.get("validation").cloned().filter(|_| validation_count > 0),
        left_out: match metadata.get("left_out") {
            Some(text) => serde_json::from_str(text).map_err(|error| format!("`left_out`: {error}"))?,
            None => Vec::new(),
        },
    };
    if facts.classes.len() < 2 || facts.classes.len() > 256 {
        return Err(format!("it has {} classes", facts.classes.len()));
    }
    if facts.content_hash.len() != 64 || !facts.content_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("its content hash is invalid".to_owned());
    }
    Ok((facts, Seal { transform_version: version, pixels_hash: metadata.get("pixels_hash").cloned() }))
}

/// Writes a pack image by image.
#[derive(Debug)]
pub(super) struct PackWriter<W> {
    out: W,
    labels: Vec<u8>,
    image_bytes: usize,
    hasher: blake3::Hasher,
}

impl<W: Write + Seek> PackWriter<W> {
    /// Begins at the start of `out`.
    pub(super) fn new(mut out: W, image_size: u32) -> std::io::Result<Self> {
        out.seek(SeekFrom::Start((8 + HEADER_BYTES) as u64))?;
        let image_bytes = (image_size * image_size * 3) as usize;
        Ok(Self { out, labels: Vec::new(), image_bytes, hasher: blake3::Hasher::new() })
    }

    /// Adds an image of S·S·3 bytes.
    pub(super) fn push(&mut self, image: &[u8], label: u8) -> std::io::Result<()> {
        debug_assert_eq!(image.len(), self.image_bytes);
        self.labels.push(label);
        self.hasher.update(image);
        self.out.write_all(image)
    }

    /// How many images were added.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Writes labels and header; returns the writer.
    pub(super) fn finish(mut self, facts: &PackFacts) -> std::io::Result<W> {
        self.out.write_all(&self.labels)?;
        let pixels_hash = self.hasher.update(&self.labels).finalize().to_hex();
        let header = header(facts, &pixels_hash, self.labels.len(), self.image_bytes)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&(HEADER_BYTES as u64).to_le_bytes())?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn header(
    facts: &PackFacts,
    pixels_hash: &str,
    count: usize,
    image_bytes: usize,
) -> std::io::Result<Vec<u8>> {
    let side = facts.image_size;
    let short = |name: &String| name.chars().take(NAME_CHARACTERS_MAX).collect::<String>();
    let skipped: Vec<String> = facts.skipped.iter().take(SKIPPED_NAMED_MAX).map(short).collect();
    let text = |value: &[String]| serde_json::Value::from(value).to_string();
    let end = count * image_bytes;
    let header = serde_json::json!({
        "__metadata__": {
            "format": "sweep-dataset",
            "transform_version": TRANSFORM_VERSION.to_string(),
            "image_size": side.to_string(),
            "classes": text(&facts.classes),
            "content_hash": facts.content_hash,
            "pixels_hash": pixels_hash,
            "skipped": text(&skipped),
            "skipped_count": facts.skipped_count.to_string(),
            "validation_count": facts.validation_count.to_string(),
            "validation": facts.validation.clone().unwrap_or_default(),
            "left_out": serde_json::to_string(&facts.left_out)?,
        },
        "images": {"dtype": "U8", "shape": [count, side, side, 3], "data_offsets": [0, end]},
        "labels": {"dtype": "U8", "shape": [count], "data_offsets": [end, end + count]},
    });
    let mut bytes = serde_json::to_vec(&header)?;
    if bytes.len() > HEADER_BYTES {
        return Err(std::io::Error::other("the class names are too long for the pack's header"));
    }
    bytes.resize(HEADER_BYTES, b' ');
    Ok(bytes)
}
