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
