//! Jobs that take several GPUs of one worker at once. Such a job is granted all slots of its GPUs in one step, or none: no job holds
//! a GPU while it waits for another. The GPUs that become free for the first such job in the order of the sweeps are kept for it
//! until they suffice, and later sweeps get nothing of them; without that, jobs of one slot would stream past it.
//!
//! Which GPUs are kept is decided anew each time, from what runs: those of one worker that have the fewest busy slots. Nothing is
//! started on them by later sweeps, so the number of busy slots that the job waits for never grows, and each job that ends there
//! lowers it; other GPUs are kept instead only where they have no more busy slots.

use std::collections::{BTreeMap, BTreeSet};

use terms::{SweepId, WorkerName};

use super::{
    Engine, Now, Output, SlotDescription,
    schedule::Place,
    workers::{SlotState, WorkerState},
};
use crate::mutants::{self, Mutant};

/// How libtorch's names of GPUs begin.
const GPU: &str = "cuda";

/// What stands between the devices of an attempt that has several.
const SEPARATOR: char = ',';

/// A free slot: its worker, and its position there.
pub(super) type FreeSlot = (WorkerName, usize);

/// GPUs of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GpuSet {
    /// The positions of all their slots.
    pub(super) slots: Vec<usize>,
    /// How many of these are occupied.
    pub(super) busy: usize,
}

/// Slots that are kept for jobs with several GPUs, by worker and position, and the sweeps of these jobs.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<WorkerName, BTreeMap<usize, SweepId>>);

impl Kept {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a slot is kept for a sweep before this one.
    pub(super) fn is_kept_from(&self, sweep: SweepId, name: &WorkerName, position: usize) -> bool {
        self.0.get(name).and_then(|slots| slots.get(&position)).is_some_and(|kept_for| *kept_for < sweep)
    }

    /// Whether a slot is free, and kept for no sweep.
    pub(super) fn leaves_free_slot(&self, name: &WorkerName, worker: &WorkerState) -> bool {
        let kept = self.0.get(name);
        let is_kept = |position: &usize| kept.is_some_and(|slots| slots.contains_key(position));
        let mut free = worker.slots().iter().enumerate().filter(|(_, slot)| slot.is_free());
        free.any(|(position, _)| !is_kept(&position))
    }

    /// The first sweep before this one for which slots are kept.
    pub(super) fn first_before(&self, sweep: SweepId) -> Option<SweepId> {
        self.0.values().flat_map(BTreeMap::values).min().copied().filter(|first| *first < sweep)
    }

    fn keep(&mut self, sweep: SweepId, name: &WorkerName, slots: &[usize]) {
        let of_worker = self.0.entry(name.clone()).or_default();
        of_worker.extend(slots.iter().map(|position| (*position, sweep)));
    }
}

/// Whether a device is a GPU.
pub(super) fn is_gpu(device: &str) -> bool {
    device.starts_with(GPU)
}

/// Whether a device can be one of several: a name that stands for several GPUs already cannot.
fn is_single_gpu(device: &str) -> bool {
    is_gpu(device) && !device.contains(SEPARATOR)
}

/// How many GPUs these slots have; at least 1 where any is a GPU's.
pub(super) fn gpus_of(slots: &[SlotDescription]) -> u32 {
    let devices = slots.iter().map(|slot| slot.device.as_str());
    let single: BTreeSet<&str> = devices.clone().filter(|device| is_single_gpu(device)).collect();
    u32::try_from(single.len()).unwrap_or(u32::MAX).max(devices.filter(|device| is_gpu(device)).count().min(1) as u32)
}

/// The devices of an attempt as one text, as [`WorkerState::slots_of`] and a worker's trainers read it.
pub(super) fn joined<'a>(devices: impl Iterator<Item = &'a str>) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for device in devices {
        if !distinct.contains(&device) {
            distinct.push(device);
        }
    }
    distinct.join(&SEPARATOR.to_string())
}

