//! Which free slot gets which jobs: one, or a pack of them. Sweeps are served in the order of their submission; a sweep
//! that has reached its limit, or that a worker cannot run, lets the next one pass.

use std::sync::Arc;

use domain::specification::{Keep, Trainable};
use terms::{JobState, SweepId, WorkerName};

use super::{
    DatasetPlan, Effect, Engine, Grant, JobAssignment, Now, Observation, Output, ToWorker,
    packs::PackKey,
    resources::allows,
    sessions::send,
    sweep_run::{Lease, Placement, SweepRun},
    workers::WorkerState,
};

impl Engine {
    /// Grants jobs until no slot is free or no job waits.
    pub(super) fn schedule(&mut self, now: Now, out: &mut Output) {
        if !self.workers.may_have_free_slots() {
            return;
        }
        self.sweeps.forget_touched();
        if !self.sweeps.running().any(SweepRun::can_start) {
            return;
        }
        let free = self.free_slots();
        let mut granted = 0;
        for (name, position) in free {
            if let Some(sweep) = self.next_sweep_for(now, &name, position) {
                let place = Place { name: &name, position, granted };
                granted += u64::from(self.takes_packs(sweep, &place));
                self.grant(now, sweep, place, out);
            }
        }
    }

    /// Whether several jobs of the sweep may train on the slot at the same time.
    fn takes_packs(&self, sweep: SweepId, place: &Place<'_>) -> bool {
        let slot = self.workers.get(place.name).and_then(|worker| worker.slots().get(place.position));
        let run = self.sweeps.get(sweep);
        slot.is_some_and(|slot| slot.description.pack_size_max > 1)
            && run.is_some_and(|run| {
                run.definition().manifest.packs && run.definition().execution.pack_size_max != Some(1)
            })
    }

    /// How many slots take packs, busy or free: the waiting jobs are divided among all of them, so that slots which
    /// become free soon find some.
    fn packing_slots(&self, sweep: SweepId) -> u64 {
        let workers = self.workers.all().filter(|worker| self.takes_jobs(worker, sweep));
        let slots = workers.flat_map(WorkerState::slots);
        slots.filter(|slot| slot.description.pack_size_max > 1).count() as u64
    }

    /// The free slots of the workers that accept jobs and are not quarantined for all sweeps, by worker.
    fn free_slots(&mut self) -> Vec<(WorkerName, usize)> {
        self.workers
            .with_free_slots()
            .filter(|(_, worker)| worker.accepts() && !worker.is_refused())
            .flat_map(|(name, worker)| {
                let free = worker.slots().iter().enumerate().filter(|(_, slot)| slot.is_free());
                free.map(move |(position, _)| (name.clone(), position))
            })
            .collect()
    }

    /// The first sweep with a job for this worker. A worker that cannot run a sweep gets its jobs only where no worker
    /// can, so that they fail with the reason instead of waiting indefinitely.
    fn next_sweep_for(&self, now: Now, name: &WorkerName, position: usize) -> Option<SweepId> {
        let worker = self.workers.get(name)?;
        let slot = &worker.slots().get(position)?.description;
        let takes = |sweep: SweepId| match worker.has_refused_sweep(sweep) {
            false => self.takes_jobs(worker, sweep),
            true => !self.is_quarantined(worker, sweep) && !self.some_worker_takes_jobs(sweep),
        };
        let fits = |run: &&SweepRun| {
            run.can_start()
                && worker.can_run(run)
                && allows(run, worker, slot)
                && worker.may_read(now, run)
                && takes(run.id())
        };
        self.sweeps.running().find(fits).map(SweepRun::id)
    }

    /// Gives a free slot the sweep's next job, and as many pack candidates as pay.
    fn grant(&mut self, now: Now, sweep: SweepId, place: Place<'_>, out: &mut Output) {
        let Place { name, position, granted } = place;
        let takes_packs = self.takes_packs(sweep, &place);
        let slots = if takes_packs { self.packing_slots(sweep).saturating_sub(granted).max(1) } else { 1 };
        let Some(run) = self.sweeps.get_mut(sweep) else { return };
        let Some(worker) = self.workers.get_mut(name) else { return };
        let (Some(session), Some(slot)) = (worker.session(), worker.slots().get(position)) else { return };
        let slot = slot.description.clone();
        let share = run.room().div_ceil(slots);
        run.moves();
        let Some((job, waiting)) = run.take_next() else { return };
        let pack_key = takes_packs.then(|| {
            let device = slot.description.clone();
            Arc::new(PackKey { device, shape: run.definition().shape(job) })
        });
        let size = pack_key.as_ref().map_or(1, |key| {
            let limits = [run.definition().execution.pack_size_max, waiting.pack_size_max()];
            let limit = limits.into_iter().flatten().fold(slot.pack_size_max, u32::min);
            u32::try_from(share).unwrap_or(u32::MAX).min(self.pack_sizes.size(key, limit))
        });
        let is_probe = worker.begin_probe(run, run.attempt_key(job, waiting.next_attempt()));
        // One job is enough to probe for the data set.
        let size = if is_probe { 1 } else { size };
        let mut jobs = vec![(job, waiting)];
        if size > 1 {
            jobs.extend(run.take_pack_candidates(job, size, size - 1));
        }
        let placement = Placement {
            worker: name.clone(),
            slot: slot.index,
            device: slot.device.clone(),
            pack_size: jobs.len() as u32,
        };
        let lease = Lease::granted(now.monotonic_ms + self.config.lease_ms);
        let mut assignments = Vec::with_capacity(jobs.len());
        for (job, waiting) in jobs {
            let attempt = run.attempt_key(job, waiting.next_attempt());
            worker.occupy(slot.index, attempt);
            out.records.push(run.grant(
                (job, waiting),
                placement.clone(),
                pack_key.clone(),
                lease,
                now.unix_ms,
            ));
            assignments.push(assignment(run, attempt, self.config.keeps_weights));
            let state = JobState::Running;
            let observation =
                Observation::Job { attempt, state, worker: name.clone(), reason: String::new() };
            out.effects.push(Effect::Observed { sweep, observation });
        }
        send(session, ToWorker::Grant(Grant { slot: slot.index, jobs: assignments }), out);
    }
}

/// A free slot, and how many slots that take packs share the waiting jobs.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a WorkerName,
    position: usize,
    granted: u64,
}

fn assignment(run: &SweepRun, attempt: terms::AttemptKey, keeps_weights: bool) -> JobAssignment {
    let definition = run.definition();
    let specification = &definition.specification;
    let program = match &specification.trainable {
        Trainable::Model(_) => None,
        Trainable::Program(program) => Some(program.with_resources(&specification.resources)),
    };
    JobAssignment {
        attempt,
        model: specification.trainable.name().to_owned(),
        parameters: definition.parameters(attempt.job.job),
        budget: definition.budget(attempt.job.job),
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
        keep_weights: keeps_weights && specification.artifacts.keep != Keep::None,
    }
}
