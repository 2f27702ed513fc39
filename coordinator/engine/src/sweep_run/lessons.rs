//! What the attempts of a job have shown that no record says: it passes from the waiting job to its next attempt and back. A restart forgets it,
//! which only makes something be tried once more.

use terms::WorkerName;

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(super) struct Lessons {
    /// Most jobs of its next pack, itself included, after a larger one failed.
    pack_size_max: Option<u32>,
    /// How it failed last, if it did.
    failure: Option<Failure>,
    /// The memory with which it ran out of memory, in bytes; 0 if it did not.
    memory_beyond: u64,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) worker: WorkerName,
    /// Epochs that were done by then.
    pub(super) epochs_done: u32,
    pub(super) reason: String,
}

impl Failure {
    /// Whether a job that failed like this before fails of its own accord. On one worker it may be the machine, as long
    /// as there `are_others`.
    fn is_repeated(&self, before: &Self, are_others: bool) -> bool {
        (self.epochs_done, &self.reason) == (before.epochs_done, &before.reason)
            && (self.worker != before.worker || !are_others)
    }
}

impl Lessons {
    /// Most jobs of the next pack, itself included.
    pub(super) fn pack_size_max(&self) -> Option<u32> {
        self.pack_size_max
    }

    /// The next pack has at most so many jobs.
    pub(super) fn limit_pack(&mut self, pack_size_max: u32) {
        self.pack_size_max = Some(pack_size_max);
    }

    /// Whether the last failure was at this worker.
    pub(super) fn failed_at(&self, worker: &WorkerName) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.worker == *worker)
    }

    /// It fails; whether in the same way as before, where other workers take its sweep's jobs if there `are_others`.
    pub(super) fn fail(&mut self, failure: Failure, are_others: bool) -> bool {
        // Where memory ran out, it was given to the worker with the most: others are no better.
        let are_others = are_others && self.memory_beyond == 0;
        let is_repeated = self.failure.as_ref().is_some_and(|before| failure.is_repeated(before, are_others));
        self.failure = Some(failure);
        is_repeated
    }

    /// The memory with which it ran out of memory, in bytes; 0 if it did not.
    pub(super) fn memory_beyond(&self) -> u64 {
        self.memory_beyond
    }

    /// Its memory ran out, with so much.
    pub(super) fn run_out_of_memory(&mut self, memory_bytes: u64) {
        self.memory_beyond = self.memory_beyond.max(memory_bytes);
        // Next to others it would have less.
        self.limit_pack(1);
    }

    /// The memory that there is was enough.
    pub(super) fn has_memory(&mut self) {
        self.memory_beyond = 0;
    }
}
