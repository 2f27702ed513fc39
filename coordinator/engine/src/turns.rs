//! Whose turn it is, while free slots are given out: which owner's, and in which order each owner's sweeps get theirs.
//!
//! A free slot goes to the owner whose jobs hold the fewest slots for the weight of the owner's share, of those with a job that can start
//! there and room in their quota; and of this owner's sweeps to the one with the highest priority, the oldest first. Where shares are
//! equal, the turn goes round by start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): each grant puts its owner back by the slots
//! it takes for the weight, and who was away does not save up turns. Slots that jobs hold now count, not those that they had.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use terms::{SweepId, WorkerName};

use super::{Engine, Now, sweep_run::SweepRun};
use crate::mutants::{self, Mutant};

/// What is left of an owner's quota for sweeps before one.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftFor {
    /// The first of them.
    pub(super) sweep: SweepId,
    /// How many slots are left for all of them.
    pub(super) slots: u64,
}

/// A sweep with jobs to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) sweep: SweepId,
    /// How many GPUs a job takes, where it takes several.
    pub(super) gpus: u32,
    /// Slots that its jobs hold.
    held: u64,
    /// Slots that its owner's sweeps between the candidate before and this one hold, which have no job to start.
    held_between: u64,
    /// Its jobs take several GPUs, and some worker could run one more of them once other jobs have ended.
    has_place: bool,
    /// Where GPUs are kept for its next job: how many of them count as its owner's besides what the owner's jobs hold of them.
    kept: Option<u64>,
    /// Most slots that its owner may hold with one more job of it: the quota, without what is left for sweeps before it.
    slots_max: Option<u64>,
    left_for: Option<LeftFor>,
    /// It has had its turn.
    is_passed: bool,
}

impl Candidate {
    /// How many slots a job counts as.
    fn takes(&self) -> u64 {
        self.gpus.max(1).into()
    }

    /// How many more jobs there may be where the owner's jobs hold so many slots.
    fn room(&self, held: u64) -> u64 {
        self.slots_max.map_or(u64::MAX, |max| max.saturating_sub(held) / self.takes())
    }
}

/// An owner with jobs to start.
#[derive(Debug)]
struct Standing {
    number: usize,
    /// Slots that the owner's jobs hold, and those that are kept for jobs of the owner.
    slots: u64,
    /// Of the slots that the owner's jobs hold, those that are kept for jobs that wait for these to end.
    making_way: u64,
    quota: Option<u64>,
    weight: u32,
    turn: u64,
    oldest: SweepId,
    /// In the order of their turns.
    sweeps: Vec<Candidate>,
}

impl Standing {
    /// Whose turn is first.
    fn compare(&self, other: &Self) -> Ordering {
        let [own, theirs] = [self, other].map(|standing| standing.slots.saturating_sub(standing.making_way));
        let share = (own * u64::from(other.weight)).cmp(&(theirs * u64::from(self.weight)));
        if mutants::is_on(Mutant::SharesAreIgnored) {
            return self.oldest.cmp(&other.oldest);
        }
        share.then(self.turn.cmp(&other.turn)).then(self.oldest.cmp(&other.oldest))
    }

    /// The place of a sweep among the owner's.
    fn place_of(&self, sweep: SweepId) -> Option<usize> {
        self.sweeps.iter().position(|candidate| candidate.sweep == sweep)
    }

