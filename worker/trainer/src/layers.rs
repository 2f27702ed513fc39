//! What a SimpleCNN consists of. From this description come the names, shapes and initial values of its tensors, and so the
//! single model, the array model of packs, checkpoints and files of weights.
//!
//! For each of the `channels`: a 3×3 convolution with padding 1, batch normalisation if asked for, activation, 2×2
//! pooling, which drops a last odd row and column. Then flatten, fc1, activation, dropout, and fc2, which gives a logit per
//! class.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::config::TrainingConfig;

/// Colours of an image.
const COLOURS: i64 = 3;
/// Most values of a model's parameters: 2 GiB in float32, twice what fc1 has at the report's widths and 1024 pixels.
pub(super) const VALUES_MAX: i64 = 1 << 29;
/// Tensors of one convolution, and of its batch normalisation: weight and bias.
const PAIR: usize = 2;
/// Running statistics of one batch normalisation: mean, variance, and how many batches they are of.
const STATISTICS: usize = 3;

/// The layers that a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// Output channels of the convolutions, from the images on; at least one.
    pub channels: Vec<i64>,
    /// Outputs of fc1.
    pub hidden_units: i64,
    /// Whether each convolution is followed by batch normalisation.
    pub batch_norm: bool,
}

/// Those of the report's model.
impl Default for Architecture {
    fn default() -> Self {
        TrainingConfig::default().architecture
    }
}

/// Layers that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayersError {
    /// A list without convolutions, or a layer without outputs.
    #[error("a model has a convolution, and each layer 1 to {VALUES_MAX} outputs")]
    Empty,
    /// Nothing is left of an image.
    #[error(
        "{convolutions} convolutions are too many for images of {image_size} pixels: each halves the image, and after \
         {fitting} one pixel is left; list at most {fitting} in `channels`, or use a larger image_size"
    )]
    TooDeep { convolutions: usize, image_size: u32, fitting: u32 },
    /// More than a file of weights may hold.
    #[error(
        "a model with these layers has {found} parameters at {image_size} pixels, more than {VALUES_MAX}; use smaller \
         `channels`, `hidden_units` or image_size"
    )]
    TooLarge { found: i64, image_size: u32 },
}

impl Architecture {
    /// Whether there is such a model for images of this side.
    ///
    /// # Errors
    /// A picture that shrinks to nothing, a model that is too large, and layers without outputs, which the manifest does
    /// not allow.
    pub fn check(&self, image_size: u32) -> Result<(), LayersError> {
        let (convolutions, fitting) = (self.channels.len(), image_size.max(1).ilog2());
        let widths = self.channels.iter().chain([&self.hidden_units]);
        if convolutions == 0 || widths.clone().any(|width| !(1..=VALUES_MAX).contains(width)) {
            return Err(LayersError::Empty);
        }
        if convolutions > fitting as usize {
            return Err(LayersError::TooDeep { convolutions, image_size, fitting });
        }
        let layers = Layers::new(self, i64::from(image_size), 1);
        let found = layers.learnt.iter().fold(0_i64, |sum, one| sum.saturating_add(one.values()));
        if found > VALUES_MAX { Err(LayersError::TooLarge { found, image_size }) } else { Ok(()) }
    }
}

/// How a tensor of a new model is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Initial {
    /// Drawn evenly from ± this bound.
    Uniform(f64),
    /// The same value everywhere.
    Constant(f64),
}

/// One tensor of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Its name in PyTorch.
    pub name: String,
    /// Its shape in a single model.
    pub shape: Vec<i64>,
    pub(super) kind: Kind,
    pub(super) initial: Initial,
    /// Whether it belongs to a batch normalisation, which computes in float32 at any precision.
    pub(super) is_of_norm: bool,
}

impl Described {
    /// How many values it has; where they are more than a number holds, the largest number.
    fn values(&self) -> i64 {
        self.shape.iter().fold(1, |product, extent| product.saturating_mul(*extent))
    }
}

/// The layers of a model for images of one size.
#[derive(Debug, PartialEq)]
pub struct Layers {
    /// What is trained, in PyTorch's order.
    learnt: Vec<Described>,
    /// Running statistics of batch normalisation; none without it.
    statistics: Vec<Described>,
    batch_norm: bool,
    convolutions: usize,
    halves_evenly: bool,
    widest: i64,
}

