//! Which two parameters act together the most: what the values of both bring beyond what each brings by itself.
//!
//! In a complete grid the interaction of two parameters is the variance, over their cells, of the cell's mean less the mean effects of its two
//! values, as a share of the variance between all points: the second-order term of functional ANOVA (G. Hooker, Generalized Functional ANOVA
//! Diagnostics, 2007, <https://doi.org/10.1198/106186007X237892>, as in Hutter et al., which `grid` names). Of a balanced analysis of variance
//! it is the sum of squares of the interaction over the total one.

use serde::Serialize;
use terms::{Goal, ParameterValue};
use utoipa::ToSchema;

use super::{
    frame::{Frame, Kind, LEVELS_MAX, Parameter},
    grid::Grid,
    points::Point,
};

/// A smaller share of the variance is the rounding of sums.
const ROUNDING: f64 = 1e-12;

/// How two parameters act together.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Interactions {
    /// The two that act together the most; none where that cannot be said.
    pub largest: Option<Interaction>,
    /// Why it cannot be said.
    pub none: Option<NoInteraction>,
}

/// Two parameters.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Interaction {
    /// The one with more values, of which the rows of the table are.
    pub first: String,
    /// The one of the table's columns.
    pub second: String,
    /// Which part of the variance between points it is that both explain together and neither by itself: between 0 and 1, and 0 where nothing but
    /// rounding is left.
    pub share: f64,
    /// What that part is on average where values differ by nothing but chance: the degrees of freedom of the two together over those of all
    /// points, however often each was trained.
    pub by_chance: f64,
    /// How many pairs were looked at, of which this is the largest.
    pub pairs: u64,
    /// The parameters that vary and have too many values to be in a pair.
    pub left_out: Vec<String>,
    /// The values of the first, in order.
    #[schema(value_type = Vec<Value>)]
    pub rows: Vec<ParameterValue>,
    /// The values of the second, in order.
    #[schema(value_type = Vec<Value>)]
    pub columns: Vec<ParameterValue>,
    /// The table, row by row.
    pub cells: Vec<Vec<Together>>,
}

/// The points with two values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Together {
    /// How many points.
    pub count: u64,
    /// How many trainings with a value.
    pub trainings: u64,
    pub mean: f64,
    /// Whether no other cell has a better mean.
    pub best: bool,
}

/// Why nothing is said of how parameters act together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoInteraction {
    /// Fewer than two parameters vary.
    OneParameter,
    /// All values are the same.
    AllEqual,
    /// The points with a value are no complete grid: cells would be missing, or would differ in more than the two.
    NoGrid,
    /// Each two parameters have more values than a table shows.
    TooManyValues,
}

/// Two columns of a grid with what their cells come to.
struct Crossed {
    rows: usize,
    columns: usize,
    share: f64,
}

/// Of these points, those two parameters that act together the most.
pub(crate) fn interactions(frame: &Frame, points: &[Point], goal: Goal) -> Interactions {
    match largest(frame, points, goal) {
        Ok(largest) => Interactions { largest: Some(largest), none: None },
        Err(why) => Interactions { largest: None, none: Some(why) },
    }
}

fn largest(frame: &Frame, points: &[Point], goal: Goal) -> Result<Interaction, NoInteraction> {
    let varying: Vec<&Parameter> = frame.parameters.iter().filter(|parameter| parameter.varies()).collect();
    if varying.len() < 2 {
        return Err(NoInteraction::OneParameter);
    }
    let grid = Grid::of(frame, points, &varying).ok_or(NoInteraction::NoGrid)?;
    let values: Vec<f64> = points.iter().map(|point| point.mean.mean).collect();
    if grid.shares(&values).is_none() {
        return Err(NoInteraction::AllEqual);
    }
    let fits =
        |place: &usize| matches!(&varying[*place].kind, Kind::Levels(levels) if levels.len() <= LEVELS_MAX);
    let shown: Vec<usize> = (0..varying.len()).filter(fits).collect();
    let left_out = (0..varying.len()).filter(|place| !fits(place)).map(|place| varying[place].name.clone());
    let pairs = shown
        .iter()
        .enumerate()
        .flat_map(|(at, one)| shown[at + 1..].iter().map(move |other| (*one, *other)));
    let crossed = pairs.map(|(rows, columns)| {
        let share = grid.interaction(&values, rows, columns);
        Crossed { rows, columns, share: if share < ROUNDING { 0.0 } else { share } }
    });
    // Of equal ones the first.
    let most = crossed.reduce(|one, other| if other.share > one.share { other } else { one });
    let Crossed { mut rows, mut columns, share } = most.ok_or(NoInteraction::TooManyValues)?;
    if varying[columns].count > varying[rows].count {
        std::mem::swap(&mut rows, &mut columns);
    }
    let (first, second) = (varying[rows], varying[columns]);
    let degrees = (first.count - 1) * (second.count - 1);
    Ok(Interaction {
        first: first.name.clone(),
        second: second.name.clone(),
        share,
        by_chance: degrees as f64 / (points.len() - 1) as f64,
        pairs: (shown.len() * (shown.len() - 1) / 2) as u64,
        left_out: left_out.collect(),
        rows: levels(first),
        columns: levels(second),
        cells: cells(points, first, second, goal),
    })
}

fn levels(parameter: &Parameter) -> Vec<ParameterValue> {
    match &parameter.kind {
        Kind::Levels(values) => values.clone(),
        Kind::Numbers(_) => Vec::new(),
    }
}

/// The table of two parameters of a complete grid.
fn cells(points: &[Point], first: &Parameter, second: &Parameter, goal: Goal) -> Vec<Vec<Together>> {
    let none = Together { count: 0, trainings: 0, mean: 0.0, best: false };
    let mut cells = vec![vec![none; second.count]; first.count];
    for point in points {
        let cell = &mut cells[first.codes[point.row] as usize][second.codes[point.row] as usize];
        cell.count += 1;
        cell.trainings += point.mean.count;
        // By Welford's method, which keeps the digits of large values.
        cell.mean += (point.mean.mean - cell.mean) / cell.count as f64;
    }
    let means = cells.iter().flatten().map(|cell| cell.mean);
    let best = match goal {
        Goal::Maximize => means.fold(f64::NEG_INFINITY, f64::max),
        Goal::Minimize => means.fold(f64::INFINITY, f64::min),
    };
    cells.iter_mut().flatten().for_each(|cell| cell.best = cell.mean == best);
    cells
}
