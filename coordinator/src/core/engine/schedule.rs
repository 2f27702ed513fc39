//! Which free slot gets which job. Sweeps are served in the order of their submission; a sweep whose limit is
//! reached, or that a worker cannot run, lets the next one pass.

use proto::{SweepId, WorkerName, v1};

use super::{
    Effect, Engine, Now, Observation, Output,
    sessions::send,
    sweep_run::{ActiveAttempt, SweepRun},
};
use crate::core::{record::Record, state::JobState};

impl Engine {
    /// Grants jobs until no slot is free or no job waits.
    pub(super) fn schedule(&mut self, now: Now, out: &mut Output) {
        if !self.sweeps.values().any(SweepRun::can_start) {
            return;
        }
        let free: Vec<(WorkerName, usize)> = self
            .workers
            .iter()
            .filter(|(_, worker)| self.takes_jobs(worker))
            .flat_map(|(name, worker)| {
                let free = worker.slots.iter().enumerate().filter(|(_, slot)| slot.occupant.is_none());
                free.map(move |(position, _)| (name.clone(), position))
            })
            .collect();
        for (name, position) in free {
            if let Some(sweep) = self.next_sweep_for(&name) {
                self.grant(now, sweep, &name, position, out);
            }
        }
    }

    /// The first sweep with a job for this worker. A worker that cannot run a sweep gets its jobs only where
    /// nobody can, so that they fail with the reason instead of waiting for ever.
    fn next_sweep_for(&self, name: &WorkerName) -> Option<SweepId> {
        let unfit = &self.workers.get(name)?.unfit;
        let nobody_fits = |sweep: &SweepId| {
            self.workers
                .values()
                .filter(|worker| self.takes_jobs(worker))
                .all(|worker| worker.unfit.contains(sweep))
        };
        let fits = |run: &&SweepRun| run.can_start() && (!unfit.contains(&run.id) || nobody_fits(&run.id));
        self.sweeps.values().find(fits).map(|run| run.id)
    }

    fn grant(&mut self, now: Now, sweep: SweepId, name: &WorkerName, position: usize, out: &mut Output) {
        let Some(run) = self.sweeps.get_mut(&sweep) else { return };
        let Some(worker) = self.workers.get_mut(name) else { return };
        let (Some(session), Some(slot)) = (worker.session, worker.slots.get_mut(position)) else { return };
        let Some((job, waiting)) = run.take_next() else { return };
        let attempt = run.attempt_key(job, waiting.attempts + 1);
        slot.occupant = Some(attempt);
        let (slot, device) = (slot.description.index, slot.description.device.clone());
        let active = ActiveAttempt {
            attempt: attempt.attempt,
            worker: name.clone(),
            slot,
            device: device.clone(),
            deadline_ms: now.monotonic_ms + self.config.lease_ms,
            started: false,
            history: waiting.history,
            epochs_total: run.definition.epochs(job),
            train_seconds: 0.0,
            last: None,
            progress: (0, 0.0),
        };
        run.active.insert(job, active);
        let (worker, at_unix_ms) = (name.clone(), now.unix_ms);
        out.records.push(Record::AttemptGranted {
            attempt,
            worker: worker.clone(),
            slot,
            device,
            at_unix_ms,
        });
        let grant = v1::Grant { slot, jobs: vec![assignment(run, attempt)] };
        send(session, v1::coordinator_message::Message::Grant(grant), out);
        let observation =
            Observation::Job { attempt, state: JobState::Running, worker, reason: String::new() };
        out.effects.push(Effect::Observed { sweep, observation });
    }
}

fn assignment(run: &SweepRun, attempt: proto::AttemptKey) -> v1::JobAssignment {
    let specification = &run.definition.specification;
    let dataset = &specification.dataset;
    v1::JobAssignment {
        attempt: Some(attempt.into()),
        model: specification.model.name().to_owned(),
        parameters: run.definition.parameters(attempt.job.job).to_wire(),
        dataset: Some(v1::Dataset {
            path: dataset.path.to_string_lossy().into_owned(),
            image_size: dataset.image_size,
            val_fraction: dataset.val_fraction,
            split_seed: dataset.split_seed,
        }),
        timeout_ms: run.definition.execution.job_timeout_ms.unwrap_or(0),
        checkpoints: Some(v1::CheckpointPlan {
            // Sweeps of other coordinators in the same place have other times.
            key: format!("{}-{}/{}", run.id, run.created_unix_ms, attempt.job.job),
            every_epochs: run.definition.execution.checkpoint_every_epochs,
        }),
    }
}
