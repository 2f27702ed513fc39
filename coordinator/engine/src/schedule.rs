//! Which free slot gets which jobs: one, or a pack of them. Sweeps are served in the order of `turns`; a sweep that has reached its
//! limit, or that a worker cannot run, lets the next one pass. Jobs that take several slots are placed in `gpus`, in the same order.

use std::{cell::OnceCell, sync::Arc};

use domain::specification::{Keep, Trainable};
use terms::{JobState, SweepId, WorkerName};

use super::{
    DatasetPlan, Effect, Engine, Grant, JobAssignment, Now, Observation, Output, ToWorker,
    gpus::{FreeSlot, Kept, joined},
    observe_change,
    packs::PackKey,
    resources::allows,
    sessions::send,
    settle,
    sweep_run::{ActiveAttempt, Lease, Placement, SweepRun, WaitingJob},
    turns::{Candidate, Turns},
    workers::WorkerState,
};
use crate::mutants::{self, Mutant};

/// Points that searchers propose in one turn. One takes up to two milliseconds, and nothing else is done meanwhile. The delivery of
/// what was granted brings the next turn.
const PROPOSALS_A_TURN_MAX: u32 = 2;

/// The next job of a sweep, if it has a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    Job(u64),
    /// Not in this turn.
    Later,
    /// None is left.
    None,
}

impl Engine {
    /// Grants jobs until no slot is free or no job waits.
    pub(super) fn schedule(&mut self, now: Now, out: &mut Output) {
        if !self.workers.may_have_free_slots() {
            return;
        }
        self.proposals_left = PROPOSALS_A_TURN_MAX;
        self.packing_slots.clear();
        self.sweeps.forget_touched();
        let before = std::mem::take(&mut self.kept);
        let mut turns = self.turns(now);
        if turns.are_over() {
            return;
        }
        let mut granted = 0;
        self.serve_who_awaits(now, &before, &mut turns, &mut granted, out);
        let mut free = self.free_slots();
        while let Some(several) = turns.next_of_several().filter(|_| !free.is_empty()) {
            // What others get may change the order.
            if !self.fill(now, None, (&mut turns, &mut free), &mut granted, out)
                && !self.serve_several_gpus(now, several, None, (&mut turns, &mut free), out)
            {
                turns.pass(several);
            }
        }
        self.fill(now, None, (&mut turns, &mut free), &mut granted, out);
    }

    /// Serves the sweeps that GPUs were kept for before. What is kept for a job stays so, whatever the shares are by now: otherwise its
    /// owner might never get as much at once. That is for the one job: for the next, its owner waits for the turn.
    fn serve_who_awaits(
        &mut self,
        now: Now,
        before: &Kept,
        turns: &mut Turns,
        granted: &mut u64,
        out: &mut Output,
    ) {
        let owners = turns.by_owner(|sweep| before.awaits(sweep));
        // What is kept for one owner is not for the others who come first.
        owners.iter().flatten().for_each(|sweep| self.kept.keep_as(before, *sweep));
        for sweeps in owners {
            sweeps.iter().for_each(|sweep| self.kept.release(*sweep));
            let mut free = self.free_slots();
            for sweep in sweeps {
                if !self.stays_kept(sweep, before, turns) {
                    continue;
                }
                self.fill(now, Some((sweep, before)), (&mut *turns, &mut free), granted, out);
                let has_room = turns.fits_quota(sweep, 0);
                if !has_room {
                    self.keep_again(now, sweep, before, (&mut *turns, &mut free));
                }
                if !has_room
                    || !self.serve_several_gpus(now, sweep, Some(before), (&mut *turns, &mut free), out)
                {
                    turns.pass(sweep);
                }
            }
        }
    }

    /// Grants jobs that take one slot each, and takes their slots out of `free`: those of the sweeps before the first that waits for
    /// several GPUs; or, of the slots that were kept `before` for a sweep, those that its owner's earlier sweeps get in their turn.
    /// Whether there were any.
    fn fill(
        &mut self,
        now: Now,
        kept_for: Option<(SweepId, &Kept)>,
        (turns, free): (&mut Turns, &mut Vec<FreeSlot>),
        granted: &mut u64,
        out: &mut Output,
    ) -> bool {
        let before = free.len();
        free.retain(|(name, position)| {
            if kept_for.is_some_and(|(sweep, before)| !before.is_kept_for(sweep, name, *position)) {
                return true;
            }
            loop {
                let Some(sweep) = self.next_sweep_for(now, turns, kept_for, name, *position) else {
                    return true;
                };
                let place = Place { name, slots: &[*position], granted: *granted };
                let takes_packs = self.takes_packs(sweep, &place);
                match self.grant(now, sweep, place, out) {
                    Chosen::Job(_) => {
                        *granted += u64::from(takes_packs);
                        self.has_turn_again(now, turns, sweep, 1);
                        return false;
                    }
                    Chosen::Later => return true,
                    Chosen::None => {}
                }
            }
        });
        free.len() < before
    }

