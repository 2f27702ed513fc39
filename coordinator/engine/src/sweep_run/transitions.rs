//! How a sweep and its jobs change. Each change returns its record, which the caller makes durable.

use std::sync::Arc;

use domain::{
    definition::SweepDefinition,
    record::{EndedJob, History, Record},
};
use terms::{AttemptKey, DatasetSummary, Epoch, JobKey, JobState, ParameterUse, SweepState};

use super::{ActiveAttempt, Lease, Placement, SweepRun, WaitingJob};
use crate::{
    Effect, EndsSeen, Now, Observation, Output,
    job_control::STOPPED,
    mutants::{self, Mutant},
    packs::PackKey,
};

impl SweepRun {
    /// Enters a state that is not final.
    pub(crate) fn change_state(&mut self, state: SweepState) -> Record {
        debug_assert!(!state.is_final(), "a sweep ends by `finish`");
        self.become_state(state, None)
    }

    /// Enters a final state. A searcher of its own is discarded.
    pub(crate) fn finish(&mut self, state: SweepState, unix_ms: u64, out: &mut Output) -> Record {
        debug_assert!(state.is_final(), "a sweep ends in a final state");
        // A list that was read as complete may lack jobs that are cancelled now.
        self.ends = EndsSeen::default();
        out.effects.extend(self.rest().map(Effect::Discard));
        self.become_state(state, Some(unix_ms))
    }

    fn become_state(&mut self, state: SweepState, ended_unix_ms: Option<u64>) -> Record {
        debug_assert!(
            self.state == state || self.state.may_become(state),
            "sweep {} is {:?} and cannot become {state:?}",
            self.id,
            self.state
        );
        (self.state, self.ended_unix_ms) = (state, ended_unix_ms);
        Record::SweepChanged { sweep: self.id, state, ended_unix_ms }
    }

    /// Takes a definition with other jobs or settings, which has the points of the present one.
    pub(crate) fn redefine(&mut self, definition: SweepDefinition) -> Record {
        self.definition = Arc::new(definition);
        if let Some((learning, points)) = self.learning.as_mut().zip(self.definition.learned()) {
            learning.go_on_with(points);
        }
        self.extended()
    }

    /// The record of its definition and how many jobs it has.
    pub(crate) fn extended(&self) -> Record {
        Record::SweepExtended {
            sweep: self.id,
            name: self.definition.specification.name.clone(),
            specification: self.definition.text(),
            job_count: self.definition.job_count(),
        }
    }

    /// Takes in the next epoch of an attempt that holds its lease, with its value of the objective where that can be ranked.
    /// Also returns what watchers receive.
    pub(crate) fn record_epoch(
        &mut self,
        attempt: AttemptKey,
        epoch: Epoch,
        objective: Option<f64>,
    ) -> Option<(Record, Observation)> {
        let active = self.active.get_mut(&attempt.job.job).filter(|active| active.is(attempt.attempt))?;
        let (metrics, resumed_epochs) = (self.metrics.clone(), active.resumed_epochs());
        let observation = Observation::Epoch { attempt, epoch: epoch.clone(), metrics, resumed_epochs };
        Some((active.finish_epoch(attempt, &self.definition.metric, epoch, objective), observation))
    }

    /// Sets the data set that the sweep trains on; nothing changes where it is the same.
    pub(crate) fn find_dataset(&mut self, dataset: DatasetSummary) -> Option<Record> {
        if self.dataset.as_deref() == Some(&dataset) {
            return None;
        }
        self.dataset = Some(Arc::new(dataset.clone()));
        Some(Record::DatasetFound { sweep: self.id, dataset })
    }

    /// Takes in which parameters the program of a job has read; nothing where that says nothing new.
    pub(crate) fn find_parameters(&mut self, used: &ParameterUse) -> Option<Record> {
        let definition = Arc::clone(&self.definition);
        let is_known = |name: &str| definition.specification.axes.iter().any(|axis| &*axis.name == name);
        let has_changed = self.parameters.take(used, is_known);
        has_changed.then(|| Record::ParametersRead { sweep: self.id, parameters: self.parameters.clone() })
    }

