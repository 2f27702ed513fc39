//! Which values of a parameter are compared, and by which test.

use super::*;

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} is not {expected}");
}

/// Of seven values, none of which is the first, the best and the worst; four points each.
const SEVEN: [[f64; 4]; 7] = [
    [0.587, 0.607, 0.653, 0.643],
    [0.607, 0.650, 0.648, 0.673],
    [0.668, 0.715, 0.725, 0.762],
    [0.716, 0.730, 0.700, 0.785],
    [0.622, 0.692, 0.673, 0.672],
    [0.737, 0.747, 0.778, 0.778],
    [0.550, 0.493, 0.540, 0.532],
];

#[test]
fn of_many_values_the_best_and_the_worst_are_compared_whatever_is_better() {
    let job = |rate: usize, other: usize| {
        let parameters = vec![("rate", whole(rate as i64)), ("other", whole(other as i64))];
        (parameters, End::Done(Some(SEVEN[rate][other])))
    };
    let jobs: Vec<Job> = (0..7).flat_map(|rate| (0..4).map(move |other| job(rate, other))).collect();
    for goal in [Goal::Maximize, Goal::Minimize] {
        let effect = &collected(goal, &["rate", "other"], &jobs).analyze().effects[0];
        let pairs = &effect.pairs;
        let first = pairs.iter().filter(|pair| pair.first == whole(0)).count();
        assert_eq!((pairs.len(), first), (7, 6), "{goal:?} {pairs:?}");
        let ends = [0, 6].map(|place| effect.ranked(goal)[place].value.clone().unwrap());
        let expected = if goal == Goal::Maximize { [5, 6] } else { [6, 5] };
        assert_eq!(ends, expected.map(whole));
        let pair = pairs.iter().find(|pair| (&pair.first, &pair.second) == (&whole(5), &whole(6))).unwrap();
        // scipy.stats.ttest_rel(SEVEN[6], SEVEN[5]) of SciPy 1.17.1, and its confidence_interval(0.95).
        close(pair.p.unwrap(), 0.0006055494199245502);
        close(pair.difference, -0.23125);
        let interval = pair.interval.unwrap();
        close(interval.low, -0.27932802923033095);
        close(interval.high, -0.18317197076966904);
        assert_eq!(pair.pairs, 4);
    }
}

#[test]
fn where_all_means_are_equal_the_first_value_and_the_last_are_the_ends() {
    let jobs: Vec<Job> = (0..14)
        .map(|n| (vec![("rate", whole(n % 7)), ("other", whole(n / 7))], End::Done(Some((n / 7) as f64))))
        .collect();
    let pairs = &analysis(&["rate", "other"], &jobs).effects[0].pairs;
    assert_eq!(pairs.len(), 6, "it is a pair with the first already: {pairs:?}");
}

/// Trainings of a program without a seed: so many values of its only parameter, each with these results.
fn unseeded(values: &[&[f64]]) -> Vec<Pair> {
    let of = |(name, results): (i64, &&[f64])| {
        results
            .iter()
            .map(|value| (vec![("rate", whole(name))], End::Done(Some(*value))))
            .collect::<Vec<Job>>()
    };
    let jobs: Vec<Job> = (0..).zip(values).flat_map(of).collect();
    let analysis = analysis(&["rate"], &jobs);
    analysis.effects[0].pairs.clone()
}

#[test]
fn trainings_that_no_seed_makes_pairs_are_compared_by_welchs_test() {
    let pairs = unseeded(&[&[0.70, 0.72, 0.69, 0.71, 0.73], &[0.75, 0.74, 0.78, 0.77, 0.74], &[0.5]]);
    assert_eq!(pairs.len(), 3);
    let pair = &pairs[0];
    assert_eq!((pair.test, pair.pairs), (Some(PairTest::Welch), 0));
    // scipy.stats.ttest_ind(second, first, equal_var=False) of SciPy 1.17.1, and its confidence_interval(0.95).
    close(pair.p.unwrap(), 0.002840762690506034);
    close(pair.difference, 0.046);
    let interval = pair.interval.unwrap();
    close(interval.low, 0.021081087382108947);
    close(interval.high, 0.07091891261789113);
    // One training says nothing of how far others vary.
    assert_eq!((pairs[1].test, pairs[1].p, pairs[1].pairs), (None, None, 0));
    close(pairs[1].difference, -0.21);
}

#[test]
fn single_trainings_of_the_only_parameter_are_a_pair_and_no_test() {
    let pairs = unseeded(&[&[0.70], &[0.75]]);
    assert_eq!((pairs.len(), pairs[0].pairs, pairs[0].test), (1, 1, None));
}
