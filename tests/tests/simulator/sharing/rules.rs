//! Who may be granted a slot, by the records alone.

use std::collections::{BTreeMap, BTreeSet};

use domain::{definition::SweepDefinition, record::Record};
use terms::{AttemptKey, JobState, SweepId, SweepState, WorkerName};

use super::machines::Machine;
use crate::{durable::rule, world::Broken};

/// A slot of a worker.
type Slot = (WorkerName, u32);

/// What the records say.
#[derive(Debug, Default)]
pub(super) struct Rules {
    sweeps: BTreeMap<SweepId, Sweep>,
    /// Slots at most, and the weight.
    quotas: BTreeMap<String, (Option<u32>, u32)>,
    /// Attempts that hold their leases.
    attempts: BTreeMap<AttemptKey, Placed>,
    /// Attempts whose processes have not ended, though they may have been revoked: nothing else can run in their slots.
    present: BTreeMap<AttemptKey, Placed>,
    /// The device of each slot of the workers that have a stream.
    connected: BTreeMap<Slot, String>,
    /// Slots that were given to the first job of a pack in this turn.
    begun_now: BTreeSet<Slot>,
    /// Sweeps of several GPUs that could start a job before this turn, for which some may be kept, and those that got theirs out of turn.
    waited: BTreeSet<SweepId>,
    out_of_turn: BTreeSet<SweepId>,
    /// Those for which some may be kept since this turn.
    had_room: BTreeSet<SweepId>,
    /// Owners who were granted something.
    served: BTreeSet<String>,
}

/// Where an attempt runs.
#[derive(Debug, Clone)]
struct Placed {
    worker: WorkerName,
    /// The slot that runs it, and all that it occupies.
    slot: u32,
    slots: Vec<u32>,
    /// How many GPUs it has, where those are several.
    gpus: Option<u64>,
}

impl Placed {
    fn occupies(&self, slot: &Slot) -> bool {
        self.worker == slot.0 && self.slots.contains(&slot.1)
    }
}

#[derive(Debug)]
struct Sweep {
    owner: String,
    priority: i32,
    max_parallel: Option<u32>,
    /// GPUs of a job, where those are several.
    gpus: Option<u32>,
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

    /// What a job counts as.
    fn takes(&self) -> u64 {
        self.gpus.unwrap_or(1).into()
    }

    /// Whether it comes before a sweep of the same owner.
    fn is_own_before(&self, number: SweepId, (sweep, row): (SweepId, &Self)) -> bool {
        self.owner == row.owner && (-self.priority, number) < (-row.priority, sweep)
    }

    /// Whether its jobs could have what a job of the other was given.
    fn competes_with(&self, other: &Self) -> bool {
        self.gpus.is_none() || other.gpus.is_some_and(|gpus| self.gpus <= Some(gpus))
    }

    fn read(&mut self, sweep: SweepId, specification: &str, jobs: u64) -> Result<(), Broken> {
        let definition = SweepDefinition::from_stored(sweep, specification, None);
        let definition = definition.map_err(|error| error.to_string())?;
        let execution = &definition.execution;
        (self.priority, self.max_parallel, self.jobs) = (execution.priority, execution.max_parallel, jobs);
        self.gpus = definition.specification.resources.several_gpus();
        Ok(())
    }
}

impl Rules {
    /// A worker says hello. What it still runs by right occupies its slots, and nothing else.
    pub(super) fn connected(&mut self, machine: &Machine) {
        self.cut_off(&machine.name);
        let slots =
            machine.slots.iter().map(|slot| ((machine.name.clone(), slot.index), slot.device.clone()));
        self.connected.extend(slots);
        let held = machine.running.keys();
        let held = held.filter_map(|attempt| Some((*attempt, self.attempts.get(attempt)?.clone())));
        self.present.extend(held.collect::<Vec<_>>());
    }

    /// A worker has no stream any more.
    pub(super) fn cut_off(&mut self, name: &WorkerName) {
        self.connected.retain(|(worker, _), _| worker != name);
        self.present.retain(|_, placed| placed.worker != *name);
    }

    /// The coordinator starts again: it knows of no worker.
    pub(super) fn restarted(&mut self) {
        self.connected.clear();
        self.present.clear();
        self.waited.clear();
    }

    /// The process of an attempt has ended.
    pub(super) fn is_let_go(&mut self, attempt: AttemptKey) {
        self.present.remove(&attempt);
    }