    /// The next job of a sweep for a worker. One that failed there is left to others as long as they may take it, which they do not where
    /// they do not find its checkpoint: it may have been the machine.
    fn next_job(&self, now: Now, sweep: SweepId, name: &WorkerName) -> Option<u64> {
        let (worker, run) = (self.workers.get(name)?, self.sweeps.get(sweep)?);
        let is_avoided = self.leaves_to_others(sweep, name);
        let job =
            run.next_job(self.finds(run, worker), self.fits(run, worker), is_avoided.then_some(name))?;
        let may_start_now = |(other, worker): (&WorkerName, &WorkerState)| {
            other != name
                && !worker.is_refused()
                && run.may_go_on(job, self.finds(run, worker))
                && self.may_start_on(now, run, worker)
                && self.places_at(other, worker, run) > 0
        };
        let goes_elsewhere =
            is_avoided && run.has_failed_at(job, name) && self.workers.iter().any(may_start_now);
        (!goes_elsewhere).then_some(job)
    }

    /// Whether what failed at a worker and waits is left to others.
    fn leaves_to_others(&self, sweep: SweepId, name: &WorkerName) -> bool {
        let run = self.sweeps.get(sweep);
        run.is_some_and(|run| run.tries_again_what_failed_at(name)) && self.another_takes_jobs(sweep, name)
    }

    /// Chooses the next job of a sweep for a worker, and makes sure that it has a point. Where none is left, the sweep has no more jobs.
    fn choose_job(&mut self, now: Now, sweep: SweepId, name: &WorkerName, out: &mut Output) -> Chosen {
        let Some(job) = self.next_job(now, sweep, name) else { return Chosen::Later };
        let Some(run) = self.sweeps.get_mut(sweep) else { return Chosen::Later };
        if run.proposes(job) {
            let Some(left) = self.proposals_left.checked_sub(1) else { return Chosen::Later };
            self.proposals_left = left;
        }
        let is_chosen = run.choose_point(job);
        out.records.append(&mut run.take_learned());
        if is_chosen {
            return Chosen::Job(job);
        }
        out.records.append(&mut run.end_points());
        out.records.append(&mut run.take_learned());
        observe_change(run, out);
        settle(run, now, out);
        Chosen::None
    }

    /// Whether several jobs of the sweep may train on the slot at the same time.
    fn takes_packs(&self, sweep: SweepId, place: &Place<'_>) -> bool {
        let slot = self.workers.get(place.name).and_then(|worker| worker.slots().get(place.first()));
        let run = self.sweeps.get(sweep);
        slot.is_some_and(|slot| slot.description.pack_size_max > 1)
            && run.is_some_and(|run| {
                run.definition().manifest.packs && run.definition().execution.pack_size_max != Some(1)
            })
    }

    /// How many slots take packs, busy or free: the waiting jobs are divided among all of them, so that slots which
    /// become free soon find some. Counted once in a turn.
    fn packing_slots(&mut self, sweep: SweepId) -> u64 {
        if let Some(slots) = self.packing_slots.get(&sweep) {
            return *slots;
        }
        let workers = self.workers.all().filter(|worker| self.takes_jobs(worker, sweep));
        let slots = workers.flat_map(WorkerState::slots);
        let slots = slots.filter(|slot| slot.description.pack_size_max > 1).count() as u64;
        self.packing_slots.insert(sweep, slots);
        slots
    }

    /// The free slots of the workers that accept jobs and are not quarantined for all sweeps, by worker, without those that are kept.
    fn free_slots(&mut self) -> Vec<FreeSlot> {
        let kept = &self.kept;
        self.workers
            .with_free_slots()
            .filter(|(_, worker)| worker.accepts() && !worker.is_refused())
            .flat_map(|(name, worker)| {
                let free = worker.slots().iter().enumerate().filter(|(_, slot)| slot.is_free());
                let free = free.filter(move |(position, _)| !kept.is_kept(name, *position));
                free.map(move |(position, _)| (name.clone(), position))
            })
            .collect()
    }

