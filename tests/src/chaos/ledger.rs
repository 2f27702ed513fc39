//! Accounts for a sweep with `early_terminate: {type: asha}` from what its database went through, with the rule written down once
//! more: every promotion is the one that the records imply, and no epoch counts or is trained twice without a reason.
//!
//! A commit writes each row once, in the order of tables and keys. Rows in that order are taken as one step, which may be more than
//! one commit: what cannot be told apart within a step is allowed in any order.

use std::collections::{BTreeMap, BTreeSet};

use super::light_metrics;

/// The rule: after these numbers of epochs, one of `ETA` jobs goes on; the last of all epochs ends a job.
pub(super) const RUNGS: [u32; 2] = [1, 3];
pub(super) const EPOCHS: u32 = 9;
pub(super) const ETA: usize = 3;

/// A row as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Job { is_new: bool, job: u64, row: Job },
    Attempt { is_new: bool, key: (u64, u32), row: Attempt },
    Epoch { key: (u64, u32), epoch: u32 },
}

/// A row of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Job {
    pub(super) state: String,
    pub(super) epochs_done: u32,
    pub(super) rungs: Vec<Rung>,
}

/// What a job had at a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rung {
    pub(super) epoch: u32,
    pub(super) value: f64,
    pub(super) goes_on: bool,
}

/// A row of an attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Attempt {
    pub(super) slot: (String, u32),
    pub(super) pack_size: usize,
    pub(super) started: bool,
    pub(super) resumed: u32,
    pub(super) state: String,
}

/// What was accounted for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Accounted {
    pub jobs: u64,
    pub done: u64,
    /// Times that a job reached a rung, and times that one was promoted from it.
    pub reached: u64,
    pub promoted: u64,
    pub attempts: u64,
    /// Attempts that ended before their rung or their job's end.
    pub interrupted: u64,
    /// Epochs that more than one attempt trained.
    pub trained_again: u64,
}

/// The tables as they are after a step.
#[derive(Debug, Clone, Default)]
struct Tables {
    /// How many jobs the sweep has; those that never began have no row.
    of: u64,
    jobs: BTreeMap<u64, Job>,
    attempts: BTreeMap<(u64, u32), Attempt>,
}

/// What happened in a step that matters to the rule.
#[derive(Debug, Default)]
struct Step {
    /// Jobs that reached a rung.
    arrivals: Vec<(u32, Place)>,
    /// Jobs that were promoted from one.
    promotions: Vec<(u32, Place)>,
    /// Attempts that were granted.
    granted: Vec<(u64, u32)>,
}

/// The place of a job among others at a rung: smaller is better.
type Place = (u64, u64);

fn place(job: u64, value: f64) -> Place {
    // Values are between 0 and 1, whose bits are ordered as they are.
    (u64::MAX - value.to_bits(), job)
}

/// Checks all that a sweep of so many jobs went through.
pub(super) fn account(changes: &[Change], jobs: u64) -> Result<Accounted, String> {
    let (mut tables, mut accounted) = (Tables::of(jobs), Accounted::default());
    let mut epochs: BTreeMap<(u64, u32), u32> = BTreeMap::new();
    for rows in steps(changes) {
        let is_decided = rows.iter().any(|row| tables.decides(row));
        let (before, mut step) = (is_decided.then(|| tables.clone()), Step::default());
        for row in rows {
            match row {
                Change::Job { job, row, .. } => tables.take_job(*job, row, &mut step)?,
                Change::Attempt { is_new, key, row } => {
                    if *is_new {
                        step.granted.push(*key);
                    }
                    tables.attempts.insert(*key, row.clone());
                }
                Change::Epoch { key, epoch } => {
                    let last = epochs.entry(*key).or_default();
                    if *epoch != *last + 1 {
                        return Err(format!("{key:?} has epoch {epoch} after epoch {last}"));
                    }
                    *last = *epoch;
                }
            }
        }
        before.map_or(Ok(()), |before| before.check_promotions(&tables, &step))?;
        tables.check_slots()?;
        accounted.reached += step.arrivals.len() as u64;
        accounted.promoted += step.promotions.len() as u64;
    }
    tables.check_end()?;
    accounted.trained_again = tables.check_training(&epochs)?;
    let ends = |state: &str| tables.jobs.values().filter(|job| job.state == state).count() as u64;
    let is_cut_short = |attempt: &&Attempt| !["paused", "done"].contains(&attempt.state.as_str());
    accounted.jobs = tables.jobs.len() as u64;
    accounted.done = ends("done");
    accounted.attempts = tables.attempts.len() as u64;
    accounted.interrupted = tables.attempts.values().filter(is_cut_short).count() as u64;
    Ok(accounted)
}