    /// Divides the quota. What the next job of a sweep takes that needs several GPUs is left for it by later sweeps until it starts:
    /// otherwise their jobs would take each slot that becomes free, and it would wait as long as they last. It is not where no worker
    /// could run that job, where earlier sweeps hold too many slots for it, or where GPUs are kept for it, which count already.
    fn divide(&mut self) {
        let Some(quota) = self.quota else { return };
        let (mut slots_max, mut left_for) = (quota, None);
        // What earlier sweeps hold, and what is left for them.
        let mut earlier = 0;
        for candidate in &mut self.sweeps {
            (candidate.slots_max, candidate.left_for) = (Some(slots_max), left_for);
            earlier += candidate.held_between + candidate.held;
            let takes = candidate.takes();
            if let Some(kept) = candidate.kept {
                earlier += kept;
            } else if candidate.has_place
                && earlier + takes <= quota
                && !mutants::is_on(Mutant::QuotasAreLeftToNoOne)
            {
                earlier += takes;
                slots_max = slots_max.saturating_sub(takes);
                let sweep = left_for.map_or(candidate.sweep, |left: LeftFor| left.sweep);
                left_for = Some(LeftFor { sweep, slots: quota - slots_max });
            }
        }
    }

    /// Jobs of the sweep at this place were granted, which hold so many slots.
    fn hold(&mut self, place: usize, slots: u64) {
        self.slots += slots;
        if let Some(candidate) = self.sweeps.get_mut(place) {
            candidate.held += slots;
        }
        self.divide();
    }

    /// Whether the quota leaves room for a job of a sweep.
    fn has_room(&self, candidate: &Candidate) -> bool {
        candidate.room(self.slots) > 0
    }
}

/// A job, or a pack of them, on slots that are kept for another one.
#[derive(Debug)]
pub(super) struct Holding {
    /// Its worker, and the number of the slot that runs it.
    pub(super) job: (WorkerName, u32),
    /// Its owner's number.
    pub(super) account: usize,
    /// How many slots it counts as.
    pub(super) slots: u64,
}

/// The sweeps with jobs to start, in the order in which free slots are given to them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// In the order of their turns.
    owners: Vec<Standing>,
    /// The jobs that make way for kept ones, by worker and by the slot that runs them, and how many of their slots count as kept for jobs
    /// of the same owner.
    making_way: BTreeMap<(WorkerName, u32), u64>,
}

impl Turns {
    /// Whether no sweep has a job to start.
    pub(super) fn are_over(&self) -> bool {
        self.owners.is_empty()
    }

