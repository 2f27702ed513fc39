//! That draws lie within their range, have the shape of their distribution, and are the same on every machine.

use super::*;

/// Bits that are spread over their whole range, in no order.
fn bits(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn number(value: &ParameterValue) -> f64 {
    match value {
        ParameterValue::Integer(number) => *number as f64,
        ParameterValue::Float(number) => *number,
        other => panic!("{other:?} is no number"),
    }
}

fn drawn(domain: &Domain, count: u64) -> Vec<f64> {
    bits(count).map(|bits| number(&domain.at(domain.place(bits)))).collect()
}

/// The largest distance between the shares below the drawn numbers and those that a distribution has there.
fn distance(domain: &Domain, share_below: impl Fn(f64) -> f64) -> f64 {
    let mut found = drawn(domain, 20_000);
    found.sort_by(f64::total_cmp);
    let count = found.len() as f64;
    let off = |(index, value): (usize, &f64)| (share_below(*value) - (index as f64 + 0.5) / count).abs();
    found.iter().enumerate().map(off).fold(0.0, f64::max)
}

fn normal_share(value: f64) -> f64 {
    0.5 * libm::erfc(-value / std::f64::consts::SQRT_2)
}

#[test]
fn continuous_draws_have_the_shape_of_their_distribution() {
    let float = |low: f64, high: f64, is_log| Domain::Float { low, high, is_log, step: None };
    let normal = |is_log| Domain::Normal { mean: 2.0, deviation: 0.5, is_log, step: None };
    let of_normal = |value: f64| normal_share((value - 2.0) / 0.5);
    // Twenty thousand even draws are closer than 0.01, which Kolmogorov's test of random ones allows to 1.4.
    for (domain, share_below) in [
        (float(-3.0, 5.0, false), Box::new(|value: f64| (value + 3.0) / 8.0) as Box<dyn Fn(f64) -> f64>),
        (float(1e-5, 0.1, true), Box::new(|value: f64| (value / 1e-5).ln() / 1e4_f64.ln())),
        (normal(false), Box::new(of_normal)),
        (normal(true), Box::new(move |value: f64| of_normal(value.ln()))),
        (Domain::Beta { a: 1.0, b: 3.0, step: None }, Box::new(|value: f64| 1.0 - (1.0 - value).powi(3))),
        (Domain::Beta { a: 2.0, b: 1.0, step: None }, Box::new(|value: f64| value * value)),
    ] {
        assert!(distance(&domain, share_below) < 0.01, "{domain:?}");
    }
}

#[test]
fn draws_stay_in_their_range_with_its_ends_and_are_short_to_read() {
    for domain in [
        Domain::Float { low: 1e-5, high: 0.1, is_log: true, step: None },
        Domain::Float { low: 0.1, high: 0.1 + 1e-12, is_log: false, step: None },
        Domain::Float { low: -1e308, high: 1e308, is_log: false, step: None },
        Domain::Float { low: 0.0, high: 0.7, is_log: false, step: Some(0.1) },
        Domain::Float { low: 0.3, high: 100.0, is_log: true, step: Some(0.7) },
        Domain::Integer { low: -7, high: 12, is_log: false, step: 3 },
        Domain::Integer { low: 1, high: 1_000, is_log: true, step: 1 },
        Domain::Integer { low: i64::MIN, high: i64::MAX, is_log: false, step: 1 },
    ] {
        let (low, high) = match &domain {
            Domain::Float { low, high, .. } => (*low, *high),
            Domain::Integer { low, high, .. } => (*low as f64, *high as f64),
            _ => unreachable!(),
        };
        for value in drawn(&domain, 5_000) {
            assert!((low..=high).contains(&value), "{domain:?} {value}");
        }
        for end in [0, u64::MAX] {
            assert!((low..=high).contains(&number(&domain.at(domain.place(end)))), "{domain:?}");
        }
    }
    let rates = Domain::Float { low: 1e-5, high: 0.1, is_log: true, step: None };
    assert!(bits(1_000).all(|bits| format!("{:e}", number(&rates.at(bits))).len() <= "1.2345678e-5".len()));
    let close = Domain::Float { low: 0.1, high: 0.1 + 1e-12, is_log: false, step: None };
    let different: std::collections::HashSet<u64> =
        drawn(&close, 100).into_iter().map(f64::to_bits).collect();
    assert!(different.len() > 90, "{}", different.len());
}

#[test]
fn the_values_of_a_step_are_those_of_a_grid_and_equally_likely() {
    let tenths = Domain::Float { low: 0.0, high: 0.3, is_log: false, step: Some(0.1) };
    let all: Vec<f64> = (0..tenths.cells().unwrap()).map(|place| number(&tenths.at(place))).collect();
    assert_eq!(all, [0.0, 0.1, 0.2, 0.3]);
    let threes = Domain::Integer { low: 1, high: 12, is_log: false, step: 3 };
    let mut counts = std::collections::BTreeMap::new();
    drawn(&threes, 4_000).into_iter().for_each(|value| *counts.entry(value as i64).or_insert(0) += 1);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [1, 4, 7, 10]);
    assert!(counts.values().all(|count| (990..=1_010).contains(count)), "{counts:?}");
    for domain in [tenths, threes] {
        for place in 0..domain.cells().unwrap() {
            assert_eq!(domain.position(&domain.at(place)), Some(place));
        }
        assert_eq!(domain.position(&ParameterValue::Integer(5)), None);
    }
}

