//! The probabilities of cells that were computed, by kernel: a search that has found a good region asks for the same ones again and again.

use std::collections::HashMap;

/// Probabilities that a density keeps from proposal to proposal in all its dimensions: 4 MiB. In tests so few that some are forgotten.
pub(super) const KEPT_MAX: usize = if cfg!(test) { 1 << 12 } else { 1 << 19 };

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
            known.reserve_exact(count - known.len());
            known.resize(count, f64::NAN);
        }
        known
    }

    /// Forgets all: kernels have other numbers.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
    }

    /// How many there is room for.
    pub(super) fn count(&self) -> usize {
        self.cells.values().map(Vec::capacity).sum()
    }
}
