//! The numbers of epochs at which jobs are compared.

use terms::EPOCHS_MAX;

use super::*;

#[test]
fn rungs_are_exact_where_logarithms_are_not() {
    assert_eq!(Ladder::upwards(1, 3, 0).rungs()[..6], [1, 3, 9, 27, 81, 243]);
    assert_eq!(Ladder::upwards(1, 10, 0).rungs()[..4], [1, 10, 100, 1_000]);
    for eta in 2..=20u32 {
        for (k, epochs) in Ladder::upwards(1, eta, 0).rungs().iter().enumerate() {
            assert_eq!(u64::from(*epochs), u64::from(eta).pow(k as u32));
        }
    }
}

#[test]
fn s_skips_the_lowest_rungs() {
    assert_eq!(Ladder::upwards(2, 3, 1).rungs()[..3], [6, 18, 54]);
    assert!(Ladder::upwards(2, 3, 100).rungs().is_empty());
}

#[test]
fn no_rung_is_beyond_what_a_job_may_train() {
    assert!(Ladder::upwards(EPOCHS_MAX, 2, 0).rungs().len() <= 1);
    assert!(Ladder::upwards(1, 2, 0).rungs().len() <= RUNGS_MAX);
}

/// The example of W&B's documentation: `max_iter: 27`, `s: 2`, `eta: 3` compares after 3 and 9 iterations.
#[test]
fn brackets_of_max_iter_are_those_of_wandb() {
    assert_eq!(Ladder::downwards(27, 3, 2).rungs(), [3, 9]);
    assert_eq!(Ladder::downwards(27, 3, 9).rungs(), [1, 3, 9]);
    assert_eq!(Ladder::downwards(100, 3, 3).rungs(), [3, 11, 33]);
    assert!(Ladder::downwards(2, 3, 3).rungs().is_empty());
}
