//! Data sets that a worker cannot read at the moment: an unreliable mount, a stale share. The worker gets no job with
//! such a data set for a pause, then one job, which probes whether it is back; each pause is twice as long as the one
//! before. Jobs wait meanwhile and are not charged. They fail only if no worker ever read the data set.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use terms::{AttemptKey, SweepId, WorkerName};

use super::{Engine, Now, sweep_run::SweepRun, workers::WorkerState};

/// The first pause, in milliseconds: most mounts are back by then.
const PAUSE_MIN_MS: u64 = 1_000;

/// The longest pause: how long people wait without asking. Each pause costs a row of an attempt.
const PAUSE_MAX_MS: u64 = 60_000;

/// How long jobs wait for a data set that no worker ever read, in milliseconds.
const NEVER_READ_MAX_MS: u64 = 60_000;

/// A data set that a worker could not read.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) reason: String,
    /// Since when each sweep knows, on the clock of leases: no sweep fails for what another one saw.
    since_ms: BTreeMap<SweepId, u64>,
    /// Sweeps that no longer wait for it, as no worker ever read it: their jobs fail without a pause.
    given_up: BTreeSet<SweepId>,
    /// When it is tried again, on the same clock.
    until_ms: u64,
    pause_ms: u64,
    /// The attempt that probes whether it is back.
    pub(super) probe: Option<AttemptKey>,
}

impl WorkerState {
    /// Begins an attempt of the sweep here; returns whether it probes for the data set.
    pub(super) fn begin_probe(&mut self, run: &SweepRun, attempt: AttemptKey) -> bool {
        let Some(away) = self.away_mut().get_mut(run.dataset_path()) else { return false };
        away.probe = Some(attempt);
        true
    }

    /// Notes that a data set is available.
    pub(super) fn found(&mut self, path: &Path) {
        self.away_mut().remove(path);
    }

    /// Whether it may get a job of the sweep, as far as the data set is concerned.
    pub(super) fn may_read(&self, now: Now, run: &SweepRun) -> bool {
        let away = self.away().get(run.dataset_path());
        away.is_none_or(|away| {
            away.given_up.contains(&run.id()) || (away.probe.is_none() && away.until_ms <= now.monotonic_ms)
        })
    }

    /// What it cannot read, for people.
    pub(super) fn away_view(&self, now: Now) -> Option<String> {
        let (path, away) = self.away().iter().next()?;
        let more = match self.away().len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let seconds = away.until_ms.saturating_sub(now.monotonic_ms).div_ceil(1_000);
        let again =
            if seconds == 0 { "tried again now".to_owned() } else { format!("tried again in {seconds} s") };
        Some(format!("quarantined for the data set {}{more}: {}; {again}", path.display(), away.reason))
    }
}

impl Engine {
    /// Where an active attempt has to find its data set, and whether the sweep's data set has moved since: then
    /// what the attempt reports about the data set says nothing about the sweep any more.
    pub(super) fn dataset_of(&self, attempt: AttemptKey) -> Option<(Arc<Path>, bool)> {
        let run = self.sweeps.get(attempt.job.sweep)?;
        let path = Arc::clone(run.active(attempt)?.dataset_path());
        let has_moved = *path != *run.dataset_path();
        Some((path, has_moved))
    }

    /// Notes that a worker could not read the data set of an attempt. Returns whether waiting is pointless, because no
    /// worker ever read it and all have tried for long enough.
    pub(super) fn is_away(&mut self, now: Now, name: &WorkerName, attempt: AttemptKey, reason: &str) -> bool {
        let sweep = attempt.job.sweep;
        let Some((path, false)) = self.dataset_of(attempt) else { return false };
        let was_read = self.sweeps.all().any(|run| run.dataset().is_some() && *run.dataset_path() == *path);
        let Some(worker) = self.workers.get_mut(name) else { return false };
        let away = worker.away_mut().entry(path.to_path_buf()).or_insert_with(|| Away {
            reason: String::new(),
            since_ms: BTreeMap::new(),
            given_up: BTreeSet::new(),
            until_ms: 0,
            pause_ms: 0,
            probe: None,
        });
        reason.clone_into(&mut away.reason);
        // Jobs that were granted at the same time found the same fault.
        if away.until_ms <= now.monotonic_ms {
            away.pause_ms = (away.pause_ms * 2).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
            away.until_ms = now.monotonic_ms + away.pause_ms;
        }
        let since_ms = *away.since_ms.entry(sweep).or_insert(now.monotonic_ms);
        let is_long = now.monotonic_ms.saturating_sub(since_ms) >= NEVER_READ_MAX_MS;
        let cannot =
            |worker: &WorkerState| worker.has_refused_sweep(sweep) || worker.away().contains_key(&*path);
        let is_given_up =
            !was_read && is_long && self.workers.all().filter(|worker| worker.accepts()).all(cannot);
        for worker in self.workers.all_mut() {
            let Some(away) = worker.away_mut().get_mut(&*path) else { continue };
            if is_given_up {
                away.given_up.insert(sweep);
                worker.refuse_sweep(sweep);
            } else {
                away.given_up.remove(&sweep);
            }
        }
        is_given_up
    }

    /// Forgets data sets that no sweep needs.
    pub(super) fn forget_data_sets(&mut self) {
        if self.workers.all().all(|worker| worker.away().is_empty()) {
            return;
        }
        let sweeps = &self.sweeps;
        let needed: BTreeSet<&Path> =
            sweeps.all().filter(|run| !run.state().is_final()).map(SweepRun::dataset_path).collect();
        for worker in self.workers.all_mut() {
            worker.away_mut().retain(|path, away| {
                let is_open = |sweep: &SweepId| sweeps.get(*sweep).is_some_and(|run| !run.state().is_final());
                away.since_ms.retain(|sweep, _| is_open(sweep));
                away.given_up.retain(is_open);
                needed.contains(path.as_path())
            });
        }
    }

    /// Notes the end of an attempt that may have been a probe, and did not find out.
    pub(super) fn end_probe(&mut self, now: Now, name: &WorkerName, attempt: AttemptKey) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        for away in worker.away_mut().values_mut().filter(|away| away.probe == Some(attempt)) {
            away.probe = None;
            away.until_ms = away.until_ms.max(now.monotonic_ms + PAUSE_MIN_MS);
        }
    }
}