    /// Whether an attempt holds its lease.
    pub(super) fn runs(&self, attempt: AttemptKey) -> bool {
        self.attempts.contains_key(&attempt)
    }

    /// Takes a record in, which must be one that the rules allow.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), Broken> {
        match record {
            Record::SweepSubmitted { sweep, specification, job_count, owner, .. } => {
                let mut row = Sweep {
                    owner: owner.clone().unwrap_or_default(),
                    priority: 0,
                    max_parallel: None,
                    gpus: None,
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
            Record::AttemptGranted { attempt, worker, slot, device, .. } => {
                self.grant(*attempt, &(worker.clone(), *slot), device)?;
            }
            Record::AttemptEnded { attempt, .. } => {
                let held = self.attempts.remove(attempt);
                rule(held.is_some(), || format!("{attempt} ended twice"))?;
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

    fn grant(&mut self, attempt: AttemptKey, slot: &Slot, device: &str) -> Result<(), Broken> {
        let placed = self.place(slot.clone(), device);
        let other = self.attempts.keys().find(|other| other.job == attempt.job);
        rule(other.is_none(), || format!("{attempt} was granted while {other:?} runs"))?;
        // Of a pack, the first job decides.
        if self.begun_now.insert(slot.clone()) {
            self.check_slots(attempt, &placed)?;
            self.check_turn(attempt)?;
        } else {
            let mut there = self.attempts.iter().filter(|(_, placed)| placed.occupies(slot));
            let is_pack =
                there.all(|(other, placed)| other.job.sweep == attempt.job.sweep && placed.gpus.is_none());
            rule(is_pack, || format!("{attempt} was granted a slot of another sweep's job"))?;
        }
        let row = self.of(attempt.job.sweep)?;
        row.begun.insert(attempt.job.job);
        row.running += 1;
        let owner = row.owner.clone();
        self.served.insert(owner);
        self.attempts.insert(attempt, placed.clone());
        self.present.insert(attempt, placed);
        Ok(())
    }

    /// What a grant occupies: one slot, or all slots of the GPUs that it names.
    fn place(&self, (worker, slot): Slot, device: &str) -> Placed {
        let own = self.connected.get(&(worker.clone(), slot));
        if own.is_none_or(|own| own == device) {
            return Placed { worker, slot, slots: vec![slot], gpus: None };
        }
        let devices: BTreeSet<&str> = device.split(',').collect();
        let of_worker = self.connected.iter().filter(|((other, _), _)| *other == worker);
        let slots = of_worker.filter(|(_, device)| devices.contains(device.as_str()));
        let slots = slots.map(|((_, slot), _)| *slot).collect();
        Placed { slots, slot, gpus: Some(devices.len() as u64), worker }
    }

    fn of(&mut self, sweep: SweepId) -> Result<&mut Sweep, Broken> {
        self.sweeps.get_mut(&sweep).ok_or_else(|| format!("there is no sweep {sweep}"))
    }

    /// What an owner's jobs hold: GPUs of jobs that have several, and slots, each once.
    fn held(&self, owner: &str) -> u64 {
        self.held_by(|attempt| self.sweeps.get(&attempt.job.sweep).is_some_and(|row| row.owner == owner))
    }

    /// The same of some attempts.
    fn held_by(&self, is_own: impl Fn(&AttemptKey) -> bool) -> u64 {
        let own = || self.attempts.iter().filter(|(attempt, _)| is_own(attempt)).map(|(_, placed)| placed);
        let slots: BTreeSet<_> = own()
            .filter(|placed| placed.gpus.is_none())
            .map(|placed| (&placed.worker, placed.slot))
            .collect();
        slots.len() as u64 + own().filter_map(|placed| placed.gpus).sum::<u64>()
    }

    /// Whether the quota of its owner leaves room for a job.
    fn has_room(&self, row: &Sweep) -> bool {
        self.has_room_beside(row, 0)
    }

    /// The same beside all that may be kept for jobs of the owner's other sweeps.
    fn has_room_anyway(&self, row: &Sweep) -> bool {
        let kept = self.kept_at_most(|other| other.owner == row.owner);
        self.has_room_beside(row, kept.saturating_sub(row.gpus.map_or(0, u64::from)))
    }

    fn has_room_beside(&self, row: &Sweep, kept: u64) -> bool {
        let quota = self.quotas.get(&row.owner).and_then(|(slots, _)| *slots);
        quota.is_none_or(|quota| self.held(&row.owner) + kept + row.takes() <= quota.into())
    }

    /// The most GPUs that may be kept for jobs of these sweeps: they count as their owners'.
    fn kept_at_most(&self, is_one: impl Fn(&Sweep) -> bool) -> u64 {
        let waiting = self.sweeps.values().filter(|row| row.can_start() && is_one(row));
        waiting.filter_map(|row| row.gpus).map(u64::from).sum()
    }

    /// What jobs may hold of it where GPUs are kept: it no longer counts as their owners'.
    fn making_way_at_most(&self) -> u64 {
        let gpus = self.gpus();
        let on_one = gpus.values().flat_map(BTreeMap::values).map(|(free, busy)| u64::from(free + busy));
        let of_several = self.attempts.values().filter_map(|placed| placed.gpus);
        self.kept_at_most(|_| true) * on_one.chain(of_several).max().unwrap_or(0)
    }

    fn weight(&self, owner: &str) -> u64 {
        self.quotas.get(owner).map_or(1, |(_, weight)| (*weight).into())
    }

    /// Whether a slot has nothing that runs, or is about to end.
    fn is_free(&self, slot: &Slot) -> bool {
        !self.present.values().any(|placed| placed.occupies(slot))
    }

    /// The sweeps with a job that could start on some worker that is there, as far as the quota has room.
    fn with_room(&self) -> impl Iterator<Item = (&SweepId, &Sweep)> {
        self.sweeps
            .iter()
            .filter(|(_, row)| row.can_start() && self.has_room(row) && self.some_worker_can(row))
    }

    /// Those that need not leave the room to others.
    fn waiting(&self) -> impl Iterator<Item = (&SweepId, &Sweep)> {
        self.with_room().filter(|(sweep, row)| !self.may_leave(**sweep, row))
    }

    /// Whether a sweep may leave what the quota has to an earlier one of its owner, whose next job takes several GPUs.
    fn may_leave(&self, sweep: SweepId, row: &Sweep) -> bool {
        self.sweeps.iter().any(|(other, them)| {
            them.gpus.is_some()
                && them.is_own_before(*other, (sweep, row))
                && them.can_start()
                && self.fits_quota(them.takes(), row)
                && !self.has_room_beside(row, self.wanted_beside(sweep, row))
                && self.has_place_beside_its_own(*other, them)
        })
    }

    /// What may be left or kept for jobs of several GPUs of its owner's other sweeps.
    fn wanted_beside(&self, sweep: SweepId, row: &Sweep) -> u64 {
        let others = self
            .sweeps
            .iter()
            .filter(|(other, them)| them.owner == row.owner && them.can_start() && **other != sweep);
        others.filter_map(|(_, them)| them.gpus).map(u64::from).sum()
    }

    /// Whether the quota of its owner would allow so many slots.
    fn fits_quota(&self, slots: u64, row: &Sweep) -> bool {
        let quota = self.quotas.get(&row.owner).and_then(|(slots, _)| *slots);
        quota.is_none_or(|quota| slots <= quota.into())
    }

    fn some_worker_can(&self, row: &Sweep) -> bool {
        let Some(gpus) = row.gpus else { return !self.connected.is_empty() };
        self.gpus().values().any(|of_worker| of_worker.len() >= gpus as usize)
    }

    /// The GPUs of each worker that is there, and how many of the slots of each are free and not.
    fn gpus(&self) -> BTreeMap<&WorkerName, BTreeMap<&str, (u32, u32)>> {
        let mut gpus: BTreeMap<&WorkerName, BTreeMap<&str, (u32, u32)>> = BTreeMap::new();
        for (slot, device) in self.connected.iter().filter(|(_, device)| device.starts_with("cuda")) {
            let (free, busy) = gpus.entry(&slot.0).or_default().entry(device).or_default();
            *(if self.is_free(slot) { free } else { busy }) += 1;
        }
        gpus
    }

    /// What is granted is free, and has the GPUs that its sweep asks for.
    fn check_slots(&self, attempt: AttemptKey, placed: &Placed) -> Result<(), Broken> {
        let slots = placed.slots.iter().map(|slot| (placed.worker.clone(), *slot));
        for slot in slots {
            rule(self.connected.contains_key(&slot) && self.is_free(&slot), || {
                format!("{attempt} was granted a slot that is not free")
            })?;
        }
        let row = self.sweeps.get(&attempt.job.sweep).ok_or("a grant of no sweep")?;
        rule(placed.gpus == row.gpus.map(u64::from), || {
            format!("{attempt} was granted {:?} GPUs in place of {:?}", placed.gpus, row.gpus)
        })
    }

    /// It is its owner's turn, and within the quota. What may have been kept for a job of several GPUs stays so whatever the shares are
    /// by now, and whichever sweeps of its owner come first: one job of its sweep comes out of turn.
    fn check_turn(&mut self, attempt: AttemptKey) -> Result<(), Broken> {
        self.check_what_is_left(attempt)?;
        let sweep = attempt.job.sweep;
        let row = self.sweeps.get(&sweep).ok_or("a grant of no sweep")?;
        let owner = row.owner.as_str();
        rule(self.has_room(row), || format!("{attempt} of {owner} was granted beyond the quota"))?;
        let own = self.held(owner).saturating_sub(self.making_way_at_most());
        let mut too_early = None;
        let before = self.waiting().filter(|(_, them)| them.competes_with(row) && self.has_room_anyway(them));
        for (other, them) in before {
            let theirs = self.held(&them.owner) + self.kept_at_most(|row| row.owner == them.owner);
            if them.owner != owner && theirs * self.weight(owner) < own * self.weight(&them.owner) {
                too_early = Some(format!(
                    "{attempt} was granted to {owner}, who has a larger share than {} with sweep {other}",
                    them.owner
                ));
            }
            if them.is_own_before(*other, (sweep, row)) {
                too_early = Some(format!("{attempt} was granted before sweep {other} of the same owner"));
            }
        }
        let Some(too_early) = too_early else { return Ok(()) };
        rule(self.waited.contains(&sweep) && self.out_of_turn.insert(sweep), || too_early)
    }

    /// Of the quota, it leaves what the next job of an earlier sweep takes that needs several GPUs and could be somewhere. Where some may be
    /// kept for that job, what its owner's jobs hold of them counts once.
    fn check_what_is_left(&mut self, attempt: AttemptKey) -> Result<(), Broken> {
        let sweep = attempt.job.sweep;
        let of_several = |(sweep, row): (&SweepId, &Sweep)| row.gpus.map(|_| *sweep);
        let with_room: Vec<SweepId> = self.with_room().filter_map(of_several).collect();
        self.had_room.extend(with_room);
        let row = self.sweeps.get(&sweep).ok_or("a grant of no sweep")?;
        let earlier = |(other, them): &(&SweepId, &Sweep)| them.is_own_before(**other, (sweep, row));
        let several =
            self.sweeps.iter().filter(earlier).filter(|(_, them)| them.gpus.is_some() && them.can_start());
        let first = several.min_by_key(|(other, them)| (-them.priority, **other));
        let Some((other, them)) = first.filter(|_| !self.waited.contains(&sweep)) else { return Ok(()) };
        let before = self.held_by(|held| {
            let before = self.sweeps.get(&held.job.sweep);
            held.job.sweep == *other
                || before.is_some_and(|before| before.is_own_before(held.job.sweep, (*other, them)))
        });
        if !self.fits_quota(before + them.takes(), row) || !self.has_place_beside_its_own(*other, them) {
            return Ok(());
        }
        let may_be_kept = self.waited.contains(other) || self.had_room.contains(other);
        let once = if may_be_kept { self.held_on_gpus(&row.owner) } else { 0 };
        let taken = (self.held(&row.owner) + row.takes() + them.takes()).saturating_sub(once);
        rule(self.fits_quota(taken, row), || {
            format!("{attempt} was granted what was left for sweep {other}; {}", self.summary())
        })
    }

    /// Whether some worker has GPUs enough for a job of a sweep, next to those that its jobs have there.
    fn has_place_beside_its_own(&self, sweep: SweepId, row: &Sweep) -> bool {
        let runs = |slot: &Slot| {
            let mut own = self.attempts.iter().filter(|(attempt, _)| attempt.job.sweep == sweep);
            own.any(|(_, placed)| placed.occupies(slot))
        };
        let mut others: BTreeMap<&WorkerName, BTreeSet<&str>> = BTreeMap::new();
        for (slot, device) in self.connected.iter().filter(|(_, device)| device.starts_with("cuda")) {
            if !runs(slot) {
                others.entry(&slot.0).or_default().insert(device);
            }
        }
        others.values().any(|gpus| gpus.len() >= row.takes() as usize)
    }

    /// How many slots of GPUs an owner's jobs hold.
    fn held_on_gpus(&self, owner: &str) -> u64 {
        let is_on_gpu = |placed: &Placed| {
            let device = self.connected.get(&(placed.worker.clone(), placed.slot));
            device.is_some_and(|device| device.starts_with("cuda"))
        };
        self.held_by(|attempt| {
            self.sweeps.get(&attempt.job.sweep).is_some_and(|row| row.owner == owner)
                && self.attempts.get(attempt).is_some_and(is_on_gpu)
        })
    }

    /// After each input: what the engine counts for the owners is what they have, and no slot is free while a job could have it, except
    /// for those that may be kept for jobs of several GPUs.
    pub(super) fn check(&mut self, counted: &BTreeMap<SweepId, u64>) -> Result<(), Broken> {
        self.begun_now.clear();
        self.out_of_turn.clear();
        self.had_room.clear();
        for (sweep, slots) in counted {
            let held = self.sweeps.get(sweep).map_or(0, |row| self.held(&row.owner));
            rule(held == *slots, || {
                format!("{slots} slots count for the owner of sweep {sweep}, of {held}")
            })?;
        }
        let with_room = self.with_room().filter(|(_, row)| row.gpus.is_some()).map(|(sweep, _)| *sweep);
        // What is kept at a worker stays kept while it is away.
        let goes_on = |sweep: &SweepId| self.sweeps.get(sweep).is_some_and(Sweep::can_start);
        let before = self.waited.iter().filter(|sweep| goes_on(sweep)).copied();
        let waited: BTreeSet<SweepId> = with_room.chain(before).collect();
        let may_be_kept = |row: &&Sweep| {
            let once = self.held(&row.owner).saturating_sub(self.held_on_gpus(&row.owner));
            row.can_start() && self.some_worker_can(row) && self.fits_quota(once + row.takes(), row)
        };
        let kept: u32 = self.sweeps.values().filter(may_be_kept).filter_map(|row| row.gpus).sum();
        let gpus = self.gpus();
        let some_take_one = self.waiting().any(|(_, row)| row.gpus.is_none() && self.has_room_anyway(row));
        if some_take_one {
            let is_other = |slot: &Slot, device: &str| !device.starts_with("cuda") && self.is_free(slot);
            let other = self.connected.iter().any(|(slot, device)| is_other(slot, device));
            let with_free = gpus.values().flat_map(BTreeMap::values).filter(|(free, _)| *free > 0).count();
            rule(!other && with_free <= kept as usize, || {
                format!("a slot is free while a job waits; {}", self.summary())
            })?;
        }
        for (sweep, takes) in self.waiting().filter_map(|(sweep, row)| Some((*sweep, row.gpus?))) {
            let free = |of_worker: &BTreeMap<&str, (u32, u32)>| {
                of_worker.values().filter(|(_, busy)| *busy == 0).count()
            };
            let most = gpus.values().map(free).max().unwrap_or(0);
            rule(most < kept.max(takes) as usize, || {
                format!("GPUs are free while a job of {sweep} waits; {}", self.summary())
            })?;
        }
        self.waited = waited;
        Ok(())
    }

    /// The owners with a job that could start if it were their turn.
    pub(super) fn waiting_owners(&self) -> BTreeSet<String> {
        self.waiting().map(|(_, row)| row.owner.clone()).collect()
    }

    /// What the sweeps that go on have and want, in a line.
    pub(super) fn summary(&self) -> String {
        let rows = self.sweeps.iter().filter(|(_, row)| row.can_start() || row.running > 0).map(|(sweep, row)| {
            let Sweep { owner, priority, max_parallel, gpus, running, .. } = row;
            let quota = self.quotas.get(owner);
            let places = self.attempts.iter().filter(|(attempt, _)| attempt.job.sweep == *sweep);
            let places: Vec<_> = places.map(|(_, placed)| format!("{}/{:?}", placed.worker, placed.slots)).collect();
            format!(
                "sweep {sweep} of {owner} (quota {quota:?}, priority {priority}, at most {max_parallel:?}, GPUs {gpus:?}) runs {running} at {places:?}"
            )
        });
        let gpus = self.gpus();
        rows.chain(gpus.iter().map(|(worker, gpus)| format!("{worker}: {gpus:?}")))
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// The owners who were granted something since the last time.
    pub(super) fn take_served(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.served)
    }
}
