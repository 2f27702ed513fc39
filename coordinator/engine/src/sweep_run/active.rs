//! Jobs that wait for another attempt, and attempts that hold their lease.

use std::{path::Path, sync::Arc};

use domain::record::{BestEpoch, History};
use terms::{Epoch, WorkerName};

use crate::{
    mutants::{self, Mutant},
    packs::PackKey,
};

/// The lease of an attempt, on the monotonic clock. It begins when the worker can know of it: none while the grant waits
/// for its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease(Option<u64>);

impl Lease {
    /// The lease of an attempt whose grant has not left; only a broken engine lets it end at `deadline_ms` then.
    pub(crate) fn granted(deadline_ms: u64) -> Self {
        Self(mutants::is_on(Mutant::LeasesBeginEarly).then_some(deadline_ms))
    }

    /// A lease that ends at `deadline_ms`.
    pub(crate) fn until(deadline_ms: u64) -> Self {
        Self(Some(deadline_ms))
    }

    pub(crate) fn has_begun(self) -> bool {
        self.0.is_some()
    }

    /// Whether it ended at `now_ms` or before.
    pub(crate) fn has_run_out(self, now_ms: u64) -> bool {
        self.0.is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Progress {
    /// Its data set is prepared; this share is done.
    Preparing(f64),
    /// An epoch, from 1, is in training; this share of it is done.
    Training(u32, f64),
}

impl Progress {
    /// The progress that a worker reports: epoch 0 stands for the preparation.
    pub(crate) fn reported(epoch: u32, fraction: f64) -> Self {
        match epoch {
            0 => Self::Preparing(fraction),
            epoch => Self::Training(epoch, fraction),
        }
    }

    /// The share of what is under way when `epochs_done` are recorded: a report on one of those came late.
    pub(crate) fn fraction_after(self, epochs_done: u32) -> f64 {
        match self {
            Self::Training(epoch, _) if epoch <= epochs_done => 0.0,
            Self::Preparing(fraction) | Self::Training(_, fraction) => fraction,
        }
    }
}

/// A job that had an attempt and waits for another.
#[derive(Debug, Clone)]
pub(crate) struct WaitingJob {
    pub(crate) attempts: u32,
    /// Nothing was recorded of it yet.
    pub(crate) is_first: bool,
    pub(crate) history: History,
    /// Most jobs of its next pack, itself included, after a larger one failed. Not durable: a restart only makes it try
    /// a larger one again.
    pub(crate) pack_size_max: Option<u32>,
}

impl WaitingJob {
    /// One that the store knows.
    pub(crate) fn again(attempts: u32, history: History) -> Self {
        Self { attempts, is_first: false, history, pack_size_max: None }
    }

    /// One that never had an attempt.
    pub(crate) fn first() -> Self {
        Self { attempts: 0, is_first: true, history: History::default(), pack_size_max: None }
    }

    /// Whether its next pack may have `pack_size` jobs.
    pub(crate) fn fits(&self, pack_size: u32) -> bool {
        self.pack_size_max.is_none_or(|max| pack_size <= max)
    }
}

/// A job whose attempt holds its lease.
#[derive(Debug, Clone)]
pub(crate) struct ActiveAttempt {
    pub(crate) attempt: u32,
    pub(crate) worker: WorkerName,
    pub(crate) slot: u32,
    pub(crate) device: String,
    /// How many jobs its slot was given at once, this one included.
    pub(crate) pack_size: u32,
    /// What its speed is recorded for; nothing where its slot takes no packs, or after a restart.
    pub(crate) pack_key: Option<Arc<PackKey>>,
    /// Most jobs of the pack of its next attempt.
    pub(crate) pack_size_max: Option<u32>,
    /// Where it was told to find its data set; after a restart, the sweep's current path.
    pub(crate) dataset_path: Arc<Path>,
    pub(crate) lease: Lease,
    pub(crate) started: bool,
    /// Epochs taken over from an earlier attempt; 0 after a restart of the coordinator, as only watchers ask for it.
    pub(crate) resumed_epochs: u32,
    /// Its job gets no more attempts.
    pub(crate) is_last: bool,
    pub(crate) history: History,
    /// How many it trains; none where the program decides.
    pub(crate) epochs_total: Option<u32>,
    pub(crate) train_seconds: f64,
    pub(crate) last: Option<Epoch>,
    /// The value of the objective at that epoch.
    pub(crate) objective: Option<f64>,
    /// The best of its durable epochs.
    pub(crate) best: Option<BestEpoch>,
    pub(crate) progress: Progress,
}

impl ActiveAttempt {
    /// Whether this is the attempt with that number: the fence.
    pub(crate) fn is(&self, attempt: u32) -> bool {
        if mutants::is_on(Mutant::NoFencing) {
            return true;
        }
        self.attempt == attempt
    }

    /// Whether it is run by that worker.
    pub(crate) fn is_of(&self, worker: &WorkerName) -> bool {
        if mutants::is_on(Mutant::NoFencing) {
            return true;
        }
        self.worker == *worker
    }

    pub(crate) fn epochs_done(&self) -> u32 {
        self.last.as_ref().map_or(0, |last| last.number)
    }
}
