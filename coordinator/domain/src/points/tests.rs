//! That a search has each point of a finite space once and ends, never has an excluded one, and that a point depends on the
//! seed and its number alone.

use std::collections::HashSet;

use proptest::prelude::*;
use terms::ParameterValue;

use super::*;
use crate::space::{Axis, Domain, PartialPoint, Requirement};

const METHODS: [fn(u64) -> Method; 2] = [|seed| Method::Random { seed }, |seed| Method::Sobol { seed }];

fn axis(name: &str, values: std::ops::Range<i64>) -> Axis {
    Axis::listed(name, values.map(ParameterValue::Integer).collect())
}

fn pattern(values: &[(&str, i64)]) -> PartialPoint {
    values.iter().map(|(name, value)| ((*name).into(), ParameterValue::Integer(*value))).collect()
}

fn of(axes: &[Axis], method: Method, points_max: Option<u64>) -> Result<DrawnPoints, PointsError> {
    DrawnPoints::new(axes, (&[], &[]), method, points_max)
}

fn all(points: &DrawnPoints) -> Vec<String> {
    assert_eq!(points.parameters(0), None);
    assert_eq!(points.parameters(points.count() + 1), None);
    (1..=points.count()).map(|point| format!("{:?}", points.parameters(point).unwrap().0)).collect()
}

fn rate() -> Axis {
    let domain = Domain::Float { low: 1e-5, high: 0.1, is_log: true, step: None };
    Axis { name: "rate".into(), domain, when: Vec::new() }
}

/// Axes of all kinds with finitely many values, some of which are less likely.
fn finite(sizes: &[i64]) -> Vec<Axis> {
    let weighted = |size: i64| {
        let values: Vec<_> = (0..size).map(ParameterValue::Integer).collect();
        let sum = (size * (size + 1) / 2) as f64;
        Domain::Weighted(values, (1..=size).map(|share| share as f64 / sum).collect())
    };
    let domain = |(index, size): (usize, i64)| match index {
        0 => axis("a", 0..size).domain,
        1 => Domain::Integer { low: 0, high: size - 1, is_log: false, step: 1 },
        _ if size > 1 => weighted(size),
        _ => axis("c", 0..1).domain,
    };
    let axis = |(index, size): (usize, i64)| Axis {
        name: ["a", "b", "c"][index].into(),
        domain: domain((index, size)),
        when: Vec::new(),
    };
    sizes.iter().copied().enumerate().map(axis).collect()
}

#[test]
fn an_infinite_space_needs_an_end_and_has_as_many_points_as_it_says() {
    for method in METHODS {
        assert_eq!(of(&[rate()], method(0), None).unwrap_err(), PointsError::NoEnd);
        let points = of(&[rate(), axis("b", 0..2)], method(0), Some(1_000)).unwrap();
        let different: HashSet<String> = all(&points).into_iter().collect();
        assert_eq!(different.len(), 1_000);
    }
}

#[test]
fn more_points_leave_the_first_ones_as_they_are_and_another_seed_has_others() {
    let huge = [axis("a", 0..10_000), axis("b", 0..10_000), axis("c", 0..10_000)];
    for axes in [vec![rate(), axis("b", 0..3)], finite(&[4, 5, 6]), huge.to_vec()] {
        for method in METHODS {
            let few = all(&of(&axes, method(1), Some(17)).unwrap());
            let many = all(&of(&axes, method(1), Some(113)).unwrap());
            assert_eq!(few, many[..17]);
            assert_ne!(few, all(&of(&axes, method(2), Some(17)).unwrap()));
        }
    }
}

#[test]
fn a_space_that_fits_no_bitmap_has_no_point_twice() {
    let axes = [axis("a", 0..10_000), axis("b", 0..10_000), axis("c", 0..100)];
    for method in METHODS {
        assert_eq!(of(&axes, method(0), None).unwrap_err(), PointsError::NoEnd);
        // A permutation repeats nothing by itself.
        let many = of(&axes, method(0), Some(1_000_001));
        match method(0) {
            Method::Sobol { .. } => assert_eq!(many.unwrap_err(), PointsError::TooManyCompared),
            _ => assert_eq!(many.unwrap().count(), 1_000_001),
        }
        let exclude: Vec<PartialPoint> = (0..50).map(|value| pattern(&[("c", value)])).collect();
        let include = [pattern(&[("a", 1), ("b", 2), ("c", 3)])];
        let points = DrawnPoints::new(&axes, (&exclude, &include), method(3), Some(20_000)).unwrap();
        let found = all(&points);
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 20_000);
        for point in 2..=points.count() {
            assert!(points.value(point, "c").unwrap().whole().unwrap() >= 50);
        }
    }
}