    /// The sweeps whose owners have room for a job of theirs, in their order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.owners.iter().flat_map(|standing| {
            standing.sweeps.iter().filter(|candidate| standing.has_room(candidate)).copied()
        })
    }

    /// The sweeps before the first whose jobs take several GPUs and that has not had its turn.
    pub(super) fn before_several(&self) -> impl Iterator<Item = SweepId> + '_ {
        self.in_order().take_while(|next| next.gpus <= 1 || next.is_passed).map(|next| next.sweep)
    }

    /// The first sweep whose jobs take several GPUs and that has not had its turn.
    pub(super) fn next_of_several(&self) -> Option<SweepId> {
        self.in_order().find(|next| next.gpus > 1 && !next.is_passed).map(|next| next.sweep)
    }

    /// The sweeps of each owner that are wanted, in order.
    pub(super) fn by_owner(&self, is_wanted: impl Fn(SweepId) -> bool) -> Vec<Vec<SweepId>> {
        let of_owner = |standing: &Standing| -> Vec<SweepId> {
            standing.sweeps.iter().map(|next| next.sweep).filter(|sweep| is_wanted(*sweep)).collect()
        };
        self.owners.iter().map(of_owner).filter(|sweeps| !sweeps.is_empty()).collect()
    }

    /// The place of the owner of a sweep.
    fn place_of(&self, sweep: SweepId) -> Option<usize> {
        self.owners.iter().position(|standing| standing.place_of(sweep).is_some())
    }

    /// Whether the quota of a sweep's owner has room for a job of the sweep, whatever it leaves for others, once `making_way` of the slots
    /// that the owner's jobs hold are free.
    pub(super) fn fits_quota(&self, sweep: SweepId, making_way: u64) -> bool {
        let owner = self.place_of(sweep).map(|place| &self.owners[place]);
        owner.is_some_and(|owner| {
            let takes = owner.place_of(sweep).map(|place| owner.sweeps[place].takes());
            let slots = owner.slots.saturating_sub(making_way);
            takes.is_some_and(|takes| owner.quota.is_none_or(|quota| slots + takes <= quota))
        })
    }

    /// Whether a sweep comes before another one of the same owner.
    pub(super) fn is_own_before(&self, sweep: SweepId, other: SweepId) -> bool {
        let owner = self.place_of(other).map(|place| &self.owners[place]);
        owner.is_some_and(|owner| {
            owner.place_of(sweep).is_some_and(|place| Some(place) < owner.place_of(other))
        })
    }

    /// The sweep has had its turn: nothing more can be done for it.
    pub(super) fn pass(&mut self, sweep: SweepId) {
        let mut all = self.owners.iter_mut().flat_map(|standing| &mut standing.sweeps);
        if let Some(candidate) = all.find(|candidate| candidate.sweep == sweep) {
            candidate.is_passed = true;
        }
    }

    /// Slots are kept for a job of the sweep: for the rest of the turn they count as its owner's, and no longer as those of the owners
    /// whose jobs still hold so many of them. What the owner's own jobs hold of them does not count twice, nor does a job that makes way
    /// for several.
    pub(super) fn kept(&mut self, sweep: SweepId, slots: u64, held: Vec<Holding>) {
        let Some(place) = self.place_of(sweep) else { return };
        let (mut more, owner) = (slots, self.owners[place].number);
        for Holding { job, account, slots } in held {
            let is_first = !self.making_way.contains_key(&job);
            let claimed = self.making_way.entry(job).or_default();
            let twice = if account == owner { more.min(slots - *claimed) } else { 0 };
            *claimed += twice;
            more -= twice;
            if let Some(standing) = self.owners.iter_mut().find(|standing| standing.number == account) {
                standing.making_way += if is_first { slots } else { 0 };
                standing.making_way -= twice;
            }
        }
        let owner = &mut self.owners[place];
        owner.slots += more;
        if let Some(place) = owner.place_of(sweep) {
            owner.sweeps[place].kept = Some(more);
        }
        owner.divide();
        self.owners.sort_by(Standing::compare);
    }

    /// Puts the owner of this number back until `turn`, of whose sweep a job was granted that holds so many slots; `has_place` says whether
    /// one more of several GPUs could have a place. Whether the order is still the same, and the quota leaves room for another one.
    fn granted(&mut self, number: usize, turn: u64, (sweep, slots, has_place): (SweepId, u64, bool)) -> bool {
        let Some(place) = self.owners.iter().position(|standing| standing.number == number) else {
            return false;
        };
        let owner = &mut self.owners[place];
        let Some(own) = owner.place_of(sweep) else { return false };
        owner.turn = turn;
        owner.sweeps[own].has_place = has_place;
        owner.hold(own, slots);
        let (mut now, has_room) = (place, owner.has_room(&owner.sweeps[own]));
        // The others are in order, and the owner only comes later.
        while now + 1 < self.owners.len() && self.owners[now].compare(&self.owners[now + 1]).is_gt() {
            self.owners.swap(now, now + 1);
            now += 1;
        }
        now == place && has_room
    }
}

/// The order of one owner's sweeps.
pub(super) fn order(run: &SweepRun) -> (Reverse<i32>, SweepId) {
    let priority = match mutants::is_on(Mutant::PrioritiesAreIgnored) {
        true => 0,
        false => run.definition().execution.priority,
    };
    (Reverse(priority), run.id())
}

impl Engine {
    /// How many jobs would start at once if there were slots for them, as far as `max_parallel` and quotas allow.
    pub(super) fn startable_jobs(&self, now: Now) -> u64 {
        let of_owner = |mut standing: Standing| {
            let started = (0..standing.sweeps.len()).map(|place| {
                let candidate = standing.sweeps[place];
                let room = self.sweeps.get(candidate.sweep).map_or(0, SweepRun::room);
                let jobs = room.min(candidate.room(standing.slots));
                standing.sweeps[place].has_place &= jobs < room;
                standing.hold(place, jobs * candidate.takes());
                jobs
            });
            started.fold(0, u64::saturating_add)
        };
        self.turns(now).owners.into_iter().map(of_owner).fold(0, u64::saturating_add)
    }