impl Layers {
    /// The layers of a model for square images of `image_size` pixels with one logit per class, for which
    /// [`Architecture::check`] holds.
    pub fn new(architecture: &Architecture, image_size: i64, classes: i64) -> Arc<Self> {
        let Architecture { channels, hidden_units, batch_norm } = architecture;
        let (mut learnt, mut statistics) = (Vec::new(), Vec::new());
        let (mut width, mut side, mut widest) = (COLOURS, image_size, 0);
        for (number, &outputs) in (1..).zip(channels) {
            learnt.extend(weighted(&format!("conv{number}"), vec![outputs, width, 3, 3]));
            if *batch_norm {
                learnt.extend(norm(number, outputs));
                statistics.extend(running(number, outputs));
            }
            widest = widest.max(outputs.saturating_mul(side * side));
            (width, side) = (outputs, side / 2);
        }
        learnt.extend(weighted("fc1", vec![*hidden_units, width * side * side]));
        learnt.extend(weighted("fc2", vec![classes, *hidden_units]));
        let halves_evenly = side << channels.len() == image_size;
        let (batch_norm, convolutions) = (*batch_norm, channels.len());
        Arc::new(Self { learnt, statistics, batch_norm, convolutions, halves_evenly, widest })
    }

    /// The parameters, which are trained, in PyTorch's order: names and shapes.
    pub fn learnt(&self) -> &[Described] {
        &self.learnt
    }

    /// The running statistics of batch normalisation, in PyTorch's order.
    pub fn statistics(&self) -> &[Described] {
        &self.statistics
    }

    /// All tensors: the parameters, then the statistics.
    pub fn all(&self) -> impl Iterator<Item = &Described> {
        self.learnt.iter().chain(&self.statistics)
    }

    /// How many values the widest layer has for one image: a convolution's sums.
    pub(super) fn widest(&self) -> i64 {
        self.widest
    }

    /// Whether there are two plain convolutions, and no pooling drops a row.
    pub(super) fn are_two_plain_convolutions(&self) -> bool {
        self.convolutions == 2 && !self.batch_norm && self.halves_evenly
    }

    /// The tensors by layer.
    ///
    /// # Panics
    /// Where they are not as many as described.
    pub(super) fn network<'a>(&self, learnt: &'a [Tensor], statistics: &'a [Tensor]) -> Network<'a> {
        let (counts, found) = ([self.learnt.len(), self.statistics.len()], [learnt.len(), statistics.len()]);
        assert_eq!(found, counts, "the tensors are those of the layers");
        let (convolutions, dense) = learnt.split_at(learnt.len() - 2 * PAIR);
        let of_convolution = if self.batch_norm { 2 * PAIR } else { PAIR };
        let mut statistics = statistics.chunks_exact(STATISTICS);
        let convolution = |tensors: &'a [Tensor]| {
            let norm = statistics.next().map(|running| Norm {
                layer: Layer::of(&tensors[PAIR..]),
                mean: &running[0],
                variance: &running[1],
                batches: &running[2],
            });
            Convolution { layer: Layer::of(tensors), norm }
        };
        let convolutions = convolutions.chunks_exact(of_convolution).map(convolution).collect();
        Network { convolutions, fc1: Layer::of(dense), fc2: Layer::of(&dense[PAIR..]) }
    }
}

/// Weight and bias of a convolution or a linear layer, with the bounds of `torch.nn.init`.
fn weighted(layer: &str, shape: Vec<i64>) -> [Described; PAIR] {
    let fan_in = shape[1..].iter().product::<i64>() as f64;
    // torch.nn.init.kaiming_uniform_ with a = √5, rounding included: √3 · √(2 / (1 + a²)) / √fan_in.
    let gain = (2.0 / (1.0 + 5.0_f64.sqrt().powi(2))).sqrt();
    let weight_bound = 3.0_f64.sqrt() * (gain / fan_in.sqrt());
    let bias_bound = 1.0 / fan_in.sqrt();
    let outputs = vec![shape[0]];
    let uniform = |name: &str, shape, bound| Described {
        name: format!("{layer}.{name}"),
        shape,
        kind: Kind::Float,
        initial: Initial::Uniform(bound),
        is_of_norm: false,
    };
    [uniform("weight", shape, weight_bound), uniform("bias", outputs, bias_bound)]
}

fn of_norm(number: usize, name: &str, shape: Vec<i64>, kind: Kind, value: f64) -> Described {
    let name = format!("bn{number}.{name}");
    Described { name, shape, kind, initial: Initial::Constant(value), is_of_norm: true }
}

fn norm(number: usize, channels: i64) -> [Described; PAIR] {
    [("weight", 1.0), ("bias", 0.0)]
        .map(|(name, value)| of_norm(number, name, vec![channels], Kind::Float, value))
}

