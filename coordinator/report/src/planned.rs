//! How many trainings each configuration is planned to have: which of them are complete, for whoever ranks them by [`terms::Standing`].

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};

use super::recorded::SEPARATOR;

/// What a sweep file says of its points.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    method: Option<String>,
    parameters: HashMap<String, Parameter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameter {
    values: Vec<IgnoredAny>,
}

/// How many trainings each configuration of a sweep is planned to have, at least 1: `repeats` where that is more than one; in a grid as many
/// as the file with which the sweep began lists seeds. A search draws seeds like anything else, and a searcher outside may take a point as
/// often as it likes, so that one training is all that each configuration has to have.
///
/// What an extension adds does not count: its seeds are often those of a few configurations alone.
pub fn planned_trainings(repeats: u32, specification: &str, seed: Option<&str>) -> u64 {
    if repeats > 1 {
        return repeats.into();
    }
    let first = specification.split(SEPARATOR).next().unwrap_or_default();
    // One that this version does not understand plans nothing.
    let said: Said = serde_yaml::from_str(first).unwrap_or_default();
    let is_grid = said.method.is_none_or(|method| method == "grid");
    let seeds = seed.filter(|_| is_grid).and_then(|seed| said.parameters.get(seed));
    seeds.map_or(1, |seeds| seeds.values.len().max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_as_many_trainings_as_repeats_or_the_seeds_of_a_grid_say() {
        let file = |method: &str| {
            format!(
                "name: a\n{method}parameters:\n  lr:\n    values: [1, 2]\n  seed:\n    values: [1, 2, 3]\n  depth:\n    value: 4\n"
            )
        };
        let of = |repeats, method: &str| planned_trainings(repeats, &file(method), Some("seed"));
        assert_eq!((of(1, ""), of(1, "method: grid\n"), of(5, "")), (3, 3, 5));
        for method in ["random", "sobol", "tpe", "external"] {
            assert_eq!(of(1, &format!("method: {method}\n")), 1, "{method}");
            assert_eq!(of(4, &format!("method: {method}\n")), 4, "{method}");
        }
        let extended = format!("{}\n---\n{}", file(""), file("").replace("[1, 2, 3]", "[4, 5, 6, 7]"));
        assert_eq!(planned_trainings(1, &extended, Some("seed")), 3);
        for seed in [None, Some("depth"), Some("none")] {
            assert_eq!(planned_trainings(1, &file(""), seed), 1, "{seed:?}");
        }
        for other in ["", "- 1", "parameters: 3", "a: b: c"] {
            assert_eq!(planned_trainings(1, other, Some("seed")), 1, "{other}");
        }
    }
}
