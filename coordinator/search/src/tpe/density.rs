//! The density of a set of jobs: a mixture of one kernel for each job and a prior. A kernel is a product over all dimensions.
//! A kernel of a job without a value in a dimension has the prior there, so that the mixture is a density of the points with
//! these conditions as well, each a product over the dimensions that the point has.
//!
//! With ten thousand jobs, nearly all kernels are negligible at a point. The continuous dimensions are computed for all kernels,
//! in blocks that stay in the processor's first cache for all candidates; the others for what is left then. Only jobs that count
//! have kernels, and what has not changed since the last proposal is kept.

use rand_chacha::ChaCha8Rng;

use super::{
    column::Column,
    masses::KEPT_MAX,
    normal::uniform,
    normals::Counting,
    remaining::{BLOCK, Remaining},
    space::{Point, Space},
};

/// What is left out of a density is less than 1e-10 of it, a tenth of the difference from Optuna's that tests allow; this is minus
/// its logarithm. A smaller part costs time, as more kernels are left for the dimensions with steps.
const LN_PRECISION: f64 = 23.1;
/// As many of the latest jobs have full weight.
const FULL_WEIGHT: usize = 25;
/// Rows that are kept besides twice as many as count: most that cease to count are dropped together, as that takes time in proportion
/// to all of them.
const ROWS_SPARE: usize = 64;
/// About how much memory each value of a job takes here: its kernel and its sorted place.
const KERNEL_BYTES: usize = 96;
/// The row of a job that has none.
const NO_ROW: u32 = u32::MAX;

/// A mixture of kernels. Each job that counts, or did not long ago, has a row.
#[derive(Debug, Clone)]
pub(super) struct Density {
    columns: Vec<Column>,
    /// The job of each row.
    jobs: Vec<u64>,
    /// By row, what its job is known by to the caller; and the reverse, [`NO_ROW`] where a job has no row.
    known_as: Vec<usize>,
    rows_of: Vec<u32>,
    /// The rows that count, oldest job first. The prior has weight 1.
    rows: Vec<usize>,
    /// By row.
    weights: Vec<f64>,
    /// The sum of all, the prior's included.
    total: f64,
    /// By row, whether it counts.
    counts: Vec<bool>,
    /// By row, the logarithm of 1 or 0 for the same.
    ln_counts: Vec<f64>,
    /// The first rows of the blocks in which one counts, in their order. The others are not computed.
    blocks: Vec<usize>,
    /// Whether the rows are in the order of their jobs' numbers.
    is_in_order: bool,
}

/// What is computed of a candidate.
#[derive(Debug, Clone, Default)]
struct Partial {
    prior: f64,
    remaining: Remaining,
}

/// Memory that is used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    partials: Vec<Partial>,
}

