//! The tensors of a SimpleCNN, or of several as one array: their names, and the layers they belong to.

use std::ops::Deref;

use tch::Tensor;

/// Number of parameters of a model: weight and bias of four layers.
pub const PARAMETER_COUNT: usize = 8;

/// The parameters' names in PyTorch, in the order in which the model keeps them and draws their initial values.
pub const PARAMETER_NAMES: [&str; PARAMETER_COUNT] = [
    "conv1.weight",
    "conv1.bias",
    "conv2.weight",
    "conv2.bias",
    "fc1.weight",
    "fc1.bias",
    "fc2.weight",
    "fc2.bias",
];

/// The shape of every parameter, in the order of [`PARAMETER_NAMES`].
pub type ParameterShapes = [Vec<i64>; PARAMETER_COUNT];

/// The parameters, in the order of [`PARAMETER_NAMES`]; as a slice where only that order matters.
#[derive(Debug)]
pub struct Parameters([Tensor; PARAMETER_COUNT]);

/// Weight and bias of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The factors of its inputs.
    pub weight: &'a Tensor,
    /// What is added.
    pub bias: &'a Tensor,
}

/// The layers from the images to the logits.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    pub conv1: Layer<'a>,
    pub conv2: Layer<'a>,
    /// The first linear layer.
    pub fc1: Layer<'a>,
    /// The second linear layer, which gives the logits.
    pub fc2: Layer<'a>,
}

impl Parameters {
    /// The parameters by layer.
    pub fn layers(&self) -> Layers<'_> {
        let [conv1, bias1, conv2, bias2, fc1, bias3, fc2, bias4] = &self.0;
        let layer = |weight, bias| Layer { weight, bias };
        Layers {
            conv1: layer(conv1, bias1),
            conv2: layer(conv2, bias2),
            fc1: layer(fc1, bias3),
            fc2: layer(fc2, bias4),
        }
    }

    /// The result of `make` for each.
    ///
    /// # Errors
    /// The first failure of `make`.
    pub fn try_map<E>(&self, make: impl FnMut(&Tensor) -> Result<Tensor, E>) -> Result<Self, E> {
        let made = self.0.iter().map(make).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(made.try_into().expect("one is made of each")))
    }
}

impl From<[Tensor; PARAMETER_COUNT]> for Parameters {
    fn from(tensors: [Tensor; PARAMETER_COUNT]) -> Self {
        Self(tensors)
    }
}

/// Fails, and returns the tensors, if they are not as many as there are names.
impl TryFrom<Vec<Tensor>> for Parameters {
    type Error = Vec<Tensor>;

    fn try_from(tensors: Vec<Tensor>) -> Result<Self, Vec<Tensor>> {
        tensors.try_into().map(Self)
    }
}

impl<'a> IntoIterator for &'a Parameters {
    type Item = &'a Tensor;
    type IntoIter = std::slice::Iter<'a, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Deref for Parameters {
    type Target = [Tensor];

    fn deref(&self) -> &[Tensor] {
        &self.0
    }
}
