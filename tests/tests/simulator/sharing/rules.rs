//! Who may be granted a slot, by the records alone.

use std::collections::{BTreeMap, BTreeSet};

use domain::{definition::SweepDefinition, record::Record};
use terms::{AttemptKey, JobState, SweepId, SweepState, WorkerName};

use crate::{durable::rule, world::Broken};

/// A slot of a worker.
type Slot = (WorkerName, u32);

/// What the records say.
#[derive(Debug, Default)]
pub(super) struct Rules {
    sweeps: BTreeMap<SweepId, Sweep>,
    /// Slots at most, and the weight.
    quotas: BTreeMap<String, (Option<u32>, u32)>,
    attempts: BTreeMap<AttemptKey, Slot>,
    /// Attempts whose processes have not ended, though they may have been revoked: nothing else can run in their slots.
    present: BTreeMap<AttemptKey, Slot>,
    /// The slots of the workers that have said hello.
    connected: BTreeSet<Slot>,
}

#[derive(Debug)]
struct Sweep {
    owner: String,
    priority: i32,
    max_parallel: Option<u32>,
    state: SweepState,
    jobs: u64,
    /// Jobs that do not wait.
    begun: BTreeSet<u64>,
    running: u64,
}

impl Sweep {
    /// Whether a job could start if there were a slot.
    fn can_start(&self) -> bool {
        self.state == SweepState::Running
            && self.jobs > self.begun.len() as u64
            && self.max_parallel.is_none_or(|max| self.running < max.into())
    }

    fn read(&mut self, sweep: SweepId, specification: &str, jobs: u64) -> Result<(), Broken> {
        let definition = SweepDefinition::from_stored(sweep, specification, None);
        let execution = definition.map_err(|error| error.to_string())?.execution;
        (self.priority, self.max_parallel, self.jobs) = (execution.priority, execution.max_parallel, jobs);
        Ok(())
    }
}

impl Rules {
    /// A worker says hello. What it still runs occupies its slots.
    pub(super) fn connected(&mut self, name: &WorkerName, slots: u32) {
        self.connected.extend((0..slots).map(|slot| (name.clone(), slot)));
    }

    /// The coordinator starts again: it knows of no worker.
    pub(super) fn restarted(&mut self) {
        self.connected.clear();
    }

    /// The process of an attempt has ended.
    pub(super) fn is_let_go(&mut self, attempt: AttemptKey) {
        self.present.remove(&attempt);
    }

    /// Takes a record in, which must be one that the rules allow.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), Broken> {
        match record {
            Record::SweepSubmitted { sweep, specification, job_count, owner, .. } => {
                let mut row = Sweep {
                    owner: owner.clone().unwrap_or_default(),
                    priority: 0,
                    max_parallel: None,
                    state: SweepState::Running,
                    jobs: 0,
                    begun: BTreeSet::new(),
                    running: 0,
                };
                row.read(*sweep, specification, *job_count)?;
                self.sweeps.insert(*sweep, row);
            }
            Record::SweepExtended { sweep, specification, job_count, .. } => {
                self.of(*sweep)?.read(*sweep, specification, *job_count)?;
            }
            Record::SweepChanged { sweep, state, .. } => self.of(*sweep)?.state = *state,
            Record::QuotaKept(quota) => {
                self.quotas.insert(quota.owner.clone(), (quota.slots, quota.weight));
            }
            Record::AttemptGranted { attempt, worker, slot, .. } => {
                let slot = (worker.clone(), *slot);
                // Of a pack, the first job decides.
                if !self.attempts.values().any(|taken| *taken == slot) {
                    self.check_grant(*attempt, &slot)?;
                }
                let row = self.of(attempt.job.sweep)?;
                row.begun.insert(attempt.job.job);
                row.running += 1;
                self.attempts.insert(*attempt, slot.clone());
                self.present.insert(*attempt, slot);
            }
            Record::AttemptEnded { attempt, .. } => {
                self.attempts.remove(attempt);
                self.of(attempt.job.sweep)?.running -= 1;
            }
            Record::JobChanged { job, state, .. } => {
                let row = self.of(job.sweep)?;
                let _ = match state {
                    JobState::Pending => row.begun.remove(&job.job),
                    _ => row.begun.insert(job.job),
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn of(&mut self, sweep: SweepId) -> Result<&mut Sweep, Broken> {
        self.sweeps.get_mut(&sweep).ok_or_else(|| format!("there is no sweep {sweep}"))
    }

    /// The slots that an owner's jobs hold.
    fn held(&self, owner: &str) -> u64 {
        let is_own =
            |attempt: &AttemptKey| self.sweeps.get(&attempt.job.sweep).is_some_and(|row| row.owner == owner);
        let own = self.attempts.iter().filter(|(attempt, _)| is_own(attempt)).map(|(_, slot)| slot);
        own.collect::<BTreeSet<_>>().len() as u64
    }

    fn has_room(&self, owner: &str) -> bool {
        let quota = self.quotas.get(owner).and_then(|(slots, _)| *slots);
        quota.is_none_or(|quota| self.held(owner) < quota.into())
    }

    fn weight(&self, owner: &str) -> u64 {
        self.quotas.get(owner).map_or(1, |(_, weight)| (*weight).into())
    }

    fn check_grant(&self, attempt: AttemptKey, slot: &Slot) -> Result<(), Broken> {
        let sweep = attempt.job.sweep;
        let row = self.sweeps.get(&sweep).ok_or("a grant of no sweep")?;
        let owner = row.owner.as_str();
        rule(self.connected.contains(slot) && !self.present.values().any(|taken| taken == slot), || {
            format!("{attempt} was granted a slot that is not free")
        })?;
        rule(self.has_room(owner), || format!("{attempt} of {owner} was granted beyond the quota"))?;
        for (other, them) in
            self.sweeps.iter().filter(|(_, them)| them.can_start() && self.has_room(&them.owner))
        {
            let theirs = self.held(&them.owner) * self.weight(owner);
            rule(them.owner == owner || theirs >= self.held(owner) * self.weight(&them.owner), || {
                format!(
                    "{attempt} was granted to {owner}, who has a larger share than {} with sweep {other}",
                    them.owner
                )
            })?;
            let is_before = (-them.priority, *other) < (-row.priority, sweep);
            rule(them.owner != owner || !is_before, || {
                format!("{attempt} was granted before sweep {other} of the same owner")
            })?;
        }
        Ok(())
    }

    /// After each input: no slot is free while a job could have it.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let taken: BTreeSet<&Slot> = self.present.values().collect();
        if self.connected.iter().all(|slot| taken.contains(slot)) {
            return Ok(());
        }
        let mut waiting = self.sweeps.iter().filter(|(_, row)| row.can_start() && self.has_room(&row.owner));
        rule(waiting.next().is_none(), || "a slot is free while a job waits".to_owned())
    }
}
