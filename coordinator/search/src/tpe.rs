//! TPE, the tree-structured Parzen estimator (Bergstra and others, 2011), as Optuna 5.0 has it by default: the jobs so far
//! are split into good and bad ones, each set is given a density, and the next point is the one of some candidates from the good
//! density at which the good density is largest against the bad one.
//!
//! - `space`: dimensions, conditions, coordinates
//! - `history`: which jobs are good and which are bad
//! - `column`, `density`: kernels and mixtures of them; `normal`: the functions that they are made of; `lanes`: the loops over all kernels; `masses`: the
//!   probabilities of cells that are known
//! - `used`: which points are taken
//!
//! A proposal is a function of the seed, its number, and what is known of the jobs, whatever the order in which it was said.
//! Chance comes from ChaCha8 with the seed as key and the number as stream.

mod column;
mod density;
mod history;
mod lanes;
mod masses;
mod normal;
mod normals;
mod remaining;
mod space;
#[cfg(test)]
mod tests;
mod used;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use terms::Goal;

use self::{
    density::{Density, Scratch},
    history::History,
    space::Space,
    used::Used,
};
pub use self::{
    history::Outcome,
    space::{Condition, Dimension, Domain, Point, SpaceError},
    used::Excluded,
};

/// So many jobs end before the first proposal that learns.
pub const RANDOM_FIRST: usize = 10;
/// Most jobs that count as good.
const GOOD_MAX: usize = 25;
/// Most bad jobs that the bad density is made of: the newest ones. As much as two milliseconds allow, see [`BAD_VALUES_MAX`].
const BAD_MAX: usize = 10_000;
/// Most values that these have together in all dimensions: ten thousand jobs of eight parameters, for which a proposal takes up to two
/// milliseconds. Where there are more, the oldest jobs are left out, whose weights are the smallest.
const BAD_VALUES_MAX: usize = 8 * BAD_MAX;
/// About how much memory each value of a job takes: its coordinate and, to know the point again, its bits.
const VALUE_BYTES: usize = 16;
/// Candidates of one proposal.
const CANDIDATES: usize = 24;
/// How often candidates are drawn again because all were taken. They are not scored, so that this takes microseconds.
const ROUNDS_MAX: usize = 10;
/// Random points that are drawn until one is free: where nine of ten are taken, all of them miss with a chance of 2e-12. Spaces that
/// can be counted are searched to the end.
const DRAWS_MAX: usize = 256;

/// The searcher. It remembers all jobs that it was told of.
#[derive(Debug, Clone)]
pub struct Tpe {
    space: Space,
    seed: u64,
    history: History,
    used: Used,
    /// The coordinates of each row.
    rows: Vec<Vec<f64>>,
    good: Density,
    bad: Density,
    scratch: Scratch,
}

/// A point to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub point: Point,
    /// How many jobs had ended by themselves.
    pub seen: usize,
    pub why: Why,
}

/// Why a point was proposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// By chance, as fewer than [`RANDOM_FIRST`] jobs had ended.
    Random,
    /// Of the candidates, it was the one most like good jobs and least like bad ones.
    Model {
        /// How many jobs counted as good, of those that had ended.
        good: usize,
        /// How many jobs ran, and counted as bad.
        running: usize,
        /// The good job near which the candidate was drawn; none if anywhere in the space.
        near: Option<u64>,
        /// The logarithm of the good density over the bad one.
        score: f64,
    },
    /// By chance among the points that were left: all candidates had jobs already.
    Left,
}

impl Tpe {
    /// A searcher that knows no job. Where the combinations of values can be counted, it takes time in proportion to their number, up
    /// to a million.
    ///
    /// # Errors
    /// A dimension has no values, or depends on itself.
    pub fn new(
        dimensions: &[Dimension],
        excluded: Option<Excluded>,
        goal: Goal,
        seed: u64,
    ) -> Result<Self, SpaceError> {
        let space = Space::new(dimensions)?;
        Ok(Self {
            seed,
            history: History::new(goal),
            used: Used::new(&space, excluded),
            rows: Vec::new(),
            good: Density::new(&space),
            bad: Density::new(&space),
            scratch: Scratch::default(),
            space,
        })
    }

    /// A job with this point runs. One of which something was known before keeps its point and starts over.
    pub fn start(&mut self, job: u64, point: &[Option<f64>]) {
        let row = self.row(job, point);
        self.history.set_running(row);
    }

    /// A job with this point has a result, which replaces what was known of it.
    pub fn observe(&mut self, job: u64, point: &[Option<f64>], outcome: Outcome) {
        let row = self.row(job, point);
        self.history.set_ended(row, outcome);
    }

