//! The kernels of a set of jobs in a dimension of numbers: where each is, how wide it is, and what it adds to a density.
//!
//! What has not changed since the last proposal is kept: jobs stay sorted by their value, and a kernel's normaliser, two
//! error functions and a logarithm, is computed again only where its width changes, which a new job does to its neighbours.

use std::{cmp::Ordering, collections::HashMap, f64::consts::FRAC_1_SQRT_2};

use rand_chacha::ChaCha8Rng;

use super::{
    density::keep_rows,
    lanes,
    masses::Masses,
    normal::{LN_SQRT_2PI, ln_mass, truncated},
    space::Cells,
};

/// No kernel is narrower than the range divided by the number of kernels and one, nor than by this.
const KERNELS_ACROSS_RANGE_MAX: f64 = 100.0;
/// If more than one of so many rows began or ceased to count, all kernels are computed again.
const CHANGED_SHARE: usize = 16;
/// More than what the logarithm of a probability differs from its exact value.
const ROUNDING: f64 = 1e-9;
/// Pairs of mean and deviation that are remembered besides twice as many as there were when all were computed: those of the past
/// stay until then.
const NUMBERS_SPARE: usize = 64;

/// A truncated normal distribution, in coordinates.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    mean: f64,
    deviation: f64,
    /// Of a continuous dimension the logarithm of the density at the mean, of a discrete one that of 1 / mass of the range.
    ln_norm: f64,
}

/// Which rows count, and for which that is new.
pub(super) struct Counting<'a> {
    /// Those that count, in any order.
    pub(super) rows: &'a [usize],
    /// By row, whether it counts.
    pub(super) counts: &'a [bool],
    pub(super) changed: &'a [usize],
}

/// A value of a job.
#[derive(Debug, Clone, Copy)]
struct Placed {
    value: f64,
    job: u64,
    row: usize,
}

impl Placed {
    /// What they are sorted by.
    fn key(&self) -> (f64, u64) {
        (self.value, self.job)
    }
}

/// A dimension of numbers. Each list by row has one entry for each row; one without a value here has the prior, as it says
/// nothing about this dimension.
#[derive(Debug, Clone)]
pub(super) struct Normals {
    low: f64,
    high: f64,
    cells: Option<Cells>,
    prior: Kernel,
    /// By row.
    means: Vec<f64>,
    deviations: Vec<f64>,
    /// By row, 1 / (√2 · deviation).
    scales: Vec<f64>,
    ln_norms: Vec<f64>,
    /// By row, of a discrete dimension: kernels with the same mean and deviation have the same number.
    alike: Vec<u32>,
    /// By row, its job.
    jobs: Vec<u64>,
    /// By row, whether it has a value.
    has_value: Vec<bool>,
    /// The jobs that count and have a value, by the value and then by their number.
    sorted: Vec<Placed>,
    /// The number that kernels with this mean and deviation have in `alike`.
    numbers: HashMap<(u64, u64), u32>,
    /// How many there were when all kernels were computed.
    numbers_fitted: usize,
    /// Of a discrete dimension: the probabilities of cells by the number of the kernel, as long as the numbers stay.
    masses: Masses,
    /// How narrow a kernel may be.
    narrowest: f64,
}

impl Normals {
    pub(super) fn new(low: f64, high: f64, cells: Option<Cells>) -> Self {
        let mut normals = Self {
            low,
            high,
            cells,
            prior: Kernel { mean: 0.5 * (low + high), deviation: high - low, ln_norm: 0.0 },
            means: Vec::new(),
            deviations: Vec::new(),
            scales: Vec::new(),
            ln_norms: Vec::new(),
            alike: Vec::new(),
            jobs: Vec::new(),
            has_value: Vec::new(),
            sorted: Vec::new(),
            numbers: HashMap::new(),
            numbers_fitted: 0,
            masses: Masses::default(),
            narrowest: 0.0,
        };
        let Kernel { mean, deviation, .. } = normals.prior;
        normals.prior.ln_norm = normals.ln_norm(mean, deviation);
        normals
    }

    fn ln_norm(&self, mean: f64, deviation: f64) -> f64 {
        let mass = ln_mass((self.low - mean) / deviation, (self.high - mean) / deviation);
        let ln_peak = if self.cells.is_some() { 0.0 } else { -LN_SQRT_2PI - libm::log(deviation) };
        ln_peak - mass
    }

