//! Trained weights: which are wanted, and which are kept. The bytes themselves never come here. A worker offers what it
//! has; weights are wanted if they would be among the best that are kept, and count once they are durable. Kept weights
//! are only dropped for better ones that are already durable, so that a worker that dies with the best ones costs no
//! others.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    record::{Record, StoredWeights, WeightsFile, WeightsState},
    specification::Keep,
};
use terms::{AttemptKey, SweepId, WorkerName, snapshot::SnapshotId};

use super::{Effect, Engine, KeptWeights, Observation, Output, sweep_run::SweepRun};

/// What to do with weights that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsAnswer {
    /// They can be deleted, for this reason.
    NotWanted(String),
    /// Not known yet: the attempt's end has not arrived.
    Waiting,
    /// They must be uploaded, under this name.
    Wanted {
        /// Below the folder of all weights.
        name: String,
    },
    /// They are kept.
    Durable,
    /// The attempt was reported with another file, which is still awaited: this one can be deleted, and the other never comes.
    Differs {
        /// The one that was reported.
        reported: WeightsFile,
    },
}

/// The names of files of weights, below the folder of all weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightsNames {
    /// Of files that are kept.
    pub kept: BTreeSet<String>,
    /// Of files that are on their way.
    pub awaited: BTreeSet<String>,
    /// The folders of this coordinator's sweeps.
    pub folders: BTreeSet<String>,
    /// The files of programs that sweeps name.
    pub snapshots: BTreeSet<SnapshotId>,
}

/// The weights of a sweep that are kept or on their way.
#[derive(Debug, Default)]
pub(super) struct Weights(BTreeMap<u64, Entry>);

/// The weights of one job.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    attempt: u32,
    worker: WorkerName,
    file: WeightsFile,
    /// The metric that ranks the job.
    value: f64,
    /// Durable, and not only on their way.
    kept: bool,
}

impl Weights {
    /// As a store has them.
    pub(super) fn restored(stored: Vec<StoredWeights>) -> Self {
        let entry = |stored: StoredWeights| {
            let StoredWeights { job, attempt, worker, file, value, kept } = stored;
            (job, Entry { attempt, worker, file, value, kept })
        };
        Self(stored.into_iter().map(entry).collect())
    }

    /// Whether none are kept, and none on their way.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are kept.
    pub(super) fn bytes_kept(&self) -> u64 {
        self.kept().map(|(_, entry)| entry.file.bytes).sum()
    }

    /// How many are on their way.
    pub(super) fn awaited(&self) -> u64 {
        self.0.values().filter(|entry| !entry.kept).count() as u64
    }

    fn kept(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.0.iter().filter(|(_, entry)| entry.kept).map(|(job, entry)| (*job, entry))
    }

    /// The weights of exactly this attempt with exactly this content.
    fn find(&self, attempt: AttemptKey, file: &WeightsFile) -> Option<&Entry> {
        let entry = self.0.get(&attempt.job.job)?;
        (entry.attempt == attempt.attempt
            && entry.file.blake3 == file.blake3
            && entry.file.bytes == file.bytes)
            .then_some(entry)
    }

    pub(super) fn check_invariants(&self, run: &SweepRun) -> Result<(), String> {
        if self.0.keys().any(|job| !run.has_begun(*job) || run.current(*job).is_some()) {
            return Err(format!("sweep {}: weights of a job that is not done", run.id()));
        }
        Ok(())
    }
}

impl SweepRun {
    /// The name of a file of weights, below the folder of all weights: no other file ever has it.
    fn weights_name(&self, job: u64, attempt: u32, file: &WeightsFile) -> String {
        weights_name(self.id(), self.created_unix_ms(), job, attempt, &file.blake3)
    }

    /// Whether weights of a job with this value would be kept if they were there.
    fn would_keep(&self, job: u64, value: f64) -> bool {
        match self.definition().specification.artifacts.keep {
            Keep::All => true,
            Keep::None => false,
            Keep::Best(most) => {
                let better = |(other, entry): &(u64, &Entry)| {
                    *other != job && self.outranks((*other, entry.value), (job, value))
                };
                (self.weights().kept().filter(better).count() as u64) < u64::from(most)
            }
        }
    }

