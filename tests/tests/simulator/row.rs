//! The leader's row of a store that coordinators share, as the statements of `store::postgres` treat it.

use domain::mutants::{self, Mutant};
use store::lead::{LeaderRow, Term};

/// The row.
#[derive(Debug)]
pub(super) struct Row(LeaderRow);

impl Row {
    /// That of a new store, which has no leader.
    pub(super) fn new() -> Self {
        Self(LeaderRow { term: Term(0), beat: 0, vacant: true, address: String::new() })
    }

    pub(super) fn read(&self) -> LeaderRow {
        self.0.clone()
    }

    pub(super) fn term(&self) -> Term {
        self.0.term
    }

    /// Adds to the beat; false where another leads.
    pub(super) fn beat(&mut self, term: Term) -> bool {
        let leads = self.0.term == term && !self.0.vacant;
        self.0.beat += i64::from(leads);
        leads
    }

    /// Whether a commit of a leader is kept.
    pub(super) fn keeps(&self, term: Term) -> bool {
        self.0.term == term || mutants::is_on(Mutant::CommitsAreNotFenced)
    }

    /// Makes the coordinator at `address` the leader, if the row is still as it was seen; its term.
    pub(super) fn replace(&mut self, seen: &LeaderRow, address: String) -> Option<Term> {
        if (self.0.term, self.0.beat) != (seen.term, seen.beat) {
            return None;
        }
        let raised = i64::from(!mutants::is_on(Mutant::TermsAreNotRaised));
        self.0 = LeaderRow { term: Term(seen.term.0 + raised), beat: 0, vacant: false, address };
        Some(self.0.term)
    }

    /// Leaves the place to whoever looks next.
    pub(super) fn vacate(&mut self, term: Term) {
        self.0.vacant |= self.0.term == term;
    }
}