#[test]
fn probabilities_are_kept() {
    let values = ["a", "b", "c"].map(|text| ParameterValue::Text(text.to_owned()));
    let domain = Domain::Weighted(values.to_vec(), vec![0.5, 0.2, 0.3]);
    let mut counts = [0; 3];
    bits(10_000).for_each(|bits| counts[domain.place(bits) as usize] += 1);
    for (count, expected) in counts.into_iter().zip([5_000, 2_000, 3_000]) {
        assert!((expected - 20_i32..=expected + 20).contains(&count), "{counts:?}");
    }
}

#[test]
fn whole_numbers_on_the_logarithmic_scale_have_likely_ends() {
    let domain = Domain::Integer { low: 1, high: 8, is_log: true, step: 1 };
    let found = drawn(&domain, 20_000);
    let share = |value: f64| found.iter().filter(|found| **found == value).count() as f64 / 20_000.0;
    let expected = |value: f64| ((value + 0.5) / (value - 0.5)).ln() / 17_f64.ln();
    for value in 1..=8 {
        assert!((share(value.into()) - expected(value.into())).abs() < 0.005, "{value}");
    }
}

#[test]
fn steps_of_unbounded_distributions_are_multiples() {
    let step = Some(ParameterValue::Float(0.25));
    let domain = Domain::Normal { mean: 0.0, deviation: 1.0, is_log: false, step };
    assert!(drawn(&domain, 1_000).into_iter().all(|value| (value * 4.0).fract() == 0.0 && value.abs() < 9.0));
    let step = Some(ParameterValue::Integer(5));
    let domain = Domain::Normal { mean: 50.0, deviation: 10.0, is_log: false, step };
    assert!(
        bits(100).all(|bits| matches!(domain.at(bits), ParameterValue::Integer(value) if value % 5 == 0))
    );
}

#[test]
fn a_number_of_some_bits_never_changes() {
    // Sweeps that are stored have these: another result is another sweep.
    let rates = Domain::Float { low: 1e-5, high: 0.1, is_log: true, step: None };
    let bits = 0x0123_4567_89ab_cdef;
    let normal = Domain::Normal { mean: 0.0, deviation: 1.0, is_log: false, step: None };
    let beta = Domain::Beta { a: 2.0, b: 3.0, step: None };
    let even = Domain::Float { low: 0.0, high: 1.0, is_log: false, step: None };
    let told: Vec<String> =
        [&rates, &normal, &beta, &even].into_iter().map(|domain| domain.at(bits).to_string()).collect();
    insta::assert_snapshot!(told.join(" "));
}

#[test]
fn powers_of_ten_are_those_of_the_functions_that_are_the_same_everywhere() {
    // Sweeps that are stored were rounded with these.
    for (power, exact) in EXACT_POWERS.into_iter().enumerate() {
        assert_eq!(libm::pow(10.0, power as f64), exact);
    }
    let tiny = Domain::Float { low: 1e-15, high: 3e-15, is_log: false, step: None };
    let further = Domain::Float { low: 1e-16, high: 3e-16, is_log: false, step: None };
    let digits = |domain: &Domain| domain.at(u64::MAX / 3).to_string().len();
    assert!(digits(&tiny) < digits(&further), "powers beyond those are not exact: all digits are kept");
}