    /// Drops weights that are no longer among the best.
    pub(super) fn trim_weights(&mut self, out: &mut Output) {
        let outranked: Vec<u64> = self
            .weights()
            .0
            .iter()
            .filter(|(job, entry)| !self.would_keep(**job, entry.value))
            .map(|(job, _)| *job)
            .collect();
        for job in outranked {
            let Some(entry) = self.weights_mut().0.remove(&job) else { continue };
            let attempt = self.attempt_key(job, entry.attempt);
            // Also for weights that were on their way: a part may have arrived.
            let name = self.weights_name(job, entry.attempt, &entry.file);
            out.effects.push(Effect::RemoveWeights { name });
            let reason = "others are better".to_owned();
            out.records.push(entry.record(attempt, WeightsState::Dropped, reason));
        }
    }

    /// The best weights that are kept, as users see them.
    pub(super) fn best_weights(&self) -> Option<KeptWeights> {
        let best = self.weights().kept().reduce(|best, next| {
            if self.outranks((next.0, next.1.value), (best.0, best.1.value)) { next } else { best }
        })?;
        let (job, entry) = best;
        Some(KeptWeights {
            job,
            attempt: entry.attempt,
            worker: entry.worker.clone(),
            file: entry.file.clone(),
            value: entry.value,
        })
    }
}

impl Entry {
    fn record(&self, attempt: AttemptKey, state: WeightsState, reason: String) -> Record {
        Record::WeightsChanged {
            attempt,
            state,
            worker: self.worker.clone(),
            file: self.file.clone(),
            value: self.value,
            reason,
        }
    }
}

/// The name of a file of weights, below the folder of all weights. Sweeps of other coordinators with the same folder
/// have other times.
pub fn weights_name(sweep: SweepId, created_unix_ms: u64, job: u64, attempt: u32, blake3: &str) -> String {
    let hash: String = blake3.chars().filter(char::is_ascii_hexdigit).take(32).collect();
    format!("{}/{job}-{attempt}-{hash}.safetensors", weights_folder(sweep, created_unix_ms))
}

pub(super) fn weights_folder(sweep: SweepId, created_unix_ms: u64) -> String {
    format!("{sweep}-{created_unix_ms}")
}

/// The weights that an attempt left when it was done.
pub(super) struct Left {
    pub(super) attempt: AttemptKey,
    pub(super) worker: WorkerName,
    /// The values of the objective at its last epoch and at its best.
    pub(super) objective: Option<f64>,
    pub(super) best: Option<f64>,
    pub(super) weights: Option<Result<WeightsFile, String>>,
}

impl Engine {
    /// An attempt is done, and its job's end has just been counted: decides whether to wait for its weights.
    pub(super) fn weights_left(&mut self, left: Left, out: &mut Output) {
        let Left { attempt, worker, objective, best, weights } = left;
        let keeps = self.config.keeps_weights;
        let Some(run) = self.sweeps.get_mut(attempt.job.sweep).filter(|_| keeps) else { return };
        let Some(value) = run.ranked_value(objective, best) else { return };
        let job = attempt.job.job;
        let Some(weights) = weights.filter(|_| run.would_keep(job, value)) else { return };
        match weights {
            Ok(file) => {
                let entry = Entry { attempt: attempt.attempt, worker, file, value, kept: false };
                out.records.push(entry.record(attempt, WeightsState::Awaited, String::new()));
                run.weights_mut().0.insert(job, entry);
            }
            Err(reason) => {
                let file = WeightsFile { bytes: 0, blake3: String::new() };
                let entry = Entry { attempt: attempt.attempt, worker, file, value, kept: false };
                out.records.push(entry.record(attempt, WeightsState::Absent, reason));
            }
        }
    }

