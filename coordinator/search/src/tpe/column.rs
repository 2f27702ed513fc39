//! The kernels of a set of jobs in one dimension: where each is, how wide it is, and what it adds to the logarithm of a
//! density.
//!
//! What has not changed since the last proposal is kept: jobs stay sorted by their value, and a kernel's normaliser, two
//! error functions and a logarithm, is computed again only where its width changes, which a new job does to its neighbours.

use std::{collections::HashMap, f64::consts::FRAC_1_SQRT_2};

use rand_chacha::ChaCha8Rng;

use super::{
    normal::{LN_SQRT_2PI, exponential, ln_mass, mass, truncated, uniform},
    space::{Cells, Scale},
};

/// No kernel is narrower than the range divided by the number of kernels and one, nor than by this.
const KERNELS_ACROSS_RANGE_MAX: f64 = 100.0;
/// If more than one of so many rows began or ceased to count, all kernels are computed again.
const CHANGED_SHARE: usize = 16;
/// Rows that are computed at a time. Their columns and sums take some kilobytes.
pub(super) const BLOCK: usize = 128;
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
    /// By row, its job.
    pub(super) jobs: &'a [u64],
    pub(super) changed: &'a [usize],
}

/// A value of a job.
#[derive(Debug, Clone, Copy)]
struct Placed {
    value: f64,
    job: u64,
    row: usize,
}

/// One dimension.
// A space has few of them.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(super) enum Column {
    Normal(Normals),
    Choice(Choices),
}

/// A dimension of numbers. Each list by row has one entry for each job; one without a value here has the prior, as it says
/// nothing about this dimension.
#[derive(Debug)]
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
    /// By row, of a discrete dimension: 1 / mass of the range.
    norms: Vec<f64>,
    /// By row, of a discrete dimension: kernels with the same mean and deviation have the same number.
    alike: Vec<u32>,
    /// The jobs with a value by the value and then by their number.
    sorted: Vec<Placed>,
    /// The number that kernels with this mean and deviation have in `alike`.
    numbers: HashMap<(u64, u64), u32>,
    /// How many there were when all kernels were computed.
    numbers_fitted: usize,
    /// How many kernels count, and how narrow one may be.
    count: usize,
    narrowest: f64,
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
                Self::Choice(Choices {
                    count: choices,
                    rows: Vec::new(),
                    ln_own: 0.0,
                    ln_other: 0.0,
                    ln_prior,
                })
            }
        }
    }

    /// Adds the next row. Among equal coordinates those with smaller numbers of their jobs come first.
    pub(super) fn push(&mut self, coordinate: f64, job: u64) {
        match self {
            Self::Normal(normals) => normals.push(coordinate, job),
            Self::Choice(choices) => {
                let choice = if coordinate.is_nan() { choices.count } else { coordinate as u32 };
                choices.rows.push(choice.min(choices.count));
            }
        }
    }

    /// Makes the kernels those of the rows that count now.
    pub(super) fn fit(&mut self, now: &Counting<'_>) {
        match self {
            Self::Normal(normals) => normals.fit(now),
            Self::Choice(choices) => choices.fit(now.rows),
        }
    }

    /// Draws a coordinate from the kernel of a row, or from the prior.
    pub(super) fn draw(&self, row: Option<usize>, random: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Normal(normals) => {
                let Kernel { mean, deviation, .. } = normals.prior;
                let of_row = |row: usize| (normals.means[row], normals.deviations[row]);
                let (mean, deviation) = row.map_or((mean, deviation), of_row);
                truncated(mean, deviation, normals.low, normals.high, random)
            }
            Self::Choice(choices) => choices.draw(row, random),
        }
    }

    /// The logarithm of the prior's density, or for a discrete dimension of its probability.
    pub(super) fn ln_prior(&self, coordinate: f64) -> f64 {
        match self {
            Self::Normal(normals) => normals.ln_prior(coordinate),
            Self::Choice(choices) => choices.ln_prior,
        }
    }

    pub(super) fn is_continuous(&self) -> bool {
        matches!(self, Self::Normal(Normals { cells: None, .. }))
    }

    /// Whether it is one of choices. One with a single choice has its probability, 1, wherever it is.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Choice(Choices { count: 2.., .. }))
    }

    /// Whether it has steps, whose masses cost more than all else.
    pub(super) fn has_cells(&self) -> bool {
        matches!(self, Self::Normal(Normals { cells: Some(_), .. }))
    }

    /// The logarithm of the probability of a value by the kernel of a row. Of a column that is not continuous.
    pub(super) fn ln_probability(&self, row: usize, coordinate: f64) -> f64 {
        match self {
            Self::Choice(choices) => choices.ln_probability(row, coordinate as u32),
            Self::Normal(normals) => normals.cells.as_ref().map_or(0.0, |cells| {
                let (from, to) = cells.ends(coordinate);
                libm::log(normals.cell(row, from, to))
            }),
        }
    }

    /// Adds the logarithms of the densities of consecutive rows, the first of which is given. Of a continuous dimension.
    pub(super) fn add_densities(&self, coordinate: f64, first: usize, sums: &mut [f64]) {
        let Self::Normal(normals) = self else { return };
        let rows = first..first + sums.len();
        let (means, scales) = (&normals.means[rows.clone()], &normals.scales[rows.clone()]);
        let ln_norms = &normals.ln_norms[rows];
        // Without branches and lookups, so that the processor computes several at a time.
        for (((sum, mean), scale), ln_norm) in sums.iter_mut().zip(means).zip(scales).zip(ln_norms) {
            let distance = (coordinate - mean) * scale;
            *sum += ln_norm - distance * distance;
        }
    }
}

