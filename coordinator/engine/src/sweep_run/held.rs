//! How many slots a sweep's attempts hold, counted as they begin and end.

use std::collections::BTreeMap;

use terms::WorkerName;

use super::Placement;
use crate::mutants::{self, Mutant};

/// The slots of the attempts that hold their leases.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HeldSlots {
    slots: u64,
    /// The jobs of each pack that still runs: the slot is theirs until the last has ended.
    packs: BTreeMap<(WorkerName, u32), u32>,
}

impl HeldSlots {
    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.slots
    }

    /// An attempt begins there.
    pub(super) fn begin(&mut self, placement: &Placement) {
        if is_alone(placement) {
            self.slots += placement.slots();
            return;
        }
        let jobs = self.packs.entry((placement.worker.clone(), placement.slot)).or_default();
        *jobs += 1;
        self.slots += u64::from(*jobs == 1);
    }

    /// One has ended.
    pub(super) fn end(&mut self, placement: &Placement) {
        if is_alone(placement) {
            self.slots = self.slots.saturating_sub(placement.slots());
            return;
        }
        let pack = (placement.worker.clone(), placement.slot);
        let Some(jobs) = self.packs.get_mut(&pack) else { return };
        *jobs -= 1;
        if *jobs == 0 {
            self.packs.remove(&pack);
            self.slots = self.slots.saturating_sub(1);
        }
    }
}

/// Whether an attempt has its slot alone.
fn is_alone(placement: &Placement) -> bool {
    placement.pack_size <= 1 || mutants::is_on(Mutant::PackedJobsHoldSlotsEach)
}
