//! Brings the checkpoints that earlier attempts of jobs have handed over, before the jobs begin. Where that does not succeed, a job
//! begins with what is there, or starts over.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use proto::v1;
use terms::{AttemptKey, outputs::OUTPUT_BYTES_MAX};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tonic::Code;

use super::{
    Holder, PAUSE,
    brought::{Unpacked, is_here},
    is_final,
};
use crate::agent::remote::Remote;

/// Longest time until one begins to arrive, which its length adds to: half of what a trainer may take to be ready. A disk has as long to
/// answer.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// Bytes a second of the slowest line over which one is waited for: the longest has nine minutes, in which most jobs train as far.
const BYTES_A_SECOND_MIN: u64 = 8 << 20;

/// Longest archive: with the names of its files, far below.
const BYTES_MAX: u64 = 2 * OUTPUT_BYTES_MAX;

/// Checkpoints that one pack's jobs receive at the same time: enough that a slow one holds up no other, and few of the coordinator's
/// calls.
const AT_A_TIME: usize = 4;

/// What was handed over, for a worker whose checkpoints are its own.
#[derive(Debug)]
pub(crate) struct HandedOver<H = Remote> {
    holder: Arc<H>,
    /// Where checkpoints are kept.
    place: PathBuf,
}

/// A piece that came, and what the whole is.
type Piece = (v1::WeightsFile, Vec<u8>);

/// A file that arrives.
struct Arriving {
    file: File,
    hasher: blake3::Hasher,
    /// What it will be.
    whole: v1::WeightsFile,
    bytes: u64,
}

impl<H: Holder> HandedOver<H> {
    pub(crate) fn new(holder: Arc<H>, place: PathBuf) -> Self {
        Self { holder, place }
    }

    /// Brings the checkpoints from which attempts may go on to where their trainer looks, by the jobs' keys. Each has its own time.
    pub(crate) async fn bring_all(self: Arc<Self>, wanted: Vec<(AttemptKey, String)>) {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let mut all = JoinSet::new();
        for (attempt, key) in wanted {
            let (own, turns) = (Arc::clone(&self), Arc::clone(&turns));
            all.spawn(async move {
                // It is never closed.
                let _turn = turns.acquire().await;
                own.bring(attempt, &key).await;
            });
        }
        // Where this is given up, they are, too.
        while all.join_next().await.is_some() {}
    }

    async fn bring(&self, attempt: AttemptKey, key: &str) {
        match self.try_to_bring(attempt, key).await {
            Ok(true) => tracing::info!(%attempt, "it goes on from the checkpoint that was handed over"),
            Ok(false) => {}
            Err(reason) => {
                tracing::warn!(%attempt, "the checkpoint that was handed over is not used: {reason}");
            }
        }
    }

    async fn try_to_bring(&self, attempt: AttemptKey, key: &str) -> Result<bool, String> {
        let Some(first) = within(BEGINS_WITHIN, self.piece(attempt, 0)).await? else { return Ok(false) };
        let (folder, hash) = (self.place.join(key), first.0.blake3.clone());
        if within(BEGINS_WITHIN, blocking(move || is_here(&folder, &hash))).await? {
            tracing::debug!(%attempt, "the checkpoint that was handed over is here already");
            return Ok(false);
        }
        let time = BEGINS_WITHIN + Duration::from_secs(first.0.bytes.min(BYTES_MAX) / BYTES_A_SECOND_MIN);
        let unpacked = within(time, self.receive(attempt, key, first)).await?;
        // From here on, nothing can give it up any more.
        let left = unpacked.take_place().map_err(|error| error.to_string())?;
        within(BEGINS_WITHIN, blocking(move || left.close())).await?;
        Ok(true)
    }

    /// Receives the archive that begins with a piece, and unpacks it.
    async fn receive(&self, attempt: AttemptKey, key: &str, first: Piece) -> Result<Unpacked, String> {
        let place = self.place.clone();
        let made = blocking(move || {
            fs::create_dir_all(&place)?;
            tempfile::tempfile_in(&place)
        });
        let mut arriving = Arriving::new(made.await?);
        let mut piece = first;
        loop {
            let (whole, data) = piece;
            if whole.bytes > BYTES_MAX {
                return Err(format!("it has {} bytes, and at most {BYTES_MAX} are taken", whole.bytes));
            }
            let is_another = whole != arriving.whole && arriving.bytes > 0;
            arriving = if is_another {
                // It has taken the place of the one before meanwhile.
                blocking(move || arriving.begin_again()).await?
            } else {
                arriving.whole = whole;
                blocking(move || arriving.take(&data)).await?
            };
            if arriving.bytes == arriving.whole.bytes && arriving.bytes > 0 {
                break;
            }
            let next = self.piece(attempt, arriving.bytes).await?;
            piece = next.ok_or("it is gone")?;
        }
        let hash = arriving.hasher.finalize().to_hex();
        if hash.as_str() != arriving.whole.blake3 {
            return Err("it does not have the hash that was said".to_owned());
        }
        let (place, target) = (self.place.clone(), self.place.join(key));
        blocking(move || Unpacked::new(&mut arriving.file, &hash, &place, target)).await
    }

    /// A piece, asked for until there is an answer; none where nothing was handed over.
    async fn piece(&self, attempt: AttemptKey, offset: u64) -> Result<Option<Piece>, String> {
        loop {
            let request = v1::GetCheckpointRequest { attempt: Some(attempt.into()), offset };
            match self.holder.give(request).await {
                Ok(v1::GetCheckpointResponse { file, data }) => {
                    return Ok(Some((file.unwrap_or_default(), data)));
                }
                Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
                    return Ok(None);
                }
                Err(status) if is_final(&status) => return Err(status.message().to_owned()),
                Err(status) => {
                    tracing::debug!(%attempt, "a checkpoint is asked for again: {}", status.message());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Arriving {
    fn new(file: File) -> Self {
        Self { file, hasher: blake3::Hasher::new(), whole: v1::WeightsFile::default(), bytes: 0 }
    }

    fn begin_again(self) -> io::Result<Self> {
        self.file.set_len(0)?;
        io::Seek::rewind(&mut &self.file)?;
        Ok(Self::new(self.file))
    }

    fn take(mut self, data: &[u8]) -> io::Result<Self> {
        if data.is_empty() || self.bytes + data.len() as u64 > self.whole.bytes {
            return Err(io::Error::other("a piece of it has the wrong length"));
        }
        self.file.write_all(data)?;
        self.hasher.update(data);
        self.bytes += data.len() as u64;
        Ok(self)
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || format!("it did not arrive within {} s", time.as_secs());
    timeout(time, work).await.unwrap_or_else(|_| Err(late()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