impl Normals {
    fn new(low: f64, high: f64, cells: Option<Cells>) -> Self {
        let mut normals = Self {
            low,
            high,
            cells,
            prior: Kernel { mean: 0.5 * (low + high), deviation: high - low, ln_norm: 0.0 },
            means: Vec::new(),
            deviations: Vec::new(),
            scales: Vec::new(),
            ln_norms: Vec::new(),
            norms: Vec::new(),
            alike: Vec::new(),
            sorted: Vec::new(),
            numbers: HashMap::new(),
            numbers_fitted: 0,
            count: 0,
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

    fn push(&mut self, coordinate: f64, job: u64) {
        let row = self.means.len();
        let Kernel { mean, deviation, ln_norm } = self.prior;
        let has_value = !coordinate.is_nan();
        self.means.push(if has_value { coordinate } else { mean });
        // Of no deviation yet, so that the next fit computes it.
        self.deviations.push(if has_value { f64::NAN } else { deviation });
        self.scales.push(FRAC_1_SQRT_2 / deviation);
        self.ln_norms.push(ln_norm);
        self.norms.push(libm::exp(ln_norm));
        self.alike.push(0);
        if has_value {
            let at = self.sorted.partition_point(|other| (other.value, other.job) < (coordinate, job));
            self.sorted.insert(at, Placed { value: coordinate, job, row });
        }
    }

    /// Gives each kernel that counts the larger of the distances to its neighbours as its deviation. Where few rows began or
    /// ceased to count, only theirs and their neighbours' can change.
    fn fit(&mut self, now: &Counting<'_>) {
        let place = |row: usize| {
            let key = (self.means[row], now.jobs[row]);
            let at = self.sorted.partition_point(|other| (other.value, other.job) < key);
            // A row without a value here is not among them.
            self.sorted.get(at).filter(|placed| placed.row == row).map(|_| at)
        };
        let few = now.changed.len() <= now.rows.len() / CHANGED_SHARE;
        let places: Vec<usize> =
            if few { now.changed.iter().filter_map(|row| place(*row)).collect() } else { Vec::new() };
        let counted = |at: &usize| now.counts[self.sorted[*at].row];
        let count = if few {
            // Those that do not count now did before.
            let begun = places.iter().filter(|at| counted(at)).count();
            self.count + begun - (places.len() - begun)
        } else {
            (0..self.sorted.len()).filter(counted).count()
        };
        // Each observation has a kernel, and the prior one.
        let narrowest = (self.high - self.low) / KERNELS_ACROSS_RANGE_MAX.min(2.0 + count as f64);
        let is_same =
            narrowest == self.narrowest && self.numbers.len() <= 2 * self.numbers_fitted + NUMBERS_SPARE;
        (self.count, self.narrowest) = (count, narrowest);
        if few && is_same {
            for at in places {
                let before = (0..at).rev().find(|at| now.counts[self.sorted[*at].row]);
                let after = (at + 1..self.sorted.len()).find(|at| now.counts[self.sorted[*at].row]);
                let own = Some(at).filter(|at| now.counts[self.sorted[*at].row]);
                [before, own, after].into_iter().flatten().for_each(|at| self.widen(at, now.counts));
            }
        } else {
            self.numbers.clear();
            (0..self.sorted.len()).for_each(|at| {
                if now.counts[self.sorted[at].row] {
                    self.widen(at, now.counts);
                }
            });
            self.numbers_fitted = self.numbers.len();
        }
    }

    /// Sets the deviation of the kernel at a place of `sorted`.
    fn widen(&mut self, at: usize, counts: &[bool]) {
        let Placed { value, row, .. } = self.sorted[at];
        let is_counted = |placed: &&Placed| counts[placed.row];
        let before = self.sorted[..at].iter().rev().find(is_counted).map(|before| before.value);
        let after = self.sorted[at + 1..].iter().find(is_counted).map(|after| after.value);
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
            self.norms[row] = libm::exp(self.ln_norms[row]);
            // The prior is number 0.
            let next = self.numbers.len() as u32 + 1;
            let key = (value.to_bits(), deviation.to_bits());
            self.alike[row] = *self.numbers.entry(key).or_insert(next);
        }
    }

    /// The probability of a cell by the kernel of a row.
    fn cell(&self, row: usize, from: f64, to: f64) -> f64 {
        let (mean, deviation) = (self.means[row], self.deviations[row]);
        self.norms[row] * mass((from - mean) / deviation, (to - mean) / deviation)
    }

    fn ln_prior(&self, coordinate: f64) -> f64 {
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
}

impl Choices {
    fn ln_probability(&self, row: usize, choice: u32) -> f64 {
        match self.rows[row] {
            own if own == choice => self.ln_own,
            own if own == self.count => self.ln_prior,
            _ => self.ln_other,
        }
    }

    /// Each kernel has 1 / (number of kernels) on every choice, and 1 more on its own.
    fn fit(&mut self, rows: &[usize]) {
        let with_value = rows.iter().filter(|row| self.rows[**row] < self.count).count();
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

/// The kernels that are not negligible at a point so far: the logarithm of each, and a factor that is not in it.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    rows: Vec<u32>,
    sums: Vec<f64>,
    factors: Vec<f64>,
    count: usize,
}

/// The probabilities of some cells by `alike`, for all candidates that have a cell; NaN where not computed.
#[derive(Debug, Default)]
pub(super) struct Masses {
    /// The index of the column and the bits of the coordinate.
    cells: Vec<(usize, u64)>,
    lists: Vec<Vec<f64>>,
}

impl Masses {
    pub(super) fn clear(&mut self) {
        self.cells.clear();
    }

    /// Those of a cell, of which so many differ.
    fn of(&mut self, cell: (usize, u64), count: usize) -> &mut Vec<f64> {
        let at = self.cells.iter().position(|known| *known == cell).unwrap_or(self.cells.len());
        if at == self.cells.len() {
            self.cells.push(cell);
            self.lists.resize_with(self.lists.len().max(at + 1), Vec::new);
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

    /// The row with the largest logarithm.
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
        let Some(cells) = &normals.cells else { return };
        let (from, to) = cells.ends(coordinate);
        let masses = masses.of((index, coordinate.to_bits()), normals.numbers.len() + 1);
        // One without a value here has the prior.
        masses[0] = libm::exp(normals.ln_prior(coordinate));
        let mut kept = 0;
        for index in 0..self.count {
            let (row, sum, factor) = (self.rows[index], self.sums[index], self.factors[index]);
            let mass = &mut masses[normals.alike[row as usize] as usize];
            let mut probability = *mass;
            if probability.is_nan() {
                let row = row as usize;
                // A bound first, as most are far away: the whole tail from the nearer end has less than this.
                let distance =
                    (from - normals.means[row]).max(normals.means[row] - to).max(0.0) * normals.scales[row];
                probability = 0.0;
                if sum + normals.ln_norms[row] - distance * distance >= floor {
                    probability = normals.cell(row, from, to);
                    *mass = probability;
                }
            }
            (self.rows[kept], self.sums[kept], self.factors[kept]) = (row, sum, factor * probability);
            kept += usize::from(probability > 0.0);
        }
        self.count = kept;
    }

    /// Puts them into the order of some key of their rows.
    pub(super) fn sort_by_key(&mut self, key: impl Fn(usize) -> u64) {
        let each = self.rows.iter().zip(&self.sums).zip(&self.factors).take(self.count);
        let mut all: Vec<_> = each.map(|((row, sum), factor)| (*row, *sum, *factor)).collect();
        all.sort_by_key(|(row, ..)| key(*row as usize));
        for (place, (row, sum, factor)) in all.into_iter().enumerate() {
            (self.rows[place], self.sums[place], self.factors[place]) = (row, sum, factor);
        }
    }

    /// The sum of all with their weights, divided by the exponential of `reference`. What is left then are the quotients.
    pub(super) fn weighted_sum(&mut self, weights: &[f64], reference: f64) -> f64 {
        let (sums, factors) = (&mut self.sums[..self.count], &self.factors[..self.count]);
        sums.iter_mut().for_each(|sum| *sum = exponential(*sum - reference));
        let each = self.rows.iter().zip(sums.iter()).zip(factors);
        each.map(|((row, sum), factor)| weights[*row as usize] * factor * sum).sum()
    }
}