#[test]
fn what_depends_on_a_choice_is_there_only_with_it() {
    let when = vec![Requirement { name: "a".into(), values: vec![ParameterValue::Integer(1)] }];
    let momentum = Axis { when, ..axis("b", 0..10) };
    for method in METHODS {
        let points = of(&[axis("a", 0..2), momentum.clone()], method(0), None).unwrap();
        let found = all(&points);
        assert_eq!((found.len(), found.iter().collect::<HashSet<_>>().len()), (11, 11));
        let points = of(&[axis("a", 0..2), momentum.clone(), rate()], method(0), Some(500)).unwrap();
        for point in 1..=500 {
            let has = points.value(point, "b").is_some();
            assert_eq!(has, points.value(point, "a") == Some(ParameterValue::Integer(1)));
        }
    }
}

#[test]
fn a_search_that_excludes_nearly_all_is_refused() {
    let axes = [rate(), axis("a", 0..4)];
    for method in METHODS {
        let exclude: Vec<PartialPoint> = (0..4).map(|value| pattern(&[("a", value)])).collect();
        let some = DrawnPoints::new(&axes, (&exclude[1..], &[]), method(0), Some(2_000)).unwrap();
        assert!((1..=2_000).all(|point| some.value(point, "a") == Some(ParameterValue::Integer(0))));
        let none = DrawnPoints::new(&axes, (&exclude, &[]), method(0), Some(10));
        assert_eq!(none.unwrap_err(), PointsError::HardlyAny);
        let none = DrawnPoints::new(&[axis("a", 0..4)], (&exclude, &[]), method(0), Some(10));
        assert_eq!(none.unwrap_err(), PointsError::Grid(GridError::Empty));
    }
}

#[test]
fn a_search_whose_range_hardly_ever_has_a_value_draws_on_and_is_refused_where_it_never_does() {
    let when = |values: &[i64]| {
        let values = values.iter().map(|value| ParameterValue::Integer(*value)).collect();
        vec![Requirement { name: "a".into(), values }]
    };
    let sometimes = [axis("a", 0..1_000), Axis { when: when(&[1]), ..rate() }];
    for method in METHODS {
        // The 999 points without a rate are drawn once; the others take a thousand draws each.
        let points = DrawnPoints::new(&sometimes, (&[], &[]), method(0), Some(1_020)).unwrap();
        let with_rate = (1..=1_020).filter(|point| points.value(*point, "rate").is_some()).count();
        assert!(with_rate >= 21, "{with_rate}");
        let never = [axis("a", 0..4), Axis { when: when(&[7]), ..rate() }];
        let refused = DrawnPoints::new(&never, (&[], &[]), method(0), Some(10));
        assert_eq!(refused.unwrap_err(), PointsError::HardlyAnyNew);
    }
}

#[test]
fn included_points_come_first_and_once() {
    let include =
        [pattern(&[("a", 1), ("b", 2)]), pattern(&[("a", 9), ("b", 2)]), pattern(&[("a", 1), ("b", 2)])];
    for method in METHODS {
        let points = DrawnPoints::new(&finite(&[3, 4]), (&[], &include), method(0), None).unwrap();
        let value = |point, name| points.value(point, name).unwrap().whole().unwrap();
        assert_eq!([value(1, "a"), value(1, "b"), value(2, "a")], [1, 2, 9]);
        let found = all(&points);
        assert_eq!((found.len(), found.iter().collect::<HashSet<_>>().len()), (13, 13));
        let few = DrawnPoints::new(&finite(&[3, 4]), (&[], &include), method(0), Some(1)).unwrap();
        assert_eq!(all(&few), found[..1]);
    }
}

#[test]
fn repetitions_of_a_point_follow_each_other_and_count_the_seed_up() {
    let axes = [axis("a", 0..3), axis("seed", 5..6)];
    for method in METHODS {
        let jobs = Jobs::new(Points::Drawn(of(&axes, method(0), None).unwrap()), 2, Some("seed".to_owned()));
        assert_eq!(jobs.count(), 6);
        let value = |job, name| jobs.value(job, name).unwrap().whole().unwrap();
        assert_eq!((1..=6).map(|job| value(job, "seed")).collect::<Vec<_>>(), [5, 6, 5, 6, 5, 6]);
        assert_eq!((value(3, "a"), jobs.point(4)), (value(4, "a"), Some((2, 2))));
        assert_eq!(jobs.parameters(4).unwrap().get("seed"), Some(&ParameterValue::Integer(6)));
        assert_eq!(jobs.parameters(7), None);
    }
}

