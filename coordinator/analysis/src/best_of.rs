//! What the best of n trainings is expected to be, if they were drawn from those that were made: how much a larger search would have brought.

use serde::Serialize;
use terms::Goal;
use utoipa::ToSchema;

use super::points::better;

/// The expected best of so many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct BestOf {
    /// How many trainings.
    pub jobs: u64,
    /// The mean of the best of as many that are drawn without replacement: unbiased, as R. Tang et al. show (Showing Your Work Doesn't
    /// Always Work, ACL 2020, <https://aclanthology.org/2020.acl-main.246>).
    pub expected: f64,
}

/// For 1, 2, 4, 8 … and all of these values.
pub(crate) fn expected(mut values: Vec<f64>, goal: Goal) -> Vec<BestOf> {
    values.sort_by(|one, other| better(goal, *one, *other));
    let count = values.len();
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(1), |size| Some(size * 2)).take_while(|size| *size < count).collect();
    sizes.extend((count > 0).then_some(count));
    sizes.into_iter().map(|size| BestOf { jobs: size as u64, expected: best_of(&values, size) }).collect()
}

/// The mean of the best of `size` of these values, which are in order, the best last.
fn best_of(values: &[f64], size: usize) -> f64 {
    let count = values.len();
    // The value at place i is the best of C(i - 1, size - 1) of the C(count, size) choices. From the best on downwards, each share follows
    // from the one before.
    let mut share = size as f64 / count as f64;
    let mut sum = 0.0;
    for place in (size..=count).rev() {
        sum += share * values[place - 1];
        share *= (place - size) as f64 / (place.saturating_sub(1).max(1)) as f64;
    }
    sum
}
