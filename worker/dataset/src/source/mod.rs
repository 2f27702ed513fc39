//! Where pictures come from: a folder of class folders, a flat folder, or a .zip of either. A source lists its pictures
//! in the order of torchvision's ImageFolder and reads them one by one, from many threads. Names are bytes, as in the
//! system; [`shown`] makes them readable.

mod archive;
mod classes;
mod reader;
mod validation;
mod walk;

use std::{
    cell::Cell,
    collections::HashSet,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

pub use self::reader::PICTURE_BYTES_MAX;
pub(super) use self::reader::Reader;
use self::{
    archive::Archive,
    classes::{Folders, Parts, classify, others, parts},
    validation::{classify_validation, open_validation},
};
use super::{
    DataError,
    left_out::{LeftOuts, Reason, shown},
    progress::{Listener, Progress, Step},
};
use terms::LeftOut;

/// Endings of pictures that are not read: a folder with such files was meant to hold pictures.
const OTHER_PICTURES: [&str; 14] =
    ["gif", "avif", "heic", "heif", "jp2", "jxl", "jfif", "jpe", "psd", "raw", "dng", "nef", "cr2", "tga"];
/// Pictures have these endings, in any case: those of torchvision's ImageFolder.
const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];
/// Most pictures: ImageNet's fourteen million fit.
const PICTURES_MAX: usize = 20_000_000;

/// One picture of a source.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// Index of its class in [`Source::classes`].
    pub(super) class: u8,
    /// Its path within the class; the same in a folder, a flat folder and a .zip.
    pub(super) name: Vec<u8>,
    /// Its path within its place.
    path: Vec<u8>,
    /// Index in the archive.
    index: usize,
    /// The place it is in: 0 for the data set's, 1 for the validation set's.
    place: u8,
}

impl Picture {
    /// Its path for people.
    pub(super) fn shown(&self) -> String {
        shown(&self.path)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    /// Its name in the system.
    pub(super) name: Vec<u8>,
    /// Its name for people.
    pub(super) shown: String,
}

#[derive(Debug)]
pub(super) struct Source {
    /// What the user named.
    pub(super) path: PathBuf,
    /// Classes in the order of their names.
    pub(super) classes: Vec<Class>,
    /// Pictures by class and name, those for training first.
    pub(super) pictures: Vec<Picture>,
    /// How many of them are for training, or for training and validation if there is no validation set.
    pub(super) train: usize,
    /// Where the validation set comes from, for people; none if a share is held out.
    pub(super) validation: Option<String>,
    /// What is not used.
    pub(super) left_out: LeftOuts,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Folder,
    Archive(Archive),
}

/// A file in a place, not yet classified.
#[derive(Debug)]
struct Found {
    path: Vec<u8>,
    index: usize,
}

impl Source {
    /// Lists the pictures at `path`, and the validation set at `val_path` if given; otherwise a folder `val` next to
    /// `train` is one. The number of files found goes to `listener`.
    pub(super) fn open(
        path: &Path,
        val_path: Option<&Path>,
        listener: Listener<'_>,
    ) -> Result<Self, DataError> {
        let listed = Cell::new(0);
        let found_one = || {
            listed.set(listed.get() + 1);
            listener(Progress { step: Step::Listing, share: 0.0, done: listed.get() });
        };
        let mut left_out = LeftOuts::default();
        let (place, found) = open_place(path, &mut left_out, &found_one)?;
        let mut places = vec![place];
        let mut validation = found.validation;
        let train = classify(path, found.train, &mut left_out)?;
        if let Some(val_path) = val_path {
            if let Some((name, part)) = validation.take() {
                part.found.iter().for_each(|file| left_out.add(Reason::OtherFolder, &name, &file.path));
            }
            let (place, name, part) = open_validation(val_path, &mut left_out, &found_one)?;
            places.push(place);
            validation = Some((name, part));
        }
        let place = u8::from(val_path.is_some());
        let validation = match validation {
            None => None,
            Some((name, part)) => {
                let classified = classify_validation(&places, &name, part, &train, &mut left_out)?;
                Some((name, classified.pictures))
            }
        };
        if let [class] = train.classes.as_slice() {
            let found = others(&left_out);
            return Err(DataError::OneClass { path: path.to_owned(), class: shown(class), found });
        }
        let picture = |place| {
            move |(class, name, file): (u8, Vec<u8>, Found)| Picture {
                class,
                name,
                path: file.path,
                index: file.index,
                place,
            }
        };
        let mut pictures: Vec<Picture> = train.pictures.into_iter().map(picture(0)).collect();
        let train_count = pictures.len();
        let name = validation.map(|(name, validation)| {
            pictures.extend(validation.into_iter().map(picture(place)));
            name
        });
        Ok(Self {
            path: path.to_owned(),
            classes: shown_classes(train.classes),
            pictures,
            train: train_count,
            validation: name,
            left_out,
            places,
        })
    }

    /// The place of the validation set, if it was given.
    pub(super) fn val_path(&self) -> Option<&Path> {
        self.places.get(1).map(|place| place.path.as_path())
    }

    /// A reader for one thread.
    pub(super) fn reader(&self) -> Reader<'_> {
        let archive = |place: &Place| match &place.store {
            Store::Folder => None,
            Store::Archive(archive) => Some(archive.clone()),
        };
        Reader { places: self.places.iter().map(|place| (place.path.as_path(), archive(place))).collect() }
    }

