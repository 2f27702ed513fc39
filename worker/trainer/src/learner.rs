//! What learns in a pack: a single job as a SimpleCNN, or several as one array model, each with its own optimiser and its own
//! learning rates.

use tch::{Device, TchError, Tensor};

use super::{
    adam::host_copy,
    clipping::{Clipped, Clipping},
    config::TrainingConfig,
    layers::Layers,
    model::{self, Pass, SimpleCnn},
    optimiser::{Optimiser, OptimiserState},
    pack_model::{self, Layout, PackMember, PackModel},
    parameters::Parameters,
    random,
    schedule::LearningRates,
    smoothing::Smoothing,
    step::{Single, Step, are_right},
    training::{Place, Start},
    training_data::TrainingData,
};

/// What a model and its training need to know of a data set.
#[derive(Debug, Clone, Copy)]
pub struct DataShape {
    /// Side of the images in pixels.
    pub image_size: i64,
    pub classes: i64,
    /// Images of an epoch.
    pub train_images: u64,
}

impl DataShape {
    /// That of a data set.
    pub fn of(data: &TrainingData) -> Self {
        Self { image_size: data.image_size(), classes: data.classes(), train_images: data.train_images() }
    }
}

/// The models of a pack's members and their optimisers.
#[derive(Debug)]
pub struct Learner {
    models: Models,
    /// Those of each job, in their order.
    rates: Vec<LearningRates>,
    steps_per_epoch: u64,
    /// What all jobs have.
    seed: u64,
    batch_size: i64,
}

#[derive(Debug)]
enum Models {
    /// A single job.
    One(Box<Single>),
    /// Several jobs.
    Many(Array),
}

/// An array model and its members' optimisers.
#[derive(Debug)]
struct Array {
    model: PackModel,
    /// In the order of the jobs, which may differ from the model's.
    members: Vec<ArrayMember>,
    /// None where no member smooths; in the order of the model, as the limits.
    smoothing: Option<Smoothing>,
    /// None where no member clips.
    clipping: Option<Clipping>,
}

/// One member of an array model.
#[derive(Debug)]
struct ArrayMember {
    /// Its index in the model.
    row: i64,
    /// Its part of the model's parameters.
    parameters: Parameters,
    optimiser: Optimiser,
    frozen: bool,
}

impl Learner {
    /// The jobs' models, which may only differ in what a job of a pack may have for itself.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn new(
        jobs: &[Start<'_>],
        data: DataShape,
        device: Device,
        layout: Layout,
    ) -> Result<Self, TchError> {
        // They have the same layers and the same seed, and so the same initial weights.
        let config = jobs.first().expect("a pack has jobs").config;
        let seed = config.seed;
        let initial = match jobs.iter().find(|job| job.snapshot.is_none()) {
            Some(_) => {
                let layers = Layers::new(&config.architecture, data.image_size, data.classes);
                Some(model::initial_parameters(seed, &layers)?)
            }
            None => None,
        };
        let weights = jobs.iter().map(|job| {
            let kept = job.snapshot.as_ref().map(|kept| &kept.parameters);
            kept.or(initial.as_ref()).expect("drawn where a job has no snapshot")
        });
        let weights: Vec<&Parameters> = weights.collect();
        let models = if let ([job], [weights]) = (jobs, weights.as_slice()) {
            let model = SimpleCnn::new(weights, config.activation, config.precision, device)?;
            let model = model.with_dropout(config.dropout);
            Models::One(Box::new(Single::new(model, config, kept(job))?))
        } else {
            Models::Many(Array::new(jobs, &weights, data.classes, device, layout)?)
        };
        let rates = jobs.iter().map(|job| job.config.learning_rates()).collect();
        let batch_size = config.batch_size;
        let steps_per_epoch = data.train_images.div_ceil(batch_size.unsigned_abs().max(1));
        Ok(Self { models, rates, steps_per_epoch, seed, batch_size })
    }

    /// One step of every member, the one that begins at `place`: forward, mean cross-entropy, backward, clipping, optimiser.
    /// Losses and hits are in the order of the jobs.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn step(&mut self, images: &Tensor, classes: &Tensor, place: Place) -> Result<Step, TchError> {
        let noise_seed = random::noise_seed(self.seed, place.epoch, place.images_done);
        // A batch begins where one of the whole size ends, also after a member waited for the others.
        let of_epoch = place.images_done / self.batch_size.max(1);
        let step = u64::from(place.epoch.saturating_sub(1)) * self.steps_per_epoch + of_epoch.unsigned_abs();
        let rates: Vec<f64> = self.rates.iter().map(|rates| rates.at(step, self.steps_per_epoch)).collect();
        match &mut self.models {
            Models::One(single) => single.step(images, classes, rates[0], noise_seed),
            Models::Many(array) => array.step(images, classes, &rates, noise_seed),
        }
    }

    /// The members' logits outside training, `[members, N, classes]`.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, TchError> {
        match &self.models {
            Models::One(single) => single.model().forward(images, Pass::Evaluation)?.f_unsqueeze(0),
            Models::Many(array) => array.in_order_of_jobs(&array.model.forward(images, Pass::Evaluation)?),
        }
    }

    /// A member's parameters and its optimiser's state: copies, contiguous and on the CPU.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn state(&self, member: usize) -> Result<(Parameters, OptimiserState), TchError> {
        Ok((self.parameters(member)?, self.own(member).1.state()?))
    }

    /// A member's parameters: copies, contiguous, float32 and on the CPU.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn parameters(&self, member: usize) -> Result<Parameters, TchError> {
        self.own(member).0.try_map(host_copy)
    }

    fn own(&self, member: usize) -> (&Parameters, &Optimiser) {
        match &self.models {
            Models::One(single) => (single.model().parameters(), single.optimiser()),
            Models::Many(array) => (&array.members[member].parameters, &array.members[member].optimiser),
        }
    }

    /// The index in the model of a job, by which [`Step::gradient_norms`] are in order.
    pub fn row(&self, member: usize) -> i64 {
        match &self.models {
            Models::One(_) => 0,
            Models::Many(array) => array.members[member].row,
        }
    }

    /// Stops a member from learning. It stays in the array, so that nothing changes for the others.
    pub fn freeze(&mut self, member: usize) {
        if let Models::Many(array) = &mut self.models {
            array.members[member].frozen = true;
        }
    }
}