#[test]
fn alike_are_jobs_that_share_what_must_be_shared() {
    let axes = [rate(), axis("batch", 0..3), axis("epochs", 5..6)];
    let include: [PartialPoint; 1] =
        [[pattern(&[("batch", 1), ("epochs", 7)]), vec![("rate".into(), ParameterValue::Float(0.5))]]
            .concat()];
    for method in METHODS {
        let points = DrawnPoints::new(&axes, (&[], &include), method(0), Some(200)).unwrap();
        let batch = |point| points.value(point, "batch");
        let jobs = Jobs::new(Points::Drawn(points.clone()), 1, None);
        let alike = jobs.is_alike(2, |name| name == "rate").unwrap();
        for other in 2..=200 {
            assert_eq!(alike(other), batch(other) == batch(2), "{other}");
        }
        assert!(!alike(1) && !alike(201), "a point with other epochs, and none");
        let of_included = jobs.is_alike(1, |name| name == "rate").unwrap();
        assert!((2..=200).all(|other| !of_included(other)));
        let all_differ = jobs.is_alike(2, |_| true).unwrap();
        assert!((2..=200).all(&all_differ));
        // Trainings of other numbers have other seeds.
        let twice = Jobs::new(Points::Drawn(points), 2, None);
        let alike = twice.is_alike(3, |_| true).unwrap();
        assert!(alike(5) && !alike(4) && !alike(6));
    }
}

#[test]
fn the_first_points_never_change() {
    // Sweeps that are stored have these: others would be another sweep.
    let told: Vec<String> = METHODS
        .iter()
        .flat_map(|method| {
            let infinite = of(&[rate(), axis("a", 0..5)], method(42), Some(4)).unwrap();
            let finite = of(&finite(&[4, 5, 6]), method(42), Some(4)).unwrap();
            let even = of(&finite_evenly(), method(42), Some(4)).unwrap();
            [infinite, finite, even].into_iter().flat_map(|points| {
                (1..=4).map(move |point| {
                    let values = points.parameters(point).unwrap().0;
                    values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
                })
            })
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

fn finite_evenly() -> [Axis; 2] {
    [axis("a", 0..40), axis("b", 0..50)]
}

proptest! {
    #[test]
    fn a_finite_space_is_exhausted_without_a_repetition_or_an_excluded_point(
        sizes in prop::collection::vec(1i64..6, 1..4),
        patterns in prop::collection::vec(prop::collection::vec(prop::option::of(0i64..6), 3), 0..5),
        seed in any::<u64>(),
        cap in prop::option::of(1u64..60),
        is_conditional in any::<bool>(),
    ) {
        let names = ["a", "b", "c"];
        let mut axes = finite(&sizes);
        if is_conditional && axes.len() > 1 {
            axes[1].when = vec![Requirement { name: "a".into(), values: vec![ParameterValue::Integer(0)] }];
        }
        let patterns: Vec<PartialPoint> = patterns.iter().map(|pattern| {
            let named = pattern.iter().zip(names).take(axes.len());
            named.filter_map(|(value, name)| Some((name.into(), ParameterValue::Integer((*value)?)))).collect()
        }).collect();
        // The grid over the same values has all points that there are.
        let listed: Vec<Axis> = axes.iter().map(|axis| {
            let values = (0..axis.domain.cells().unwrap()).map(|place| axis.domain.at(place)).collect();
            Axis { domain: Domain::Values(values), ..axis.clone() }
        }).collect();
        let grid = Grid::new(&listed, &patterns, &[]);
        for method in METHODS {
            let points = DrawnPoints::new(&axes, (&patterns, &[]), method(seed), cap);
            match (&grid, points) {
                (Err(_), points) => prop_assert_eq!(points.unwrap_err(), PointsError::Grid(GridError::Empty)),
                (Ok(grid), points) => {
                    let points = points.unwrap();
                    prop_assert_eq!(points.count(), grid.job_count().min(cap.unwrap_or(u64::MAX)));
                    let found = all(&points);
                    let expected: HashSet<String> = (1..=grid.job_count())
                        .map(|job| format!("{:?}", grid.parameters(job).unwrap().0)).collect();
                    prop_assert!(found.iter().all(|point| expected.contains(point)));
                    prop_assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len());
                    // Each value is computed without the others as it is with them.
                    for point in 1..=points.count() {
                        let parameters = points.parameters(point).unwrap();
                        for axis in &axes {
                            let value = points.value(point, &axis.name);
                            prop_assert_eq!(value.as_ref(), parameters.get(&axis.name));
                        }
                    }
                }
            }
        }
    }
}