    /// What is left of quotas for sweeps whose jobs take several GPUs, by the later sweeps that it is left from.
    pub(super) fn left_of_quotas(&self, now: Now) -> BTreeMap<SweepId, LeftFor> {
        if !self.shares.have_quotas() {
            return BTreeMap::new();
        }
        let candidates = self.turns(now).owners.into_iter().flat_map(|owner| owner.sweeps);
        candidates.filter_map(|candidate| Some((candidate.sweep, candidate.left_for?))).collect()
    }

    /// The order in which free slots are given out now.
    pub(super) fn turns(&self, now: Now) -> Turns {
        let held = self.slots_held();
        let mut runs: Vec<&SweepRun> =
            self.sweeps.moving().filter(|run| run.can_start() || run.slots_held() > 0).collect();
        // Those of one owner without priorities are in order already.
        runs.sort_unstable_by_key(|run| (run.account(), order(run)));
        let of_owner = |runs: &[&SweepRun]| {
            let number = runs.first()?.account();
            let account = self.shares.account(number)?;
            let slots = held.get(number).copied().unwrap_or(0);
            let quota = account.quota.map(u64::from);
            let mut sweeps = self.candidates(runs);
            if let Some(quota) = quota {
                self.find_places(now, &mut sweeps, quota);
            }
            let oldest = sweeps.iter().map(|candidate| candidate.sweep).min()?;
            let (weight, turn) = (account.weight, account.turn);
            let mut owner = Standing { number, slots, making_way: 0, quota, weight, turn, oldest, sweeps };
            owner.divide();
            Some(owner)
        };
        let owners = runs.chunk_by(|one, other| one.account() == other.account());
        let mut owners: Vec<Standing> = owners.filter_map(of_owner).collect();
        owners.sort_by(Standing::compare);
        Turns { owners, making_way: BTreeMap::new() }
    }

    /// Finds out which sweeps of an owner with a quota have a place for one more job of several GPUs, as far as that matters: the quota
    /// allows as much at once, and later sweeps could leave it to them.
    fn find_places(&self, now: Now, sweeps: &mut [Candidate], quota: u64) {
        let Some((_, before)) = sweeps.split_last_mut() else { return };
        for candidate in before.iter_mut().filter(|candidate| candidate.takes() <= quota) {
            let run = self.sweeps.get(candidate.sweep);
            candidate.has_place = run.is_some_and(|run| self.has_place_for_several(now, run));
        }
    }

    /// Of an owner's sweeps in their order, those with a job that can start.
    fn candidates(&self, runs: &[&SweepRun]) -> Vec<Candidate> {
        let mut held_between = 0;
        let mut candidates = Vec::new();
        for run in runs {
            if !run.can_start() {
                held_between += run.slots_held();
                continue;
            }
            candidates.push(Candidate {
                sweep: run.id(),
                gpus: run.gpus(),
                held: run.slots_held(),
                held_between: std::mem::take(&mut held_between),
                has_place: false,
                kept: self.kept_besides(run),
                slots_max: None,
                left_for: None,
                is_passed: false,
            });
        }
        candidates
    }

    /// A job of the sweep was granted that takes so many slots: its owner's turn comes later. Whether the order is still the same, and
    /// the quota leaves room for another one.
    pub(super) fn has_turn_again(&mut self, now: Now, turns: &mut Turns, sweep: SweepId, slots: u64) -> bool {
        let Some(number) = self.sweeps.get(sweep).map(SweepRun::account) else { return false };
        self.shares.granted(number, slots);
        let (Some(run), Some(account)) = (self.sweeps.get(sweep), self.shares.account(number)) else {
            return false;
        };
        let has_place = account.quota.is_some() && self.has_place_for_several(now, run);
        turns.granted(number, account.turn, (sweep, slots, has_place))
    }
}
