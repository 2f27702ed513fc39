//! What can be wrong with a data set; every message ends with what to do. [`DataError::is_passing`] separates faults
//! that may be gone at the next try from those that stay until someone changes something.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Bad files listed in one message; the rest are counted.
const LISTED_MAX: usize = 20;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("there is no data set at {path}; check the path, which is looked up on the worker's machine")]
    Missing { path: PathBuf },
    /// Nothing is there for validation.
    #[error(
        "there is no validation set at {path} (dataset.val_path), though the training set is there; check the path, which is \
         looked up on the worker's machine, or leave dataset.val_path out to hold out a share of the training set"
    )]
    ValidationMissing { path: PathBuf },
    /// A folder may be a class or a set of pictures.
    #[error("{path}: {what}")]
    Ambiguous {
        /// The data set.
        path: PathBuf,
        /// Which folders, and what to do.
        what: String,
    },
    /// No picture is there.
    #[error(
        "{path} holds no pictures{found}; expected class folders with .jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff, .ppm or \
         .pgm files, or files named like cat.0.jpg"
    )]
    NoImages {
        path: PathBuf,
        /// What is there instead, or empty.
        found: String,
    },
    /// Neither a folder nor an archive nor a pack.
    #[error(
        "{path} is {found}, not a data set; give an image folder, a .zip of one, or a packed .safetensors (unpack other \
         archives first)"
    )]
    NotADataset { path: PathBuf, found: String },
    /// The validation set does not match the training set.
    #[error(
        "the validation set of {path} cannot be used: {reason}; make both hold the same class folders, or name another one \
         with dataset.val_path"
    )]
    Validation {
        /// The data set.
        path: PathBuf,
        reason: String,
    },
    /// A picture's class is unclear.
    #[error(
        "{path}: the name of {file:?} does not tell its class; put the pictures into class folders, or name them like \
         cat.0.jpg"
    )]
    NoClass {
        /// The data set.
        path: PathBuf,
        file: String,
    },
    /// A class has no pictures.
    #[error(
        "{path}: the class folder {class:?} holds no pictures{found}; fill it, remove it, or give the folder \
         that holds the class folders"
    )]
    EmptyClass {
        /// The data set.
        path: PathBuf,
        class: String,
        /// What is there instead, or empty.
        found: String,
    },
    /// There is only one class.
    #[error(
        "{path} has the one class {class:?}{found}; a classifier needs two or more: give the folder that holds a folder for \
         each class, or files named like cat.0.jpg and dog.0.jpg"
    )]
    OneClass {
        /// The data set.
        path: PathBuf,
        class: String,
        /// What else is there, or empty.
        found: String,
    },
    /// More classes than labels.
    #[error("{path} has {found} classes, more than the 256 that are supported")]
    TooManyClasses {
        /// The data set.
        path: PathBuf,
        found: usize,
    },
    /// More or larger files than is reasonable.
    #[error("{path}: {what}; split the data set or remove the file")]
    TooLarge {
        /// The data set.
        path: PathBuf,
        /// What is too large.
        what: String,
    },
    /// Pictures cannot be decoded.
    #[error(
        "{path}: {} cannot be decoded; repair or remove them, or leave them out with --skip-corrupt:\n{list}", 
        terms::count(*count as u64, "picture")
    )]
    Corrupt {
        /// The data set.
        path: PathBuf,
        count: usize,
        /// The first of them with their reasons, one per line.
        list: String,
    },
    /// Something cannot be read.
    #[error("cannot read {path}: {source}; check that it exists and that the worker may read it")]
    Read {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Someone writes to it.
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
    NoSpace { path: PathBuf },
    /// The cache may not have so much.
    #[error("the packed data set takes {needed} bytes, and {path} may hold {bytes_max} (--cache-max-bytes){}", 
        match (needed > bytes_max, needed.saturating_add(*in_use)) {
            (true, _) => format!(": it does not fit even alone; start the worker with --cache-max-bytes {needed} or more, or choose a smaller \
                                  dataset.image_size"),
            (false, together) => format!(", of which other jobs use {in_use}; it is tried again when they have ended. To train both at \
                                          the same time, start the worker with --cache-max-bytes {together} or more, or choose a smaller \
                                          dataset.image_size"),
        })]
    CacheFull {
        /// The cache.
        path: PathBuf,
        needed: u64,
        bytes_max: u64,
        /// Of packs that other processes use.
        in_use: u64,
    },
    /// Something cannot be written.
    #[error("cannot write {path}: {source}; check that the folder is writable, or choose another place")]
    Write {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A folder to be created exists with other content.
    #[error("{path} holds other files than the ones asked for; remove it, or choose another folder")]
    Occupied { path: PathBuf },
    /// An archive cannot be used.
    #[error("{path} cannot be used as a .zip archive: {reason}; unpack it and give the folder instead")]
    Archive { path: PathBuf, reason: String },
    /// A packed data set cannot be used.
    #[error("{path} is not a packed data set: {reason}; make it again with `sweep-worker dataset pack`")]
    Packed { path: PathBuf, reason: String },
    /// A packed data set has another size.
    #[error(
        "{path} holds images of {found} pixels a side, but {wanted} are asked for; set dataset.image_size to {found}, or \
         pack the pictures again"
    )]
    ImageSize {
        path: PathBuf,
        /// What it holds.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
    /// It was used from this path before and is missing now, as with an unreliable mount.
    #[error("{fault} (it was there before: is the disk or the share mounted?)")]
    Away {
        /// What is wrong now.
        fault: Box<DataError>,
    },
}

