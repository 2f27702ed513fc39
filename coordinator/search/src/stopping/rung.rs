//! A rung: the jobs that have reached a number of epochs, divided into the best share and the rest. Each change costs the
//! logarithm of their number.

use std::collections::BTreeSet;

use terms::Goal;

use super::value::Merit;

/// How many of the jobs at a rung may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// One of `eta`, rounded down.
    Share { eta: u32 },
    /// The same, but at least one: where jobs that are not the best so far end, the first would end, too.
    ShareOrOne { eta: u32 },
    /// One more than one of `eta`, rounded down: W&B's comparison with the value at that place in the order.
    ShareAndOne { eta: u32 },
    /// This many, once all jobs of the sweep have reached the rung or have ended.
    Best { count: u64 },
}

impl Quota {
    fn of(self, jobs: usize) -> usize {
        let share = |eta: u32| jobs / eta.max(2) as usize;
        match self {
            Self::Share { eta } => share(eta),
            Self::ShareOrOne { eta } => share(eta).max(1),
            Self::ShareAndOne { eta } => share(eta) + 1,
            Self::Best { count } => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }
}

/// Where a rung stands, for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The rung.
    pub epochs: u32,
    /// How many jobs have reached it.
    pub jobs: usize,
    /// How many of them may go on.
    pub quota: usize,
    /// The value of the last of these; none where there is none.
    pub threshold: Option<f64>,
}

/// A job at a rung. On equal values the smaller number is better.
pub(super) type Entry = (Merit, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rung {
    epochs: u32,
    quota: Quota,
    /// The best, as many as may go on.
    top: BTreeSet<Entry>,
    rest: BTreeSet<Entry>,
    /// Jobs that are paused here.
    paused: BTreeSet<Entry>,
    /// Those of them that are among the best.
    promotable: BTreeSet<Entry>,
}

impl Rung {
    pub(super) fn new(epochs: u32, quota: Quota) -> Self {
        let empty = BTreeSet::new;
        Self { epochs, quota, top: empty(), rest: empty(), paused: empty(), promotable: empty() }
    }

    pub(super) fn epochs(&self) -> u32 {
        self.epochs
    }

    pub(super) fn waits_for_all(&self) -> bool {
        matches!(self.quota, Quota::Best { .. })
    }

    /// A job reaches the rung for the first time.
    pub(super) fn enter(&mut self, merit: Merit, job: u64) {
        self.rest.insert((merit, job));
        if let (Some(worst), Some(best)) = (self.top.last(), self.rest.first())
            && best < worst
        {
            let (worst, best) = (*worst, *best);
            self.lower(worst);
            self.raise(best);
        }
        self.fill();
    }

    /// Takes as many into the best as may go on.
    fn fill(&mut self) {
        let quota = self.quota.of(self.top.len() + self.rest.len());
        while self.top.len() < quota
            && let Some(best) = self.rest.first().copied()
        {
            self.raise(best);
        }
    }

    /// Jobs that are not among the best end here from now on, so that the first must be among them.
    pub(super) fn stop_jobs(&mut self) {
        if let Quota::Share { eta } = self.quota {
            self.quota = Quota::ShareOrOne { eta };
            self.fill();
        }
    }

    fn raise(&mut self, entry: Entry) {
        self.rest.remove(&entry);
        self.top.insert(entry);
        self.judge(entry);
    }

    fn lower(&mut self, entry: Entry) {
        self.top.remove(&entry);
        self.rest.insert(entry);
        self.promotable.remove(&entry);
    }

    /// Whether a job with that value is good enough to go on.
    pub(super) fn passes(&self, merit: Merit) -> bool {
        self.top.last().is_some_and(|(worst, _)| merit <= *worst)
    }

    /// A job pauses here.
    pub(super) fn pause(&mut self, merit: Merit, job: u64) {
        self.paused.insert((merit, job));
        self.judge((merit, job));
    }

    /// A job is paused here no longer.
    pub(super) fn leave(&mut self, merit: Merit, job: u64) {
        self.paused.remove(&(merit, job));
        self.promotable.remove(&(merit, job));
    }

    fn judge(&mut self, entry: Entry) {
        if entry.0.has_value() && self.paused.contains(&entry) && self.top.contains(&entry) {
            self.promotable.insert(entry);
        }
    }

    /// The paused jobs that may go on, the best first.
    pub(super) fn promotable(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.promotable.iter().map(|(_, job)| *job)
    }

    /// The best job that is paused here and has a value.
    pub(super) fn best_paused(&self) -> Option<Entry> {
        self.paused.first().filter(|(merit, _)| merit.has_value()).copied()
    }

    pub(super) fn standing(&self, goal: Goal) -> Standing {
        Standing {
            epochs: self.epochs,
            jobs: self.top.len() + self.rest.len(),
            quota: self.quota.of(self.top.len() + self.rest.len()),
            threshold: self.top.last().and_then(|(merit, _)| merit.value(goal)),
        }
    }
}
