//! What the results of a sweep say. Numbers only: no clock, no files, and chance from a fixed seed, so that the same results give the same
//! analysis everywhere.
//!
//! [`Collector`] takes the jobs one by one and keeps a bounded number of them; [`Collector::analyze`] then computes
//!
//! - the [`Importance`] of each parameter: by functional analysis of variance where the points are a complete grid, by PED-ANOVA elsewhere;
//! - which two parameters act together the most ([`Interaction`]), where the points are a complete grid;
//! - the [`Effect`] of each parameter: the mean by its values, and differences between points that are equal in everything else;
//! - what [`Repeats`] of the same point come to;
//! - the [`Verdict`] on the best point: whether it can be told from the runner-up, and by which test;
//! - what the best of n trainings is expected to be ([`BestOf`]).
//!
//! **What counts.** Only jobs that trained to their end with a finite objective count as values. A job that diverged has none: it is counted
//! at each value of its parameters and enters no mean. Everything else (failed, stopped early, cancelled, still running) is counted as
//! unfinished: a value after fewer epochs cannot be compared.
//!
//! **What varies.** Trainings of one point, with different seeds or as repeats, are averaged first, and the points are what is compared:
//! counting each training would make intervals too narrow. Only where a single parameter varies besides the seed do trainings count each.

mod best;
mod best_of;
mod collect;
mod effects;
mod frame;
mod grid;
mod importance;
mod interaction;
mod pairs;
mod ped_anova;
mod points;
mod statistics;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::{
    best::{Models, NotTested, Test, Verdict, Winner},
    best_of::BestOf,
    collect::{Collector, Counted, End, JOBS_MAX, mixed},
    effects::{Effect, Level, Range},
    importance::{Importance, Method, NoInterval, Share},
    interaction::{Interaction, Interactions, NoInteraction, Together},
    pairs::{Pair, PairTest},
    points::{RepeatedPoint, Repeats},
    statistics::{Compared, Interval, Mean, gain, mean_of, paired, t_interval, welch, wilson},
};

/// The confidence of every interval: 95 %.
pub const CONFIDENCE: f64 = 0.95;
/// Below this p a difference is told as one: the same confidence.
pub const SIGNIFICANT: f64 = 0.05;

/// What an analysis found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Analysis {
    /// How many jobs it rests on, and how many count for nothing.
    pub jobs: Counted,
    /// How many points have a value: trainings that differ in their seed alone are of one point.
    pub points: u64,
    pub importance: Importance,
    /// Which two parameters act together the most.
    pub interactions: Interactions,
    /// Of each parameter that varies, without the seed, in the order of the space.
    pub effects: Vec<Effect>,
    /// None where no point was trained more than once.
    pub repeats: Option<Repeats>,
    /// None where no job counts.
    pub best: Option<Verdict>,
    /// Between which numbers every value lies, where that is known: intervals of means are cut there. Those of differences are not.
    pub bounds: Option<Interval>,
    /// For rising numbers of jobs.
    pub best_of: Vec<BestOf>,
}

impl Analysis {
    /// Whether some values or configurations have several results that are all the same, so that there is no interval.
    pub fn has_equal_results(&self) -> bool {
        let mut levels = self.effects.iter().flat_map(|effect| &effect.levels);
        let mut points = self.repeats.iter().flat_map(|repeats| &repeats.items);
        levels.any(|level| level.count > 1 && level.interval.is_none())
            || points.any(|point| point.interval.is_none())
    }

    /// Whether intervals of means end where no value can be.
    pub fn has_cut_intervals(&self) -> bool {
        let Some(bounds) = self.bounds else { return false };
        let of_levels =
            self.effects.iter().flat_map(|effect| &effect.levels).filter_map(|level| level.interval);
        let of_points =
            self.repeats.iter().flat_map(|repeats| &repeats.items).filter_map(|point| point.interval);
        let is_cut = |one: Interval| one.low == bounds.low || one.high == bounds.high;
        of_levels.chain(of_points).any(is_cut)
    }
}

#[cfg(test)]
mod tests;
