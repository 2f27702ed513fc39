//! Which of a sweep's jobs starts next at a worker, and which may train in one pack with it.

use terms::WorkerName;

use super::{SweepRun, WaitingJob};

/// Most jobs to be tried again that are looked at each time a slot is free: a thousand slots may do so in one turn.
const LOOKED_AT_MAX: usize = 100;

/// Most jobs to be tried again or promoted that are looked at as pack candidates each time a slot is free: each takes some hundred
/// nanoseconds.
const CANDIDATES_LOOKED_AT_MAX: usize = 1_024;

impl SweepRun {
    /// The next job to start on a worker that finds these checkpoints: jobs to be tried again first, then by number; none that cannot
    /// go on where `finds` says whose checkpoints are found, or that does not fit there. Jobs that failed last at the worker `avoided`
    /// come after all others.
    pub(crate) fn next_job(
        &self,
        finds: impl Fn(&WorkerName) -> bool,
        fits: impl Fn(&WaitingJob) -> bool,
        avoided: Option<&WorkerName>,
    ) -> Option<u64> {
        let again = |is_wanted: &dyn Fn(&WaitingJob) -> bool| {
            let is_wanted = |waiting: &WaitingJob| is_wanted(waiting) && fits(waiting);
            self.waiting.first(self.last_with_point(), &finds, is_wanted).min()
        };
        again(&|waiting| avoided.is_none_or(|worker| !waiting.failed_at(worker)))
            .or_else(|| (self.ready_to_begin() > 0).then_some(self.next_unstarted))
            .or_else(|| again(&|_| true))
    }

    /// Whether a job is to be tried again that failed last at this worker. If more wait than are looked at each time a slot is free,
    /// no difference is made.
    pub(crate) fn tries_again_what_failed_at(&self, worker: &WorkerName) -> bool {
        self.waiting.len() <= LOOKED_AT_MAX
            && self.waiting.iter().any(|(_, waiting)| waiting.failed_at(worker))
    }

    /// Whether a job failed last at this worker and waits.
    pub(crate) fn has_failed_at(&self, job: u64, worker: &WorkerName) -> bool {
        self.waiting.get(job).is_some_and(|waiting| waiting.failed_at(worker))
    }

    /// Whether a job may start that can go on where `finds` says whose checkpoints are found, and fits there.
    pub(crate) fn has_job_for(
        &self,
        finds: impl Fn(&WorkerName) -> bool,
        fits: impl Fn(&WaitingJob) -> bool,
    ) -> bool {
        self.ready_to_begin() > 0 || self.promotable() > 0 || self.has_waiting_job_for(finds, fits, None)
    }

    /// The same among the jobs that wait and have had an attempt, without those that failed last at the worker `avoided`.
    pub(crate) fn has_waiting_job_for(
        &self,
        finds: impl Fn(&WorkerName) -> bool,
        fits: impl Fn(&WaitingJob) -> bool,
        avoided: Option<&WorkerName>,
    ) -> bool {
        let is_wanted =
            |waiting: &WaitingJob| avoided.is_none_or(|worker| !waiting.failed_at(worker)) && fits(waiting);
        self.waiting.first(self.last_with_point(), finds, is_wanted).next().is_some()
    }

    /// Takes a job that [`next_job`](Self::next_job) has named, with what is known of it.
    pub(crate) fn take(&mut self, job: u64) -> WaitingJob {
        let waiting = self.waiting.remove(job).unwrap_or_else(|| {
            self.begin(job);
            WaitingJob::first()
        });
        let budget = waiting.budget().or_else(|| self.budget_of(job));
        waiting.with_budget(budget)
    }

    /// Jobs that can be trained in one pack of `pack_size` with `job`, as far as this budget, and go on where `finds` says whose
    /// checkpoints are found: at most so many that the pack is full.
    pub(crate) fn pack_candidates(
        &self,
        (job, budget): (u64, Option<u32>),
        finds: impl Fn(&WorkerName) -> bool,
        pack_size: u32,
    ) -> Vec<u64> {
        let others = (pack_size as usize).saturating_sub(1);
        if !self.unstarted_may_go_as_far(budget) {
            let found: Vec<u64> =
                self.waiting_pack_candidates((job, budget), &finds, pack_size).take(others).collect();
            // Beyond those that were looked at there may be more, which the space knows.
            if found.len() == others || self.waiting.len() <= CANDIDATES_LOOKED_AT_MAX {
                return found;
            }
        }
        let is_as_far =
            |candidate: u64, own: Option<u32>| own.or_else(|| self.budget_of(candidate)) == budget;
        let fits = |candidate: u64, waiting: &WaitingJob| {
            waiting.fits(pack_size) && waiting.goes_on_where(&finds) && is_as_far(candidate, waiting.budget())
        };
        let waits = |candidate: u64| match self.waiting.get(candidate) {
            Some(waiting) => fits(candidate, waiting),
            None => !self.has_begun(candidate) && is_as_far(candidate, None),
        };
        let again = self.waiting.iter().filter(|(job, waiting)| fits(*job, waiting)).map(|(job, _)| job);
        let unstarted = (self.next_unstarted..=self.definition.job_count())
            .filter(|job| !self.has_begun(*job) && is_as_far(*job, None));
        let queue = again.chain(unstarted);
        self.definition.pack_candidates(job, waits, queue).take(others).collect()
    }

    /// Whether a job that never had an attempt may be granted as far as this.
    fn unstarted_may_go_as_far(&self, budget: Option<u32>) -> bool {
        let goes_as_far = || self.begins_differ() || self.budget_of(self.next_unstarted) == budget;
        self.never_started() > 0 && goes_as_far()
    }

    /// The candidates that have had an attempt, larger numbers first: those are looked at one by one, which are few where the jobs of the
    /// whole space are many.
    fn waiting_pack_candidates(
        &self,
        (job, budget): (u64, Option<u32>),
        finds: impl Fn(&WorkerName) -> bool,
        pack_size: u32,
    ) -> impl Iterator<Item = u64> {
        let is_alike = self.definition.is_pack_candidate(job);
        let last = self.last_with_point();
        let fits = |(candidate, waiting): &(u64, &WaitingJob)| {
            let own = waiting.budget().or_else(|| self.budget_of(*candidate));
            *candidate <= last && own == budget && waiting.fits(pack_size) && is_alike(*candidate)
        };
        let found = self.waiting.found(finds).take(CANDIDATES_LOOKED_AT_MAX).filter(fits);
        let mut candidates: Vec<u64> = found.map(|(candidate, _)| candidate).collect();
        candidates.sort_unstable_by_key(|candidate| (*candidate < job, *candidate));
        candidates.into_iter()
    }

    /// Takes jobs that [`pack_candidates`](Self::pack_candidates) has named, to be trained as far as this budget.
    pub(crate) fn take_all(&mut self, jobs: Vec<u64>, budget: Option<u32>) -> Vec<(u64, WaitingJob)> {
        let take = |job| match self.waiting.remove(job) {
            Some(again) => (job, again.with_budget(budget)),
            None => {
                self.begin(job);
                (job, WaitingJob::first().with_budget(budget))
            }
        };
        jobs.into_iter().map(take).collect()
    }
}
