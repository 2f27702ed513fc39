//! Which free slot gets which jobs: one, or a pack of them. Sweeps are served in the order of their submission; a sweep
//! whose limit is reached, or that a worker cannot run, lets the next one pass.

use std::sync::Arc;

use domain::{
    record::Record,
    specification::{Keep, Trainable},
};
use terms::{JobState, SweepId, SweepState, WorkerName};

use super::{
    DatasetPlan, Effect, Engine, Grant, JobAssignment, Now, Observation, Output, ToWorker,
    away::begin_probe,
    packs::PackKey,
    sessions::send,
    sweep_run::{ActiveAttempt, NOT_TOLD, SweepRun},
    workers::WorkerState,
};
use crate::mutants::{self, Mutant};

impl Engine {
    /// Grants jobs until no slot is free or no job waits.
    pub(super) fn schedule(&mut self, now: Now, out: &mut Output) {
        if self.roomy.is_empty() {
            return;
        }
        let sweeps = &self.sweeps;
        self.live.retain(|id| sweeps.get(id).is_some_and(|run| run.state == SweepState::Running));
        if !self.live_sweeps().any(SweepRun::can_start) {
            return;
        }
        let free = self.free_slots();
        let mut granted = 0;
        for (name, position) in free {
            if let Some(sweep) = self.next_sweep_for(now, &name) {
                let place = Place { name: &name, position, granted };
                granted += u64::from(self.takes_packs(sweep, &place));
                self.grant(now, sweep, place, out);
            }
        }
    }

    /// Whether several jobs of the sweep may be trained on the slot at the same time.
    fn takes_packs(&self, sweep: SweepId, place: &Place<'_>) -> bool {
        let slot = self.workers.get(place.name).and_then(|worker| worker.slots.get(place.position));
        let run = self.sweeps.get(&sweep);
        slot.is_some_and(|slot| slot.description.pack_size_max > 1)
            && run.is_some_and(|run| run.definition.execution.pack_size_max != Some(1))
    }

    /// How many slots take packs, busy or free: what waits is dealt out over all of them, so that those which are free
    /// soon find something.
    fn packing_slots(&self, sweep: SweepId) -> u64 {
        let workers = self.workers.values().filter(|worker| self.takes_jobs(worker, sweep));
        let slots = workers.flat_map(|worker| &worker.slots);
        slots.filter(|slot| slot.description.pack_size_max > 1).count() as u64
    }

    /// The free slots of the workers that accept jobs and are not set aside for all, by worker.
    fn free_slots(&mut self) -> Vec<(WorkerName, usize)> {
        let workers = &self.workers;
        self.roomy.retain(|name| workers.get(name).is_some_and(WorkerState::has_room));
        self.roomy
            .iter()
            .filter_map(|name| self.workers.get_key_value(name))
            .filter(|(_, worker)| worker.accepts() && !worker.is_refused())
            .flat_map(|(name, worker)| {
                let free = worker.slots.iter().enumerate().filter(|(_, slot)| slot.is_free());
                free.map(move |(position, _)| (name.clone(), position))
            })
            .collect()
    }

    /// The first sweep with a job for this worker. A worker that cannot run a sweep gets its jobs only where
    /// nobody can, so that they fail with the reason instead of waiting for ever.
    fn next_sweep_for(&self, now: Now, name: &WorkerName) -> Option<SweepId> {
        let worker = self.workers.get(name)?;
        let takes = |sweep: SweepId| match worker.unfit.contains(&sweep) {
            false => self.takes_jobs(worker, sweep),
            true => !self.is_set_aside(worker, sweep) && !self.somebody_takes_jobs(sweep),
        };
        let fits = |run: &&SweepRun| run.can_start() && worker.may_read(now, run) && takes(run.id);
        self.live_sweeps().find(fits).map(|run| run.id)
    }

    /// The sweeps that are running, in the order of their submission.
    fn live_sweeps(&self) -> impl Iterator<Item = &SweepRun> {
        self.live.iter().filter_map(|id| self.sweeps.get(id))
    }

