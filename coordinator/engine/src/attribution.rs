//! Failure attribution: to the job, its worker, or chance. An attempt that fails is charged to its job. An attempt that
//! is lost with its worker is not, until the job was lost with several workers: then the job may be what ends them. A
//! worker is quarantined while there are others if one job after another crashes on it that does not crash elsewhere. A
//! worker that keeps sending invalid reports is always quarantined.
//!
//! A worker whose name another process has taken counts as dead, because a worker without a spool that restarts looks
//! just like that. If it is alive, it reconnects and names the attempts that it holds: then their losses are taken
//! back, durably. Two kinds are not taken back: losses that made a job fail, as a final state stays (`sweep retry`
//! gives it all its attempts again), and losses from before the coordinator started, as doubts are only kept in memory.

use std::collections::BTreeMap;

use domain::record::History;
use terms::{AttemptKey, AttemptState, JobKey, SweepId, WorkerName};

use super::{Engine, Hello, Output, sweep_run::ActiveAttempt, workers::WorkerState};
use crate::mutants::{self, Mutant};

/// With how many workers a job may be lost before its losses are charged to it: fewer die at the same time by chance.
const WORKERS_LOST_MAX: usize = 2;

/// How often a job may be lost in total, even with a single worker: more often than machines die by chance.
pub(super) const LOSSES_MAX: u32 = 10;

/// How many jobs may crash in a row on a worker. With `attempts_max` attempts each, several jobs of a sweep do so by
/// chance only if they crash everywhere.
const CRASHED_JOBS_MAX: usize = 3;

/// Crashed jobs remembered per worker: a million jobs that crash must not fill the memory.
const CRASHED_KEPT_MAX: usize = 100;

/// How many invalid reports a worker may send; a few may come from a broken trainer.
const REFUSALS_MAX: u32 = 20;

/// Losses that can be taken back: those of all slots of a large cluster.
const DOUBTS_MAX: usize = 10_000;

/// Losses that were counted although no one saw the worker's end.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<AttemptKey, Doubt>);

impl Doubts {
    /// Forgets those of a job whose history starts again: later losses that look the same are different ones.
    pub(super) fn forget(&mut self, job: JobKey) {
        let (first, last) = (AttemptKey { job, attempt: 0 }, AttemptKey { job, attempt: u32::MAX });
        let of_job: Vec<AttemptKey> = self.0.range(first..=last).map(|(attempt, _)| *attempt).collect();
        of_job.iter().for_each(|attempt| drop(self.0.remove(attempt)));
    }
}

#[derive(Debug)]
struct Doubt {
    worker: WorkerName,
    /// The job's history before and after the loss.
    before: History,
    after: History,
}

/// A job's history after the end of an attempt, and the reason of that end including what it means for the job.
pub(super) fn attribute(
    mut history: History,
    state: AttemptState,
    worker: &WorkerName,
    pack_size: u32,
    reason: String,
) -> (History, String) {
    match state {
        AttemptState::Failed => history.failures += 1,
        AttemptState::HandedBack if mutants::is_on(Mutant::HandBacksAreCharged) => history.failures += 1,
        AttemptState::Lost => {
            // No one knows which job of a pack caused it, if any: each is tried again in a smaller pack, in the end alone.
            if pack_size > 1 {
                return (history, reason);
            }
            history.losses += 1;
            history.lost_with.insert(worker.clone());
            if history.lost_with.len() > WORKERS_LOST_MAX {
                history.failures += 1;
                let workers: Vec<&str> = history.lost_with.iter().map(WorkerName::as_str).collect();
                let reason = format!(
                    "{reason}; charged to the job, as it was lost with {} workers ({}) and may be what ends them",
                    workers.len(),
                    workers.join(", ")
                );
                return (history, reason);
            }
        }
        _ => {}
    }
    (history, reason)
}

/// What is attributed to a worker.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Jobs that crashed there since the last one that did not, with the reasons.
    crashed: BTreeMap<JobKey, String>,
    /// How many invalid reports it sent, and the last one.
    refused: u32,
    refusal: String,
}

impl Standing {
    /// How many jobs crashed there.
    pub(super) fn crashed_jobs(&self) -> usize {
        self.crashed.len()
    }
}

