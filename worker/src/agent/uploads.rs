//! Uploads trained weights to the coordinator, piece by piece, over a separate connection: what takes minutes must not
//! hold up events and heartbeats. The coordinator says which it wants and from which offset. A worker asks again until
//! each is durable there or not wanted, across broken connections, restarts and coordinators without room.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use proto::v1::{self, WeightsState};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

use super::{
    metrics::Metrics,
    remote::{Client, Remote},
    traced::Traced,
    weights::{Waiting, WeightsFolder, hash},
};

/// Bytes of a piece: a quarter of the longest message, so that a slow line gives signs of life.
const PIECE_BYTES: u64 = 1 << 20;
/// Shortest and longest pause before the rest is offered again.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Calls for one file in one round beyond those of an uninterrupted transfer: the coordinator may have lost what it
/// had.
const CALLS_SPARE: u64 = 16;

/// The coordinator, as far as what jobs left goes to it.
trait Taker: Send + Sync + 'static {
    /// Offers a file, or a piece of it.
    fn take(
        &self,
        request: v1::WeightsRequest,
    ) -> impl Future<Output = Result<v1::WeightsResponse, Status>> + Send;
}

impl Taker for Remote {
    async fn take(&self, request: v1::WeightsRequest) -> Result<v1::WeightsResponse, Status> {
        self.once(request, &async |client: &mut Client, request| client.weights(request).await).await
    }
}