    /// For each picture, what changes when it does, without reading it: size, times of change and inode; an archive has
    /// those of its file for all. Renaming and writing change one of them, even if the old time is restored.
    pub(super) fn stamps(&self, listener: Listener<'_>) -> Result<Vec<[i128; 4]>, DataError> {
        let stamp = |path: &Path| {
            let metadata =
                fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
            let nanoseconds =
                |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            Ok([
                i128::from(metadata.len()),
                nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
                nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
                i128::from(metadata.ino()),
            ])
        };
        let archives = self.places.iter().filter(|place| matches!(place.store, Store::Archive(_)));
        let mut stamps = archives.map(|place| stamp(&place.path)).collect::<Result<Vec<_>, _>>()?;
        for picture in &self.pictures {
            let place = &self.places[usize::from(picture.place)];
            if matches!(place.store, Store::Folder) {
                stamps.push(stamp(&below(&place.path, &picture.path))?);
                listener(Progress { step: Step::Looking, share: 0.0, done: stamps.len() as u64 });
            }
        }
        Ok(stamps)
    }

    /// What identifies pictures in a stamp.
    pub(super) fn paths(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.pictures.iter().map(|picture| (picture.place, picture.path.as_slice()))
    }
}

fn below(path: &Path, within: &[u8]) -> PathBuf {
    path.join(std::ffi::OsStr::from_bytes(within))
}

/// Lists one place and separates its parts.
fn open_place(
    path: &Path,
    left_out: &mut LeftOuts,
    found_one: &dyn Fn(),
) -> Result<(Place, Parts), DataError> {
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::Missing { path: path.to_owned() },
        _ => DataError::Read { path: path.to_owned(), source },
    })?;
    let (mut found, folders, store) = if metadata.is_dir() {
        let (found, folders) = walk::list(path, left_out, found_one)?;
        (found, folders, Store::Folder)
    } else if metadata.is_file() {
        let archive = archive::open(path)?;
        let (found, folders) = archive::list(path, &archive, left_out, found_one)?;
        (found, folders, Store::Archive(archive))
    } else {
        let found = "neither a folder nor a file".to_owned();
        return Err(DataError::NotADataset { path: path.to_owned(), found });
    };
    if found.len() > PICTURES_MAX {
        let what = format!("{} files are too many", found.len());
        return Err(DataError::TooLarge { path: path.to_owned(), what });
    }
    let without_pictures = without_pictures(&found);
    keep_pictures(&mut found, left_out);
    let folders = Folders { all: &folders, without_pictures: &without_pictures };
    let parts = parts(path, found, folders, left_out)?;
    if parts.train.found.is_empty() {
        return Err(DataError::NoImages { path: path.to_owned(), found: others(left_out) });
    }
    Ok((Place { path: path.to_owned(), store }, parts))
}

/// The folders that hold files, none of which looks like a picture: annotations, which many data sets have next to
/// their pictures.
fn without_pictures(found: &[Found]) -> HashSet<Vec<u8>> {
    let (mut with, mut without) = (HashSet::new(), HashSet::new());
    for file in found {
        let known = if looks_like_picture(&file.path) { &mut with } else { &mut without };
        add_folders_above(&file.path, known);
    }
    without.retain(|folder| !with.contains(folder));
    without
}

/// Adds all folders above a path to the known ones.
fn add_folders_above(mut path: &[u8], known: &mut HashSet<Vec<u8>>) {
    while let Some(end) = path.iter().rposition(|byte| *byte == b'/') {
        path = &path[..end];
        if path.is_empty() || known.contains(path) {
            break;
        }
        known.insert(path.to_vec());
    }
}

/// Counts the files that are not pictures, and keeps the others.
fn keep_pictures(found: &mut Vec<Found>, left_out: &mut LeftOuts) {
    found.retain(|file| {
        let is_picture = is_picture(&file.path);
        if !is_picture {
            left_out.add_file(&file.path);
        }
        is_picture
    });
}

/// The pictures in a folder and below it, in the order of their paths, and what else is there: found like those of a
/// data set, without classes.
///
/// # Errors
/// A folder that cannot be read, or holds more than a data set may.
pub fn pictures_below(folder: &Path) -> Result<(Vec<PathBuf>, Vec<LeftOut>), DataError> {
    let mut left_out = LeftOuts::default();
    let (mut found, _) = walk::list(folder, &mut left_out, &|| {})?;
    keep_pictures(&mut found, &mut left_out);
    let mut paths: Vec<PathBuf> = found.iter().map(|file| below(folder, &file.path)).collect();
    paths.sort();
    Ok((paths, left_out.list()))
}

/// Adds a number to names that look the same to people, so that they stay distinct.
fn shown_classes(names: Vec<Vec<u8>>) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::with_capacity(names.len());
    for name in names {
        let plain = shown(&name);
        let mut shown = plain.clone();
        let mut number = 1;
        while classes.iter().any(|class| class.shown == shown) {
            number += 1;
            shown = format!("{plain} ({number})");
        }
        classes.push(Class { name, shown });
    }
    classes
}

/// Whether a file's name is that of a picture that is read.
fn is_picture(path: &[u8]) -> bool {
    ends_in(path, &EXTENSIONS)
}

/// Whether a file's name is that of a picture, read or not.
fn looks_like_picture(path: &[u8]) -> bool {
    is_picture(path) || ends_in(path, &OTHER_PICTURES)
}

fn ends_in(path: &[u8], extensions: &[&str]) -> bool {
    let Some(dot) = path.iter().rposition(|byte| *byte == b'.') else { return false };
    extensions.iter().any(|extension| extension.as_bytes().eq_ignore_ascii_case(&path[dot + 1..]))
}