impl WorkerState {
    /// Forgets what was attributed to it.
    pub(super) fn forgive(&mut self) {
        *self.standing_mut() = Standing::default();
        self.away_mut().clear();
    }

    fn is_crashing_jobs(&self) -> bool {
        self.standing().crashed_jobs() >= CRASHED_JOBS_MAX
    }

    /// Whether anything is attributed to it that may quarantine it.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_crashing_jobs() || self.is_refused()
    }

    /// Whether it gets no jobs of a sweep for which there may be `others`. There may be many of them, so the function looks at them
    /// only if they decide.
    pub(super) fn is_to_be_quarantined(&self, others: impl FnOnce() -> bool) -> bool {
        self.is_refused() || (self.is_crashing_jobs() && others())
    }

    /// Whether it sent too many invalid reports.
    pub(super) fn is_refused(&self) -> bool {
        self.standing().refused > REFUSALS_MAX
    }
}

impl Engine {
    /// Whether a worker gets jobs of the sweep now, as far as the worker itself is concerned.
    pub(super) fn takes_jobs(&self, worker: &WorkerState, sweep: SweepId) -> bool {
        self.takes_jobs_beside_others(worker, sweep, || self.others_take_jobs(sweep))
    }

    /// The same for who asks of many workers, and so finds out once whether [`others_take_jobs`](Self::others_take_jobs).
    pub(super) fn takes_jobs_beside_others(
        &self,
        worker: &WorkerState,
        sweep: SweepId,
        others_take_jobs: impl FnOnce() -> bool,
    ) -> bool {
        worker.accepts()
            && self.can_run(worker, sweep)
            && !worker.has_refused_sweep(sweep)
            && !worker.is_to_be_quarantined(others_take_jobs)
    }

    /// Whether the worker of that name gets jobs of the sweep now, as far as the worker itself is concerned. For tests.
    pub fn gives_jobs_to(&self, name: &WorkerName, sweep: SweepId) -> bool {
        self.workers.get(name).is_some_and(|worker| self.takes_jobs(worker, sweep))
    }

    /// Whether any worker gets jobs of the sweep now. Where none does, jobs fail with the reason that the next worker
    /// gives. Granting and failing must depend on the same condition, or jobs would be granted without end.
    pub(super) fn some_worker_takes_jobs(&self, sweep: SweepId) -> bool {
        self.workers.all().any(|worker| self.takes_jobs(worker, sweep))
    }

    /// Whether another worker than that of an attempt gets jobs of its sweep now.
    pub(super) fn others_than_its_own_take_jobs(&self, attempt: AttemptKey) -> bool {
        let sweep = attempt.job.sweep;
        let own = self.sweeps.get(sweep).and_then(|run| run.active(attempt)).map(ActiveAttempt::worker);
        own.map_or_else(|| self.some_worker_takes_jobs(sweep), |own| self.another_takes_jobs(sweep, own))
    }

    /// Whether another worker than this one gets jobs of the sweep now.
    pub(super) fn another_takes_jobs(&self, sweep: SweepId, own: &WorkerName) -> bool {
        self.workers.iter().any(|(name, worker)| name != own && self.takes_jobs(worker, sweep))
    }

    /// Whether a worker gets no jobs of the sweep, although it would take them, because of failures attributed to it.
    pub(super) fn is_quarantined(&self, worker: &WorkerState, sweep: SweepId) -> bool {
        worker.is_to_be_quarantined(|| self.others_take_jobs(sweep))
    }

    /// Whether there are workers for the sweep that are not suspect. If all are suspect, the cause is the jobs. A
    /// worker that cannot run the sweep does not count.
    pub(super) fn others_take_jobs(&self, sweep: SweepId) -> bool {
        self.workers.all().any(|other| {
            other.accepts()
                && self.can_run(other, sweep)
                && !other.is_suspect()
                && !other.has_refused_sweep(sweep)
        })
    }

    /// Whether a worker can run what the sweep is about.
    fn can_run(&self, worker: &WorkerState, sweep: SweepId) -> bool {
        self.sweeps.get(sweep).is_some_and(|run| worker.can_run(run))
    }

