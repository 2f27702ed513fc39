//! Who leads where coordinators share a store, as rules: what a coordinator does about the leader's row, given what it saw of
//! the row and when. No clock and no database: `postgres::leader` brings both, and the simulator brings its own.
//!
//! One row names the leader by its term, which each new leader raises. A commit counts only while the row has the term of
//! its leader. The leader adds to the row's beat; a follower that sees the beat stand still takes over. Each coordinator
//! measures durations on its own clock; no two clocks are compared.
//!
//! ```text
//!   Candidate   waits ── the row is vacant, its own, or stood still for SILENCE_MAX ──▶ takes the lead
//!                 ▲                                                                      │      │
//!                 └────────────────── the row is not as it was seen any more ────────────┘      │ the term is raised
//!                                                                                               ▼
//!   Tenure       over ◀── a beat finds another term, or none was kept for SILENCE_MAX ──── unconfirmed ◀─┐
//!                 ▲                                                             a beat is kept │         │ CONFIRMED_FOR
//!                 │                                                                            ▼         │ is over
//!                 └───────────────────────────── the same ───────────────────────────────── confirmed ───┘
//! ```

use std::time::Duration;

use domain::mutants::{self, Mutant};

/// How often a leader writes its beat.
pub const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a follower looks at the row.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a beat may stand still: a leader that cannot write it for so long steps down, and a follower takes
/// over. With the 3 s after which the server ends a transaction that stands still, a new leader is there in less
/// than 10 s.
pub const SILENCE_MAX: Duration = Duration::from_secs(4);
/// How long a beat confirms that no other coordinator leads. A follower saw the beat after it began and waits for
/// [`SILENCE_MAX`] from then on; the second in between is for clocks that run at different speeds.
pub const CONFIRMED_FOR: Duration = Duration::from_secs(3);

/// A leader's number. Each new leader has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub i64);

/// The row as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderRow {
    pub term: Term,
    /// Grows as long as the leader lives.
    pub beat: i64,
    /// The leader has laid the lead down.
    pub vacant: bool,
    /// Where the leader is reached.
    pub address: String,
}

/// A coordinator that wants to lead.
#[derive(Debug)]
pub struct Candidate {
    /// The term in which it led last.
    own: Option<Term>,
    seen: LeaderRow,
    /// When the row was first seen as it is.
    since: Duration,
}

/// What a candidate does next.
#[derive(Debug, PartialEq, Eq)]
pub enum NextStep<'a> {
    /// Raise the term, if the row is still this one. Otherwise look again.
    Replace(&'a LeaderRow),
    /// Look again after [`LOOK_INTERVAL`]. The leader is reached at this address.
    Wait(&'a str),
}

impl Candidate {
    /// One that has looked at the row for the first time. `now` must not be before the row was read.
    pub fn new(own: Option<Term>, seen: LeaderRow, now: Duration) -> Self {
        Self { own, seen, since: now }
    }

    /// It has looked again. `now` must not be before the row was read.
    pub fn saw(&mut self, row: LeaderRow, now: Duration) {
        if row != self.seen {
            (self.seen, self.since) = (row, now);
        }
    }

    pub fn next_step(&self, now: Duration) -> NextStep<'_> {
        let stands_still = now.saturating_sub(self.since) >= SILENCE_MAX;
        let is_own = self.own == Some(self.seen.term);
        if self.seen.vacant || stands_still || is_own || mutants::is_on(Mutant::LivingLeadersAreReplaced) {
            NextStep::Replace(&self.seen)
        } else {
            NextStep::Wait(&self.seen.address)
        }
    }
}

/// A coordinator's time as the leader, from the raised term on. What it commits is protected by the term; what it says without
/// a commit is true only while the tenure is confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Tenure {
    since: Duration,
    /// When the last beat that was kept began.
    last_beat: Option<Duration>,
}

/// What became of a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    Kept,
    /// The row has another term, or is vacant.
    Refused,
    /// It is not known whether it was kept.
    Failed,
}

/// Why a tenure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Another coordinator leads.
    Superseded,
    /// No beat was kept for [`SILENCE_MAX`].
    Silent,
}

impl Tenure {
    /// One that is not confirmed yet.
    pub fn new(now: Duration) -> Self {
        Self { since: now, last_beat: None }
    }

    /// How long a beat that begins now may take.
    pub fn patience(&self, now: Duration) -> Duration {
        SILENCE_MAX.saturating_sub(self.silent_for(now))
    }

