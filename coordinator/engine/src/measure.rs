//! How much there is of everything, for those who operate a coordinator. Whoever asks names it and keeps its history.

use terms::SweepState;

use super::{ControlError, Engine, JobCounts, Now, Query};

/// Asks how much there is of everything. What it costs depends on the sweeps, workers and kept weights, not on the jobs.
#[derive(Debug, Clone)]
pub struct Measure;

/// The answer to [`Measure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The jobs of all sweeps by state.
    pub jobs: JobCounts,
    /// Jobs that would start at once if there were slots for them: those that wait, as far as `max_parallel` of their sweep
    /// and the quota of its owner allow.
    pub startable_jobs: u64,
    /// The sweeps by state.
    pub sweeps: Vec<(SweepState, u64)>,
    pub workers: WorkerCounts,
    pub slots: SlotCounts,
    /// Bytes of the weights that are kept.
    pub weights_bytes: u64,
    /// Weights that are on their way from workers.
    pub weights_awaited: u64,
}

/// How many workers are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    pub connected: u64,
    pub draining: u64,
    pub quarantined: u64,
    /// Those that are remembered although their stream is gone.
    pub disconnected: u64,
}

/// How many slots of connected workers are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotCounts {
    pub busy: u64,
    pub free: u64,
    /// Those without a job whose worker leaves or is quarantined.
    pub withheld: u64,
}

impl JobCounts {
    /// The states with their names.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        let Self { pending, running, paused, done, diverged, stopped, failed, cancelled } = *self;
        [
            ("pending", pending),
            ("running", running),
            ("paused", paused),
            ("done", done),
            ("diverged", diverged),
            ("stopped", stopped),
            ("failed", failed),
            ("cancelled", cancelled),
        ]
    }

    fn add(&mut self, other: Self) {
        self.pending += other.pending;
        self.running += other.running;
        self.paused += other.paused;
        self.done += other.done;
        self.diverged += other.diverged;
        self.stopped += other.stopped;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

impl WorkerCounts {
    /// The states with their names.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        let Self { connected, draining, quarantined, disconnected } = *self;
        [
            ("connected", connected),
            ("draining", draining),
            ("quarantined", quarantined),
            ("disconnected", disconnected),
        ]
    }
}

impl SlotCounts {
    /// The states with their names.
    pub fn named(&self) -> [(&'static str, u64); 3] {
        let Self { busy, free, withheld } = *self;
        [("busy", busy), ("free", free), ("withheld", withheld)]
    }
}

impl Query for Measure {
    type Answer = Measured;

    fn answer(&self, engine: &Engine, now: Now) -> Result<Measured, ControlError> {
        let mut jobs = JobCounts::default();
        let (mut weights_bytes, mut weights_awaited) = (0, 0);
        let mut sweeps: Vec<(SweepState, u64)> = SweepState::all().iter().map(|state| (*state, 0)).collect();
        for run in engine.sweeps.all() {
            jobs.add(run.counts());
            weights_bytes += run.weights().bytes_kept();
            weights_awaited += run.weights().awaited();
            if let Some((_, count)) = sweeps.iter_mut().find(|(state, _)| *state == run.state()) {
                *count += 1;
            }
        }
        let startable_jobs = engine.startable_jobs(now);
        let (workers, slots) = engine.count_workers();
        Ok(Measured { jobs, startable_jobs, sweeps, workers, slots, weights_bytes, weights_awaited })
    }
}
