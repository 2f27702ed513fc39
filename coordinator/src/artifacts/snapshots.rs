//! The files that are sent with sweeps, by content: `contents/<2 digits>/<hash>`, each once for all senders, and
//! `snapshots/<id>.json`, which lists those of a sweep. A manifest is written after its contents, and before its sweep
//! is recorded. A snapshot that a sweep names gets a mark next to it, `snapshots/<id>.named`. Several coordinators may
//! share the place without knowing each other's sweeps, so a snapshot with a mark is never removed.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use domain::record::WeightsFile;
use futures_util::{StreamExt, TryStreamExt, stream};
use terms::snapshot::{
    ContentHash, SNAPSHOT_FILE_BYTES_MAX, SNAPSHOT_PIECE_BYTES_MAX, SNAPSHOT_PIECES_MAX, SnapshotId,
    SnapshotManifest,
};
use tokio::sync::RwLockReadGuard;

use super::{ArtifactError, Artifacts, Taken, is_full, place::blocking};

const SNAPSHOTS: &str = "snapshots";
const CONTENTS: &str = "contents";
/// Suffix of manifests.
const MANIFEST: &str = ".json";
/// Longest manifest, in bytes: ten thousand files, and a megabyte of paths that JSON may double.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;
/// Suffix of marks.
const NAMED: &str = ".named";
/// What no sweep names is removed after this time: by then every submission that needs it has ended.
const UNNAMED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Contents that are checked or written at the same time for one call: a disk flushes several at once.
const TOGETHER_MAX: usize = 8;

/// A part of a content.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) content: ContentHash,
    /// Length of the content.
    pub(crate) bytes: u64,
    /// Where the part begins.
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
}

/// Prevents the removal of a snapshot until it is dropped.
pub(crate) type Held<'a> = RwLockReadGuard<'a, ()>;

impl Artifacts {
    /// Keeps a snapshot, if all of its contents are here; otherwise returns the missing ones.
    ///
    /// # Errors
    /// The place refuses, or a content is here with another length.
    pub(crate) async fn put_snapshot(
        &self,
        manifest: &SnapshotManifest,
    ) -> Result<Vec<ContentHash>, ArtifactError> {
        let _call = self.calls.weights.try_acquire().map_err(|_| ArtifactError::TooMany)?;
        // Nothing is removed between the check and the manifest.
        let _held = self.recording.read().await;
        let look = |(content, bytes): (ContentHash, u64)| async move {
            match self.place.length(&content_name(content)).await? {
                Some(length) if length != bytes => Err(ArtifactError::Length(content)),
                Some(_) => Ok(None),
                None => Ok(Some(content)),
            }
        };
        let contents = stream::iter(manifest.contents()).map(look).buffered(TOGETHER_MAX);
        let missing: Vec<ContentHash> =
            contents.try_filter_map(async |missing| Ok(missing)).try_collect().await?;
        if missing.is_empty() {
            let text = serde_json::to_vec(manifest).map_err(std::io::Error::other)?;
            self.put(&manifest_name(manifest.id()), text).await?;
        }
        Ok(missing)
    }

    /// Receives pieces of contents; returns how much of each content has arrived.
    ///
    /// # Errors
    /// They are too many or too long, a content does not match its hash, or the place refuses.
    pub(crate) async fn put_contents(&self, pieces: Vec<Piece>) -> Result<Vec<Taken>, ArtifactError> {
        let together: usize = pieces.iter().map(|piece| piece.data.len()).sum();
        if pieces.len() > SNAPSHOT_PIECES_MAX || together > SNAPSHOT_PIECE_BYTES_MAX {
            return Err(ArtifactError::Pieces);
        }
        let taken = stream::iter(pieces).map(|piece| self.put_content(piece)).buffered(TOGETHER_MAX);
        taken.try_collect().await
    }

