//! The rungs that a sweep file's rule has are those at which the engine compares jobs.

use std::collections::BTreeSet;

use super::stopping::specification;
use crate::sweep_run::stopping::Stopping;

#[test]
fn the_rungs_that_people_are_told_are_those_at_which_jobs_pause() {
    for rule in [
        "{type: asha}",
        "{type: asha, min_iter: 2, eta: 4, s: 1}",
        "{type: hyperband, min_iter: 3, eta: 2}",
        "{type: hyperband, max_iter: 100, s: 4}",
        "{type: hyperband, max_iter: 2, s: 1}",
        "{type: hyperband, min_iter: 1, max_iter: 27}",
        "{type: top_k, min_iter: 7, k: 1}",
    ] {
        let specification = specification(60, rule);
        let told = specification.early_terminate.unwrap().ladders();
        let Some(Stopping::Halving(mut halving)) = Stopping::of(&specification) else { panic!("{rule}") };
        let mut ladders = BTreeSet::new();
        for job in 1..=60 {
            let mut ladder = Vec::new();
            while let Some(epochs) = halving.pauses_at(job) {
                ladder.push(epochs);
                halving.observe(job, epochs, Some(0.5));
                halving.promote(job);
            }
            ladders.insert(ladder);
        }
        assert_eq!(ladders, told.into_iter().collect(), "{rule}");
    }
}