/// Divides rows where their order begins again.
fn steps(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    let order = |change: &Change| match change {
        Change::Job { is_new, job, .. } => (u8::from(!is_new), *job, 0, 0),
        Change::Attempt { is_new, key, .. } => (2 + u8::from(!is_new), key.0, key.1, 0),
        Change::Epoch { key, epoch } => (4, key.0, key.1, *epoch),
    };
    changes.chunk_by(move |one, next| order(one) < order(next))
}

impl Tables {
    fn of(jobs: u64) -> Self {
        Self { of: jobs, ..Self::default() }
    }

    /// Whether a row says that a job goes on or begins.
    fn decides(&self, change: &Change) -> bool {
        let going_on = |row: &Job| row.rungs.iter().filter(|rung| rung.goes_on).count();
        match change {
            Change::Job { job, row, .. } => going_on(row) > self.jobs.get(job).map_or(0, going_on),
            Change::Attempt { is_new, .. } => *is_new,
            Change::Epoch { .. } => false,
        }
    }

    /// A job's row changes: its rungs only grow, and are what the job was trained to.
    fn take_job(&mut self, job: u64, row: &Job, step: &mut Step) -> Result<(), String> {
        let before = self.jobs.insert(job, row.clone()).unwrap_or_default();
        let wrong = |what: &str| Err(format!("job {job} {what}: {before:?} became {row:?}"));
        for (index, rung) in row.rungs.iter().enumerate() {
            if RUNGS.get(index) != Some(&rung.epoch) {
                return wrong("has another rung than the rule");
            }
            let value = light_metrics(job, rung.epoch.into()).1;
            if rung.value.to_bits() != value.to_bits() {
                return wrong("has another value at its rung than it reported");
            }
            let known = before.rungs.get(index);
            if known.is_none() {
                step.arrivals.push((rung.epoch, place(job, value)));
            }
            match (known.is_some_and(|known| known.goes_on), rung.goes_on) {
                (false, true) => step.promotions.push((rung.epoch, place(job, value))),
                (true, false) => return wrong("was promoted and is not"),
                _ => {}
            }
            if !rung.goes_on && index + 1 < row.rungs.len() {
                return wrong("went past a rung without being promoted");
            }
        }
        let last = row.rungs.last();
        let is_held = last.is_some_and(|rung| !rung.goes_on);
        match row.state.as_str() {
            _ if row.rungs.len() < before.rungs.len() => wrong("has lost a rung"),
            "paused" if !is_held || last.map(|rung| rung.epoch) != Some(row.epochs_done) => {
                wrong("is paused where it is not at a rung")
            }
            "pending" if is_held && before.state == "paused" => wrong("goes on without being promoted"),
            "done" if is_held || row.rungs.len() < RUNGS.len() || row.epochs_done != EPOCHS => {
                wrong("is done and was not promoted so far")
            }
            _ => Ok(()),
        }
    }

    fn at(&self, epoch: u32) -> BTreeSet<Place> {
        let at = |(job, row): (&u64, &Job)| {
            let rung = row.rungs.iter().find(|rung| rung.epoch == epoch)?;
            Some(place(*job, rung.value))
        };
        self.jobs.iter().filter_map(at).collect()
    }

    /// Jobs that wait at a rung, the highest rung first.
    fn paused(&self) -> Vec<(u32, Place)> {
        let paused = self.jobs.iter().filter(|(_, row)| row.state == "paused");
        let mut paused: Vec<(u32, Place)> = paused
            .filter_map(|(job, row)| row.rungs.last().map(|rung| (rung.epoch, place(*job, rung.value))))
            .collect();
        paused.sort_by_key(|(epoch, place)| (std::cmp::Reverse(*epoch), *place));
        paused
    }

    /// Whether the job at a rung is among the best share, whichever of the jobs that arrived in the step did so before:
    /// (it may be, it must be).
    fn goes_on(&self, (epoch, job): (u32, Place), step: &Step) -> (bool, bool) {
        let mut there = self.at(epoch);
        there.insert(job);
        let arrived = |is_better: bool| {
            let others = step.arrivals.iter().filter(|(at, other)| *at == epoch && !there.contains(other));
            others.filter(|(_, other)| (*other < job) == is_better).count()
        };
        let (rank, jobs) = (there.range(..job).count(), there.len());
        let (better, worse) = (arrived(true), arrived(false));
        (rank < (jobs + worse) / ETA, rank + better < (jobs + better) / ETA)
    }

