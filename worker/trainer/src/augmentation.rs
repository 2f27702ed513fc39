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
        let flips = drawn.f_select(1, 0)?.f_lt(0.5)?.f_to_device(device)?;
        // In doubles, where the largest number that can be drawn stays below the next whole one.
        let offsets = drawn.f_narrow(1, 1, 2)?.f_to_kind(Kind::Double)?.f_mul_scalar(2 * padding + 1)?;
        let offsets = offsets.f_floor()?.f_to_kind(Kind::Int64)?.f_to_device(device)?;
        Ok(Some(Drawn { side, padding, flips, offsets }))
    }
}

/// What was drawn for each image of a data set in one epoch.
#[derive(Debug)]
pub struct Drawn {
    /// Side of the images.
    side: i64,
    /// Pixels of black on each side of an image.
    padding: i64,
    /// Whether an image is flipped: booleans `[N]`.
    flips: Tensor,
    /// Row and column of the padded image where the crop begins, from 0 to twice the padding: int64 `[N, 2]`.
    offsets: Tensor,
}

impl Drawn {
    /// The images of a batch as they are trained: bytes `[n, S, S, 3]`, of the images with these numbers.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn apply(&self, bytes: &Tensor, numbers: &Tensor) -> Result<Tensor, TchError> {
        let Self { side, padding, .. } = *self;
        let (count, padded_side, device) = (bytes.size()[0], side + 2 * padding, bytes.device());
        let span = |length: i64| Tensor::f_arange(length, (Kind::Int64, device));
        let offsets = self.offsets.f_index_select(0, numbers)?;
        let flips = self.flips.f_index_select(0, numbers)?.f_unsqueeze(-1)?;
        let along = span(side)?;
        let mirrored = along.f_flip([0])?.f_where_self(&flips, &along)?;
        let rows = offsets.f_narrow(1, 0, 1)?.f_add(&along)?.f_view([count, side, 1])?;
        let columns = offsets.f_narrow(1, 1, 1)?.f_add(&mirrored)?.f_view([count, 1, side])?;
        let images = span(count)?.f_view([count, 1, 1])?;
        let lines = images.f_mul_scalar(padded_side)?.f_add(&rows)?;
        let pixels = lines.f_mul_scalar(padded_side)?.f_add(&columns)?.f_view([-1])?;
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
