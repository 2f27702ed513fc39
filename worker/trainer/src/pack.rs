//! The training of a pack: jobs that only differ in what is their own, such as the learning rate, over the same batches at
//! the same time; a single job is a pack of one. Members are independent: one that is retired, because it diverged or was
//! stopped, stays in the array without learning, so that nothing changes for the others.

use std::time::Instant;

use tch::{Device, Kind, TchError, Tensor};

use super::{
    config::TrainingConfig,
    layers::Layers,
    learner::{DataShape, Learner},
    pack_model::{self, Layout},
    parameters::Parameters,
    training::{EpochRecord, Flow, Listener, Place, Position, Snapshot, Start, TrainingEvent},
    training_data::TrainingData,
};

/// Batches between two checks of the losses within an epoch on a CPU, where a check costs nothing. On other devices a
/// check would wait for all queued work and leave them idle; there, divergence is only noticed at the epoch's end.
const BATCHES_BETWEEN_LOOKS: usize = 64;

/// Pixels of one validation batch: 64 images of 128×128. Without gradients an image needs little memory, but larger
/// batches exceed the CPU's cache and are slower.
const VALIDATION_PIXELS: i64 = 64 * 128 * 128;

/// Values in one layer of an array model: kernels count them in 32 bits, and some refuse more. At the report's size
/// that is 127 members with batches of 64.
const LAYER_NUMBERS_MAX: i64 = i32::MAX as i64;

/// How far a pack got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackEnd {
    /// The epoch and its validation are done; each live member has one more record.
    Done,
    /// The training loss of these members is no longer finite; they must be retired. The next call continues at the
    /// same batch.
    Diverged(Vec<usize>),
    /// As many images of the epoch as requested are trained.
    Reached,
    /// The listener stopped it; the next call continues at the same batch.
    Stopped,
}

/// Jobs in training. Members are numbered in the order they were given.
#[derive(Debug)]
pub struct Pack<'a> {
    /// Read for everything that all members have in common: the first member's.
    config: &'a TrainingConfig,
    data: &'a TrainingData,
    learner: Learner,
    members: Vec<Course>,
}

/// How far one of its jobs is, and what came of it.
#[derive(Debug)]
struct Course {
    /// The epoch and the trained images are the same for all.
    position: Position,
    records: Vec<EpochRecord>,
    live: bool,
}

impl<'a> Pack<'a> {
    /// A pack of jobs that can train together and are at the same place.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    ///
    /// # Panics
    /// Without jobs, and with jobs that cannot train together or are at different places.
    pub fn new(jobs: Vec<Start<'a>>, data: &'a TrainingData) -> Result<Self, TchError> {
        // cuDNN's tensor cores want it; `pack_speed --channels-first` measures the other layout.
        Self::with_layout(jobs, data, Layout::ChannelsLast)
    }

    /// [`Pack::new`] with another layout, for measurements.
    ///
    /// # Errors
    /// As [`Pack::new`].
    ///
    /// # Panics
    /// As [`Pack::new`].
    pub fn with_layout(
        jobs: Vec<Start<'a>>,
        data: &'a TrainingData,
        layout: Layout,
    ) -> Result<Self, TchError> {
        let config = jobs.first().expect("a pack has jobs").config;
        let images = [config.batch_size.min(data.train_images() as i64), validation_batch(data)];
        let layers = Layers::new(&config.architecture, data.image_size(), data.classes());
        check_layers(jobs.len() as i64, images[0].max(images[1]), layers.widest())?;
        assert!(jobs.iter().all(|job| job.config.agrees_with(config)), "the jobs of a pack agree");
        let learner = Learner::new(&jobs, DataShape::of(data), data.device(), layout)?;
        let members = jobs.into_iter().map(|job| match job.snapshot {
            Some(Snapshot { position, records, .. }) => Course { position, records, live: true },
            None => Course { position: Position::start_of(1), records: Vec::new(), live: true },
        });
        let members: Vec<Course> = members.collect();
        let place = members[0].position.place();
        assert!(members.iter().all(|member| member.position.place() == place), "a pack is at one place");
        Ok(Self { config, data, learner, members })
    }

    /// The place of the pack: the epoch in training and how many of its images are trained.
    pub fn place(&self) -> Place {
        self.members[0].position.place()
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.place().epoch > self.config.epochs
    }

    /// The members that are not retired.
    pub fn live(&self) -> impl Iterator<Item = usize> {
        self.members.iter().enumerate().filter(|(_, member)| member.live).map(|(number, _)| number)
    }

