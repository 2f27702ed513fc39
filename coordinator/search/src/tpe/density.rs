//! The density of a set of jobs: a mixture of one kernel for each job and a prior. A kernel is a product over all dimensions.
//! A kernel of a job without a value in a dimension has the prior there, so that the mixture is a density of the points with
//! these conditions as well, each a product over the dimensions that the point has.

use rand_chacha::ChaCha8Rng;

use super::{
    column::{Column, Remaining},
    normal::uniform,
    space::{Point, Space},
};

/// A kernel whose part is smaller than the prior's by this factor's logarithm is left out: all of a million such are
/// below a double's last digit of the sum.
const NEGLIGIBLE_LN: f64 = 52.0;
/// As many of the latest jobs have full weight.
const FULL_WEIGHT: usize = 25;

/// A mixture of kernels.
#[derive(Debug)]
pub(super) struct Density {
    columns: Vec<Column>,
    /// The indexes of the columns in the order in which they are computed.
    order: Vec<usize>,
    /// The job of each row.
    jobs: Vec<u64>,
    /// The rows that count, oldest job first, with their weights. The prior has weight 1.
    rows: Vec<u32>,
    /// By row.
    weights: Vec<f64>,
    /// The sum of all, the prior's included.
    total: f64,
    /// By row, whether it counts.
    counts: Vec<bool>,
}

impl Density {
    pub(super) fn new(space: &Space) -> Self {
        let columns: Vec<Column> = space.scales.iter().map(Column::new).collect();
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|index| columns[*index].cost());
        Self {
            columns,
            order,
            jobs: Vec::new(),
            rows: Vec::new(),
            weights: Vec::new(),
            total: 1.0,
            counts: Vec::new(),
        }
    }

    /// Adds a job's coordinates as the next row.
    pub(super) fn push(&mut self, job: u64, coordinates: &[f64]) {
        self.jobs.push(job);
        for (column, coordinate) in self.columns.iter_mut().zip(coordinates) {
            column.push(*coordinate, &self.jobs);
        }
    }

    /// Makes it the density of some rows, which come in the order of their jobs' numbers.
    pub(super) fn fit(&mut self, rows: &[usize]) {
        self.counts.clear();
        self.counts.resize(self.jobs.len(), false);
        self.weights.clear();
        self.weights.resize(self.jobs.len(), 0.0);
        self.total = 1.0;
        for (place, row) in rows.iter().enumerate() {
            self.counts[*row] = true;
            self.weights[*row] = weight(place, rows.len());
            self.total += self.weights[*row];
        }
        self.rows.clear();
        self.rows.extend(rows.iter().map(|row| *row as u32));
        for column in &mut self.columns {
            column.fit(&self.rows, &self.counts);
        }
    }

    /// The logarithm of the density at some coordinates.
    pub(super) fn ln(&self, coordinates: &[f64], remaining: &mut Remaining) -> f64 {
        let present = || self.order.iter().copied().filter(|index| !coordinates[*index].is_nan());
        let prior: f64 = present().map(|index| self.columns[index].ln_prior(coordinates[index])).sum();
        // The most that the columns that follow can still add.
        let mut to_come: f64 = present().map(|index| self.columns[index].ln_density_max()).sum();
        remaining.begin(&self.rows);
        for index in present() {
            to_come -= self.columns[index].ln_density_max();
            remaining.add(&self.columns[index], coordinates[index], prior - NEGLIGIBLE_LN - to_come);
        }
        let largest = remaining.all().map(|(_, sum)| sum).fold(prior, f64::max);
        let kernels = remaining.all().map(|(row, sum)| self.weights[row] * libm::exp(sum - largest));
        let sum = kernels.sum::<f64>() + libm::exp(prior - largest);
        largest + libm::log(sum / self.total)
    }

    /// Draws a point: a kernel by its weight, for all dimensions, and from it each that the point has. Says which row it was;
    /// none for the prior.
    pub(super) fn draw(&self, space: &Space, random: &mut ChaCha8Rng) -> (Option<usize>, Point) {
        let mut left = uniform(random) * self.total;
        let row = self.rows.iter().map(|row| *row as usize).find(|row| {
            left -= self.weights[*row];
            left < 0.0
        });
        let value = |index: usize| space.scales[index].value(self.columns[index].draw(row, random));
        (row, space.point(value))
    }
}

/// The weight of a job among `count`, of which `place` are older: full for the latest, and for those before growing evenly from
/// 1 / count for the oldest.
pub(super) fn weight(place: usize, count: usize) -> f64 {
    let Some(ramp) = count.checked_sub(FULL_WEIGHT).filter(|ramp| place < *ramp) else { return 1.0 };
    let first = 1.0 / count as f64;
    let step = if ramp > 1 { (1.0 - first) / (ramp - 1) as f64 } else { 0.0 };
    first + place as f64 * step
}
