//! Whose turn it is: how the slots are shared among the owners of sweeps, and in which order each owner's sweeps get theirs.
//!
//! A free slot goes to the owner whose jobs hold the fewest slots for the weight of the owner's share, of those with a job that can start
//! there and room in their quota; and of this owner's sweeps to the one with the highest priority, the oldest first. Where shares are
//! equal, the turn goes round by start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): each grant puts its owner back by the slots
//! it takes for the weight, and who was away does not save up turns. Slots that jobs hold now count, not those that they had.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    sync::Arc,
};

use domain::record::{Quota, Record};
use terms::{SweepId, WorkerName, count};

use super::{ControlError, Engine, Output, sweep_run::SweepRun};
use crate::mutants::{self, Mutant};

/// Quotas that hold: one for each person of a large organisation.
pub(super) const QUOTAS_MAX: usize = 10_000;

/// How far a slot of weight 1 puts its owner back. With weights up to 1,000, the remainders do not matter.
const ROUND: u64 = 1_000_000;

/// What an owner has of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Slots that the jobs of the owner's sweeps hold.
    pub slots: u64,
    /// Most that they may hold.
    pub quota: Option<u32>,
    /// How large the share is next to those of others.
    pub weight: u32,
}

/// A quota, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaView {
    pub quota: Quota,
    /// Slots that the owner's jobs hold.
    pub slots: u64,
    /// Whether a sweep is the owner's, or was since this engine began.
    pub has_sweeps: bool,
}

/// An owner of sweeps.
#[derive(Debug)]
struct Account {
    quota: Option<u32>,
    weight: u32,
    /// When the next turn is, on the clock of turns. Not durable: a restart only begins the round again.
    turn: u64,
}

/// The owners of sweeps and their quotas.
#[derive(Debug, Default)]
pub(super) struct Shares {
    accounts: Vec<Account>,
    numbers: BTreeMap<Option<Arc<str>>, usize>,
    /// Those that hold: one that was lifted says what holds without any.
    quotas: BTreeMap<String, Quota>,
    /// The clock of turns.
    turn: u64,
}

impl Shares {
    /// The number of an owner, who has one from now on.
    pub(super) fn number_of(&mut self, owner: Option<&Arc<str>>) -> usize {
        if let Some(number) = self.numbers.get(&owner.cloned()) {
            return *number;
        }
        let quota = owner.and_then(|owner| self.quotas.get(&**owner));
        let (quota, weight) = quota.map_or((None, 1), |quota| (quota.slots, quota.weight));
        self.accounts.push(Account { quota, weight, turn: 0 });
        self.numbers.insert(owner.cloned(), self.accounts.len() - 1);
        self.accounts.len() - 1
    }

    /// Takes a quota over.
    pub(super) fn keep(&mut self, quota: Quota) {
        let owner: Option<Arc<str>> = Some(quota.owner.as_str().into());
        let number = self.numbers.get(&owner);
        if let Some(account) = number.and_then(|number| self.accounts.get_mut(*number)) {
            (account.quota, account.weight) = (quota.slots, quota.weight);
        }
        if quota.is_lifted() {
            self.quotas.remove(&quota.owner);
        } else {
            self.quotas.insert(quota.owner.clone(), quota);
        }
    }

    /// Whether this one would be one too many.
    fn is_full_for(&self, quota: &Quota) -> bool {
        self.quotas.len() >= QUOTAS_MAX && !quota.is_lifted() && !self.quotas.contains_key(&quota.owner)
    }

    /// Puts an owner back who was granted slots.
    fn granted(&mut self, number: usize, slots: u64) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        self.turn = self.turn.max(account.turn);
        account.turn = self.turn.saturating_add(slots * ROUND / u64::from(account.weight.max(1)));
    }
}

/// A sweep with jobs to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) sweep: SweepId,
    /// How many GPUs a job takes, where it takes several.
    pub(super) gpus: u32,
    /// It has had its turn.
    is_passed: bool,
}

