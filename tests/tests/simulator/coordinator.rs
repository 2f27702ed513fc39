//! A machine with a coordinator. Alone on its store, its process leads as soon as it runs. With others, it competes for the lead
//! by the store's real rules, over a simulated row.

use std::time::Duration;

use store::lead::{CONFIRMED_FOR, Candidate, LeaderRow, SILENCE_MAX, Tenure, Term};

use super::hub::Hub;

/// A coordinator's process, and its time as the leader or as a follower: another one drops what was meant for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// Whose.
    pub(super) of: usize,
    number: u32,
}

/// A machine.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) life: Life,
    pub(super) part: Part,
    /// The term in which its process led last.
    pub(super) own: Option<Term>,
    /// Frozen until then. What arrives meanwhile waits.
    pub(super) frozen_until: u64,
    /// Until then the store does not hear it.
    pub(super) cut_off_until: u64,
}

/// What its process does.
#[derive(Debug)]
pub(super) enum Part {
    /// There is none.
    Gone,
    /// It wants to lead.
    Follows(Follower),
    Leads(Box<Leader>),
}

/// A coordinator that another one leads.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// None before it has looked at the row.
    pub(super) candidate: Option<Candidate>,
    /// The row on its way to it.
    pub(super) looked: Option<LeaderRow>,
}

/// A coordinator that leads, as far as it knows.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) term: Term,
    /// None where it is alone on its store.
    pub(super) tenure: Option<Tenure>,
    /// Since when it leads, and when its last beat that was kept began, by the simulator's own account.
    pub(super) since: u64,
    pub(super) last_beat: Option<u64>,
    /// None until the store is loaded.
    pub(super) hub: Option<Hub>,
}

impl Leader {
    pub(super) fn leads_surely(&self, now: u64) -> bool {
        self.tenure.is_none_or(|tenure| tenure.is_confirmed(Duration::from_millis(now)))
    }
}

impl Coordinator {
    pub(super) fn new(of: usize) -> Self {
        Self { life: Life { of, number: 0 }, part: Part::Gone, own: None, frozen_until: 0, cut_off_until: 0 }
    }

    /// Does something else from now on; what it did before.
    pub(super) fn turns_to(&mut self, part: Part) -> Part {
        self.life.number += 1;
        std::mem::replace(&mut self.part, part)
    }

    pub(super) fn leader(&mut self) -> Option<&mut Leader> {
        match &mut self.part {
            Part::Leads(leader) => Some(leader),
            Part::Gone | Part::Follows(_) => None,
        }
    }

    /// The driver and its engine, where it leads and has loaded the store.
    pub(super) fn hub(&mut self, now: u64) -> Option<&mut Hub> {
        let leader = self.leader()?;
        let leads_surely = leader.leads_surely(now);
        let hub = leader.hub.as_mut()?;
        hub.leads_surely = leads_surely;
        Some(hub)
    }

    /// Whether it has a driver, which may be that of a leader that was replaced.
    pub(super) fn has_hub(&self) -> bool {
        matches!(&self.part, Part::Leads(leader) if leader.hub.is_some())
    }

    /// Whether a beat confirms that no other leads; also while it is frozen.
    pub(super) fn is_confirmed(&self, now: u64) -> bool {
        let confirmed_ms = CONFIRMED_FOR.as_millis() as u64;
        let Part::Leads(leader) = &self.part else { return false };
        leader.last_beat.is_some_and(|begun| now < begun + confirmed_ms)
    }

    /// Whether it leads although the store has taken no beat for too long. A beat that begins may take its time.
    pub(super) fn is_silent(&self, now: u64, beat_takes_ms: u64) -> bool {
        let Part::Leads(leader) = &self.part else { return false };
        let heard_ms = leader.last_beat.unwrap_or(leader.since) + SILENCE_MAX.as_millis() as u64;
        leader.tenure.is_some() && now > heard_ms.max(self.frozen_until) + beat_takes_ms
    }
}