/// The task that uploads weights; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Uploads {
    wake: Arc<Notify>,
    folder: Arc<WeightsFolder>,
    /// Changes after each round.
    rounds: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Uploads {
    /// Starts with the files in `folder`.
    pub(crate) fn start(
        remote: Arc<Remote>,
        folder: Arc<WeightsFolder>,
        (metrics, traced): (Arc<Metrics>, Traced),
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let (told, rounds) = watch::channel(0);
        let is_told = AtomicBool::new(false);
        let uploader = Uploader { taker: remote, folder: Arc::clone(&folder), metrics, traced, is_told };
        let task = tokio::spawn(uploader.run(Arc::clone(&wake), told));
        Self { wake, folder, rounds, _task: AbortOnDropHandle::new(task) }
    }

    /// There may be something to do now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until nothing is left, but no longer than `given_up`.
    pub(crate) async fn finish(mut self, given_up: impl Future<Output = ()>) {
        let none_left = async {
            while !self.folder.waiting().is_ok_and(|waiting| waiting.is_empty()) {
                self.wake.notify_one();
                if self.rounds.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = none_left => {}
            () = given_up => tracing::warn!("what jobs left (weights, files) waits in the spool for the next start of this worker"),
        }
    }
}

/// The result of an offer.
enum Offered {
    /// The file is no longer needed here.
    Over,
    /// It must be offered again.
    Later,
}

struct Uploader<T> {
    taker: Arc<T>,
    folder: Arc<WeightsFolder>,
    metrics: Arc<Metrics>,
    traced: Traced,
    /// A refusal was told.
    is_told: AtomicBool,
}

impl<T: Taker> Uploader<T> {
    async fn run(self, wake: Arc<Notify>, told: watch::Sender<u64>) {
        let mut pause = PAUSE_MIN;
        loop {
            let (left, went_on) = self.round().await;
            told.send_modify(|rounds| *rounds += 1);
            pause = if went_on { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            if left == 0 {
                wake.notified().await;
            } else {
                // Acknowledgements wake it often, and each may be that of the awaited end.
                let _ = tokio::time::timeout(pause, wake.notified()).await;
                tokio::time::sleep(PAUSE_MIN / 5).await;
            }
        }
    }

    /// Offers everything once. Returns how many are left, and whether any was delivered.
    async fn round(&self) -> (usize, bool) {
        let waiting = match self.folder.waiting() {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%error, "what jobs left cannot be listed");
                return (usize::MAX, false);
            }
        };
        let (mut left, mut went_on) = (waiting.len(), false);
        for file in waiting {
            match self.offer(&file).await {
                Ok(Offered::Over) => {
                    self.folder.forget(&file);
                    (left, went_on) = (left - 1, true);
                }
                Ok(Offered::Later) => {}
                Err(status) => {
                    self.metrics.upload_failed();
                    if status.code() == Code::PermissionDenied && !self.is_told.swap(true, Ordering::Relaxed)
                    {
                        tracing::warn!(
                            attempt = %file.attempt,
                            "the coordinator refuses what the job left: {}; if this worker trained it under another name, start it with that --name",
                            status.message()
                        );
                    }
                    tracing::debug!(attempt = %file.attempt, "what the job left is offered again later: {}", status.message());
                    if matches!(
                        status.code(),
                        Code::Unavailable | Code::Unauthenticated | Code::DeadlineExceeded
                    ) {
                        break;
                    }
                }
            }
        }
        (left, went_on)
    }

    /// Offers a file, and uploads it if it is wanted.
    async fn offer(&self, file: &Waiting) -> Result<Offered, Status> {
        let begun = SystemTime::now();
        let mut request = v1::WeightsRequest {
            attempt: Some(file.attempt.into()),
            file: Some(v1::WeightsFile {
                bytes: file.bytes,
                blake3: file.blake3.clone(),
                problem: String::new(),
            }),
            offset: 0,
            data: Vec::new(),
        };
        for _ in 0..file.bytes.div_ceil(PIECE_BYTES) + CALLS_SPARE {
            let answer = match self.taker.take(request.clone()).await {
                Err(status) if status.code() == Code::DataLoss => return self.check(file, request).await,
                answer => answer?,
            };
            match answer.state() {
                WeightsState::Wanted if answer.offset < file.bytes => match read(file, answer.offset) {
                    Ok(data) => (request.offset, request.data) = (answer.offset, data),
                    Err(error) => return self.give_up(request, &error.to_string()).await,
                },
                WeightsState::NotWanted => {
                    tracing::debug!(attempt = %file.attempt, "what the job left is not wanted: {}", answer.reason);
                    return Ok(Offered::Over);
                }
                WeightsState::Durable => {
                    tracing::info!(attempt = %file.attempt, bytes = file.bytes, "the coordinator has what the job left");
                    self.traced.uploaded(file.attempt, file.bytes, begun);
                    return Ok(Offered::Over);
                }
                WeightsState::Wanted | WeightsState::Waiting | WeightsState::Unspecified => {
                    return Ok(Offered::Later);
                }
            }
        }
        Ok(Offered::Later)
    }

    /// What arrived differs from what was announced: checks whether the file here is still right.
    async fn check(&self, file: &Waiting, request: v1::WeightsRequest) -> Result<Offered, Status> {
        let path = file.path.clone();
        let found = tokio::task::spawn_blocking(move || hash(&path)).await;
        match found {
            Ok(Ok(found)) if found == file.blake3 => Ok(Offered::Later),
            Ok(Ok(_)) => self.give_up(request, "the file was corrupted on the worker's disk").await,
            Ok(Err(error)) => self.give_up(request, &error.to_string()).await,
            Err(_) => Ok(Offered::Later),
        }
    }

    /// Reports that there are no weights after all.
    async fn give_up(&self, request: v1::WeightsRequest, problem: &str) -> Result<Offered, Status> {
        tracing::warn!("what a job left is lost: {problem}");
        let file = request.file.map(|file| v1::WeightsFile { problem: problem.to_owned(), ..file });
        self.taker.take(v1::WeightsRequest { file, data: Vec::new(), ..request }).await?;
        Ok(Offered::Over)
    }
}

/// The piece of a file at `offset`.
fn read(file: &Waiting, offset: u64) -> io::Result<Vec<u8>> {
    let bytes = PIECE_BYTES.min(file.bytes.saturating_sub(offset));
    let mut piece = vec![0; usize::try_from(bytes).unwrap_or(0)];
    File::open(&file.path)?.read_exact_at(&mut piece, offset)?;
    Ok(piece)
}

#[cfg(test)]
mod tests;
