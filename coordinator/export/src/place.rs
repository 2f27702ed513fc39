//! Where an export is put: written next to its name, and given the name once it is whole. What is there already is replaced only
//! where it is an export, too.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use held_folder::HeldFolder;
use report::{DocumentKind, Sweep};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with, syncfs},
    io::Errno,
};

use super::{Identity, document, marker, optuna, parquet, tensorboard};

/// Prefix of the folders that hold exports until they are whole.
const UNFINISHED: &str = ".sweep-export-";
/// The name of what is written in such a folder, and of what it replaces.
const WHOLE: &str = "export";
const BEFORE: &str = "before";

/// What an export is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A file with a document.
    Document(DocumentKind),
    /// A folder with two tables.
    Parquet,
    /// A folder with runs.
    TensorBoard,
    /// A file with a storage.
    Optuna,
}

impl Shape {
    fn is_file(self) -> bool {
        match self {
            Self::Document(_) | Self::Optuna => true,
            Self::Parquet | Self::TensorBoard => false,
        }
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Nothing, or nothing that could be lost.
    Nothing,
    /// A table of some sweep: tables do not name it.
    Table,
    /// An export of this sweep.
    Export(Identity),
    /// Something else.
    Other,
}

/// Why an export cannot be put somewhere.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("cannot write {path}: {source}; check that the folder exists, is writable and has room")]
    Write {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    #[error(
        "{0} is there and is not such an export; choose another path with --output, or replace it with --force"
    )]
    Other(PathBuf),
    /// It is never replaced: with a folder, everything in it would be lost.
    #[error("{0} is there and is not such an export; choose another path with --output")]
    NoFile(PathBuf),
    #[error(
        "{0} is in use: there is a journal next to it; end what has it open, or choose another path with --output"
    )]
    InUse(PathBuf),
    #[error(
        "{path} is there and is a table of another sweep, as {why}; choose another path with --output, or replace it with --force"
    )]
    TableOfAnother {
        path: PathBuf,
        /// What tells it.
        why: String,
    },
    #[error(
        "{path} holds the export of another sweep ({}, sweep {}); choose another path with --output, or replace it with --force",
        of.name,
        of.id
    )]
    OfAnother { path: PathBuf, of: Identity },
}

/// The place of an export that is not whole yet. Dropping it leaves what was there before.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    unfinished: HeldFolder,
}

impl Place {
    /// A place for an export of this sweep. Folders above `path` are made if missing.
    ///
    /// # Errors
    /// Something else is there and must not be replaced, or the folder above cannot be written.
    pub fn open(path: &Path, shape: Shape, sweep: &Sweep, may_replace: bool) -> Result<Self, PlaceError> {
        let write = |source| PlaceError::Write { path: path.to_owned(), source };
        if shape == Shape::Optuna && is_in_use(path) {
            return Err(PlaceError::InUse(path.to_owned()));
        }
        match held(path, shape).map_err(write)? {
            Held::Other if !path.is_file() || !shape.is_file() => {
                return Err(PlaceError::NoFile(path.to_owned()));
            }
            Held::Other if !may_replace => return Err(PlaceError::Other(path.to_owned())),
            Held::Export(of) if !may_replace && !of.is_same(&Identity::of(sweep)) => {
                return Err(PlaceError::OfAnother { path: path.to_owned(), of });
            }
            Held::Table if !may_replace => check_table(path, shape, sweep)?,
            Held::Nothing | Held::Table | Held::Export(_) | Held::Other => {}
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(write)?;
        HeldFolder::remove_stale(folder, UNFINISHED);
        let unfinished = HeldFolder::create(folder, UNFINISHED).map_err(write)?;
        Ok(Self { path: path.to_owned(), unfinished })
    }

    /// Where it is written.
    pub fn unfinished(&self) -> PathBuf {
        self.unfinished.path().join(WHOLE)
    }

    /// Gives what was written its name.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn put(self) -> Result<(), PlaceError> {
        self.replace().map_err(|source| PlaceError::Write { path: self.path.clone(), source })
    }

    fn replace(&self) -> io::Result<()> {
        let whole = self.unfinished();
        // A name must not outlive a power cut that its content does not.
        if whole.is_dir() {
            syncfs(File::open(&whole)?)?;
        } else {
            File::open(&whole)?.sync_all()?;
        }
        let before = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::rename(&whole, &self.path),
            found => found?,
        };
        if !before.is_dir() && !whole.is_dir() {
            return fs::rename(&whole, &self.path);
        }
        match renameat_with(CWD, &whole, CWD, &self.path, RenameFlags::EXCHANGE) {
            // A file system that cannot exchange two names: for a moment there is nothing.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::rename(&self.path, self.unfinished.path().join(BEFORE))?;
                fs::rename(&whole, &self.path)
            }
            exchanged => Ok(exchanged?),
        }
    }
}

/// What is at a path where an export is to be put.
pub(crate) fn held(path: &Path, shape: Shape) -> io::Result<Held> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Nothing),
        found => found?,
    };
    if found.is_file() != shape.is_file() || !(found.is_file() || found.is_dir()) {
        return Ok(Held::Other);
    }
    match shape {
        Shape::Document(_) | Shape::Optuna if found.len() == 0 => Ok(Held::Nothing),
        Shape::Document(kind) => document::held(path, kind),
        Shape::Optuna => Ok(optuna::held(path)),
        Shape::Parquet => {
            let is_own = |name: &str| [marker::NAME, parquet::JOBS, parquet::EPOCHS].contains(&name);
            marker::held(path, "parquet", is_own)
        }
        Shape::TensorBoard => marker::held(path, "tensorboard", tensorboard::is_own),
    }
}

/// Refuses to replace a table that is not of this sweep, as far as that can be told.
fn check_table(path: &Path, shape: Shape, sweep: &Sweep) -> Result<(), PlaceError> {
    let Shape::Document(kind) = shape else { return Ok(()) };
    let path = path.to_owned();
    match document::stranger(&path, kind, sweep) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(PlaceError::TableOfAnother { path, why }),
        Err(source) => Err(PlaceError::Write { path, source }),
    }
}

/// Whether someone works in an SQLite file: its changes that are not in it yet would be applied to the next one.
fn is_in_use(path: &Path) -> bool {
    ["-journal", "-wal"].iter().any(|ending| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        fs::metadata(beside).is_ok_and(|found| found.len() > 0)
    })
}

#[cfg(test)]
mod tests;
