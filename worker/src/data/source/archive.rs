//! The files of a .zip archive. Names are only compared, never used as paths to write to.

use std::{
    collections::HashSet,
    fs::File,
    io::{Cursor, Read},
    path::Path,
    sync::Arc,
};

use memmap2::Mmap;
use zip::{CompressionMethod, ZipArchive};

use super::super::{
    DataError,
    left_out::{LeftOuts, Reason, is_system, shown},
};
use super::{Found, PICTURE_BYTES_MAX, PICTURES_MAX, is_picture};

/// The archive's bytes, shared by all readers.
#[derive(Clone, Debug)]
pub(super) struct Bytes(Arc<Mmap>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(super) type Archive = ZipArchive<Cursor<Bytes>>;

/// Opens an archive.
pub(super) fn open(path: &Path) -> Result<Archive, DataError> {
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    let mut first = Vec::new();
    file.by_ref().take(512).read_to_end(&mut first).map_err(read)?;
    if let Some(found) = other_kind(&first) {
        return Err(DataError::NotADataset { path: path.to_owned(), found });
    }
    // SAFETY: the map is only read; a file that is cut short under it raises a signal instead of reading wrong
    // memory, and a data set that changes while it is packed is no data set.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    let bytes = Bytes(Arc::new(map));
    ZipArchive::new(Cursor::new(bytes)).map_err(|error| {
        let cut = "; it may be cut off: compare its size with the original's";
        DataError::Archive { path: path.to_owned(), reason: format!("{error}{cut}") }
    })
}

/// What a file is that is no archive of ours, by its first bytes. Archives may have anything in front of them, so what
/// is not known is tried.
fn other_kind(first: &[u8]) -> Option<String> {
    let known: [(&[u8], &str); 9] = [
        (b"\x1f\x8b", "a .gz or .tar.gz archive"),
        (b"7z\xbc\xaf\x27\x1c", "a .7z archive"),
        (b"Rar!", "a .rar archive"),
        (b"\xfd7zXZ", "an .xz archive"),
        (b"BZh", "a .bz2 archive"),
        (b"\x28\xb5\x2f\xfd", "a .zst archive"),
        (b"\xff\xd8\xff", "a single JPEG picture"),
        (b"\x89PNG", "a single PNG picture"),
        (b"<", "an HTML or XML page, as a failed download leaves it"),
    ];
    if first.is_empty() {
        return Some("an empty file".to_owned());
    }
    if first.get(257..262) == Some(b"ustar") {
        return Some("a .tar archive".to_owned());
    }
    if let Some((_, kind)) = known.iter().find(|(magic, _)| first.starts_with(magic)) {
        return Some((*kind).to_owned());
    }
    let text = std::str::from_utf8(first).is_ok_and(|text| !text.contains('\0'));
    (text && !first.starts_with(b"PK")).then(|| "a text file".to_owned())
}

/// Lists an archive's files and folders; `found_one` is called for each.
pub(super) fn list(
    path: &Path,
    archive: &Archive,
    left_out: &mut LeftOuts,
    found_one: &dyn Fn(),
) -> Result<(Vec<Found>, Vec<Vec<u8>>), DataError> {
    let refuse = |reason: String| DataError::Archive { path: path.to_owned(), reason };
    let mut archive = archive.clone();
    let mut found = Vec::with_capacity(archive.len().min(PICTURES_MAX));
    let (mut folders, mut passed) = (Vec::new(), HashSet::new());
    for index in 0..archive.len() {
        found_one();
        let entry = archive.by_index_raw(index).map_err(|error| refuse(error.to_string()))?;
        // Archives say whether a name is UTF-8 or in the DOS code page; where that is not true, its bytes are the name.
        let name = entry.name().map_or_else(|_| entry.name_raw().to_vec(), |name| name.as_bytes().to_vec());
        let name: Vec<u8> = name.into_iter().map(|byte| if byte == b'\\' { b'/' } else { byte }).collect();
        // As `zip -r x.zip ./` writes them.
        let name = name.strip_prefix(b"./").unwrap_or(&name).to_vec();
        if let Some((hidden, reason)) = passed_over(&name) {
            // A folder counts once, whatever is in it.
            if passed.insert(hidden.to_vec()) {
                let last = hidden.rsplit(|byte| *byte == b'/').next().unwrap_or(hidden);
                let detail = if reason == Reason::System { shown(last) } else { String::new() };
                left_out.add(reason, &detail, hidden);
            }
            continue;
        }
        if entry.is_dir() {
            folders.push(name.strip_suffix(b"/").unwrap_or(&name).to_vec());
            continue;
        }
        if !entry.is_file() {
            left_out.add(Reason::ArchiveLink, "", &name);
            continue;
        }
        if is_picture(&name) {
            let shown = shown(&name);
            if entry.encrypted() {
                return Err(refuse(format!("{shown} is encrypted, and there is no way to give a password")));
            }
            if let Some(method) = unreadable(entry.compression()) {
                return Err(refuse(format!(
                    "{shown} is compressed with {method}, which cannot be read (Deflate, Deflate64 and stored can)"
                )));
            }
            if entry.size() > PICTURE_BYTES_MAX {
                return Err(refuse(format!("{shown} claims {} bytes", entry.size())));
            }
        }
        found.push(Found { path: name, index });
    }
    Ok((found, folders))
}

/// The part of a path that is passed over, and why.
fn passed_over(path: &[u8]) -> Option<(&[u8], Reason)> {
    let mut end = 0;
    for part in path.split(|byte| *byte == b'/') {
        end += part.len();
        if is_system(part) {
            return Some((&path[..end], Reason::System));
        }
        if part.starts_with(b".") {
            return Some((&path[..end], Reason::Hidden));
        }
        end += 1;
    }
    None
}

/// The name of a method of compression that cannot be read.
#[allow(deprecated)] // There is no other way to learn the number of a method.
fn unreadable(method: CompressionMethod) -> Option<String> {
    let CompressionMethod::Unsupported(number) = method else { return None };
    Some(match number {
        1..=6 => "an old method of PKZIP".to_owned(),
        9 => "Deflate64".to_owned(),
        12 => "BZIP2".to_owned(),
        14 => "LZMA".to_owned(),
        93 => "Zstandard".to_owned(),
        95 => "XZ".to_owned(),
        98 => "PPMd".to_owned(),
        99 => "AES encryption".to_owned(),
        number => format!("the method {number}"),
    })
}
