//! Jobs that take several GPUs of one worker at once. Such a job is granted all slots of its GPUs in one step, or none: no job holds
//! a GPU while it waits for another. The GPUs that become free for the next such job of a sweep, in the order of the sweeps, are kept for
//! it until they suffice, and later sweeps get nothing of them; without that, jobs of one slot would stream past it. They count as its
//! owner's, so that no one keeps more than a share and a quota allow, and stay kept until the job starts, whatever slots its owner has by
//! then.
//!
//! The GPUs that are kept are those of one worker for which the fewest jobs have to end. Nothing of later sweeps is started on them,
//! so these jobs only get fewer, and other GPUs are kept instead only where fewer jobs still have to end: the turn comes after as many
//! jobs as had to end at first, at most.

use std::collections::{BTreeMap, BTreeSet};

use terms::{AttemptKey, SweepId, WorkerName};

use super::{
    Engine, Now, Output, SlotDescription,
    schedule::{Chosen, Place},
    sweep_run::SweepRun,
    turns::{Holding, Turns},
    workers::{SlotState, WorkerState},
};
use crate::mutants::{self, Mutant};

/// How libtorch's names of GPUs begin.
const GPU: &str = "cuda";

/// What stands between the devices of an attempt that has several.
const SEPARATOR: char = ',';

/// A free slot: its worker, and its position there.
pub(super) type FreeSlot = (WorkerName, usize);

/// GPUs that a job waits for.
#[derive(Debug, Clone)]
struct Awaited {
    worker: WorkerName,
    /// The positions of all their slots.
    slots: Vec<usize>,
    /// Whether a job of its own sweep has to end there, which makes way for it anyway.
    is_own: bool,
    /// How many jobs have to end there.
    jobs: usize,
}

/// The GPUs that are kept for jobs with several.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By sweep: its next job waits for these.
    awaited: BTreeMap<SweepId, Awaited>,
    /// The sweeps that they are kept for, by worker and position of the slot.
    slots: BTreeMap<WorkerName, BTreeMap<usize, SweepId>>,
}

impl Kept {
    /// Whether a slot is kept for another sweep than this one. While slots are given out, those are the sweeps before it.
    pub(super) fn is_kept_from(&self, sweep: SweepId, name: &WorkerName, position: usize) -> bool {
        let kept_for = self.slots.get(name).and_then(|slots| slots.get(&position));
        kept_for.is_some_and(|kept_for| *kept_for != sweep)
    }

    /// Whether a slot is free, and kept for no sweep.
    pub(super) fn leaves_free_slot(&self, name: &WorkerName, worker: &WorkerState) -> bool {
        let kept = self.slots.get(name);
        let is_kept = |position: &usize| kept.is_some_and(|slots| slots.contains_key(position));
        let mut free = worker.slots().iter().enumerate().filter(|(_, slot)| slot.is_free());
        free.any(|(position, _)| !is_kept(&position))
    }

    /// Whether a slot is kept for this sweep.
    pub(super) fn is_kept_for(&self, sweep: SweepId, name: &WorkerName, position: usize) -> bool {
        self.slots.get(name).and_then(|slots| slots.get(&position)) == Some(&sweep)
    }

    /// Whether a slot is kept.
    pub(super) fn is_kept(&self, name: &WorkerName, position: usize) -> bool {
        self.slots.get(name).is_some_and(|slots| slots.contains_key(&position))
    }

    /// Whether the next job of a sweep waits for GPUs that are kept.
    pub(super) fn awaits(&self, sweep: SweepId) -> bool {
        self.awaited.contains_key(&sweep)
    }

    /// Keeps for a sweep what was kept for it before.
    pub(super) fn keep_as(&mut self, before: &Self, sweep: SweepId) {
        if let Some(awaited) = before.awaited.get(&sweep) {
            self.keep(sweep, awaited.clone());
        }
    }

