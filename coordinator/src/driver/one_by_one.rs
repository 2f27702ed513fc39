//! What is done after a commit that the store refused for its content: each input has a commit of its own, so that the one
//! which cannot be kept is found and no other is refused. What users ask is kept here meanwhile; workers send again by
//! themselves what was not acknowledged.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use engine::{AttemptEvent, Event};
use terms::AttemptKey;

/// How long inputs have commits of their own, unless the one that is looked for is found before: workers come back and
/// send again what they sent well within it.
const LOOKED_FOR: Duration = Duration::from_secs(30);
/// Attempts of which it is remembered that something they said cannot be kept; of more, the first are tried again.
const REFUSED_MAX: usize = 1_024;

/// What waits for a commit of its own.
#[expect(clippy::large_enum_variant, reason = "a few wait, for seconds, after a rare fault")]
#[derive(Debug)]
pub(super) enum Turn<A> {
    /// Something that happened.
    Event(Event),
    /// A command or a query.
    Asked(A),
}

/// Inputs that wait for a commit of their own.
#[derive(Debug)]
pub(super) struct OneByOne<A> {
    until: Duration,
    waiting: VecDeque<Turn<A>>,
    tried: Tried,
}

/// What the commit that runs is for.
#[derive(Debug)]
enum Tried {
    /// Something that a user asked.
    Asked,
    /// What a worker said of an attempt.
    Event(AttemptKey),
    /// No commit runs, or it is for what no one can be refused.
    Other,
}

impl<A> OneByOne<A> {
    /// The callers of a refused commit wait for commits of their own.
    pub(super) fn of(callers: Vec<A>, since_start: Duration) -> Self {
        let waiting = callers.into_iter().map(Turn::Asked).collect();
        Self { until: since_start + LOOKED_FOR, waiting, tried: Tried::Other }
    }

    /// Whether inputs wait.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the time to look for the input is over.
    pub(super) fn is_over(&self, since_start: Duration) -> bool {
        since_start >= self.until
    }

    /// Adds an input.
    pub(super) fn wait(&mut self, turn: Turn<A>) {
        self.waiting.push_back(turn);
    }

    /// The input whose turn it is.
    pub(super) fn next(&mut self) -> Option<Turn<A>> {
        let turn = self.waiting.pop_front();
        self.tried = match &turn {
            Some(Turn::Asked(_)) => Tried::Asked,
            Some(Turn::Event(Event::Attempt { attempt, .. })) => Tried::Event(*attempt),
            Some(Turn::Event(_)) | None => Tried::Other,
        };
        turn
    }

    /// The commit of the input whose turn it was is refused. An error where no one can be refused for it, or was already.
    pub(super) fn refused(&mut self, refusals: &mut Refusals, reason: &str) -> Result<(), ()> {
        // Workers send theirs again.
        self.waiting.retain(|turn| matches!(turn, Turn::Asked(_)));
        match std::mem::replace(&mut self.tried, Tried::Other) {
            Tried::Asked => Ok(()),
            Tried::Event(attempt) => refusals.add(attempt, reason),
            Tried::Other => Err(()),
        }
    }

    /// Who waits for an answer.
    pub(super) fn callers(self) -> impl Iterator<Item = A> {
        self.waiting.into_iter().filter_map(|turn| match turn {
            Turn::Asked(asked) => Some(asked),
            Turn::Event(_) => None,
        })
    }
}

/// Attempts whose workers said what cannot be kept, and why not.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<AttemptKey, String>);

impl Refusals {
    /// An error where the attempt was refused already.
    fn add(&mut self, attempt: AttemptKey, reason: &str) -> Result<(), ()> {
        tracing::error!(reason, %attempt, "what its worker said is refused");
        if self.0.insert(attempt, reason.replace(char::is_control, "\u{fffd}")).is_some() {
            return Err(());
        }
        if self.0.len() > REFUSED_MAX {
            self.0.pop_first();
        }
        Ok(())
    }

    /// What stands for a worker's word on an attempt of which the store could not keep the last one: that the attempt is
    /// unusable.
    pub(super) fn with_what_was_refused(&self, event: Event) -> Event {
        match event {
            Event::Attempt { session, sequence, attempt, event } => {
                let event = match self.0.get(&attempt) {
                    Some(reason) => AttemptEvent::Unusable(format!(
                        "the coordinator could not keep what the worker said of it: {reason}"
                    )),
                    None => event,
                };
                Event::Attempt { session, sequence, attempt, event }
            }
            event => event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::SessionId;

    fn event(job: u64) -> Event {
        let event = AttemptEvent::Unusable("as it was said".to_owned());
        Event::Attempt { session: SessionId(1), sequence: 1, attempt: AttemptKey::new(1, job, 1), event }
    }

    fn said(event: &Event) -> &str {
        match event {
            Event::Attempt { event: AttemptEvent::Unusable(reason), .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(events: impl IntoIterator<Item = Event>) -> OneByOne<()> {
        let mut inputs = OneByOne::of(Vec::new(), Duration::ZERO);
        events.into_iter().for_each(|event| inputs.wait(Turn::Event(event)));
        inputs
    }

    #[test]
    fn what_a_worker_says_again_and_cannot_be_kept_was_no_use() {
        let (mut inputs, mut refusals) = (waiting([event(1), event(2)]), Refusals::default());
        assert_eq!(said(&refusals.with_what_was_refused(event(1))), "as it was said");
        assert!(inputs.next().is_some());
        inputs.refused(&mut refusals, "too much").unwrap();
        assert!(!inputs.waits(), "workers say theirs again");
        assert!(said(&refusals.with_what_was_refused(event(1))).contains("could not keep"));
        assert_eq!(said(&refusals.with_what_was_refused(event(2))), "as it was said");
    }

    #[test]
    fn what_no_caller_can_be_refused_ends_the_driver() {
        let mut inputs = waiting([Event::Tick]);
        assert!(inputs.next().is_some());
        assert!(inputs.refused(&mut Refusals::default(), "too much").is_err());
    }

    #[test]
    fn an_attempt_that_was_refused_already_ends_the_driver() {
        let mut refusals = Refusals::default();
        for is_known in [false, true] {
            let mut inputs = waiting([event(1)]);
            assert!(inputs.next().is_some());
            assert_eq!(inputs.refused(&mut refusals, "too much").is_err(), is_known);
        }
    }
}
