//! The weights that one trainer process was asked for: taken when their job is done, removed when it ends in any other
//! way, so that useless files occupy no disk space. What the trainer says about other attempts touches no file.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::spawn_blocking;

use super::{
    session::types::Weights,
    weights::{By, WeightsFolder},
};
use trainer_protocol::ToTrainer;

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct AskedWeights {
    folder: Arc<WeightsFolder>,
    /// Who leaves something for the attempts that have not ended, by their ids in the trainer protocol.
    ids: Arc<Mutex<BTreeMap<String, By>>>,
}

impl AskedWeights {
    /// For a trainer that has no jobs yet and writes into `folder`.
    pub(super) fn new(folder: Arc<WeightsFolder>) -> Self {
        Self { folder, ids: Arc::default() }
    }

    /// Notes the weights that a request to the trainer asks for.
    pub(super) fn note(&self, request: &ToTrainer) {
        let ToTrainer::Train { jobs, .. } = request else { return };
        let asked = jobs.iter().filter(|job| job.weights.is_some());
        let by = |is_program: bool| if is_program { By::Program } else { By::Trainer };
        self.ids().extend(asked.map(|job| (job.id.clone(), by(job.program.is_some()))));
    }

    /// The weights of an attempt that has ended, if it is done and they were asked for.
    pub(super) async fn left_by(&self, id: &str, is_done: bool) -> Option<Weights> {
        let by = self.ids().remove(id)?;
        let (folder, id) = (Arc::clone(&self.folder), id.to_owned());
        let left = spawn_blocking(move || {
            if is_done {
                return Some(folder.finish(&id, by));
            }
            folder.discard(&id);
            None
        });
        left.await.unwrap_or_else(|error| is_done.then(|| Weights::Absent(error.to_string())))
    }

    /// The trainer is gone, and with it the attempts that had not ended.
    pub(super) async fn end(&self) {
        let ids = std::mem::take(&mut *self.ids());
        let folder = Arc::clone(&self.folder);
        // Only fails by a panic; the next start removes what is left.
        let _ = spawn_blocking(move || ids.keys().for_each(|id| folder.discard(id))).await;
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, By>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
