//! The probabilities of cells that were computed, by kernel: a search that has found a good region asks for the same ones again and again.

use std::collections::HashMap;

/// Probabilities that are kept from proposal to proposal: 2 MiB a dimension. In tests so few that some are forgotten.
const KEPT_MAX: usize = if cfg!(test) { 1 << 10 } else { 1 << 18 };

/// The logarithms of the probabilities of cells by the number of the kernel; NaN where not computed.
#[derive(Debug, Clone, Default)]
pub(super) struct Masses {
    /// By the bits of the cell's coordinate.
    cells: HashMap<u64, Vec<f64>>,
}

impl Masses {
    /// Those of a cell, of `count` kernels.
    pub(super) fn of(&mut self, coordinate: f64, count: usize) -> &mut [f64] {
        let known = self.cells.entry(coordinate.to_bits()).or_default();
        if known.len() < count {
            known.resize(count, f64::NAN);
        }
        known
    }

    /// Forgets all: kernels have other numbers.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
    }

    /// Forgets all if there are many. Between the cells of one proposal nothing is forgotten.
    pub(super) fn bound(&mut self) {
        if self.cells.values().map(Vec::len).sum::<usize>() > KEPT_MAX {
            self.clear();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.values().map(|known| size_of_val(known.as_slice())).sum()
    }
}
