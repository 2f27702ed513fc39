//! Points, and what several trainings of each come to.

use std::cmp::Reverse;

use serde::Serialize;
use terms::{Goal, ParameterMap, Standing};
use utoipa::ToSchema;

use super::{
    frame::Frame,
    statistics::{Interval, Mean},
};

/// Most points that are listed: no one reads more.
const LISTED_MAX: usize = 100;

/// The trainings of a point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    /// The row of its first job.
    pub(crate) row: usize,
    /// The objective of those that have a value.
    pub(crate) mean: Mean,
    pub(crate) diverged: u64,
}

/// What trainings of the same points come to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Repeats {
    /// How many points have several values.
    pub points: u64,
    /// The standard deviation between trainings of a point, pooled over all of them.
    pub deviation: f64,
    /// The best of them, the best first: those with all planned trainings before the others.
    pub items: Vec<RepeatedPoint>,
    /// How many are not listed.
    pub left_out: u64,
}

/// A point that was trained several times.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RepeatedPoint {
    /// Its first job.
    pub job: u64,
    /// The parameters that vary, without the seed.
    #[serde(skip)]
    pub parameters: ParameterMap,
    pub count: u64,
    pub diverged: u64,
    pub mean: f64,
    /// The standard deviation of the sample.
    pub deviation: f64,
    /// Student's interval of the mean; none where nothing varies.
    pub interval: Option<Interval>,
}

impl Point {
    /// Whether one of its trainings has a value.
    pub(crate) fn is_counted(&self) -> bool {
        self.mean.count > 0
    }
}

/// The points, in the order of their first jobs.
pub(crate) fn points(frame: &Frame) -> Vec<Point> {
    let columns = frame.parameters.iter().map(|parameter| parameter.codes.as_slice());
    let groups = frame.grouped(columns);
    let mut points: Vec<Point> = Vec::new();
    // Groups are numbered as they come.
    for (row, (group, value)) in groups.iter().zip(&frame.values).enumerate() {
        if *group as usize == points.len() {
            points.push(Point { row, mean: Mean::default(), diverged: 0 });
        }
        let point = &mut points[*group as usize];
        match value.is_finite() {
            true => point.mean.add(*value),
            false => point.diverged += 1,
        }
    }
    points
}

/// What several trainings of the same points come to.
pub(crate) fn repeats(frame: &Frame, points: &[Point], goal: Goal) -> Option<Repeats> {
    let mut repeated: Vec<&Point> = points.iter().filter(|point| point.mean.count > 1).collect();
    if repeated.is_empty() {
        return None;
    }
    let squares: f64 = repeated.iter().map(|point| point.mean.squares()).sum();
    let freedom: u64 = repeated.iter().map(|point| point.mean.count - 1).sum();
    let standing = |point: &&Point| {
        Standing::new(goal, frame.jobs[point.row], point.mean.mean, point.mean.count, frame.planned)
    };
    repeated.sort_by_key(|point| Reverse(standing(point)));
    let count = repeated.len();
    let items = repeated.into_iter().take(LISTED_MAX).filter_map(|point| {
        Some(RepeatedPoint {
            job: frame.jobs[point.row],
            parameters: frame.parameters_of(point.row),
            count: point.mean.count,
            diverged: point.diverged,
            mean: point.mean.mean,
            deviation: point.mean.deviation()?,
            interval: frame.interval(&point.mean),
        })
    });
    Some(Repeats {
        points: count as u64,
        deviation: (squares / freedom as f64).sqrt(),
        items: items.collect(),
        left_out: count.saturating_sub(LISTED_MAX) as u64,
    })
}

/// Which of two values is better: the greater one in this order.
pub(crate) fn better(goal: Goal, one: f64, other: f64) -> std::cmp::Ordering {
    match goal {
        Goal::Maximize => one.total_cmp(&other),
        Goal::Minimize => other.total_cmp(&one),
    }
}
