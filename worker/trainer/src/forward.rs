//! The forward pass of SimpleCNN, defined once. How each operation is computed is up to the model: alone on the CPU, alone
//! on another device, or for many members at the same time.

use tch::{Kind, TchError, Tensor};

use super::{
    layers::{Convolution, Layer, Network, Norm},
    parameters::Parameters,
    precision::Precision,
    random,
};

/// PyTorch's defaults of `BatchNorm2d`: the weight of a batch in the running statistics, and what is added to a variance.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The results of the model as it is: nothing is dropped, and batch normalisation uses its running statistics.
    Evaluation,
    /// A training step: values are dropped, and batch normalisation uses those of the batch and updates its statistics.
    Training {
        /// Seed of what is dropped.
        noise_seed: u64,
    },
}

/// How a model computes the operations of the forward pass.
pub(super) trait Operations {
    fn parameters(&self) -> &Parameters;

    fn precision(&self) -> Precision;

    /// All convolutions, each with normalisation, pooling and activation, flattened by channel, row and column.
    fn features(
        &self,
        images: &Tensor,
        convolutions: &[Convolution<'_>],
        pass: Pass,
    ) -> Result<Tensor, TchError>;

    /// A linear layer.
    fn linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError>;

    /// The widest linear layer, for which there may be a faster way.
    fn widest_linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
        self.linear(inputs, layer)
    }

    /// The activation of the hidden layer.
    fn activate(&self, sums: Tensor) -> Result<Tensor, TchError>;

    /// Drops a share of the hidden layer's values in training, and scales the others.
    fn drop_some(&self, hidden: Tensor, pass: Pass) -> Result<Tensor, TchError>;
}

/// The logits of images; they are float32 whatever the layers compute with.
pub(super) fn logits(model: &impl Operations, images: &Tensor, pass: Pass) -> Result<Tensor, TchError> {
    let precision = model.precision();
    let rounded = model.parameters().rounded(precision)?;
    let Network { convolutions, fc1, fc2 } = model.parameters().network(&rounded);
    let features = model.features(&precision.of(images)?, &convolutions, pass)?;
    let hidden = model.drop_some(model.activate(model.widest_linear(&features, fc1)?)?, pass)?;
    let logits = model.linear(&hidden, fc2)?;
    if precision == Precision::Fp32 { Ok(logits) } else { logits.f_to_kind(Kind::Float) }
}

/// A convolution's sums, before pooling and activation.
pub(super) fn convolve(
    images: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: i64,
) -> Result<Tensor, TchError> {
    images.f_conv2d(weight, Some(bias), 1, 1, 1, groups)
}

/// 2×2 pooling; a last odd row and column is dropped.
pub(super) fn pool(sums: &Tensor) -> Result<Tensor, TchError> {
    sums.f_max_pool2d(2, 2, 0, 1, false)
}

/// Batch normalisation of `[N, channels, …]`. In training, it updates the running statistics in place.
pub(super) fn normalise(sums: &Tensor, norm: Norm<'_>, pass: Pass) -> Result<Tensor, TchError> {
    let Norm { layer, mean, variance, batches } = norm;
    let trains = pass != Pass::Evaluation;
    if trains {
        let _ = batches.shallow_clone().f_add_scalar_(1)?;
    }
    let some = [layer.weight, layer.bias, mean, variance].map(Some);
    let [weight, bias, mean, variance] = some;
    sums.f_batch_norm(weight, bias, mean, variance, trains, MOMENTUM, EPSILON, true)
}

/// One number in [0, 1) for each hidden value `[N, hidden]` of a batch: those below a model's share of dropout are dropped.
/// They only depend on the seed, so that a step that is done again, elsewhere or in a pack, drops the same.
pub(super) fn noise(noise_seed: u64, hidden: &Tensor) -> Result<Tensor, TchError> {
    let shape = hidden.size();
    let of_batch = &shape[shape.len() - 2..];
    random::uniform(of_batch, noise_seed)?.f_to_device(hidden.device())
}
