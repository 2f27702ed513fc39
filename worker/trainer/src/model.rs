//! SimpleCNN, the report's network: conv1 3→16 · pool · conv2 16→32 · pool · fc1 →128 · fc2 → one logit per class, with
//! the activation after each pool and after fc1. Parameters, names, order, shapes and initial values are PyTorch's;
//! memory is channels-last, which is 1.2 times faster on a CPU and does not change the meaning.

use std::time::Instant;

use tch::{Device, Kind, TchError, Tensor};

use super::{
    ffi,
    forward::{self, Operations},
    parameters::{Layer, Layers, ParameterShapes, Parameters},
    random,
};

pub use super::{
    activation::{Activation, UnknownActivation},
    precision::{Precision, UnknownPrecision},
};

/// Colours of an image.
const CHANNELS: i64 = 3;
/// Output channels of conv1 and conv2 and outputs of fc1.
const WIDTHS: [i64; 3] = [16, 32, 128];

/// The shape of every parameter, for square images of `image_size` pixels (a multiple of 4, as two poolings halve it
/// twice) and one logit per class.
pub fn parameter_shapes(image_size: i64, classes: i64) -> ParameterShapes {
    let [conv1, conv2, fc1] = WIDTHS;
    let flat = conv2 * (image_size / 4) * (image_size / 4);
    [
        vec![conv1, CHANNELS, 3, 3],
        vec![conv1],
        vec![conv2, conv1, 3, 3],
        vec![conv2],
        vec![fc1, flat],
        vec![fc1],
        vec![classes, fc1],
        vec![classes],
    ]
}

/// How many values the widest layer has for one image: conv1's sums.
pub(super) fn widest_layer(image_size: i64) -> i64 {
    WIDTHS[0] * image_size * image_size
}

/// The parameters that `torch.manual_seed(seed)` followed by building the model in PyTorch gives, on the CPU: weights
/// and biases of a layer alike from U(±1/√fan_in), drawn in the order of
/// [`PARAMETER_NAMES`](crate::parameters::PARAMETER_NAMES).
///
/// # Errors
/// What libtorch says.
pub fn initial_parameters(seed: u64, image_size: i64, classes: i64) -> Result<Parameters, TchError> {
    let shapes = parameter_shapes(image_size, classes);
    random::with_seed(seed, || {
        let mut drawn = Vec::with_capacity(shapes.len());
        for layer in shapes.chunks(2) {
            let fan_in = layer[0][1..].iter().product::<i64>() as f64;
            // torch.nn.init.kaiming_uniform_ with a = √5, rounding included: √3 · √(2 / (1 + a²)) / √fan_in.
            let gain = (2.0 / (1.0 + 5.0_f64.sqrt().powi(2))).sqrt();
            let weight_bound = 3.0_f64.sqrt() * (gain / fan_in.sqrt());
            let bias_bound = 1.0 / fan_in.sqrt();
            for (shape, bound) in layer.iter().zip([weight_bound, bias_bound]) {
                let mut parameter = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?;
                drawn.push(parameter.f_uniform_(-bound, bound)?);
            }
        }
        Ok(drawn.try_into().expect("four layers have eight parameters"))
    })
}

/// The model with its parameters on one device.
#[derive(Debug)]
pub struct SimpleCnn {
    parameters: Parameters,
    activation: Activation,
    precision: Precision,
}

impl SimpleCnn {
    /// A model with float32 copies of `parameters`, which are in the order of
    /// [`PARAMETER_NAMES`](crate::parameters::PARAMETER_NAMES) with the shapes of [`parameter_shapes`].
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
            let mut own = Tensor::f_empty(parameter.size(), (Kind::Float, device))?;
            own.f_copy_(&parameter.f_detach()?)?;
            let own = if own.dim() == 4 { channels_last(&own)? } else { own };
            own.f_set_requires_grad(true)
        })?;
        Ok(Self { parameters, activation, precision })
    }

    /// The parameters in the order of [`PARAMETER_NAMES`](crate::parameters::PARAMETER_NAMES).
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The logits `[N, classes]` of images `[N, 3, S, S]`, which are float32 in [-1, 1]; the logits are float32.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, TchError> {
        forward::logits(self, images)
    }

    fn convolve(&self, images: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
        self.activation.apply(forward::convolve(images, layer.weight, layer.bias, 1)?)
    }
}

impl Operations for SimpleCnn {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn features(&self, images: &Tensor, [conv1, conv2]: [Layer<'_>; 2]) -> Result<Tensor, TchError> {
        if images.device() == Device::Cpu {
            // As float32: the function rounds by itself.
            let Layers { conv1, conv2, .. } = self.parameters.layers();
            return ffi::features(images, [conv1, conv2], self.activation);
        }
        let features = self.convolve(images, conv1)?;
        // Flattening is by channel, row, column as in PyTorch, whatever the layout in memory.
        self.convolve(&features, conv2)?.f_flatten(1, -1)
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
    use super::super::random::tests::MersenneTwister;
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.contiguous().view(-1)).unwrap()
    }

    #[test]
    fn the_model_has_the_reports_parameters() {
        let counts = parameter_shapes(128, 2).map(|shape| shape.iter().product::<i64>());
        assert_eq!(counts.iter().sum::<i64>(), 4_199_778);
        assert_eq!(counts[4] + counts[5], 4_194_432);
    }

    #[test]
    fn initial_values_are_pytorchs_for_the_seed() {
        let parameters = initial_parameters(5, 16, 2).unwrap();
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
        let parameters = initial_parameters(0, 64, 2).unwrap();
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
        let [first, again, other] = [3, 3, 4].map(|seed| initial_parameters(seed, 16, 2).unwrap());
        assert!(first.iter().zip(&again).all(|(one, two)| one.equal(two)));
        assert!(first.iter().zip(&other).all(|(one, two)| !one.equal(two)));
    }

    #[test]
    fn pooling_first_gives_the_reports_values() {
        let parameters = initial_parameters(1, 16, 3).unwrap();
        let images = Tensor::arange(2 * 3 * 16 * 16, (Kind::Float, Device::Cpu)).sin().view([2, 3, 16, 16]);
        for activation in [Activation::Relu, Activation::Sigmoid] {
            let activate = |sums: Tensor| match activation {
                Activation::Relu => sums.relu(),
                Activation::Sigmoid => sums.sigmoid(),
            };
            let Layers { conv1, conv2, fc1, fc2 } = parameters.layers();
            let convolve = |images: &Tensor, layer: Layer<'_>| {
                activate(images.conv2d(layer.weight, Some(layer.bias), 1, 1, 1, 1))
                    .max_pool2d(2, 2, 0, 1, false)
            };
            let linear = |inputs: &Tensor, layer: Layer<'_>| inputs.linear(layer.weight, Some(layer.bias));
            let features = convolve(&convolve(&images, conv1), conv2).view([2, -1]);
            let expected = linear(&activate(linear(&features, fc1)), fc2);

            let model = SimpleCnn::new(&parameters, activation, Precision::Fp32, Device::Cpu).unwrap();
            let logits = model.forward(&channels_last(&images).unwrap()).unwrap();
            assert_eq!(logits.size(), [2, 3]);
            assert!((logits - expected).abs().max().double_value(&[]) < 1e-6);
        }
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