    /// Why a worker gets no jobs, or none of the sweeps whose jobs crashed there, although it would take them.
    pub(super) fn quarantine(&self, worker: &WorkerState) -> Option<String> {
        if worker.is_refused() {
            return Some(format!(
                "quarantined: it sent {} invalid reports, the last one: {}; restart it with the coordinator's version",
                worker.standing().refused,
                worker.standing().refusal
            ));
        }
        let others = || worker.standing().crashed.keys().any(|job| self.others_take_jobs(job.sweep));
        if !worker.is_to_be_quarantined(others) {
            return None;
        }
        let jobs: Vec<String> = worker.standing().crashed.keys().map(ToString::to_string).collect();
        let last = worker.standing().crashed.values().next_back().map_or("", String::as_str);
        Some(format!(
            "quarantined: jobs {} crashed here and nowhere else, the last one with: {last}; fix the worker and restart it",
            jobs.join(", ")
        ))
    }

    /// What has gone wrong so far with a job that waits or runs.
    pub(super) fn history(&self, job: JobKey) -> Option<&History> {
        self.sweeps.get(job.sweep)?.history(job.job)
    }

    /// Notes that an attempt was counted as lost with a worker that may be alive; `before` is its job's history before
    /// that.
    pub(super) fn doubt(&mut self, attempt: AttemptKey, worker: &WorkerName, before: History) {
        let Some(after) = self.history(attempt.job).cloned().filter(|after| *after != before) else { return };
        self.doubts.0.insert(attempt, Doubt { worker: worker.clone(), before, after });
        if self.doubts.0.len() > DOUBTS_MAX {
            self.doubts.0.pop_first();
        }
    }

    /// Takes losses back: the worker of an attempt that was counted as lost is alive and holds it, and nothing was
    /// counted since.
    pub(super) fn take_losses_back(&mut self, hello: &Hello, out: &mut Output) {
        for held in &hello.held {
            let of_this = |doubt: &Doubt| doubt.worker == hello.name;
            if !self.doubts.0.get(&held.attempt).is_some_and(of_this) {
                continue;
            }
            let Some(doubt) = self.doubts.0.remove(&held.attempt) else { continue };
            let job = held.attempt.job;
            let Some(run) = self.sweeps.get_mut(job.sweep) else { continue };
            let reason =
                format!("attempt {} is not counted as lost: worker {} lives", held.attempt, hello.name);
            out.records.extend(run.take_loss_back(job.job, &doubt.after, doubt.before, reason));
        }
    }

    /// Attributes the end of an attempt to its worker, where it is the worker's.
    pub(super) fn attribute_to_worker(
        &mut self,
        name: &WorkerName,
        job: JobKey,
        state: AttemptState,
        reason: &str,
    ) {
        match state {
            AttemptState::Done | AttemptState::Paused | AttemptState::Diverged => {
                if let Some(worker) = self.workers.get_mut(name) {
                    worker.standing_mut().crashed.clear();
                }
            }
            AttemptState::Failed => {
                let elsewhere = |(other, worker): (&WorkerName, &WorkerState)| {
                    other != name && worker.standing().crashed.contains_key(&job)
                };
                if self.workers.iter().any(elsewhere) {
                    // It crashes wherever it runs, which says nothing about any worker.
                    self.workers
                        .all_mut()
                        .for_each(|worker| drop(worker.standing_mut().crashed.remove(&job)));
                } else if let Some(worker) = self.workers.get_mut(name) {
                    let crashed = &mut worker.standing_mut().crashed;
                    crashed.insert(job, reason.to_owned());
                    if crashed.len() > CRASHED_KEPT_MAX {
                        crashed.pop_first();
                    }
                }
            }
            _ => {}
        }
    }

    /// Counts an invalid report of a worker.
    pub(super) fn refuse(&mut self, name: &WorkerName, what: &str) {
        if let Some(worker) = self.workers.get_mut(name) {
            let standing = worker.standing_mut();
            standing.refused += 1;
            what.clone_into(&mut standing.refusal);
        }
    }

    /// Whether no coordinator of this store can have given the attempt to that worker. A late report on an attempt that
    /// has ended is not foreign.
    pub(super) fn is_foreign(&self, name: &WorkerName, attempt: AttemptKey) -> bool {
        let Some(run) = self.sweeps.get(attempt.job.sweep) else { return true };
        let is_others = run.active(attempt).is_some_and(|active| active.worker() != name);
        attempt.job.job == 0 || !run.has_begun(attempt.job.job) || attempt.attempt == 0 || is_others
    }
}