/// An owner with jobs to start.
#[derive(Debug)]
struct Standing {
    number: usize,
    /// Slots that the owner's jobs hold, and those that are kept for jobs of the owner.
    slots: u64,
    /// Of the slots that the owner's jobs hold, those that are kept for jobs that wait for these to end.
    making_way: u64,
    quota: Option<u32>,
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

    /// Whether the quota leaves so many slots.
    fn has_room(&self, slots: u64) -> bool {
        self.quota.is_none_or(|quota| self.slots + slots <= quota.into())
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
            let has_room = |candidate: &&Candidate| standing.has_room(candidate.gpus.max(1).into());
            standing.sweeps.iter().filter(has_room).copied()
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

    /// Whether the quota of a sweep's owner leaves room for a job of the sweep.
    pub(super) fn has_room_for(&self, sweep: SweepId) -> bool {
        let owner = self.place_of(sweep).map(|place| &self.owners[place]);
        owner.is_some_and(|owner| {
            let candidate = owner.place_of(sweep).map(|place| &owner.sweeps[place]);
            candidate.is_some_and(|candidate| owner.has_room(candidate.gpus.max(1).into()))
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
        self.owners[place].slots += more;
        self.owners.sort_by(Standing::compare);
    }

    /// Puts the owner back. Whether the order is still the same, and the quota leaves as much once more.
    fn granted(&mut self, number: usize, slots: u64, turn: u64) -> bool {
        let Some(place) = self.owners.iter().position(|standing| standing.number == number) else {
            return false;
        };
        self.owners[place].slots += slots;
        self.owners[place].turn = turn;
        let (mut now, has_room) = (place, self.owners[place].has_room(slots));
        // The others are in order, and the owner only comes later.
        while now + 1 < self.owners.len() && self.owners[now].compare(&self.owners[now + 1]).is_gt() {
            self.owners.swap(now, now + 1);
            now += 1;
        }
        now == place && has_room
    }
}

impl Engine {
    /// Takes over the quotas that a store holds.
    #[must_use]
    pub fn with_quotas(mut self, quotas: Vec<Quota>) -> Self {
        if !mutants::is_on(Mutant::QuotasAreForgotten) {
            quotas.into_iter().for_each(|quota| self.shares.keep(quota));
        }
        self
    }

    /// Sets an owner's quota, or lifts it.
    pub(super) fn keep_quota(&mut self, quota: Quota, out: &mut Output) -> Result<QuotaView, ControlError> {
        if self.shares.is_full_for(&quota) {
            return Err(ControlError::TooManyQuotas);
        }
        self.shares.keep(quota.clone());
        out.records.push(Record::QuotaKept(Box::new(quota.clone())));
        Ok(self.view_of_quota(quota, &self.slots_held()))
    }

    /// The quotas that hold, in the order of their owners.
    pub(super) fn quotas(&self) -> Vec<QuotaView> {
        let held = self.slots_held();
        self.shares.quotas.values().map(|quota| self.view_of_quota(quota.clone(), &held)).collect()
    }

    fn view_of_quota(&self, quota: Quota, held: &[u64]) -> QuotaView {
        let number = self.shares.numbers.get(&Some(quota.owner.as_str().into()));
        let slots = number.and_then(|number| held.get(*number).copied()).unwrap_or(0);
        QuotaView { quota, slots, has_sweeps: number.is_some() }
    }

    /// How many slots the jobs of each owner hold, by the owner's number.
    pub(super) fn slots_held(&self) -> Vec<u64> {
        let mut held = vec![0; self.shares.accounts.len()];
        for run in self.sweeps.moving() {
            if let Some(held) = held.get_mut(run.account()) {
                *held += run.slots_held();
            }
        }
        held
    }

    /// What the owner of a sweep has, where `held` says how many slots each has.
    pub(super) fn share_of(&self, run: &SweepRun, held: &[u64]) -> Option<Share> {
        let account = self.shares.accounts.get(run.account())?;
        let slots = held.get(run.account()).copied().unwrap_or(0);
        Some(Share { slots, quota: account.quota, weight: account.weight })
    }

    /// Whose quota leaves no room for a job of the sweep, for people.
    pub(super) fn lacks_quota(&self, run: &SweepRun, held: &[u64]) -> Option<String> {
        let Share { slots, quota, .. } = self.share_of(run, held)?;
        let quota = quota?;
        let takes = run.gpus().max(1);
        let kept = self.kept_beside(run);
        if slots + kept + u64::from(takes) <= quota.into() {
            return None;
        }
        let owner = run.owner().map(|owner| &**owner).unwrap_or_default();
        let held = format!("the jobs of {owner} hold {} of a quota of {quota}", count(slots, "slot"));
        let kept = (kept > 0).then(|| format!("{kept} more are kept for jobs with several GPUs"));
        let takes = (takes > 1).then(|| format!("a job takes {takes} at once"));
        Some(match (kept, takes) {
            (Some(kept), Some(takes)) => format!("{held}, {kept}, and {takes}"),
            (Some(one), None) | (None, Some(one)) => format!("{held}, and {one}"),
            (None, None) => held,
        })
    }

    /// How many jobs would start at once if there were slots for them, as far as `max_parallel` and quotas allow.
    pub(super) fn startable_jobs(&self) -> u64 {
        let of_owner = |standing: Standing| {
            let mut left = standing.quota.map(|quota| u64::from(quota).saturating_sub(standing.slots));
            let started = standing.sweeps.into_iter().map(|Candidate { sweep, gpus, .. }| {
                let takes = u64::from(gpus.max(1));
                let room = self.sweeps.get(sweep).map_or(0, SweepRun::room);
                let jobs = left.map_or(room, |left| room.min(left / takes));
                left = left.map(|left| left - jobs * takes);
                jobs
            });
            started.fold(0, u64::saturating_add)
        };
        self.turns().owners.into_iter().map(of_owner).fold(0, u64::saturating_add)
    }

    /// The order in which free slots are given out now.
    pub(super) fn turns(&self) -> Turns {
        let held = self.slots_held();
        let candidate = |run: &SweepRun| {
            let priority = match mutants::is_on(Mutant::PrioritiesAreIgnored) {
                true => 0,
                false => run.definition().execution.priority,
            };
            (run.account(), Reverse(priority), run.id(), run.gpus())
        };
        let startable = self.sweeps.running().filter(|run| run.can_start());
        let mut candidates: Vec<_> = startable.map(candidate).collect();
        // Those of one owner without priorities are in order already.
        candidates.sort_unstable();
        let mut turns: Vec<Standing> = Vec::new();
        for (number, _, sweep, gpus) in candidates {
            let candidate = Candidate { sweep, gpus, is_passed: false };
            if let Some(last) = turns.last_mut().filter(|last| last.number == number) {
                last.oldest = last.oldest.min(sweep);
                last.sweeps.push(candidate);
                continue;
            }
            let Some(account) = self.shares.accounts.get(number) else { continue };
            turns.push(Standing {
                number,
                slots: held.get(number).copied().unwrap_or(0),
                making_way: 0,
                quota: account.quota,
                weight: account.weight,
                turn: account.turn,
                oldest: sweep,
                sweeps: vec![candidate],
            });
        }
        turns.sort_by(Standing::compare);
        Turns { owners: turns, making_way: BTreeMap::new() }
    }

    /// A job of the sweep was granted that takes so many slots: its owner's turn comes later. Whether the order is still the same, and
    /// the quota leaves as much once more.
    pub(super) fn has_turn_again(&mut self, turns: &mut Turns, sweep: SweepId, slots: u64) -> bool {
        let Some(number) = self.sweeps.get(sweep).map(SweepRun::account) else { return false };
        self.shares.granted(number, slots);
        let turn = self.shares.accounts.get(number).map_or(0, |account| account.turn);
        turns.granted(number, slots, turn)
    }
}
