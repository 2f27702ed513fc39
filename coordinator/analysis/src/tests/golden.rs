//! Compared with SciPy and Optuna: `tests/golden/make.py` makes the values.

use std::sync::LazyLock;

use serde_json::Value;
use terms::{Goal, ParameterMap, ParameterValue};

use super::super::{
    End, Method, best_of,
    frame::Frame,
    grid::Grid,
    importance, ped_anova, points,
    statistics::{
        self, Interval, mean_of, newcombe, paired, student_p, student_t, t_interval, welch, wilson,
    },
};

static GOLDEN: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../tests/golden/golden.json")).unwrap());

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn list(name: &str) -> &'static Vec<Value> {
    GOLDEN[name].as_array().unwrap()
}

#[track_caller]
fn close(found: f64, expected: f64, what: &Value) {
    let distance = (found - expected).abs();
    assert!(distance <= 1e-9 * expected.abs().max(1e-3), "{found} is not {expected}: {what}");
}

#[track_caller]
fn same(found: Interval, expected: &Value, what: &Value) {
    close(found.low, number(&expected[0]), what);
    close(found.high, number(&expected[1]), what);
}

#[test]
fn students_distribution_is_scipys() {
    for case in list("quantiles") {
        close(student_t(number(&case[0])), number(&case[1]), case);
    }
    for case in list("tails") {
        close(student_p(number(&case[0]), number(&case[1])), number(&case[2]), case);
    }
}

#[test]
fn tests_and_intervals_are_scipys() {
    for case in list("welch") {
        let compared = welch(&mean_of(numbers(&case["one"])), &mean_of(numbers(&case["other"]))).unwrap();
        close(compared.p, number(&case["p"]), case);
        close(compared.freedom, number(&case["freedom"]), case);
        same(compared.interval, &case["interval"], case);
    }
    for case in list("paired") {
        let compared = paired(&mean_of(numbers(&case["differences"])), 1.0).unwrap();
        close(compared.p, number(&case["p"]), case);
        same(compared.interval, &case["interval"], case);
    }
    for case in list("means") {
        let mean = mean_of(numbers(&case["values"]));
        close(mean.deviation().unwrap(), number(&case["deviation"]), case);
        same(t_interval(&mean).unwrap(), &case["interval"], case);
    }
}

#[test]
fn intervals_of_shares_are_wilsons_and_newcombes() {
    for case in list("wilson") {
        same(wilson(number(&case[0]), case[1].as_u64().unwrap()), &case[2], case);
    }
    for case in list("newcombe") {
        let count = case[2].as_u64().unwrap();
        same(newcombe(number(&case[0]), number(&case[1]), count), &case[3], case);
    }
}

#[test]
fn the_expected_best_is_the_mean_over_all_choices() {
    let golden = &GOLDEN["best_of"];
    for (name, goal) in [("maximize", Goal::Maximize), ("minimize", Goal::Minimize)] {
        let found = best_of::expected(numbers(&golden["values"]), goal);
        let expected = golden[name].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.jobs, expected[0].as_u64().unwrap());
            close(found.expected, number(&expected[1]), expected);
        }
    }
}

#[test]
fn shares_of_a_grid_are_those_of_sums_over_its_cells() {
    let golden = &GOLDEN["grid"];
    let sizes: Vec<i64> =
        golden["sizes"].as_array().unwrap().iter().map(|size| size.as_i64().unwrap()).collect();
    let names = ["a", "b", "c"].map(str::to_owned);
    let mut collector = super::collector(Goal::Maximize, &names, 0, 24);
    for (place, value) in (0..).zip(numbers(&golden["values"])) {
        let codes = [place / (sizes[1] * sizes[2]), place / sizes[2] % sizes[1], place % sizes[2]];
        let parameters = names.iter().cloned().zip(codes.map(ParameterValue::Integer)).collect();
        collector.job(place as u64 + 1, &ParameterMap(parameters), End::Done(Some(value)));
    }
    let frame = Frame::new(collector);
    let points = points::points(&frame);
    let varying: Vec<_> = frame.parameters.iter().collect();
    let shares = Grid::of(&frame, &points, &varying).unwrap().shares(&frame.values).unwrap();
    for (found, expected) in shares.iter().zip(numbers(&golden["shares"])) {
        close(*found, expected, golden);
    }
}

#[test]
fn importances_of_a_search_are_optunas() {
    for case in list("ped_anova") {
        let names: Vec<String> =
            case["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        let goal = if case["maximize"].as_bool().unwrap() { Goal::Maximize } else { Goal::Minimize };
        let rows = case["rows"].as_array().unwrap();
        let mut collector = super::collector(goal, &names, 0, rows.len() as u64);
        for (job, row) in (1..).zip(rows) {
            let given = names.iter().zip(row[0].as_array().unwrap()).filter(|(_, value)| !value.is_null());
            let value = |value: &Value| match value {
                Value::String(text) => ParameterValue::Text(text.clone()),
                other => other
                    .as_i64()
                    .map_or_else(|| ParameterValue::Float(number(other)), ParameterValue::Integer),
            };
            let parameters = given.map(|(name, given)| (name.clone(), value(given))).collect();
            collector.job(job, &ParameterMap(parameters), End::Done(Some(number(&row[1]))));
        }
        close(ped_anova::quantile(rows.len()), number(&case["quantile"]), &case["quantile"]);
        let frame = Frame::new(collector);
        let found = importance::importance(&frame, &points::points(&frame), goal);
        assert_eq!(found.method, Method::PedAnova);
        for (found, expected) in found.items.iter().zip(numbers(&case["shares"])) {
            assert!((found.share - expected).abs() < 1e-9, "{found:?} is not {expected}");
            assert!(found.interval.unwrap().high >= found.interval.unwrap().low);
        }
    }
}

#[test]
fn percentiles_are_numpys() {
    let interval = statistics::percentiles((0..=40).rev().map(f64::from).collect()).unwrap();
    assert_eq!((interval.low, interval.high), (1.0, 39.0));
    assert_eq!(statistics::percentiles(Vec::new()), None);
}