    /// A job that waited gets its next attempt.
    pub(crate) fn grant(
        &mut self,
        (job, waiting): (u64, WaitingJob),
        placement: Placement,
        pack_key: Option<Arc<PackKey>>,
        lease: Lease,
        at_unix_ms: u64,
    ) -> Record {
        debug_assert!(!self.active.contains_key(&job) && !self.waiting.contains(job));
        debug_assert!(!self.paused.contains_key(&job));
        debug_assert!(JobState::Pending.may_become(JobState::Running));
        let record = Record::AttemptGranted {
            attempt: self.attempt_key(job, waiting.next_attempt()),
            is_first: waiting.is_first(),
            worker: placement.worker.clone(),
            slot: placement.slot,
            device: placement.device.clone(),
            pack_size: placement.pack_size,
            budget: waiting.budget(),
            at_unix_ms,
        };
        let plan = self.plan(job, waiting.budget());
        let active = ActiveAttempt::granted(waiting, placement, plan, pack_key, lease);
        self.begin_attempt(job, active);
        record
    }

    /// Ends the lease of an attempt; nothing where it has none.
    pub(crate) fn end(&mut self, attempt: AttemptKey) -> Option<ActiveAttempt> {
        self.active(attempt)?;
        let ended = self.active.remove(&attempt.job.job)?;
        self.held.end(ended.placement());
        Some(ended)
    }

    /// An attempt holds its lease from now on.
    pub(super) fn begin_attempt(&mut self, job: u64, active: ActiveAttempt) {
        self.held.begin(active.placement());
        self.active.insert(job, active);
    }

    /// Puts a job whose attempt has ended back to wait, pauses it, or counts its end.
    pub(crate) fn move_on(
        &mut self,
        job: u64,
        ended: ActiveAttempt,
        state: JobState,
        history: History,
        reason: String,
    ) -> Record {
        debug_assert!(JobState::Running.may_become(state));
        let (last, best) = (ended.results().objective, ended.results().best_value());
        self.entered(job, state, ended.epochs_done(), last, best);
        match state {
            JobState::Pending => self.waiting.insert(job, ended.into_waiting(history.clone())),
            JobState::Paused => {
                let kept_by = Some(ended.worker().clone()).filter(|_| self.leaves_checkpoint(job));
                let paused = ended.into_waiting(history.clone()).kept_at(kept_by);
                self.paused.insert(job, paused);
            }
            _ => self.count_end(job, state, last, best),
        }
        Record::JobChanged { job: self.job_key(job), state, history, reason }
    }

    /// A job that is paused waits for an attempt that trains it as far as `budget`; nothing where it is not paused.
    pub(crate) fn promote(&mut self, job: u64, budget: u32, reason: String) -> Option<Record> {
        debug_assert!(JobState::Paused.may_become(JobState::Pending));
        let paused = if mutants::is_on(Mutant::PromotedJobsStayPaused) {
            self.paused.get(&job).cloned()
        } else {
            self.paused.remove(&job)
        }?;
        self.waiting.insert(job, paused.with_budget(Some(budget)));
        Some(Record::JobPromoted { job: self.job_key(job), budget, reason })
    }

    /// A job's attempt was counted as lost, and is not: its history becomes what it was `before`. Nothing where more was
    /// counted since.
    pub(crate) fn take_loss_back(
        &mut self,
        job: u64,
        after: &History,
        before: History,
        reason: String,
    ) -> Option<Record> {
        let (is_taken_back, state, is_last) = if let Some(active) = self.active.get_mut(&job) {
            (active.take_loss_back(after, &before), JobState::Running, active.is_last())
        } else if let Some(waiting) = self.waiting.get_mut(job) {
            (waiting.take_loss_back(after, &before), JobState::Pending, false)
        } else if let Some(paused) = self.paused.get_mut(&job) {
            (paused.take_loss_back(after, &before), JobState::Paused, false)
        } else {
            return None;
        };
        // A restart recognises by this reason that the job gets no more attempts.
        let reason = if is_last { STOPPED.to_owned() } else { reason };
        is_taken_back.then(|| Record::JobChanged { job: self.job_key(job), state, history: before, reason })
    }

