//! Where pictures come from: a folder of class folders, a flat folder, or a .zip of either. A source lists its
//! pictures in the order of torchvision's ImageFolder and reads them one by one, from many threads.

use std::{
    fs::{self, File},
    io::{Cursor, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::Mmap;
use zip::ZipArchive;

use super::DataError;

/// Pictures are recognised by these endings, whatever their case.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];
/// Largest file that is read as a picture: the largest camera JPEGs have a fifth of it.
const PICTURE_BYTES_MAX: u64 = 256 << 20;
/// Memory that a reader keeps from one picture to the next, in bytes: nearly all pictures fit.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// Most pictures: ImageNet's fourteen million fit.
const PICTURES_MAX: usize = 20_000_000;
/// How deep folders are followed, so that links in a circle come to an end.
const DEPTH_MAX: usize = 8;

/// One picture of a source.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// Position of its class in [`Source::classes`].
    pub(super) class: u8,
    /// Its path within the class; the same in a folder, a flat folder and a .zip.
    pub(super) name: String,
    /// Its path within the source.
    pub(super) path: String,
    /// Position in the archive.
    index: usize,
}

/// A listed source.
#[derive(Debug)]
pub(super) struct Source {
    /// What the user named.
    pub(super) path: PathBuf,
    /// Class names in alphabetical order.
    pub(super) classes: Vec<String>,
    /// Pictures by class and name.
    pub(super) pictures: Vec<Picture>,
    /// Files that are no pictures.
    pub(super) ignored: usize,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Folder,
    Archive(Archive),
}

/// The archive's bytes, shared by all readers.
#[derive(Clone, Debug)]
struct Bytes(Arc<Mmap>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

type Archive = ZipArchive<Cursor<Bytes>>;

/// A file somewhere in a source, before it is known what it is.
struct Found {
    path: String,
    index: usize,
}

impl Source {
    /// Lists the pictures at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => DataError::Missing { path: path.to_owned() },
            _ => DataError::Read { path: path.to_owned(), source },
        })?;
        let (mut found, folders, store) = if metadata.is_dir() {
            let (mut found, mut folders) = (Vec::new(), Vec::new());
            walk(path, "", 0, &mut found, &mut folders)?;
            (found, folders, Store::Folder)
        } else {
            let archive = open_archive(path)?;
            (list_archive(path, &archive)?, Vec::new(), Store::Archive(archive))
        };
        if found.len() > PICTURES_MAX {
            return Err(DataError::TooLarge {
                path: path.to_owned(),
                what: format!("{} files are too many", found.len()),
            });
        }
        let files = found.len();
        found.retain(|file| is_picture(&file.path));
        let ignored = files - found.len();
        let (classes, pictures) = classify(path, found, &folders)?;
        Ok(Self { path: path.to_owned(), classes, pictures, ignored, store })
    }

    /// A reader for one thread.
    pub(super) fn reader(&self) -> Reader<'_> {
        let archive = match &self.store {
            Store::Folder => None,
            Store::Archive(archive) => Some(archive.clone()),
        };
        Reader { folder: &self.path, archive }
    }

    /// For each picture what changes when it does, without reading it: size and time of change; an archive has
    /// its own for all.
    pub(super) fn stamps(&self) -> Result<Vec<(u64, u128)>, DataError> {
        let stamp = |path: &Path| {
            let metadata =
                fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
            let changed =
                metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            Ok((metadata.len(), changed.unwrap_or_default().as_nanos()))
        };
        match self.store {
            Store::Archive(_) => Ok(vec![stamp(&self.path)?]),
            Store::Folder => {
                self.pictures.iter().map(|picture| stamp(&self.path.join(&picture.path))).collect()
            }
        }
    }
}

/// Reads pictures of a source.
pub(super) struct Reader<'a> {
    folder: &'a Path,
    archive: Option<Archive>,
}

impl Reader<'_> {
    /// Reads one picture into `bytes`, in place of what was there.
    pub(super) fn read(&mut self, picture: &Picture, bytes: &mut Vec<u8>) -> Result<(), DataError> {
        match &mut self.archive {
            None => {
                let path = self.folder.join(&picture.path);
                let file =
                    File::open(&path).map_err(|source| DataError::Read { path: path.clone(), source })?;
                self::read_bounded(file, &path, bytes)
            }
            Some(archive) => {
                let path = self.folder.join(&picture.path);
                let entry = archive.by_index(picture.index).map_err(|error| DataError::Archive {
                    path: self.folder.to_owned(),
                    reason: format!("{}: {error}", picture.path),
                })?;
                self::read_bounded(entry, &path, bytes)
            }
        }
    }
}

/// Reads at most [`PICTURE_BYTES_MAX`], whatever the size that a file or an archive claims.
fn read_bounded(reader: impl Read, path: &Path, bytes: &mut Vec<u8>) -> Result<(), DataError> {
    bytes.clear();
    bytes.shrink_to(KEPT_BYTES_MAX);
    let read = reader.take(PICTURE_BYTES_MAX + 1).read_to_end(bytes);
    read.map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > PICTURE_BYTES_MAX {
        let what = format!("{} has more than {} MiB", path.display(), PICTURE_BYTES_MAX >> 20);
        return Err(DataError::TooLarge { path: path.to_owned(), what });
    }
    Ok(())
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}

