//! The rungs of a job, in epochs. Integers alone: the logarithm of 243 to the base 3, and that of 1,000 to the base 10, are
//! less than 5 and 3 in floating point, and a rung would be missing.

use terms::EPOCHS_MAX;

/// Most rungs of a ladder: each has at least twice the epochs of the one below.
pub const RUNGS_MAX: usize = u32::BITS as usize;

/// Increasing numbers of epochs at which jobs are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<u32>);

impl Ladder {
    /// `min_iter` · `eta`^k epochs, for k from `s` on; `eta` is at least 2.
    pub fn upwards(min_iter: u32, eta: u32, s: u32) -> Self {
        let rungs = powers(min_iter, eta).skip(s as usize);
        Self(rungs.take_while(|epochs| *epochs <= EPOCHS_MAX).collect())
    }

    /// `max_iter` / `eta`^k epochs, rounded down, for k from 1 to `s`, as long as that is at least one epoch; `eta` is at least 2.
    /// These are W&B's brackets for `max_iter` and `s`.
    pub fn downwards(max_iter: u32, eta: u32, s: u32) -> Self {
        let below = std::iter::successors(Some(max_iter), |epochs| Some(epochs / eta.max(2)));
        let mut rungs: Vec<u32> =
            below.skip(1).take(s as usize).take_while(|epochs| *epochs > 0).take(RUNGS_MAX).collect();
        rungs.reverse();
        Self(rungs)
    }

    /// A single rung.
    pub fn single(epochs: u32) -> Self {
        Self(vec![epochs])
    }

    /// The epochs of each rung, the lowest first.
    pub fn rungs(&self) -> &[u32] {
        &self.0
    }

    /// The rung of exactly that many epochs.
    pub(super) fn index(&self, epochs: u32) -> Option<usize> {
        self.0.binary_search(&epochs).ok()
    }
}

/// `first` · `eta`^k for k from 0 on.
pub(super) fn powers(first: u32, eta: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(first.max(1)), move |epochs| epochs.checked_mul(eta.max(2)))
}
