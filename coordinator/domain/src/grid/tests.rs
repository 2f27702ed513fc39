//! What the points of a grid are, in which order, and what is left out.

use proptest::prelude::*;
use terms::ParameterMap;

use super::*;
use crate::{
    points::{Jobs, Points},
    space::Requirement,
};

fn axis(name: &str, values: std::ops::Range<i64>) -> Axis {
    Axis::listed(name, values.map(ParameterValue::Integer).collect())
}

fn point(pairs: &[(&str, i64)]) -> PartialPoint {
    pairs.iter().map(|&(name, value)| (name.into(), ParameterValue::Integer(value))).collect()
}

fn all(grid: &Grid) -> Vec<Vec<String>> {
    let text = |job| grid.parameters(job).unwrap().0.iter().map(|(_, value)| value.to_string()).collect();
    (1..=grid.job_count()).map(text).collect()
}

#[test]
fn the_last_axis_varies_fastest_and_jobs_count_from_one() {
    let grid = Grid::new(&[axis("a", 0..2), axis("b", 0..3)], &[], &[]).unwrap();
    assert_eq!(all(&grid), [["0", "0"], ["0", "1"], ["0", "2"], ["1", "0"], ["1", "1"], ["1", "2"]]);
    assert!(grid.parameters(0).is_none());
    assert!(grid.parameters(7).is_none());
}

#[test]
fn an_exclusion_leaves_out_every_point_that_it_matches() {
    let axes = [axis("a", 0..2), axis("b", 0..3)];
    let grid = Grid::new(&axes, &[point(&[("a", 0)]), point(&[("b", 2)]), point(&[("b", 9)])], &[]).unwrap();
    assert_eq!(all(&grid), [["1", "0"], ["1", "1"]]);
}

#[test]
fn included_points_follow_once_and_take_constants() {
    let axes = [axis("a", 0..2), axis("b", 5..6)];
    let include = [point(&[("a", 1)]), point(&[("a", 7)]), point(&[("a", 7)]), point(&[("a", 0)])];
    let grid = Grid::new(&axes, &[point(&[("a", 0)])], &include).unwrap();
    assert_eq!(all(&grid), [["1", "5"], ["7", "5"], ["0", "5"]]);
}

#[test]
fn a_grid_has_bounds() {
    let large = [axis("a", 0..10_000), axis("b", 0..1_001)];
    assert_eq!(Grid::new(&large, &[], &[]).unwrap_err(), GridError::TooManyPoints { points: 10_010_000 });
    let none = Grid::new(&[axis("a", 0..2)], &[point(&[])], &[]);
    assert_eq!(none.unwrap_err(), GridError::Empty);
}

#[test]
fn mates_differ_only_where_they_may_and_come_by_number_from_the_job_on() {
    let axes = [axis("a", 0..2), axis("b", 0..3), axis("c", 0..2)];
    let whole = Grid::new(&axes, &[], &[point(&[("a", 7)])]).unwrap();
    let similar = |grid: &Grid, job, free: &[&str]| {
        grid.differing_only_in(job, |name| free.contains(&name), 99).collect::<Vec<_>>()
    };
    // Job 6 is a=0, b=2, c=1.
    assert_eq!(similar(&whole, 6, &["a", "b"]), [8, 10, 12, 2, 4]);
    let few: Vec<_> = whole.differing_only_in(6, |name| name != "c", 4).collect();
    assert_eq!(few, [8, 10, 12, 2]);
    assert_eq!(similar(&whole, 6, &["c"]), [5]);
    assert!(similar(&whole, 6, &[]).is_empty());
    assert!(similar(&whole, 13, &["a", "b"]).is_empty(), "an included point");
    assert!(similar(&whole, 14, &["a", "b"]).is_empty() && similar(&whole, 0, &["a"]).is_empty());
    // Without a=0, b=1 and without a=1, b=0: jobs 1, 2 | 3, 4 | 5, 6 | 7, 8.
    let exclude = [point(&[("a", 0), ("b", 1)]), point(&[("a", 1), ("b", 0)])];
    let some = Grid::new(&axes, &exclude, &[]).unwrap();
    assert_eq!(similar(&some, 3, &["a", "b"]), [5, 7, 1]);
}

