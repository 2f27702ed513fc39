//! What can be wrong with a data set; every message ends with what to do.

use std::path::{Path, PathBuf};

/// Bad files named in one message; the rest is counted.
const LISTED_MAX: usize = 20;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nothing is there.
    #[error("there is no data set at {path}; check the path, which is looked up on the worker's machine")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// No picture is there.
    #[error(
        "{path} holds no pictures; expected class folders with .jpg, .jpeg or .png files, or files named like cat.0.jpg"
    )]
    NoImages {
        /// Where.
        path: PathBuf,
    },
    /// A picture's class cannot be told.
    #[error(
        "{path}: the name of {file:?} does not tell its class; put the pictures into class folders, or name them like \
         cat.0.jpg"
    )]
    NoClass {
        /// The data set.
        path: PathBuf,
        /// The picture.
        file: String,
    },
    /// A class has no pictures.
    #[error("{path}: the class folder {class:?} holds no pictures; fill it or remove it")]
    EmptyClass {
        /// The data set.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// There is nothing to tell apart.
    #[error("{path} has the one class {class:?}; a classifier needs two or more")]
    OneClass {
        /// The data set.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// More classes than labels.
    #[error("{path} has {found} classes, more than the 256 that are supported")]
    TooManyClasses {
        /// The data set.
        path: PathBuf,
        /// How many.
        found: usize,
    },
    /// More or larger files than is sane.
    #[error("{path}: {what}; split the data set or remove the file")]
    TooLarge {
        /// The data set.
        path: PathBuf,
        /// What is too large.
        what: String,
    },
    /// Pictures cannot be decoded.
    #[error(
        "{path}: {count} pictures cannot be decoded; repair or remove them, or leave them out with --skip-corrupt:\n{list}"
    )]
    Corrupt {
        /// The data set.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them with their reasons, a line each.
        list: String,
    },
    /// Something cannot be read.
    #[error("cannot read {path}: {source}; check that it exists and that the worker may read it")]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody writes to it.
    #[error(
        "the pictures of {path} changed while they were packed; try again when nothing writes to it any more"
    )]
    Changed {
        /// The data set.
        path: PathBuf,
    },
    /// The disk is full.
    #[error(
        "no space left for the packed data set in {path}; make room, or choose another place with --cache-dir"
    )]
    NoSpace {
        /// Where.
        path: PathBuf,
    },
    /// Something cannot be written.
    #[error("cannot write {path}: {source}; check that the folder is writable, or choose another place")]
    Write {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder to be made is there already with something else in it.
    #[error("{path} holds other files than the ones asked for; remove it, or choose another folder")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// An archive cannot be used.
    #[error("{path} cannot be used as a .zip archive: {reason}; unpack it and give the folder instead")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A packed data set cannot be used.
    #[error("{path} is not a packed data set: {reason}; make it again with `sweep-worker dataset pack`")]
    Packed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A packed data set has another size.
    #[error(
        "{path} holds images of {found} pixels a side, but {wanted} are asked for; set dataset.image_size to {found}, or \
         pack the pictures again"
    )]
    ImageSize {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
}

impl DataError {
    /// A failure to write, with a full disk told apart.
    pub(super) fn writing(path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path: path.parent().unwrap_or(path).to_owned() }
            }
            _ => Self::Write { path: path.to_owned(), source },
        }
    }

    /// Pictures that cannot be decoded, as (path, reason).
    pub(super) fn corrupt(path: &Path, bad: &[(String, String)]) -> Self {
        let mut lines: Vec<String> =
            bad.iter().take(LISTED_MAX).map(|(file, reason)| format!("  {file}: {reason}")).collect();
        if bad.len() > LISTED_MAX {
            lines.push(format!("  … and {} more", bad.len() - LISTED_MAX));
        }
        Self::Corrupt { path: path.to_owned(), count: bad.len(), list: lines.join("\n") }
    }
}
