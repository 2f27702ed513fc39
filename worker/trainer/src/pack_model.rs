//! Many SimpleCNNs of the same shapes as one array model (Wang et al., *Horizontally Fused Training Arrays*, MLSys
//! 2021): one wide conv1 over the shared batch, a conv2 with one group per member, batched matrix products. A member's
//! results only depend on its own parameters; only the order of float additions may differ from `SimpleCnn`'s. A device
//! that a single such model leaves idle has more to do.

use tch::{Device, Kind, Reduction, TchError, Tensor};

use super::{
    forward::{self, Operations},
    model::{Activation, Precision},
    parameters::{Layer, PARAMETER_NAMES, Parameters},
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

/// The members' parameters on one device. In array tensors `M` is the number of members.
#[derive(Debug)]
pub struct PackModel {
    /// In the order of [`PARAMETER_NAMES`], each `[M, …]`, where `…` is the shape in a single model.
    parameters: Parameters,
    members: i64,
    /// How many members use relu; they come first, the others use sigmoid.
    relu_members: i64,
    precision: Precision,
    layout: Layout,
}

impl PackModel {
    /// A model of members with the values of `parameters`, each in the order of [`PARAMETER_NAMES`]. Members with relu
    /// come before those with sigmoid.
    ///
    /// # Errors
    /// What libtorch says, and shapes that differ.
    ///
    /// # Panics
    /// Without members, and where a relu follows a sigmoid.
    pub fn new(
        parameters: &[&Parameters],
        activations: &[Activation],
        precision: Precision,
        layout: Layout,
        device: Device,
    ) -> Result<Self, TchError> {
        assert!(!parameters.is_empty() && parameters.len() == activations.len(), "each member has both");
        let is_relu = |activation: &Activation| *activation == Activation::Relu;
        let relu_members = activations.iter().take_while(|one| is_relu(one)).count();
        assert!(!activations[relu_members..].iter().any(is_relu), "members with relu come first");
        let mut placed = Vec::with_capacity(PARAMETER_NAMES.len());
        for index in 0..PARAMETER_NAMES.len() {
            let of_members: Vec<&Tensor> = parameters.iter().map(|one| &one[index]).collect();
            placed.push(stack(&of_members, layout, device)?.f_set_requires_grad(true)?);
        }
        Ok(Self {
            parameters: placed.try_into().expect("as many as there are names"),
            members: parameters.len() as i64,
            relu_members: relu_members as i64,
            precision,
            layout,
        })
    }

    /// The parameters of all members, `[M, …]` each, in the order of [`PARAMETER_NAMES`].
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
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, TchError> {
        forward::logits(self, images)
    }

    /// Convolution, pooling and activation, as in `SimpleCnn`. The weights `[M, outputs, …]` become one wide
    /// convolution; with as many `groups` as members each only sees its own channels.
    fn convolve(&self, images: &Tensor, layer: Layer<'_>, groups: i64) -> Result<Tensor, TchError> {
        let wide = layer.weight.f_flatten(0, 1)?;
        let bias = layer.bias.f_flatten(0, 1)?;
        self.activate_along(forward::convolve(images, &wide, &bias, groups)?, 1)
    }

    /// Each member's activation on its part of `sums`, along `dim`. In place if all have the same one.
    fn activate_along(&self, sums: Tensor, dim: i64) -> Result<Tensor, TchError> {
        if self.relu_members == self.members {
            return Activation::Relu.apply(sums);
        }
        if self.relu_members == 0 {
            return Activation::Sigmoid.apply(sums);
        }
        let relu = sums.size()[dim as usize] / self.members * self.relu_members;
        let sigmoid = sums.size()[dim as usize] - relu;
        let parts = sums.f_split_with_sizes([relu, sigmoid], dim)?;
        Tensor::f_cat(&[parts[0].f_relu()?, parts[1].f_sigmoid()?], dim)
    }
}

impl Operations for PackModel {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn features(&self, images: &Tensor, [conv1, conv2]: [Layer<'_>; 2]) -> Result<Tensor, TchError> {
        let count = images.size()[0];
        let features = if self.layout == Layout::ChannelsFirst {
            self.convolve(&images.f_contiguous()?, conv1, 1)?
        } else {
            self.convolve(images, conv1, 1)?
        };
        let features = self.convolve(&features, conv2, self.members)?;
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
    let members = of_members.len() as i64;
    let sizes = |extents: &[i64]| [&[members], extents].concat();
    let wide = match of_members[0].size().as_slice() {
        &[outputs, channels, height, width] if layout == Layout::ChannelsLast => {
            Tensor::f_empty(sizes(&[outputs, height, width, channels]), (Kind::Float, device))?
                .f_permute([0, 1, 4, 2, 3])?
        }
        &[outputs, inputs] => {
            Tensor::f_empty(sizes(&[inputs, outputs]), (Kind::Float, device))?.f_transpose(1, 2)?
        }
        shape => Tensor::f_empty(sizes(shape), (Kind::Float, device))?,
    };
    for (member, parameter) in of_members.iter().enumerate() {
        wide.f_select(0, member as i64)?.f_copy_(&parameter.f_detach()?)?;
    }
    Ok(wide)
}
