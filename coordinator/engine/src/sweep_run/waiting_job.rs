//! Jobs that wait for another attempt.

use domain::record::History;
use terms::WorkerName;

use super::lessons::Lessons;

/// A job that waits for an attempt.
#[derive(Debug, Clone)]
pub(crate) struct WaitingJob {
    /// Attempts begun so far.
    attempts: u32,
    /// Nothing was recorded of it yet.
    is_first: bool,
    pub(super) history: History,
    /// How far it trains, where a rule has said it: a number of epochs.
    budget: Option<u32>,
    /// The worker that kept its checkpoint, where it has paused.
    kept_by: Option<WorkerName>,
    pub(super) lessons: Lessons,
}

impl WaitingJob {
    /// One that the store knows.
    pub(crate) fn again(attempts: u32, history: History, budget: Option<u32>) -> Self {
        let (kept_by, lessons) = (None, Lessons::default());
        Self { attempts, is_first: false, history, budget, kept_by, lessons }
    }

    /// One that never had an attempt.
    pub(crate) fn first() -> Self {
        Self { is_first: true, ..Self::again(0, History::default(), None) }
    }

    /// The number of its next attempt.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts + 1
    }

    /// How far it trains, where a rule has said it.
    pub(crate) fn budget(&self) -> Option<u32> {
        self.budget
    }

    /// The worker that kept its checkpoint, where it has paused.
    pub(crate) fn kept_by(&self) -> Option<&WorkerName> {
        self.kept_by.as_ref()
    }

    /// Whether it can go on where `finds` says whose checkpoints are found.
    pub(crate) fn goes_on_where(&self, finds: impl Fn(&WorkerName) -> bool) -> bool {
        self.kept_by.as_ref().is_none_or(finds)
    }

    /// Whether its last attempt failed at this worker.
    pub(crate) fn failed_at(&self, worker: &WorkerName) -> bool {
        self.lessons.failed_at(worker)
    }

    /// The memory with which it ran out of memory, in bytes; 0 if it did not.
    pub(crate) fn memory_beyond(&self) -> u64 {
        self.lessons.memory_beyond()
    }

    /// The same, whose checkpoint this worker has kept. It trained as far as that: what memory there is suffices, or it could go on
    /// neither there nor elsewhere.
    pub(crate) fn kept_at(mut self, kept_by: Option<WorkerName>) -> Self {
        self.kept_by = kept_by;
        self.lessons.has_memory();
        self
    }

    /// No worker has kept a checkpoint of it.
    pub(crate) fn forget_keeper(&mut self) {
        self.kept_by = None;
    }

    /// The same, which trains as far as this.
    pub(crate) fn with_budget(self, budget: Option<u32>) -> Self {
        Self { budget, ..self }
    }

    /// The same, after what its attempts have shown.
    pub(super) fn with_lessons(self, lessons: Lessons) -> Self {
        Self { lessons, ..self }
    }

    /// Most jobs of its next pack, itself included.
    pub(crate) fn pack_size_max(&self) -> Option<u32> {
        self.lessons.pack_size_max()
    }

    /// Whether its next pack may have `pack_size` jobs.
    pub(crate) fn fits(&self, pack_size: u32) -> bool {
        self.lessons.pack_size_max().is_none_or(|max| pack_size <= max)
    }

    /// Whether nothing was recorded of it yet.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// What has gone wrong with it so far.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The same, where it waits no longer.
    pub(crate) fn into_history(self) -> History {
        self.history
    }

    /// Takes a loss back; see [`take_back`].
    pub(crate) fn take_loss_back(&mut self, after: &History, before: &History) -> bool {
        take_back(&mut self.history, after, before)
    }
}

/// Turns a history back to what it was `before` a loss; returns whether it could: it must be as it was `after` the loss.
pub(super) fn take_back(history: &mut History, after: &History, before: &History) -> bool {
    let is_same = history == after;
    if is_same {
        history.clone_from(before);
    }
    is_same
}
