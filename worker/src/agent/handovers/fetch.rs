//! Brings the checkpoint that an earlier attempt of a job has handed over, before the job begins. Where that does not succeed, the job
//! begins with what is there, or starts over.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proto::v1;
use terms::{AttemptKey, outputs::OUTPUT_BYTES_MAX};
use tonic::{Code, Status};

use super::{PAUSE, Remote, archive::unpack, is_final};

/// Longest time for all of it: half of what a trainer may take to be ready, and a gigabyte at 20 MB a second.
const WITHIN: Duration = Duration::from_secs(60);

/// What was handed over, for a worker whose checkpoints are its own.
#[derive(Debug)]
pub(crate) struct HandedOver {
    remote: Arc<Remote>,
    /// Where checkpoints are kept.
    place: PathBuf,
}

/// A file that arrives.
struct Arriving {
    file: File,
    hasher: blake3::Hasher,
    /// What it will be.
    whole: v1::WeightsFile,
    bytes: u64,
}

impl HandedOver {
    pub(crate) fn new(remote: Arc<Remote>, place: PathBuf) -> Self {
        Self { remote, place }
    }

    /// Brings the checkpoint from which an attempt may go on to where its trainer looks, if there is one.
    pub(crate) async fn bring(&self, attempt: AttemptKey, key: &str) {
        let folder = self.place.join(key);
        let brought = tokio::time::timeout(WITHIN, self.try_to_bring(attempt, folder)).await;
        let seconds = WITHIN.as_secs();
        match brought.unwrap_or_else(|_| Err(format!("it did not arrive within {seconds} s"))) {
            Ok(true) => tracing::info!(%attempt, "it goes on from the checkpoint that was handed over"),
            Ok(false) => {}
            Err(reason) => {
                tracing::warn!(%attempt, "the checkpoint that was handed over is not used: {reason}");
            }
        }
    }

    async fn try_to_bring(&self, attempt: AttemptKey, folder: PathBuf) -> Result<bool, String> {
        let place = self.place.clone();
        let made = blocking(move || {
            fs::create_dir_all(&place)?;
            tempfile::tempfile_in(&place)
        });
        let file = made.await?;
        let Some(file) = self.receive(attempt, file).await? else { return Ok(false) };
        blocking(move || write(file, &folder)).await?;
        Ok(true)
    }

    /// Receives the archive; none where there is none.
    async fn receive(&self, attempt: AttemptKey, file: File) -> Result<Option<File>, String> {
        let mut arriving =
            Arriving { file, hasher: blake3::Hasher::new(), whole: v1::WeightsFile::default(), bytes: 0 };
        loop {
            let (whole, data) = match self.piece(attempt, arriving.bytes).await {
                Ok(piece) => piece,
                Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
                    return Ok(None);
                }
                Err(status) if is_final(&status) => return Err(status.message().to_owned()),
                Err(status) => {
                    tracing::debug!(%attempt, "a checkpoint is asked for again: {}", status.message());
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Bounds what one coordinator can write here.
            if whole.bytes > 2 * OUTPUT_BYTES_MAX {
                return Err(format!("it has {} bytes", whole.bytes));
            }
            if whole != arriving.whole && arriving.bytes > 0 {
                // Another one has taken its place meanwhile.
                (arriving.bytes, arriving.hasher) = (0, blake3::Hasher::new());
                arriving.file.set_len(0).map_err(|error| error.to_string())?;
                continue;
            }
            arriving.whole = whole;
            arriving = blocking(move || arriving.take(&data)).await?;
            if arriving.bytes == arriving.whole.bytes {
                let hash = arriving.hasher.finalize().to_hex();
                return match hash.as_str() == arriving.whole.blake3 {
                    true => Ok(Some(arriving.file)),
                    false => Err("it does not have the hash that was said".to_owned()),
                };
            }
        }
    }

    async fn piece(&self, attempt: AttemptKey, offset: u64) -> Result<(v1::WeightsFile, Vec<u8>), Status> {
        let request = v1::GetCheckpointRequest { attempt: Some(attempt.into()), offset };
        let call =
            async |client: &mut super::super::remote::Client, request| client.get_checkpoint(request).await;
        let v1::GetCheckpointResponse { file, data } = self.remote.once(request, &call).await?;
        Ok((file.unwrap_or_default(), data))
    }
}

impl Arriving {
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

fn write(mut archive: File, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    unpack(&mut archive, folder)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
