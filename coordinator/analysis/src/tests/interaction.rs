//! What parameters of a grid explain, each by itself and two together, compared with tables of variance made by hand.

use super::*;

/// Two rows and three columns. The mean is 4; the rows have 3 and 5, the columns 2, 5 and 5. Sums of squares: 6 for the rows, 12 for the
/// columns, 16 for their interaction, 34 in all.
const TABLE: [[f64; 3]; 2] = [[1.0, 2.0, 6.0], [3.0, 8.0, 4.0]];

fn crossed(shift: f64, thirds: &[f64]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (row, values) in (1..).zip(TABLE) {
        for (column, value) in (1..).zip(values) {
            for (number, third) in (1..).zip(thirds) {
                let mut parameters = vec![("row", whole(row)), ("column", whole(column))];
                if thirds.len() > 1 {
                    parameters.push(("third", whole(number)));
                }
                jobs.push((parameters, End::Done(Some(shift + value + third))));
            }
        }
    }
    jobs
}

fn largest(varying: &[&str], jobs: &[Job]) -> Interaction {
    analysis(varying, jobs).interactions.largest.unwrap()
}

fn none(varying: &[&str], jobs: &[Job]) -> Option<NoInteraction> {
    let interactions = analysis(varying, jobs).interactions;
    assert!(interactions.largest.is_none());
    interactions.none
}

#[test]
fn the_interaction_of_two_is_that_of_a_balanced_analysis_of_variance() {
    let found = largest(&["row", "column"], &crossed(0.0, &[0.0]));
    assert!((found.share - 16.0 / 34.0).abs() < 1e-12, "{found:?}");
    // The one with more values has the rows.
    assert_eq!((found.first.as_str(), found.second.as_str()), ("column", "row"));
    assert_eq!(
        (&found.rows, &found.columns),
        (&vec![whole(1), whole(2), whole(3)], &vec![whole(1), whole(2)])
    );
    let means: Vec<Vec<f64>> =
        found.cells.iter().map(|row| row.iter().map(|cell| cell.mean).collect()).collect();
    assert_eq!(means, [[1.0, 3.0], [2.0, 8.0], [6.0, 4.0]]);
    assert!(found.cells.iter().flatten().all(|cell| (cell.count, cell.trainings) == (1, 1)));
    assert!(found.cells[1][1].best && found.cells.iter().flatten().filter(|cell| cell.best).count() == 1);
}

#[test]
fn of_three_parameters_those_two_are_found_that_act_together() {
    // The third adds 3 or takes 3 away, whatever the others are: 108 more in squares, and nothing to any interaction.
    let found = largest(&["third", "row", "column"], &crossed(1e6, &[3.0, -3.0]));
    assert_eq!((found.first.as_str(), found.second.as_str()), ("column", "row"));
    assert!((found.share - 32.0 / 176.0).abs() < 1e-9, "{found:?}");
    assert!(found.cells.iter().flatten().all(|cell| cell.count == 2));
    assert!((found.cells[1][1].mean - 1e6 - 8.0).abs() < 1e-6);
}

#[test]
fn what_only_adds_up_has_no_interaction_however_it_is_rounded() {
    let job = |a: i64, b: i64| {
        (vec![("a", whole(a)), ("b", whole(b))], End::Done(Some(0.1 * a as f64 + 0.7 * b as f64)))
    };
    let jobs: Vec<Job> = (0..3).flat_map(|a| (0..3).map(move |b| job(a, b))).collect();
    assert_eq!(largest(&["a", "b"], &jobs).share, 0.0);
}

#[test]
fn chance_alone_gives_what_is_said_of_it() {
    // Values from a fixed generator, of which no parameter is a part; a thousand tables of each size.
    let mut state = 1_u64;
    let mut noise = || {
        // Knuth's linear congruential generator; sums of twelve come close to a normal distribution.
        let mut one = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..12).map(|_| one()).sum::<f64>()
    };
    for (size, said) in [(2, 1.0 / 3.0), (3, 0.5), (4, 0.6)] {
        let mut shares = 0.0;
        for _ in 0..1_000 {
            let job = |(a, b)| (vec![("a", whole(a)), ("b", whole(b))], End::Done(Some(noise())));
            let jobs: Vec<Job> = (0..size).flat_map(|a| (0..size).map(move |b| (a, b))).map(job).collect();
            let found = largest(&["a", "b"], &jobs);
            assert!((found.by_chance - said).abs() < 1e-12 && found.pairs == 1, "{found:?}");
            shares += found.share / 1_000.0;
        }
        assert!((shares - said).abs() < 0.03, "{size}: {shares}");
    }
}

#[test]
fn parameters_with_too_many_values_are_named() {
    let job = |(a, b, c): (i64, i64, i64)| {
        let value = (a * b) as f64 + c as f64 / 7.0;
        (vec![("a", whole(a)), ("b", whole(b)), ("c", text(&format!("c{c}")))], End::Done(Some(value)))
    };
    let jobs: Vec<Job> =
        (0..2).flat_map(|a| (0..2).flat_map(move |b| (0..21).map(move |c| (a, b, c)))).map(job).collect();
    let found = largest(&["a", "b", "c"], &jobs);
    assert_eq!((found.pairs, found.left_out.as_slice()), (1, ["c".to_owned()].as_slice()));
}

#[test]
fn what_cannot_be_said_has_its_reason() {
    let mut jobs = crossed(0.0, &[0.0]);
    let one: Vec<Job> = jobs.iter().map(|(parameters, end)| (vec![parameters[1].clone()], *end)).collect();
    assert_eq!(none(&["column"], &one), Some(NoInteraction::OneParameter));
    let equal: Vec<Job> =
        jobs.iter().map(|(parameters, _)| (parameters.clone(), End::Done(Some(0.5)))).collect();
    assert_eq!(none(&["row", "column"], &equal), Some(NoInteraction::AllEqual));
    // A cell whose only training diverged is missing.
    jobs[3].1 = End::Diverged;
    assert_eq!(none(&["row", "column"], &jobs), Some(NoInteraction::NoGrid));
    assert_eq!(none(&["row", "column"], &[]), Some(NoInteraction::OneParameter));
}

/// Calls with each order of these values, by Heap's algorithm.
fn each_order(values: &mut [f64], count: usize, call: &mut impl FnMut(&[f64])) {
    if count <= 1 {
        return call(values);
    }
    for place in 0..count {
        each_order(values, count - 1, call);
        values.swap(if count.is_multiple_of(2) { place } else { 0 }, count - 1);
    }
}

#[test]
fn over_all_orders_of_the_values_a_parameter_has_the_share_that_chance_is_said_to_give() {
    let (mut rows, mut columns, mut orders) = (0.0, 0.0, 0.0);
    each_order(&mut [1.0, 2.0, 6.0, 3.0, 8.0, 4.0], 6, &mut |values| {
        let job = |(place, value): (i64, &f64)| {
            (vec![("row", whole(place / 3)), ("column", whole(place % 3))], End::Done(Some(*value)))
        };
        let jobs: Vec<Job> = (0..).zip(values).map(job).collect();
        let items = analysis(&["row", "column"], &jobs).importance.items;
        assert_eq!((items[0].by_chance, items[1].by_chance), (Some(1.0 / 5.0), Some(2.0 / 5.0)));
        (rows, columns, orders) = (rows + items[0].share, columns + items[1].share, orders + 1.0);
    });
    assert_eq!(orders, 720.0);
    assert!((rows / orders - 0.2).abs() < 1e-12 && (columns / orders - 0.4).abs() < 1e-12);
}
