//! The kernels of a set of jobs in one dimension, of numbers or of choices.

use rand_chacha::ChaCha8Rng;

use super::{
    density::keep_rows,
    normal::uniform,
    normals::{Counting, Normals},
    space::Scale,
};

/// One dimension.
// A space has few of them.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub(super) enum Column {
    Normal(Normals),
    Choice(Choices),
}

/// A dimension of choices.
#[derive(Debug, Clone)]
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

    /// Adds the next row, which does not count yet. Among equal coordinates those with smaller numbers of their jobs come first.
    pub(super) fn push(&mut self, coordinate: f64, job: u64) {
        match self {
            Self::Normal(normals) => normals.push(coordinate, job),
            Self::Choice(choices) => {
                let choice = if coordinate.is_nan() { choices.count } else { coordinate as u32 };
                choices.rows.push(choice.min(choices.count));
            }
        }
    }

    /// Keeps some rows.
    pub(super) fn keep(&mut self, keeps: &[bool]) {
        match self {
            Self::Normal(normals) => normals.keep(keeps),
            Self::Choice(choices) => keep_rows(&mut choices.rows, keeps),
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
            Self::Normal(normals) => normals.draw(row, random),
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
        matches!(self, Self::Normal(normals) if !normals.has_cells())
    }

    /// Whether it is one of choices. One with a single choice has its probability, 1, wherever it is.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Choice(Choices { count: 2.., .. }))
    }

    /// How many probabilities of cells are kept.
    pub(super) fn masses_count(&self) -> usize {
        match self {
            Self::Normal(normals) => normals.masses_count(),
            Self::Choice(_) => 0,
        }
    }

    /// Forgets the probabilities of cells.
    pub(super) fn forget_masses(&mut self) {
        if let Self::Normal(normals) = self {
            normals.forget_masses();
        }
    }

    /// The logarithm of the probability of a value by the kernel of a row. Of a column that is not continuous.
    pub(super) fn ln_probability(&self, row: usize, coordinate: f64) -> f64 {
        match self {
            Self::Choice(choices) => choices.ln_probability(row, coordinate as u32),
            Self::Normal(normals) => normals.ln_probability(row, coordinate),
        }
    }

    /// Adds the logarithms of the densities of consecutive rows, the first of which is given. Of a continuous dimension.
    pub(super) fn add_densities(&self, coordinate: f64, first: usize, sums: &mut [f64]) {
        if let Self::Normal(normals) = self {
            normals.add_densities(coordinate, first, sums);
        }
    }
}

impl Choices {
    pub(super) fn ln_probability(&self, row: usize, choice: u32) -> f64 {
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
