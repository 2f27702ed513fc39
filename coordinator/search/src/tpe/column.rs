//! The kernels of a set of jobs in one dimension: where each is, how wide it is, and what it adds to the logarithm of a
//! density.
//!
//! What has not changed since the last proposal is kept: jobs stay sorted by their value, and a kernel's normaliser, two
//! error functions and a logarithm, is computed again only where its width changes, which a new job does to its neighbours.

use rand_chacha::ChaCha8Rng;

use super::{
    normal::{LN_SQRT_2PI, ln_mass, truncated, uniform},
    space::{Cells, Scale},
};

/// No kernel is narrower than the range divided by the number of kernels and one, nor than by this.
const KERNELS_ACROSS_RANGE_MAX: f64 = 100.0;

/// A truncated normal distribution, in coordinates.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    mean: f64,
    deviation: f64,
    /// 1 / (√2 · deviation).
    scale: f64,
    /// Of a continuous dimension the logarithm of the density at the mean, of a discrete one that of 1 / mass of the range.
    ln_norm: f64,
    /// Of a discrete dimension: kernels with the same mean and deviation have the same number.
    alike: u32,
}

/// One dimension.
#[derive(Debug)]
pub(super) enum Column {
    Normal(Normals),
    Choice(Choices),
}

/// A dimension of numbers.
#[derive(Debug)]
pub(super) struct Normals {
    low: f64,
    high: f64,
    cells: Option<Cells>,
    prior: Kernel,
    /// One for each row. A job without a value here has the prior: it says nothing about this dimension.
    kernels: Vec<Kernel>,
    /// The rows of jobs with a value, by the value and then by the job's number.
    sorted: Vec<u32>,
    /// The largest `ln_norm` of the kernels that count.
    ln_norm_max: f64,
    /// How many different `alike` there are.
    alike_count: u32,
    /// Memory that is used again: the rows of `sorted` that count.
    counting: Vec<u32>,
}

/// A dimension of choices.
#[derive(Debug)]
pub(super) struct Choices {
    count: u32,
    /// For each row its choice; `count` where it has none.
    rows: Vec<u32>,
    /// The logarithms of the probabilities of a kernel's own choice, of each other one, and of any where it has none.
    ln_own: f64,
    ln_other: f64,
    ln_prior: f64,
}

impl Column {
    pub(super) fn new(scale: &Scale) -> Self {
        match *scale {
            Scale::Continuous { low, high, .. } => Self::Normal(Normals::new(low, high, None)),
            Scale::Discrete(cells) => Self::Normal(Normals::new(cells.low, cells.high, Some(cells))),
            Scale::Categorical { choices } => {
                let ln_prior = -libm::log(f64::from(choices));
                Self::Choice(Choices { count: choices, rows: Vec::new(), ln_own: 0.0, ln_other: 0.0, ln_prior })
            }
        }
    }

    /// Adds the last of `jobs`, which are the jobs by row.
    pub(super) fn push(&mut self, coordinate: f64, jobs: &[u64]) {
        match self {
            Self::Normal(normals) => normals.push(coordinate, jobs),
            Self::Choice(choices) => {
                let choice = if coordinate.is_nan() { choices.count } else { coordinate as u32 };
                choices.rows.push(choice.min(choices.count));
            }
        }
    }

    /// Makes the kernels those of the rows that count, of which `rows` are a list in any order.
    pub(super) fn fit(&mut self, rows: &[u32], counts: &[bool]) {
        match self {
            Self::Normal(normals) => normals.fit(counts),
            Self::Choice(choices) => choices.fit(rows),
        }
    }

    /// Draws a coordinate from the kernel of a row, or from the prior.
    pub(super) fn draw(&self, row: Option<usize>, random: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Normal(normals) => {
                let kernel = row.map_or(&normals.prior, |row| &normals.kernels[row]);
                truncated(kernel.mean, kernel.deviation, normals.low, normals.high, random)
            }
            Self::Choice(choices) => choices.draw(row, random),
        }
    }

    /// The logarithm of the prior's density, or for a discrete dimension of its probability.
    pub(super) fn ln_prior(&self, coordinate: f64) -> f64 {
        match self {
            Self::Normal(normals) => normals.ln_density(&normals.prior, coordinate),
            Self::Choice(choices) => choices.ln_prior,
        }
    }

    /// The most that a kernel that counts can have there.
    pub(super) fn ln_density_max(&self) -> f64 {
        match self {
            Self::Normal(Normals { cells: None, ln_norm_max, .. }) => *ln_norm_max,
            // Probabilities.
            _ => 0.0,
        }
    }

    /// How many computations a kernel costs there, roughly: cheap ones narrow the others down.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Normal(Normals { cells: None, .. }) => 0,
            Self::Choice(_) => 1,
            Self::Normal(_) => 2,
        }
    }
}

