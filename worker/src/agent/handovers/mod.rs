//! Checkpoints of jobs that change hands, of a worker without a place for them that others reach: when it leaves, the coordinator gets
//! what is needed to go on (`Handovers`); when a later attempt begins here, it is brought (`fetch`) and put where its trainer looks
//! (`brought`). What travels is one `archive` of the files under the job's key.

mod archive;
pub(in crate::agent) mod brought;
mod fetch;
mod names;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proto::v1::{self, WeightsState};
use terms::AttemptKey;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

use self::archive::{Packed, pack};
pub(crate) use self::fetch::HandedOver;
use super::remote::{Client, Remote};

/// Bytes of a piece: a quarter of the longest message, as of weights.
const PIECE_BYTES: u64 = 1 << 20;

/// Pause before a call is repeated that could not be answered: the coordinator may be starting.
const PAUSE: Duration = Duration::from_millis(250);

/// Ends of hand-overs that wait to be heard: one for each slot of the largest machine, twice.
const DONE_MAX: usize = 256;

/// How often the files are read where they change meanwhile: their trainer goes on, and removes a checkpoint once it has written the
/// next one.
const READINGS_MAX: u32 = 3;

/// The coordinator, as far as checkpoints go to it and come from it.
pub(crate) trait Holder: Send + Sync + 'static {
    /// Offers a piece.
    fn take(
        &self,
        request: v1::WeightsRequest,
    ) -> impl Future<Output = Result<v1::WeightsResponse, Status>> + Send;

    /// Asks for a piece.
    fn give(
        &self,
        request: v1::GetCheckpointRequest,
    ) -> impl Future<Output = Result<v1::GetCheckpointResponse, Status>> + Send;
}

impl Holder for Remote {
    async fn take(&self, request: v1::WeightsRequest) -> Result<v1::WeightsResponse, Status> {
        let call = async |client: &mut Client, request| client.hand_over_checkpoint(request).await;
        self.once(request, &call).await
    }

    async fn give(&self, request: v1::GetCheckpointRequest) -> Result<v1::GetCheckpointResponse, Status> {
        let call = async |client: &mut Client, request| client.get_checkpoint(request).await;
        self.once(request, &call).await
    }
}

/// The end of a hand-over: of which attempt.
pub(crate) type Done = AttemptKey;

/// The hand-overs of a worker that leaves; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Handovers<H = Remote> {
    holder: Arc<H>,
    /// Where checkpoints are kept.
    place: PathBuf,
    done: mpsc::Sender<Done>,
    under_way: BTreeMap<AttemptKey, UnderWay>,
}

/// A hand-over on its way.
#[derive(Debug)]
struct UnderWay {
    _task: AbortOnDropHandle<()>,
    /// The key, where there is a newer checkpoint: it goes once this one is there, or cannot be. One that was given up for the next
    /// would be lost with it.
    again: Option<String>,
}

impl<H: Holder> Handovers<H> {
    /// None yet; their ends are received.
    pub(crate) fn new(holder: Arc<H>, place: PathBuf) -> (Self, mpsc::Receiver<Done>) {
        let (done, ends) = mpsc::channel(DONE_MAX);
        (Self { holder, place, done, under_way: BTreeMap::new() }, ends)
    }

    /// Hands over what is there under the key, after what is on its way of the attempt.
    pub(crate) fn begin(&mut self, attempt: AttemptKey, key: &str) {
        if let Some(before) = self.under_way.get_mut(&attempt) {
            before.again = Some(key.to_owned());
            return;
        }
        let (holder, folder, done) = (Arc::clone(&self.holder), self.place.join(key), self.done.clone());
        let task = tokio::spawn(async move {
            match hand_over(&*holder, attempt, &folder).await {
                Ok(true) => tracing::info!(%attempt, "the coordinator has the checkpoint"),
                Ok(false) => tracing::info!(%attempt, "there is no checkpoint to hand over"),
                Err(reason) => tracing::warn!(%attempt, "the checkpoint is not handed over: {reason}"),
            }
            // Fails only when no one waits any more.
            let _ = done.send(attempt).await;
        });
        let under_way = UnderWay { _task: AbortOnDropHandle::new(task), again: None };
        self.under_way.insert(attempt, under_way);
    }

    /// The attempt whose last hand-over has ended; none where a newer checkpoint goes now.
    pub(crate) fn ended(&mut self, attempt: Done) -> Option<AttemptKey> {
        let again = self.under_way.remove(&attempt)?.again;
        again.inspect(|key| self.begin(attempt, key)).is_none().then_some(attempt)
    }
}

/// Hands over what is in the folder; false where there is nothing.
async fn hand_over(holder: &impl Holder, attempt: AttemptKey, folder: &Path) -> Result<bool, String> {
    let folder = folder.to_owned();
    let read = move || {
        let mut readings = 1;
        loop {
            match pack(&folder) {
                Err(error) if readings < READINGS_MAX => {
                    tracing::debug!(%attempt, %error, "its files are read again");
                    readings += 1;
                }
                packed => return packed,
            }
        }
    };
    let packed = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    let Some(packed) = packed.map_err(|error| format!("it cannot be read ({error})"))? else {
        return Ok(false);
    };
    loop {
        match offer(holder, attempt, &packed).await {
            Ok(None) => {}
            Ok(Some(Ok(()))) => return Ok(true),
            Ok(Some(Err(reason))) => return Err(reason),
            Err(status) if is_final(&status) => return Err(status.message().to_owned()),
            Err(status) => tracing::debug!(%attempt, "a checkpoint is offered again: {}", status.message()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Offers an archive, and sends it as long as it is wanted. None where it is to be offered again; else whether it is there, or why not.
async fn offer(
    holder: &impl Holder,
    attempt: AttemptKey,
    packed: &Packed,
) -> Result<Option<Result<(), String>>, Status> {
    let file = v1::WeightsFile { bytes: packed.bytes, blake3: packed.blake3.clone(), problem: String::new() };
    let mut request =
        v1::WeightsRequest { attempt: Some(attempt.into()), file: Some(file), offset: 0, data: Vec::new() };
    // Each piece brings it further, and the first call asks from where.
    for _ in 0..=packed.bytes.div_ceil(PIECE_BYTES) {
        let answer = holder.take(request.clone()).await?;
        match answer.state() {
            WeightsState::Wanted if answer.offset < packed.bytes => {
                let piece = packed.piece(answer.offset, PIECE_BYTES);
                request.data = piece.map_err(|error| Status::invalid_argument(error.to_string()))?;
                request.offset = answer.offset;
            }
            WeightsState::Durable => return Ok(Some(Ok(()))),
            WeightsState::NotWanted => return Ok(Some(Err(answer.reason))),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Whether the coordinator would answer the same again.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated
            | Code::PermissionDenied
    )
}

#[cfg(test)]
mod tests;
