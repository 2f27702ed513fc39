//! Where every value lies within bounds, intervals of means end there.

use super::*;

/// Four trainings of each of two activations; of `relu` near 1, of `sigmoid` in the middle.
fn jobs(near: [f64; 4]) -> Vec<Job> {
    let of = |name: &'static str, values: [f64; 4]| {
        (0..).zip(values).map(move |(seed, value)| {
            (vec![("activation", text(name)), ("seed", whole(seed))], End::Done(Some(value)))
        })
    };
    of("relu", near).chain(of("sigmoid", [0.5, 0.52, 0.48, 0.5])).collect()
}

#[test]
fn an_interval_of_shares_ends_at_1_and_one_of_other_values_where_student_says() {
    let near = [0.98, 1.0, 0.90, 1.0];
    let found = analysis(&["activation", "seed"], &jobs(near));
    let relu = &found.effects[0].levels[0];
    let student = t_interval(&mean_of(near)).unwrap();
    assert!(student.high > 1.0, "{student:?}");
    assert_eq!(found.bounds, Some(Interval { low: 0.0, high: 1.0 }));
    assert_eq!(relu.interval, Some(Interval { low: student.low, high: 1.0 }));
    // One that lies within is as it is.
    assert!(found.effects[0].levels[1].interval.unwrap().high < 0.6);
    assert!(found.has_cut_intervals());
    let points = found.repeats.as_ref().unwrap();
    assert_eq!(points.items[0].interval.unwrap().high, 1.0);
    // Differences of two shares go beyond 1 as they are.
    let apart = analysis(&["activation", "seed"], &jobs([0.6, 0.7, 0.65, 0.7]));
    assert!(!apart.has_cut_intervals(), "{apart:?}");
}

#[test]
fn what_no_manifest_bounds_is_not_cut() {
    let objective = Objective { name: "score".into(), goal: Goal::Maximize, used: MetricUse::Last };
    let names = ["activation".to_owned(), "seed".to_owned()];
    let mut collector = Collector::new(&objective, &names, None, None, 8);
    for (number, (parameters, end)) in (1..).zip(jobs([0.98, 1.0, 0.90, 1.0])) {
        let map = parameters.into_iter().map(|(name, value)| (name.to_owned(), value));
        collector.job(number, &ParameterMap(map.collect()), end);
    }
    let found = collector.analyze();
    assert_eq!((found.bounds, found.has_cut_intervals()), (None, false));
    assert!(found.effects[0].levels[0].interval.unwrap().high > 1.0);
}

#[test]
fn a_mean_that_contradicts_the_bounds_keeps_its_interval() {
    let found = analysis(&["activation", "seed"], &jobs([1.5, 1.6, 1.4, 1.5]));
    let interval = found.effects[0].levels[0].interval.unwrap();
    assert!(interval.low < 1.5 && interval.high > 1.5, "{interval:?}");
}