impl Normals {
    fn new(low: f64, high: f64, cells: Option<Cells>) -> Self {
        let mut normals = Self {
            low,
            high,
            cells,
            prior: Kernel { mean: 0.5 * (low + high), deviation: 0.0, scale: 0.0, ln_norm: 0.0, alike: 0 },
            kernels: Vec::new(),
            sorted: Vec::new(),
            ln_norm_max: 0.0,
            alike_count: 0,
            counting: Vec::new(),
        };
        normals.prior = normals.kernel(normals.prior.mean, high - low);
        normals
    }

    fn kernel(&self, mean: f64, deviation: f64) -> Kernel {
        let mass = ln_mass((self.low - mean) / deviation, (self.high - mean) / deviation);
        let ln_peak = if self.cells.is_some() { 0.0 } else { -LN_SQRT_2PI - libm::log(deviation) };
        let scale = std::f64::consts::FRAC_1_SQRT_2 / deviation;
        Kernel { mean, deviation, scale, ln_norm: ln_peak - mass, alike: 0 }
    }

    fn push(&mut self, coordinate: f64, jobs: &[u64]) {
        let row = self.kernels.len();
        if coordinate.is_nan() {
            self.kernels.push(self.prior);
            return;
        }
        // Of no deviation yet, so that the next fit computes it.
        self.kernels.push(Kernel { mean: coordinate, deviation: f64::NAN, ..self.prior });
        let place = |row: usize| (self.kernels[row].mean, jobs[row]);
        let is_before = |other: &u32| place(*other as usize) < place(row);
        let at = self.sorted.partition_point(is_before);
        self.sorted.insert(at, row as u32);
    }

    /// Gives each kernel that counts the larger of the distances to its neighbours as its deviation.
    fn fit(&mut self, counts: &[bool]) {
        let mut counting = std::mem::take(&mut self.counting);
        counting.clear();
        counting.extend(self.sorted.iter().copied().filter(|row| counts[*row as usize]));
        let range = self.high - self.low;
        // Each observation has a kernel, and the prior one.
        let kernels = counting.len() as f64 + 1.0;
        let narrowest = range / KERNELS_ACROSS_RANGE_MAX.min(1.0 + kernels);
        let last = counting.len().saturating_sub(1);
        let is_single = counting.len() == 1;
        let mean = |kernels: &[Kernel], index: usize| kernels[counting[index] as usize].mean;
        self.ln_norm_max = self.prior.ln_norm;
        // The prior is number 0.
        self.alike_count = 1;
        let mut first_of_value = 1;
        let mut left = f64::NAN;
        for index in 0..counting.len() {
            let own = mean(&self.kernels, index);
            let right = if index < last { mean(&self.kernels, index + 1) } else { self.high };
            // The ends of the range are neighbours only of a kernel that has no other.
            let before = if index > 0 { own - left } else if is_single { own - self.low } else { 0.0 };
            let after = if index < last || is_single { right - own } else { 0.0 };
            let deviation = before.max(after).max(narrowest).min(range);
            let row = counting[index] as usize;
            if self.kernels[row].deviation != deviation {
                self.kernels[row] = self.kernel(own, deviation);
            }
            self.ln_norm_max = self.ln_norm_max.max(self.kernels[row].ln_norm);
            if self.cells.is_some() {
                if own != left {
                    first_of_value = self.alike_count;
                }
                self.kernels[row].alike = self.number_of_alike(&counting[..index], first_of_value, deviation);
            }
            left = own;
        }
        self.counting = counting;
    }

    /// The number of the kernels with this deviation at the value that the rows before end with, whose first number is
    /// known: a new one if there is none. At most three differ: those at both ends of equal values, and the others.
    fn number_of_alike(&mut self, before: &[u32], first_of_value: u32, deviation: f64) -> u32 {
        let same_value = before.iter().rev().map(|row| &self.kernels[*row as usize]);
        let mut same_value = same_value.take(3).filter(|kernel| kernel.alike >= first_of_value);
        if let Some(alike) = same_value.find(|kernel| kernel.deviation == deviation) {
            return alike.alike;
        }
        self.alike_count += 1;
        self.alike_count - 1
    }

    fn ln_density(&self, kernel: &Kernel, coordinate: f64) -> f64 {
        match &self.cells {
            None => {
                let distance = (coordinate - kernel.mean) * kernel.scale;
                kernel.ln_norm - distance * distance
            }
            Some(cells) => {
                let (from, to) = cells.ends(coordinate);
                kernel.ln_norm + ln_cell(kernel, from, to)
            }
        }
    }
}

