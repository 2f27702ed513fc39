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
    synthetic::is_marker,
};
use super::{Found, PICTURES_MAX, add_folders_above, is_picture, looks_like_picture};

/// The archive's bytes, shared by all readers.
#[derive(Clone, Debug)]
pub(super) struct Bytes(Arc<Mmap>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(super) type Archive = ZipArchive<Cursor<Bytes>>;

pub(super) fn open(path: &Path) -> Result<Archive, DataError> {
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    let mut first = Vec::new();
    file.by_ref().take(512).read_to_end(&mut first).map_err(read)?;
    if let Some(found) = other_kind(&first) {
        return Err(DataError::NotADataset { path: path.to_owned(), found });
    }
    // SAFETY: the map is only read; a file that is truncated under it raises a signal instead of reading wrong memory,
    // and a data set must not change while it is packed.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    let bytes = Bytes(Arc::new(map));
    ZipArchive::new(Cursor::new(bytes)).map_err(|error| {
        let cut = "; it may be cut off: compare its size with the original's";
        DataError::Archive { path: path.to_owned(), reason: format!("{error}{cut}") }
    })
}

/// What a file that is not a .zip archive is, by its first bytes. Archives may begin with anything, so an unknown file
/// is tried.
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
    let mut found = Vec::with_capacity(archive.len().min(PICTURES_MAX));
    let (mut folders, mut passed) = (HashSet::new(), HashSet::new());
    for index in 0..archive.len() {
        found_one();
        let entry = archive.by_index_data(index).map_err(|error| refuse(error.to_string()))?;
        // The bytes are the name, as in the packed folder, whatever code page the archive names.
        let name = plain(entry.name_raw());
        if let Some((hidden, reason)) = passed_over(&name) {
            if entry.is_file() && hidden == name && is_marker(hidden) {
                continue;
            }
            // A folder counts once, whatever it holds.
            if passed.insert(hidden.to_vec()) {
                let last = hidden.rsplit(|byte| *byte == b'/').next().unwrap_or(hidden);
                let detail = if reason == Reason::System { shown(last) } else { String::new() };
                left_out.add(reason, &detail, hidden);
            }
            continue;
        }
        if entry.is_dir() {
            let folder = name.strip_suffix(b"/").unwrap_or(&name);
            // Some archives list the folder itself, as `./`.
            if !folder.is_empty() {
                folders.insert(folder.to_vec());
            }
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
        }
        found.push(Found { path: name, index });
    }
    let twice = twice(&found)
        .or_else(|| if archive.has_duplicate_names() { twice_in_directory(archive) } else { None });
    if let Some(name) = twice {
        let name = shown(&name);
        return Err(refuse(format!("it holds {name} more than once, so it is unclear which one is meant")));
    }
    // Archives need not list the folders of their pictures.
    for picture in found.iter().filter(|file| looks_like_picture(&file.path)) {
        add_folders_above(&picture.path, &mut folders);
    }
    let mut folders: Vec<Vec<u8>> = folders.into_iter().collect();
    folders.sort_unstable();
    Ok((found, folders))
}

/// A name with `/` between folders, without the `./` that `zip -r x.zip ./` writes.
fn plain(name: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    name.strip_prefix(b"./").map(<[u8]>::to_vec).unwrap_or(name)
}

/// A picture's name that another picture has as well, after normalisation.
fn twice(found: &[Found]) -> Option<Vec<u8>> {
    let mut names: Vec<&[u8]> =
        found.iter().map(|file| &file.path[..]).filter(|name| is_picture(name)).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_vec())
}

/// The same for names that the archive itself has more than once: its list only keeps the last of them.
fn twice_in_directory(archive: &Archive) -> Option<Vec<u8>> {
    const SIGNATURE: &[u8] = b"PK\x01\x02";
    const FIXED_BYTES: usize = 46;
    let start = usize::try_from(archive.central_directory_start()).ok()?;
    let bytes = archive.clone().into_inner().into_inner();
    let mut rest = bytes.as_ref().get(start..)?;
    let mut names = Vec::new();
    while rest.starts_with(SIGNATURE) && rest.len() >= FIXED_BYTES {
        let length = |at: usize| usize::from(u16::from_le_bytes([rest[at], rest[at + 1]]));
        let (name, extra, comment) = (length(28), length(30), length(32));
        let path = plain(rest.get(FIXED_BYTES..FIXED_BYTES + name)?);
        if passed_over(&path).is_none() {
            names.push(Found { path, index: 0 });
        }
        rest = rest.get(FIXED_BYTES + name + extra + comment..)?;
    }
    twice(&names)
}

/// The part of a path because of which a file is skipped, and why.
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