fn running(number: usize, channels: i64) -> [Described; STATISTICS] {
    [
        of_norm(number, "running_mean", vec![channels], Kind::Float, 0.0),
        of_norm(number, "running_var", vec![channels], Kind::Float, 1.0),
        of_norm(number, "num_batches_tracked", Vec::new(), Kind::Int64, 0.0),
    ]
}

/// Weight and bias of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The factors of its inputs.
    pub weight: &'a Tensor,
    /// What is added.
    pub bias: &'a Tensor,
}

impl<'a> Layer<'a> {
    fn of(tensors: &'a [Tensor]) -> Self {
        Self { weight: &tensors[0], bias: &tensors[1] }
    }
}

/// Batch normalisation: its parameters, and the statistics that training updates in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) layer: Layer<'a>,
    pub(super) mean: &'a Tensor,
    pub(super) variance: &'a Tensor,
    pub(super) batches: &'a Tensor,
}

/// A convolution, and the normalisation of its sums if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution<'a> {
    pub(super) layer: Layer<'a>,
    pub(super) norm: Option<Norm<'a>>,
}

/// A model's tensors from the images to the logits.
#[derive(Debug)]
pub(super) struct Network<'a> {
    pub(super) convolutions: Vec<Convolution<'a>>,
    /// The first linear layer.
    pub(super) fc1: Layer<'a>,
    /// The second linear layer, which gives the logits.
    pub(super) fc2: Layer<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(channels: &[i64], batch_norm: bool) -> Architecture {
        Architecture { channels: channels.to_vec(), hidden_units: 128, batch_norm }
    }

    fn names(described: &[Described]) -> Vec<&str> {
        described.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn the_reports_model_has_the_reports_parameters() {
        let layers = Layers::new(&Architecture::default(), 128, 2);
        let expected = [
            ("conv1.weight", vec![16, 3, 3, 3]),
            ("conv1.bias", vec![16]),
            ("conv2.weight", vec![32, 16, 3, 3]),
            ("conv2.bias", vec![32]),
            ("fc1.weight", vec![128, 32 * 32 * 32]),
            ("fc1.bias", vec![128]),
            ("fc2.weight", vec![2, 128]),
            ("fc2.bias", vec![2]),
        ];
        let found: Vec<_> =
            layers.learnt().iter().map(|one| (one.name.as_str(), one.shape.clone())).collect();
        assert_eq!(found, expected);
        assert_eq!(layers.statistics(), []);
        assert!(layers.are_two_plain_convolutions() && layers.widest() == 16 * 128 * 128);
    }

    #[test]
    fn batch_norm_stands_after_each_convolution_under_pytorchs_names() {
        let layers = Layers::new(&architecture(&[4, 8], true), 16, 2);
        let learnt = names(layers.learnt());
        assert_eq!(learnt[..4], ["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"]);
        assert_eq!(learnt[6..9], ["bn2.weight", "bn2.bias", "fc1.weight"]);
        assert_eq!(
            names(&layers.statistics()[..4]),
            ["bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked", "bn2.running_mean"]
        );
    }

    #[test]
    fn each_pooling_halves_and_rounds_down() {
        for (channels, image_size, inputs, evenly) in [
            (vec![5], 20, 5 * 10 * 10, true),
            (vec![8, 8, 16], 20, 16 * 2 * 2, false),
            (vec![4; 5], 32, 4, true),
        ] {
            let layers = Layers::new(&architecture(&channels, false), image_size, 2);
            assert_eq!(layers.learnt()[2 * channels.len()].shape, [128, inputs]);
            assert_eq!(layers.halves_evenly, evenly);
        }
    }

    #[test]
    fn layers_that_leave_nothing_of_a_picture_or_are_too_large_are_named_with_what_would_fit() {
        assert_eq!(architecture(&[4; 3], false).check(8), Ok(()));
        let error = architecture(&[4; 4], false).check(12).unwrap_err().to_string();
        assert!(error.contains("at most 3 in `channels`") && error.contains("12 pixels"), "{error}");
        assert_eq!(Architecture::default().check(1024), Ok(()));
        let error = architecture(&[1024], false).check(1024).unwrap_err().to_string();
        assert!(error.contains("34359767297 parameters at 1024 pixels"), "{error}");
        let huge = Architecture { hidden_units: VALUES_MAX, ..architecture(&[VALUES_MAX; 3], true) };
        assert!(matches!(huge.check(1024), Err(LayersError::TooLarge { found: i64::MAX, .. })));
        for channels in [&[][..], &[0], &[-1], &[i64::MAX]] {
            assert_eq!(architecture(channels, false).check(1024), Err(LayersError::Empty));
        }
    }
}