    /// The records of a member's epochs so far.
    pub fn records(&self, member: usize) -> &[EpochRecord] {
        &self.members[member].records
    }

    /// Stops a member from learning.
    pub fn retire(&mut self, member: usize) {
        self.members[member].live = false;
        self.learner.freeze(member);
    }

    /// What a member needs to continue from here later, alone or in another pack.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn snapshot(&self, member: usize) -> Result<Snapshot, TchError> {
        let (parameters, optimiser) = self.learner.state(member)?;
        let Course { position, records, .. } = &self.members[member];
        Ok(Snapshot { position: *position, records: records.clone(), parameters, optimiser })
    }

    /// A member's current weights: contiguous, float32 and on the CPU, whatever it computes with.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn parameters(&self, member: usize) -> Result<Parameters, TchError> {
        self.learner.parameters(member)
    }

    /// Trains and validates the current epoch, or the rest of it; with `images_max` only up to that many images, and
    /// then without the validation.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn run_epoch(
        &mut self,
        images_max: Option<i64>,
        listener: Listener<'_>,
    ) -> Result<PackEnd, TchError> {
        let flow = self.train_batches(images_max, listener)?;
        let diverged: Vec<usize> =
            self.live().filter(|&member| !self.train_loss(member).is_finite()).collect();
        if !diverged.is_empty() {
            return Ok(PackEnd::Diverged(diverged));
        }
        if flow == Flow::Stop {
            return Ok(PackEnd::Stopped);
        }
        if images_max.is_some() {
            return Ok(PackEnd::Reached);
        }
        let Some(validations) = self.validate(listener)? else { return Ok(PackEnd::Stopped) };
        let epoch = self.place().epoch;
        let train_images = self.data.train_images() as f64;
        for (member, Validation { loss, accuracy }) in validations.into_iter().enumerate() {
            let train_loss = self.train_loss(member);
            let member = &mut self.members[member];
            if member.live {
                member.records.push(EpochRecord {
                    epoch,
                    train_loss,
                    val_accuracy: accuracy,
                    epoch_seconds: member.position.seconds,
                    val_loss: Some(loss).filter(|loss| loss.is_finite()),
                    train_accuracy: member.position.right.map(|right| right as f64 / train_images),
                });
            }
            member.position = Position::start_of(epoch + 1);
        }
        Ok(PackEnd::Done)
    }

    fn train_loss(&self, member: usize) -> f64 {
        self.members[member].position.loss_sum / self.data.train_images() as f64
    }

    /// Trains the epoch's batches from the pack's place on, and advances it.
    fn train_batches(&mut self, images_max: Option<i64>, listener: Listener<'_>) -> Result<Flow, TchError> {
        let Place { epoch, images_done: mut done } = self.place();
        let device = self.data.device();
        let sums: Vec<f64> = self.members.iter().map(|member| member.position.loss_sum).collect();
        let mut loss_sums = Tensor::f_from_slice(&sums)?.f_to_device(device)?;
        // Reading a value waits until the device has finished its queue, and only then does the clock measure the
        // device: so before the start and before the end of the time.
        host_values(&loss_sums)?;
        let started = Instant::now();
        let order = self.data.epoch_order(self.config.seed, epoch)?;
        let drawn = self.data.draws(self.config.augmentation, self.config.seed, epoch)?;
        let images = order.numel() as i64;
        let last = images_max.map_or(images, |limit| limit.min(images));
        // Counted once at the end: a sum per batch would be one more kernel.
        let (first, members) = (done, self.members.len() as i64);
        let right = Tensor::f_zeros([members, (last - first).max(0)], (Kind::Bool, device))?;
        let mut flow = Flow::Continue;
        let mut batches = 0;
        while done < last && flow == Flow::Continue {
            let size = self.config.batch_size.min(last - done);
            let numbers = order.f_narrow(0, done, size)?;
            let (inputs, classes) = self.data.training_batch(&numbers, drawn.as_ref())?;
            let place = Place { epoch, images_done: done };
            let step = self.learner.step(&inputs, &classes, place)?;
            let _ = loss_sums.f_add_(&step.loss.f_to_kind(Kind::Double)?.f_mul_scalar(size)?)?;
            right.f_narrow(1, done - first, size)?.f_copy_(&step.right)?;
            done += size;
            batches += 1;
            if batches % BATCHES_BETWEEN_LOOKS == 0 && device == Device::Cpu {
                let sums = host_values(&loss_sums)?;
                // Once a sum is not finite, it stays so.
                if self.live().any(|member| !sums[member].is_finite()) {
                    break;
                }
            }
            flow = listener(TrainingEvent::Batch { epoch, fraction: done as f64 / images as f64 });
        }
        let right = right.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Double)?;
        let [loss_sums, right] = host_pairs(&loss_sums, &right)?;
        let seconds = started.elapsed().as_secs_f64();
        for (member, (loss_sum, right)) in self.members.iter_mut().zip(loss_sums.into_iter().zip(right)) {
            let seconds = member.position.seconds + seconds;
            let right = member.position.right.map(|before| before + right as i64);
            member.position = Position { epoch, images_done: done, loss_sum, right, seconds };
        }
        Ok(flow)
    }

    /// Validates the members; none if the listener stopped it.
    fn validate(&self, listener: Listener<'_>) -> Result<Option<Vec<Validation>>, TchError> {
        let _no_gradients = tch::no_grad_guard();
        let order = self.data.validation();
        let images = order.numel() as i64;
        let batch_size = validation_batch(self.data);
        let (members, device) = (self.members.len() as i64, self.data.device());
        let mut correct = Tensor::f_zeros([members], (Kind::Int64, device))?;
        let mut loss_sums = Tensor::f_zeros([members], (Kind::Double, device))?;
        if listener(TrainingEvent::ValidationBegins) == Flow::Stop {
            return Ok(None);
        }
        let mut done = 0;
        while done < images {
            let size = batch_size.min(images - done);
            let (inputs, classes) = self.data.batch(&order.f_narrow(0, done, size)?)?;
            let logits = self.learner.forward(&inputs)?;
            let _ = correct.f_add_(&count_correct(&logits, &classes)?)?;
            let losses = pack_model::losses(&logits, &classes)?.f_to_kind(Kind::Double)?;
            let _ = loss_sums.f_add_(&losses.f_mul_scalar(size)?)?;
            done += size;
            if listener(TrainingEvent::ValidationBatch) == Flow::Stop {
                return Ok(None);
            }
        }
        let [correct, loss_sums] = host_pairs(&correct.f_to_kind(Kind::Double)?, &loss_sums)?;
        let share = |(correct, loss_sum)| Validation {
            loss: loss_sum / images as f64,
            accuracy: correct / images as f64,
        };
        Ok(Some(correct.into_iter().zip(loss_sums).map(share).collect()))
    }
}

