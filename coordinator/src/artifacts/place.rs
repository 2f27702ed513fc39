//! Where files of weights are kept: a folder, S3, Google Cloud Storage or Azure, by URL. A file appears under its name
//! complete or not at all. For a folder it is assembled on the same disk and renamed; for a cloud it is assembled in a
//! temporary folder. Small files that are complete at once, mainly the contents of snapshots, skip this.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart, path::Path as Name};
use storage::{EmptyFolders, Storage, make_folders, sync_folder};

use super::{
    ArtifactError,
    parts::{Staging, check_room, if_there},
};

/// Parts of a file that are uploaded to a cloud at the same time.
const PARTS_MAX: usize = 4;
/// Bytes that are read from the disk at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The subfolder in which files are assembled.
const STAGING: &str = "incoming";
/// Suffix of written files that do not have their own name yet.
const NEW: &str = ".new";

/// A file that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    /// When it was written.
    pub(super) modified: SystemTime,
    pub(super) bytes: u64,
}

/// A place for files.
#[derive(Debug)]
pub(super) struct Place {
    store: Arc<dyn ObjectStore>,
    root: Name,
    /// The local folder, if it is one.
    folder: Option<PathBuf>,
}

impl Place {
    /// The place that `location` names, a folder or a URL, and where files for it are assembled. Credentials come from
    /// the cloud's own environment variables.
    pub(super) fn open(location: &str) -> Result<(Self, Staging), ArtifactError> {
        let opened = Storage::open(location, EmptyFolders::Kept).map_err(|error| match error {
            storage::OpenError::Location(reason) => ArtifactError::Url { url: location.to_owned(), reason },
            storage::OpenError::Folder { folder, source } => ArtifactError::Folder { folder, source },
        });
        let Storage { store, root, folder } = opened?;
        let staging = match &folder {
            Some(folder) => {
                let staging = folder.join(STAGING);
                let made = make_folders(&staging);
                made.map_err(|source| ArtifactError::Folder { folder: folder.clone(), source })?;
                Staging::NextTo(staging)
            }
            None => Staging::own()
                .map_err(|source| ArtifactError::Folder { folder: std::env::temp_dir(), source })?,
        };
        Ok((Self { store, root, folder }, staging))
    }

    /// Whether it is a folder, where one file may be unreadable while others are not.
    pub(super) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    fn object(&self, name: &str) -> Name {
        name.split('/').fold(self.root.clone(), |place, part| place.join(part))
    }

