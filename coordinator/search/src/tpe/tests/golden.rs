//! Densities, weights and the size of the good set as Optuna 5.0.0 computes them. `SWEEP_GOLDEN_DIR` names a folder with another
//! file `tpe_densities.json` of the same form.

use std::{
    collections::BTreeMap,
    env, fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::*;
use crate::tpe::{density::weight, normal, space::Scale};

/// The largest difference between logarithms of densities.
const DIFFERENCE_MAX: f64 = 1e-9;

fn golden() -> (PathBuf, Value) {
    let folder = env::var_os("SWEEP_GOLDEN_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")), PathBuf::from);
    let golden = fs::read_to_string(folder.join("tpe_densities.json")).unwrap();
    (folder, serde_json::from_str(&golden).unwrap())
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

/// For each numeric column, in which order a case's observations are sorted where they are equal: by row, the place. Optuna's sort is
/// not stable, so that its processor decides which of equal observations is the outermost.
fn places(folder: &Path, case: usize, names: &[&str], rows: usize) -> Option<Vec<Vec<u64>>> {
    let ties: Value = serde_json::from_str(&fs::read_to_string(folder.join("tpe_ties.json")).ok()?).unwrap();
    let places = |name: &&str| {
        let mut places: Vec<u64> = (0..rows as u64).collect();
        if let Some(order) = ties[case][*name].as_array() {
            for (place, row) in order.iter().enumerate() {
                places[row.as_u64().unwrap() as usize] = place as u64;
            }
        }
        places
    };
    Some(names.iter().map(places).collect())
}

/// The density of some observations, whose ties in each column are in the order of these numbers. After each comes one of a job that
/// does not count, as good jobs do not for the density of bad ones.
fn density(space: &Space, observed: &[Point], places: &[Vec<u64>]) -> Density {
    let mut density = Density::new(space);
    for (index, point) in observed.iter().enumerate() {
        let others = space.coordinates(&observed[observed.len() - 1 - index]);
        let own: Vec<u64> = places.iter().map(|places| 2 * places[index]).collect();
        density.push_placed(&own, &space.coordinates(point));
        density.push_placed(&vec![2 * index as u64 + 1; places.len()], &others);
    }
    let counting: Vec<usize> = (0..observed.len()).map(|row| 2 * row).collect();
    let all: Vec<usize> = (0..2 * observed.len()).collect();
    density.fit(&counting, &all, |_| panic!("each has a row"));
    density
}

fn has_ties(observed: &[Point], dimensions: &[Dimension]) -> bool {
    (0..dimensions.len()).any(|column| {
        let is_numeric = !matches!(dimensions[column].domain, Domain::Categorical { .. });
        let mut values: Vec<u64> = observed.iter().map(|point| point[column].unwrap().to_bits()).collect();
        values.sort_unstable();
        is_numeric && values.windows(2).any(|pair| pair[0] == pair[1])
    })
}

/// The least and the most that a kernel of an observation adds in a column, whatever the order of ties.
fn kernel_bounds(scale: &Scale, values: &[f64], own: f64, at: f64) -> (f64, f64) {
    let (low, high) = match *scale {
        Scale::Categorical { choices } => {
            let share = 1.0 / (values.len() as f64 + 1.0);
            let density = (share + f64::from(u8::from(own == at))) / (1.0 + f64::from(choices) * share);
            return (density, density);
        }
        Scale::Continuous { low, high, .. } => (low, high),
        Scale::Discrete(cells) => (cells.low, cells.high),
    };
    let before = values.iter().copied().filter(|value| *value < own).reduce(f64::max);
    let after = values.iter().copied().filter(|value| *value > own).reduce(f64::min);
    let gaps = [before.map(|before| own - before), after.map(|after| after - own)];
    let deviations = match values.iter().filter(|value| **value == own).count() {
        _ if values.len() == 1 => vec![(own - low).max(high - own)],
        1 => vec![gaps.into_iter().flatten().fold(0.0, f64::max)],
        _ => gaps.into_iter().flatten().chain([0.0]).collect(),
    };
    let narrowest = (high - low) / 100_f64.min(2.0 + values.len() as f64);
    let densities = deviations.into_iter().map(|deviation| {
        let deviation = deviation.max(narrowest).min(high - low);
        let mass =
            |from: f64, to: f64| normal::ln_mass((from - own) / deviation, (to - own) / deviation).exp();
        let density = match scale {
            Scale::Discrete(cells) => mass(cells.ends(at).0, cells.ends(at).1),
            _ => (-0.5 * ((at - own) / deviation).powi(2)).exp() / (deviation * std::f64::consts::TAU.sqrt()),
        };
        density / mass(low, high)
    });
    densities.fold((f64::INFINITY, 0.0), |(least, most), density| (least.min(density), most.max(density)))
}