    /// The first sweep with a job for this slot: of those before the next that waits for several GPUs; or, of a slot that is kept for a
    /// sweep, the first of all if it is one that comes before that one and has the same owner.
    fn next_sweep_for(
        &self,
        now: Now,
        turns: &Turns,
        kept_for: Option<(SweepId, &Kept)>,
        name: &WorkerName,
        position: usize,
    ) -> Option<SweepId> {
        let worker = self.workers.get(name)?;
        let starts_here = |sweep: &SweepId| self.starts_in(now, *sweep, worker, position);
        match kept_for {
            None => turns.before_several().find(starts_here),
            Some((kept_for, before)) => {
                // Others who wait for several GPUs come first, too, although this slot alone is none for them.
                let waits_here = |next: &Candidate| next.gpus > 1 && self.may_await(now, next.sweep, name);
                let first = turns.in_order().find(|next| starts_here(&next.sweep) || waits_here(next))?;
                let is_earlier = first.gpus <= 1 && turns.is_own_before(first.sweep, kept_for);
                // Where another slot is free, it leaves this one: otherwise one job after another would be here.
                let is_its_turn = is_earlier && !self.starts_beside(now, first.sweep, kept_for, before);
                is_its_turn.then_some(first.sweep)
            }
        }
    }

    /// Whether a job of the sweep may start in a slot of a worker once that is free.
    fn starts_in(&self, now: Now, sweep: SweepId, worker: &WorkerState, position: usize) -> bool {
        let slot = worker.slots().get(position).map(|slot| &slot.description);
        let found = self.sweeps.get(sweep).zip(slot);
        found.is_some_and(|(run, slot)| allows(run, worker, slot) && self.may_start_on(now, run, worker))
    }

    /// Whether a job of the sweep may start in a free slot that is kept for no one, and was not kept `before` for this other one.
    fn starts_beside(&self, now: Now, sweep: SweepId, kept_for: SweepId, before: &Kept) -> bool {
        self.workers.iter().any(|(name, worker)| {
            let slots = worker.slots().iter().enumerate().filter(|(_, slot)| slot.is_free());
            let mut others = slots.filter(|(position, _)| {
                !self.kept.is_kept(name, *position) && !before.is_kept_for(kept_for, name, *position)
            });
            others.any(|(position, _)| self.starts_in(now, sweep, worker, position))
        })
    }

    /// Whether a job of the sweep may start on the worker, as far as slots do not matter. A worker that cannot run a sweep gets its
    /// jobs only where no worker can, so that they fail with the reason instead of waiting indefinitely.
    pub(super) fn may_start_on(&self, now: Now, run: &SweepRun, worker: &WorkerState) -> bool {
        let takes = |sweep: SweepId| match worker.has_refused_sweep(sweep) {
            false => self.takes_jobs(worker, sweep),
            true => !self.is_quarantined(worker, sweep) && !self.some_worker_takes_jobs(sweep),
        };
        run.can_start()
            && worker.can_run(run)
            && run.has_job_for(self.finds(run, worker), self.fits(run, worker))
            && worker.may_read(now, run)
            && takes(run.id())
    }

    /// Promotes paused jobs until one waits that can go on at this place: the decision falls when a slot is free, not before. Where the
    /// place takes packs, that many of the same rung.
    fn promote_for(&mut self, sweep: SweepId, place: &Place<'_>, slots: u64, out: &mut Output) {
        let takes_packs = self.takes_packs(sweep, place);
        let avoided = self.leaves_to_others(sweep, place.name).then_some(place.name);
        let (Some(worker), Some(run)) = (self.workers.get(place.name), self.sweeps.get(sweep)) else {
            return;
        };
        let pack_size_max =
            worker.slots().get(place.first()).map_or(1, |slot| slot.description.pack_size_max);
        let share = u32::try_from(run.room().div_ceil(slots)).unwrap_or(u32::MAX);
        let count = if takes_packs { share.min(pack_size_max).max(1) } else { 1 };
        let mut one_waits = run.has_waiting_job_for(self.finds(run, worker), self.fits(run, worker), avoided);
        while !one_waits {
            let Some(run) = self.sweeps.get_mut(sweep) else { return };
            let promoted = run.promote_next(count);
            if promoted.is_empty() {
                return;
            }
            one_waits = promoted.iter().any(|(job, _)| self.may_go_on(sweep, *job, place.name));
            out.records.extend(promoted.into_iter().map(|(_, record)| record));
        }
    }