impl Array {
    fn new(
        jobs: &[Start<'_>],
        weights: &[&Parameters],
        classes: i64,
        device: Device,
        layout: Layout,
    ) -> Result<Self, TchError> {
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        // Those of one activation next to each other.
        order.sort_by_key(|&job| jobs[job].config.activation);
        let of_jobs = order.iter().map(|&job| {
            let config = jobs[job].config;
            PackMember { parameters: weights[job], activation: config.activation, dropout: config.dropout }
        });
        let of_jobs: Vec<PackMember<'_>> = of_jobs.collect();
        let model = PackModel::new(&of_jobs, jobs[0].config.precision, layout, device)?;
        let mut members = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            let row = order.iter().position(|&ordered| ordered == index).expect("it is an order of all jobs");
            let parameters = model.member(row as i64)?;
            let optimiser = Optimiser::new(&parameters, &job.config.optimiser, kept(job))?;
            members.push(ArrayMember { row: row as i64, parameters, optimiser, frozen: false });
        }
        let of_jobs = |number: fn(&TrainingConfig) -> f64| -> Vec<f64> {
            order.iter().map(|&job| number(jobs[job].config)).collect()
        };
        let smoothing = Smoothing::new(&of_jobs(|config| config.label_smoothing), classes, device)?;
        let clipping = Clipping::new(&of_jobs(|config| config.gradient_clip_norm), device)?;
        Ok(Self { model, members, smoothing, clipping })
    }

    /// One step of every member that is not frozen, each at its own rate.
    fn step(
        &mut self,
        images: &Tensor,
        classes: &Tensor,
        rates: &[f64],
        noise_seed: u64,
    ) -> Result<Step, TchError> {
        let logits = self.model.forward(images, Pass::Training { noise_seed })?;
        let losses = match &self.smoothing {
            Some(smoothing) => smoothing.losses(&logits, classes)?,
            None => pack_model::losses(&logits, classes)?,
        };
        // A member's loss only depends on its own parameters, so the sum's gradients are the members' own.
        let sum = losses.f_sum(losses.kind())?;
        let gradients = Tensor::f_run_backward(&[&sum], self.model.parameters(), false, false)?;
        let pairs = gradients.iter().zip(self.model.parameters());
        let gradients = pairs.map(|(gradient, parameter)| laid_out_as(gradient, parameter));
        let gradients: Vec<Tensor> = gradients.collect::<Result<_, _>>()?;
        let (gradients, norms) = match &self.clipping {
            None => (gradients, None),
            Some(clipping) => {
                let Clipped { gradients, norms } = clipping.apply(&gradients)?;
                (gradients, Some(norms))
            }
        };
        for (member, rate) in self.members.iter_mut().zip(rates).filter(|(member, _)| !member.frozen) {
            let own = gradients.iter().map(|gradient| gradient.f_select(0, member.row));
            member.optimiser.step(*rate, &member.parameters, &own.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(Step {
            gradient_norms: norms,
            loss: self.in_order_of_jobs(&losses.f_detach()?)?,
            right: self.in_order_of_jobs(&are_right(&logits, classes)?)?,
        })
    }

    /// A result of the model, `[members, …]`, in the order of the jobs.
    fn in_order_of_jobs(&self, given: &Tensor) -> Result<Tensor, TchError> {
        if self.members.iter().enumerate().all(|(job, member)| member.row == job as i64) {
            return Ok(given.shallow_clone());
        }
        // Views, because an index would have to be copied to the device.
        let rows = self.members.iter().map(|member| given.f_select(0, member.row));
        Tensor::f_stack(&rows.collect::<Result<Vec<_>, _>>()?, 0)
    }
}

/// The optimiser's state that a job continues from.
fn kept<'a>(job: &'a Start<'_>) -> Option<&'a OptimiserState> {
    job.snapshot.as_ref().map(|snapshot| &snapshot.optimiser)
}

/// The gradient in the parameter's layout: converted once for all members, and not for each member in its optimiser.
fn laid_out_as(gradient: &Tensor, parameter: &Tensor) -> Result<Tensor, TchError> {
    if gradient.stride() == parameter.stride() {
        return Ok(gradient.shallow_clone());
    }
    let mut own = parameter.f_detach()?.f_empty_like()?;
    own.f_copy_(gradient)?;
    Ok(own)
}