impl Density {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            columns: space.scales.iter().map(Column::new).collect(),
            jobs: Vec::new(),
            known_as: Vec::new(),
            rows_of: Vec::new(),
            rows: Vec::new(),
            weights: Vec::new(),
            total: 1.0,
            counts: Vec::new(),
            ln_counts: Vec::new(),
            blocks: Vec::new(),
            is_in_order: true,
        }
    }

    /// Gives a job the next row.
    fn push(&mut self, known_as: usize, job: u64, coordinates: &[f64]) {
        self.number_row(known_as, job);
        self.columns
            .iter_mut()
            .zip(coordinates)
            .for_each(|(column, coordinate)| column.push(*coordinate, job));
    }

    /// The same of the next job, where equal observations have another order in each column.
    #[cfg(test)]
    pub(super) fn push_placed(&mut self, places: &[u64], coordinates: &[f64]) {
        self.number_row(self.jobs.len(), self.jobs.len() as u64);
        for ((column, coordinate), place) in self.columns.iter_mut().zip(coordinates).zip(places) {
            column.push(*coordinate, *place);
        }
    }

    fn number_row(&mut self, known_as: usize, job: u64) {
        if known_as >= self.rows_of.len() {
            self.rows_of.resize(known_as + 1, NO_ROW);
        }
        self.rows_of[known_as] = self.jobs.len() as u32;
        self.known_as.push(known_as);
        self.jobs.push(job);
        self.counts.push(false);
    }

    fn row_of(&self, known_as: usize) -> Option<usize> {
        self.rows_of.get(known_as).filter(|row| **row != NO_ROW).map(|row| *row as usize)
    }

    /// Makes it the density of some jobs, which come in the order of their numbers. They are among `window`, whose others may count soon:
    /// given rows together, all are in the order of their numbers. `observed` has the number and the coordinates of each.
    pub(super) fn fit<'a>(
        &mut self,
        jobs: &[usize],
        window: &[usize],
        observed: impl Fn(usize) -> (u64, &'a [f64]),
    ) {
        if self.jobs.len() > 2 * window.len() + ROWS_SPARE {
            self.drop_others(window);
        }
        for known_as in window {
            if self.row_of(*known_as).is_none() {
                let (job, coordinates) = observed(*known_as);
                self.push(*known_as, job, coordinates);
            }
        }
        let rows: Vec<usize> = jobs.iter().filter_map(|known_as| self.row_of(*known_as)).collect();
        self.fit_rows(rows);
    }

    /// Drops rows that neither count nor are those of a window, but for the latest: it may grow backwards a little.
    fn drop_others(&mut self, window: &[usize]) {
        let latest = self.jobs.len() - window.len() - ROWS_SPARE / 2;
        let mut keeps: Vec<bool> =
            (0..).zip(&self.counts).map(|(row, counts)| row >= latest || *counts).collect();
        window.iter().filter_map(|known_as| self.row_of(*known_as)).for_each(|row| keeps[row] = true);
        self.known_as.iter().for_each(|known_as| self.rows_of[*known_as] = NO_ROW);
        keep_rows(&mut self.jobs, &keeps);
        keep_rows(&mut self.known_as, &keeps);
        keep_rows(&mut self.counts, &keeps);
        self.columns.iter_mut().for_each(|column| column.keep(&keeps));
        (0..).zip(&self.known_as).for_each(|(row, known_as)| self.rows_of[*known_as] = row);
    }

    /// Gives weights to the rows that count, and fits their kernels.
    fn fit_rows(&mut self, rows: Vec<usize>) {
        let count = self.jobs.len();
        let before = std::mem::replace(&mut self.counts, vec![false; count]);
        self.ln_counts.clear();
        self.ln_counts.resize(count, f64::NEG_INFINITY);
        self.weights.clear();
        self.weights.resize(count, 0.0);
        self.total = 1.0;
        for (place, row) in rows.iter().enumerate() {
            (self.counts[*row], self.ln_counts[*row]) = (true, 0.0);
            self.weights[*row] = weight(place, rows.len());
            self.total += self.weights[*row];
        }
        let mut has_any = vec![false; count.div_ceil(BLOCK)];
        rows.iter().for_each(|row| has_any[row / BLOCK] = true);
        self.blocks.clear();
        self.blocks.extend((0..has_any.len()).filter(|block| has_any[*block]).map(|block| block * BLOCK));
        self.is_in_order = self.jobs.is_sorted();
        let changed: Vec<usize> = (0..count).filter(|row| self.counts[*row] != before[*row]).collect();
        let now = Counting { rows: &rows, counts: &self.counts, changed: &changed };
        self.columns.iter_mut().for_each(|column| column.fit(&now));
        self.rows = rows;
    }

    /// Roughly the memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.jobs.len() * self.columns.len() * KERNEL_BYTES + self.masses_count() * size_of::<f64>()
    }

    /// The job of a row.
    pub(super) fn job(&self, row: usize) -> u64 {
        self.jobs[row]
    }

    /// The logarithms of the density at the coordinates of some candidates.
    pub(super) fn ln(&mut self, candidates: &[Vec<f64>], scratch: &mut Scratch) -> Vec<f64> {
        let Scratch { partials } = scratch;
        self.bound_masses();
        partials.resize_with(candidates.len(), Partial::default);
        for (partial, coordinates) in partials.iter_mut().zip(candidates) {
            self.begin(partial, coordinates);
        }
        for &first in &self.blocks {
            for (partial, coordinates) in partials.iter_mut().zip(candidates) {
                self.add_block(partial, coordinates, first);
            }
        }
        let each = partials.iter_mut().zip(candidates);
        each.map(|(partial, coordinates)| self.end(partial, coordinates)).collect()
    }

    /// Forgets the probabilities of cells if they are many. Between the cells of one proposal nothing is forgotten.
    fn bound_masses(&mut self) {
        if self.masses_count() > KEPT_MAX {
            self.columns.iter_mut().for_each(Column::forget_masses);
        }
    }

    fn masses_count(&self) -> usize {
        self.columns.iter().map(Column::masses_count).sum()
    }

    /// The columns in which a candidate has a value, of some kind.
    fn present<'a>(
        &'a self,
        coordinates: &'a [f64],
        is_wanted: impl Fn(&Column) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a Column, f64)> + 'a {
        let all = self.columns.iter().zip(coordinates.iter().copied());
        all.filter(move |(column, coordinate)| !coordinate.is_nan() && is_wanted(column))
    }

    fn begin(&self, partial: &mut Partial, coordinates: &[f64]) {
        let all = || self.present(coordinates, |_| true);
        partial.prior = all().map(|(column, coordinate)| column.ln_prior(coordinate)).sum();
        partial.remaining.begin();
    }

    /// Computes the continuous dimensions of a block of rows.
    fn add_block(&self, partial: &mut Partial, coordinates: &[f64], first: usize) {
        let rows = first..(first + BLOCK).min(self.jobs.len());
        let mut sums = [0.0; BLOCK];
        let sums = &mut sums[..rows.len()];
        sums.copy_from_slice(&self.ln_counts[rows]);
        for (column, coordinate) in self.present(coordinates, Column::is_continuous) {
            column.add_densities(coordinate, first, sums);
        }
        partial.remaining.take(first, sums, partial.prior - self.ln_negligible());
    }

    /// Computes the other dimensions, and sums up.
    fn end(&mut self, partial: &mut Partial, coordinates: &[f64]) -> f64 {
        let Partial { prior, remaining } = partial;
        if !self.is_in_order {
            // Sums depend on the order.
            remaining.sort_by_key(|row| self.jobs[row]);
        }
        // The kernel that is largest so far, or the prior, bounds the sum from below. What the other dimensions add is a
        // probability, whose logarithm is at most 0.
        let mut least = *prior;
        if let Some((row, sum)) = remaining.largest() {
            let others = self.present(coordinates, |column| !column.is_continuous());
            let others = others.map(|(column, coordinate)| column.ln_probability(row, coordinate));
            least = least.max(sum + others.sum::<f64>() + libm::log(self.weights[row]));
        }
        let floor = least - self.ln_negligible();
        remaining.drop_below(floor);
        for (column, coordinate) in self.present(coordinates, Column::is_choice) {
            remaining.add_choice(column, coordinate, floor);
        }
        for (column, coordinate) in self.columns.iter_mut().zip(coordinates) {
            if !coordinate.is_nan() {
                remaining.add_cell(column, *coordinate, floor);
            }
        }
        let sum = remaining.weighted_sum(&self.weights, least) + libm::exp(*prior - least);
        least + libm::log(sum / self.total)
    }

    /// All kernels that are smaller than the sum by this factor's logarithm do not count together.
    fn ln_negligible(&self) -> f64 {
        LN_PRECISION + libm::log(self.rows.len() as f64 + 1.0)
    }

    /// Draws a point: a kernel by its weight, for all dimensions, and from it each that the point has. Says which row it was;
    /// none for the prior.
    pub(super) fn draw(&self, space: &Space, random: &mut ChaCha8Rng) -> (Option<usize>, Point) {
        let mut left = uniform(random) * self.total;
        let row = self.rows.iter().copied().find(|row| {
            left -= self.weights[*row];
            left < 0.0
        });
        let value = |index: usize| space.scales[index].value(self.columns[index].draw(row, random));
        (row, space.point(value))
    }
}

/// Keeps the entries of some rows.
pub(super) fn keep_rows<T>(list: &mut Vec<T>, keeps: &[bool]) {
    let mut keeps = keeps.iter();
    list.retain(|_| keeps.next().is_none_or(|keep| *keep));
}

/// The weight of a job among `count`, of which `place` are older: full for the latest, and for those before growing evenly from
/// 1 / count for the oldest.
pub(super) fn weight(place: usize, count: usize) -> f64 {
    let Some(ramp) = count.checked_sub(FULL_WEIGHT).filter(|ramp| place < *ramp) else { return 1.0 };
    let first = 1.0 / count as f64;
    let step = if ramp > 1 { (1.0 - first) / (ramp - 1) as f64 } else { 0.0 };
    first + place as f64 * step
}