    /// A job failed or was cancelled: nothing is known of its point but that it was tried.
    pub fn forget(&mut self, job: u64) {
        if let Some(row) = self.history.known_row(job) {
            self.history.set_forgotten(row);
        }
    }

    fn row(&mut self, job: u64, point: &[Option<f64>]) -> usize {
        let (row, is_new) = self.history.row(job);
        if is_new {
            self.rows.push(self.space.coordinates(point));
            self.used.take(&self.space, point);
        }
        row
    }

    /// Computes what the next proposal would compute, so that it takes no longer than those after it. To be called where many jobs
    /// were told at once.
    pub fn prepare(&mut self) {
        if self.history.ended() >= RANDOM_FIRST {
            self.fit();
        }
    }

    /// Makes both densities those of the jobs as they are now.
    fn fit(&mut self) {
        let (good, bad) = self.split();
        let observed = |row: usize| (self.history.job(row), self.rows[row].as_slice());
        self.good.fit(&good, &good, observed);
        let newest = bad.first().map_or(&[][..], |first| self.history.from(*first));
        self.bad.fit(&bad, newest, observed);
    }

    /// The rows of the good jobs and of the bad ones that count.
    fn split(&self) -> (Vec<usize>, Vec<usize>) {
        let bad_max = BAD_MAX.min(BAD_VALUES_MAX / self.space.scales.len().max(1));
        self.history.split(good_count(self.history.ended()), bad_max)
    }

    /// Roughly the memory that it takes.
    pub fn bytes(&self) -> usize {
        let values = self.rows.len() * self.space.scales.len() * VALUE_BYTES;
        values + self.good.bytes() + self.bad.bytes() + self.used.counted_bytes()
    }

    /// How many jobs have ended by themselves.
    pub fn seen(&self) -> usize {
        self.history.ended()
    }

    /// The point of a number, which was not proposed before; none if all points have jobs, or if so few have none that none
    /// was found.
    pub fn propose(&mut self, number: u64) -> Option<Proposal> {
        if self.used.is_exhausted() {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number);
        let seen = self.history.ended();
        if seen >= RANDOM_FIRST
            && let Some((point, why)) = self.propose_by_model(&mut random)
        {
            return Some(Proposal { point, seen, why });
        }
        let why = if seen < RANDOM_FIRST { Why::Random } else { Why::Left };
        let drawn =
            (0..DRAWS_MAX).map(|_| self.space.draw(&mut random)).find(|point| self.used.is_free(point));
        let point = drawn.or_else(|| self.used.free_point(&self.space, &mut random))?;
        Some(Proposal { point, seen, why })
    }

    /// The best of the candidates that are free.
    fn propose_by_model(&mut self, random: &mut ChaCha8Rng) -> Option<(Point, Why)> {
        self.fit();
        let candidates = self.free_candidates(random);
        if candidates.is_empty() {
            return None;
        }
        let coordinates: Vec<Vec<f64>> =
            candidates.iter().map(|(_, point)| self.space.coordinates(point)).collect();
        let good_ln = self.good.ln(&coordinates, &mut self.scratch);
        let bad_ln = self.bad.ln(&coordinates, &mut self.scratch);
        let mut best: Option<(f64, Option<usize>, Point)> = None;
        for ((near, point), (good_ln, bad_ln)) in candidates.into_iter().zip(good_ln.into_iter().zip(bad_ln))
        {
            let score = good_ln - bad_ln;
            // Where both densities are zero, nothing can be said.
            if score.is_nan() {
                continue;
            }
            // The first wins.
            if best.as_ref().is_none_or(|(best, ..)| score > *best) {
                best = Some((score, near, point));
            }
        }
        let (score, near, point) = best?;
        let near = near.map(|row| self.good.job(row));
        let good = good_count(self.history.ended());
        Some((point, Why::Model { good, running: self.history.running(), near, score }))
    }

    /// Candidates from the good density that have no job yet. Those that are taken are left out before they are scored, which is
    /// as good as taking the next best.
    fn free_candidates(&self, random: &mut ChaCha8Rng) -> Vec<(Option<usize>, Point)> {
        for _ in 0..ROUNDS_MAX {
            let drawn = (0..CANDIDATES).map(|_| self.good.draw(&self.space, random));
            let free: Vec<_> = drawn.filter(|(_, point)| self.used.is_free(point)).collect();
            if !free.is_empty() {
                return free;
            }
        }
        Vec::new()
    }
}

/// How many of the jobs that ended count as good: a tenth, rounded up.
fn good_count(ended: usize) -> usize {
    ended.div_ceil(10).min(GOOD_MAX)
}