/// `axis`, which has a value only where `on` has one of `values`.
fn conditional(axis: Axis, on: &str, values: &[i64]) -> Axis {
    let values = values.iter().copied().map(ParameterValue::Integer).collect();
    Axis { when: vec![Requirement { name: on.into(), values }], ..axis }
}

#[test]
fn a_parameter_whose_condition_does_not_hold_makes_no_points() {
    let axes = [axis("momentum", 0..3), axis("optimizer", 0..2)];
    let [momentum, optimizer] = axes;
    let axes = [conditional(momentum, "optimizer", &[1]), optimizer];
    let grid = Grid::new(&axes, &[], &[]).unwrap();
    assert_eq!(all(&grid), [vec!["0"], vec!["0", "1"], vec!["1", "1"], vec!["2", "1"]]);
    assert_eq!(grid.value(1, "momentum"), None);
    assert_eq!(grid.value(1, "optimizer"), Some(&ParameterValue::Integer(0)));
    assert_eq!(grid.value(4, "momentum"), Some(&ParameterValue::Integer(2)));
    // What names a parameter without a value matches nothing.
    let some = Grid::new(&axes, &[point(&[("momentum", 0)])], &[]).unwrap();
    assert_eq!(all(&some), [vec!["0"], vec!["1", "1"], vec!["2", "1"]]);
    let more = Grid::new(&axes, &[], &[point(&[("optimizer", 7)]), point(&[("optimizer", 0)])]).unwrap();
    assert_eq!(all(&more)[4..], [vec!["7"]]);
}

#[test]
fn a_point_without_some_values_is_known_again() {
    let axes = |momenta| [conditional(axis("momentum", momenta), "optimizer", &[1]), axis("optimizer", 0..2)];
    let mut known = KnownPoints::default();
    let jobs = Jobs::new(Points::Grid(Grid::new(&axes(0..2), &[], &[]).unwrap()), 1, None);
    known.add(&std::sync::Arc::new(jobs));
    let mut more = Grid::new(&axes(1..4), &[], &[]).unwrap();
    more.leave_out(&known);
    assert_eq!(all(&more), [["2", "1"], ["3", "1"]]);
}

