//! Checkpoints of jobs that change hands, of a worker without a place for them that others reach: when it leaves, the coordinator gets
//! what is needed to go on (`Handovers`); when a later attempt begins here, it is brought (`fetch`). What travels is one archive of the
//! files under the job's key.

mod archive;
mod fetch;

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
use super::remote::Remote;

/// Bytes of a piece: a quarter of the longest message, as of weights.
const PIECE_BYTES: u64 = 1 << 20;

/// Pause before a call is repeated that could not be answered: the coordinator may be starting.
const PAUSE: Duration = Duration::from_millis(250);

/// Ends of hand-overs that wait to be heard: one for each slot of the largest machine, twice.
const DONE_MAX: usize = 256;

/// The end of a hand-over: of which attempt, and how many were begun by then.
pub(crate) type Done = (AttemptKey, u64);

/// The hand-overs of a worker that leaves; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Handovers {
    remote: Arc<Remote>,
    /// Where checkpoints are kept.
    place: PathBuf,
    done: mpsc::Sender<Done>,
    begun: u64,
    under_way: BTreeMap<AttemptKey, (u64, AbortOnDropHandle<()>)>,
}

impl Handovers {
    /// None yet; their ends are received.
    pub(crate) fn new(remote: Arc<Remote>, place: PathBuf) -> (Self, mpsc::Receiver<Done>) {
        let (done, ends) = mpsc::channel(DONE_MAX);
        (Self { remote, place, done, begun: 0, under_way: BTreeMap::new() }, ends)
    }

    /// Hands over what is there under the key, in place of what is on its way of the attempt.
    pub(crate) fn begin(&mut self, attempt: AttemptKey, key: &str) {
        self.begun += 1;
        let (begun, done) = (self.begun, self.done.clone());
        let (remote, folder) = (Arc::clone(&self.remote), self.place.join(key));
        let task = tokio::spawn(async move {
            match hand_over(&remote, attempt, &folder).await {
                Ok(true) => tracing::info!(%attempt, "the coordinator has the checkpoint"),
                Ok(false) => tracing::info!(%attempt, "there is no checkpoint to hand over"),
                Err(reason) => tracing::warn!(%attempt, "the checkpoint is not handed over: {reason}"),
            }
            // Fails only when no one waits any more.
            let _ = done.send((attempt, begun)).await;
        });
        self.under_way.insert(attempt, (begun, AbortOnDropHandle::new(task)));
    }

    /// The attempt whose last hand-over has ended; none for one that another has replaced.
    pub(crate) fn ended(&mut self, (attempt, begun): Done) -> Option<AttemptKey> {
        let is_last = self.under_way.get(&attempt).is_some_and(|(last, _)| *last == begun);
        if is_last {
            self.under_way.remove(&attempt);
        }
        is_last.then_some(attempt)
    }
}

/// Hands over what is in the folder; false where there is nothing.
async fn hand_over(remote: &Remote, attempt: AttemptKey, folder: &Path) -> Result<bool, String> {
    let folder = folder.to_owned();
    let packed = tokio::task::spawn_blocking(move || pack(&folder)).await;
    let packed = packed.map_err(|error| error.to_string())?;
    let Some(packed) = packed.map_err(|error| format!("it cannot be read ({error})"))? else {
        return Ok(false);
    };
    loop {
        match offer(remote, attempt, &packed).await {
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
    remote: &Remote,
    attempt: AttemptKey,
    packed: &Packed,
) -> Result<Option<Result<(), String>>, Status> {
    let file = v1::WeightsFile { bytes: packed.bytes, blake3: packed.blake3.clone(), problem: String::new() };
    let mut request =
        v1::WeightsRequest { attempt: Some(attempt.into()), file: Some(file), offset: 0, data: Vec::new() };
    // Each piece brings it further, and the first call asks from where.
    for _ in 0..=packed.bytes.div_ceil(PIECE_BYTES) {
        let call =
            async |client: &mut super::remote::Client, request| client.hand_over_checkpoint(request).await;
        let answer = remote.once(request.clone(), &call).await?;
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
