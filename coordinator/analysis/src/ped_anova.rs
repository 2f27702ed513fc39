//! PED-ANOVA: how unlike the best jobs are to all jobs in each parameter. S. Watanabe, A. Bansal, F. Hutter, PED-ANOVA: Efficiently
//! Quantifying Hyperparameter Importance in Arbitrary Subspaces, IJCAI 2023, <https://arxiv.org/abs/2304.10255>, and for parameters that
//! not every job has, Conditional PED-ANOVA, <https://arxiv.org/abs/2601.20800>. The numbers are those of Optuna 5.0.0's
//! `PedAnovaImportanceEvaluator` where a parameter's distribution has the range that was observed; `tests/golden` compares them.

use super::{
    frame::{ABSENT, Kind, Parameter, Unit},
    statistics::normal_mass,
};

/// How many places of a range are told apart, as in Optuna.
const STEPS: usize = 50;
/// A range whose ends are at least this factor apart may be one of a logarithmic scale.
const LOGARITHMIC_FROM: f64 = 10.0;
/// The share of jobs that are the best ones, as in Optuna, where that is enough of them.
const QUANTILE: f64 = 0.1;
/// How many best ones Optuna advises to have at least.
const BEST_MIN: usize = 5;
/// Fewest jobs of which a parameter is looked at, as in Optuna.
const REGIME_MIN: u32 = 2;
/// Weight of the prior, as in Optuna.
const PRIOR: f64 = 1.0;

/// A parameter as places of all units.
#[derive(Debug)]
pub(crate) struct Places {
    of_unit: Vec<u32>,
    count: usize,
    are_ordered: bool,
}

/// The share of the units that count as the best.
pub(crate) fn quantile(units: usize) -> f64 {
    QUANTILE.max(BEST_MIN as f64 / units as f64)
}

impl Places {
    pub(crate) fn of(parameter: &Parameter, units: &[Unit]) -> Self {
        match &parameter.kind {
            Kind::Levels(levels) => Self {
                of_unit: units.iter().map(|unit| parameter.codes[unit.row]).collect(),
                count: levels.len(),
                are_ordered: false,
            },
            Kind::Numbers(numbers) => {
                let numbers: Vec<f64> = units.iter().map(|unit| numbers[unit.row]).collect();
                let (of_unit, count) = placed(&numbers);
                Self { of_unit, count, are_ordered: true }
            }
        }
    }
}

/// The place of each number between the smallest and the largest, and how many places there are.
fn placed(numbers: &[f64]) -> (Vec<u32>, usize) {
    let present = || numbers.iter().copied().filter(|number| !number.is_nan());
    let (low, high) = (present().fold(f64::INFINITY, f64::min), present().fold(f64::NEG_INFINITY, f64::max));
    let is_logarithmic = is_logarithmic(&mut present().collect::<Vec<f64>>(), low, high);
    let are_whole = present().all(|number| number.fract() == 0.0);
    let steps = match (are_whole, is_logarithmic) {
        (false, _) => STEPS,
        (true, true) => STEPS.min(((high - low + 1.0).log2().ceil() as usize).saturating_add(1)),
        (true, false) => STEPS.min(((high - low) as usize).saturating_add(1)),
    };
    let scaled = |number: f64| if is_logarithmic { number.ln() } else { number };
    let (low, high) = (scaled(low), scaled(high));
    let step = (high - low) / (steps.max(2) - 1) as f64;
    let place = |number: &f64| match number.is_nan() || step <= 0.0 {
        true if number.is_nan() => ABSENT,
        true => 0,
        false => ((scaled(*number) - low) / step - 0.5).ceil().clamp(0.0, (steps - 1) as f64) as u32,
    };
    (numbers.iter().map(place).collect(), steps)
}

/// Whether numbers are spread over a logarithmic scale rather than a linear one: on which their median lies closer to the middle.
fn is_logarithmic(numbers: &mut [f64], low: f64, high: f64) -> bool {
    if !(low > 0.0 && high / low >= LOGARITHMIC_FROM) {
        return false;
    }
    let middle = numbers.len() / 2;
    let median = *numbers.select_nth_unstable_by(middle, f64::total_cmp).1;
    let linear = (median - low) / (high - low) - 0.5;
    let logarithmic = (median / low).ln() / (high / low).ln() - 0.5;
    logarithmic.abs() < linear.abs()
}

/// The importance of each parameter for being among the best `quantile`, for the units of these numbers (each as often as it comes), whose
/// losses are better where they are smaller. As shares of their sum; zeros where the best are like all.
pub(crate) fn shares(places: &[Places], losses: &[f64], drawn: &[u32], quantile: f64) -> Vec<f64> {
    let cutoff = cutoff(losses, drawn, quantile);
    let best = drawn.iter().filter(|unit| losses[**unit as usize] <= cutoff).count();
    let raw: Vec<f64> = places.iter().map(|places| raw(places, losses, drawn, cutoff, best as f64)).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|one| if sum > 0.0 { one / sum } else { 0.0 }).collect()
}

