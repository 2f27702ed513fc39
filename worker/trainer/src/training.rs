//! The vocabulary of training: what an epoch brings, where a training is, what it goes on from, and what its listener hears
//! and answers. Nothing here trains.

use super::{adam::AdamState, config::TrainingConfig, parameters::Parameters};

/// `ignore_index` of PyTorch's cross-entropy: a class that no image has.
pub(super) const IGNORED_CLASS: i64 = -100;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochRecord {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// Sum of batch loss × batch size over the number of training images, in nats; finite.
    pub train_loss: f64,
    /// Share of validation images whose largest logit is their class's. An image with a logit that is not finite
    /// counts as wrong: the model said nothing about it.
    pub val_accuracy: f64,
    /// Time of the loop over the training batches, in seconds, without the validation.
    pub epoch_seconds: f64,
    /// Mean cross-entropy over the validation images, in nats: sum of batch loss × batch size over their number, of the
    /// same logits as `val_accuracy`. Nothing where it is not finite; the other numbers stand all the same.
    pub val_loss: Option<f64>,
    /// Share of the training images whose largest logit was their class's in the training step itself, so by the weights
    /// before that step and without a pass of its own. Nothing where an interrupted epoch's first part did not count.
    pub train_accuracy: Option<f64>,
}

/// What a training tells while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TrainingEvent {
    /// A batch is done (or queued on the device).
    Batch {
        /// The epoch in training, from 1.
        epoch: u32,
        /// Share of its images that is done, in (0, 1].
        fraction: f64,
    },
    /// The batches of this epoch are done, and its validation begins.
    ValidationBegins,
    /// A batch of the validation after this epoch is done.
    ValidationBatch,
    /// An epoch and its validation are done.
    Epoch(EpochRecord),
}

/// The listener's answer to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Stop,
}

/// Who listens to a training.
pub type Listener<'a> = &'a mut dyn FnMut(TrainingEvent) -> Flow;

/// Where a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// The epoch in training, from 1; one past the last when all are done.
    pub epoch: u32,
    /// Images of this epoch that are trained.
    pub images_done: i64,
    /// Sum of batch loss × batch size over them, in nats.
    pub loss_sum: f64,
    /// How many of them were classified rightly; nothing where a checkpoint of an older version does not say it.
    pub right: Option<i64>,
    /// Time that they took, in seconds.
    pub seconds: f64,
}

impl Position {
    pub(super) fn start_of(epoch: u32) -> Self {
        Self { epoch, images_done: 0, loss_sum: 0.0, right: Some(0), seconds: 0.0 }
    }

    /// How far it is.
    pub(super) fn place(&self) -> Place {
        Place { epoch: self.epoch, images_done: self.images_done }
    }
}

/// How far a training is; less is further behind. Trainings of jobs that agree, at the same place, have the same batch next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The epoch in training, from 1; one past the last when all are done.
    pub epoch: u32,
    /// Images of this epoch that are trained.
    pub images_done: i64,
}

impl Place {
    /// Nothing is trained yet.
    pub(super) const START: Self = Self { epoch: 1, images_done: 0 };
}

/// Everything that decides how a training goes on. Batch orders come from the seed and the epoch alone, so no
/// generator's state is among it. All tensors are contiguous, float32 and on the CPU.
#[derive(Debug)]
pub struct Snapshot {
    pub position: Position,
    /// What the epochs before brought.
    pub records: Vec<EpochRecord>,
    /// The model's parameters in the order of [`super::parameters::PARAMETER_NAMES`].
    pub parameters: Parameters,
    /// Adam's state for them.
    pub adam: AdamState,
}

/// A job that is to learn, and what it goes on from; from its initial weights where there is nothing.
#[derive(Debug)]
pub struct Start<'a> {
    pub config: &'a TrainingConfig,
    /// What an earlier training of the same job and data set has come to.
    pub snapshot: Option<Snapshot>,
}
