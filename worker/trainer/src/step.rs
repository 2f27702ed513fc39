//! A single model with what trains it, and one training step.

use tch::{Reduction, TchError, Tensor};

use super::{
    clipping::{Clipped, Clipping},
    config::TrainingConfig,
    model::{Pass, SimpleCnn},
    optimiser::{Optimiser, OptimiserState},
    training::IGNORED_CLASS,
};

/// The results of a training step for its batch, on the device; they belong to the weights before the step.
#[derive(Debug)]
pub struct Step {
    /// Mean cross-entropy of the batch, smoothed where the job asks for it: `[members]` of a pack.
    pub loss: Tensor,
    /// Whether the largest logit of each image is its class's: booleans `[members, N]`.
    pub right: Tensor,
    /// Norms of the gradients before they were clipped, `[members]` in the order of the model (`Learner::row`), as training itself
    /// does not read them; none where no member clips.
    pub gradient_norms: Option<Tensor>,
}

/// One job's model and what trains it.
#[derive(Debug)]
pub struct Single {
    model: SimpleCnn,
    optimiser: Optimiser,
    label_smoothing: f64,
    clipping: Option<Clipping>,
}

impl Single {
    /// Trains `model` as the job asks, from the optimiser's state `kept` on, or from its beginning.
    ///
    /// # Errors
    /// What libtorch says, and the state of another job.
    pub fn new(
        model: SimpleCnn,
        config: &TrainingConfig,
        kept: Option<&OptimiserState>,
    ) -> Result<Self, TchError> {
        let optimiser = Optimiser::new(model.parameters(), &config.optimiser, kept)?;
        let device = model.parameters()[0].device();
        let clipping = Clipping::new(&[config.gradient_clip_norm], device)?;
        Ok(Self { model, optimiser, label_smoothing: config.label_smoothing, clipping })
    }

    /// What is trained.
    pub fn model(&self) -> &SimpleCnn {
        &self.model
    }

    /// What moves its parameters.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// One step: forward, mean cross-entropy, backward, clipping, optimiser. `noise_seed` decides what dropout drops.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn step(
        &mut self,
        images: &Tensor,
        classes: &Tensor,
        learning_rate: f64,
        noise_seed: u64,
    ) -> Result<Step, TchError> {
        let logits = self.model.forward(images, Pass::Training { noise_seed })?;
        let (weight, smoothing) = (None::<&Tensor>, self.label_smoothing);
        let loss = logits.f_cross_entropy_loss(classes, weight, Reduction::Mean, IGNORED_CLASS, smoothing)?;
        // Gradients are returned and not stored in `.grad`, which would have to be zeroed and added to.
        let gradients = Tensor::f_run_backward(&[&loss], self.model.parameters(), false, false)?;
        let (gradients, gradient_norms) = match &self.clipping {
            None => (gradients, None),
            Some(clipping) => {
                let Clipped { gradients, norms } = clipping.apply_to_one(&gradients)?;
                (gradients, Some(norms))
            }
        };
        self.optimiser.step(learning_rate, self.model.parameters(), &gradients)?;
        let right = are_right(&logits, classes)?.f_unsqueeze(0)?;
        Ok(Step { loss: loss.f_detach()?.f_view([1])?, right, gradient_norms })
    }
}

/// Whether the largest of an image's logits is its class's: booleans `[…, N]` of logits `[…, N, classes]` and classes
/// `[N]`. As cheap as possible: if logits are not finite, the loss is not either, and then no one uses this.
pub(super) fn are_right(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
    logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(classes)
}
