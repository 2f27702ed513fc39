//! Points that are trained several times (`repeats` in the sweep file): what the trainings of each come to together.
//!
//! The trainings of a point are jobs with consecutive numbers, so that one point at a time is open.

use terms::{Goal, Standing};

use super::{
    model::Sweep,
    ranking::{Best, Ranking},
    rows::JobRow,
};

/// Most points of the pages' table: no one reads more.
const POINTS_SHOWN_MAX: usize = 100;

/// A point and the values of the objective that its trainings ended with.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its first training that is done.
    pub(super) row: JobRow,
    /// How many trainings are done with a value.
    pub(super) done: u32,
    pub(super) mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    pub(super) smallest: f64,
    pub(super) largest: f64,
}

impl Point {
    fn new(number: u64, row: JobRow) -> Self {
        let (smallest, largest) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { number, row, done: 0, mean: 0.0, squares: 0.0, smallest, largest }
    }

    /// Takes a training in, by Welford's method: <https://doi.org/10.1080/00401706.1962.10490022>.
    fn add(&mut self, value: f64) {
        self.done += 1;
        let before = value - self.mean;
        self.mean += before / f64::from(self.done);
        self.squares += before * (value - self.mean);
        self.smallest = self.smallest.min(value);
        self.largest = self.largest.max(value);
    }

    /// The standard deviation of the sample, with `n - 1` in the denominator; none of a single training.
    pub(super) fn deviation(&self) -> Option<f64> {
        (self.done > 1).then(|| (self.squares / f64::from(self.done - 1)).sqrt())
    }
}

/// The points of a sweep that trains each of them several times.
#[derive(Debug)]
pub(super) struct Repeats {
    repeats: u32,
    goal: Goal,
    open: Option<Point>,
    best: Best<Standing, Point>,
}

impl Repeats {
    /// None where each point is trained once.
    pub(super) fn new(sweep: &Sweep) -> Option<Self> {
        (sweep.repeats > 1).then(|| Self {
            repeats: sweep.repeats,
            goal: sweep.objective.goal,
            open: None,
            best: Best::new(POINTS_SHOWN_MAX),
        })
    }

    /// Takes a job in, in the order of job numbers.
    pub(super) fn job(&mut self, row: &JobRow, ranking: &Ranking) {
        let number = row.number.saturating_sub(1) / u64::from(self.repeats) + 1;
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.close();
            self.open = Some(Point::new(number, row.clone()));
        }
        let value = row.ranked.filter(|_| ranking.rank(row).is_candidate());
        if let (Some(point), Some((_, value))) = (&mut self.open, value) {
            if point.done == 0 {
                point.row = row.clone();
            }
            point.add(value);
        }
    }

    fn close(&mut self) {
        let Some(point) = self.open.take().filter(|point| point.done > 0) else { return };
        let (done, planned) = (point.done.into(), self.repeats.into());
        self.best.offer(Standing::new(self.goal, point.row.number, point.mean, done, planned), || point);
    }

    /// The best points, the best first, and whether others are left out.
    pub(super) fn into_points(mut self) -> (Vec<Point>, bool) {
        self.close();
        let is_selection = self.best.is_selection();
        (self.best.into_ranked(), is_selection)
    }
}
