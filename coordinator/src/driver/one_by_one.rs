//! What is done after a commit that the store refused for what is in it: the inputs behind it are tried again, each in a
//! commit for itself, so that the one which cannot be kept is refused and no other suffers. What users ask is kept here
//! meanwhile; workers say again by themselves what was not acknowledged.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use engine::{AttemptEvent, Input};
use terms::AttemptKey;

use super::handle::{CallError, Caller};

/// How long inputs have commits for themselves, unless the one that is looked for is found before: workers come back and
/// say again what they said well within it.
const LOOKED_FOR: Duration = Duration::from_secs(30);
/// Attempts of which it is remembered that something they said cannot be kept; of more, the first are asked again.
const REFUSED_MAX: usize = 1_024;

/// An input and who waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) input: Input,
    pub(super) caller: Caller,
}

/// Inputs that wait for a commit of their own.
#[derive(Debug, Default)]
pub(super) struct OneByOne {
    until: Option<Instant>,
    waiting: VecDeque<(Input, Option<Caller>)>,
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
    pub(super) fn wait(&mut self, input: Input, caller: Option<Caller>) {
        self.waiting.push_back((input, caller));
    }

    /// The input whose turn it is.
    pub(super) fn next(&mut self) -> Option<(Input, Option<Caller>)> {
        self.tried = None;
        let Some((input, caller)) = self.waiting.pop_front() else {
            self.until = self.until.filter(|until| Instant::now() < *until);
            return None;
        };
        self.tried = self.until.map(|_| match &input {
            _ if caller.is_some() => Tried::Asked,
            Input::Event { attempt, .. } => Tried::Event(*attempt),
            _ => Tried::Other,
        });
        Some((input, caller))
    }

    /// What stands for a worker's word on an attempt of which the store could not keep the last one: that it was no use.
    pub(super) fn with_what_was_refused(&self, input: Input) -> Input {
        match input {
            Input::Event { session, sequence, attempt, event } => {
                let event = match self.refused.get(&attempt) {
                    Some(reason) => AttemptEvent::Unusable(format!(
                        "the coordinator could not keep what the worker said of it: {reason}"
                    )),
                    None => event,
                };
                Input::Event { session, sequence, attempt, event }
            }
            input => input,
        }
    }

    /// The store has refused a commit, of which `asked` wait for their answers. An error where it was for one input that
    /// nobody can be refused, or was refused already.
    pub(super) fn refused(&mut self, reason: &str, asked: Vec<Asked>) -> Result<(), ()> {
        tracing::error!(reason, "the store refused a commit; what it was for is looked for");
        // Workers say theirs again.
        self.waiting.retain(|(_, caller)| caller.is_some());
        match self.tried.take() {
            None => {
                let again = asked.into_iter().map(|Asked { input, caller }| (input, Some(caller)));
                let later = std::mem::take(&mut self.waiting);
                self.waiting = again.chain(later).collect();
                self.until = Some(Instant::now() + LOOKED_FOR);
                return Ok(());
            }
            Some(Tried::Asked) => {
                for Asked { input, caller } in asked {
                    tracing::error!(reason, ?input, "refused");
                    // Who asked may be gone.
                    let _ = caller.send(Err(CallError::Unfit(reason.to_owned())));
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

    fn event(job: u64) -> Input {
        let event = AttemptEvent::Unusable("as it was said".to_owned());
        Input::Event { session: SessionId(1), sequence: 1, attempt: AttemptKey::new(1, job, 1), event }
    }

    fn said(input: &Input) -> &str {
        match input {
            Input::Event { event: AttemptEvent::Unusable(reason), .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_worker_says_again_and_cannot_be_kept_was_no_use() {
        let mut inputs = OneByOne::default();
        assert_eq!(said(&inputs.with_what_was_refused(event(1))), "as it was said");
        inputs.refused("too much", Vec::new()).unwrap();
        assert!(inputs.is_on());
        inputs.wait(event(1), None);
        inputs.wait(event(2), None);
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
        inputs.wait(Input::Tick, None);
        assert!(inputs.next().is_some());
        assert!(inputs.refused("too much", Vec::new()).is_err());
    }
}
