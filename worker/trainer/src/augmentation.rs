//! Random changes of the training images, by their names in sweep files, as torchvision's transforms make them. What happens to
//! an image in an epoch only depends on the job's seed, the epoch and the image, so that it is the same alone and in a pack, on
//! each device, and for a training that continues. Validation never sees any of it.

use tch::{Device, Kind, TchError, Tensor};

use super::random;

/// Share of an image's side that a crop may move it by: 4 of 32 pixels, as is usual for CIFAR-10.
const PADDINGS_PER_SIDE: i64 = 8;
/// Numbers that are drawn for an image: whether it is flipped, and the row and the column where its crop begins.
const DRAWS: i64 = 3;

/// What happens to training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Augmentation {
    None,
    /// `RandomHorizontalFlip(0.5)`.
    Flip,
    /// `RandomCrop(side, padding=side // 8)`, which pads with black, and then `RandomHorizontalFlip(0.5)`.
    FlipCrop,
}

impl Augmentation {
    /// The one of this name in sweep files.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "flip" => Some(Self::Flip),
            "flip_crop" => Some(Self::FlipCrop),
            _ => None,
        }
    }

    /// Draws for the images of a data set, which have `side` pixels; none where nothing happens to them.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn draw(self, images: i64, side: i64, seed: u64, device: Device) -> Result<Option<Drawn>, TchError> {
        let padding = match self {
            Self::None => return Ok(None),
            Self::Flip => 0,
            Self::FlipCrop => side / PADDINGS_PER_SIDE,
        };
        // In rows, so that those of an image do not depend on how many there are.
        let drawn = random::uniform(&[images, DRAWS], seed)?;
        let flips = drawn.f_narrow(1, 0, 1)?.f_lt(0.5)?.f_to_kind(Kind::Int64)?;
        // In doubles, where the largest number that can be drawn stays below the next whole one.
        let offsets = drawn.f_narrow(1, 1, 2)?.f_to_kind(Kind::Double)?.f_mul_scalar(2 * padding + 1)?;
        let offsets = offsets.f_floor()?.f_to_kind(Kind::Int64)?;
        let along = Tensor::f_arange(side, (Kind::Int64, device))?;
        let columns = Tensor::f_stack(&[&along, &along.f_flip([0])?], 0)?;
        let draws = Tensor::f_cat(&[flips, offsets], 1)?.f_to_device(device)?;
        Ok(Some(Drawn { side, padding, draws, along, columns }))
    }
}

/// What was drawn for each image of a data set in one epoch.
#[derive(Debug)]
pub struct Drawn {
    /// Side of the images.
    side: i64,
    /// Pixels of black on each side of an image.
    padding: i64,
    /// 1 if an image is flipped and 0 if not, and the row and the column of the padded image where the crop begins, from 0 to
    /// twice the padding: int64 `[N, 3]`.
    draws: Tensor,
    /// The rows of an image: int64 `[S]`.
    along: Tensor,
    /// The columns from which those of an image come, as it is and flipped: int64 `[2, S]`.
    columns: Tensor,
}

impl Drawn {
    /// The images of a batch as they are trained: bytes `[n, S, S, 3]`, of the images with these numbers. One gather for all;
    /// what comes before it computes with indices.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn apply(&self, bytes: &Tensor, numbers: &Tensor) -> Result<Tensor, TchError> {
        let Self { side, padding, .. } = *self;
        let (count, padded_side) = (bytes.size()[0], side + 2 * padding);
        let draws = self.draws.f_index_select(0, numbers)?;
        let columns = self.columns.f_index_select(0, &draws.f_select(1, 0)?)?;
        let columns = columns.f_add(&draws.f_narrow(1, 2, 1)?)?.f_view([count, 1, side])?;
        let options = (Kind::Int64, bytes.device());
        let first_lines = Tensor::f_arange_start_step(0, count * padded_side, padded_side, options)?;
        let rows = draws.f_narrow(1, 1, 1)?.f_add(&self.along)?;
        let lines = rows.f_add(&first_lines.f_unsqueeze(-1)?)?;
        let pixels = lines.f_mul_scalar(padded_side)?.f_unsqueeze(-1)?.f_add(&columns)?.f_view([-1])?;
        let padded = match padding {
            0 => bytes.f_contiguous()?,
            _ => bytes.f_constant_pad_nd([0, 0, padding, padding, padding, padding])?,
        };
        padded.f_view([-1, 3])?.f_index_select(0, &pixels)?.f_view([count, side, side, 3])
    }
}

#[cfg(test)]
#[path = "augmentation_tests.rs"]
mod tests;
