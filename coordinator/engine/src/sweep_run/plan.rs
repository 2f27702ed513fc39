//! Where an attempt runs and what it has to do, as its grant says.

use std::{path::Path, sync::Arc};

use terms::WorkerName;

use crate::{
    gpus,
    mutants::{self, Mutant},
};

/// Where an attempt runs. It never changes.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) worker: WorkerName,
    pub(crate) slot: u32,
    pub(crate) device: String,
    /// How many jobs its slot was given at once, this one included.
    pub(crate) pack_size: u32,
}

impl Placement {
    /// How many slots that counts as: those of its GPUs, where a job has several.
    pub(crate) fn slots(&self) -> u64 {
        if mutants::is_on(Mutant::SeveralGpusHoldOneSlot) {
            return 1;
        }
        gpus::count_of(&self.device)
    }
}

/// What an attempt has to do. It never changes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where it finds its data set; after a restart, the sweep's current path.
    pub(crate) dataset_path: Arc<Path>,
    /// How many epochs its job has at most; none where that is not known.
    pub(crate) epochs_total: Option<u32>,
    /// Whether its job may be done with fewer: programs have their own rules of when a training has converged.
    pub(crate) may_end_before: bool,
    /// After how many epochs it pauses, as the rule of early stopping says; none without a rule.
    pub(crate) budget: Option<u32>,
}

impl Plan {
    /// After how many epochs it pauses, where that is before its job's end.
    pub(super) fn until_epoch(&self) -> Option<u32> {
        self.budget.filter(|budget| self.epochs_total.is_none_or(|total| *budget < total))
    }

    /// How many epochs its job must have to be done; none where it says itself that it is.
    pub(super) fn epochs_needed(&self) -> Option<u32> {
        self.epochs_total.filter(|_| !self.may_end_before)
    }
}
