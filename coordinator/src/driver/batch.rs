//! What the engine decided for the inputs that share a commit: nothing of it leaves before the records are durable.

use std::collections::BTreeMap;

use domain::record::Record;
use engine::{CloseReason, Effect, Event, Observation, Output, SessionId, ToWorker};
use terms::SweepId;

#[cfg(feature = "mutants")]
use engine::mutants::{self, Mutant};

/// What no one knows of yet. `W` is a caller with the answer.
#[derive(Debug)]
pub struct Batch<W> {
    inputs: usize,
    records: Vec<Record>,
    effects: Vec<Effect>,
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
}

impl<W> Default for Batch<W> {
    fn default() -> Self {
        Self {
            inputs: 0,
            records: Vec::new(),
            effects: Vec::new(),
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
        Self {
            records: Vec::with_capacity(other.records.len()),
            effects: Vec::with_capacity(other.effects.len()),
            ..Self::default()
        }
    }

    /// Adds what the engine decided for one more input. It may be ahead of what is durable.
    #[cfg_attr(not(feature = "mutants"), allow(unused_mut))]
    pub fn add(&mut self, mut output: Output, waits: Option<W>) {
        #[cfg(feature = "mutants")]
        self.tell_early(&mut output);
        let Output { mut records, mut effects } = output;
        self.inputs += 1;
        self.records.append(&mut records);
        self.effects.append(&mut effects);
        #[cfg(feature = "mutants")]
        if mutants::is_on(Mutant::AnswerBeforeCommit) {
            self.early_answered.extend(waits);
            return;
        }
        self.answered.extend(waits);
    }

    /// How many inputs share it.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What must be durable, in this order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What may leave, now that the records and those of all batches before are durable.
    pub fn committed(self) -> Released<W> {
        released(self.effects, self.answered)
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

    #[cfg(feature = "mutants")]
    fn tell_early(&mut self, output: &mut Output) {
        let acknowledges = mutants::is_on(Mutant::AcknowledgeBeforeCommit)
            || (output.records.is_empty() && mutants::is_on(Mutant::DuplicateOvertakesCommit));
        let grants = mutants::is_on(Mutant::GrantBeforeCommit);
        let (early, late) =
            std::mem::take(&mut output.effects).into_iter().partition(|effect| match effect {
                Effect::Acknowledge { .. } => acknowledges,
                Effect::Send { .. } => grants,
                _ => false,
            });
        output.effects = late;
        self.early.extend::<Vec<Effect>>(early);
    }
}

/// What is for one worker leaves together: its messages in their order, then one acknowledgement, which stands for all
/// before it.
fn released<W>(effects: Vec<Effect>, answered: Vec<W>) -> Released<W> {
    let mut released = Released { deliveries: Vec::new(), delivered: None, observed: Vec::new(), answered };
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
