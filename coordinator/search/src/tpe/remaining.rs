//! The kernels that are not negligible at a point, and what is left of them from dimension to dimension.

use super::{column::Column, normal::exponential};

/// Rows that are computed at a time. Their columns and sums take some kilobytes.
pub(super) const BLOCK: usize = 128;
/// The kernels that are not negligible at a point so far: the logarithm of each, and a factor that is not in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Remaining {
    rows: Vec<u32>,
    sums: Vec<f64>,
    factors: Vec<f64>,
    count: usize,
}

/// The probabilities of some cells by `alike`, for all candidates that have a cell; NaN where not computed.
#[derive(Debug, Clone, Default)]
pub(super) struct Masses {
    /// By column, the bits of each coordinate and its place in `lists`.
    cells: Vec<Vec<(u64, usize)>>,
    lists: Vec<Vec<f64>>,
    used: usize,
}

impl Masses {
    pub(super) fn clear(&mut self) {
        self.cells.iter_mut().for_each(Vec::clear);
        self.used = 0;
    }

    /// Those of a cell of a column; where it has none yet, a list of `count` unknown ones.
    fn of(&mut self, column: usize, cell: u64, count: usize) -> &mut Vec<f64> {
        self.cells.resize_with(self.cells.len().max(column + 1), Vec::new);
        let cells = &mut self.cells[column];
        let known = cells.iter().find(|(known, _)| *known == cell).map(|(_, at)| *at);
        let at = known.unwrap_or(self.used);
        if known.is_none() {
            cells.push((cell, at));
            self.used += 1;
            self.lists.resize_with(self.lists.len().max(self.used), Vec::new);
            self.lists[at].clear();
            self.lists[at].resize(count, f64::NAN);
        }
        &mut self.lists[at]
    }
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

    /// Drops those below `floor`. The others have the factor 1.
    pub(super) fn drop_below(&mut self, floor: f64) {
        self.keep(floor, |_| 0.0);
        self.factors.clear();
        self.factors.resize(self.count, 1.0);
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

    /// Multiplies by the probabilities of a cell, and drops kernels that are below `floor` then. Few masses differ.
    pub(super) fn multiply_by_cell(
        &mut self,
        (index, column): (usize, &Column),
        coordinate: f64,
        floor: f64,
        masses: &mut Masses,
    ) {
        let Column::Normal(normals) = column else { return };
        let Some(cells) = normals.cells().filter(|_| self.count > 0) else { return };
        let (from, to) = cells.ends(coordinate);
        let masses = masses.of(index, coordinate.to_bits(), normals.numbers());
        // One without a value here has the prior.
        masses[0] = libm::exp(normals.ln_prior(coordinate));
        // As slices of one length, so that it is not compared with each index.
        let count = self.count;
        let (rows, sums) = (&mut self.rows[..count], &mut self.sums[..count]);
        let factors = &mut self.factors[..count];
        let mut kept = 0;
        for index in 0..count {
            let (row, sum, factor) = (rows[index], sums[index], factors[index]);
            let mass = &mut masses[normals.number(row as usize)];
            let mut probability = *mass;
            if probability.is_nan() {
                let row = row as usize;
                probability = 0.0;
                // A bound first, as most are far away.
                if sum + normals.ln_cell_bound(row, from, to) >= floor {
                    probability = normals.cell(row, from, to);
                    *mass = probability;
                }
            }
            (rows[kept], sums[kept], factors[kept]) = (row, sum, factor * probability);
            kept += usize::from(probability > 0.0);
        }
        self.count = kept;
    }

    /// The sum of all with their weights, divided by the exponential of `reference`. What is left then are the quotients.
    pub(super) fn weighted_sum(&mut self, weights: &[f64], reference: f64) -> f64 {
        let (sums, factors) = (&mut self.sums[..self.count], &self.factors[..self.count]);
        sums.iter_mut().for_each(|sum| *sum = exponential(*sum - reference));
        let each = self.rows.iter().zip(sums.iter()).zip(factors);
        each.map(|((row, sum), factor)| weights[*row as usize] * factor * sum).sum()
    }
}