    /// `self` is as it was before the step.
    fn check_promotions(&self, after: &Self, step: &Step) -> Result<(), String> {
        let still = after.paused();
        // Those that could have been promoted all the time and were not.
        let left: Vec<(u32, Place)> = self
            .paused()
            .into_iter()
            .filter(|waits| still.contains(waits) && self.goes_on(*waits, step).1)
            .collect();
        for promoted in &step.promotions {
            if !self.goes_on(*promoted, step).0 && !after.would_end_without(promoted.1.1) {
                return Err(format!("{promoted:?} was promoted and is not among the best there"));
            }
            let precedes = |(epoch, place): &&(u32, Place)| {
                *epoch > promoted.0 || (*epoch == promoted.0 && *place < promoted.1)
            };
            if let Some(better) = left.iter().find(precedes) {
                return Err(format!("{promoted:?} was promoted before {better:?}"));
            }
        }
        // A slot that takes a new job, and no job that is tried again, has no job to promote.
        let is_first = |key: &&(u64, u32)| key.1 == 1;
        let slot = |key: &(u64, u32)| after.attempts.get(key).map(|attempt| &attempt.slot);
        let is_alone =
            |key: &&(u64, u32)| !step.granted.iter().any(|other| other.1 > 1 && slot(other) == slot(key));
        match (step.granted.iter().filter(is_first).find(is_alone), left.first()) {
            (Some(begun), Some(left)) => Err(format!("{begun:?} began before {left:?} was promoted")),
            _ => Ok(()),
        }
    }

    /// Whether the sweep would end without a job that is done, if this one did not go on.
    fn would_end_without(&self, job: u64) -> bool {
        let mut others = self.jobs.iter().filter(|(other, _)| **other != job);
        self.jobs.len() as u64 == self.of && others.all(|(_, row)| row.state == "paused")
    }

    /// No slot has more jobs than were granted together, and no job that is paused has one.
    fn check_slots(&self) -> Result<(), String> {
        let mut taken: BTreeMap<&(String, u32), usize> = BTreeMap::new();
        for (key, attempt) in self.attempts.iter().filter(|(_, attempt)| attempt.state == "running") {
            let jobs = taken.entry(&attempt.slot).or_default();
            *jobs += 1;
            if *jobs > attempt.pack_size {
                return Err(format!("{key:?} runs where {jobs} jobs do: {attempt:?}"));
            }
            if self.jobs.get(&key.0).is_none_or(|job| job.state != "running") {
                return Err(format!("{key:?} holds a slot, and its job is {:?}", self.jobs.get(&key.0)));
            }
        }
        Ok(())
    }

    /// At the end each job is done or paused, and none of those that are paused may go on.
    fn check_end(&self) -> Result<(), String> {
        if self.jobs.len() as u64 != self.of {
            return Err(format!("{} of {} jobs have begun", self.jobs.len(), self.of));
        }
        if let Some(open) =
            self.jobs.iter().find(|(_, row)| !["done", "paused"].contains(&row.state.as_str()))
        {
            return Err(format!("{open:?} has not ended"));
        }
        match self.paused().into_iter().find(|waits| self.goes_on(*waits, &Step::default()).0) {
            Some(left) => Err(format!("{left:?} was to go on, and never did")),
            None => Ok(()),
        }
    }

    /// What an attempt trained that paused or was done is never trained again. Returns how many epochs were trained again, as the
    /// attempts ended before.
    fn check_training(&self, epochs: &BTreeMap<(u64, u32), u32>) -> Result<u64, String> {
        let mut trained: BTreeMap<(u64, u32), u32> = BTreeMap::new();
        let mut kept: BTreeMap<u64, u32> = BTreeMap::new();
        for (key, attempt) in self.attempts.iter().filter(|(_, attempt)| attempt.started) {
            let (last, kept) = (epochs.get(key).copied().unwrap_or(0), kept.entry(key.0).or_default());
            if attempt.resumed < *kept {
                return Err(format!("{key:?} trains past epoch {} again: {kept} were kept", attempt.resumed));
            }
            for epoch in attempt.resumed + 1..=last {
                *trained.entry((key.0, epoch)).or_default() += 1;
            }
            if ["paused", "done"].contains(&attempt.state.as_str()) {
                *kept = last;
            }
        }
        for (job, row) in &self.jobs {
            if kept.get(job) != Some(&row.epochs_done) {
                return Err(format!(
                    "job {job} has {} epochs, its attempts kept {:?}",
                    row.epochs_done,
                    kept.get(job)
                ));
            }
        }
        Ok(trained.values().map(|times| u64::from(times - 1)).sum())
    }
}
