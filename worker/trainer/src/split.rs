//! Which images are for training and which for validation: PyTorch's `random_split(dataset, [train, rest],
//! generator=torch.Generator().manual_seed(seed))`. It only depends on the number of images, the fraction and the seed,
//! so that all jobs of a sweep see the same split.

use crate::random;

/// Added before rounding down, so that `(1 - 0.2) * 1000` counts as 800 although for some fractions the product is
/// 1e-13 less.
const ROUNDING: f64 = 1e-9;

/// Image numbers, each in exactly one part, in the order of the permutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub train: Vec<i64>,
    pub validation: Vec<i64>,
}

impl Split {
    /// The last `validation` of `images` images are the validation set, for a data set with a separate one.
    pub fn with_last(images: usize, validation: usize) -> Self {
        let train = images.saturating_sub(validation) as i64;
        Self { train: (0..train).collect(), validation: (train..images as i64).collect() }
    }
}

/// Why a data set cannot be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// Not a fraction.
    #[error("val_fraction must lie between 0 and 1, both excluded, but is {found}; the report uses 0.2")]
    Fraction {
        /// What was asked for.
        found: f64,
    },
    /// Too few images for the fraction.
    #[error(
        "{images} images split at val_fraction {val_fraction} leave {train} for training and {validation} for \
         validation, but both parts need one at least; add images or change val_fraction"
    )]
    EmptyPart {
        images: usize,
        /// What was asked for.
        val_fraction: f64,
        train: usize,
        validation: usize,
    },
    #[error("the split's permutation could not be drawn: {0}")]
    Torch(#[from] tch::TchError),
}

/// Splits `images` images: the first `floor((1 - val_fraction) * images)` of a seeded permutation train.
///
/// # Errors
/// A fraction outside (0, 1), or a part without images.
pub fn split(images: usize, val_fraction: f64, seed: u64) -> Result<Split, SplitError> {
    if !(val_fraction > 0.0 && val_fraction < 1.0) {
        return Err(SplitError::Fraction { found: val_fraction });
    }
    // Exact up to 2^53 images.
    let train = ((1.0 - val_fraction) * images as f64 + ROUNDING).floor() as usize;
    let validation = images.saturating_sub(train);
    if train == 0 || validation == 0 {
        return Err(SplitError::EmptyPart { images, val_fraction, train, validation });
    }
    let mut order = Vec::<i64>::try_from(random::permutation(images as i64, seed)?)?;
    let validation = order.split_off(train);
    Ok(Split { train: order, validation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::tests::MersenneTwister;

    #[test]
    fn the_split_is_pytorchs_random_split() {
        let order = MersenneTwister::new(3).permutation(1000);
        let split = split(1000, 0.2, 3).unwrap();
        assert_eq!(split.train, order[..800]);
        assert_eq!(split.validation, order[800..]);
    }

    #[test]
    fn rounding_errors_of_the_fraction_cost_no_image() {
        for (images, val_fraction, train) in [
            (25_000, 0.2, 20_000),
            (10, 0.7, 3),
            (10, 0.9, 1),
            (1000, 0.1, 900),
            (7, 0.2, 5),
            (100, 0.29, 71),
        ] {
            assert_eq!(
                split(images, val_fraction, 0).unwrap().train.len(),
                train,
                "{images} at {val_fraction}"
            );
        }
    }

    #[test]
    fn every_image_is_in_one_part() {
        let split = split(101, 0.33, 9).unwrap();
        let mut all = [split.train, split.validation].concat();
        all.sort_unstable();
        assert_eq!(all, (0..101).collect::<Vec<i64>>());
    }

    #[test]
    fn a_validation_set_of_its_own_is_the_last_images() {
        let split = Split::with_last(5, 2);
        assert_eq!((split.train, split.validation), (vec![0, 1, 2], vec![3, 4]));
    }

    #[test]
    fn a_fraction_that_is_no_share_is_refused() {
        for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
            assert!(matches!(split(100, fraction, 0), Err(SplitError::Fraction { .. })), "{fraction}");
        }
    }

    #[test]
    fn a_part_without_images_is_refused() {
        assert!(matches!(split(0, 0.2, 0), Err(SplitError::EmptyPart { .. })));
        let error = split(2, 0.6, 0).unwrap_err().to_string();
        assert_eq!(
            error,
            "2 images split at val_fraction 0.6 leave 0 for training and 2 for validation, but both parts need one \
             at least; add images or change val_fraction"
        );
    }
}
