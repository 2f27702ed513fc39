//! Which slots the `resources` of a sweep file allow: GPUs only where its jobs ask for one, and at most `per_gpu` of its jobs on
//! one GPU at the same time. What counts is what runs, which the store knows too, so that it holds after a restart.

use terms::WorkerName;

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
        let workers = || self.workers.iter().filter(|(_, worker)| worker.accepts() && worker.can_run(run));
        let suits = |worker: &WorkerState| worker.slots().iter().any(|slot| is_gpu(&slot.description));
        if wants_gpu && workers().next().is_some() && !workers().any(|(_, worker)| suits(worker)) {
            let text = "no connected worker that could run this sweep has a GPU, which `resources: {gpus: 1}` asks for";
            return Some((WaitReason::NoneCanTrain, text.to_owned()));
        }
        let may_start = |(name, worker): (&WorkerName, &WorkerState)| {
            let mut free = worker.slots().iter().filter(|slot| slot.is_free());
            free.any(|slot| allows(run, name, &slot.description))
        };
        let some_are_free = workers().any(|(_, worker)| worker.has_free_slot());
        let text = match resources.per_gpu {
            Some(jobs) => {
                format!("every GPU is busy, or runs as many jobs of this sweep as `per_gpu: {jobs}` allows")
            }
            None => "every GPU is busy".to_owned(),
        };
        (some_are_free && !workers().any(may_start)).then_some((WaitReason::SlotsBusy, text))
    }
}

/// Whether a free slot of a worker may be given a job of the sweep.
pub(super) fn allows(run: &SweepRun, worker: &WorkerName, slot: &SlotDescription) -> bool {
    let resources = &run.definition().specification.resources;
    if !is_gpu(slot) {
        return resources.gpus.unwrap_or(0) == 0;
    }
    let Some(per_gpu) = resources.per_gpu else { return true };
    let here = run.attempts().filter(|(_, active)| active.is_of(worker) && active.device == slot.device);
    here.count() < per_gpu as usize
}

fn is_gpu(slot: &SlotDescription) -> bool {
    slot.device.starts_with(GPU)
}
