//! The trainer's side of a conversation with an agent: both directions, and which jobs were asked to stop.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    sync::mpsc::{Receiver, TryRecvError},
};

use terms::{Again, EndDetails};
use trainer_protocol::{FromTrainer, ToTrainer, TrainerOutcome};

use super::{
    checkpoint::CheckpointStore,
    lines::{Output, Request, SessionError},
};

/// The lines to and from the agent, and the state of the current request's jobs.
pub(super) struct Conversation<'a, W> {
    pub(super) requests: &'a Receiver<Request>,
    pub(super) output: Output<W>,
    /// Jobs of the current request that were asked to stop, and whether to keep a checkpoint of them.
    pub(super) stopped: HashMap<String, bool>,
    /// Those of which a checkpoint is to be kept now, while they go on.
    pub(super) to_keep: HashSet<String>,
    /// The epoch of the last trained batch; 0 before any.
    pub(super) epoch: u32,
    /// Where checkpoints are kept, if any are.
    pub(super) checkpoints: Option<CheckpointStore>,
}

impl<W: Write + Send> Conversation<'_, W> {
    /// Reads what the agent has sent meanwhile.
    pub(super) fn look_for_stops(&mut self) -> Result<(), SessionError> {
        loop {
            match self.requests.try_recv() {
                Ok(Ok(ToTrainer::Stop { id, checkpoint })) => {
                    self.stopped.insert(id, checkpoint);
                }
                Ok(Ok(ToTrainer::Keep { id })) => {
                    self.to_keep.insert(id);
                }
                Ok(Ok(ToTrainer::Train { .. })) => return Err(SessionError::Busy),
                Ok(Err(error)) => return Err(error),
                // A process whose input ended has exited before this; in a test the job may end.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    pub(super) fn end(&self, id: &str, outcome: TrainerOutcome, reason: String) -> Result<(), SessionError> {
        if !reason.is_empty() {
            terminal::say!("{outcome:?}: {reason}");
        }
        self.output.send(&FromTrainer::ended(id, outcome, reason))
    }

    /// Ends a job that no attempt can train, here or elsewhere.
    pub(super) fn fail_for_good(&self, id: &str, reason: String) -> Result<(), SessionError> {
        terminal::say!("{reason}");
        let details = EndDetails { again: Again::No, ..EndDetails::default() };
        let (id, outcome) = (id.to_owned(), TrainerOutcome::Failed);
        self.output.send(&FromTrainer::Ended { id, outcome, reason, details })
    }
}
