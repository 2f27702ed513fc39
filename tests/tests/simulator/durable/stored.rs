//! What a store gives back.

use super::*;

impl Durable {
    /// What a store gives back at the next start.
    pub(in super::super) fn load(&self) -> Vec<StoredSweep> {
        self.sweeps.iter().map(|(id, sweep)| self.stored(*id, sweep)).collect()
    }

    /// The quotas that it gives back.
    pub(in super::super) fn quotas(&self) -> Vec<Quota> {
        self.quotas.values().cloned().collect()
    }

    pub(super) fn stored(&self, id: SweepId, sweep: &Sweep) -> StoredSweep {
        let mut finals: Vec<(JobState, u64)> = Vec::new();
        for (_, job) in self.jobs_of(id).filter(|(_, job)| job.state.is_final()) {
            match finals.iter_mut().find(|(state, _)| *state == job.state) {
                Some((_, count)) => *count += 1,
                None => finals.push((job.state, 1)),
            }
        }
        let open = self.jobs_of(id).filter(|(_, job)| !job.state.is_final());
        let begun: BTreeSet<u64> = self.jobs_of(id).map(|(key, _)| key.job).collect();
        let next_unstarted = (1..).find(|job| !begun.contains(job)).unwrap_or(u64::MAX);
        StoredSweep {
            sweep: id,
            request_id: sweep.request_id.clone(),
            specification: sweep.specification.clone(),
            manifest: None,
            metrics: sweep.metrics.clone(),
            parameters: Default::default(),
            without_checkpoint: sweep.without_checkpoint,
            owner: sweep.owner.clone(),
            state: sweep.state,
            job_count: sweep.job_count,
            search: StoredSearch {
                proposals: self.proposals_of(id),
                learned: self.learned.get(&id).cloned().unwrap_or_default(),
            },
            created_unix_ms: sweep.created_unix_ms,
            ended_unix_ms: sweep.ended_unix_ms,
            dataset: sweep.dataset.clone(),
            next_unstarted,
            out_of_order: begun.into_iter().filter(|job| *job > next_unstarted).collect(),
            finals,
            best: BestJobs::default(),
            best_points: None,
            weights: Vec::new(),
            open_jobs: open.map(|(key, job)| self.stored_job(*key, job)).collect(),
            rungs: self.stored_rungs(id),
        }
    }

    fn stored_rungs(&self, sweep: SweepId) -> Vec<StoredRungs> {
        let compared = self.jobs_of(sweep).filter(|(_, job)| !job.rungs.is_empty());
        let stored = compared.map(|(key, job)| {
            let rungs = job.rungs.values().copied().collect();
            StoredRungs { job: key.job, state: job.state, rungs }
        });
        stored.collect()
    }

    fn stored_job(&self, key: JobKey, job: &Job) -> StoredJob {
        let last = AttemptKey { job: key, attempt: job.attempts };
        let running = self.attempts.get(&last).filter(|_| job.state == JobState::Running);
        StoredJob {
            job: key.job,
            attempts: job.attempts,
            history: job.history.clone(),
            reason: job.reason.clone(),
            worker: self.attempts.get(&last).map(|attempt| attempt.worker.clone()),
            budget: job.budget,
            stage: match running {
                None if job.state == JobState::Paused => StoredStage::Paused,
                None => StoredStage::Waiting,
                Some(attempt) => StoredStage::Running(StoredAttempt {
                    worker: attempt.worker.clone(),
                    slot: attempt.slot,
                    device: attempt.device.clone(),
                    pack_size: attempt.pack_size,
                    started: attempt.started,
                    train_seconds: job.train_seconds,
                    last: job.last.clone(),
                    best: job.best.clone(),
                }),
            },
        }
    }
}