fn is_picture(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Lists the regular files below `folder`, links followed as torchvision does, hidden ones left out.
fn walk(
    root: &Path,
    within: &str,
    depth: usize,
    found: &mut Vec<Found>,
    folders: &mut Vec<String>,
) -> Result<(), DataError> {
    let folder = root.join(within);
    let read = |source| DataError::Read { path: folder.clone(), source };
    for entry in fs::read_dir(&folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_hidden(&name) {
            continue;
        }
        let path = if within.is_empty() { name } else { format!("{within}/{name}") };
        // Nearly all are plain files, of which the folder itself tells what they are.
        let mut kind = entry.file_type().map_err(read)?;
        if kind.is_symlink() {
            // A link that leads nowhere is no picture.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            kind = metadata.file_type();
        }
        if kind.is_dir() && depth < DEPTH_MAX {
            folders.push(path.clone());
            walk(root, &path, depth + 1, found, folders)?;
        } else if kind.is_file() {
            found.push(Found { path, index: 0 });
        }
    }
    Ok(())
}

fn open_archive(path: &Path) -> Result<Archive, DataError> {
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    // SAFETY: the map is only read; a file that is cut short under it raises a signal instead of reading wrong
    // memory, and a data set that changes while it is packed is no data set.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    let bytes = Bytes(Arc::new(map));
    ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| DataError::Archive { path: path.to_owned(), reason: error.to_string() })
}

/// Lists an archive's files. Names are only compared, never used as paths to write to.
fn list_archive(path: &Path, archive: &Archive) -> Result<Vec<Found>, DataError> {
    let refuse = |reason: String| DataError::Archive { path: path.to_owned(), reason };
    let mut archive = archive.clone();
    let mut found = Vec::with_capacity(archive.len().min(PICTURES_MAX));
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| refuse(error.to_string()))?;
        let name = entry.name().map_err(|error| refuse(error.to_string()))?.replace('\\', "/");
        if !entry.is_file() || name.split('/').any(is_hidden) {
            continue;
        }
        if entry.encrypted() {
            return Err(refuse(format!("{name} is encrypted")));
        }
        if is_picture(&name) && entry.size() > PICTURE_BYTES_MAX {
            return Err(refuse(format!("{name} claims {} bytes", entry.size())));
        }
        found.push(Found { path: name, index });
    }
    Ok(found)
}

/// Folders that hold nothing but one folder are passed through, as in archives with one leading folder.
fn common_folder(found: &[Found]) -> String {
    let Some(first) = found.first() else { return String::new() };
    let mut common: Vec<&str> = first.path.split('/').collect();
    common.pop();
    for file in found {
        let shared = common.iter().zip(file.path.split('/')).take_while(|(a, b)| **a == *b).count();
        let folders = file.path.split('/').count() - 1;
        common.truncate(shared.min(folders));
    }
    common.iter().map(|part| format!("{part}/")).collect()
}

fn classify(
    path: &Path,
    found: Vec<Found>,
    folders: &[String],
) -> Result<(Vec<String>, Vec<Picture>), DataError> {
    if found.is_empty() {
        return Err(DataError::NoImages { path: path.to_owned() });
    }
    let common = common_folder(&found);
    let in_folders = found.iter().any(|file| file.path[common.len()..].contains('/'));
    let mut named: Vec<(String, String, Found)> = Vec::with_capacity(found.len());
    for file in found {
        let rest = &file.path[common.len()..];
        let (class, name) = match rest.split_once('/') {
            Some((class, name)) => (class.to_owned(), name.to_owned()),
            // Beside class folders, loose pictures are not part of the set.
            None if in_folders => continue,
            None => match rest.split_once('.') {
                Some((class, more)) if more.contains('.') && !class.is_empty() => {
                    (class.to_owned(), rest.to_owned())
                }
                _ => return Err(DataError::NoClass { path: path.to_owned(), file: rest.to_owned() }),
            },
        };
        named.push((class, name, file));
    }
    named.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut classes: Vec<String> = named.iter().map(|(class, _, _)| class.clone()).collect();
    classes.dedup();
    let top = folders.iter().filter_map(|folder| folder.strip_prefix(common.as_str()));
    if let Some(empty) =
        top.filter(|folder| !folder.contains('/')).find(|folder| !classes.iter().any(|class| class == folder))
    {
        return Err(DataError::EmptyClass { path: path.to_owned(), class: empty.to_owned() });
    }
    if let [class] = classes.as_slice() {
        return Err(DataError::OneClass { path: path.to_owned(), class: class.clone() });
    }
    if classes.len() > usize::from(u8::MAX) + 1 {
        return Err(DataError::TooManyClasses { path: path.to_owned(), found: classes.len() });
    }
    let mut pictures = Vec::with_capacity(named.len());
    let mut class = 0u8;
    for (name_of_class, name, file) in named {
        while classes[usize::from(class)] != name_of_class {
            class += 1;
        }
        pictures.push(Picture { class, name, path: file.path, index: file.index });
    }
    Ok((classes, pictures))
}
