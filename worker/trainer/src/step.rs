//! One training step of a model alone, and what a step says of its batch.

use tch::{Reduction, TchError, Tensor};

use super::{adam::Adam, model::SimpleCnn, training::IGNORED_CLASS};

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