    /// Gives a free slot the sweep's next job, and as many of its mates as pay.
    fn grant(&mut self, now: Now, sweep: SweepId, place: Place<'_>, out: &mut Output) {
        let Place { name, position, granted } = place;
        let takes_packs = self.takes_packs(sweep, &place);
        let slots = if takes_packs { self.packing_slots(sweep).saturating_sub(granted).max(1) } else { 1 };
        let Some(run) = self.sweeps.get_mut(&sweep) else { return };
        let Some(worker) = self.workers.get_mut(name) else { return };
        let (Some(session), Some(slot)) = (worker.session, worker.slots.get_mut(position)) else { return };
        let share = run.room().div_ceil(slots);
        run.moves();
        let Some((job, waiting)) = run.take_next() else { return };
        let pack_key = takes_packs.then(|| {
            let device = slot.description.description.clone();
            Arc::new(PackKey { device, shape: run.definition.shape(job) })
        });
        let size = pack_key.as_ref().map_or(1, |key| {
            let limits = [run.definition.execution.pack_size_max, waiting.pack_size_max];
            let limit = limits.into_iter().flatten().fold(slot.description.pack_size_max, u32::min);
            u32::try_from(share).unwrap_or(u32::MAX).min(self.pack_sizes.size(key, limit))
        });
        let is_probe = begin_probe(&mut worker.away, run, run.attempt_key(job, waiting.attempts + 1));
        // One is enough to look whether its data set is back.
        let size = if is_probe { 1 } else { size };
        let mut jobs = vec![(job, waiting)];
        if size > 1 {
            jobs.extend(run.take_mates(job, size, size - 1));
        }
        let pack_size = jobs.len() as u32;
        let early = mutants::is_on(Mutant::LeasesBeginEarly);
        let deadline_ms = if early { now.monotonic_ms + self.config.lease_ms } else { NOT_TOLD };
        let mut assignments = Vec::with_capacity(jobs.len());
        for (job, waiting) in jobs {
            let attempt = run.attempt_key(job, waiting.attempts + 1);
            slot.occupants.insert(attempt);
            let active = ActiveAttempt {
                attempt: attempt.attempt,
                worker: name.clone(),
                slot: slot.description.index,
                device: slot.description.device.clone(),
                pack_size,
                pack_key: pack_key.clone(),
                pack_size_max: waiting.pack_size_max,
                dataset_path: run.dataset_path().into(),
                deadline_ms,
                started: false,
                resumed_epochs: 0,
                is_last: false,
                history: waiting.history,
                epochs_total: run.definition.budget(job),
                train_seconds: 0.0,
                last: None,
                objective: None,
                best: None,
                progress: (0, 0.0),
            };
            out.records.push(Record::AttemptGranted {
                attempt,
                is_first: waiting.is_fresh,
                worker: name.clone(),
                slot: active.slot,
                device: active.device.clone(),
                pack_size,
                at_unix_ms: now.unix_ms,
            });
            run.active.insert(job, active);
            assignments.push(assignment(run, attempt, self.config.keeps_weights));
            let state = JobState::Running;
            let observation =
                Observation::Job { attempt, state, worker: name.clone(), reason: String::new() };
            out.effects.push(Effect::Observed { sweep, observation });
        }
        send(session, ToWorker::Grant(Grant { slot: slot.description.index, jobs: assignments }), out);
    }
}

/// A free slot, and how many that take packs were given jobs at the same time.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a WorkerName,
    position: usize,
    granted: u64,
}

fn assignment(run: &SweepRun, attempt: terms::AttemptKey, keeps_weights: bool) -> JobAssignment {
    let specification = &run.definition.specification;
    let program = match &specification.trainable {
        Trainable::Model(_) => None,
        Trainable::Program(program) => Some(Arc::clone(program)),
    };
    JobAssignment {
        attempt,
        model: specification.trainable.name().to_owned(),
        parameters: run.definition.parameters(attempt.job.job),
        budget: run.definition.budget(attempt.job.job),
        program,
        objective: specification.metric.name.to_string(),
        dataset: specification.dataset.as_ref().map(|dataset| DatasetPlan {
            path: dataset.path.clone(),
            image_size: dataset.image_size,
            val_fraction: dataset.val_fraction,
            split_seed: dataset.split_seed,
            val_path: dataset.val_path.clone(),
        }),
        timeout_ms: run.definition.execution.job_timeout_ms,
        // Sweeps of other coordinators in the same place have other times.
        checkpoint_key: format!("{}-{}/{}", run.id, run.created_unix_ms, attempt.job.job),
        checkpoint_every_epochs: run.definition.execution.checkpoint_every_epochs,
        keep_weights: keeps_weights && specification.artifacts.keep != Keep::None,
    }
}
