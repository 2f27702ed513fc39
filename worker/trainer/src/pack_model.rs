//! Many SimpleCNNs of the same shapes as one array model (Wang et al., *Horizontally Fused Training Arrays*, MLSys
//! 2021): one wide conv1 over the shared batch, a conv2 with one group per member, batched matrix products. A member's
//! results only depend on its own parameters; only the order of float additions may differ from `SimpleCnn`'s. A device
//! that a single such model leaves idle has more to do.

use tch::{Device, Kind, Reduction, TchError, Tensor};

use super::{
    forward::{self, Operations},
    layers::{Convolution, Layer, Norm},
    model::{Activation, Pass, Precision},
    parameters::Parameters,
    training::IGNORED_CLASS,
};

/// The memory layout of images on the model's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row, column, channel, as in the data set's bytes.
    ChannelsLast,
    /// Channel, row, column.
    ChannelsFirst,
}

/// What one member of an array model is made of.
#[derive(Debug, Clone, Copy)]
pub struct PackMember<'a> {
    /// Its weights, of the same layers as the others'.
    pub parameters: &'a Parameters,
    pub activation: Activation,
    /// Share of the hidden values that a training step drops, in [0, 1).
    pub dropout: f64,
}

/// The members' parameters on one device. In array tensors `M` is the number of members.
#[derive(Debug)]
pub struct PackModel {
    /// Each `[M, …]`, where `…` is the shape in a single model.
    parameters: Parameters,
    members: i64,
    /// How many members in a row have the same activation.
    activations: Vec<(Activation, i64)>,
    dropout: Option<Dropout>,
    precision: Precision,
    layout: Layout,
}

/// Of each member, `[M, 1, 1]` in float32 on the device.
#[derive(Debug)]
struct Dropout {
    /// The share of the hidden values that is dropped.
    shares: Tensor,
    /// What the others are multiplied by.
    scales: Tensor,
}

impl Dropout {
    /// None where no member drops any.
    fn new(shares: &[f64], device: Device) -> Result<Option<Self>, TchError> {
        if shares.iter().all(|share| *share == 0.0) {
            return Ok(None);
        }
        let of_members = |numbers: &[f64]| {
            let numbers = Tensor::f_from_slice(numbers)?.f_to_kind(Kind::Float)?;
            numbers.f_view([-1, 1, 1])?.f_to_device(device)
        };
        let scales: Vec<f64> = shares.iter().map(|share| 1.0 / (1.0 - share)).collect();
        Ok(Some(Self { shares: of_members(shares)?, scales: of_members(&scales)? }))
    }
}

impl PackModel {
    /// A model of these members, those of one activation next to each other.
    ///
    /// # Errors
    /// What libtorch says, and shapes that differ.
    ///
    /// # Panics
    /// Without members.
    pub fn new(
        members: &[PackMember<'_>],
        precision: Precision,
        layout: Layout,
        device: Device,
    ) -> Result<Self, TchError> {
        let layers = members.first().expect("a pack has members").parameters.layers();
        let all: Vec<Vec<&Tensor>> = members
            .iter()
            .map(|member| member.parameters.named().map(|(_, tensor)| tensor).collect())
            .collect();
        let placed = (0..all[0].len()).map(|index| {
            let of_members: Vec<&Tensor> = all.iter().map(|own| own[index]).collect();
            stack(&of_members, layout, device)
        });
        let placed = Parameters::new(layers, placed.collect::<Result<_, _>>()?);
        let runs = members.chunk_by(|one, other| one.activation == other.activation);
        let shares: Vec<f64> = members.iter().map(|member| member.dropout).collect();
        Ok(Self {
            parameters: placed.with_gradients()?,
            members: members.len() as i64,
            activations: runs.map(|run| (run[0].activation, run.len() as i64)).collect(),
            dropout: Dropout::new(&shares, device)?,
            precision,
            layout,
        })
    }

    /// The parameters of all members, `[M, …]` each.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// One member's parameters as views without gradients: changing them changes the model.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn member(&self, member: i64) -> Result<Parameters, TchError> {
        self.parameters.try_map(|parameter| parameter.f_detach()?.f_select(0, member))
    }

    /// The logits `[M, N, classes]` of images `[N, 3, S, S]`, which are float32 in [-1, 1]; the logits are float32.
    ///
    /// # Errors
    /// What libtorch says, for instance that memory ran out.
    pub fn forward(&self, images: &Tensor, pass: Pass) -> Result<Tensor, TchError> {
        forward::logits(self, images, pass)
    }

    /// One convolution with all that follows it, as in `SimpleCnn`. The weights `[M, outputs, …]` become one wide
    /// convolution; with as many `groups` as members each only sees its own channels.
    fn convolve(
        &self,
        images: &Tensor,
        convolution: &Convolution<'_>,
        groups: i64,
        pass: Pass,
    ) -> Result<Tensor, TchError> {
        let wide = |tensor: &Tensor| tensor.f_flatten(0, 1);
        let Convolution { layer, norm } = convolution;
        let sums = forward::convolve(images, &wide(layer.weight)?, &wide(layer.bias)?, groups)?;
        let sums = match norm {
            None => sums,
            Some(Norm { layer, mean, variance, batches }) => {
                let (weight, bias) = (wide(layer.weight)?, wide(layer.bias)?);
                // Views, so that the statistics are updated in place.
                let (mean, variance) = (mean.f_view([-1])?, variance.f_view([-1])?);
                let layer = Layer { weight: &weight, bias: &bias };
                forward::normalise(&sums, Norm { layer, mean: &mean, variance: &variance, batches }, pass)?
            }
        };
        if self.activations.iter().all(|(activation, _)| activation.increases()) {
            return self.activate_along(forward::pool(&sums)?, 1);
        }
        self.by_activation(&sums, 1, |activation, own| {
            if activation.increases() {
                activation.of(&forward::pool(own)?)
            } else {
                forward::pool(&activation.of(own)?)
            }
        })
    }

