//! What learns in a pack: a single job as a SimpleCNN, or several as one array model, each with its own optimiser.

use tch::{Device, TchError, Tensor};

use super::{
    adam::{Adam, AdamSettings, AdamState, host_copy},
    layers::Layers,
    model::{self, Pass, SimpleCnn},
    pack_model::{self, Layout, PackMember, PackModel},
    parameters::Parameters,
    random,
    step::{Step, are_right, train_step},
    training::{Place, Start},
};

/// The models of a pack's members and their optimisers.
#[derive(Debug)]
pub struct Learner {
    models: Models,
    /// The seed that all jobs have.
    seed: u64,
}

#[derive(Debug)]
enum Models {
    /// A single job.
    One(SimpleCnn, Adam),
    /// Several jobs.
    Many(Array),
}

/// An array model and its members' optimisers.
#[derive(Debug)]
struct Array {
    model: PackModel,
    /// In the order of the jobs, which may differ from the model's.
    members: Vec<ArrayMember>,
}

/// One member of an array model.
#[derive(Debug)]
struct ArrayMember {
    /// Its index in the model.
    row: i64,
    /// Its part of the model's parameters.
    parameters: Parameters,
    adam: Adam,
    frozen: bool,
}

impl Learner {
    /// The jobs' models, which may only differ in what a job of a pack may have for itself.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn new(
        jobs: &[Start<'_>],
        [image_size, classes]: [i64; 2],
        device: Device,
        layout: Layout,
    ) -> Result<Self, TchError> {
        // They have the same layers and the same seed, and so the same initial weights.
        let config = jobs.first().expect("a pack has jobs").config;
        let seed = config.seed;
        let initial = match jobs.iter().find(|job| job.snapshot.is_none()) {
            Some(_) => {
                let layers = Layers::new(&config.architecture, image_size, classes);
                Some(model::initial_parameters(seed, &layers)?)
            }
            None => None,
        };
        let weights = jobs.iter().map(|job| {
            let kept = job.snapshot.as_ref().map(|kept| &kept.parameters);
            kept.or(initial.as_ref()).expect("drawn where a job has no snapshot")
        });
        let weights: Vec<&Parameters> = weights.collect();
        if let ([job], [weights]) = (jobs, weights.as_slice()) {
            let model = SimpleCnn::new(weights, config.activation, config.precision, device)?;
            let model = model.with_dropout(config.dropout);
            let adam = optimiser(model.parameters(), job)?;
            return Ok(Self { models: Models::One(model, adam), seed });
        }
        let array = Array::new(jobs, &weights, device, layout)?;
        Ok(Self { models: Models::Many(array), seed })
    }

    /// One step of every member, the one that begins at `place`: forward, mean cross-entropy, backward, Adam. Results are
    /// in the order of the jobs.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn step(&mut self, images: &Tensor, classes: &Tensor, place: Place) -> Result<Step, TchError> {
        let noise_seed = random::noise_seed(self.seed, place.epoch, place.images_done);
        match &mut self.models {
            Models::One(model, adam) => {
                let Step { loss, right } = train_step(model, adam, images, classes, noise_seed)?;
                Ok(Step { loss: loss.f_view([1])?, right: right.f_unsqueeze(0)? })
            }
            Models::Many(array) => array.step(images, classes, noise_seed),
        }
    }

    /// The members' logits outside training, `[members, N, classes]`.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, TchError> {
        match &self.models {
            Models::One(model, _) => model.forward(images, Pass::Evaluation)?.f_unsqueeze(0),
            Models::Many(array) => array.in_order_of_jobs(&array.model.forward(images, Pass::Evaluation)?),
        }
    }

    /// A member's parameters and its optimiser's state: copies, contiguous and on the CPU.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn state(&self, member: usize) -> Result<(Parameters, AdamState), TchError> {
        Ok((self.parameters(member)?, self.own(member).1.state()?))
    }

    /// A member's parameters: copies, contiguous, float32 and on the CPU.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn parameters(&self, member: usize) -> Result<Parameters, TchError> {
        self.own(member).0.try_map(host_copy)
    }

    fn own(&self, member: usize) -> (&Parameters, &Adam) {
        match &self.models {
            Models::One(model, adam) => (model.parameters(), adam),
            Models::Many(array) => (&array.members[member].parameters, &array.members[member].adam),
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
            let adam = optimiser(&parameters, job)?;
            members.push(ArrayMember { row: row as i64, parameters, adam, frozen: false });
        }
        Ok(Self { model, members })
    }

    fn step(&mut self, images: &Tensor, classes: &Tensor, noise_seed: u64) -> Result<Step, TchError> {
        let logits = self.model.forward(images, Pass::Training { noise_seed })?;
        let losses = pack_model::losses(&logits, classes)?;
        // A member's loss only depends on its own parameters, so the sum's gradients are the members' own.
        let sum = losses.f_sum(losses.kind())?;
        let gradients = Tensor::f_run_backward(&[&sum], self.model.parameters(), false, false)?;
        let pairs = gradients.iter().zip(self.model.parameters());
        let gradients = pairs.map(|(gradient, parameter)| laid_out_as(gradient, parameter));
        let gradients: Vec<Tensor> = gradients.collect::<Result<_, _>>()?;
        for member in self.members.iter_mut().filter(|member| !member.frozen) {
            let own = gradients.iter().map(|gradient| gradient.f_select(0, member.row));
            member.adam.step(&member.parameters, &own.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(Step {
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

fn optimiser(parameters: &[Tensor], job: &Start<'_>) -> Result<Adam, TchError> {
    let settings = AdamSettings::pytorch(job.config.learning_rate);
    match &job.snapshot {
        Some(kept) => Adam::resume(parameters, settings, &kept.adam),
        None => Adam::new(parameters, settings),
    }
}

/// The gradient in the parameter's layout: converted once for all members, and not for each member in Adam.
fn laid_out_as(gradient: &Tensor, parameter: &Tensor) -> Result<Tensor, TchError> {
    if gradient.stride() == parameter.stride() {
        return Ok(gradient.shallow_clone());
    }
    let mut own = parameter.f_detach()?.f_empty_like()?;
    own.f_copy_(gradient)?;
    Ok(own)
}