    /// Whether a job waits that can go on at a worker.
    fn may_go_on(&self, sweep: SweepId, job: u64, name: &WorkerName) -> bool {
        let found = self.sweeps.get(sweep).zip(self.workers.get(name));
        found.is_some_and(|(run, worker)| run.may_go_on(job, self.finds(run, worker)))
    }

    /// Says of other workers whether a worker finds the checkpoints of a sweep that they keep. Of one that is gone, or gets no jobs of
    /// the sweep, it does: a job must go on, from the beginning if need be.
    fn finds<'a>(&'a self, run: &'a SweepRun, worker: &'a WorkerState) -> impl Fn(&WorkerName) -> bool + 'a {
        let others_take_jobs = OnceCell::new();
        move |keeper| {
            let others = || *others_take_jobs.get_or_init(|| self.others_take_jobs(run.id()));
            self.workers.get(keeper).is_none_or(|keeper| {
                std::ptr::eq(keeper, worker)
                    || worker.shares_checkpoints_with(keeper)
                    || !self.takes_jobs_beside_others(keeper, run.id(), others)
            })
        }
    }

    /// Says of jobs that ran out of memory whether a worker may have them: where it has more than they had; or where none that takes the
    /// sweep's jobs has more than they had, and none has more than this one.
    fn fits<'a>(&'a self, run: &'a SweepRun, worker: &'a WorkerState) -> impl Fn(&WaitingJob) -> bool + 'a {
        let most = OnceCell::new();
        move |waiting| {
            let beyond = match mutants::is_on(Mutant::MemoryIsForgotten) {
                true => 0,
                false => waiting.memory_beyond(),
            };
            let most_elsewhere = || *most.get_or_init(|| self.most_memory_beside(run.id(), worker));
            let own = worker.memory_bytes();
            beyond == 0 || beyond < own || (beyond >= most_elsewhere() && own >= most_elsewhere())
        }
    }

    /// The most memory that another worker has which takes the sweep's jobs, in bytes.
    pub(super) fn most_memory_beside(&self, sweep: SweepId, own: &WorkerState) -> u64 {
        let others = self.workers.all().filter(|worker| !std::ptr::eq(*worker, own));
        others
            .filter(|worker| self.takes_jobs(worker, sweep))
            .map(WorkerState::memory_bytes)
            .max()
            .unwrap_or(0)
    }

    /// Takes the jobs that train in one pack of that size with a job, as far as this budget, on a worker.
    fn take_pack_candidates(
        &mut self,
        sweep: SweepId,
        (job, budget): (u64, Option<u32>),
        name: &WorkerName,
        size: u32,
    ) -> Vec<(u64, WaitingJob)> {
        let found = self.sweeps.get(sweep).zip(self.workers.get(name));
        let candidates =
            found.map(|(run, worker)| run.pack_candidates((job, budget), self.finds(run, worker), size));
        let taken = self.sweeps.get_mut(sweep).zip(candidates).map(|(run, jobs)| run.take_all(jobs, budget));
        taken.unwrap_or_default()
    }

    /// Gives a free slot the sweep's next job, and as many pack candidates as pay; or several free slots one job.
    pub(super) fn grant(&mut self, now: Now, sweep: SweepId, place: Place<'_>, out: &mut Output) -> Chosen {
        let Place { name, granted, .. } = place;
        let takes_packs = self.takes_packs(sweep, &place);
        let slots = if takes_packs { self.packing_slots(sweep).saturating_sub(granted).max(1) } else { 1 };
        self.promote_for(sweep, &place, slots, out);
        let chosen = self.choose_job(now, sweep, name, out);
        let Chosen::Job(job) = chosen else { return chosen };
        let Some(run) = self.sweeps.get_mut(sweep) else { return Chosen::Later };
        let Some(worker) = self.workers.get(name) else { return Chosen::Later };
        let (Some(session), Some(slot)) = (worker.session(), worker.slots().get(place.first())) else {
            return Chosen::Later;
        };
        let slot = slot.description.clone();
        let (device, also_slots) = place.devices(worker);
        let share = run.room().div_ceil(slots);
        run.moves();
        let waiting = run.take(job);
        let pack_key = takes_packs.then(|| {
            let device = slot.description.clone();
            Arc::new(PackKey { device, shape: run.definition().shape(job) })
        });
        let size = pack_key.as_ref().map_or(1, |key| {
            let limits = [run.definition().execution.pack_size_max, waiting.pack_size_max()];
            let limit = limits.into_iter().flatten().fold(slot.pack_size_max, u32::min);
            u32::try_from(share).unwrap_or(u32::MAX).min(self.pack_sizes.size(key, limit))
        });
        let Some(worker) = self.workers.get_mut(name) else { return Chosen::Later };
        let is_probe = worker.begin_probe(run, run.attempt_key(job, waiting.next_attempt()));
        // One job is enough to probe for the data set.
        let size = if is_probe { 1 } else { size };
        let budget = waiting.budget();
        let mut jobs = vec![(job, waiting)];
        if size > 1 {
            jobs.append(&mut self.take_pack_candidates(sweep, (job, budget), name, size));
        }
        let Some(run) = self.sweeps.get_mut(sweep) else { return Chosen::Later };
        let Some(worker) = self.workers.get_mut(name) else { return Chosen::Later };
        let placement =
            Placement { worker: name.clone(), slot: slot.index, device, pack_size: jobs.len() as u32 };
        let lease = Lease::granted(now.monotonic_ms + self.config.lease_ms);
        let mut assignments = Vec::with_capacity(jobs.len());
        for (job, waiting) in jobs {
            let attempt = run.attempt_key(job, waiting.next_attempt());
            worker.occupy(slot.index, &placement.device, attempt);
            out.records.push(run.grant(
                (job, waiting),
                placement.clone(),
                pack_key.clone(),
                lease,
                now.unix_ms,
            ));
            let assignment = assignment(run, attempt, self.config.keeps_weights);
            assignments.push(JobAssignment { also_slots: also_slots.clone(), ..assignment });
            let state = JobState::Running;
            let observation =
                Observation::Job { attempt, state, worker: name.clone(), reason: String::new() };
            out.effects.push(Effect::Observed { sweep, observation });
        }
        send(session, ToWorker::Grant(Grant { slot: slot.index, jobs: assignments }), out);
        Chosen::Job(job)
    }
}

