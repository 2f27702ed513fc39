//! Inputs that share a commit, and what they brought: nothing of it gets out before the records are durable.

use std::collections::BTreeMap;

use proto::{SweepId, v1};

#[cfg(feature = "mutants")]
use crate::core::mutants::{self, Mutant};
use crate::core::{
    engine::{CloseReason, Effect, Engine, Input, Now, Observation, Output, Reply, SessionId},
    record::Record,
};

/// What inputs brought and nobody has been told yet. `W` is who waits for an answer.
#[derive(Debug)]
pub struct Batch<W> {
    records: Vec<Record>,
    effects: Vec<Effect>,
    replies: Vec<(W, Reply)>,
    #[cfg(feature = "mutants")]
    early: Vec<Effect>,
}

/// What may be told.
#[derive(Debug)]
pub struct Released<W> {
    /// What leaves, in this order.
    pub deliveries: Vec<Delivery>,
    /// The answers.
    pub replies: Vec<(W, Reply)>,
}

/// Something that leaves the driver.
#[derive(Debug)]
pub enum Delivery {
    /// A message to a worker.
    Message(SessionId, Box<v1::CoordinatorMessage>),
    /// The end of a worker's stream.
    Close(SessionId, CloseReason),
    /// News for watchers.
    Observed(SweepId, Observation),
}

impl<W> Batch<W> {
    /// Applies inputs in their order.
    pub fn apply(
        engine: &mut Engine,
        mut now: impl FnMut() -> Now,
        inputs: impl IntoIterator<Item = (Input, Option<W>)>,
    ) -> Self {
        let mut batch = Self {
            records: Vec::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            #[cfg(feature = "mutants")]
            early: Vec::new(),
        };
        for (input, waits) in inputs {
            let mut output = engine.apply(now(), input);
            #[cfg(feature = "mutants")]
            batch.tell_early(&mut output);
            let Output { records, effects, reply } = &mut output;
            batch.records.append(records);
            batch.effects.append(effects);
            batch.replies.extend(waits.map(|waits| (waits, std::mem::take(reply))));
        }
        batch
    }

    /// What must be durable, in this order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What may be told now that the records are durable. Acknowledgements are cumulative, so one a session does
    /// for all; they come last.
    pub fn committed(self) -> Released<W> {
        Released { deliveries: deliveries(self.effects), replies: self.replies }
    }

    /// Who waits, where the records could not be kept: nothing of what they would have been told is true.
    pub fn abandoned(self) -> Vec<W> {
        self.replies.into_iter().map(|(waits, _)| waits).collect()
    }

    /// What a mutant tells before the records are durable; nothing without one.
    #[cfg(feature = "mutants")]
    pub fn early(&mut self) -> Vec<Delivery> {
        deliveries(std::mem::take(&mut self.early))
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

fn deliveries(effects: Vec<Effect>) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(effects.len());
    let mut acknowledged: BTreeMap<SessionId, u64> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::Send { session, message } => {
                deliveries.push(Delivery::Message(session, Box::new(message)));
            }
            Effect::Acknowledge { session, sequence } => {
                let highest = acknowledged.entry(session).or_default();
                *highest = sequence.max(*highest);
            }
            Effect::Close { session, reason } => deliveries.push(Delivery::Close(session, reason)),
            Effect::Observed { sweep, observation } => {
                deliveries.push(Delivery::Observed(sweep, observation));
            }
        }
    }
    deliveries.extend(acknowledged.into_iter().map(|(session, sequence)| {
        let message = v1::coordinator_message::Message::Acknowledgement(v1::Acknowledgement { sequence });
        Delivery::Message(session, Box::new(v1::CoordinatorMessage { message: Some(message) }))
    }));
    deliveries
}
