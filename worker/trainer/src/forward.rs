//! The forward pass of SimpleCNN, defined once. How each operation is computed is up to the model: alone on the CPU, alone
//! on another device, or for many members at the same time.

use tch::{Kind, TchError, Tensor};

use super::{
    parameters::{Layer, Layers, Parameters},
    precision::Precision,
};

/// How a model computes the operations of the forward pass.
pub(super) trait Operations {
    fn parameters(&self) -> &Parameters;

    fn precision(&self) -> Precision;

    /// Both convolutions, each with pooling and activation, flattened by channel, row and column.
    fn features(&self, images: &Tensor, convolutions: [Layer<'_>; 2]) -> Result<Tensor, TchError>;

    /// A linear layer.
    fn linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError>;

    /// The widest linear layer, for which there may be a faster way.
    fn widest_linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
        self.linear(inputs, layer)
    }

    /// The activation of the hidden layer.
    fn activate(&self, sums: Tensor) -> Result<Tensor, TchError>;
}

/// The logits of images; they are float32 whatever the layers compute with.
pub(super) fn logits(model: &impl Operations, images: &Tensor) -> Result<Tensor, TchError> {
    let precision = model.precision();
    let parameters = model.parameters().try_map(|parameter| precision.of(parameter))?;
    let Layers { conv1, conv2, fc1, fc2 } = parameters.layers();
    let features = model.features(&precision.of(images)?, [conv1, conv2])?;
    let hidden = model.activate(model.widest_linear(&features, fc1)?)?;
    let logits = model.linear(&hidden, fc2)?;
    if precision == Precision::Fp32 { Ok(logits) } else { logits.f_to_kind(Kind::Float) }
}

/// A convolution and its pooling, before the activation. The report activates before it pools; both activations increase,
/// so the order does not change the values, and a pooled image needs a quarter of the activations.
pub(super) fn convolve(
    images: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: i64,
) -> Result<Tensor, TchError> {
    images.f_conv2d(weight, Some(bias), 1, 1, 1, groups)?.f_max_pool2d(2, 2, 0, 1, false)
}
