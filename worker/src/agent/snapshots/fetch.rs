//! Brings a snapshot into the cache: its manifest, then the missing contents, several per answer.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write},
};

use tempfile::NamedTempFile;
use terms::snapshot::{ContentHash, SNAPSHOT_PIECES_MAX, SnapshotId, SnapshotManifest};

use super::{Unavailable, cache::Cache, room};

/// A part of a content: the offset from which it is wanted, or the part that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) content: ContentHash,
    /// Length of the content.
    pub(crate) bytes: u64,
    /// Where the part begins.
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
}

/// Where snapshots come from.
pub(crate) trait Source: Send + Sync {
    /// The files of a snapshot.
    fn manifest(&self, id: SnapshotId) -> impl Future<Output = Result<SnapshotManifest, String>> + Send;

    /// Pieces of what is wanted, in its order; those that did not fit are left out.
    fn contents(&self, wanted: Vec<Piece>) -> impl Future<Output = Result<Vec<Piece>, String>> + Send;
}

/// Brings a snapshot into the cache, if it is not there. The caller prevents removals meanwhile.
pub(super) async fn fetch(
    cache: &Cache,
    source: &impl Source,
    id: SnapshotId,
) -> Result<SnapshotManifest, Unavailable> {
    let failed = |error: &dyn std::fmt::Display| {
        Unavailable::new("the files of the program cannot be fetched from the coordinator", error)
    };
    let kept = |error: io::Error| {
        let place = cache.folder().display();
        Unavailable(format!("the files of the program cannot be kept in {place}: {error}"))
    };
    let _alone = cache.fetching(id).await.map_err(kept)?;
    let manifest = match cache.manifest(id) {
        Some(manifest) => manifest,
        None => {
            let manifest = source.manifest(id).await.map_err(|error| failed(&error))?;
            if manifest.id() != id {
                return Err(failed(&"its answer is about other files"));
            }
            // Before the contents, which belong to no snapshot without it.
            cache.put_manifest(&manifest).map_err(kept)?;
            manifest
        }
    };
    let missing: VecDeque<(ContentHash, u64)> =
        manifest.contents().into_iter().filter(|(content, bytes)| !cache.has(*content, *bytes)).collect();
    if !missing.is_empty() {
        let bytes: u64 = missing.iter().map(|(_, bytes)| bytes).sum();
        room::check(cache.folder(), bytes).map_err(kept)?;
        tracing::info!(snapshot = %id, contents = missing.len(), bytes, "the files of a program are fetched");
        Fetching { cache, missing, current: None }.run(source).await.map_err(|problem| match problem {
            Problem::Source(reason) => failed(&reason),
            Problem::Disk(error) => kept(error),
        })?;
    }
    Ok(manifest)
}

enum Problem {
    Source(String),
    Disk(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

struct Fetching<'a> {
    cache: &'a Cache,
    missing: VecDeque<(ContentHash, u64)>,
    /// The first of them, if a part of it has arrived.
    current: Option<Current>,
}

struct Current {
    file: NamedTempFile,
    hasher: blake3::Hasher,
    offset: u64,
}

impl Fetching<'_> {
    async fn run(mut self, source: &impl Source) -> Result<(), Problem> {
        while !self.missing.is_empty() {
            let begun = self.current.as_ref().map_or(0, |current| current.offset);
            let wanted = self.missing.iter().take(SNAPSHOT_PIECES_MAX).enumerate();
            let wanted = wanted.map(|(position, (content, bytes))| Piece {
                content: *content,
                bytes: *bytes,
                offset: if position == 0 { begun } else { 0 },
                data: Vec::new(),
            });
            let pieces = source.contents(wanted.collect()).await.map_err(Problem::Source)?;
            if pieces.is_empty() {
                return Err(Problem::Source("its answer is empty".to_owned()));
            }
            for piece in pieces {
                self.take(&piece)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, piece: &Piece) -> Result<(), Problem> {
        let foreign = || Problem::Source("its answer has a piece that was not asked for".to_owned());
        let (content, bytes) = *self.missing.front().ok_or_else(foreign)?;
        let mut current = match self.current.take() {
            Some(current) => current,
            None => Current { file: self.cache.begin(content)?, hasher: blake3::Hasher::new(), offset: 0 },
        };
        let length = piece.data.len() as u64;
        let goes_on = length > 0 || bytes == 0;
        if piece.content != content
            || piece.offset != current.offset
            || !goes_on
            || length > bytes - current.offset
        {
            return Err(foreign());
        }
        current.file.write_all(&piece.data)?;
        current.hasher.update(&piece.data);
        current.offset += length;
        if current.offset < bytes {
            self.current = Some(current);
            return Ok(());
        }
        if ContentHash::from(current.hasher.finalize()) != content {
            return Err(Problem::Source(format!(
                "the content {content} is corrupt where it keeps artifacts"
            )));
        }
        self.cache.finish(content, current.file)?;
        self.missing.pop_front();
        Ok(())
    }
}

/// Removes a folder with everything in it; a missing one is fine.
pub(super) fn remove_folder(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
