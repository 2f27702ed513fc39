//! What the engine decided for the inputs that share a commit: nothing of it leaves before the records are durable.

use std::collections::BTreeMap;

use domain::record::Record;
use engine::{
    CloseReason, Discarded, Effect, Event, Observation, Output, RefusedEvents, SessionId, ToWorker,
};
use terms::SweepId;

#[cfg(feature = "mutants")]
use engine::mutants::{self, Mutant};

/// What no one knows of yet. `W` is a caller with the answer.
#[derive(Debug)]
pub struct Batch<W> {
    inputs: usize,
    output: Output,
    answered: Vec<W>,
    #[cfg(feature = "mutants")]
    early: Vec<Effect>,
    #[cfg(feature = "mutants")]
    early_answered: Vec<W>,
}

/// What may be reported now.
#[derive(Debug)]
pub struct Released<W> {
    /// What leaves, in this order.
    pub deliveries: Vec<Delivery>,
    /// What the engine hears once these have left; nothing where no worker waits for any of them.
    pub delivered: Option<Event>,
    /// What watchers receive, in this order.
    pub observed: Vec<(SweepId, Observation)>,
    /// Callers that can be answered.
    pub answered: Vec<W>,
}

/// Something that leaves the driver.
#[derive(Debug)]
pub enum Delivery {
    /// Messages to a worker, in this order.
    Messages(SessionId, Vec<ToWorker>),
    /// The end of a worker's stream.
    Close(SessionId, CloseReason),
    /// A file of weights is no longer kept.
    RemoveWeights(String),
    /// Something is of no use any more, and takes long to be freed.
    Discard(Discarded),
}

impl<W> Default for Batch<W> {
    fn default() -> Self {
        Self {
            inputs: 0,
            output: Output::default(),
            answered: Vec::new(),
            #[cfg(feature = "mutants")]
            early: Vec::new(),
            #[cfg(feature = "mutants")]
            early_answered: Vec::new(),
        }
    }
}

impl<W> Batch<W> {
    /// An empty batch with room for as much as another one holds: batches that follow each other are about as large.
    pub fn as_large_as(other: &Self) -> Self {
        let Output { records, effects, .. } = &other.output;
        let output = Output {
            records: Vec::with_capacity(records.len()),
            effects: Vec::with_capacity(effects.len()),
            ..Output::default()
        };
        Self { output, ..Self::default() }
    }

    /// Lets the engine add what it decides for one more input. It may be ahead of what is durable.
    pub fn add(&mut self, decide: impl FnOnce(&mut Output)) {
        #[cfg(feature = "mutants")]
        let before = (self.output.records.len(), self.output.effects.len());
        decide(&mut self.output);
        self.inputs += 1;
        #[cfg(feature = "mutants")]
        self.tell_early(before);
    }

    /// The same for a caller, who waits for the answer.
    pub fn add_asked(&mut self, asked: W, output: Output) {
        self.add(|all| all.append(output));
        #[cfg(feature = "mutants")]
        if mutants::is_on(Mutant::AnswerBeforeCommit) {
            self.early_answered.push(asked);
            return;
        }
        self.answered.push(asked);
    }

    /// How many inputs share it.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What must be durable, in this order.
    pub fn records(&self) -> &[Record] {
        &self.output.records
    }

    /// How many events of workers it has that changed nothing.
    pub fn refused(&self) -> RefusedEvents {
        self.output.refused
    }

    /// What may leave, now that the records and those of all batches before are durable.
    pub fn committed(self) -> Released<W> {
        released(self.output.effects, self.answered)
    }

    /// The callers, where the records could not be kept: their answers are not true.
    pub fn abandoned(self) -> Vec<W> {
        self.answered
    }

    /// What a mutant lets out before the records are durable; nothing without one.
    #[cfg(feature = "mutants")]
    pub fn early(&mut self) -> Option<Released<W>> {
        if self.early.is_empty() && self.early_answered.is_empty() {
            return None;
        }
        Some(released(std::mem::take(&mut self.early), std::mem::take(&mut self.early_answered)))
    }

    /// `before` is how many records and effects there were without the last input.
    #[cfg(feature = "mutants")]
    fn tell_early(&mut self, (records, effects): (usize, usize)) {
        let has_no_records = self.output.records.len() == records;
        let acknowledges = mutants::is_on(Mutant::AcknowledgeBeforeCommit)
            || (has_no_records && mutants::is_on(Mutant::DuplicateOvertakesCommit));
        let grants = mutants::is_on(Mutant::GrantBeforeCommit);
        if !acknowledges && !grants {
            return;
        }
        let is_early = |effect: &mut Effect| match effect {
            Effect::Acknowledge { .. } => acknowledges,
            Effect::Send { .. } => grants,
            _ => false,
        };
        self.early.extend(self.output.effects.extract_if(effects.., is_early));
    }
}

/// What is for one worker leaves together: its messages in their order, then one acknowledgement, which stands for all
/// before it.
fn released<W>(effects: Vec<Effect>, answered: Vec<W>) -> Released<W> {
    let seen = effects.iter().filter(|effect| matches!(effect, Effect::Observed { .. })).count();
    let observed = Vec::with_capacity(seen);
    let mut released = Released { deliveries: Vec::new(), delivered: None, observed, answered };
    let (mut granted, mut welcomed) = (Vec::new(), Vec::new());
    let mut messages: BTreeMap<SessionId, (Vec<ToWorker>, u64)> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::Send { session, message } => {
                match &message {
                    ToWorker::Grant(grant) => granted.extend(grant.jobs.iter().map(|job| job.attempt)),
                    ToWorker::Welcome(_) => welcomed.push(session),
                    _ => {}
                }
                messages.entry(session).or_default().0.push(message);
            }
            Effect::Acknowledge { session, sequence } => {
                let highest = &mut messages.entry(session).or_default().1;
                *highest = sequence.max(*highest);
            }
            Effect::Close { session, reason } => {
                released.deliveries.extend(messages.remove(&session).map(|said| together(session, said)));
                released.deliveries.push(Delivery::Close(session, reason));
            }
            Effect::Discard(discarded) => released.deliveries.push(Delivery::Discard(discarded)),
            Effect::RemoveWeights { name } => released.deliveries.push(Delivery::RemoveWeights(name)),
            Effect::Observed { sweep, observation } => released.observed.push((sweep, observation)),
        }
    }
    released.deliveries.extend(messages.into_iter().map(|(session, said)| together(session, said)));
    if !granted.is_empty() || !welcomed.is_empty() {
        released.delivered = Some(Event::Delivered { granted, welcomed });
    }
    released
}

fn together(session: SessionId, (mut messages, sequence): (Vec<ToWorker>, u64)) -> Delivery {
    // The first event has the number 1.
    if sequence > 0 {
        messages.push(ToWorker::Acknowledged { through: sequence });
    }
    Delivery::Messages(session, messages)
}
