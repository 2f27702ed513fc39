//! Which parameters matter.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::Serialize;
use terms::Goal;
use utoipa::ToSchema;

use super::{
    frame::{Frame, Parameter, Unit},
    grid::Grid,
    ped_anova::{self, Places},
    points::Point,
    statistics::{Interval, are_equal, percentiles},
};

/// Fewest points of which PED-ANOVA says anything.
const POINTS_MIN: usize = 10;
/// What chance of the resampling starts from, so that an analysis is the same each time.
const SEED: u64 = 0;
/// Most and fewest samples of a bootstrap: with more, percentiles move little; with fewer, they mean nothing.
const SAMPLES: (u64, u64) = (100, 400);
/// About how long a bootstrap takes, in nanoseconds, and its parts: a point, and a density, for each parameter.
const BOOTSTRAP_NS: u64 = 2_000_000_000;
const POINT_NS: u64 = 15;
const DENSITY_NS: u64 = 200_000;

/// How importances were computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Exact main effects of a complete grid: shares of the variance between its points.
    GridAnova,
    /// Shares of how far the best jobs differ from all jobs. They say what matters for being among the best, and are no shares of variance.
    PedAnova,
    /// Not at all: a single parameter varies. Whatever there is between points is between its values, by construction, chance included.
    OneParameter,
    /// Not at all: no parameter varies.
    NothingVaries,
    /// Not at all: all values are the same, but for their rounding.
    AllEqual,
    /// Not at all: fewer than ten points have a value, and they are no complete grid.
    TooFew,
}

/// Why importances have no intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoInterval {
    /// All points of the grid were trained, once each: none was drawn by chance, and nothing says how far trainings vary.
    TrainedOnce,
    /// There are no importances.
    NotComputed,
}

/// The importance of each parameter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Importance {
    pub method: Method,
    /// With PED-ANOVA, which share of the points are the best.
    pub quantile: Option<f64>,
    /// In a complete grid, what main effects leave over: interactions, and what varies by chance.
    pub rest: Option<f64>,
    /// How many samples the intervals are from.
    pub samples: u64,
    pub no_interval: Option<NoInterval>,
    /// In the order of the space.
    pub items: Vec<Share>,
}

/// The importance of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Share {
    pub parameter: String,
    /// Between 0 and 1.
    pub share: f64,
    /// In a complete grid, what that share is on average where values differ by nothing but chance: the degrees of freedom of the parameter over
    /// those of all points, however often each was trained.
    pub by_chance: Option<f64>,
    /// Percentiles of a bootstrap.
    pub interval: Option<Interval>,
}

/// The importance of each parameter that varies, without the seed.
pub(crate) fn importance(frame: &Frame, points: &[Point], goal: Goal) -> Importance {
    let varying: Vec<&Parameter> = frame.parameters.iter().filter(|parameter| parameter.varies()).collect();
    let counted: Vec<&Point> = points.iter().filter(|point| point.is_counted()).collect();
    let values: Vec<f64> = counted.iter().map(|point| point.mean.mean).collect();
    if varying.is_empty() {
        return none(Method::NothingVaries);
    }
    if are_equal(&values) {
        return none(Method::AllEqual);
    }
    if varying.len() == 1 {
        return none(Method::OneParameter);
    }
    if let Some(grid) = Grid::of(frame, points, &varying)
        && let Some(shares) = grid.shares(&values)
    {
        return of_grid(&grid, &shares, &varying, counted.iter().all(|point| point.mean.count > 1));
    }
    if values.len() < POINTS_MIN {
        return none(Method::TooFew);
    }
    let units: Vec<Unit> =
        counted.iter().map(|point| Unit { row: point.row, value: point.mean.mean }).collect();
    of_best(&units, &varying, goal)
}

fn none(method: Method) -> Importance {
    Importance {
        method,
        quantile: None,
        rest: None,
        samples: 0,
        no_interval: Some(NoInterval::NotComputed),
        items: Vec::new(),
    }
}

/// Of a complete grid. Drawing the trainings of each point anew would add their noise a second time, so that an interval would lie
/// beside its own share.
fn of_grid(grid: &Grid, shares: &[f64], varying: &[&Parameter], are_repeated: bool) -> Importance {
    let why = if are_repeated { NoInterval::NotComputed } else { NoInterval::TrainedOnce };
    let mut items = with_intervals(varying, shares, &[]);
    items.iter_mut().zip(grid.by_chance()).for_each(|(item, share)| item.by_chance = Some(share));
    Importance {
        method: Method::GridAnova,
        quantile: None,
        rest: Some((1.0 - shares.iter().sum::<f64>()).max(0.0)),
        samples: 0,
        no_interval: Some(why),
        items,
    }
}

/// Of any points, which are drawn anew with replacement.
fn of_best(units: &[Unit], varying: &[&Parameter], goal: Goal) -> Importance {
    let loss = |unit: &Unit| if goal == Goal::Minimize { unit.value } else { -unit.value };
    let losses: Vec<f64> = units.iter().map(loss).collect();
    let places: Vec<Places> = varying.iter().map(|parameter| Places::of(parameter, units)).collect();
    let quantile = ped_anova::quantile(units.len());
    let all: Vec<u32> = (0..units.len() as u32).collect();
    let shares = ped_anova::shares(&places, &losses, &all, quantile);
    let samples = samples(units.len(), varying.len(), DENSITY_NS);
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let resampled = (0..samples).map(|_| {
        let drawn: Vec<u32> = all.iter().map(|_| below(&mut random, all.len())).collect();
        ped_anova::shares(&places, &losses, &drawn, quantile)
    });
    Importance {
        method: Method::PedAnova,
        quantile: Some(quantile),
        rest: None,
        samples,
        no_interval: None,
        items: with_intervals(varying, &shares, &resampled.collect::<Vec<_>>()),
    }
}

/// How often a bootstrap samples so many values for so many parameters.
fn samples(values: usize, parameters: usize, density_ns: u64) -> u64 {
    let each = parameters as u64 * (POINT_NS * values as u64 + density_ns);
    (BOOTSTRAP_NS / each.max(1)).clamp(SAMPLES.0, SAMPLES.1)
}

/// A random number below `count`.
fn below(random: &mut ChaCha8Rng, count: usize) -> u32 {
    // The largest part of the product; how uneven it is, 2⁻⁴⁴ for the largest count, does not matter here.
    ((u128::from(random.next_u64()) * count as u128) >> 64) as u32
}

fn with_intervals(varying: &[&Parameter], shares: &[f64], resampled: &[Vec<f64>]) -> Vec<Share> {
    let interval = |place: usize| percentiles(resampled.iter().map(|sample| sample[place]).collect());
    let shares = varying.iter().zip(shares).enumerate();
    shares
        .map(|(place, (parameter, share))| Share {
            parameter: parameter.name.clone(),
            share: *share,
            by_chance: None,
            interval: interval(place),
        })
        .collect()
}
