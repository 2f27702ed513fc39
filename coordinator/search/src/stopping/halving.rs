//! Successive halving, asynchronously (arXiv 1810.05934): jobs are compared at rungs, and the best share of those at a rung
//! goes on. Where jobs can pause, each pauses at its next rung until it belongs to that share, and nothing is lost by waiting;
//! where they cannot, those that do not belong to it when they arrive are stopped.

use std::{cmp::Reverse, collections::BTreeMap};

use terms::Goal;

use super::{Brackets, Ladder, Quota, Standing, Verdict, rung::Rung, value::Merit};

/// The rule and what it has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Halving {
    goal: Goal,
    /// Whether jobs pause; otherwise they are stopped.
    pauses: bool,
    /// Which ladder a job has, where there are several.
    brackets: Option<Brackets>,
    ladders: Vec<Bracket>,
    /// The highest rung that each job has reached.
    jobs: BTreeMap<u64, Reached>,
}

#[derive(Debug, Clone, PartialEq)]
struct Bracket {
    ladder: Ladder,
    rungs: Vec<Rung>,
}

/// The highest rung that a job has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    rung: usize,
    merit: Merit,
    goes_on: bool,
}

/// A paused job that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promotion {
    pub job: u64,
    /// The rung at which it was paused, in epochs.
    pub from: u32,
}

impl Halving {
    /// With one ladder for all jobs. Where it does not pause jobs, it stops them.
    pub fn new(goal: Goal, ladder: Ladder, quota: Quota, pauses: bool) -> Self {
        let ladders = vec![Bracket::new(ladder, quota)];
        Self { goal, pauses, brackets: None, ladders, jobs: BTreeMap::new() }
    }

    /// With a ladder for each bracket.
    pub fn with_brackets(goal: Goal, brackets: Brackets, quota: Quota, pauses: bool) -> Self {
        let ladders = brackets.ladders().iter().map(|ladder| Bracket::new(ladder.clone(), quota)).collect();
        Self { goal, pauses, brackets: Some(brackets), ladders, jobs: BTreeMap::new() }
    }

    /// From now on jobs do not pause: they are stopped at a rung where they are not among the best. Those that are paused go on once
    /// they are. Returns false, and changes nothing, where the rule needs all jobs at a rung before it knows the best.
    pub fn stop_jobs(&mut self) -> bool {
        if self.waits_for_all() {
            return false;
        }
        self.pauses = false;
        self.ladders.iter_mut().flat_map(|bracket| &mut bracket.rungs).for_each(Rung::stop_jobs);
        true
    }

    /// The epoch after which the job pauses next; none where it trains to its end. One that has reached a rung and does not go on from
    /// there comes back to it when it is tried again, also where jobs do not pause any more.
    pub fn pauses_at(&self, job: u64) -> Option<u32> {
        let reached = self.jobs.get(&job);
        let next = reached.map_or(0, |reached| reached.rung + usize::from(reached.goes_on));
        let comes_back = reached.is_some_and(|reached| !reached.goes_on);
        self.ladder_of(job).rungs.get(next).filter(|_| self.pauses || comes_back).map(Rung::epochs)
    }

    /// An epoch of a job is durable, with its value where that can be ranked. Not for the last epoch of a job: it is done. Says
    /// the same where the job comes past the epoch again.
    pub fn observe(&mut self, job: u64, epoch: u32, value: Option<f64>) -> Verdict {
        let merit = Merit::of(value, self.goal);
        if self.pauses {
            self.observe_pausing(job, epoch, merit)
        } else {
            self.observe_stopping(job, epoch, merit)
        }
    }

    /// The same of a job whose attempt was granted as far as this epoch, or one after it: it pauses there, also where jobs do not any
    /// more.
    pub fn observe_granted(&mut self, job: u64, epoch: u32, value: Option<f64>) -> Verdict {
        self.observe_pausing(job, epoch, Merit::of(value, self.goal))
    }

    fn observe_pausing(&mut self, job: u64, epoch: u32, merit: Merit) -> Verdict {
        let Some(rung) = self.ladder_of(job).ladder.index(epoch) else { return Verdict::Continue };
        match self.jobs.get(&job) {
            Some(reached) if rung < reached.rung || (rung == reached.rung && reached.goes_on) => {
                Verdict::Continue
            }
            Some(reached) if rung == reached.rung => Verdict::Pause,
            _ => {
                self.enter(job, rung, merit);
                Verdict::Pause
            }
        }
    }

    fn observe_stopping(&mut self, job: u64, epoch: u32, merit: Merit) -> Verdict {
        let mut next = match self.jobs.get(&job) {
            None => 0,
            Some(Reached { rung, goes_on: true, .. }) => rung + 1,
            Some(_) => return Verdict::Stop,
        };
        while self.ladder_of(job).rungs.get(next).is_some_and(|rung| rung.epochs() <= epoch) {
            if !merit.has_value() {
                return Verdict::Stop;
            }
            self.enter(job, next, merit);
            if !self.ladder_of(job).rungs[next].passes(merit) {
                return Verdict::Stop;
            }
            self.jobs.insert(job, Reached { rung: next, merit, goes_on: true });
            next += 1;
        }
        Verdict::Continue
    }

