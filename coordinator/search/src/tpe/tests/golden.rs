//! Densities, weights and the size of the good set as Optuna 5.0.0 computes them. `SWEEP_GOLDEN_DIR` names a folder with another
//! file `tpe_densities.json` of the same form.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use serde_json::Value;

use super::*;
use crate::tpe::density::weight;

/// The largest difference between logarithms of densities.
const DIFFERENCE_MAX: f64 = 1e-9;

fn golden() -> Value {
    let folder = env::var_os("SWEEP_GOLDEN_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")), PathBuf::from);
    serde_json::from_str(&fs::read_to_string(folder.join("tpe_densities.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn dimension(described: &Value) -> Dimension {
    let (low, high) = (&described["low"], &described["high"]);
    let log = described["log"].as_bool().unwrap_or(false);
    let domain = match described["type"].as_str().unwrap() {
        "FloatDistribution" => {
            let (low, high) = (low.as_f64().unwrap(), high.as_f64().unwrap());
            Domain::Float { low, high, log, step: described["step"].as_f64() }
        }
        "IntDistribution" => {
            let (low, high) = (low.as_i64().unwrap(), high.as_i64().unwrap());
            Domain::Integer { low, high, log, step: described["step"].as_i64().unwrap() }
        }
        _ => Domain::Categorical { choices: described["choices"].as_array().unwrap().len() as u32 },
    };
    Dimension { domain, when: Vec::new() }
}

/// The rows of columns by name.
fn rows(names: &[&str], columns: &Value) -> Vec<Point> {
    let columns: Vec<Vec<f64>> = names.iter().map(|name| numbers(&columns[*name])).collect();
    (0..columns[0].len()).map(|row| columns.iter().map(|column| Some(column[row])).collect()).collect()
}

#[test]
fn densities_are_optunas() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    let mut worst: f64 = 0.0;
    for case in cases {
        let names: Vec<&str> =
            case["params"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let dimensions: Vec<Dimension> =
            names.iter().map(|name| dimension(&golden["spaces"][*name])).collect();
        let space = Space::new(&dimensions).unwrap();
        let observed = rows(&names, &case["observations"]);
        let mut density = Density::new(&space);
        // Every second row is of a job that does not count, as are good jobs for the density of bad ones.
        for (index, point) in observed.iter().enumerate() {
            density.push(2 * index as u64, &space.coordinates(point));
            density.push(2 * index as u64 + 1, &space.coordinates(&observed[observed.len() - 1 - index]));
        }
        density.fit(&(0..observed.len()).map(|row| 2 * row).collect::<Vec<_>>());
        let points = rows(&names, &case["points"]);
        for (point, expected) in points.iter().zip(numbers(&case["log_pdf"])) {
            let found = density.ln(&space.coordinates(point), &mut Remaining::default());
            let difference = (found - expected).abs();
            assert!(
                difference <= DIFFERENCE_MAX,
                "{names:?}, {} observations, {point:?}: {found} instead of {expected}",
                observed.len()
            );
            worst = worst.max(difference);
        }
    }
    println!("{} cases, largest difference {worst:e}", cases.len());
}

#[test]
fn weights_and_the_size_of_the_good_set_are_optunas() {
    let golden = golden();
    let table = |key: &str| serde_json::from_value::<BTreeMap<usize, Value>>(golden[key].clone()).unwrap();
    for (ended, good) in table("gamma") {
        assert_eq!(good_count(ended) as u64, good.as_u64().unwrap(), "{ended} jobs");
    }
    for (count, expected) in table("weights") {
        for (place, expected) in numbers(&expected).into_iter().enumerate() {
            assert!((weight(place, count) - expected).abs() < 1e-14, "{place} of {count}");
        }
    }
}
