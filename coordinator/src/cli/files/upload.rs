//! Uploads files to the coordinator: it says what it lacks, and only that is sent, in pieces, continuing where it
//! stopped. Broken calls are retried, and an interrupted command continues when it is repeated.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

use proto::v1;
use terms::snapshot::{
    ContentHash, SNAPSHOT_PIECE_BYTES_MAX, SNAPSHOT_PIECES_MAX, SnapshotId, SnapshotManifest,
};
use tonic::{Code, Status};

use super::Collected;
use crate::cli::{
    client::{Client, Target},
    failure::Failure,
};

/// How often the coordinator may report missing contents: it removes unused ones after a day.
const ROUNDS_MAX: usize = 4;
/// How often a call is made, and the first pause before a retry, which doubles: 12 s in total, a coordinator's restart.
const TRIES_MAX: u32 = 7;
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for the answer to a piece: a megabyte over a slow line, and a slow disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Calls for one content beyond those that an uninterrupted transfer takes: the coordinator may have lost what it had.
const CALLS_SPARE: u64 = 16;

#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Sent {
    /// The snapshot of the files.
    pub(in crate::cli) id: SnapshotId,
    /// How many contents the coordinator lacked.
    pub(in crate::cli) contents: usize,
    /// How many of their bytes were sent.
    pub(in crate::cli) bytes: u64,
}

/// Hands files over.
pub(in crate::cli) async fn send(target: &Target, files: &Collected) -> Result<Sent, Failure> {
    let mut upload = Upload { target, files, client: None, contents: 0, bytes: 0 };
    let lengths: BTreeMap<ContentHash, u64> = files.manifest.contents().into_iter().collect();
    for _ in 0..ROUNDS_MAX {
        let missing = upload.ask(&files.manifest).await?;
        if missing.is_empty() {
            let Upload { contents, bytes, .. } = upload;
            return Ok(Sent { id: files.manifest.id(), contents, bytes });
        }
        let mut wanted = Vec::with_capacity(missing.len());
        for content in missing {
            let bytes = lengths.get(&content).copied();
            wanted.push((
                content,
                bytes.ok_or_else(|| foreign("asks for files that are not part of the sweep"))?,
            ));
        }
        upload.contents += wanted.len();
        upload.contents(wanted).await?;
    }
    Err(Failure::operation("the coordinator keeps losing uploaded files; check where it keeps artifacts"))
}

fn foreign(what: &str) -> Failure {
    Failure::operation(format!("the coordinator {what}"))
}

struct Upload<'a> {
    target: &'a Target,
    files: &'a Collected,
    client: Option<Client>,
    contents: usize,
    bytes: u64,
}

