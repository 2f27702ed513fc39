//! What the files of sweeps differ in, key by key.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{model::Sweep, recorded::SEPARATOR};

/// Most differences that are listed: no one reads more.
const LISTED_MAX: usize = 100;
/// Longest value, in characters: a list of values may have thousands.
const VALUE_CHARACTERS_MAX: usize = 200;
/// What workers found in a data set.
pub(super) const CONTENT_HASH: &str = "dataset (content hash)";
pub(super) const VALIDATION_IMAGES: &str = "dataset (validation images)";
pub(super) const VALIDATION: &str = "dataset (where the validation images come from)";
const SHARE: &str = "a share of the images";
/// Keys that say who a sweep is, and not how it was made.
const NAMES: [&str; 2] = ["name", "description"];

/// A key in which sweeps differ.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = FileDifference)]
pub struct Difference {
    /// Its place in the file, such as `parameters.learning_rate.values`.
    pub key: String,
    /// What each sweep has there, in their order; null where it has nothing.
    pub values: Vec<Option<String>>,
}

/// The keys in which sweeps differ, in order, and how many are not listed.
pub(super) fn differences(sweeps: &[&Sweep]) -> (Vec<Difference>, usize) {
    let mut keys: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (place, sweep) in sweeps.iter().enumerate() {
        for (key, value) in facts(sweep) {
            keys.entry(key).or_insert_with(|| vec![None; sweeps.len()])[place] = Some(value);
        }
    }
    let differ = |values: &[Option<String>]| values.iter().any(|value| *value != values[0]);
    let mut listed: Vec<Difference> = keys
        .into_iter()
        .filter(|(_, values)| differ(values))
        .map(|(key, values)| Difference {
            key,
            values: values.into_iter().map(|value| value.map(cut)).collect(),
        })
        .collect();
    let left_out = listed.len().saturating_sub(LISTED_MAX);
    listed.truncate(LISTED_MAX);
    (listed, left_out)
}

/// What a sweep's file and its data set come to.
fn facts(sweep: &Sweep) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (place, document) in sweep.specification.split(SEPARATOR).enumerate() {
        let within = if place == 0 { String::new() } else { format!("extension {place}.") };
        // Of a file that this version does not understand, the text.
        match serde_yaml::from_str::<Value>(document) {
            Ok(Value::Object(file)) => {
                let file = file.into_iter().filter(|(key, _)| !NAMES.contains(&key.as_str()));
                file.for_each(|(key, value)| flatten(format!("{within}{key}"), value, &mut facts));
            }
            _ => facts.push((format!("{within}specification"), document.to_owned())),
        }
    }
    if let Some(manifest) = &sweep.manifest {
        facts.push(("model (version)".to_owned(), manifest.version.to_string()));
    }
    // Programs read their data themselves.
    if let Some(dataset) = sweep.dataset.as_ref().filter(|dataset| !dataset.content_hash.is_empty()) {
        let found = [
            (CONTENT_HASH, dataset.content_hash.clone()),
            ("dataset (training images)", dataset.train_images.to_string()),
            (VALIDATION_IMAGES, dataset.val_images.to_string()),
            (
                VALIDATION,
                Some(&dataset.validation)
                    .filter(|from| !from.is_empty())
                    .map_or(SHARE, String::as_str)
                    .to_owned(),
            ),
        ];
        facts.extend(found.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    facts
}

fn flatten(key: String, value: Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(section) if !section.is_empty() => {
            section.into_iter().for_each(|(name, value)| flatten(format!("{key}.{name}"), value, facts));
        }
        Value::String(text) => facts.push((key, text)),
        value => facts.push((key, value.to_string())),
    }
}

fn cut(value: String) -> String {
    match value.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{} …", &value[..end]),
        None => value,
    }
}