impl WorkerState {
    /// The positions of the slots that an attempt occupies which was granted the slot of this number, with this device or these
    /// devices: that slot, and where it has more than the slot's own device, all slots of its devices. None where there is no such
    /// slot.
    pub(super) fn slots_of(&self, index: u32, device: &str) -> Vec<usize> {
        let slots = || self.slots().iter().enumerate().map(|(position, slot)| (position, &slot.description));
        let Some((own, description)) = slots().find(|(_, slot)| slot.index == index) else { return Vec::new() };
        if description.device == device || mutants::is_on(Mutant::SeveralGpusCountAsOne) {
            return vec![own];
        }
        let is_its = |slot: &SlotDescription| device.split(SEPARATOR).any(|one| one == slot.device);
        slots().filter(|(position, slot)| *position == own || is_its(slot)).map(|(position, _)| position).collect()
    }

    /// The GPUs of the worker that a job of the sweep with so many would get first: those with the fewest busy slots that are not kept
    /// for an earlier sweep. None where there are not enough.
    pub(super) fn best_gpus(&self, name: &WorkerName, kept: &Kept, sweep: SweepId, count: u32) -> Option<GpuSet> {
        if self.gpus_of_a_job() < count {
            return None;
        }
        let mut gpus: BTreeMap<&str, GpuSet> = BTreeMap::new();
        let mut kept_from_it: BTreeSet<&str> = BTreeSet::new();
        for (position, slot) in self.slots().iter().enumerate() {
            let device = slot.description.device.as_str();
            if !is_single_gpu(device) {
                continue;
            }
            if kept.is_kept_from(sweep, name, position) {
                kept_from_it.insert(device);
            }
            let gpu = gpus.entry(device).or_insert_with(|| GpuSet { slots: Vec::new(), busy: 0 });
            gpu.slots.push(position);
            gpu.busy += usize::from(!slot.is_free());
        }
        gpus.retain(|device, _| !kept_from_it.contains(device));
        let mut gpus: Vec<GpuSet> = gpus.into_values().collect();
        // The order of the slots is that of the GPUs as their worker lists them.
        gpus.sort_by(|one, other| (one.busy, &one.slots).cmp(&(other.busy, &other.slots)));
        let chosen = gpus.get(..count as usize)?;
        let mut slots: Vec<usize> = chosen.iter().flat_map(|gpu| &gpu.slots).copied().collect();
        slots.sort_unstable();
        Some(GpuSet { slots, busy: chosen.iter().map(|gpu| gpu.busy).sum() })
    }
}

impl Engine {
    /// Grants the sweep's jobs, each with several GPUs, as long as there are some, and keeps the best GPUs for the next one. Takes what
    /// is granted or kept out of `free`.
    pub(super) fn serve_several_gpus(
        &mut self,
        now: Now,
        sweep: SweepId,
        free: &mut Vec<FreeSlot>,
        out: &mut Output,
    ) {
        let mut names: Vec<WorkerName> = free.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        // Small workers first, so that large ones stay whole for jobs that need them.
        names.sort_by_key(|name| self.workers.get(name).map_or(0, WorkerState::gpus));
        for name in &names {
            while let Some(set) = self.best_gpus_for(now, sweep, name).filter(|set| set.busy == 0) {
                self.grant(now, sweep, Place { name, slots: &set.slots, granted: 0 }, out);
            }
        }
        let next = names.iter().filter_map(|name| Some((name, self.best_gpus_for(now, sweep, name)?)));
        let best = next.min_by_key(|(_, set)| set.busy);
        if let Some((name, set)) = best.filter(|(_, set)| set.busy < set.slots.len()) {
            self.kept.keep(sweep, name, &set.slots);
        }
        let (workers, kept) = (&self.workers, &self.kept);
        let later = SweepId(sweep.0.saturating_add(1));
        free.retain(|(name, position)| {
            let slot = workers.get(name).and_then(|worker| worker.slots().get(*position));
            slot.is_some_and(SlotState::is_free) && !kept.is_kept_from(later, name, *position)
        });
    }

    /// The GPUs that the sweep's next job may get from the worker, busy or free.
    fn best_gpus_for(&self, now: Now, sweep: SweepId, name: &WorkerName) -> Option<GpuSet> {
        let run = self.sweeps.get(sweep)?;
        let worker = self.workers.get(name).filter(|worker| self.may_start_on(now, run, worker))?;
        worker.best_gpus(name, &self.kept, sweep, run.gpus())
    }
}
