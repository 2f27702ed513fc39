//! One training step of a single model, and its results for the batch.

use tch::{Reduction, TchError, Tensor};

use super::{
    adam::Adam,
    model::{Pass, SimpleCnn},
    training::IGNORED_CLASS,
};

/// The results of a training step for its batch, on the device; they belong to the weights before the step.
#[derive(Debug)]
pub struct Step {
    /// Mean cross-entropy of the batch: a scalar, or `[members]` of a pack.
    pub loss: Tensor,
    /// Whether the largest logit of each image is its class's: booleans `[N]`, or `[members, N]` in a pack.
    pub right: Tensor,
}

/// One step: forward, mean cross-entropy, backward, Adam. `noise_seed` decides what dropout drops.
///
/// # Errors
/// What libtorch says.
pub fn train_step(
    model: &SimpleCnn,
    adam: &mut Adam,
    images: &Tensor,
    classes: &Tensor,
    noise_seed: u64,
) -> Result<Step, TchError> {
    let logits = model.forward(images, Pass::Training { noise_seed })?;
    let loss = logits.f_cross_entropy_loss(classes, None::<&Tensor>, Reduction::Mean, IGNORED_CLASS, 0.0)?;
    // Gradients are returned and not stored in `.grad`, which would have to be zeroed and added to.
    let gradients = Tensor::f_run_backward(&[&loss], model.parameters(), false, false)?;
    adam.step(model.parameters(), &gradients)?;
    Ok(Step { loss: loss.f_detach()?, right: are_right(&logits, classes)? })
}

/// Whether the largest of an image's logits is its class's: booleans `[…, N]` of logits `[…, N, classes]` and classes
/// `[N]`. As cheap as possible: if logits are not finite, the loss is not either, and then no one uses this.
pub(super) fn are_right(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
    logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(classes)
}
