//! Dimensions that have a value only under conditions.

use super::*;

/// An optimiser, and two dimensions that only the second one has.
fn optimizers() -> [Dimension; 3] {
    let when = |dimension, values: &[f64]| vec![Condition { dimension, values: values.to_vec() }];
    [
        choices(2),
        Dimension { when: when(0, &[1.0]), ..float(0.0, 0.99) },
        Dimension { when: when(0, &[1.0]), ..integer(1, 5) },
    ]
}

#[test]
fn a_dimension_has_a_value_exactly_where_its_conditions_hold() {
    let mut tpe = searcher(&optimizers());
    let value = |point: &Point| point[1].map_or(0.5, |momentum| (momentum - 0.9).abs());
    let proposals = run(&mut tpe, 1..=80, value);
    for Proposal { point, .. } in &proposals {
        let has = point[0] == Some(1.0);
        assert_eq!((point[1].is_some(), point[2].is_some()), (has, has), "{point:?}");
    }
    let close = proposals[40..].iter().filter(|proposal| value(&proposal.point) < 0.1).count();
    assert!(close >= 15, "{close} of 40");
}

#[test]
fn the_mixture_is_a_density_of_the_points_with_conditions() {
    let space = Space::new(&optimizers()).unwrap();
    let mut density = Density::new(&space);
    let points =
        [[Some(0.0), None, None], [Some(1.0), Some(0.9), Some(2.0)], [Some(1.0), Some(0.1), Some(5.0)]];
    let coordinates = points.map(|point| space.coordinates(&point));
    density.fit(&[0, 1, 2], &[0, 1, 2], |job| (job as u64, &coordinates[job]));
    let mut scratch = Scratch::default();
    let mut at = |point: &[f64]| density.ln(&[point.to_vec()], &mut scratch)[0].exp();
    let mut total = at(&[0.0, f64::NAN, f64::NAN]);
    // The middle of each of many narrow strips.
    let strips = 2_000;
    for strip in 0..strips {
        let momentum = 0.99 * (f64::from(strip) + 0.5) / f64::from(strips);
        for count in 1..=5 {
            total += at(&[1.0, momentum, f64::from(count)]) * 0.99 / f64::from(strips);
        }
    }
    assert!((total - 1.0).abs() < 1e-6, "{total}");
}

#[test]
fn conditions_in_a_circle_or_on_nothing_are_refused() {
    let on = |dimension| Dimension { when: vec![Condition { dimension, values: vec![0.0] }], ..choices(2) };
    let refused = |dimensions: &[Dimension]| Tpe::new(dimensions, None, Goal::Minimize, 0).unwrap_err();
    assert_eq!(refused(&[on(1), on(0)]), SpaceError::Condition(0));
    assert_eq!(refused(&[choices(2), on(1)]), SpaceError::Condition(1));
    assert_eq!(refused(&[choices(2), on(7)]), SpaceError::Condition(1));
}

#[test]
fn a_condition_on_a_step_holds_for_the_value_as_it_is_written() {
    let tenths = Domain::Float { low: 0.1, high: 0.5, log: false, step: Some(0.1) };
    let dimensions = [
        Dimension { domain: tenths, when: Vec::new() },
        Dimension { when: vec![Condition { dimension: 0, values: vec![0.3] }], ..choices(2) },
    ];
    let mut tpe = searcher(&dimensions);
    assert_eq!(run(&mut tpe, 1..=20, |_| 0.0).len(), 6);
}
