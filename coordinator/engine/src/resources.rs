//! Which slots the `resources` of a sweep file allow: GPUs only where its jobs ask for one, and at most `per_gpu` of its jobs on
//! one GPU at the same time. What counts is what occupies the slots of that GPU: what runs there, or was revoked and has not ended.
//! Also says why jobs wait for them.

use terms::WorkerName;

use super::{
    Engine, SlotDescription, WaitReason,
    gpus::is_gpu,
    sweep_run::SweepRun,
    workers::{SlotState, WorkerState},
};

impl Engine {
    /// Why no slot may be given a job of the sweep now though slots are free, for people; nothing where one may, or where its
    /// file says nothing of GPUs.
    pub(super) fn lacks_slots(&self, run: &SweepRun) -> Option<(WaitReason, String)> {
        let resources = &run.definition().specification.resources;
        if run.gpus() == 0 && resources.per_gpu.is_none() {
            return None;
        }
        if let Some(text) = self.lacks_gpus(run) {
            return Some((WaitReason::NoneCanTrain, text));
        }
        let workers = || self.workers.iter().filter(|(_, worker)| worker.accepts() && worker.knows(run));
        if let Some(gpus) = resources.several_gpus() {
            let has_free = |(name, worker): (&WorkerName, &WorkerState)| {
                worker.free_gpus(name, &self.kept, run.id(), gpus).is_some()
            };
            let text = || {
                format!(
                    "no worker has {gpus} free GPUs; those that become free are kept until the next job can have {gpus} at once"
                )
            };
            return (!workers().any(has_free)).then(|| (WaitReason::SlotsBusy, text()));
        }
        let mut some_are_free = false;
        for (name, worker) in workers() {
            let is_open = |(position, slot): &(usize, &SlotState)| {
                slot.is_free() && !self.kept.is_kept_from(run.id(), name, *position)
            };
            for (_, slot) in worker.slots().iter().enumerate().filter(is_open) {
                if allows(run, worker, &slot.description) {
                    return None;
                }
                some_are_free = true;
            }
        }
        let text = match resources.per_gpu {
            Some(jobs) => {
                format!("every GPU is busy, or runs as many jobs of this sweep as `per_gpu: {jobs}` allows")
            }
            None => "every GPU is busy".to_owned(),
        };
        some_are_free.then_some((WaitReason::SlotsBusy, text))
    }

    /// Why no connected worker has the GPUs that a job takes; nothing where one has, or where none could run the sweep anyway.
    fn lacks_gpus(&self, run: &SweepRun) -> Option<String> {
        let knows = |(_, worker): &(&WorkerName, &WorkerState)| worker.accepts() && worker.knows(run);
        let workers: Vec<(&WorkerName, &WorkerState)> = self.workers.iter().filter(knows).collect();
        if workers.is_empty() || workers.iter().any(|(_, worker)| worker.can_run(run)) {
            return None;
        }
        let gpus = run.gpus();
        if gpus == 1 {
            let text = "no connected worker that could run this sweep has a GPU, which `resources: {gpus: 1}` asks for";
            return Some(text.to_owned());
        }
        let (name, largest) = workers.into_iter().max_by_key(|(_, worker)| worker.gpus())?;
        let most = match largest.gpus() {
            0 => "none of them has a GPU".to_owned(),
            has if has >= gpus => format!(
                "{name} has {has}, but its version gives each job one slot; update it, and its jobs can have several"
            ),
            has => format!("the largest, {name}, has {has}"),
        };
        Some(format!(
            "no connected worker that could run this sweep has the {gpus} GPUs of a job, which `resources: {{gpus: {gpus}}}` asks \
             for; {most}"
        ))
    }
}

/// Whether a free slot of a worker may be given a job of the sweep that takes one slot. Only the worker's own slots are looked at,
/// however many jobs of the sweep run elsewhere.
pub(super) fn allows(run: &SweepRun, worker: &WorkerState, slot: &SlotDescription) -> bool {
    let resources = &run.definition().specification.resources;
    match run.gpus() {
        0 | 1 if !is_gpu(&slot.device) => return run.gpus() == 0,
        0 | 1 => {}
        _ => return false,
    }
    let Some(per_gpu) = resources.per_gpu else { return true };
    let on_gpu = worker.slots().iter().filter(|other| other.description.device == slot.device);
    on_gpu.map(|other| other.occupants_of(run.id())).sum::<usize>() < per_gpu as usize
}

/// What a worker's GPUs are short of for a job of the sweep, for people; nothing where they suffice.
pub(super) fn short_of_gpus(worker: &WorkerState, run: &SweepRun) -> Option<String> {
    let (has, takes) = (worker.gpus(), run.gpus());
    if worker.gpus_of_a_job() >= takes {
        return None;
    }
    Some(match has {
        0 => "it has no GPU".to_owned(),
        has if has >= takes => "its version gives each job one slot; update it".to_owned(),
        1 => format!("it has 1 GPU, and a job takes {takes}"),
        has => format!("it has {has} GPUs, and a job takes {takes}"),
    })
}
