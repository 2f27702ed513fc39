//! The vocabulary of training: the results of an epoch, the place of a training, what it continues from, and the events
//! and answers of its listener. Nothing here trains.

use super::{config::TrainingConfig, optimiser::OptimiserState, parameters::Parameters};

/// `ignore_index` of PyTorch's cross-entropy: a class that no image has.
pub(super) const IGNORED_CLASS: i64 = -100;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochRecord {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// Sum of batch loss × batch size over the number of training images, in nats; finite.
    pub train_loss: f64,
    /// Share of validation images whose largest logit is their class's. An image with a logit that is not finite counts
    /// as wrong, as the model gave no answer.
    pub val_accuracy: f64,
    /// Time of the loop over the training batches, in seconds, without the validation.
    pub epoch_seconds: f64,
    /// Mean cross-entropy over the validation images, in nats: sum of batch loss × batch size over their number, of the
    /// same logits as `val_accuracy`. None if it is not finite; the other values stay valid.
    pub val_loss: Option<f64>,
    /// Share of the training images whose largest logit was their class's in the training step itself, so with the
    /// weights before that step and without another pass. None if an interrupted epoch's first part did not count it.
    pub train_accuracy: Option<f64>,
}

/// What a running training reports.
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

/// The listener of a training.
pub type Listener<'a> = &'a mut dyn FnMut(TrainingEvent) -> Flow;

/// The state of an epoch in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// The epoch in training, from 1; one past the last when all are done.
    pub epoch: u32,
    /// Images of this epoch that are trained.
    pub images_done: i64,
    /// Sum of batch loss × batch size over them, in nats.
    pub loss_sum: f64,
    /// How many of them were classified correctly; none if a checkpoint of an older version lacks it.
    pub right: Option<i64>,
    /// Time that they took, in seconds.
    pub seconds: f64,
}

impl Position {
    pub(super) fn start_of(epoch: u32) -> Self {
        Self { epoch, images_done: 0, loss_sum: 0.0, right: Some(0), seconds: 0.0 }
    }

    /// Its place.
    pub(super) fn place(&self) -> Place {
        Place { epoch: self.epoch, images_done: self.images_done }
    }
}

/// The place of a training; less is further behind. Trainings of a group at the same place have the same batch next.
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

/// Everything that decides how a training continues. Batch orders, learning rates, and what dropout and augmentation do only
/// depend on the job and the place, so no generator's state is needed. All tensors are contiguous and on the CPU.
#[derive(Debug)]
pub struct Snapshot {
    pub position: Position,
    /// The records of the epochs before.
    pub records: Vec<EpochRecord>,
    /// The model's parameters, and its running statistics.
    pub parameters: Parameters,
    /// The optimiser's state for them.
    pub optimiser: OptimiserState,
}

/// A job to train, and what it continues from.
#[derive(Debug)]
pub struct Start<'a> {
    pub config: &'a TrainingConfig,
    /// What an earlier training of the same job and data set reached; none for the initial weights.
    pub snapshot: Option<Snapshot>,
}