proptest! {
    #[test]
    fn conditions_are_what_a_filter_would_do(
        sizes in prop::collection::vec(1i64..5, 3),
        on_first in prop::option::of(prop::collection::vec(0i64..5, 1..3)),
        on_second in prop::option::of(prop::collection::vec(0i64..5, 1..3)),
        patterns in prop::collection::vec(prop::collection::vec(prop::option::of(0i64..5), 3), 0..4),
    ) {
        let names = ["a", "b", "c"];
        let mut axes: Vec<Axis> = sizes.iter().zip(names).map(|(&size, name)| axis(name, 0..size)).collect();
        // The last one depends on the second, which depends on the first.
        for (position, on) in [(1, &on_first), (2, &on_second)] {
            if let Some(values) = on {
                axes[position] = conditional(axes[position].clone(), names[position - 1], values);
            }
        }
        let plain: Vec<Axis> = axes.iter().map(|axis| Axis { when: Vec::new(), ..axis.clone() }).collect();
        let patterns: Vec<PartialPoint> = patterns.iter().map(|pattern| {
            let named = pattern.iter().zip(names);
            named.filter_map(|(value, name)| Some((name.into(), ParameterValue::Integer((*value)?)))).collect()
        }).collect();
        let whole = Grid::new(&plain, &[], &[]).unwrap();
        let mut expected: Vec<ParameterMap> = Vec::new();
        for job in 1..=whole.job_count() {
            let mut point = whole.parameters(job).unwrap();
            for axis in &axes {
                let holds = axis.when.iter().all(|need| point.get(&need.name).is_some_and(|value| need.values.contains(value)));
                point.0.retain(|(name, _)| holds || **name != *axis.name);
            }
            let matches = |pattern: &PartialPoint| {
                pattern.iter().all(|(name, value)| point.get(name) == Some(value))
            };
            if !expected.contains(&point) && !patterns.iter().any(matches) {
                expected.push(point);
            }
        }
        match Grid::new(&axes, &patterns, &[]) {
            Err(error) => { prop_assert_eq!(error, GridError::Empty); prop_assert!(expected.is_empty()); }
            Ok(grid) => {
                let jobs: Vec<_> = (1..=grid.job_count()).map(|job| grid.parameters(job).unwrap()).collect();
                prop_assert_eq!(&jobs, &expected);
                for (number, point) in (1..).zip(&jobs) {
                    for name in names {
                        prop_assert_eq!(grid.value(number, name), point.get(name));
                    }
                    let values: Point = names.iter().map(|name| point.get(name).cloned()).collect();
                    prop_assert!(grid.holds(&values));
                }
            }
        }
    }

    #[test]
    fn mates_are_what_a_filter_would_find(
        sizes in prop::collection::vec(1i64..6, 3),
        excluded in prop::collection::vec((0i64..6, 0i64..6), 0..4),
        free in prop::collection::vec(any::<bool>(), 3),
    ) {
        let names = ["a", "b", "c"];
        let axes: Vec<Axis> = sizes.iter().zip(names).map(|(&size, name)| axis(name, 0..size)).collect();
        let patterns: Vec<_> = excluded.iter().map(|&(a, b)| point(&[("a", a), ("b", b)])).collect();
        let Ok(grid) = Grid::new(&axes, &patterns, &[]) else { return Ok(()) };
        let may_differ = |name: &str| free[names.iter().position(|known| *known == name).unwrap()];
        let jobs: Vec<_> = (1..=grid.job_count()).map(|job| grid.parameters(job).unwrap()).collect();
        for (index, own) in jobs.iter().enumerate() {
            let alike = |other: &&(u64, &ParameterMap)| {
                other.0 != index as u64 + 1
                    && own.0.iter().zip(&other.1.0).all(|(one, two)| one == two || may_differ(&one.0))
            };
            let numbered: Vec<_> = (1..).zip(&jobs).collect();
            let expected: Vec<u64> = numbered.iter().filter(alike).map(|(job, _)| *job).collect();
            let mut found: Vec<_> = grid.differing_only_in(index as u64 + 1, may_differ, u64::MAX).collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            let numbers = 0..=jobs.len() as u64 + 1;
            let asked: Vec<u64> = numbers.filter(|other| grid.is_alike(index as u64 + 1, may_differ)(*other)).collect();
            prop_assert_eq!(asked, expected);
        }
    }

    #[test]
    fn exclusion_is_what_a_filter_would_do(
        sizes in prop::collection::vec(1i64..9, 1..4),
        patterns in prop::collection::vec(prop::collection::vec(prop::option::of(0i64..9), 3), 0..6),
    ) {
        let names = ["a", "b", "c"];
        let axes: Vec<Axis> = sizes.iter().zip(names).map(|(&size, name)| axis(name, 0..size)).collect();
        let patterns: Vec<PartialPoint> = patterns.iter().map(|pattern| {
            let named = pattern.iter().zip(names).take(axes.len());
            named.filter_map(|(value, name)| Some((name.into(), ParameterValue::Integer((*value)?)))).collect()
        }).collect();
        let whole = Grid::new(&axes, &[], &[]).unwrap();
        let expected: Vec<ParameterMap> = (1..=whole.job_count()).map(|job| whole.parameters(job).unwrap())
            .filter(|point| !patterns.iter().any(|pattern| {
                pattern.iter().all(|(name, value)| point.get(name) == Some(value))
            })).collect();
        match Grid::new(&axes, &patterns, &[]) {
            Err(error) => { prop_assert_eq!(error, GridError::Empty); prop_assert!(expected.is_empty()); }
            Ok(grid) => {
                let jobs: Vec<_> = (1..=grid.job_count()).map(|job| grid.parameters(job).unwrap()).collect();
                for (number, point) in (1..).zip(&jobs) {
                    for (name, value) in &point.0 {
                        prop_assert_eq!(grid.value(number, name), Some(value));
                    }
                }
                prop_assert_eq!(jobs, expected);
            }
        }
    }
}