impl Upload<'_> {
    /// Asks which contents are missing.
    async fn ask(&mut self, manifest: &SnapshotManifest) -> Result<Vec<ContentHash>, Failure> {
        let request = v1::PutSnapshotRequest { snapshot: Some(manifest.into()) };
        let answer = self.call(async |client| client.put_snapshot(request.clone()).await).await?;
        let missing: Result<Vec<ContentHash>, _> = answer.missing.iter().map(|hash| hash.parse()).collect();
        missing.map_err(|_| foreign("names contents by invalid hashes"))
    }

    /// Sends contents: small ones together, each large one separately.
    async fn contents(&mut self, wanted: Vec<(ContentHash, u64)>) -> Result<(), Failure> {
        let (mut together, mut room) = (Vec::new(), SNAPSHOT_PIECE_BYTES_MAX as u64);
        for (content, bytes) in wanted {
            if bytes > SNAPSHOT_PIECE_BYTES_MAX as u64 {
                self.long(content, bytes).await?;
                continue;
            }
            if bytes > room || together.len() == SNAPSHOT_PIECES_MAX {
                self.together(std::mem::take(&mut together)).await?;
                room = SNAPSHOT_PIECE_BYTES_MAX as u64;
            }
            room -= bytes;
            together.push((content, bytes));
        }
        if together.is_empty() { Ok(()) } else { self.together(together).await }
    }

    async fn together(&mut self, contents: Vec<(ContentHash, u64)>) -> Result<(), Failure> {
        let pieces = contents.iter().map(|(content, bytes)| self.piece(*content, *bytes, 0));
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        let states = self.put(pieces).await?;
        for ((content, bytes), state) in contents.into_iter().zip(states) {
            // Another command began to send it and stopped.
            if !state.kept {
                self.long(content, bytes).await?;
            }
        }
        Ok(())
    }

    async fn long(&mut self, content: ContentHash, bytes: u64) -> Result<(), Failure> {
        let ask = v1::ContentPiece { blake3: content.to_string(), bytes, ..v1::ContentPiece::default() };
        let mut piece = ask;
        for _ in 0..bytes.div_ceil(SNAPSHOT_PIECE_BYTES_MAX as u64) + CALLS_SPARE {
            let states = self.put(vec![piece]).await?;
            let state = states.first().ok_or_else(|| foreign("answers something else than it was asked"))?;
            if state.kept {
                return Ok(());
            }
            piece = self.piece(content, bytes, state.offset)?;
        }
        Err(foreign("does not accept a whole file"))
    }

    async fn put(&mut self, pieces: Vec<v1::ContentPiece>) -> Result<Vec<v1::ContentState>, Failure> {
        let sent: u64 = pieces.iter().map(|piece| piece.data.len() as u64).sum();
        let count = pieces.len();
        let request = v1::PutContentsRequest { pieces };
        let answer = self.call(async |client| client.put_contents(request.clone()).await).await?;
        if answer.contents.len() != count {
            return Err(foreign("answers something else than it was asked"));
        }
        self.bytes += sent;
        Ok(answer.contents)
    }

    fn piece(&self, content: ContentHash, bytes: u64, offset: u64) -> Result<v1::ContentPiece, Failure> {
        let place = self.files.sources.get(&content);
        let place = place.ok_or_else(|| foreign("asks for files that are not part of the sweep"))?;
        let left = bytes.saturating_sub(offset).min(SNAPSHOT_PIECE_BYTES_MAX as u64);
        let data = read(place, offset, left).map_err(|error| {
            Failure::operation(format!("cannot read {}: {error}; was it changed?", place.display()))
        })?;
        Ok(v1::ContentPiece { blake3: content.to_string(), bytes, offset, data })
    }

    /// Makes a call, and retries while the coordinator is away or has no room.
    async fn call<T>(
        &mut self,
        call: impl AsyncFn(&mut Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Failure> {
        for retry in 0.. {
            let failure = match self.once(&call).await {
                Ok(answer) => return Ok(answer),
                Err((failure, is_passing)) if is_passing && retry < TRIES_MAX => failure,
                Err((failure, _)) => return Err(failure),
            };
            tracing::debug!("files are sent again: {failure}");
            self.client = None;
            tokio::time::sleep(PAUSE * 2_u32.pow(retry)).await;
        }
        Err(foreign("cannot be reached"))
    }

    /// Makes a call once; returns the failure, and whether a retry may help.
    async fn once<T>(
        &mut self,
        call: &impl AsyncFn(&mut Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, (Failure, bool)> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let connected = self.target.connect().await;
                let connected = connected.map_err(|failure| {
                    let is_passing = failure.is_passing();
                    (failure, is_passing)
                })?;
                none.insert(connected)
            }
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, call(client)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::unavailable("it did not answer in time")));
        answer.map(tonic::Response::into_inner).map_err(failed)
    }
}

fn failed(status: Status) -> (Failure, bool) {
    match status.code() {
        Code::DataLoss => {
            let changed = "a file changed while it was sent; run the command again";
            (Failure::operation(changed), false)
        }
        Code::Unimplemented => (foreign("is an older version that does not accept files; upgrade it"), false),
        Code::ResourceExhausted => (status.into(), true),
        _ => {
            let failure = Failure::from(status);
            let is_passing = failure.is_passing();
            (failure, is_passing)
        }
    }
}

fn read(place: &Path, offset: u64, bytes: u64) -> std::io::Result<Vec<u8>> {
    // At most one piece, which fits.
    let mut data = vec![0; usize::try_from(bytes).unwrap_or(SNAPSHOT_PIECE_BYTES_MAX)];
    File::open(place)?.read_exact_at(&mut data, offset)?;
    Ok(data)
}
