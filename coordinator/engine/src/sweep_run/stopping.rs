//! Early stopping of a sweep: its rule sees what becomes durable, and says which jobs pause, go on and stop. What it has seen of
//! each job is in the record (`RungReached`, `JobPromoted`), so that another coordinator decides the same.

use domain::{
    record::{Record, Rung, StoredRungs},
    specification::{HyperbandRungs, Specification, StoppingRule},
    text::told_apart,
};
use search::stopping::{Brackets, Halving, Ladder, Median, Promotion, Quota, Standing, Verdict};
use terms::{AttemptKey, EPOCHS_MAX, Goal, JobState, SweepState, WorkerName};

use super::{ActiveAttempt, SweepRun, WaitingJob};
use crate::mutants::{self, Mutant};

/// Said of a job that has paused and has nothing to go on from.
const LEFT_NO_CHECKPOINT: &str =
    "it left no checkpoint, so it trains again from its first epoch if it goes on";

/// What the brackets of jobs are computed from, with their numbers: the same in every sweep, as its name may change.
const BRACKETS_OF: &str = "sweep";

#[derive(Debug)]
pub(crate) enum Stopping {
    Halving(Halving),
    Median(Median),
}

/// What follows from an epoch.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) record: Option<Record>,
    /// Why the job is stopped; nothing where it is not.
    pub(crate) stops: Option<String>,
}

impl Stopping {
    /// The rule of a sweep that has one.
    pub(crate) fn of(specification: &Specification) -> Option<Self> {
        let early = specification.early_terminate?;
        let pauses = early.promote;
        let is_reversed =
            mutants::is_on(Mutant::WorstArePromoted) || (!pauses && mutants::is_on(Mutant::BestAreStopped));
        let goal = match (is_reversed, specification.metric.goal) {
            (false, goal) => goal,
            (true, Goal::Minimize) => Goal::Maximize,
            (true, Goal::Maximize) => Goal::Minimize,
        };
        let share = |eta: u32| match pauses {
            true if mutants::is_on(Mutant::TooManyArePromoted) => Quota::ShareAndOne { eta },
            true => Quota::Share { eta },
            false if mutants::is_on(Mutant::NoneIsStopped) => Quota::Best { count: u64::MAX },
            false if mutants::is_on(Mutant::FirstAtRungIsStopped) => Quota::Share { eta },
            false => Quota::ShareOrOne { eta },
        };
        Some(Self::Halving(match early.rule {
            StoppingRule::Median { min_iter, interval, min_jobs } => {
                let min_jobs = if mutants::is_on(Mutant::MedianOfTooFew) { 1 } else { min_jobs };
                return Some(Self::Median(Median::new(goal, min_jobs, min_iter, interval)));
            }
            StoppingRule::Asha { min_iter, eta, s } => {
                Halving::new(goal, Ladder::upwards(min_iter, eta, s), share(eta), pauses)
            }
            StoppingRule::TopK { min_iter, k } => {
                Halving::new(goal, Ladder::single(min_iter), Quota::Best { count: k }, pauses)
            }
            StoppingRule::Hyperband { rungs, eta, strict } => {
                let is_strict = strict || mutants::is_on(Mutant::QuotaIsTheShare);
                let quota = if is_strict { Quota::Share { eta } } else { Quota::ShareAndOne { eta } };
                match rungs {
                    HyperbandRungs::From { min_iter } => {
                        Halving::new(goal, Ladder::upwards(min_iter, eta, 0), quota, pauses)
                    }
                    HyperbandRungs::Below { max_iter, s } => {
                        Halving::new(goal, Ladder::downwards(max_iter, eta, s), quota, pauses)
                    }
                    HyperbandRungs::Brackets { min_iter, .. }
                        if mutants::is_on(Mutant::BracketsForgotten) =>
                    {
                        Halving::new(goal, Ladder::upwards(min_iter, eta, 0), quota, pauses)
                    }
                    HyperbandRungs::Brackets { min_iter, max_iter } => {
                        let brackets = Brackets::new(BRACKETS_OF, min_iter, max_iter, eta);
                        Halving::with_brackets(goal, brackets, quota, pauses)
                    }
                }
            }
        }))
    }

    fn halving(&self) -> Option<&Halving> {
        match self {
            Self::Halving(rule) => Some(rule),
            Self::Median(_) => None,
        }
    }

