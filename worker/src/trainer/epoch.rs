//! The training of one job: epochs over shuffled batches, each followed by the validation. What happens is told
//! through one callback, which may also stop it, at any batch; a snapshot taken then goes on with the same bits. A job's numbers depend on its parameters, its data set, the
//! device and the number of threads alone.

use std::time::Instant;

use tch::{Kind, Reduction, TchError, Tensor};

use super::{
    adam::{Adam, AdamSettings, AdamState, host_copy},
    config::TrainingConfig,
    dataset::TrainingData,
    model::{self, SimpleCnn},
};

/// Batches between two looks at the loss within an epoch. A look waits for the device, so that this also bounds
/// the work that is queued there when a job is stopped; fewer would leave a GPU idle.
const BATCHES_BETWEEN_LOOKS: usize = 64;

/// Pixels of one validation batch: 64 images of 128×128. Without gradients an image needs little memory, but
/// larger batches leave the CPU's cache and are slower.
const VALIDATION_PIXELS: i64 = 64 * 128 * 128;

/// `ignore_index` of PyTorch's cross-entropy: a class that no image has.
const IGNORED_CLASS: i64 = -100;

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
            EpochEnd::Diverged => return Ok(TrainingEnd::Diverged { epoch: training.position.epoch }),
            EpochEnd::Stopped => return Ok(TrainingEnd::Stopped),
        }
    }
}

/// One step: forward, mean cross-entropy, backward, Adam. Gives the loss before the step, a scalar on the device.
///
/// # Errors
/// What libtorch says.
pub fn train_step(
    model: &SimpleCnn,
    adam: &mut Adam,
    images: &Tensor,
    classes: &Tensor,
) -> Result<Tensor, TchError> {
    let logits = model.forward(images)?;
    let loss = logits.f_cross_entropy_loss(classes, None::<&Tensor>, Reduction::Mean, IGNORED_CLASS, 0.0)?;
    // Gradients come as results of their own and not through `.grad`, which would have to be zeroed and added to.
    let gradients = Tensor::f_run_backward(&[&loss], model.parameters(), false, false)?;
    adam.step(model.parameters(), &gradients)?;
    loss.f_detach()
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
    /// Time that they took, in seconds.
    pub seconds: f64,
}

impl Position {
    fn start_of(epoch: u32) -> Self {
        Self { epoch, images_done: 0, loss_sum: 0.0, seconds: 0.0 }
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
    /// The model's parameters in the order of [`model::PARAMETER_NAMES`].
    pub parameters: [Tensor; 8],
    /// Adam's state for them.
    pub adam: AdamState,
}

/// One job in training.
#[derive(Debug)]
pub struct Training<'a> {
    config: &'a TrainingConfig,
    data: &'a TrainingData,
    model: SimpleCnn,
    adam: Adam,
    position: Position,
    records: Vec<EpochRecord>,
}