/// A member's validation results.
struct Validation {
    /// Mean cross-entropy, in nats; may not be finite.
    loss: f64,
    /// Share that is classified correctly.
    accuracy: f64,
}

/// Images of a validation batch; the last may hold fewer.
fn validation_batch(data: &TrainingData) -> i64 {
    evaluation_batch(data.image_size(), data.validation().numel() as i64)
}

/// Images of a batch without training, if there are as many; the last may hold fewer.
pub(super) fn evaluation_batch(image_size: i64, images: i64) -> i64 {
    (VALIDATION_PIXELS / image_size.pow(2)).clamp(1, images.max(1))
}

/// Refuses packs with layers that kernels cannot count, as if memory ran out: a smaller pack can train.
fn check_layers(members: i64, images: i64, widest: i64) -> Result<(), TchError> {
    let numbers = widest.saturating_mul(images).saturating_mul(members);
    if members == 1 || numbers <= LAYER_NUMBERS_MAX {
        return Ok(());
    }
    let found = format!("a layer of {members} members has {numbers} numbers, at most {LAYER_NUMBERS_MAX}");
    Err(TchError::Shape(format!("out of memory that kernels can address: {found}")))
}

/// The values of a tensor `[n]` of doubles; waits for the device.
fn host_values(tensor: &Tensor) -> Result<Vec<f64>, TchError> {
    Vec::try_from(tensor.f_to_device(Device::Cpu)?)
}

/// The values of two tensors `[n]` of doubles, with one wait for the device.
fn host_pairs(one: &Tensor, other: &Tensor) -> Result<[Vec<f64>; 2], TchError> {
    let mut one = host_values(&Tensor::f_cat(&[one, other], 0)?)?;
    let other = one.split_off(one.len() / 2);
    Ok([one, other])
}

/// How many images have only finite logits and the largest at their class: `[…]` of logits `[…, N, classes]` and
/// classes `[N]`.
pub(super) fn count_correct(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
    let said = logits.f_isfinite()?.f_all_dim(-1, false)?;
    let right = logits.f_argmax(-1, false)?.f_eq_tensor(classes)?.f_logical_and(&said)?;
    right.f_sum_dim_intlist([-1_i64].as_slice(), false, Kind::Int64)
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
