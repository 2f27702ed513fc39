//! Attempts that hold their lease.

use std::{path::Path, sync::Arc};

use domain::record::{BestEpoch, History, Record, StoredAttempt};
use terms::{Again, AttemptKey, EPOCHS_MAX, EndDetails, Epoch, Objective, Progress, WorkerName};

use super::{
    lessons::{Failure, Lessons},
    plan::{Placement, Plan},
    waiting_job::{WaitingJob, take_back},
};
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

/// Said of a job whose next attempt would fail.
const WOULD_FAIL: &str = "not tried again: it would fail in the same way";
const FAILED_TWICE: &str = "not tried again: it failed in the same way twice";

/// What an attempt has reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results {
    /// Sum of its epochs, in seconds.
    pub(crate) train_seconds: f64,
    /// Its last durable epoch.
    pub(crate) last: Option<Epoch>,
    /// The value of the objective at that epoch.
    pub(crate) objective: Option<f64>,
    /// The best of its durable epochs.
    pub(crate) best: Option<BestEpoch>,
}

impl Results {
    /// The best value of the objective.
    pub(crate) fn best_value(&self) -> Option<f64> {
        self.best.as_ref().map(|best| best.value)
    }
}

/// A job whose attempt holds its lease. It changes only through the transitions below; those that must be durable return
/// their records. The attempt's key is passed in, so that a record names the attempt that was fenced.
#[derive(Debug, Clone)]
pub(crate) struct ActiveAttempt {
    number: u32,
    placement: Placement,
    plan: Plan,
    /// What its speed is recorded for; nothing where its slot takes no packs, or after a restart.
    pack_key: Option<Arc<PackKey>>,
    lessons: Lessons,
    /// Whether another attempt may succeed if this one fails, as its trainer says at its end.
    again: Again,
    /// Whether nothing was kept that another attempt could go on from, as its trainer says when it pauses.
    lacks_checkpoint: bool,
    lease: Lease,
    started: bool,
    /// Epochs taken over from an earlier attempt; 0 after a restart of the coordinator, as only watchers ask for it.
    resumed_epochs: u32,
    /// Its job gets no more attempts.
    is_last: bool,
    /// The rule of early stopping ends its job with it.
    is_stopped_early: bool,
    history: History,
    results: Results,
    progress: Progress,
}

impl ActiveAttempt {
    /// The next attempt of a job that waited.
    pub(crate) fn granted(
        waiting: WaitingJob,
        placement: Placement,
        plan: Plan,
        pack_key: Option<Arc<PackKey>>,
        lease: Lease,
    ) -> Self {
        Self {
            number: waiting.next_attempt(),
            placement,
            plan,
            pack_key,
            lessons: waiting.lessons,
            again: Again::default(),
            lacks_checkpoint: false,
            lease,
            started: false,
            resumed_epochs: 0,
            is_last: false,
            is_stopped_early: false,
            history: waiting.history,
            results: Results::default(),
            progress: Progress::NONE,
        }
    }

