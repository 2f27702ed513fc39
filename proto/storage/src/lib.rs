//! Where the programs of sweep keep files: a folder, S3, Google Cloud Storage or Azure, by URL. What lies there, and under which
//! names, is a matter of those who open it.

use std::{
    io,
    path::{Path as FilePath, PathBuf, absolute},
    sync::Arc,
};

use object_store::{ObjectStore, local::LocalFileSystem, path::Path};
use url::Url;

/// What may name a place, for messages.
pub const LOCATIONS: &str = "a folder, or a URL such as file:///mnt/shared, s3://bucket/folder, gs://bucket/folder or \
                             az://container/folder";

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What names it is not understood.
    #[error("{0}")]
    Location(String),
    /// It is a folder that cannot be made.
    #[error("{source}")]
    Folder {
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// What happens to a folder whose last file is removed, where the place is a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyFolders {
    /// It is removed, too.
    Removed,
    /// It stays, for those who write into it past the store.
    Kept,
}

/// A place that is open.
#[derive(Debug, Clone)]
pub struct Storage {
    pub store: Arc<dyn ObjectStore>,
    /// Everything lies below it.
    pub root: Path,
    /// The local folder, if it is one; absolute.
    pub folder: Option<PathBuf>,
}

impl Storage {
    /// The place that `location` names, a folder or a URL. A folder is made if it is missing. Credentials come from the cloud's own
    /// environment variables.
    ///
    /// # Errors
    /// It is not understood, or is a folder that cannot be made.
    pub fn open(location: &str, empty_folders: EmptyFolders) -> Result<Self, OpenError> {
        match folder_of(location)? {
            Some(folder) => {
                Self::in_folder(&folder, empty_folders).map_err(|source| OpenError::Folder { folder, source })
            }
            None => Self::in_bucket(location),
        }
    }

    fn in_folder(folder: &FilePath, empty_folders: EmptyFolders) -> io::Result<Self> {
        let folder = absolute(folder)?;
        make_folders(&folder)?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(io::Error::other)?;
        let store = store.with_fsync(true).with_automatic_cleanup(empty_folders == EmptyFolders::Removed);
        Ok(Self { store: Arc::new(store), root: Path::default(), folder: Some(folder) })
    }

    fn in_bucket(location: &str) -> Result<Self, OpenError> {
        let wrong = |error: &dyn std::fmt::Display| OpenError::Location(error.to_string());
        let url = Url::parse(location).map_err(|error| wrong(&error))?;
        // Of two implementations of TLS that could be built in, this is the one. An error says that it is set already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, root) = object_store::parse_url_opts(&url, settings).map_err(|error| wrong(&error))?;
        Ok(Self { store: Arc::from(store), root, folder: None })
    }
}

/// Creates a folder and those above it that are missing, so that they survive a power cut.
///
/// # Errors
/// The file system refuses.
pub fn make_folders(folder: &FilePath) -> io::Result<()> {
    let made: Vec<&FilePath> = folder.ancestors().take_while(|above| !above.exists()).collect();
    std::fs::create_dir_all(folder)?;
    made.into_iter().filter_map(FilePath::parent).try_for_each(sync_folder)?;
    // An earlier process may have made it without coming this far. Someone else's folder may be closed to us.
    match folder.parent().map_or(Ok(()), sync_folder) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Syncs the names in a folder to disk.
///
/// # Errors
/// The file system refuses.
pub fn sync_folder(folder: &FilePath) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// The folder that a location names, if it names one.
fn folder_of(location: &str) -> Result<Option<PathBuf>, OpenError> {
    let wrong = |reason: String| OpenError::Location(reason);
    match location.split_once("://") {
        None if location.is_empty() => Err(wrong("it is empty".to_owned())),
        None => Ok(Some(PathBuf::from(location))),
        Some(("file", _)) => {
            let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
            let folder = url.to_file_path();
            folder.map(Some).map_err(|()| wrong("a file URL needs an absolute path".to_owned()))
        }
        Some(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_may_be_a_url() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        for location in [folder.display().to_string(), format!("file://{}", folder.display())] {
            let storage = Storage::open(&location, EmptyFolders::Kept).unwrap();
            assert!(folder.is_dir() && storage.folder.as_deref() == Some(folder.as_path()), "{location}");
            std::fs::remove_dir(&folder).unwrap();
        }
    }

    #[test]
    fn a_bucket_has_its_folder_as_its_root() {
        let storage = Storage::open("s3://bucket/some/folder", EmptyFolders::Kept).unwrap();
        assert_eq!((storage.root.as_ref(), storage.folder), ("some/folder", None));
    }

    #[test]
    fn what_names_no_place_is_refused_with_the_reason() {
        for (location, part) in [
            ("", "it is empty"),
            ("file://relative", "absolute"),
            ("ftp://host/folder", "ftp"),
            ("/dev/null/x", "directory"),
        ] {
            let error = Storage::open(location, EmptyFolders::Removed).unwrap_err().to_string();
            assert!(error.to_lowercase().contains(part), "{location}: {error}");
        }
    }
}