/// A free slot, or several for one job, and how many slots that take packs share the waiting jobs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) name: &'a WorkerName,
    /// Their positions at the worker; the first one runs the job.
    pub(super) slots: &'a [usize],
    pub(super) granted: u64,
}

impl Place<'_> {
    /// The position of the slot that runs the job.
    fn first(&self) -> usize {
        self.slots.first().copied().unwrap_or(usize::MAX)
    }

    /// The device that a job has there, or all of them, and the numbers of the other slots.
    fn devices(&self, worker: &WorkerState) -> (String, Vec<u32>) {
        let slots = || self.slots.iter().filter_map(|position| worker.slots().get(*position));
        let device = joined(slots().map(|slot| slot.description.device.as_str()));
        (device, slots().skip(1).map(|slot| slot.description.index).collect())
    }
}

fn assignment(run: &SweepRun, attempt: terms::AttemptKey, keeps_weights: bool) -> JobAssignment {
    let definition = run.definition();
    let specification = &definition.specification;
    let program = match &specification.trainable {
        Trainable::Model(_) => None,
        Trainable::Program(program) => {
            let repeat = definition.repeat(attempt.job.job);
            Some(program.for_job(&specification.resources, repeat))
        }
    };
    JobAssignment {
        attempt,
        model: specification.trainable.name().to_owned(),
        parameters: definition.parameters(attempt.job.job),
        budget: definition.budget(attempt.job.job),
        until_epoch: run.active(attempt).and_then(ActiveAttempt::until_epoch),
        program,
        objective: specification.metric.name.to_string(),
        dataset: specification.dataset.as_ref().map(|dataset| DatasetPlan {
            path: dataset.path.clone(),
            image_size: dataset.image_size,
            val_fraction: dataset.val_fraction,
            split_seed: dataset.split_seed,
            val_path: dataset.val_path.clone(),
        }),
        timeout_ms: definition.execution.job_timeout_ms,
        stop_grace_period_ms: definition.execution.stop_grace_period_ms,
        // Sweeps of other coordinators with the same URL have other times.
        checkpoint_key: format!("{}-{}/{}", run.id(), run.created_unix_ms(), attempt.job.job),
        checkpoint_every_epochs: definition.execution.checkpoint_every_epochs,
        pauses: run.pauses(),
        keep_weights: keeps_weights && specification.artifacts.keep != Keep::None,
        also_slots: Vec::new(),
    }
}
