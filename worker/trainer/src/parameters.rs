//! The tensors of a SimpleCNN, or of several as one array, in the order of their description.

use std::{ops::Deref, sync::Arc};

use safetensors::Dtype;
use tch::{Kind, TchError, Tensor};

use super::{
    layers::{Described, Layers, Network},
    precision::Precision,
};

/// The parameters of a model, and the running statistics that belong to them. As a slice, the parameters alone: what is
/// trained.
#[derive(Debug)]
pub struct Parameters {
    layers: Arc<Layers>,
    learnt: Vec<Tensor>,
    statistics: Vec<Tensor>,
}

impl Parameters {
    /// The tensors of `layers`, in the order of [`Layers::all`].
    ///
    /// # Panics
    /// Where they are not as many.
    pub fn new(layers: &Arc<Layers>, mut tensors: Vec<Tensor>) -> Self {
        assert_eq!(tensors.len(), layers.all().count(), "there is a tensor for each that is described");
        let statistics = tensors.split_off(layers.learnt().len());
        Self { layers: Arc::clone(layers), learnt: tensors, statistics }
    }

    /// What they are.
    pub fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// Running statistics of batch normalisation, in the order of [`Layers::statistics`].
    pub fn statistics(&self) -> &[Tensor] {
        &self.statistics
    }

    /// All tensors with their descriptions.
    pub fn named(&self) -> impl Iterator<Item = (&Described, &Tensor)> {
        self.layers.all().zip(self.learnt.iter().chain(&self.statistics))
    }

    /// The result of `make` for each tensor, statistics included.
    ///
    /// # Errors
    /// The first failure of `make`.
    pub fn try_map<E>(&self, mut make: impl FnMut(&Tensor) -> Result<Tensor, E>) -> Result<Self, E> {
        let made = self.named().map(|(_, tensor)| make(tensor)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(&self.layers, made))
    }

    /// The same tensors, with gradients of the parameters.
    pub(super) fn with_gradients(mut self) -> Result<Self, TchError> {
        self.learnt =
            self.learnt.iter().map(|one| one.f_set_requires_grad(true)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The parameters in the format that layers compute with. Batch normalisation's stay in float32, as under
    /// `torch.autocast`.
    pub(super) fn rounded(&self, precision: Precision) -> Result<Vec<Tensor>, TchError> {
        let rounded = self.layers.learnt().iter().zip(&self.learnt).map(|(described, tensor)| {
            if described.is_of_norm { Ok(tensor.shallow_clone()) } else { precision.of(tensor) }
        });
        rounded.collect()
    }

    /// By layer; `learnt` are the parameters as the layers compute with them.
    pub(super) fn network<'a>(&'a self, learnt: &'a [Tensor]) -> Network<'a> {
        self.layers.network(learnt, &self.statistics)
    }
}

impl<'a> IntoIterator for &'a Parameters {
    type Item = &'a Tensor;
    type IntoIter = std::slice::Iter<'a, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.learnt.iter()
    }
}

impl Deref for Parameters {
    type Target = [Tensor];

    fn deref(&self) -> &[Tensor] {
        &self.learnt
    }
}

/// How a file names the numbers of a tensor: statistics may count, all else is float32.
pub(super) fn dtype(kind: Kind) -> Dtype {
    if kind == Kind::Int64 { Dtype::I64 } else { Dtype::F32 }
}

/// A tensor's shape, and its values as bytes, for a file.
pub(super) fn contents(tensor: &Tensor) -> Result<(Vec<usize>, Vec<u8>), TchError> {
    let shape = tensor.size().into_iter().map(|extent| extent as usize).collect();
    // Contiguous rows, whatever the layout in memory.
    let tensor = tensor.f_contiguous()?;
    let bits = dtype(tensor.kind()).bitsize();
    let mut bytes = vec![0; tensor.numel() * bits / 8];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok((shape, bytes))
}