    async fn put_content(&self, piece: Piece) -> Result<Taken, ArtifactError> {
        let Piece { content, bytes, offset, data } = piece;
        let name = content_name(content);
        if bytes > SNAPSHOT_FILE_BYTES_MAX {
            return Err(ArtifactError::TooLong(content));
        }
        match self.place.length(&name).await? {
            Some(length) if length != bytes => return Err(ArtifactError::Length(content)),
            Some(_) => return Ok(Taken::Whole),
            None => {}
        }
        if offset == 0 && data.len() as u64 == bytes {
            let _call = self.calls.weights.try_acquire().map_err(|_| ArtifactError::TooMany)?;
            if ContentHash::of(&data) != content {
                return Err(ArtifactError::Corrupt);
            }
            self.put(&name, data).await?;
            return Ok(Taken::Whole);
        }
        let file = WeightsFile { bytes, blake3: content.to_string() };
        let taken = self.take(&name, &file, offset, data).await?;
        if taken == Taken::Whole {
            self.keep(&name, &file, std::future::ready(())).await?;
        }
        Ok(taken)
    }

    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), ArtifactError> {
        match self.place.put(name, content).await {
            Err(ArtifactError::File(error)) if is_full(&error) => Err(ArtifactError::Full),
            put => put,
        }
    }

    /// The manifest of a snapshot.
    ///
    /// # Errors
    /// There is none of this name, or it cannot be read.
    pub(crate) async fn snapshot(&self, id: SnapshotId) -> Result<SnapshotManifest, ArtifactError> {
        let name = manifest_name(id);
        let found = self.place.read_piece(&name, 0, MANIFEST_BYTES_MAX).await?;
        let (text, _) = found.ok_or(ArtifactError::NoSnapshot(id))?;
        let manifest: Option<SnapshotManifest> = serde_json::from_slice(&text).ok();
        manifest.filter(|manifest| manifest.id() == id).ok_or(ArtifactError::Manifest(id))
    }

    /// Pieces of contents, each from the requested offset, as long as they fit together.
    ///
    /// # Errors
    /// A content is not here or has another length, or cannot be read.
    pub(crate) async fn contents(&self, wanted: Vec<Piece>) -> Result<Vec<Piece>, ArtifactError> {
        let _call = self.calls.weights.try_acquire().map_err(|_| ArtifactError::TooMany)?;
        let (mut room, mut pieces) = (SNAPSHOT_PIECE_BYTES_MAX as u64, Vec::new());
        for Piece { content, bytes, offset, .. } in wanted.into_iter().take(SNAPSHOT_PIECES_MAX) {
            let left = bytes.checked_sub(offset).ok_or(ArtifactError::Beyond(content))?;
            let now = left.min(room);
            if now == 0 && left > 0 {
                break;
            }
            let read = self.place.read_piece(&content_name(content), offset, now).await?;
            let (data, length) = read.ok_or(ArtifactError::NoContent(content))?;
            if length != bytes || data.len() as u64 != now {
                return Err(ArtifactError::Length(content));
            }
            room -= now;
            pieces.push(Piece { content, bytes, offset, data });
            if now < left {
                // Anything that follows, even an empty content, would come before the rest of this one.
                break;
            }
        }
        Ok(pieces)
    }

    /// Prevents the removal of a snapshot until a sweep that names it is recorded.
    ///
    /// # Errors
    /// It is not here.
    pub(crate) async fn hold_snapshot(&self, id: SnapshotId) -> Result<Held<'_>, ArtifactError> {
        let held = self.recording.read().await;
        match self.place.length(&manifest_name(id)).await? {
            Some(_) => Ok(held),
            None => Err(ArtifactError::NoSnapshot(id)),
        }
    }

    /// Marks a snapshot as named by a sweep.
    ///
    /// # Errors
    /// The place refuses; the next coordinator that leads marks it.
    pub(crate) async fn mark_snapshot(&self, id: SnapshotId) -> Result<(), ArtifactError> {
        let name = mark_name(id);
        if self.place.length(&name).await?.is_some() {
            return Ok(());
        }
        self.put(&name, Vec::new()).await
    }

    /// Marks the snapshots that sweeps name and removes the others once they are old, with the contents that no other
    /// has. Returns how many files were removed. Says once if manifests cannot be read: their contents are unknown, so
    /// that no content is removed, but everything else is.
    ///
    /// # Errors
    /// The place refuses.
    pub(crate) async fn remove_unnamed_snapshots(
        &self,
        named: &BTreeSet<SnapshotId>,
    ) -> Result<usize, ArtifactError> {
        for id in named {
            self.mark_snapshot(*id).await?;
        }
        let Some(before) = SystemTime::now().checked_sub(UNNAMED_FOR) else { return Ok(0) };
        let _alone = self.recording.write().await;
        let found = self.place.list_below(SNAPSHOTS).await?;
        let id = |name: &str, ending: &str| -> Option<SnapshotId> {
            name.strip_prefix(SNAPSHOTS)?.strip_prefix('/')?.strip_suffix(ending)?.parse().ok()
        };
        let marked: BTreeSet<SnapshotId> = found.iter().filter_map(|file| id(&file.name, NAMED)).collect();
        let (mut removed, mut used, mut unreadable) = (0, BTreeSet::new(), Vec::new());
        for file in &found {
            let Some(id) = id(&file.name, MANIFEST) else { continue };
            if marked.contains(&id) || file.modified >= before {
                match self.snapshot(id).await {
                    Ok(manifest) => used.extend(manifest.contents().into_iter().map(|(content, _)| content)),
                    Err(ArtifactError::Manifest(id)) => unreadable.push(id),
                    // Another coordinator that shares the place has removed it meanwhile.
                    Err(ArtifactError::NoSnapshot(_)) => {}
                    // A sector that a disk cannot read.
                    Err(_) if self.place.is_folder() => unreadable.push(id),
                    Err(error) => return Err(error),
                }
            } else {
                self.place.remove(&file.name).await?;
                removed += 1;
            }
        }
        match unreadable.first() {
            None => removed += self.remove_unused_contents(&used, before).await?,
            Some(first) => tracing::warn!(
                manifests = unreadable.len(), %first,
                "manifests of programs' files cannot be read where artifacts are kept, so no contents are removed; submit their \
                 sweeps' files again, or remove the manifests"
            ),
        }
        self.place.remove_unnamed(before).await?;
        let parts = Arc::clone(&self.parts);
        blocking(move || parts.remove_older(&format!("{CONTENTS}_"), before)).await?;
        Ok(removed)
    }

    /// Removes contents that are none of `used` and were written before `before`. Returns how many.
    async fn remove_unused_contents(
        &self,
        used: &BTreeSet<ContentHash>,
        before: SystemTime,
    ) -> Result<usize, ArtifactError> {
        let mut removed = 0;
        for file in self.place.list_below(CONTENTS).await? {
            let content = file.name.rsplit('/').next().and_then(|name| name.parse::<ContentHash>().ok());
            if file.modified < before && content.is_some_and(|content| !used.contains(&content)) {
                self.place.remove(&file.name).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn manifest_name(id: SnapshotId) -> String {
    format!("{SNAPSHOTS}/{id}{MANIFEST}")
}

fn mark_name(id: SnapshotId) -> String {
    format!("{SNAPSHOTS}/{id}{NAMED}")
}

fn content_name(content: ContentHash) -> String {
    let digits = content.to_string();
    format!("{CONTENTS}/{}/{digits}", &digits[..2])
}

#[cfg(test)]
mod tests;
