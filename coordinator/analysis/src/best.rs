//! The best point, and whether it can be told from the runner-up.
//!
//! The two are chosen by their values, from many. That the usual two-sided test of the winner against the runner-up nevertheless shows that the
//! winner is the best is a theorem for samples of equal size from one exponential family: K. Hung and W. Fithian, Rank verification for
//! exponential families, Annals of Statistics 47(2), 2019, <https://doi.org/10.1214/17-AOS1634>. Welch's test lets variances differ and the
//! theorem does not, so that it is a guide here and no proof.

use std::cmp::Reverse;

use serde::Serialize;
use terms::{Goal, Standing};
use utoipa::ToSchema;

use super::{
    frame::Frame,
    points::{Point, better},
    statistics::{Interval, newcombe, welch, wilson, without_rounding},
};

/// Which test was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Welch's t-test of the trainings of both.
    Welch,
    /// Newcombe's interval of the difference of two shares of as many images, where both were trained once. It takes the images as drawn anew
    /// for each; as both are of the same images, it is too wide rather than too narrow. What another seed would change is not in it, so that
    /// it says something of the two trained models and nothing of their configurations.
    Newcombe,
}

/// Why no test was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotTested {
    /// There is one point.
    OnlyOne,
    /// One of the two has a single training with a value; and the other has more, or the objective is not a share of images.
    NoRepeats,
    /// The trainings of each came out the same, so that nothing says how far they vary.
    NoVariation,
}

/// A point among the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Winner {
    /// Its first job.
    pub job: u64,
    /// Trainings with a value.
    pub count: u64,
    /// Their mean.
    pub value: f64,
    /// Student's interval of the mean, none where nothing varies; of a single training Wilson's, where it is a share of images.
    pub interval: Option<Interval>,
}

/// What Newcombe's interval says of trained models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Models {
    /// Whether the best's model does better than the runner-up's on these validation images: the whole interval is on its side of 0.
    pub differ: bool,
    /// How many other models the best's cannot be told from by the same interval, each by itself.
    pub not_told: u64,
}

/// The best point against the runner-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Verdict {
    pub best: Winner,
    pub runner_up: Option<Winner>,
    /// How many trainings each point is planned to have. One of which some are missing comes after those that have all.
    pub planned: u64,
    /// Whether the runner-up has the better mean: it comes second only as trainings of it are missing.
    pub runner_up_leads: bool,
    pub test: Option<Test>,
    /// Why there is no test.
    pub not_tested: Option<NotTested>,
    /// The best's value less the runner-up's.
    pub difference: Option<f64>,
    pub interval: Option<Interval>,
    /// Of Welch's test.
    pub p: Option<f64>,
    /// Degrees of freedom of Welch's test.
    pub freedom: Option<f64>,
    /// Whether the best configuration is better than the runner-up: the whole interval of the difference is on its side of 0. None where Welch's
    /// test was not made: of a single training each nothing says how far others would come out.
    pub separable: Option<bool>,
    /// How many other configurations the best is not better than by Welch's test, each by itself.
    pub not_separable: Option<u64>,
    /// What is said of the trained models where each was trained once; none where Newcombe's interval was not made.
    pub models: Option<Models>,
}

/// What comes of comparing two points.
struct Outcome {
    test: Test,
    interval: Interval,
    p: Option<f64>,
    freedom: Option<f64>,
}

/// How two points are compared.
struct Comparison {
    goal: Goal,
    /// How many images the values are shares of, where they are.
    images: Option<u64>,
}

impl Comparison {
    fn of(&self, one: &Point, other: &Point) -> Result<Outcome, NotTested> {
        if one.mean.count > 1 && other.mean.count > 1 {
            let compared = welch(&one.mean, &other.mean).ok_or(NotTested::NoVariation)?;
            let (p, freedom) = (Some(compared.p), Some(compared.freedom));
            return Ok(Outcome { test: Test::Welch, interval: compared.interval, p, freedom });
        }
        // The mean of several models is no share of as many images.
        let are_single = one.mean.count == 1 && other.mean.count == 1;
        let images = self.images.filter(|_| are_single).ok_or(NotTested::NoRepeats)?;
        let interval = newcombe(one.mean.mean, other.mean.mean, images);
        Ok(Outcome { test: Test::Newcombe, interval, p: None, freedom: None })
    }

    /// Whether the first of two is better, by the interval of the first less the second.
    fn is_better(&self, interval: Interval) -> bool {
        match self.goal {
            Goal::Maximize => interval.low > 0.0,
            Goal::Minimize => interval.high < 0.0,
        }
    }

    fn winner(&self, frame: &Frame, point: &Point) -> Winner {
        let (count, value) = (point.mean.count, point.mean.mean);
        let of_share = || self.images.filter(|_| count == 1).map(|images| wilson(value, images));
        let interval = frame.interval(&point.mean).or_else(of_share);
        Winner { job: frame.jobs[point.row], count, value, interval }
    }
}

/// The best point against the others. A point of which trainings are missing comes after those that are complete, as a single good training
/// says little.
pub(crate) fn verdict(frame: &Frame, points: &[Point], goal: Goal, images: Option<u64>) -> Option<Verdict> {
    let mut ranked: Vec<&Point> = points.iter().filter(|point| point.is_counted()).collect();
    let standing = |point: &Point| {
        Standing::new(goal, frame.jobs[point.row], point.mean.mean, point.mean.count, frame.planned)
    };
    ranked.sort_by_key(|point| Reverse(standing(point)));
    let (best, others) = ranked.split_first()?;
    // A share lies between 0 and 1; what does not is measured otherwise than its manifest says.
    let is_share = |point: &&Point| (0.0..=1.0).contains(&point.mean.mean);
    let comparison = Comparison { goal, images: images.filter(|_| ranked.iter().all(is_share)) };
    let outcome = match others.first() {
        None => Err(NotTested::OnlyOne),
        Some(other) => comparison.of(best, other),
    };
    // One that cannot be compared by a test is not told from the best either.
    let not_told =
        |other: &&&Point| comparison.of(best, other).map_or(true, |one| !comparison.is_better(one.interval));
    let others_not_told = || others.iter().filter(not_told).count() as u64;
    let runner_up = others.first().map(|other| comparison.winner(frame, other));
    let winner = comparison.winner(frame, best);
    let made = outcome.as_ref().ok();
    let by = |test| made.filter(|made| made.test == test);
    let differ = |made: &Outcome| comparison.is_better(made.interval);
    Some(Verdict {
        best: winner,
        runner_up,
        planned: frame.planned,
        runner_up_leads: runner_up.is_some_and(|other| leads(goal, other.value, winner.value)),
        test: made.map(|made| made.test),
        not_tested: outcome.as_ref().err().copied(),
        difference: runner_up.map(|other| winner.value - other.value),
        interval: made.map(|made| made.interval),
        p: made.and_then(|made| made.p),
        freedom: made.and_then(|made| made.freedom),
        separable: by(Test::Welch).map(differ),
        not_separable: by(Test::Welch).map(|_| others_not_told()),
        models: by(Test::Newcombe).map(|made| Models { differ: differ(made), not_told: others_not_told() }),
    })
}

/// Whether a value is better than another, by more than rounding.
fn leads(goal: Goal, one: f64, other: f64) -> bool {
    let difference = without_rounding(one - other, one.abs().max(other.abs()));
    better(goal, difference, 0.0).is_gt()
}
