//! What is done after a commit that the store refused for what is in it: the inputs behind it are tried again, each in a
//! commit for itself, so that the one which cannot be kept is refused and no other suffers. What users ask is kept here
//! meanwhile; workers say again by themselves what was not acknowledged.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use engine::{AttemptEvent, Event};
use terms::AttemptKey;

use super::{asked::Asked, handle::CallError};

/// How long inputs have commits for themselves, unless the one that is looked for is found before: workers come back and
/// say again what they said well within it.
const LOOKED_FOR: Duration = Duration::from_secs(30);
/// Attempts of which it is remembered that something they said cannot be kept; of more, the first are asked again.
const REFUSED_MAX: usize = 1_024;

/// What waits for a commit of its own.
#[expect(clippy::large_enum_variant, reason = "a few wait, for seconds, after a rare fault")]
#[derive(Debug)]
pub(super) enum Turn {
    /// Something that happened.
    Event(Event),
    /// A command or a query.
    Asked(Box<dyn Asked>),
}

/// Inputs that wait for a commit of their own.
#[derive(Debug, Default)]
pub(super) struct OneByOne {
    until: Option<Instant>,
    waiting: VecDeque<Turn>,
    /// The one whose commit runs, where it is a worker's word on an attempt.
    tried: Option<Tried>,
    /// Attempts whose workers said what cannot be kept, and why not.
    refused: BTreeMap<AttemptKey, String>,
}

/// What the commit that runs is for.
#[derive(Debug)]
enum Tried {
    /// Something that a user asked.
    Asked,
    /// A worker's word on an attempt.
    Event(AttemptKey),
    /// What nobody can be refused.
    Other,
}

impl OneByOne {
    /// Whether each input has a commit for itself now.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// Whether inputs wait for theirs.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Adds an input.
    pub(super) fn wait(&mut self, turn: Turn) {
        self.waiting.push_back(turn);
    }

    /// The input whose turn it is.
    pub(super) fn next(&mut self) -> Option<Turn> {
        self.tried = None;
        let Some(turn) = self.waiting.pop_front() else {
            self.until = self.until.filter(|until| Instant::now() < *until);
            return None;
        };
        self.tried = self.until.map(|_| match &turn {
            Turn::Asked(_) => Tried::Asked,
            Turn::Event(Event::Attempt { attempt, .. }) => Tried::Event(*attempt),
            Turn::Event(_) => Tried::Other,
        });
        Some(turn)
    }

    /// What stands for a worker's word on an attempt of which the store could not keep the last one: that it was no use.
    pub(super) fn with_what_was_refused(&self, event: Event) -> Event {
        match event {
            Event::Attempt { session, sequence, attempt, event } => {
                let event = match self.refused.get(&attempt) {
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

    /// The store has refused a commit, of which `asked` wait for their answers. An error where it was for one input that
    /// nobody can be refused, or was refused already.
    pub(super) fn refused(&mut self, reason: &str, asked: Vec<Box<dyn Asked>>) -> Result<(), ()> {
        tracing::error!(reason, "the store refused a commit; what it was for is looked for");
        // Workers say theirs again.
        self.waiting.retain(|turn| matches!(turn, Turn::Asked(_)));
        match self.tried.take() {
            None => {
                let again = asked.into_iter().map(Turn::Asked);
                let later = std::mem::take(&mut self.waiting);
                self.waiting = again.chain(later).collect();
                self.until = Some(Instant::now() + LOOKED_FOR);
                return Ok(());
            }
            Some(Tried::Asked) => {
                for asked in asked {
                    tracing::error!(reason, ?asked, "refused");
                    asked.fail(CallError::Unfit(reason.to_owned()));
                }
            }
            Some(Tried::Event(attempt)) => {
                tracing::error!(reason, %attempt, "what its worker said is refused");
                if self.refused.insert(attempt, reason.replace(char::is_control, "\u{fffd}")).is_some() {
                    return Err(());
                }
                if self.refused.len() > REFUSED_MAX {
                    self.refused.pop_first();
                }
            }
            Some(Tried::Other) => return Err(()),
        }
        // Found. Those that wait still have commits for themselves.
        if self.waiting.is_empty() {
            self.until = None;
        }
        Ok(())
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

    #[test]
    fn what_a_worker_says_again_and_cannot_be_kept_was_no_use() {
        let mut inputs = OneByOne::default();
        assert_eq!(said(&inputs.with_what_was_refused(event(1))), "as it was said");
        inputs.refused("too much", Vec::new()).unwrap();
        assert!(inputs.is_on());
        inputs.wait(Turn::Event(event(1)));
        inputs.wait(Turn::Event(event(2)));
        assert!(inputs.next().is_some());
        inputs.refused("too much", Vec::new()).unwrap();
        assert!(!inputs.waits(), "workers say theirs again");
        assert!(said(&inputs.with_what_was_refused(event(1))).contains("could not keep"));
        assert_eq!(said(&inputs.with_what_was_refused(event(2))), "as it was said");
    }

    #[test]
    fn what_nobody_can_be_refused_ends_the_driver() {
        let mut inputs = OneByOne::default();
        inputs.refused("too much", Vec::new()).unwrap();
        inputs.wait(Turn::Event(Event::Tick));
        assert!(inputs.next().is_some());
        assert!(inputs.refused("too much", Vec::new()).is_err());
    }
}