    pub(super) fn push(&mut self, coordinate: f64, job: u64) {
        let Kernel { mean, deviation, ln_norm } = self.prior;
        let has_value = !coordinate.is_nan();
        self.means.push(if has_value { coordinate } else { mean });
        // Of no deviation yet, so that the next fit computes it.
        self.deviations.push(if has_value { f64::NAN } else { deviation });
        self.scales.push(FRAC_1_SQRT_2 / deviation);
        self.ln_norms.push(ln_norm);
        self.alike.push(0);
        self.jobs.push(job);
        self.has_value.push(has_value);
    }

    /// Keeps some rows, with those that count.
    pub(super) fn keep(&mut self, keeps: &[bool]) {
        for list in [&mut self.means, &mut self.deviations, &mut self.scales, &mut self.ln_norms] {
            keep_rows(list, keeps);
        }
        keep_rows(&mut self.alike, keeps);
        keep_rows(&mut self.jobs, keeps);
        keep_rows(&mut self.has_value, keeps);
        let kept_before = |kept: &mut usize, keeps: &bool| {
            let before = *kept;
            *kept += usize::from(*keeps);
            Some(before)
        };
        let after: Vec<usize> = keeps.iter().scan(0, kept_before).collect();
        self.sorted.iter_mut().for_each(|placed| placed.row = after[placed.row]);
    }

    /// Gives each kernel that counts the larger of the distances to its neighbours as its deviation. Where few rows began or
    /// ceased to count, only theirs and their neighbours' can change.
    pub(super) fn fit(&mut self, now: &Counting<'_>) {
        let few = now.changed.len() <= now.rows.len() / CHANGED_SHARE;
        if few {
            now.changed.iter().for_each(|row| self.sort_in(*row, now.counts[*row]));
        } else {
            self.sort(now.rows);
        }
        // Each observation has a kernel, and the prior one.
        let narrowest = (self.high - self.low) / KERNELS_ACROSS_RANGE_MAX.min(2.0 + self.sorted.len() as f64);
        let is_same =
            narrowest == self.narrowest && self.numbers.len() <= 2 * self.numbers_fitted + NUMBERS_SPARE;
        self.narrowest = narrowest;
        if few && is_same {
            for row in now.changed {
                if self.has_value[*row] {
                    self.widen_around(*row);
                }
            }
        } else {
            self.numbers.clear();
            self.masses.clear();
            (0..self.sorted.len()).for_each(|at| self.widen(at));
            self.numbers_fitted = self.numbers.len();
        }
    }

    /// Where the job of a row is in `sorted`, or would be.
    fn place(&self, row: usize) -> usize {
        let key = (self.means[row], self.jobs[row]);
        self.sorted.partition_point(|other| other.key() < key)
    }

    /// Sets the deviation of the kernel of a row that has begun or ceased to count, and of its neighbours.
    fn widen_around(&mut self, row: usize) {
        let at = self.place(row);
        (at.saturating_sub(1)..self.sorted.len().min(at + 2)).for_each(|at| self.widen(at));
    }

    /// A row begins or ceases to count.
    fn sort_in(&mut self, row: usize, counts: bool) {
        if !self.has_value[row] {
            return;
        }
        let at = self.place(row);
        if counts {
            self.sorted.insert(at, Placed { value: self.means[row], job: self.jobs[row], row });
        } else if self.sorted.get(at).is_some_and(|placed| placed.row == row) {
            self.sorted.remove(at);
        }
    }

    /// These rows count.
    fn sort(&mut self, rows: &[usize]) {
        let placed = |row: &usize| Placed { value: self.means[*row], job: self.jobs[*row], row: *row };
        let mut sorted: Vec<Placed> = rows.iter().filter(|row| self.has_value[**row]).map(placed).collect();
        // No value is NaN.
        sorted.sort_unstable_by(|one, other| one.key().partial_cmp(&other.key()).unwrap_or(Ordering::Equal));
        self.sorted = sorted;
    }

    /// Sets the deviation of the kernel at a place of `sorted`.
    fn widen(&mut self, at: usize) {
        let Placed { value, row, .. } = self.sorted[at];
        let before = at.checked_sub(1).map(|before| self.sorted[before].value);
        let after = self.sorted.get(at + 1).map(|after| after.value);
        // The ends of the range are neighbours only of a kernel that has no other.
        let distance = match (before, after) {
            (None, None) => (value - self.low).max(self.high - value),
            (Some(before), None) => value - before,
            (None, Some(after)) => after - value,
            (Some(before), Some(after)) => f64::max(value - before, after - value),
        };
        let deviation = distance.max(self.narrowest).min(self.high - self.low);
        if self.deviations[row] != deviation {
            self.deviations[row] = deviation;
            self.scales[row] = FRAC_1_SQRT_2 / deviation;
            self.ln_norms[row] = self.ln_norm(value, deviation);
        }
        if self.cells.is_some() {
            // The prior is number 0.
            let next = self.numbers.len() as u32 + 1;
            let key = (value.to_bits(), deviation.to_bits());
            self.alike[row] = *self.numbers.entry(key).or_insert(next);
        }
    }