    fn restore(&mut self, stored: &StoredRungs) {
        let values = stored.rungs.iter().map(|rung| (rung.epoch, rung.value));
        match self {
            Self::Halving(rule) => {
                let goes_on = stored.rungs.last().is_some_and(|rung| rung.goes_on);
                rule.restore(stored.job, &values.collect::<Vec<_>>(), goes_on);
                if stored.state == JobState::Paused {
                    rule.pause(stored.job);
                }
            }
            Self::Median(rule) => {
                rule.restore(stored.job, values);
                match stored.state {
                    JobState::Done if mutants::is_on(Mutant::DoneJobsAreForgotten) => {}
                    JobState::Done => rule.complete(stored.job),
                    state if state.is_final() => rule.forget(stored.job),
                    _ => {}
                }
            }
        }
    }

    /// A job is paused, or has ended.
    pub(super) fn job_entered(&mut self, job: u64, state: JobState) {
        match (self, state) {
            (Self::Halving(rule), JobState::Paused) => rule.pause(job),
            (Self::Halving(rule), state) if state.is_final() => rule.leave(job),
            (Self::Median(rule), JobState::Done) => rule.complete(job),
            (Self::Median(rule), state) if state.is_final() => rule.forget(job),
            _ => {}
        }
    }
}

impl SweepRun {
    /// Takes in what the store kept of the jobs that were compared.
    pub(super) fn restore_rungs(&mut self, stored: &[StoredRungs]) {
        let Some(stopping) = self.stopping.as_mut().filter(|_| !mutants::is_on(Mutant::RungsForgotten))
        else {
            return;
        };
        stored.iter().for_each(|rungs| stopping.restore(rungs));
        if let Stopping::Median(rule) = stopping {
            rule.restore_complete(self.done);
        }
    }

    /// How far a job trains that waits without a budget of its own; none where it trains to its end.
    pub(crate) fn budget_of(&self, job: u64) -> Option<u32> {
        self.stopping.as_ref()?.halving()?.pauses_at(job)
    }

    /// Whether jobs may differ in how far they are granted first.
    pub(crate) fn begins_differ(&self) -> bool {
        self.stopping.as_ref().and_then(Stopping::halving).is_some_and(Halving::has_brackets)
    }

    /// Whether jobs of the sweep pause.
    pub(crate) fn pauses(&self) -> bool {
        self.definition.specification.early_terminate.is_some_and(|early| early.promote)
    }

    /// Compares a job after the epoch that its attempt has just finished.
    pub(crate) fn compare(&mut self, attempt: AttemptKey) -> Compared {
        if self.stopping.is_none() {
            return Compared::default();
        }
        let Some(active) = self.active(attempt) else { return Compared::default() };
        let (epoch, results) = (active.epochs_done(), active.results());
        let is_last = active.epochs_total() == Some(epoch);
        let pauses = active.until_epoch().is_some();
        let best = results.best_value();
        let value = self.ranked_value(results.objective, best);
        let key = attempt.job;
        let record =
            |value, goes_on| Some(Record::RungReached { job: key, rung: Rung { epoch, value, goes_on } });
        match &mut self.stopping {
            Some(Stopping::Halving(rule)) if !is_last => {
                let before = rule.reached(key.job);
                let verdict = match pauses {
                    true => rule.observe_granted(key.job, epoch, value),
                    false => rule.observe(key.job, epoch, value),
                };
                let is_new = rule.reached(key.job) != before;
                Compared {
                    record: record(value, verdict == Verdict::Continue).filter(|_| is_new),
                    stops: (verdict == Verdict::Stop)
                        .then(|| why_stopped(rule.standing(key.job), epoch, value)),
                }
            }
            Some(Stopping::Median(rule)) if rule.compares_after(epoch) => {
                let best = if mutants::is_on(Mutant::MedianComparesTheLast) { value } else { best };
                let stops = rule.observe(key.job, epoch, value, best) == Verdict::Stop && !is_last;
                Compared {
                    record: record(value, !stops),
                    stops: stops.then(|| why_below_median(epoch, best, rule.at(epoch))),
                }
            }
            _ => Compared::default(),
        }
    }

    /// A job has diverged: it takes part in the next comparison as the worst, so that the jobs which are better go on.
    pub(crate) fn compare_diverged(&mut self, attempt: AttemptKey) -> Option<Record> {
        let total = self.definition.budget(attempt.job.job);
        let Some(Stopping::Halving(rule)) = &mut self.stopping else { return None };
        let is_compared = |epoch: u32| total.is_none_or(|total| epoch < total);
        rule.pauses_at(attempt.job.job).filter(|epoch| is_compared(*epoch))?;
        let (before, epoch) = (rule.reached(attempt.job.job), rule.diverged(attempt.job.job)?);
        let rung = Rung { epoch, value: None, goes_on: false };
        (before != Some(epoch)).then_some(Record::RungReached { job: attempt.job, rung })
    }

