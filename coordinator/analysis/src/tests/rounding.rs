//! Values that differ by rounding, and those that are too large.

use super::*;

#[test]
fn what_is_rounding_alone_is_no_variation() {
    let job = |kind: &str, rate: i64, value| {
        (vec![("activation", text(kind)), ("batch_size", whole(rate))], End::Done(Some(value)))
    };
    let jobs = [job("a", 1, 0.6), job("b", 1, 0.7), job("a", 2, 0.7), job("b", 2, 0.8)];
    let effects = analysis(&["activation", "batch_size"], &jobs).effects;
    // The differences are 0.09999999999999998 and 0.10000000000000009.
    let pair = &effects[0].pairs[0];
    assert_eq!((pair.pairs, pair.interval, pair.p), (2, None, None), "{pair:?}");
    // A difference of 5.6e-17, and a deviation as small, are none.
    let jobs = [job("a", 1, 0.1 + 0.2), job("b", 1, 0.3), job("a", 2, 0.7), job("b", 2, 0.7)];
    assert_eq!(analysis(&["activation", "batch_size"], &jobs).effects[0].pairs[0].difference, 0.0);
    let of = |values: [f64; 2]| mean_of(values);
    assert_eq!(of([0.1 + 0.2, 0.3]).deviation(), Some(0.0));
    assert_eq!(welch(&of([0.1 + 0.2, 0.3]), &of([0.4, 0.1 + 0.3])), None);
}

#[test]
fn of_values_whose_squares_are_not_finite_no_shares_are_told() {
    let job = |a, b, value| (vec![("a", whole(a)), ("b", whole(b))], End::Done(Some(value)));
    let jobs = [job(1, 1, 1e200), job(1, 2, 1.0), job(2, 1, 2.0), job(2, 2, 3.0)];
    let importance = analysis(&["a", "b"], &jobs).importance;
    assert_eq!((importance.method, importance.items.len()), (Method::TooFew, 0));
}

#[test]
fn values_that_differ_by_rounding_alone_have_no_importance() {
    let job = |a, b, value| (vec![("a", whole(a)), ("b", whole(b))], End::Done(Some(value)));
    let of = |values: [f64; 4]| {
        let jobs: Vec<Job> =
            (0..).zip(values).map(|(place, value)| job(place % 2, place / 2, value)).collect();
        let found = analysis(&["a", "b"], &jobs);
        (found.importance.method, found.importance.items.len(), found.interactions.largest.is_some())
    };
    // As different orders of additions give.
    let above = 0.85_f64.next_up();
    assert_eq!(of([0.85, above, 0.85, above]), (Method::AllEqual, 0, false));
    assert_eq!(of([-0.85, -above, -above, -0.85]), (Method::AllEqual, 0, false));
    assert_eq!(of([0.85, 0.85 + 1e-9, 0.85, 0.85 + 1e-9]).0, Method::GridAnova);
    assert_eq!(of([0.0, 1e-300, 0.0, 1e-300]).0, Method::TooFew, "too small for squares, and not equal");
}

#[test]
fn results_that_are_all_the_same_have_no_interval() {
    let job = |name, seed, value| (vec![("name", text(name)), ("seed", whole(seed))], End::Done(Some(value)));
    // Shares of images often are: networks that have learned nothing all choose the same class.
    let jobs = [
        job("a", 0, 0.5014),
        job("a", 1, 0.5014),
        job("a", 2, 0.5014),
        job("b", 0, 0.8),
        job("b", 1, 0.7),
        job("b", 2, 0.1 + 0.7),
    ];
    let found = analysis(&["name", "seed"], &jobs);
    let levels = &found.effects[0].levels;
    assert_eq!((levels[0].count, levels[0].deviation, levels[0].interval), (3, Some(0.0), None));
    assert!(levels[1].interval.is_some());
    let repeats = found.repeats.as_ref().unwrap();
    assert_eq!(repeats.items.iter().map(|item| item.interval.is_some()).collect::<Vec<_>>(), [true, false]);
    assert!(found.has_equal_results() && !found.has_cut_intervals());
    assert!(!analysis(&["name", "seed"], &jobs[3..]).has_equal_results());
    // What is rounding alone is no variation either.
    assert_eq!(t_interval(&mean_of([0.1 + 0.2, 0.3])), None);
}