impl DataError {
    /// Whether the next try may find the same data set without anyone changing it: a path that existed is missing, the
    /// device or the network failed a read, or the disk is full. Faults of the data set itself (no pictures, broken
    /// ones, another content) stay.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Changed { .. } | Self::NoSpace { .. } => true,
            // Others may end; too large alone it stays.
            Self::CacheFull { needed, bytes_max, .. } => needed <= bytes_max,
            // A picture that was just listed is missing; for the path itself the error is `Missing`.
            Self::Read { source, .. } => source.kind() == ErrorKind::NotFound || is_passing(source),
            Self::Write { source, .. } => is_passing(source),
            Self::Missing { .. }
            | Self::ValidationMissing { .. }
            | Self::Ambiguous { .. }
            | Self::NoImages { .. }
            | Self::NotADataset { .. }
            | Self::Validation { .. }
            | Self::NoClass { .. }
            | Self::EmptyClass { .. }
            | Self::OneClass { .. }
            | Self::TooManyClasses { .. }
            | Self::TooLarge { .. }
            | Self::Corrupt { .. }
            | Self::Occupied { .. }
            | Self::Archive { .. }
            | Self::Packed { .. }
            | Self::ImageSize { .. } => false,
        }
    }

    /// The same fault of a data set that was used from this path before: a missing or unreadable path may then come
    /// back. An unmounted share leaves an empty folder.
    pub(super) fn of_known_path(self) -> Self {
        let away = match &self {
            Self::Missing { .. } | Self::ValidationMissing { .. } | Self::NoImages { .. } => true,
            Self::Read { source, .. } => {
                matches!(
                    source.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory
                )
            }
            _ => false,
        };
        if away { Self::Away { fault: Box::new(self) } } else { self }
    }

    /// An error while writing, with a full disk told apart.
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

/// Whether the system's error comes from devices, networks or limits (EIO, ESTALE, ETIMEDOUT, EMFILE, …), not from what
/// was asked for.
fn is_passing(error: &std::io::Error) -> bool {
    error.raw_os_error().is_some()
        && !matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::AlreadyExists
                | ErrorKind::InvalidInput
                | ErrorKind::InvalidFilename
                | ErrorKind::FileTooLarge
                | ErrorKind::ReadOnlyFilesystem
        )
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    fn read(code: i32) -> DataError {
        DataError::Read { path: "/data".into(), source: Error::from_raw_os_error(code) }
    }

    #[test]
    fn faults_of_devices_and_networks_pass_and_those_of_the_data_set_stay() {
        use rustix::io::Errno;
        for passing in [Errno::IO, Errno::STALE, Errno::TIMEDOUT, Errno::NOTCONN, Errno::MFILE, Errno::NOENT]
        {
            assert!(read(passing.raw_os_error()).is_passing(), "{passing:?}");
        }
        for lasting in [Errno::ACCESS, Errno::PERM, Errno::NOTDIR, Errno::ISDIR, Errno::INVAL] {
            assert!(!read(lasting.raw_os_error()).is_passing(), "{lasting:?}");
        }
        let path = PathBuf::from("/data");
        assert!(DataError::Changed { path: path.clone() }.is_passing());
        assert!(DataError::writing(&path, Error::from(ErrorKind::StorageFull)).is_passing());
        assert!(!DataError::Missing { path: path.clone() }.is_passing());
        assert!(!DataError::NoImages { path: path.clone(), found: String::new() }.is_passing());
        assert!(!DataError::corrupt(&path, &[("a.jpg".into(), "cut off".into())]).is_passing());
        let corrupt = DataError::Read { path, source: Error::new(ErrorKind::InvalidData, "checksum") };
        assert!(!corrupt.is_passing());
    }
}
