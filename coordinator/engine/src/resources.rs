//! Which slots the `resources` of a sweep file allow: GPUs only where its jobs ask for one, and at most `per_gpu` of its jobs on
//! one GPU at the same time. What counts is what occupies the slots of that GPU: what runs there, or was revoked and has not ended.

use super::{Engine, SlotDescription, WaitReason, sweep_run::SweepRun, workers::WorkerState};

/// How libtorch's names of GPUs begin.
const GPU: &str = "cuda";

impl Engine {
    /// Why no slot may be given a job of the sweep now though slots are free, for people; nothing where one may, or where its
    /// file says nothing of GPUs.
    pub(super) fn lacks_slots(&self, run: &SweepRun) -> Option<(WaitReason, String)> {
        let resources = &run.definition().specification.resources;
        let wants_gpu = resources.gpus.is_some_and(|gpus| gpus > 0);
        if !wants_gpu && resources.per_gpu.is_none() {
            return None;
        }
        let workers = || self.workers.all().filter(|worker| worker.accepts() && worker.can_run(run));
        let suits = |worker: &WorkerState| worker.slots().iter().any(|slot| is_gpu(&slot.description));
        if wants_gpu && workers().next().is_some() && !workers().any(suits) {
            let text = "no connected worker that could run this sweep has a GPU, which `resources: {gpus: 1}` asks for";
            return Some((WaitReason::NoneCanTrain, text.to_owned()));
        }
        let may_start = |worker: &WorkerState| {
            let mut free = worker.slots().iter().filter(|slot| slot.is_free());
            free.any(|slot| allows(run, worker, &slot.description))
        };
        let some_are_free = workers().any(WorkerState::has_free_slot);
        let text = match resources.per_gpu {
            Some(jobs) => {
                format!("every GPU is busy, or runs as many jobs of this sweep as `per_gpu: {jobs}` allows")
            }
            None => "every GPU is busy".to_owned(),
        };
        (some_are_free && !workers().any(may_start)).then_some((WaitReason::SlotsBusy, text))
    }
}

/// Whether a free slot of a worker may be given a job of the sweep. Only the worker's own slots are looked at, however many jobs of
/// the sweep run elsewhere.
pub(super) fn allows(run: &SweepRun, worker: &WorkerState, slot: &SlotDescription) -> bool {
    let resources = &run.definition().specification.resources;
    if !is_gpu(slot) {
        return resources.gpus.unwrap_or(0) == 0;
    }
    let Some(per_gpu) = resources.per_gpu else { return true };
    let on_gpu = worker.slots().iter().filter(|other| other.description.device == slot.device);
    on_gpu.map(|other| other.occupants_of(run.id())).sum::<usize>() < per_gpu as usize
}

fn is_gpu(slot: &SlotDescription) -> bool {
    slot.device.starts_with(GPU)
}
