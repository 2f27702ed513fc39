//! The training of one job: epochs over shuffled batches, each followed by validation. Progress is reported through one
//! callback, which may also stop the training at any batch; a snapshot taken then continues bit for bit. A job's
//! results only depend on its parameters, its data set, the device and the number of threads. The loop itself is that
//! of packs, in `pack`, with one member.

use tch::TchError;

use super::{
    config::TrainingConfig,
    pack::{Pack, PackEnd},
    training::{EpochRecord, Flow, Listener, Snapshot, Start, TrainingEvent},
    training_data::TrainingData,
};

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingEnd {
    /// All epochs are done.
    Done,
    /// The training loss was no longer finite.
    Diverged {
        /// The epoch in which that happened, from 1.
        epoch: u32,
    },
    /// The listener stopped it.
    Stopped,
}

/// Trains one job from its initial weights to its end.
///
/// # Errors
/// What libtorch says, for instance that memory ran out.
pub fn train(
    config: &TrainingConfig,
    data: &TrainingData,
    listener: Listener<'_>,
) -> Result<TrainingEnd, TchError> {
    let mut training = Training::new(config, data)?;
    loop {
        match training.run_epoch(listener)? {
            EpochEnd::Done(record) => {
                let flow = listener(TrainingEvent::Epoch(record));
                if training.is_done() {
                    return Ok(TrainingEnd::Done);
                }
                if flow == Flow::Stop {
                    return Ok(TrainingEnd::Stopped);
                }
            }
            EpochEnd::Diverged => return Ok(TrainingEnd::Diverged { epoch: training.epoch() }),
            EpochEnd::Stopped => return Ok(TrainingEnd::Stopped),
        }
    }
}

/// How one epoch ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EpochEnd {
    /// It and its validation are done.
    Done(EpochRecord),
    /// The training loss is no longer finite.
    Diverged,
    /// The listener stopped it; the next call continues at the same batch.
    Stopped,
}

/// One job in training.
#[derive(Debug)]
pub struct Training<'a> {
    pack: Pack<'a>,
}

/// The only member of a training's pack.
const ITSELF: usize = 0;

impl<'a> Training<'a> {
    /// A training from its initial weights.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn new(config: &'a TrainingConfig, data: &'a TrainingData) -> Result<Self, TchError> {
        Ok(Self { pack: Pack::new(vec![Start { config, snapshot: None }], data)? })
    }

    /// A training that continues where `snapshot` was taken; it must be of the same job and data set.
    ///
    /// # Errors
    /// What libtorch says, and tensors whose shapes differ from the model's.
    pub fn resume(
        config: &'a TrainingConfig,
        data: &'a TrainingData,
        snapshot: Snapshot,
    ) -> Result<Self, TchError> {
        Ok(Self { pack: Pack::new(vec![Start { config, snapshot: Some(snapshot) }], data)? })
    }

    /// What is needed to continue from here later.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn snapshot(&self) -> Result<Snapshot, TchError> {
        self.pack.snapshot(ITSELF)
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.pack.is_done()
    }

    /// The epoch in training, from 1.
    pub fn epoch(&self) -> u32 {
        self.pack.place().epoch
    }

    /// The records of the epochs so far.
    pub fn records(&self) -> &[EpochRecord] {
        self.pack.records(ITSELF)
    }

    /// Trains and validates the current epoch, or the rest of it.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn run_epoch(&mut self, listener: Listener<'_>) -> Result<EpochEnd, TchError> {
        Ok(match (self.pack.run_epoch(None, listener)?, self.records().last()) {
            (PackEnd::Done, Some(record)) => EpochEnd::Done(*record),
            (PackEnd::Diverged(_), _) => EpochEnd::Diverged,
            _ => EpochEnd::Stopped,
        })
    }
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
pub(super) mod tests;