    /// Each member's activation on its part of `sums`, along `dim`. In place if all have the same one.
    fn activate_along(&self, sums: Tensor, dim: i64) -> Result<Tensor, TchError> {
        if let [(activation, _)] = self.activations.as_slice() {
            return activation.apply(sums);
        }
        self.by_activation(&sums, dim, Activation::of)
    }

    /// The results of `make` for the parts of `sums` along `dim` that have the same activation, put together again.
    fn by_activation(
        &self,
        sums: &Tensor,
        dim: i64,
        make: impl Fn(Activation, &Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        if let [(activation, _)] = self.activations.as_slice() {
            return make(*activation, sums);
        }
        let of_member = sums.size()[dim as usize] / self.members;
        let lengths: Vec<i64> = self.activations.iter().map(|(_, members)| members * of_member).collect();
        let parts = sums.f_split_with_sizes(lengths, dim)?;
        let made = parts.iter().zip(&self.activations).map(|(part, (activation, _))| make(*activation, part));
        Tensor::f_cat(&made.collect::<Result<Vec<_>, _>>()?, dim)
    }
}

impl Operations for PackModel {
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
        let count = images.size()[0];
        let mut features = match self.layout {
            Layout::ChannelsFirst => images.f_contiguous()?,
            Layout::ChannelsLast => images.shallow_clone(),
        };
        for (number, convolution) in convolutions.iter().enumerate() {
            // All members see the same images.
            let groups = if number == 0 { 1 } else { self.members };
            features = self.convolve(&features, convolution, groups, pass)?;
        }
        // Flattening is by channel, row, column within a member, as in PyTorch, whatever the layout in memory.
        let (_, channels, height, width) = features.size4()?;
        let of_members = features.f_view([count, self.members, channels / self.members, height, width])?;
        of_members.f_transpose(0, 1)?.f_flatten(2, -1)
    }

    /// `[M, N, outputs]` of `[M, N, inputs]` and the members' weights and biases.
    fn linear(&self, inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
        layer.bias.f_unsqueeze(1)?.f_baddbmm(inputs, &layer.weight.f_transpose(1, 2)?, 1.0, 1.0)
    }

    fn activate(&self, sums: Tensor) -> Result<Tensor, TchError> {
        self.activate_along(sums, 0)
    }

    fn drop_some(&self, hidden: Tensor, pass: Pass) -> Result<Tensor, TchError> {
        let (Pass::Training { noise_seed }, Some(dropout)) = (pass, &self.dropout) else { return Ok(hidden) };
        // Members have the same seed, and so the same numbers as each would have alone.
        let noise = forward::noise(noise_seed, &hidden)?.f_unsqueeze(0)?;
        let kept = noise.f_ge_tensor(&dropout.shares)?.f_to_kind(hidden.kind())?;
        hidden.f_mul(&kept.f_mul(&dropout.scales.f_to_kind(hidden.kind())?)?)
    }
}

/// Each member's mean cross-entropy `[M]` of logits `[M, N, classes]`, against classes `[N]` that all share.
///
/// # Errors
/// What libtorch says.
pub fn losses(logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
    let (members, images, outputs) = logits.size3()?;
    let shared = classes.f_unsqueeze(0)?.f_expand([members, images], false)?.f_reshape([-1])?;
    let rows = logits.f_reshape([-1, outputs])?;
    let each = rows.f_cross_entropy_loss(&shared, None::<&Tensor>, Reduction::None, IGNORED_CLASS, 0.0)?;
    each.f_view([members, images])?.f_mean_dim([1_i64].as_slice(), false, Kind::Float)
}

/// One parameter of all members as a copy `[M, …]`, laid out like its gradient: a batched product returns the gradient
/// of its second factor, the transposed weight, in rows of it.
fn stack(of_members: &[&Tensor], layout: Layout, device: Device) -> Result<Tensor, TchError> {
    let (members, kind) = (of_members.len() as i64, of_members[0].kind());
    let sizes = |extents: &[i64]| [&[members], extents].concat();
    let wide = match of_members[0].size().as_slice() {
        &[outputs, channels, height, width] if layout == Layout::ChannelsLast => {
            Tensor::f_empty(sizes(&[outputs, height, width, channels]), (kind, device))?
                .f_permute([0, 1, 4, 2, 3])?
        }
        &[outputs, inputs] => {
            Tensor::f_empty(sizes(&[inputs, outputs]), (kind, device))?.f_transpose(1, 2)?
        }
        shape => Tensor::f_empty(sizes(shape), (kind, device))?,
    };
    for (member, parameter) in of_members.iter().enumerate() {
        wide.f_select(0, member as i64)?.f_copy_(&parameter.f_detach()?)?;
    }
    Ok(wide)
}
