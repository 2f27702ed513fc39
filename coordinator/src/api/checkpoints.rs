//! Checkpoints of jobs that change hands: workers without a place for them that others reach hand them over when they leave, and get
//! them when they begin. Which attempts run, the engine says.

use domain::record::WeightsFile;
use engine::query::{CheckpointPlace, PlaceCheckpoint};
use terms::AttemptKey;

use super::{
    Api, ApiError, Offer, WeightsReply,
    error::task_ended,
    weights::{failed, may_speak, not_taken},
};
use crate::{
    access::Caller,
    artifacts::{Checkpoint, Taken},
};

impl Api {
    /// Takes a piece of the checkpoint of an attempt that runs, from its worker.
    ///
    /// # Errors
    /// The attempt is another worker's, the piece cannot be one, or the place is full or away.
    pub async fn hand_over_checkpoint(
        &self,
        caller: &Caller,
        offer: Offer,
    ) -> Result<WeightsReply, ApiError> {
        let Offer { attempt, file: WeightsFile { bytes, blake3 }, offset, data } = offer;
        let not_wanted = |reason: &str| Ok(WeightsReply::NotWanted(reason.to_owned()));
        let Some(place) = self.leadership.query(PlaceCheckpoint(attempt)).await? else {
            return not_wanted("the attempt does not run any more");
        };
        let CheckpointPlace { folder, worker } = place;
        may_speak(caller, &worker, || format!("hand over the checkpoint of attempt {attempt}"))?;
        let Some(artifacts) = self.artifacts.clone() else {
            return not_wanted("this coordinator has no place for files; give it --artifacts");
        };
        let checkpoint = Checkpoint { folder, attempt, blake3 };
        // A task of its own: what is begun is brought to its end, also when the worker hangs up.
        let taking = self.tasks.spawn(async move {
            match artifacts.expect_checkpoint(&checkpoint, bytes).await {
                Ok(None) => {}
                Ok(Some(reason)) => return Ok(WeightsReply::NotWanted(reason)),
                Err(error) => return not_taken(&artifacts, &error),
            }
            match artifacts.take_checkpoint(&checkpoint, bytes, offset, data).await {
                Ok(Taken::Whole) => Ok(WeightsReply::Durable),
                Ok(Taken::UpTo(offset)) => Ok(WeightsReply::Wanted(offset)),
                Err(error) => not_taken(&artifacts, &error),
            }
        });
        taking.await.map_err(|_| task_ended())?
    }

    /// A piece of the checkpoint from which an attempt that runs may go on, and what the whole is. It is for the worker of that attempt,
    /// whichever worker left it.
    ///
    /// # Errors
    /// There is none, or the attempt is another worker's.
    pub async fn checkpoint(
        &self,
        caller: &Caller,
        attempt: AttemptKey,
        offset: u64,
    ) -> Result<(WeightsFile, Vec<u8>), ApiError> {
        let none = || ApiError::NotFound("no checkpoint was handed over of this job".to_owned());
        let place = self.leadership.query(PlaceCheckpoint(attempt)).await?.ok_or_else(none)?;
        let CheckpointPlace { folder, worker } = place;
        may_speak(caller, &worker, || format!("read the checkpoint of attempt {attempt}"))?;
        let artifacts = self.artifacts.clone().ok_or_else(none)?;
        let found = artifacts.read_checkpoint(&folder, attempt, offset).await;
        found.map_err(|error| failed(&error))?.ok_or_else(none)
    }
}