/// The loss of the worst of the best: the quantile by the inverted distribution.
fn cutoff(losses: &[f64], drawn: &[u32], quantile: f64) -> f64 {
    let mut all: Vec<f64> = drawn.iter().map(|unit| losses[*unit as usize]).collect();
    let place = (quantile * all.len() as f64).ceil().max(1.0) as usize - 1;
    let place = place.min(all.len().saturating_sub(1));
    *all.select_nth_unstable_by(place, f64::total_cmp).1
}

fn raw(places: &Places, losses: &[f64], drawn: &[u32], cutoff: f64, best: f64) -> f64 {
    let (mut of_best, mut of_all) = (vec![0_u32; places.count], vec![0_u32; places.count]);
    for unit in drawn {
        let place = places.of_unit[*unit as usize];
        if place != ABSENT {
            of_all[place as usize] += 1;
            of_best[place as usize] += u32::from(losses[*unit as usize] <= cutoff);
        }
    }
    let (have, best_have) = (of_all.iter().sum::<u32>(), of_best.iter().sum::<u32>());
    if have < REGIME_MIN || best_have == 0 || places.count < 2 {
        return 0.0;
    }
    let (share, best_share) = (f64::from(have) / drawn.len() as f64, f64::from(best_have) / best);
    best_share * best_share / share * divergence(&places.density(&of_best), &places.density(&of_all))
}

/// Pearson's divergence of the first density from the second.
fn divergence(best: &[f64], all: &[f64]) -> f64 {
    // As in Optuna, so that nothing is divided by 0.
    const LEAST: f64 = 1e-12;
    let term = |(best, all): (&f64, &f64)| (all + LEAST) * ((best + LEAST) / (all + LEAST) - 1.0).powi(2);
    best.iter().zip(all).map(term).sum()
}

impl Places {
    /// The density at each place, of so many observations at each.
    fn density(&self, counts: &[u32]) -> Vec<f64> {
        if self.are_ordered { ordered(counts) } else { unordered(counts) }
    }
}

/// Choices: each kernel has its own choice and a little of every other.
fn unordered(counts: &[u32]) -> Vec<f64> {
    let kernels = counts.iter().filter(|count| **count > 0).count() as f64 + 1.0;
    let weights = f64::from(counts.iter().sum::<u32>()) + PRIOR;
    let every = PRIOR / kernels;
    let row = 1.0 + every * counts.len() as f64;
    // Each kernel's share of a choice that is not its own, and the prior's, which are the same for all.
    let common = (weights - PRIOR) / weights * every / row + PRIOR / weights / counts.len() as f64;
    counts.iter().map(|count| common + f64::from(*count) / weights / row).collect()
}

/// Places of a range: normal distributions around the observations, as wide as Scott's rule says, cut at the ends, and one over all.
fn ordered(counts: &[u32]) -> Vec<f64> {
    let observed: Vec<(f64, f64)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(place, count)| (place as f64, f64::from(*count)))
        .collect();
    let all: f64 = observed.iter().map(|(_, weight)| weight).sum();
    let high = (counts.len() - 1) as f64;
    let width = scott(&observed, all);
    let kernels = observed.iter().map(|(place, weight)| (*place, width, *weight));
    let prior = (high / 2.0, high + 1.0, PRIOR);
    let mut density = vec![0.0; counts.len()];
    for (middle, width, weight) in kernels.chain([prior]) {
        let mass = |low: f64, high: f64| normal_mass((low - middle) / width, (high - middle) / width);
        let within = mass(-0.5, high + 0.5);
        for (place, density) in density.iter_mut().enumerate() {
            let place = place as f64;
            *density += weight / (all + PRIOR) * mass(place - 0.5, place + 0.5) / within;
        }
    }
    density
}

/// The width of a normal distribution around each observation.
fn scott(observed: &[(f64, f64)], all: f64) -> f64 {
    // 1.64 deviations, nine tenths, fit into half a place.
    const LEAST: f64 = 0.5 / 1.64;
    let mean = observed.iter().map(|(place, weight)| place * weight).sum::<f64>() / all;
    let squares: f64 = observed.iter().map(|(place, weight)| (place - mean).powi(2) * weight).sum();
    let deviation = (squares / (all - 1.0).max(1.0)).sqrt();
    let mut reached = 0.0;
    let below: Vec<f64> = observed
        .iter()
        .map(|(_, weight)| {
            reached += weight;
            reached
        })
        .collect();
    let first = below.iter().filter(|below| **below < (all / 4.0).floor()).count();
    let third = below.iter().filter(|below| **below <= (all * 3.0 / 4.0).floor()).count();
    let between = observed[third.min(observed.len() - 1)].0 - observed[first].0;
    (1.059 * (between / 1.34).min(deviation) * all.powf(-0.2)).max(LEAST)
}