    /// An attempt as the store has it; `objective` ranks its last epoch.
    pub(crate) fn restored(
        number: u32,
        history: History,
        stored: StoredAttempt,
        plan: Plan,
        objective: Option<f64>,
        is_last: bool,
        lease: Lease,
    ) -> Self {
        let StoredAttempt { worker, slot, device, pack_size, started, train_seconds, last, best } = stored;
        let begun = last.as_ref().map_or(0, |last| last.number) + u32::from(started);
        let placement = Placement { worker, slot, device, pack_size };
        Self {
            number,
            started,
            is_last,
            results: Results { train_seconds, last, objective, best },
            progress: Progress::reported(begun, 0.0),
            ..Self::granted(WaitingJob::again(number, history, plan.budget), placement, plan, None, lease)
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(crate) fn worker(&self) -> &WorkerName {
        &self.placement.worker
    }

    /// What its speed is recorded for.
    pub(crate) fn pack_key(&self) -> Option<&Arc<PackKey>> {
        self.pack_key.as_ref()
    }

    /// Where it finds its data set.
    pub(crate) fn dataset_path(&self) -> &Arc<Path> {
        &self.plan.dataset_path
    }

    pub(crate) fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether its trainer has its data.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Epochs taken over from an earlier attempt.
    pub(crate) fn resumed_epochs(&self) -> u32 {
        self.resumed_epochs
    }

    /// Whether its job gets no more attempts.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last
    }

    /// What has gone wrong with its job so far.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// How many epochs its job has; none where the program decides.
    pub(crate) fn epochs_total(&self) -> Option<u32> {
        self.plan.epochs_total
    }

    /// How many epochs its job must have to be done; none where it says itself that it is.
    pub(crate) fn epochs_needed(&self) -> Option<u32> {
        self.plan.epochs_needed()
    }

    /// After how many epochs it pauses, where that is before its job's end.
    pub(crate) fn until_epoch(&self) -> Option<u32> {
        self.plan.until_epoch()
    }

    /// How many epochs it may report.
    pub(crate) fn epochs_max(&self) -> u32 {
        self.plan.epochs_total.unwrap_or(EPOCHS_MAX)
    }

    /// How many of its epochs are durable.
    pub(crate) fn epochs_done(&self) -> u32 {
        self.results.last.as_ref().map_or(0, |last| last.number)
    }

    /// The share of the epoch after those that is done, or of the preparation.
    pub(crate) fn fraction(&self) -> f64 {
        self.progress.fraction_after(self.epochs_done())
    }

    /// What it has reported.
    pub(crate) fn results(&self) -> &Results {
        &self.results
    }

    /// Whether this is the attempt with that number: the fence.
    pub(crate) fn is(&self, attempt: u32) -> bool {
        if mutants::is_on(Mutant::NoFencing) {
            return true;
        }
        self.number == attempt
    }

    /// Whether it is run by that worker.
    pub(crate) fn is_of(&self, worker: &WorkerName) -> bool {
        if mutants::is_on(Mutant::NoFencing) {
            return true;
        }
        self.placement.worker == *worker
    }

    /// Its worker has been heard, or knows of it: the lease ends at `deadline_ms`.
    pub(crate) fn extend_lease(&mut self, deadline_ms: u64) {
        self.lease = Lease::until(deadline_ms);
    }

    /// Its trainer says whether another attempt may succeed, and whether it has something to go on from.
    pub(crate) fn judge(&mut self, details: &EndDetails) {
        (self.again, self.lacks_checkpoint) = (details.again, details.without_checkpoint);
    }

    /// Its memory ran out, with so much: it may succeed with more, or where others have taken up less. Returns the most with which its
    /// job ran out.
    pub(crate) fn run_out_of_memory(&mut self, memory_bytes: u64) -> u64 {
        if self.again == Again::Yes {
            self.again = Again::UnlessRepeated;
        }
        self.lessons.run_out_of_memory(memory_bytes);
        self.lessons.memory_beyond()
    }

    /// Whether it has paused and nothing was kept to go on from.
    pub(crate) fn lacks_checkpoint(&self) -> bool {
        self.lacks_checkpoint
    }

    /// It fails; `are_others` says whether other workers take its sweep's jobs. Returns why no other attempt can succeed;
    /// nothing where one may.
    pub(crate) fn fail(&mut self, reason: &str, are_others: bool) -> Option<&'static str> {
        let worker = self.placement.worker.clone();
        let failure = Failure { worker, epochs_done: self.epochs_done(), reason: reason.to_owned() };
        let is_repeated = self.lessons.fail(failure, are_others);
        match self.again {
            Again::No => Some(WOULD_FAIL),
            Again::UnlessRepeated if is_repeated => Some(FAILED_TWICE),
            Again::UnlessRepeated | Again::Yes => None,
        }
    }

    /// Its trainer has its data; or it turned out that more epochs come from the checkpoint.
    pub(crate) fn start(&mut self, attempt: AttemptKey, resumed_epochs: u32) -> Option<Record> {
        if self.started && resumed_epochs <= self.resumed_epochs {
            return None;
        }
        if !self.started {
            self.progress = Progress::begins(1);
        }
        (self.started, self.resumed_epochs) = (true, resumed_epochs);
        Some(Record::AttemptStarted { attempt, resumed_epochs })
    }

    /// Takes in how far it is; returns whether that is news.
    pub(crate) fn report(&mut self, progress: Progress) -> bool {
        let is_news = self.progress != progress;
        self.progress = progress;
        is_news
    }

    /// Takes in an epoch with its value of the objective.
    pub(crate) fn finish_epoch(
        &mut self,
        attempt: AttemptKey,
        objective: &Objective,
        epoch: Epoch,
        value: Option<f64>,
    ) -> Record {
        let results = &mut self.results;
        results.best = BestEpoch::after(results.best.take(), objective, &epoch, value);
        results.train_seconds += epoch.seconds;
        (results.last, results.objective) = (Some(epoch.clone()), value);
        self.progress = Progress::begins(epoch.number + 1);
        Record::EpochRecorded {
            attempt,
            epoch,
            objective: value,
            best: self.results.best.clone(),
            train_seconds: self.results.train_seconds,
        }
    }

    /// Its job gets no more attempts from now on; returns whether that is new.
    pub(crate) fn make_last(&mut self) -> bool {
        !std::mem::replace(&mut self.is_last, true)
    }

    /// The rule of early stopping ends its job with it.
    pub(crate) fn stop_early(&mut self) {
        self.is_stopped_early = true;
    }

    /// Whether the rule of early stopping ends its job with it.
    pub(crate) fn is_stopped_early(&self) -> bool {
        self.is_stopped_early
    }

    /// Its speed says nothing about the size of its pack any more.
    pub(crate) fn forget_pack_key(&mut self) {
        self.pack_key = None;
    }

    /// Its pack may have been too large: the next one has at most half as many jobs.
    pub(crate) fn halve_next_pack(&mut self) {
        self.lessons.limit_pack(self.placement.pack_size / 2);
    }

    /// Takes a loss back; see [`take_back`].
    pub(crate) fn take_loss_back(&mut self, after: &History, before: &History) -> bool {
        take_back(&mut self.history, after, before)
    }

    /// Its job, which waits again or is paused now that it has ended.
    pub(crate) fn into_waiting(self, history: History) -> WaitingJob {
        WaitingJob::again(self.number, history, self.plan.budget).with_lessons(self.lessons)
    }
}
