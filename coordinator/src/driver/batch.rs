//! Inputs that share a commit, and what they brought: nothing of it gets out before the records are durable.

use std::collections::BTreeMap;

use domain::record::Record;
use engine::{CloseReason, Effect, Engine, Input, Now, Observation, Output, Reply, SessionId, ToWorker};
use terms::SweepId;

#[cfg(feature = "mutants")]
use engine::mutants::{self, Mutant};

/// What inputs brought and nobody has been told yet. `W` is who waits for an answer.
#[derive(Debug)]
pub struct Batch<W> {
    inputs: usize,
    records: Vec<Record>,
    effects: Vec<Effect>,
    replies: Vec<(W, Reply)>,
    #[cfg(feature = "mutants")]
    early: Vec<Effect>,
    #[cfg(feature = "mutants")]
    early_replies: Vec<(W, Reply)>,
}

/// What may be told.
#[derive(Debug)]
pub struct Released<W> {
    /// What leaves, in this order.
    pub deliveries: Vec<Delivery>,
    /// What the engine is to hear once these have left; nothing where no worker waits for any of them.
    pub told: Option<Input>,
    /// News for watchers, in this order.
    pub observed: Vec<(SweepId, Observation)>,
    /// The answers.
    pub replies: Vec<(W, Reply)>,
}

/// Something that leaves the driver.
#[derive(Debug)]
pub enum Delivery {
    /// Messages to a worker, in this order.
    Messages(SessionId, Vec<ToWorker>),
    /// The end of a worker's stream.
    Close(SessionId, CloseReason),
    /// A file of weights is not kept any more.
    RemoveWeights(String),
}

impl<W> Default for Batch<W> {
    fn default() -> Self {
        Self {
            inputs: 0,
            records: Vec::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            #[cfg(feature = "mutants")]
            early: Vec::new(),
            #[cfg(feature = "mutants")]
            early_replies: Vec::new(),
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

    /// Applies an input after those before it. The engine may be ahead of what is durable: nothing of it gets out.
    pub fn apply(&mut self, engine: &mut Engine, now: Now, input: Input, waits: Option<W>) {
        let mut output = engine.apply(now, input);
        #[cfg(feature = "mutants")]
        self.tell_early(&mut output);
        let Output { records, effects, reply } = &mut output;
        self.inputs += 1;
        self.records.append(records);
        self.effects.append(effects);
        #[cfg(feature = "mutants")]
        if mutants::is_on(Mutant::AnswerBeforeCommit) {
            self.early_replies.extend(waits.map(|waits| (waits, std::mem::take(reply))));
            return;
        }
        self.replies.extend(waits.map(|waits| (waits, std::mem::take(reply))));
    }

    /// How many inputs share it.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What must be durable, in this order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What may be told now that the records are durable, and those of all batches before.
    pub fn committed(self) -> Released<W> {
        released(self.effects, self.replies)
    }

    /// Who waits, where the records could not be kept: nothing of what they would have been told is true.
    pub fn abandoned(self) -> Vec<W> {
        self.replies.into_iter().map(|(waits, _)| waits).collect()
    }

    /// What a mutant tells before the records are durable; nothing without one.
    #[cfg(feature = "mutants")]
    pub fn early(&mut self) -> Released<W> {
        released(std::mem::take(&mut self.early), std::mem::take(&mut self.early_replies))
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

/// What is for one worker leaves together: its messages in their order, and last one acknowledgement, which stands for
/// all before it.
fn released<W>(effects: Vec<Effect>, replies: Vec<(W, Reply)>) -> Released<W> {
    let mut released = Released { deliveries: Vec::new(), told: None, observed: Vec::new(), replies };
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
        released.told = Some(Input::Told { granted, welcomed });
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