    /// A beat that began at `begun` has ended.
    ///
    /// # Errors
    /// The tenure is over.
    pub fn beat_ended(&mut self, begun: Duration, now: Duration, beat: Beat) -> Result<(), Over> {
        match beat {
            Beat::Kept => self.last_beat = Some(begun),
            Beat::Refused => return Err(Over::Superseded),
            Beat::Failed if mutants::is_on(Mutant::SilentLeadersGoOn) => {}
            Beat::Failed if self.silent_for(now) >= SILENCE_MAX => return Err(Over::Silent),
            Beat::Failed => {}
        }
        Ok(())
    }

    /// Whether no other coordinator can lead now.
    pub fn is_confirmed(&self, now: Duration) -> bool {
        mutants::is_on(Mutant::LeadIsNotConfirmed)
            || self.last_beat.is_some_and(|begun| now.saturating_sub(begun) < CONFIRMED_FOR)
    }

    fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_beat.unwrap_or(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn row(term: i64, beat: i64) -> LeaderRow {
        LeaderRow { term: Term(term), beat, vacant: false, address: "http://leader".to_owned() }
    }

    fn waits(candidate: &Candidate, now: Duration) -> bool {
        candidate.next_step(now) == NextStep::Wait("http://leader")
    }

    #[test]
    fn a_candidate_takes_over_once_the_row_has_stood_still_since_it_was_first_seen() {
        let mut candidate = Candidate::new(None, row(1, 5), START);
        let (still, moved) = (SILENCE_MAX - Duration::from_millis(1), START + Duration::from_secs(3));
        assert!(waits(&candidate, START + still));
        candidate.saw(row(1, 6), moved);
        assert!(waits(&candidate, START + SILENCE_MAX));
        candidate.saw(row(1, 6), moved + still);
        assert!(waits(&candidate, moved + still));
        assert_eq!(candidate.next_step(moved + SILENCE_MAX), NextStep::Replace(&row(1, 6)));
    }

    #[test]
    fn a_new_leader_has_all_of_its_time() {
        let mut candidate = Candidate::new(None, row(1, 5), START);
        candidate.saw(row(2, 5), START + SILENCE_MAX);
        assert!(waits(&candidate, START + SILENCE_MAX));
    }

    #[test]
    fn a_lead_that_was_laid_down_or_was_its_own_is_taken_at_once() {
        let vacant = LeaderRow { vacant: true, ..row(3, 9) };
        let candidate = Candidate::new(None, vacant.clone(), START);
        assert_eq!(candidate.next_step(START), NextStep::Replace(&vacant));
        let candidate = Candidate::new(Some(Term(3)), row(3, 9), START);
        assert_eq!(candidate.next_step(START), NextStep::Replace(&row(3, 9)));
        assert!(waits(&Candidate::new(Some(Term(2)), row(3, 9), START), START));
    }

    #[test]
    fn a_leader_that_is_replaced_or_silent_for_too_long_steps_down() {
        let mut tenure = Tenure::new(START);
        let last = START + Duration::from_secs(1);
        assert_eq!(tenure.beat_ended(START, START, Beat::Failed), Ok(()));
        assert_eq!(tenure.beat_ended(last, last + BEAT_INTERVAL, Beat::Kept), Ok(()));
        assert_eq!(tenure.patience(last + BEAT_INTERVAL), SILENCE_MAX - BEAT_INTERVAL);
        let silent = last + SILENCE_MAX;
        assert_eq!(tenure.beat_ended(silent, silent - Duration::from_millis(1), Beat::Failed), Ok(()));
        assert_eq!(tenure.beat_ended(silent, silent, Beat::Failed), Err(Over::Silent));
        assert_eq!(tenure.beat_ended(last, last, Beat::Refused), Err(Over::Superseded));
    }

    #[test]
    fn a_lead_is_confirmed_from_the_beginning_of_a_beat_that_was_kept_and_for_less_than_others_wait() {
        let mut tenure = Tenure::new(START);
        assert!(!tenure.is_confirmed(START));
        let (begun, ended) = (START, START + Duration::from_secs(2));
        tenure.beat_ended(begun, ended, Beat::Kept).unwrap();
        assert!(tenure.is_confirmed(ended));
        assert!(!tenure.is_confirmed(begun + CONFIRMED_FOR));
        assert!(CONFIRMED_FOR < SILENCE_MAX && CONFIRMED_FOR > 2 * BEAT_INTERVAL);
    }
}