/// The logarithm of the mass of a kernel, not truncated, between two coordinates.
fn ln_cell(kernel: &Kernel, from: f64, to: f64) -> f64 {
    ln_mass((from - kernel.mean) / kernel.deviation, (to - kernel.mean) / kernel.deviation)
}

impl Choices {
    /// Each kernel has 1 / (number of kernels) on every choice, and 1 more on its own.
    fn fit(&mut self, rows: &[u32]) {
        let with_value = rows.iter().filter(|row| self.rows[**row as usize] < self.count).count();
        let (share, count) = (1.0 / (with_value as f64 + 1.0), f64::from(self.count));
        self.ln_own = libm::log((1.0 + share) / (1.0 + count * share));
        self.ln_other = libm::log(share / (1.0 + count * share));
    }

    fn draw(&self, row: Option<usize>, random: &mut ChaCha8Rng) -> f64 {
        let own = row.map_or(self.count, |row| self.rows[row]);
        let any = |share: f64| libm::floor(share * f64::from(self.count)).min(f64::from(self.count - 1));
        let share = uniform(random);
        if own == self.count {
            return any(share);
        }
        // The part that lies on all choices evenly, and the rest on its own.
        let evenly = libm::exp(self.ln_other) * f64::from(self.count);
        if share < evenly { any(share / evenly) } else { f64::from(own) }
    }
}

/// The kernels that are not negligible at a point so far, each with the sum of the logarithms.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    rows: Vec<u32>,
    sums: Vec<f64>,
    count: usize,
    /// The masses of a cell by `alike`; NaN where not computed.
    masses: Vec<f64>,
}

impl Remaining {
    /// All of some rows.
    pub(super) fn begin(&mut self, rows: &[u32]) {
        self.count = rows.len();
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.sums.clear();
        self.sums.resize(rows.len(), 0.0);
    }

    /// The rows and their sums.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
        let rows = self.rows[..self.count].iter().map(|row| *row as usize);
        rows.zip(self.sums[..self.count].iter().copied())
    }

    /// Adds what the kernels have at a coordinate of a column, and drops those whose sum is below `floor` then.
    pub(super) fn add(&mut self, column: &Column, coordinate: f64, floor: f64) {
        match column {
            Column::Normal(Normals { cells: None, kernels, .. }) => self.keep(floor, |row, _| {
                let kernel = &kernels[row];
                let distance = (coordinate - kernel.mean) * kernel.scale;
                kernel.ln_norm - distance * distance
            }),
            Column::Normal(normals) => self.add_cells(normals, coordinate, floor),
            Column::Choice(choices) => {
                let choice = coordinate as u32;
                self.keep(floor, |row, _| match choices.rows[row] {
                    own if own == choice => choices.ln_own,
                    own if own == choices.count => choices.ln_prior,
                    _ => choices.ln_other,
                });
            }
        }
    }

    fn add_cells(&mut self, normals: &Normals, coordinate: f64, floor: f64) {
        let Some(cells) = &normals.cells else { return };
        let (from, to) = cells.ends(coordinate);
        let mut masses = std::mem::take(&mut self.masses);
        masses.clear();
        masses.resize(normals.alike_count as usize, f64::NAN);
        self.keep(floor, |row, sum| {
            let kernel = &normals.kernels[row];
            let mass = &mut masses[kernel.alike as usize];
            if mass.is_nan() {
                // A bound first, as most are far away: the whole tail from the nearer end has less than this.
                let distance = (from - kernel.mean).max(kernel.mean - to).max(0.0) * kernel.scale;
                let most = kernel.ln_norm - distance * distance;
                if sum + most < floor {
                    return f64::NEG_INFINITY;
                }
                *mass = kernel.ln_norm + ln_cell(kernel, from, to);
            }
            *mass
        });
        self.masses = masses;
    }

    /// Adds to each sum what `term` gives for its row and the sum so far. Written without a branch on what is kept, which is
    /// not predictable.
    #[inline]
    fn keep(&mut self, floor: f64, mut term: impl FnMut(usize, f64) -> f64) {
        let (rows, sums) = (&mut self.rows[..self.count], &mut self.sums[..self.count]);
        let mut kept = 0;
        for index in 0..rows.len() {
            let (row, sum) = (rows[index], sums[index]);
            let sum = sum + term(row as usize, sum);
            rows[kept] = row;
            sums[kept] = sum;
            kept += usize::from(sum >= floor);
        }
        self.count = kept;
    }
}