    /// Gives a complete file, assembled at `staged`, its name. It is durable when this returns.
    pub(super) async fn publish(&self, staged: PathBuf, name: &str) -> Result<(), ArtifactError> {
        if let Some(folder) = &self.folder {
            let (root, target) = (folder.clone(), folder.join(name));
            return blocking(move || give_name(&staged, &root, &target)).await;
        }
        let mut upload = WriteMultipart::new(self.store.put_multipart(&self.object(name)).await?);
        let mut file = File::open(&staged)?;
        loop {
            let (piece, rest) = blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let bytes = file.read(&mut piece)?;
                piece.truncate(bytes);
                Ok((piece, file))
            })
            .await?;
            if piece.is_empty() {
                break;
            }
            file = rest;
            upload.wait_for_capacity(PARTS_MAX).await?;
            upload.write(&piece);
        }
        upload.finish().await?;
        blocking(move || fs::remove_file(staged)).await
    }

    /// Writes a complete file. It is durable when this returns.
    pub(super) async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), ArtifactError> {
        let Some(folder) = &self.folder else {
            self.store.put(&self.object(name), content.into()).await?;
            return Ok(());
        };
        let (staging, root, target) = (folder.join(STAGING), folder.clone(), folder.join(name));
        blocking(move || {
            check_room(&staging, content.len() as u64)?;
            let mut staged = tempfile::Builder::new().suffix(NEW).tempfile_in(&staging)?;
            staged.write_all(&content)?;
            staged.as_file().sync_all()?;
            let staged = staged.into_temp_path();
            give_name(&staged, &root, &target)
        })
        .await
    }

    /// The length of a file; none if it does not exist.
    pub(super) async fn length(&self, name: &str) -> Result<Option<u64>, ArtifactError> {
        match self.store.head(&self.object(name)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// At most `bytes` bytes of a file from `offset`, fewer at its end and none beyond it, and the length of the file. None if
    /// it does not exist.
    pub(super) async fn read_piece(
        &self,
        name: &str,
        offset: u64,
        bytes: u64,
    ) -> Result<Option<(Vec<u8>, u64)>, ArtifactError> {
        let range = GetRange::Bounded(offset..offset.saturating_add(bytes));
        // Object stores refuse an empty range.
        let is_empty = bytes == 0;
        let options =
            GetOptions { range: (!is_empty).then_some(range), head: is_empty, ..GetOptions::default() };
        let error = match self.store.get_opts(&self.object(name), options).await {
            Ok(found) if is_empty => return Ok(Some((Vec::new(), found.meta.size))),
            Ok(found) => {
                let length = found.meta.size;
                return Ok(Some((found.bytes().await?.to_vec(), length)));
            }
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => error,
        };
        // They refuse a range beyond the end, too, each in its own words.
        match self.length(name).await {
            Ok(Some(length)) if offset >= length => Ok(Some((Vec::new(), length))),
            _ => Err(error.into()),
        }
    }

    /// The files below a folder.
    pub(super) async fn list_below(&self, folder: &str) -> Result<Vec<Found>, ArtifactError> {
        let found: Vec<_> = self.store.list(Some(&self.object(folder))).try_collect().await?;
        let described = |object: &object_store::ObjectMeta| {
            let age_ms = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            Some(Found {
                name: self.name_of(&object.location)?,
                modified: UNIX_EPOCH + Duration::from_millis(age_ms),
                bytes: object.size,
            })
        };
        Ok(found.iter().filter_map(described).collect())
    }

    /// Removes files that a crash kept from getting their names, and that were last written before `before`.
    pub(super) async fn remove_unnamed(&self, before: SystemTime) -> Result<(), ArtifactError> {
        let Some(staging) = self.folder.as_ref().map(|folder| folder.join(STAGING)) else { return Ok(()) };
        blocking(move || {
            for entry in fs::read_dir(&staging)? {
                let entry = entry?;
                let is_new = entry.file_name().to_string_lossy().ends_with(NEW);
                let found = if is_new { if_there(entry.metadata())? } else { None };
                if let Some(found) = found
                    && found.modified()? < before
                {
                    if_there(fs::remove_file(entry.path()))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The bytes of a file from `offset`.
    pub(super) async fn read(
        &self,
        name: &str,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Vec<u8>, ArtifactError>>, ArtifactError> {
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.store.get_opts(&self.object(name), options).await?;
        Ok(found.into_stream().map(|piece| Ok(piece?.to_vec())).boxed())
    }

    /// Removes a file; a missing one is fine.
    pub(super) async fn remove(&self, name: &str) -> Result<(), ArtifactError> {
        match self.store.delete(&self.object(name)).await {
            Err(object_store::Error::NotFound { .. }) => {}
            removed => removed?,
        }
        if let Some(folder) = &self.folder
            && let Some(parent) = folder.join(name).parent()
        {
            // The folder of its sweep, if it is empty.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    /// The names of all files.
    pub(super) async fn list(&self) -> Result<Vec<String>, ArtifactError> {
        let found: Vec<_> = self.store.list(Some(&self.root)).try_collect().await?;
        Ok(found.iter().filter_map(|object| self.name_of(&object.location)).collect())
    }

    /// The name of an object below the place.
    fn name_of(&self, object: &Name) -> Option<String> {
        let parts: Vec<_> = object.prefix_match(&self.root)?.collect();
        Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    }
}

/// Gives a complete file on the same disk its name below `root`, so that it survives a power cut.
fn give_name(staged: &Path, root: &Path, target: &Path) -> std::io::Result<()> {
    let parent = target.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    fs::rename(staged, target)?;
    // Syncs the names of the file and of its folders, which this or an earlier call has made.
    parent.ancestors().take_while(|folder| folder.starts_with(root)).try_for_each(sync_folder)
}

/// Runs file operations that may take a while.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ArtifactError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ArtifactError::File(std::io::Error::other(error)))?.map_err(ArtifactError::File)
}
