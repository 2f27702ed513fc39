//! The training of one job: epochs over shuffled batches, each followed by the validation. What happens is told
//! through one callback, which may also stop it, at any batch; a snapshot taken then goes on with the same bits. A
//! job's numbers depend on its parameters, its data set, the device and the number of threads alone. The loop itself
//! is that of packs, `pack`, with one member.

use tch::{Reduction, TchError, Tensor};

use super::{
    adam::{Adam, AdamState},
    config::TrainingConfig,
    learner::Start,
    model::SimpleCnn,
    pack::{Pack, PackEnd},
    training_data::TrainingData,
};

/// `ignore_index` of PyTorch's cross-entropy: a class that no image has.
pub(super) const IGNORED_CLASS: i64 = -100;

/// One epoch's results.
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
    /// Go on.
    Continue,
    /// Stop now.
    Stop,
}

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingEnd {
    /// All epochs are done.
    Done,
    /// The training loss was not finite any more.
    Diverged {
        /// The epoch in which that happened, from 1.
        epoch: u32,
    },
    /// The listener said so.
    Stopped,
}

/// Who listens to a training.
pub type Listener<'a> = &'a mut dyn FnMut(TrainingEvent) -> Flow;

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

/// What a training step says of its batch, on the device; of the weights before the step.
#[derive(Debug)]
pub struct Step {
    /// Mean cross-entropy of the batch: a scalar, or `[members]` of a pack.
    pub loss: Tensor,
    /// Whether the largest logit of each image is its class's: booleans `[N]`, or `[members, N]` of a pack.
    pub right: Tensor,
}

/// One step: forward, mean cross-entropy, backward, Adam.
///
/// # Errors
/// What libtorch says.
pub fn train_step(
    model: &SimpleCnn,
    adam: &mut Adam,
    images: &Tensor,
    classes: &Tensor,
) -> Result<Step, TchError> {
    let logits = model.forward(images)?;
    let loss = logits.f_cross_entropy_loss(classes, None::<&Tensor>, Reduction::Mean, IGNORED_CLASS, 0.0)?;
    // Gradients come as results of their own and not through `.grad`, which would have to be zeroed and added to.
    let gradients = Tensor::f_run_backward(&[&loss], model.parameters(), false, false)?;
    adam.step(model.parameters(), &gradients)?;
    Ok(Step { loss: loss.f_detach()?, right: are_right(&logits, classes)? })
}

/// Whether the largest of an image's logits is its class's: booleans `[…, N]` of logits `[…, N, classes]` and classes
/// `[N]`. As cheap as can be: logits that are not finite make a loss that is none, and then nobody asks for this.
pub(super) fn are_right(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
    logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(classes)
}

/// How one epoch ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EpochEnd {
    /// It and its validation are done.
    Done(EpochRecord),
    /// The training loss is not finite any more.
    Diverged,
    /// The listener said so; the next call goes on at the same batch.
    Stopped,
}

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

    /// Epoch and images that are done: trainings of jobs that agree, at the same place, have the same batch next.
    pub(super) fn place(&self) -> (u32, i64) {
        (self.epoch, self.images_done)
    }
}

/// Everything that decides how a training goes on. Batch orders come from the seed and the epoch alone, so no
/// generator's state is among it. All tensors are contiguous, float32 and on the CPU.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it is.
    pub position: Position,
    /// What the epochs before brought.
    pub records: Vec<EpochRecord>,
    /// The model's parameters in the order of [`super::model::PARAMETER_NAMES`].
    pub parameters: [Tensor; 8],
    /// Adam's state for them.
    pub adam: AdamState,
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

    /// A training that goes on where `snapshot` was taken; it must be of the same job and data set.
    ///
    /// # Errors
    /// What libtorch says, and tensors of other shapes than the model's.
    pub fn resume(
        config: &'a TrainingConfig,
        data: &'a TrainingData,
        snapshot: Snapshot,
    ) -> Result<Self, TchError> {
        Ok(Self { pack: Pack::new(vec![Start { config, snapshot: Some(snapshot) }], data)? })
    }

    /// What it takes to go on from here another time.
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
        self.pack.place().0
    }

    /// What the epochs so far brought.
    pub fn records(&self) -> &[EpochRecord] {
        self.pack.records(ITSELF)
    }

    /// Trains and validates the epoch at hand, or what is left of it.
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
