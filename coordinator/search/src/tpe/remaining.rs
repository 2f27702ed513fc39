//! The kernels that are not negligible at a point, and what is left of them from dimension to dimension.

use super::{column::Column, lanes};

/// Rows that are computed at a time. Their columns and sums take some kilobytes.
pub(super) const BLOCK: usize = 128;
/// The kernels that are not negligible at a point so far, and the logarithm of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Remaining {
    rows: Vec<u32>,
    sums: Vec<f64>,
    count: usize,
}

impl Remaining {
    /// None.
    pub(super) fn begin(&mut self) {
        self.count = 0;
        self.rows.clear();
        self.sums.clear();
    }

    /// Takes the logarithms of a block of rows, the first of which is given, and leaves out those below `floor`. Written without a
    /// branch on what is kept, which is not predictable.
    pub(super) fn take(&mut self, first: usize, sums: &[f64], floor: f64) {
        let (mut kept_rows, mut kept_sums, mut kept) = ([0; BLOCK], [0.0; BLOCK], 0);
        for (row, sum) in (first as u32..).zip(sums) {
            (kept_rows[kept % BLOCK], kept_sums[kept % BLOCK]) = (row, *sum);
            kept += usize::from(*sum >= floor);
        }
        self.rows.extend_from_slice(&kept_rows[..kept.min(BLOCK)]);
        self.sums.extend_from_slice(&kept_sums[..kept.min(BLOCK)]);
        self.count = self.rows.len();
    }

    /// Puts them into the order of some key of their rows.
    pub(super) fn sort_by_key(&mut self, key: impl Fn(usize) -> u64) {
        let each = self.rows.iter().copied().zip(self.sums.iter().copied());
        let mut all: Vec<(u32, f64)> = each.take(self.count).collect();
        all.sort_by_key(|(row, _)| key(*row as usize));
        (self.rows, self.sums) = all.into_iter().unzip();
    }

    /// The row with the largest logarithm, of equal ones the last.
    pub(super) fn largest(&self) -> Option<(usize, f64)> {
        let all = self.rows[..self.count].iter().zip(&self.sums[..self.count]);
        all.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(row, sum)| (*row as usize, *sum))
    }

    /// Drops those below `floor`.
    pub(super) fn drop_below(&mut self, floor: f64) {
        self.keep(floor, |_| 0.0);
    }

    /// Adds the logarithms of the probabilities of a choice, and drops kernels that are below `floor` then.
    pub(super) fn add_choice(&mut self, column: &Column, coordinate: f64, floor: f64) {
        if let Column::Choice(choices) = column {
            self.keep(floor, |row| choices.ln_probability(row, coordinate as u32));
        }
    }

    fn keep(&mut self, floor: f64, term: impl Fn(usize) -> f64) {
        let (rows, sums) = (&mut self.rows[..self.count], &mut self.sums[..self.count]);
        let mut kept = 0;
        for index in 0..rows.len() {
            let (row, sum) = (rows[index], sums[index] + term(rows[index] as usize));
            (rows[kept], sums[kept]) = (row, sum);
            kept += usize::from(sum >= floor);
        }
        self.count = kept;
    }

    /// Adds the logarithms of the probabilities of a cell, and drops kernels that are below `floor` then.
    pub(super) fn add_cell(&mut self, column: &mut Column, coordinate: f64, floor: f64) {
        let Column::Normal(normals) = column else { return };
        let (rows, sums) = (&mut self.rows[..self.count], &mut self.sums[..self.count]);
        self.count = normals.add_cell(coordinate, floor, rows, sums);
    }

    /// The sum of all with their weights, divided by the exponential of `reference`. What is left then are the quotients.
    pub(super) fn weighted_sum(&mut self, weights: &[f64], reference: f64) -> f64 {
        let sums = &mut self.sums[..self.count];
        lanes::exponentials(reference, sums);
        self.rows.iter().zip(sums.iter()).map(|(row, sum)| weights[*row as usize] * sum).sum()
    }
}