/// The least and the most of the logarithm of the density at a point, whatever the order of ties.
fn bounds(space: &Space, observed: &[Point], point: &[f64]) -> RangeInclusive<f64> {
    let observed: Vec<Vec<f64>> = observed.iter().map(|point| space.coordinates(point)).collect();
    let mut none = Density::new(space);
    let prior = none.ln(&[point.to_vec()], &mut Scratch::default())[0].exp();
    let (mut least, mut most, mut total) = (prior, prior, 1.0);
    for (place, kernel) in observed.iter().enumerate() {
        let (mut low, mut high) = (weight(place, observed.len()), weight(place, observed.len()));
        total += low;
        for (column, scale) in space.scales.iter().enumerate() {
            let values: Vec<f64> = observed.iter().map(|other| other[column]).collect();
            let (least, most) = kernel_bounds(scale, &values, kernel[column], point[column]);
            (low, high) = (low * least, high * most);
        }
        (least, most) = (least + low, most + high);
    }
    (least / total).ln()..=(most / total).ln()
}

#[test]
fn densities_are_optunas() {
    let (folder, golden) = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    let (mut worst, mut tied): (f64, usize) = (0.0, 0);
    for (number, case) in cases.iter().enumerate() {
        let names: Vec<&str> =
            case["params"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let dimensions: Vec<Dimension> =
            names.iter().map(|name| dimension(&golden["spaces"][*name])).collect();
        let space = Space::new(&dimensions).unwrap();
        let observed = rows(&names, &case["observations"]);
        let places = places(&folder, number, &names, observed.len());
        let points: Vec<Vec<f64>> =
            rows(&names, &case["points"]).iter().map(|point| space.coordinates(point)).collect();
        if places.is_none() && has_ties(&observed, &dimensions) {
            for (point, expected) in points.iter().zip(numbers(&case["log_pdf"])) {
                let bounds = bounds(&space, &observed, point);
                let (least, most) = (bounds.start() - DIFFERENCE_MAX, bounds.end() + DIFFERENCE_MAX);
                assert!(least <= expected && expected <= most, "{names:?}: {expected} is not in {bounds:?}");
            }
            tied += 1;
            continue;
        }
        let stable = || vec![(0..observed.len() as u64).collect(); names.len()];
        let mut density = density(&space, &observed, &places.unwrap_or_else(stable));
        let found = density.ln(&points, &mut Scratch::default());
        for (found, expected) in found.into_iter().zip(numbers(&case["log_pdf"])) {
            let difference = (found - expected).abs();
            assert!(
                difference <= DIFFERENCE_MAX,
                "{names:?}, {} observations: {found} instead of {expected}",
                observed.len()
            );
            worst = worst.max(difference);
        }
    }
    println!("{} cases, largest difference {worst:e}", cases.len() - tied);
    println!("{tied} more have ties in an unknown order, and are within what all orders give");
}

#[test]
fn weights_and_the_size_of_the_good_set_are_optunas() {
    let (_, golden) = golden();
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