    fn enter(&mut self, job: u64, rung: usize, merit: Merit) {
        let bracket = self.bracket_of(job);
        self.ladders[bracket].rungs[rung].enter(merit, job);
        self.jobs.insert(job, Reached { rung, merit, goes_on: false });
    }

    /// The job has no value and never will: it diverged. Where jobs pause, it takes part in the next rung as the worst. Returns the
    /// epochs of that rung.
    pub fn diverged(&mut self, job: u64) -> Option<u32> {
        let epochs = self.pauses_at(job)?;
        self.observe_pausing(job, epochs, Merit::of(None, self.goal));
        Some(epochs)
    }

    /// The job holds no slot any more and waits at its rung; nothing where it has reached none.
    pub fn pause(&mut self, job: u64) {
        let bracket = self.bracket_of(job);
        if let Some(Reached { rung, merit, goes_on: false }) = self.jobs.get(&job).copied() {
            self.ladders[bracket].rungs[rung].pause(merit, job);
        }
    }

    /// The paused job that goes on next: of the highest rung, the best. `more_to_come`: other jobs may still reach a
    /// first rung.
    pub fn next_promotion(&self, more_to_come: bool) -> Option<Promotion> {
        let rungs = self.rungs(more_to_come).filter(|rung| rung.promotable().len() > 0);
        // Of equal rungs, that of the first bracket.
        let highest = rungs.rev().max_by_key(|rung| rung.epochs())?;
        Some(Promotion { job: highest.promotable().next()?, from: highest.epochs() })
    }

    /// The best of the paused jobs of the highest rung, whatever share of it goes on; none where no paused job has a value.
    pub fn best_left(&self) -> Option<Promotion> {
        let rungs = self.ladders.iter().flat_map(|bracket| &bracket.rungs);
        let left = rungs.filter_map(|rung| Some((Reverse(rung.epochs()), rung.best_paused()?)));
        let (Reverse(from), (_, job)) = left.min()?;
        Some(Promotion { job, from })
    }

    /// How many paused jobs may go on.
    pub fn promotable(&self, more_to_come: bool) -> u64 {
        self.rungs(more_to_come).map(|rung| rung.promotable().len() as u64).sum()
    }

    fn rungs(&self, more_to_come: bool) -> impl DoubleEndedIterator<Item = &Rung> {
        let rungs = self.ladders.iter().flat_map(|bracket| &bracket.rungs);
        rungs.filter(move |rung| !more_to_come || !rung.waits_for_all())
    }

    /// A paused job goes on.
    pub fn promote(&mut self, job: u64) {
        self.leave(job);
        if let Some(reached) = self.jobs.get_mut(&job) {
            reached.goes_on = true;
        }
    }

    /// The job is paused no longer: it goes on, or has ended.
    pub fn leave(&mut self, job: u64) {
        let bracket = self.bracket_of(job);
        if let Some(Reached { rung, merit, .. }) = self.jobs.get(&job).copied() {
            self.ladders[bracket].rungs[rung].leave(merit, job);
        }
    }

    /// The highest rung that the job has reached, in epochs.
    pub fn reached(&self, job: u64) -> Option<u32> {
        let reached = self.jobs.get(&job)?;
        self.ladder_of(job).rungs.get(reached.rung).map(Rung::epochs)
    }

    /// Where the highest rung that the job has reached stands.
    pub fn standing(&self, job: u64) -> Option<Standing> {
        let reached = self.jobs.get(&job)?;
        Some(self.ladder_of(job).rungs.get(reached.rung)?.standing(self.goal))
    }

    /// Takes in what a store kept of a job: its rungs with their values, and whether it was allowed beyond the last of them.
    /// Where it is paused, [`Self::pause`] follows.
    pub fn restore(&mut self, job: u64, rungs: &[(u32, Option<f64>)], goes_on: bool) {
        for (epochs, value) in rungs {
            if let Some(rung) = self.ladder_of(job).ladder.index(*epochs) {
                self.enter(job, rung, Merit::of(*value, self.goal));
            }
        }
        if let Some(reached) = self.jobs.get_mut(&job) {
            reached.goes_on = goes_on;
        }
    }

    /// Whether jobs are promoted once all have reached a rung, and not before.
    pub fn waits_for_all(&self) -> bool {
        self.ladders.iter().flat_map(|bracket| &bracket.rungs).any(Rung::waits_for_all)
    }

    /// Whether jobs may have different rungs.
    pub fn has_brackets(&self) -> bool {
        self.brackets.is_some()
    }

    fn bracket_of(&self, job: u64) -> usize {
        self.brackets.as_ref().map_or(0, |brackets| brackets.of(job))
    }

    fn ladder_of(&self, job: u64) -> &Bracket {
        &self.ladders[self.bracket_of(job)]
    }
}

impl Bracket {
    fn new(ladder: Ladder, quota: Quota) -> Self {
        let rungs = ladder.rungs().iter().map(|epochs| Rung::new(*epochs, quota)).collect();
        Self { ladder, rungs }
    }
}
