//! SimpleCNN, alone: by default the report's network, conv1 3→16 · pool · conv2 16→32 · pool · fc1 →128 · fc2 → one logit
//! per class, with the activation after each pool and after fc1. Parameters, names, order, shapes and initial values are
//! PyTorch's; memory is channels-last, which is 1.2 times faster on a CPU and does not change the meaning.

use std::{sync::Arc, time::Instant};

use tch::{Device, Kind, TchError, Tensor};

use super::{
    ffi::{self, FusedActivation},
    forward::{self, Operations},
    layers::{Convolution, Initial, Layer, Layers},
    parameters::Parameters,
    random,
};

pub use super::{
    activation::{Activation, UnknownActivation},
    forward::Pass,
    precision::{Precision, UnknownPrecision},
};

/// The parameters that `torch.manual_seed(seed)` followed by building the model in PyTorch gives, on the CPU: weights
/// and biases of a layer alike from U(±1/√fan_in), drawn in the order of [`Layers::learnt`]. Batch normalisation draws
/// nothing.
///
/// # Errors
/// What libtorch says.
pub fn initial_parameters(seed: u64, layers: &Arc<Layers>) -> Result<Parameters, TchError> {
    random::with_seed(seed, || {
        let fill = |described: &super::layers::Described| {
            let mut tensor = Tensor::f_empty(&described.shape, (described.kind, Device::Cpu))?;
            match described.initial {
                #[expect(clippy::disallowed_methods, reason = "within `random::with_seed`")]
                Initial::Uniform(bound) => tensor.f_uniform_(-bound, bound),
                Initial::Constant(value) => tensor.f_fill_(value),
            }
        };
        Ok(Parameters::new(layers, layers.all().map(fill).collect::<Result<_, TchError>>()?))
    })
}

/// The model with its parameters on one device.
#[derive(Debug)]
pub struct SimpleCnn {
    parameters: Parameters,
    activation: Activation,
    precision: Precision,
    /// Share of the hidden values that a training step drops.
    dropout: f64,
    /// The activation within the function that computes both convolutions at once, where that fits.
    fused: Option<FusedActivation>,
}

impl SimpleCnn {
    /// A model with float32 copies of `parameters`, without dropout.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(
        parameters: &Parameters,
        activation: Activation,
        precision: Precision,
        device: Device,
    ) -> Result<Self, TchError> {
        let parameters = parameters.try_map(|parameter| {
            // A copy, so that training never changes the caller's tensors.
            let mut own = Tensor::f_empty(parameter.size(), (parameter.kind(), device))?;
            own.f_copy_(&parameter.f_detach()?)?;
            if own.dim() == 4 { channels_last(&own) } else { Ok(own) }
        })?;
        let fits = device == Device::Cpu && parameters.layers().are_two_plain_convolutions();
        let fused = FusedActivation::of(activation).filter(|_| fits);
        Ok(Self { parameters: parameters.with_gradients()?, activation, precision, dropout: 0.0, fused })
    }

    /// The same model, of whose hidden values a training step drops this share, in [0, 1).
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The parameters in the order of [`Layers::learnt`].
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The logits `[N, classes]` of images `[N, 3, S, S]`, which are float32 in [-1, 1]; the logits are float32.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn forward(&self, images: &Tensor, pass: Pass) -> Result<Tensor, TchError> {
        forward::logits(self, images, pass)
    }
}

impl Operations for SimpleCnn {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn features(
        &self,
        images: &Tensor,
        convolutions: &[Convolution<'_>],
        pass: Pass,
    ) -> Result<Tensor, TchError> {
        if let Some(activation) = self.fused {
            // As float32: the function rounds by itself.
            let network = self.parameters.network(&self.parameters);
            if let [first, second] = network.convolutions.as_slice() {
                return ffi::features(images, [first.layer, second.layer], activation);
            }
        }
        let mut features = images.shallow_clone();
        for Convolution { layer, norm } in convolutions {
            let sums = forward::convolve(&features, layer.weight, layer.bias, 1)?;
            let sums = match norm {
                Some(norm) => forward::normalise(&sums, *norm, pass)?,
                None => sums,
            };
            features = if self.activation.increases() {
                self.activation.apply(forward::pool(&sums)?)?
            } else {
                forward::pool(&self.activation.of(&sums)?)?
            };
        }
        // Flattening is by channel, row, column as in PyTorch, whatever the layout in memory.
        features.f_flatten(1, -1)
    }

    fn linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
        inputs.f_linear(layer.weight, Some(layer.bias))
    }