    /// Keeps nothing for a sweep any more.
    pub(super) fn release(&mut self, sweep: SweepId) {
        let Some(Awaited { worker, slots, .. }) = self.awaited.remove(&sweep) else { return };
        let Some(of_worker) = self.slots.get_mut(&worker) else { return };
        for position in slots {
            of_worker.remove(&position);
        }
    }

    fn keep(&mut self, sweep: SweepId, awaited: Awaited) {
        let of_worker = self.slots.entry(awaited.worker.clone()).or_default();
        of_worker.extend(awaited.slots.iter().map(|position| (*position, sweep)));
        self.awaited.insert(sweep, awaited);
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
    u32::try_from(single.len())
        .unwrap_or(u32::MAX)
        .max(devices.filter(|device| is_gpu(device)).count().min(1) as u32)
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

/// How many devices an attempt has.
pub(super) fn count_of(device: &str) -> u64 {
    1 + device.matches(SEPARATOR).count() as u64
}

impl WorkerState {
    /// The positions of the slots that an attempt occupies which was granted the slot of this number, with this device or these
    /// devices: that slot, and where it has more than the slot's own device, all slots of its devices. None where there is no such
    /// slot.
    pub(super) fn slots_of(&self, index: u32, device: &str) -> Vec<usize> {
        let slots = || self.slots().iter().enumerate().map(|(position, slot)| (position, &slot.description));
        let Some((own, description)) = slots().find(|(_, slot)| slot.index == index) else {
            return Vec::new();
        };
        if description.device == device || mutants::is_on(Mutant::SeveralGpusCountAsOne) {
            return vec![own];
        }
        let is_its = |slot: &SlotDescription| device.split(SEPARATOR).any(|one| one == slot.device);
        slots()
            .filter(|(position, slot)| *position == own || is_its(slot))
            .map(|(position, _)| position)
            .collect()
    }

    /// Its GPUs that are not kept for an earlier sweep, those with the fewest busy slots first.
    fn gpus_for(&self, name: &WorkerName, kept: &Kept, sweep: SweepId) -> Vec<Gpu> {
        let mut gpus: BTreeMap<&str, Gpu> = BTreeMap::new();
        for (position, slot) in self.slots().iter().enumerate() {
            let device = slot.description.device.as_str();
            if is_single_gpu(device) {
                let gpu = gpus.entry(device).or_default();
                gpu.slots.push(position);
                gpu.busy += usize::from(!slot.is_free());
                gpu.jobs.extend(slot.occupants());
                gpu.is_kept |= kept.is_kept_from(sweep, name, position);
            }
        }
        let mut gpus: Vec<Gpu> = gpus.into_values().filter(|gpu| !gpu.is_kept).collect();
        // The order of the slots is that of the GPUs as their worker lists them.
        gpus.sort_by(|one, other| (one.busy, &one.slots).cmp(&(other.busy, &other.slots)));
        gpus
    }

    /// The positions of all slots of the first GPUs, so many, that are free and not kept for an earlier sweep; none where there are not
    /// so many.
    pub(super) fn free_gpus(
        &self,
        name: &WorkerName,
        kept: &Kept,
        sweep: SweepId,
        count: u32,
    ) -> Option<Vec<usize>> {
        if self.gpus_of_a_job() < count {
            return None;
        }
        let gpus = self.gpus_for(name, kept, sweep);
        let first = gpus.get(..count as usize)?;
        first.iter().all(|gpu| gpu.busy == 0).then(|| slots_of(first))
    }

    /// How many jobs that take so many GPUs could start here at once.
    pub(super) fn places_of_gpus(&self, name: &WorkerName, kept: &Kept, sweep: SweepId, count: u32) -> u64 {
        if self.gpus_of_a_job() < count {
            return 0;
        }
        let free = self.gpus_for(name, kept, sweep).iter().filter(|gpu| gpu.busy == 0).count();
        free as u64 / u64::from(count.max(1))
    }

    /// The GPUs that the next job of the sweep, which takes so many, is to wait for on this worker. None where there are not so many.
    fn gpus_to_await(&self, name: &WorkerName, kept: &Kept, sweep: SweepId, count: u32) -> Option<Awaited> {
        let count = count as usize;
        let gpus = self.gpus_for(name, kept, sweep);
        let others: Vec<Gpu> = gpus.iter().filter(|gpu| !gpu.runs(sweep)).cloned().collect();
        let first = if others.len() >= count { others.get(..count) } else { gpus.get(..count) }?;
        let have_to_end: BTreeSet<AttemptKey> =
            first.iter().flat_map(|gpu| gpu.jobs.iter().copied()).collect();
        // Once they have ended, all of these are free. The fullest are enough, and leave what is free to others.
        let mut free_then: Vec<Gpu> =
            gpus.into_iter().filter(|gpu| gpu.jobs.is_subset(&have_to_end)).collect();
        free_then.sort_by_key(|gpu| gpu.slots.len() - gpu.busy);
        Some(awaited(name, sweep, free_then.get(..count)?))
    }

    /// The same GPUs as before, as they are now; none where they are no longer there.
    fn still_awaited(&self, before: &Awaited, kept: &Kept, sweep: SweepId, count: u32) -> Option<Awaited> {
        let gpus = self.gpus_for(&before.worker, kept, sweep);
        let are_same = |gpu: &Gpu| gpu.slots.iter().all(|slot| before.slots.contains(slot));
        let same: Vec<Gpu> = gpus.into_iter().filter(are_same).collect();
        (same.len() == count as usize).then(|| awaited(&before.worker, sweep, &same))
    }
}

/// A GPU of a worker.
#[derive(Debug, Clone, Default)]
struct Gpu {
    /// The positions of its slots.
    slots: Vec<usize>,
    /// How many of them are occupied, and by what.
    busy: usize,
    jobs: BTreeSet<AttemptKey>,
    is_kept: bool,
}

impl Gpu {
    fn runs(&self, sweep: SweepId) -> bool {
        self.jobs.iter().any(|attempt| attempt.job.sweep == sweep)
    }
}

/// The positions of all slots of these GPUs.
fn slots_of(gpus: &[Gpu]) -> Vec<usize> {
    let mut slots: Vec<usize> = gpus.iter().flat_map(|gpu| &gpu.slots).copied().collect();
    slots.sort_unstable();
    slots
}

fn awaited(worker: &WorkerName, sweep: SweepId, gpus: &[Gpu]) -> Awaited {
    let jobs: BTreeSet<AttemptKey> = gpus.iter().flat_map(|gpu| gpu.jobs.iter().copied()).collect();
    let is_own = gpus.iter().any(|gpu| gpu.runs(sweep));
    Awaited { worker: worker.clone(), slots: slots_of(gpus), is_own, jobs: jobs.len() }
}

impl Engine {
    /// Grants the sweep's jobs, each with several GPUs, as long as there are some and it is its turn; or keeps GPUs for the next one.
    /// Out of its turn, that is for one job alone, for which GPUs were `kept_before`, and the same stay kept if they can. Takes what is
    /// granted or kept out of `free`. Returns whether it may be its turn again.
    pub(super) fn serve_several_gpus(
        &mut self,
        now: Now,
        sweep: SweepId,
        kept_before: Option<&Kept>,
        (turns, free): (&mut Turns, &mut Vec<FreeSlot>),
        out: &mut Output,
    ) -> bool {
        let mut names: Vec<WorkerName> = free.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        // Small workers first, so that large ones stay whole for jobs that need them.
        names.sort_by_key(|name| self.workers.get(name).map_or(0, WorkerState::gpus));
        let gpus = self.sweeps.get(sweep).map_or(0, SweepRun::gpus);
        let mut goes_on = true;
        for name in &names {
            while goes_on
                && let Some(slots) = self.on_candidate(now, sweep, name, |worker, gpus| {
                    worker.free_gpus(name, &self.kept, sweep, gpus)
                })
            {
                let place = Place { name, slots: &slots, granted: 0 };
                match self.grant(now, sweep, place, out) {
                    Chosen::Job(_) => {
                        goes_on =
                            self.has_turn_again(now, turns, sweep, gpus.into()) && kept_before.is_none();
                    }
                    Chosen::Later => break,
                    Chosen::None => {}
                }
            }
        }
        if goes_on
            && !mutants::is_on(Mutant::NothingIsKept)
            && let Some(next) =
                self.gpus_to_keep(now, sweep, kept_before.and_then(|kept| kept.awaited.get(&sweep)), &names)
        {
            turns.kept(sweep, gpus.into(), self.held_of(&next));
            self.kept.keep(sweep, next);
        }
        let (workers, kept) = (&self.workers, &self.kept);
        free.retain(|(name, position)| {
            let slot = workers.get(name).and_then(|worker| worker.slots().get(*position));
            slot.is_some_and(SlotState::is_free) && !kept.is_kept(name, *position)
        });
        !goes_on
    }

    /// The jobs that have to end before these GPUs are free.
    fn held_of(&self, awaited: &Awaited) -> Vec<Holding> {
        let slots = self.workers.get(&awaited.worker).map(WorkerState::slots).unwrap_or_default();
        let kept = awaited.slots.iter().filter_map(|position| slots.get(*position));
        // One for the jobs of a pack, and one for a job that has several of the slots.
        let mut held = BTreeMap::new();
        for attempt in kept.flat_map(SlotState::occupants) {
            let run = self.sweeps.get(attempt.job.sweep);
            if let Some((run, active)) = run.and_then(|run| Some((run, run.active(attempt)?))) {
                let placement = active.placement();
                let job = (awaited.worker.clone(), placement.slot);
                let holding = Holding { job, account: run.account(), slots: placement.slots() };
                held.insert(placement.slot, holding);
            }
        }
        held.into_values().collect()
    }

    /// How many slots are kept for other sweeps of the same owner, apart from those that the owner's jobs hold there.
    pub(super) fn kept_beside(&self, run: &SweepRun) -> u64 {
        let others = self.kept.awaited.keys().filter(|sweep| **sweep != run.id());
        let others = others.filter_map(|sweep| self.sweeps.get(*sweep));
        let own = others.filter(|other| other.account() == run.account());
        own.filter_map(|other| self.kept_besides(other)).sum()
    }

    /// Where GPUs are kept for a sweep's next job, how many of them its owner's jobs do not hold.
    pub(super) fn kept_besides(&self, run: &SweepRun) -> Option<u64> {
        let awaited = self.kept.awaited.get(&run.id())?;
        Some(u64::from(run.gpus()).saturating_sub(self.own_held_of(awaited, run)))
    }

    /// How many slots the jobs of a sweep's owner hold of GPUs that are kept for the sweep.
    fn own_held_of(&self, awaited: &Awaited, run: &SweepRun) -> u64 {
        let held = self.held_of(awaited).into_iter().filter(|holding| holding.account == run.account());
        held.map(|holding| holding.slots).sum()
    }

    /// Whether what was kept `before` for a sweep's next job stays so: its owner's quota has room for the job as soon as the owner's jobs
    /// on these GPUs have ended.
    pub(super) fn stays_kept(&self, sweep: SweepId, before: &Kept, turns: &Turns) -> bool {
        let found = self.sweeps.get(sweep).zip(before.awaited.get(&sweep));
        found.is_some_and(|(run, awaited)| turns.fits_quota(sweep, self.own_held_of(awaited, run)))
    }

    /// Keeps the same GPUs as before for a sweep, where they are still there and [stay kept](Self::stays_kept), and takes them out of `free`.
    pub(super) fn keep_again(
        &mut self,
        now: Now,
        sweep: SweepId,
        before: &Kept,
        (turns, free): (&mut Turns, &mut Vec<FreeSlot>),
    ) {
        let stays = self.stays_kept(sweep, before, turns);
        let Some(before) = before.awaited.get(&sweep).filter(|_| stays) else { return };
        let still = self.on_candidate(now, sweep, &before.worker, |worker, gpus| {
            Some((worker.still_awaited(before, &self.kept, sweep, gpus)?, gpus))
        });
        if let Some((awaited, gpus)) = still {
            turns.kept(sweep, gpus.into(), self.held_of(&awaited));
            self.kept.keep(sweep, awaited);
        }
        free.retain(|(name, position)| !self.kept.is_kept(name, *position));
    }

    /// The GPUs to keep for the sweep's next job: those of before, unless fewer jobs have to end elsewhere.
    fn gpus_to_keep(
        &self,
        now: Now,
        sweep: SweepId,
        before: Option<&Awaited>,
        names: &[WorkerName],
    ) -> Option<Awaited> {
        let weight = |awaited: &Awaited| (awaited.is_own, awaited.jobs);
        let candidates = names.iter().filter_map(|name| {
            self.on_candidate(now, sweep, name, |worker, gpus| {
                worker.gpus_to_await(name, &self.kept, sweep, gpus)
            })
        });
        let best = candidates.min_by_key(weight);
        let before = before.and_then(|before| {
            self.on_candidate(now, sweep, &before.worker, |worker, gpus| {
                worker.still_awaited(before, &self.kept, sweep, gpus)
            })
        });
        // Of equal ones, the first.
        before.into_iter().chain(best).min_by_key(weight)
    }

    /// Whether the sweep's jobs take several GPUs, and some worker could run one more of them, next to those that it runs, once jobs of
    /// other sweeps have ended there.
    pub(super) fn has_place_for_several(&self, now: Now, run: &SweepRun) -> bool {
        let (sweep, gpus) = (run.id(), run.gpus() as usize);
        let has_place = |(name, worker): (&WorkerName, &WorkerState)| {
            let others = || {
                let all = worker.gpus_for(name, &Kept::default(), sweep);
                all.iter().filter(|gpu| !gpu.runs(sweep)).count()
            };
            self.may_await(now, sweep, name) && others() >= gpus
        };
        gpus > 1 && self.workers.iter().any(has_place)
    }

    /// Whether the sweep's next job, which takes several GPUs, may start on a worker once enough of them are free.
    pub(super) fn may_await(&self, now: Now, sweep: SweepId, name: &WorkerName) -> bool {
        let found = self.workers.get(name).zip(self.sweeps.get(sweep));
        found.is_some_and(|(worker, run)| worker.gpus_of_a_job() >= run.gpus())
            && self.on_candidate(now, sweep, name, |_, _| Some(())).is_some()
    }

    /// What is found for the sweep's next job, which takes so many GPUs, at a worker that it may start on.
    fn on_candidate<T>(
        &self,
        now: Now,
        sweep: SweepId,
        name: &WorkerName,
        find: impl FnOnce(&WorkerState, u32) -> Option<T>,
    ) -> Option<T> {
        let run = self.sweeps.get(sweep)?;
        let worker = self.workers.get(name).filter(|worker| self.may_start_on(now, run, worker))?;
        find(worker, run.gpus())
    }

    /// The first other sweep for which free slots are kept.
    pub(super) fn kept_for_another(&self, sweep: SweepId) -> Option<SweepId> {
        let has_free = |awaited: &Awaited| {
            let worker = self.workers.get(&awaited.worker);
            let slots = worker.map(WorkerState::slots).unwrap_or_default();
            awaited.slots.iter().filter_map(|position| slots.get(*position)).any(SlotState::is_free)
        };
        let mut others = self.kept.awaited.iter().filter(|(other, _)| **other != sweep);
        others.find(|(_, awaited)| has_free(awaited)).map(|(sweep, _)| *sweep)
    }
}
