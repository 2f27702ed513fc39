//! The rules of early stopping: what follows from values, by hand, against Optuna and for random sweeps.

mod golden;
mod halving;
mod ladder;
mod properties;

use terms::Goal;

use super::*;

/// One ladder of 1, 3, 9 and so on, as Optuna and the paper have it.
fn asha() -> Halving {
    Halving::new(Goal::Maximize, Ladder::upwards(1, 3, 0), Quota::Share { eta: 3 }, true)
}

/// A job comes to a rung, and its attempt ends there.
fn arrives(rule: &mut Halving, job: u64, epoch: u32, value: impl Into<Option<f64>>) {
    assert_eq!(rule.observe(job, epoch, value.into()), Verdict::Pause);
    rule.pause(job);
}

/// The next promotion, carried out.
fn promoted(rule: &mut Halving) -> Option<Promotion> {
    let promotion = rule.next_promotion(false)?;
    rule.promote(promotion.job);
    Some(promotion)
}