    fn widest_linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
        if inputs.device() == Device::Cpu && self.precision == Precision::Fp32 {
            return ffi::dense(inputs, layer);
        }
        self.linear(inputs, layer)
    }

    fn activate(&self, sums: Tensor) -> Result<Tensor, TchError> {
        self.activation.apply(sums)
    }

    fn drop_some(&self, hidden: Tensor, pass: Pass) -> Result<Tensor, TchError> {
        let Pass::Training { noise_seed } = pass else { return Ok(hidden) };
        if self.dropout == 0.0 {
            return Ok(hidden);
        }
        let kept = forward::noise(noise_seed, &hidden)?.f_ge(self.dropout)?.f_to_kind(hidden.kind())?;
        hidden.f_mul(&kept.f_mul_scalar(1.0 / (1.0 - self.dropout))?)
    }
}

/// The same tensor `[A, B, C, D]`, laid out in memory as `[A, C, D, B]`.
///
/// # Errors
/// What libtorch says.
pub fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// Bytes `[N, S, S, 3]` in the model's format: float32 `[N, 3, S, S]`, from [0, 255] to [-1, 1]. The layout stays, so
/// that the result is channels-last without another copy.
///
/// `v / 127.5 - 1` is torchvision's `(v / 255 - 0.5) / 0.5` to the last bit, because scaling by two is exact.
///
/// # Errors
/// What libtorch says.
pub fn normalise(images: &Tensor) -> Result<Tensor, TchError> {
    let mut values = images.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?;
    values.f_div_scalar_(127.5)?.f_sub_scalar_(1.0)
}

/// The speed of this machine's CPU in matrix products of this precision with the current threads, in GFLOP a second:
/// the reference for a training step.
///
/// # Errors
/// What libtorch says.
pub fn product_gflops(precision: Precision) -> Result<f64, TchError> {
    /// The operands and the result have 17 MB each, as large as the model's largest weights.
    const SIDE: i64 = 2048;
    const TRIES: usize = 5;
    let _no_gradients = tch::no_grad_guard();
    let operand = Tensor::f_ones([SIDE, SIDE], (Kind::Float, Device::Cpu))?;
    let bias = Tensor::f_zeros([SIDE], (Kind::Float, Device::Cpu))?;
    let rounded = precision.of(&operand)?;
    let mut shortest = f64::INFINITY;
    for _ in 0..TRIES {
        let started = Instant::now();
        let _product = match precision {
            Precision::Fp32 => ffi::dense(&operand, Layer { weight: &operand, bias: &bias })?,
            Precision::Bf16 => rounded.f_matmul(&rounded)?,
        };
        shortest = shortest.min(started.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE as f64).powi(3) / shortest / 1e9)
}

