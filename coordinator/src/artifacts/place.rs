//! Where files of weights lie: a folder, S3, Google Cloud Storage or Azure, by URL. A file appears under its name whole or
//! not at all. In a folder it is put together on the same disk and given its name; for a cloud it is put together in a
//! temporary folder.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart, local::LocalFileSystem,
    path::Path as Name,
};
use url::Url;

use super::{ArtifactError, parts::Staging};

/// Parts of a file that are on their way to a cloud at the same time.
const PARTS_MAX: usize = 4;
/// Bytes that are read from the disk at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A place for files.
#[derive(Debug)]
pub(super) struct Place {
    store: Arc<dyn ObjectStore>,
    root: Name,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

impl Place {
    /// The place that `location` names, a folder or a URL, and where files for it are put together. Credentials come from
    /// the cloud's own environment variables.
    pub(super) fn open(location: &str) -> Result<(Self, Staging), ArtifactError> {
        let wrong = |reason: String| ArtifactError::Url { url: location.to_owned(), reason };
        let folder = match location.split_once("://") {
            None if location.is_empty() => return Err(wrong("it is empty".into())),
            None => Some(PathBuf::from(location)),
            Some(("file", _)) => {
                let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
                Some(url.to_file_path().map_err(|()| wrong("a file URL needs an absolute path".into()))?)
            }
            Some(_) => None,
        };
        if let Some(folder) = folder {
            return Self::in_folder(&folder).map_err(|source| ArtifactError::Folder { folder, source });
        }
        let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
        // The clouds' clients and tonic share one implementation of TLS; it is set once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, root) =
            object_store::parse_url_opts(&url, settings).map_err(|error| wrong(error.to_string()))?;
        let staging = Staging::own()
            .map_err(|source| ArtifactError::Folder { folder: std::env::temp_dir(), source })?;
        Ok((Self { store: Arc::from(store), root, folder: None }, staging))
    }

    fn in_folder(folder: &Path) -> std::io::Result<(Self, Staging)> {
        let folder = std::path::absolute(folder)?;
        let staging = folder.join("incoming");
        fs::create_dir_all(&staging)?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(std::io::Error::other)?;
        let store = store.with_fsync(true).with_automatic_cleanup(false);
        let place = Self { store: Arc::new(store), root: Name::default(), folder: Some(folder) };
        Ok((place, Staging::Beside(staging)))
    }

    fn object(&self, name: &str) -> Name {
        name.split('/').fold(self.root.clone(), |place, part| place.join(part))
    }

    /// Gives a whole file, which is put together at `staged`, its name. It is on the disk when this returns.
    pub(super) async fn publish(&self, staged: PathBuf, name: &str) -> Result<(), ArtifactError> {
        if let Some(folder) = &self.folder {
            let target = folder.join(name);
            return blocking(move || {
                let parent = target.parent().unwrap_or(Path::new("/")).to_owned();
                fs::create_dir_all(&parent)?;
                fs::rename(&staged, &target)?;
                // The names of the file and of its folder.
                File::open(&parent)?.sync_all()?;
                parent.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
            })
            .await;
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

    /// The bytes of a file from `offset` on.
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

    /// Removes a file; one that is not there is as good as removed.
    pub(super) async fn remove(&self, name: &str) -> Result<(), ArtifactError> {
        match self.store.delete(&self.object(name)).await {
            Err(object_store::Error::NotFound { .. }) => {}
            removed => removed?,
        }
        if let Some(folder) = &self.folder
            && let Some(parent) = folder.join(name).parent()
        {
            // The folder of its sweep, where nothing is left in it.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    /// The names of all files.
    pub(super) async fn list(&self) -> Result<Vec<String>, ArtifactError> {
        let found: Vec<_> = self.store.list(Some(&self.root)).try_collect().await?;
        let below = |name: &Name| {
            let parts: Vec<_> = name.prefix_match(&self.root)?.collect();
            Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
        };
        Ok(found.iter().filter_map(|object| below(&object.location)).collect())
    }
}

/// Does something with files that may take a while.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ArtifactError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ArtifactError::File(std::io::Error::other(error)))?.map_err(ArtifactError::File)
}