impl<'a> Training<'a> {
    /// A training from its initial weights.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn new(config: &'a TrainingConfig, data: &'a TrainingData) -> Result<Self, TchError> {
        let initial = model::initial_parameters(config.seed, data.image_size(), data.classes())?;
        let model = SimpleCnn::new(&initial, config.activation, config.precision, data.device())?;
        drop(initial);
        let adam = Adam::new(model.parameters(), AdamSettings::pytorch(config.learning_rate))?;
        Ok(Self { config, data, model, adam, position: Position::start_of(1), records: Vec::new() })
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
        let Snapshot { position, records, parameters, adam } = snapshot;
        let model = SimpleCnn::new(&parameters, config.activation, config.precision, data.device())?;
        let settings = AdamSettings::pytorch(config.learning_rate);
        let adam = Adam::resume(model.parameters(), settings, &adam)?;
        Ok(Self { config, data, model, adam, position, records })
    }

    /// What it takes to go on from here another time.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn snapshot(&self) -> Result<Snapshot, TchError> {
        let parameters =
            self.model.parameters().iter().map(host_copy).collect::<Result<Vec<_>, _>>()?.try_into();
        Ok(Snapshot {
            position: self.position,
            records: self.records.clone(),
            parameters: parameters.expect("as many as the model has"),
            adam: self.adam.state()?,
        })
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.position.epoch > self.config.epochs
    }

    /// The epoch in training, from 1.
    pub fn epoch(&self) -> u32 {
        self.position.epoch
    }

    /// What the epochs so far brought.
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// Trains and validates the epoch at hand, or what is left of it.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn run_epoch(&mut self, listener: Listener<'_>) -> Result<EpochEnd, TchError> {
        let epoch = self.position.epoch;
        let flow = self.train_batches(listener)?;
        let train_loss = self.position.loss_sum / self.data.train_images() as f64;
        if !train_loss.is_finite() {
            return Ok(EpochEnd::Diverged);
        }
        if flow == Flow::Stop {
            return Ok(EpochEnd::Stopped);
        }
        let Some(val_accuracy) = self.validate(listener)? else { return Ok(EpochEnd::Stopped) };
        let record = EpochRecord { epoch, train_loss, val_accuracy, epoch_seconds: self.position.seconds };
        self.records.push(record);
        self.position = Position::start_of(epoch + 1);
        Ok(EpochEnd::Done(record))
    }

    /// Trains the epoch's batches from the position on, and moves it.
    fn train_batches(&mut self, listener: Listener<'_>) -> Result<Flow, TchError> {
        let Position { epoch, images_done: mut done, loss_sum, seconds } = self.position;
        let mut loss_sum = Tensor::f_full([1], loss_sum, (Kind::Double, self.data.device()))?;
        // Reading a value waits until the device has done all that was asked of it before, and only then does
        // the clock say something about the device: here, and before the seconds are taken.
        loss_sum.f_double_value(&[0])?;
        let started = Instant::now();
        let order = self.data.epoch_order(self.config.seed, epoch)?;
        let images = order.numel() as i64;
        let mut flow = Flow::Continue;
        let mut batches = 0;
        while done < images && flow == Flow::Continue {
            let size = self.config.batch_size.min(images - done);
            let (inputs, classes) = self.data.batch(&order.f_narrow(0, done, size)?)?;
            let loss = train_step(&self.model, &mut self.adam, &inputs, &classes)?;
            let _ = loss_sum.f_add_(&loss.f_to_kind(Kind::Double)?.f_mul_scalar(size)?)?;
            done += size;
            batches += 1;
            // Once it is not finite, a sum never is again.
            if batches % BATCHES_BETWEEN_LOOKS == 0 && !loss_sum.f_double_value(&[0])?.is_finite() {
                break;
            }
            flow = listener(TrainingEvent::Batch { epoch, fraction: done as f64 / images as f64 });
        }
        let loss_sum = loss_sum.f_double_value(&[0])?;
        let seconds = seconds + started.elapsed().as_secs_f64();
        self.position = Position { epoch, images_done: done, loss_sum, seconds };
        Ok(flow)
    }

    /// The accuracy on the validation images; nothing when the listener stopped it.
    fn validate(&self, listener: Listener<'_>) -> Result<Option<f64>, TchError> {
        let _no_gradients = tch::no_grad_guard();
        let order = self.data.validation();
        let images = order.numel() as i64;
        let batch_size = (VALIDATION_PIXELS / self.data.image_size().pow(2)).max(1);
        let mut correct = Tensor::f_zeros([1], (Kind::Int64, self.data.device()))?;
        let mut done = 0;
        while done < images {
            let size = batch_size.min(images - done);
            let (inputs, classes) = self.data.batch(&order.f_narrow(0, done, size)?)?;
            let logits = self.model.forward(&inputs)?;
            let _ = correct.f_add_(&count_correct(&logits, &classes)?)?;
            done += size;
            if listener(TrainingEvent::ValidationBatch) == Flow::Stop {
                return Ok(None);
            }
        }
        Ok(Some(correct.f_int64_value(&[0])? as f64 / images as f64))
    }
}

/// How many images have all logits finite and the largest at their class.
fn count_correct(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
    let said = logits.f_isfinite()?.f_all_dim(1, false)?;
    logits.f_argmax(1, false)?.f_eq_tensor(classes)?.f_logical_and(&said)?.f_sum(Kind::Int64)
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
pub(super) mod tests;
