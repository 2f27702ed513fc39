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
    made.into_iter().try_for_each(sync_name)?;
    // An earlier process may have made it without coming this far. Someone else's folder may be closed to us.
    match folder.parent().map_or(Ok(()), sync_folder) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Syncs the name of a folder that was just made to disk. One who may write into the folder above and not read it cannot open that,
/// but the whole file system can be synced from the new folder.
fn sync_name(made: &FilePath) -> io::Result<()> {
    match made.parent().map_or(Ok(()), sync_folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(rustix::fs::syncfs(std::fs::File::open(made)?)?)
        }
        synced => synced,
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
///
/// # Errors
/// The location is none.
pub fn folder_of(location: &str) -> Result<Option<PathBuf>, OpenError> {
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
    use std::{
        fs::{self, Permissions},
        os::unix::{fs::PermissionsExt, process::CommandExt},
        process::Command,
    };

    use super::*;

    /// A user who is not root, to whom permissions matter.
    const NOBODY: u32 = 65_534;
    /// Names the folder in the process that runs as that user.
    const WITHIN: &str = "SWEEP_TEST_MAKE_FOLDERS_IN";

    #[test]
    fn folders_are_made_where_one_may_write_and_not_read() {
        if let Some(parent) = std::env::var_os(WITHIN) {
            let parent = PathBuf::from(parent);
            assert!(fs::read_dir(&parent).is_err(), "the folder can be read, which shows nothing");
            make_folders(&parent.join("a/b")).unwrap();
            assert!(parent.join("a/b").is_dir());
            return make_folders(&parent.join("a/b")).unwrap();
        }
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), Permissions::from_mode(0o333)).unwrap();
        // The program may lie where that user cannot come.
        let program = parent.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut again = Command::new(&program);
        again.args(["--exact", "tests::folders_are_made_where_one_may_write_and_not_read", "--nocapture"]);
        if rustix::process::geteuid().is_root() {
            again.uid(NOBODY).gid(NOBODY);
        }
        let ran = again.env(WITHIN, parent.path()).current_dir("/").output().unwrap();
        fs::set_permissions(parent.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    }

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