#[cfg(test)]
mod tests {
    use super::super::{layers::Architecture, random::tests::MersenneTwister};
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.contiguous().view(-1)).unwrap()
    }

    fn report(image_size: i64, classes: i64) -> Arc<Layers> {
        Layers::new(&Architecture::default(), image_size, classes)
    }

    #[test]
    fn the_model_has_the_reports_parameters() {
        let layers = report(128, 2);
        let counts = layers.learnt().iter().map(|one| one.shape.iter().product::<i64>());
        let counts: Vec<i64> = counts.collect();
        assert_eq!(counts.iter().sum::<i64>(), 4_199_778);
        assert_eq!(counts[4] + counts[5], 4_194_432);
    }

    #[test]
    fn initial_values_are_pytorchs_for_the_seed() {
        let parameters = initial_parameters(5, &report(16, 2)).unwrap();
        let mut twister = MersenneTwister::new(5);
        for (parameter, fan_in) in
            parameters.iter().zip([27.0_f64, 27.0, 144.0, 144.0, 512.0, 512.0, 128.0, 128.0])
        {
            let bound = (1.0 / fan_in.sqrt()) as f32;
            for value in values(parameter) {
                // at::uniform_real_distribution<float>: 24 bits of a draw, stretched over the range.
                let unit = (twister.draw() & 0xff_ffff) as f32 / 16_777_216.0;
                let expected = unit * (2.0 * bound) - bound;
                assert!((value - expected).abs() <= bound * 4e-7, "{value} is not {expected}");
            }
        }
    }

    #[test]
    fn initial_values_fill_pytorchs_range_evenly() {
        let parameters = initial_parameters(0, &report(64, 2)).unwrap();
        for (parameter, fan_in) in parameters.iter().zip([27.0_f64, 27.0, 144.0, 144.0, 8192.0, 8192.0]) {
            let bound = 1.0 / fan_in.sqrt();
            let largest = parameter.abs().max().double_value(&[]);
            assert!(largest <= bound * 1.000_001 && largest > bound * 0.8, "{largest} of {bound}");
        }
        // A uniform distribution's standard deviation is its bound / √3; fc1 has a million values.
        let deviation = parameters[4].std(true).double_value(&[]);
        assert!((deviation * (3.0 * 8192.0_f64).sqrt() - 1.0).abs() < 0.005);
        assert!(parameters[4].mean(Kind::Double).double_value(&[]).abs() < 1e-4);
    }

    #[test]
    fn initial_values_depend_on_the_seed_alone() {
        let [first, again, other] = [3, 3, 4].map(|seed| initial_parameters(seed, &report(16, 2)).unwrap());
        assert!(first.iter().zip(&again).all(|(one, two)| one.equal(two)));
        assert!(first.iter().zip(&other).all(|(one, two)| !one.equal(two)));
    }

    /// The forward pass in evaluation as PyTorch writes it: activation before pooling.
    fn as_written(parameters: &Parameters, activation: Activation, images: &Tensor) -> Tensor {
        let network = parameters.network(parameters);
        let mut features = images.shallow_clone();
        for Convolution { layer, norm } in &network.convolutions {
            features = features.conv2d(layer.weight, Some(layer.bias), 1, 1, 1, 1);
            if let Some(norm) = norm {
                let of = |tensor: &Tensor| tensor.view([1, -1, 1, 1]);
                features = (features - of(norm.mean)) / (of(norm.variance) + 1e-5).sqrt();
                features = features * of(norm.layer.weight) + of(norm.layer.bias);
            }
            features = activation.of(&features).unwrap().max_pool2d(2, 2, 0, 1, false);
        }
        let hidden = features.flatten(1, -1).linear(network.fc1.weight, Some(network.fc1.bias));
        activation.of(&hidden).unwrap().linear(network.fc2.weight, Some(network.fc2.bias))
    }

    #[test]
    fn every_model_gives_the_values_of_its_layers_as_pytorch_orders_them() {
        let images = Tensor::arange(2 * 3 * 20 * 20, (Kind::Float, Device::Cpu)).sin().view([2, 3, 20, 20]);
        for channels in [vec![16, 32], vec![4], vec![4, 8, 8]] {
            for (batch_norm, activation) in [false, true].into_iter().flat_map(|norm| {
                ["relu", "sigmoid", "tanh", "gelu", "leaky_relu", "silu"].map(|name| (norm, name))
            }) {
                let architecture = Architecture { channels: channels.clone(), hidden_units: 24, batch_norm };
                let parameters = initial_parameters(1, &Layers::new(&architecture, 20, 3)).unwrap();
                for (described, tensor) in parameters.named().filter(|(one, _)| one.is_of_norm) {
                    if described.kind == Kind::Float {
                        let values = random::uniform(&described.shape, 2).unwrap() * 1.8 + 0.2;
                        tensor.shallow_clone().copy_(&values);
                    }
                }
                let activation = activation.parse().unwrap();
                let expected = as_written(&parameters, activation, &images);
                let model = SimpleCnn::new(&parameters, activation, Precision::Fp32, Device::Cpu).unwrap();
                let images = channels_last(&images).unwrap();
                let logits = model.forward(&images, Pass::Evaluation).unwrap();
                assert_eq!(logits.size(), [2, 3]);
                let difference = (logits - expected).abs().max().double_value(&[]);
                assert!(difference < 1e-5, "{architecture:?} {activation:?}: {difference}");
            }
        }
    }

    #[test]
    fn batch_norm_draws_nothing_and_begins_as_pytorchs() {
        let plain = Architecture { channels: vec![4, 8], ..Architecture::default() };
        let normed = Architecture { batch_norm: true, ..plain.clone() };
        let [plain, normed] =
            [plain, normed].map(|one| initial_parameters(3, &Layers::new(&one, 16, 2)).unwrap());
        let of_norm = |(one, _): &(&crate::layers::Described, &Tensor)| one.is_of_norm;
        let drawn: Vec<_> = normed.named().filter(|one| !of_norm(one)).map(|(_, tensor)| tensor).collect();
        assert!(plain.iter().zip(&drawn).all(|(one, other)| one.equal(other)) && plain.len() == drawn.len());
        for (described, tensor) in normed.named().filter(of_norm) {
            let ones = described.name.ends_with("weight") || described.name.ends_with("running_var");
            let expected = f64::from(u8::from(ones));
            assert!(
                (tensor.to_kind(Kind::Double) - expected).abs().sum(Kind::Double).double_value(&[]) == 0.0
            );
        }
    }

    #[test]
    fn a_batch_is_normalised_by_its_own_values_and_the_running_ones_follow_it() {
        let architecture = Architecture { channels: vec![2], hidden_units: 4, batch_norm: true };
        let parameters = initial_parameters(1, &Layers::new(&architecture, 4, 2)).unwrap();
        let model = SimpleCnn::new(&parameters, Activation::Relu, Precision::Fp32, Device::Cpu).unwrap();
        let images = Tensor::arange(3 * 48, (Kind::Float, Device::Cpu)).sin().view([3, 3, 4, 4]);
        let sums = images.conv2d(&parameters[0], Some(&parameters[1]), 1, 1, 1, 1);
        let values = sums.transpose(0, 1).flatten(1, -1).to_kind(Kind::Double);
        drop(model.forward(&images, Pass::Evaluation).unwrap());
        assert!(model.parameters().statistics()[0].equal(&Tensor::zeros([2], (Kind::Float, Device::Cpu))));
        drop(model.forward(&images, Pass::Training { noise_seed: 0 }).unwrap());
        let [mean, variance, batches] = model.parameters().statistics() else { panic!("one layer") };
        let expected_mean = values.mean_dim(1, false, Kind::Double) * 0.1;
        // Unbiased: 48 values a channel.
        let expected_variance = values.var_dim(1, true, false) * 0.1 + 0.9;
        for (found, expected) in [(mean, expected_mean), (variance, expected_variance)] {
            assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
        }
        assert_eq!(batches.int64_value(&[]), 1);
    }

    #[test]
    fn dropout_drops_its_share_in_training_alone_and_scales_the_rest() {
        let architecture = Architecture { channels: vec![2], hidden_units: 4000, batch_norm: false };
        let parameters = initial_parameters(1, &Layers::new(&architecture, 4, 2)).unwrap();
        let new = || SimpleCnn::new(&parameters, Activation::Relu, Precision::Fp32, Device::Cpu).unwrap();
        let (plain, model) = (new(), new().with_dropout(0.25));
        let hidden = || Tensor::ones([5, 4000], (Kind::Float, Device::Cpu));
        assert!(model.drop_some(hidden(), Pass::Evaluation).unwrap().equal(&hidden()));
        assert!(plain.drop_some(hidden(), Pass::Training { noise_seed: 3 }).unwrap().equal(&hidden()));
        let drop = |noise_seed| values(&model.drop_some(hidden(), Pass::Training { noise_seed }).unwrap());
        let found = drop(3);
        let dropped = found.iter().filter(|value| **value == 0.0).count() as f64 / found.len() as f64;
        assert!((dropped - 0.25).abs() < 0.02, "{dropped}");
        assert!(found.iter().all(|value| *value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(found, drop(3));
        assert_ne!(found, drop(4));
    }

    #[test]
    fn bytes_become_torchvisions_floats_to_the_last_bit() {
        let bytes: Vec<u8> = (0..=255).chain(0..=127).collect();
        let images = Tensor::from_slice(&bytes).view([2, 8, 8, 3]);
        let normalised = normalise(&images).unwrap();
        assert_eq!(normalised.size(), [2, 3, 8, 8]);
        let expected: Vec<f32> = bytes.iter().map(|byte| (f32::from(*byte) / 255.0 - 0.5) / 0.5).collect();
        assert_eq!(values(&normalised.permute([0, 2, 3, 1])), expected);
        assert_eq!(normalised.stride(), [192, 1, 24, 3], "channels-last, as the bytes lie");
    }
}