    /// How many jobs could start now: those that wait and have a point, and paused ones that may go on.
    pub(crate) fn startable_jobs(&self) -> u64 {
        self.open_jobs() - self.jobs_without_point()
    }

    /// How many jobs may still start: those that wait, and paused ones that may go on.
    pub(crate) fn open_jobs(&self) -> u64 {
        self.waiting_jobs() + self.promotable()
    }

    /// How many paused jobs may go on.
    pub(super) fn promotable(&self) -> u64 {
        let Some(rule) = self.stopping.as_ref().and_then(Stopping::halving) else { return 0 };
        match rule.promotable(self.are_more_to_come(rule)) {
            0 => u64::from(self.last_resort(rule).is_some()),
            among_the_best => among_the_best,
        }
    }

    /// The paused job that goes on next, and why.
    fn next_promotion(&self, rule: &Halving) -> Option<(Promotion, String)> {
        if let Some(next) = rule.next_promotion(self.are_more_to_come(rule)) {
            return Some((next, rule.standing(next.job).map(why_promoted).unwrap_or_default()));
        }
        self.last_resort(rule).map(|next| (next, why_as_last_resort(next)))
    }

    /// The best of the paused jobs, where no other job can become done any more and none is: a sweep does not end without a result as
    /// long as one can be had. Asked where none is among the best that go on.
    fn last_resort(&self, rule: &Halving) -> Option<Promotion> {
        let is_all_that_is_left = self.done == 0 && self.active.is_empty() && self.waiting_jobs() == 0;
        rule.best_left().filter(|_| is_all_that_is_left && !mutants::is_on(Mutant::NoLastResort))
    }

    /// Whether some job has not reached a first rung and still may, where the rule waits for it.
    fn are_more_to_come(&self, rule: &Halving) -> bool {
        rule.waits_for_all()
            && !mutants::is_on(Mutant::PromotedBeforeAllHaveCome)
            && !self.have_all_come(rule)
    }

    /// Whether every job has reached a first rung or has ended.
    fn have_all_come(&self, rule: &Halving) -> bool {
        // Until they have, no one is promoted, and the first one that is open is yet to come.
        self.never_started() == 0 && (self.all_have_come || !self.is_one_to_come(rule))
    }

    fn is_one_to_come(&self, rule: &Halving) -> bool {
        let mut open = self.waiting.range(..).chain(self.active.keys().copied());
        open.any(|job| rule.reached(job).is_none())
    }

    /// Whether what was noted of the jobs that have come is true.
    pub(super) fn notes_who_has_come(&self) -> bool {
        let rule = self.stopping.as_ref().and_then(Stopping::halving);
        !self.all_have_come || rule.is_none_or(|rule| !self.is_one_to_come(rule))
    }

    /// Whether a job waits that can go on where `finds` says whose checkpoints are found.
    pub(crate) fn may_go_on(&self, job: u64, finds: impl Fn(&WorkerName) -> bool) -> bool {
        self.waiting.get(job).is_some_and(|waiting| waiting.goes_on_where(finds))
    }

    /// Promotes the best paused jobs that may go on from one rung, at most `count` of them: their numbers and records.
    pub(crate) fn promote_next(&mut self, count: u32) -> Vec<(u64, Record)> {
        let halving = self.stopping.as_ref().and_then(Stopping::halving);
        self.all_have_come = halving.is_some_and(|rule| rule.waits_for_all() && self.have_all_come(rule));
        let mut promoted = Vec::new();
        let mut rung = None;
        while (promoted.len() as u32) < count && self.state == SweepState::Running {
            let Some(rule) = self.stopping.as_ref().and_then(Stopping::halving) else { break };
            let Some((Promotion { job, from }, reason)) = self.next_promotion(rule) else { break };
            if rung.is_some_and(|rung| rung != from) {
                break;
            }
            rung = Some(from);
            let total = self.definition.budget(job).unwrap_or(EPOCHS_MAX);
            let Some(Stopping::Halving(rule)) = &mut self.stopping else { break };
            rule.promote(job);
            let budget = rule.pauses_at(job).unwrap_or(total);
            promoted.extend(self.promote(job, budget, reason).map(|record| (job, record)));
        }
        promoted
    }