    /// The logarithm of the probability of a cell by the kernel of a row.
    fn ln_cell(&self, row: usize, from: f64, to: f64) -> f64 {
        let (mean, deviation) = (self.means[row], self.deviations[row]);
        self.ln_norms[row] + ln_mass((from - mean) / deviation, (to - mean) / deviation)
    }

    pub(super) fn ln_prior(&self, coordinate: f64) -> f64 {
        let Kernel { mean, deviation, ln_norm } = self.prior;
        match &self.cells {
            None => {
                let distance = (coordinate - mean) * (FRAC_1_SQRT_2 / deviation);
                ln_norm - distance * distance
            }
            Some(cells) => {
                let (from, to) = cells.ends(coordinate);
                ln_norm + ln_mass((from - mean) / deviation, (to - mean) / deviation)
            }
        }
    }

    pub(super) fn has_cells(&self) -> bool {
        self.cells.is_some()
    }

    /// Adds the logarithms of the probabilities of a cell to those of some rows, and leaves the rows below `floor` out. Says how many
    /// are left, which come first then. Of a discrete dimension. Few kernels differ, so that most probabilities are known.
    pub(super) fn add_cell(
        &mut self,
        coordinate: f64,
        floor: f64,
        rows: &mut [u32],
        sums: &mut [f64],
    ) -> usize {
        let Some(cells) = &self.cells else { return rows.len() };
        let (from, to) = cells.ends(coordinate);
        let mut masses = std::mem::take(&mut self.masses);
        let known = masses.of(coordinate, self.numbers.len() + 1);
        // The prior is number 0.
        known[0] = self.ln_prior(coordinate);
        let mut kept = 0;
        for index in 0..rows.len().min(sums.len()) {
            let row = rows[index] as usize;
            let ln_mass = &mut known[self.alike[row] as usize];
            // A bound first, as most of those that are unknown are far away. What is left out by it would be by its value.
            if ln_mass.is_nan() && sums[index] + self.ln_cell_bound(row, from, to) >= floor {
                *ln_mass = self.ln_cell(row, from, to);
            }
            let sum = sums[index] + *ln_mass;
            (rows[kept], sums[kept]) = (rows[index], sum);
            kept += usize::from(sum >= floor);
        }
        self.masses = masses;
        kept
    }

    /// How many probabilities of cells are kept.
    pub(super) fn masses_count(&self) -> usize {
        self.masses.count()
    }

    /// Forgets the probabilities of cells.
    pub(super) fn forget_masses(&mut self) {
        self.masses.clear();
    }

    /// What the logarithm of the probability of a cell does not exceed: the whole tail from its nearer end has at most half of this, and
    /// rounding changes less than what is added.
    fn ln_cell_bound(&self, row: usize, from: f64, to: f64) -> f64 {
        let distance = (from - self.means[row]).max(self.means[row] - to).max(0.0) * self.scales[row];
        self.ln_norms[row] - distance * distance + ROUNDING
    }

    /// Draws a coordinate from the kernel of a row, or from the prior.
    pub(super) fn draw(&self, row: Option<usize>, random: &mut ChaCha8Rng) -> f64 {
        let Kernel { mean, deviation, .. } = self.prior;
        let (mean, deviation) = row.map_or((mean, deviation), |row| (self.means[row], self.deviations[row]));
        truncated(mean, deviation, self.low, self.high, random)
    }

    /// The logarithm of the probability of a value by the kernel of a row. Of a discrete dimension.
    pub(super) fn ln_probability(&self, row: usize, coordinate: f64) -> f64 {
        self.cells.as_ref().map_or(0.0, |cells| {
            let (from, to) = cells.ends(coordinate);
            self.ln_cell(row, from, to)
        })
    }

    /// Adds the logarithms of the densities of consecutive rows, the first of which is given. Of a continuous dimension.
    pub(super) fn add_densities(&self, coordinate: f64, first: usize, sums: &mut [f64]) {
        let rows = first..first + sums.len();
        let (means, scales) = (&self.means[rows.clone()], &self.scales[rows.clone()]);
        let ln_norms = &self.ln_norms[rows];
        lanes::add_ln_densities(coordinate, (means, scales, ln_norms), sums);
    }
}