    /// Cancels a job that waits, for the first time or again, or is paused; nothing where it does neither.
    pub(crate) fn cancel_waiting_job(&mut self, job: u64, reason: &str) -> Option<Record> {
        let paused = || if self.state.is_final() { None } else { self.paused.remove(&job) };
        let history = match self.waiting.remove(job).or_else(paused) {
            Some(waiting) => waiting.into_history(),
            None if !self.state.is_final() && !self.has_begun(job) => {
                self.begin(job);
                History::default()
            }
            None => return None,
        };
        Some(self.cancelled(job, history, reason))
    }

    /// Cancels all jobs that wait for another attempt.
    pub(crate) fn cancel_waiting(&mut self, reason: &str) -> Vec<Record> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_jobs()
            .into_iter()
            .map(|(job, waiting)| self.cancelled(job, waiting.into_history(), reason))
            .collect()
    }

    fn cancelled(&mut self, job: u64, history: History, reason: &str) -> Record {
        let state = JobState::Cancelled;
        debug_assert!(JobState::Pending.may_become(state));
        self.entered(job, state, 0, None, None);
        self.count_end(job, state, None, None);
        Record::JobChanged { job: self.job_key(job), state, history, reason: reason.to_owned() }
    }

    /// Whether a job failed or was cancelled, as far as that is known here.
    pub(crate) fn can_be_tried_again(&self, EndedJob { job, state, .. }: &EndedJob) -> bool {
        let count = match state {
            JobState::Failed => self.failed,
            JobState::Cancelled => self.cancelled,
            _ => return false,
        };
        count > 0 && self.state_of(*job).is_none()
    }

    /// Puts a job that failed or was cancelled back to wait, with its failures forgotten; nothing where it no longer is
    /// such a job.
    pub(crate) fn try_again(&mut self, ended: EndedJob) -> Option<Record> {
        if !self.can_be_tried_again(&ended) {
            return None;
        }
        let EndedJob { job, attempts, state } = ended;
        let count = if state == JobState::Failed { &mut self.failed } else { &mut self.cancelled };
        debug_assert!(state.may_become(JobState::Pending));
        *count -= 1;
        self.all_have_come = false;
        if let Some(learning) = &mut self.learning {
            learning.again(job);
        }
        self.waiting.insert(job, WaitingJob::again(attempts, History::default(), None));
        Some(Record::JobChanged {
            job: self.job_key(job),
            state: JobState::Pending,
            history: History::default(),
            reason: "tried again on request".to_owned(),
        })
    }

    /// Invalidates lists of ended jobs that were read before.
    pub(crate) fn outdate_ends(&mut self) {
        self.ends = EndsSeen::default();
    }

    /// The state of a job that has not ended.
    fn state_of(&self, job: u64) -> Option<JobState> {
        if self.active.contains_key(&job) {
            return Some(JobState::Running);
        }
        if self.paused.contains_key(&job) {
            return Some(JobState::Paused);
        }
        let waits = self.waiting.contains(job) || !self.has_begun(job);
        waits.then_some(JobState::Pending)
    }

    fn job_key(&self, job: u64) -> JobKey {
        JobKey { sweep: self.id, job }
    }

    /// Notes since when jobs wait and none runs; or that this is not so.
    pub(crate) fn idle(&mut self, since: Option<Now>) {
        if since.is_none() {
            return self.moves();
        }
        self.idle_since = since;
    }

    /// Notes what watchers hear about why nothing runs; returns whether it is new.
    pub(crate) fn tell_idle(&mut self, text: String) -> bool {
        let is_new = text != self.idle_told;
        self.idle_told = text;
        is_new
    }
}