    /// An attempt has paused. Where it is the first of the sweep that left no checkpoint, no other job pauses from now on, if the rule
    /// can do without.
    pub(crate) fn miss_checkpoint(&mut self, attempt: AttemptKey) -> Option<Record> {
        let lacks_checkpoint = self.active(attempt).is_some_and(ActiveAttempt::lacks_checkpoint);
        if !lacks_checkpoint || self.without_checkpoint.is_some() {
            return None;
        }
        self.do_without_pauses(attempt.job.job);
        Some(Record::CheckpointMissed { job: attempt.job })
    }

    /// This job was the first that paused without a checkpoint.
    pub(super) fn do_without_pauses(&mut self, job: u64) {
        self.without_checkpoint = Some(job);
        let Some(Stopping::Halving(rule)) = &mut self.stopping else { return };
        if !rule.stop_jobs() {
            self.paused.values_mut().for_each(WaitingJob::forget_keeper);
        }
    }

    /// Whether a job that pauses may have a checkpoint, so that it is bound to the worker that keeps it. Where all jobs go on pausing, those
    /// of a program that keeps none have none.
    pub(super) fn leaves_checkpoint(&self, job: u64) -> bool {
        let waits_for_all =
            || self.stopping.as_ref().and_then(Stopping::halving).is_some_and(Halving::waits_for_all);
        self.without_checkpoint.is_none_or(|first| first != job && !waits_for_all())
    }

    /// Why its jobs cannot pause, and what happens instead, for people.
    pub(crate) fn cannot_pause(&self) -> Option<String> {
        let (job, rule) = (self.without_checkpoint?, self.stopping.as_ref()?.halving()?);
        let instead = match rule.waits_for_all() {
            true => "; where it goes on, it trains again from its first epoch",
            false => ", so from then on jobs are stopped at rungs where they would have paused",
        };
        Some(format!("job {job} paused without a checkpoint{instead}"))
    }

    /// Why a job pauses whose attempt ends, for people.
    pub(crate) fn why_paused(&self, attempt: AttemptKey) -> Option<String> {
        let rule = self.stopping.as_ref()?.halving()?;
        let Standing { epochs, jobs, quota, .. } = rule.standing(attempt.job.job)?;
        let why = match (rule.waits_for_all(), quota) {
            (true, 1) => format!(
                "paused after epoch {epochs} until all jobs have come there; the best of them goes on"
            ),
            (true, _) => {
                format!(
                    "paused after epoch {epochs} until all jobs have come there; the best {quota} of them go on"
                )
            }
            (false, _) => format!(
                "paused after epoch {epochs} until it is among the best there; when it paused, {quota} of {jobs} could go on"
            ),
        };
        match self.active(attempt).is_some_and(ActiveAttempt::lacks_checkpoint) {
            true => Some(format!("{why}; {LEFT_NO_CHECKPOINT}")),
            false => Some(why),
        }
    }
}

fn why_promoted(Standing { epochs, jobs, quota, .. }: Standing) -> String {
    match (jobs, quota) {
        (1, _) => format!("promoted after epoch {epochs}: it is the first job there"),
        (_, 1) => format!("promoted after epoch {epochs}: it is the best of {jobs} jobs there"),
        _ => format!("promoted after epoch {epochs}: it is among the best {quota} of {jobs} jobs there"),
    }
}

fn why_as_last_resort(Promotion { from, .. }: Promotion) -> String {
    format!("promoted after epoch {from}: it is the best of the paused jobs, and no job of the sweep is done")
}

fn why_stopped(standing: Option<Standing>, epoch: u32, value: Option<f64>) -> String {
    match (standing, value) {
        (Some(Standing { epochs, quota: 0, .. }), Some(_)) => {
            format!("stopped after epoch {epochs}: too few jobs have come there for any to go on")
        }
        (Some(Standing { epochs, jobs, quota: 1, .. }), Some(_)) => {
            format!("stopped after epoch {epochs}: it is not the best of {jobs} jobs there")
        }
        (Some(Standing { epochs, jobs, quota, .. }), Some(_)) => {
            format!("stopped after epoch {epochs}: it is not among the best {quota} of {jobs} jobs there")
        }
        _ => without_value(epoch),
    }
}

fn why_below_median(epoch: u32, best: Option<f64>, median: Option<f64>) -> String {
    match best.zip(median) {
        Some(compared) => {
            let [best, median] = told_apart(compared.into());
            format!(
                "stopped after epoch {epoch}: its best value {best} is worse than {median}, the median of the jobs that are done"
            )
        }
        None => without_value(epoch),
    }
}

fn without_value(epoch: u32) -> String {
    format!("stopped after epoch {epoch}: it has no value to compare")
}