    /// The worker of an attempt that runs, or whose weights are kept or on their way.
    pub(super) fn worker_of(&self, attempt: AttemptKey) -> Option<WorkerName> {
        let run = self.sweeps.get(attempt.job.sweep)?;
        if let Some(active) = run.active(attempt) {
            return Some(active.worker().clone());
        }
        let entry = run.weights().0.get(&attempt.job.job)?;
        (entry.attempt == attempt.attempt).then(|| entry.worker.clone())
    }

    /// What to do with weights that a worker offers.
    pub(super) fn weights_offered(&self, attempt: AttemptKey, file: &WeightsFile) -> WeightsAnswer {
        let Some(run) = self.sweeps.get(attempt.job.sweep) else {
            return WeightsAnswer::NotWanted("there is no such sweep".to_owned());
        };
        if let Some(entry) = run.weights().find(attempt, file) {
            let name = run.weights_name(attempt.job.job, attempt.attempt, file);
            return if entry.kept { WeightsAnswer::Durable } else { WeightsAnswer::Wanted { name } };
        }
        if run.active(attempt).is_some() {
            return WeightsAnswer::Waiting;
        }
        let awaited = run.weights().0.get(&attempt.job.job);
        if let Some(entry) = awaited.filter(|entry| entry.attempt == attempt.attempt && !entry.kept) {
            return WeightsAnswer::Differs { reported: entry.file.clone() };
        }
        let others = "the attempt does not count, or others are better";
        WeightsAnswer::NotWanted(others.to_owned())
    }

    /// A file is in its place, whole: it counts if it is still wanted.
    pub(super) fn weights_kept(
        &mut self,
        attempt: AttemptKey,
        file: &WeightsFile,
        out: &mut Output,
    ) -> WeightsAnswer {
        let answer = self.weights_offered(attempt, file);
        let run = self.sweeps.get_mut(attempt.job.sweep);
        let (WeightsAnswer::Wanted { .. }, Some(run)) = (&answer, run) else { return answer };
        if let Some(entry) = run.weights_mut().0.get_mut(&attempt.job.job) {
            entry.kept = true;
            out.records.push(entry.record(attempt, WeightsState::Kept, String::new()));
        }
        run.trim_weights(out);
        out.effects.push(Effect::Observed { sweep: attempt.job.sweep, observation: Observation::Progress });
        self.weights_offered(attempt, file)
    }

    /// A worker does not have weights of an attempt that it reported.
    pub(super) fn weights_lost(
        &mut self,
        attempt: AttemptKey,
        file: &WeightsFile,
        reason: String,
        out: &mut Output,
    ) -> WeightsAnswer {
        let run = self.sweeps.get_mut(attempt.job.sweep);
        if let Some(run) = run
            && let Some(entry) = run.weights().find(attempt, file).filter(|entry| !entry.kept).cloned()
        {
            run.weights_mut().0.remove(&attempt.job.job);
            let name = run.weights_name(attempt.job.job, attempt.attempt, file);
            out.effects.push(Effect::RemoveWeights { name });
            out.records.push(entry.record(attempt, WeightsState::Absent, reason));
            out.effects
                .push(Effect::Observed { sweep: attempt.job.sweep, observation: Observation::Progress });
        }
        WeightsAnswer::NotWanted("the worker has lost them".to_owned())
    }

    /// The names of all files that are kept or on their way, and the folders of this coordinator's files.
    pub(super) fn weights_names(&self) -> WeightsNames {
        let mut names = WeightsNames::default();
        for run in self.sweeps.all() {
            names.folders.insert(weights_folder(run.id(), run.created_unix_ms()));
            // All specifications of a sweep have the same one.
            names.snapshots.extend(run.definition().specification.snapshot());
            for (job, entry) in &run.weights().0 {
                let name = run.weights_name(*job, entry.attempt, &entry.file);
                if entry.kept {
                    names.kept.insert(name)
                } else {
                    names.awaited.insert(name)
                };
            }
        }
        names
    }
}
