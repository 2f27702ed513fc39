//! The shares of the owners of sweeps: their quotas, what they hold of the slots, and when their turns are.

use std::{collections::BTreeMap, sync::Arc};

use domain::record::{Quota, Record};
use terms::count;

use super::{
    ControlError, Engine, Output,
    sweep_run::SweepRun,
    turns::{LeftFor, order},
};
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
pub(super) struct Account {
    pub(super) quota: Option<u32>,
    pub(super) weight: u32,
    /// When the next turn is, on the clock of turns. Not durable: a restart only begins the round again.
    pub(super) turn: u64,
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

    /// Whether any owner has one.
    pub(super) fn have_quotas(&self) -> bool {
        self.quotas.values().any(|quota| quota.slots.is_some())
    }

    /// What is known of the owner of this number.
    pub(super) fn account(&self, number: usize) -> Option<&Account> {
        self.accounts.get(number)
    }

    /// Puts an owner back who was granted slots.
    pub(super) fn granted(&mut self, number: usize, slots: u64) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        self.turn = self.turn.max(account.turn);
        account.turn = self.turn.saturating_add(slots * ROUND / u64::from(account.weight.max(1)));
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

    /// How many more jobs of the sweep its owner's quota has room for, next to its own and those of the owner's earlier sweeps: those of
    /// later ones are followed by its own as they end.
    pub(super) fn room_in_quota(&self, run: &SweepRun) -> u64 {
        let quota = self.shares.accounts.get(run.account()).and_then(|account| account.quota);
        let Some(quota) = quota else { return u64::MAX };
        let is_own = |other: &&SweepRun| other.account() == run.account() && order(other) <= order(run);
        let held: u64 = self.sweeps.moving().filter(is_own).map(SweepRun::slots_held).sum();
        u64::from(quota).saturating_sub(held) / u64::from(run.gpus().max(1))
    }

    /// Whose quota leaves no room for a job of the sweep, for people; `left` is what is left of it for earlier sweeps.
    pub(super) fn lacks_quota(&self, run: &SweepRun, held: &[u64], left: Option<&LeftFor>) -> Option<String> {
        let Share { slots, quota, .. } = self.share_of(run, held)?;
        let quota = quota?;
        let takes = run.gpus().max(1);
        let kept = self.kept_beside(run);
        let wanted = slots + kept + u64::from(takes);
        let left = left.filter(|left| wanted + left.slots > quota.into());
        if wanted <= quota.into() && left.is_none() {
            return None;
        }
        let owner = run.owner().map(|owner| &**owner).unwrap_or_default();
        let mut reasons =
            vec![format!("the jobs of {owner} hold {} of a quota of {quota}", count(slots, "slot"))];
        if kept > 0 {
            reasons.push(format!("{kept} more are kept for jobs with several GPUs"));
        }
        if let Some(LeftFor { sweep, slots }) = left {
            reasons
                .push(format!("{slots} are left for jobs with several GPUs, those of sweep {sweep} first"));
        }
        if takes > 1 {
            reasons.push(format!("a job takes {takes} at once"));
        }
        Some(match reasons.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{}, and {last}", first.join(", ")),
            _ => reasons.concat(),
        })
    }
}
