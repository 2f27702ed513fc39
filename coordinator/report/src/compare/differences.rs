//! What the files of sweeps differ in, key by key.

use std::collections::{BTreeMap, BTreeSet};

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
/// Keys of a file that extended a sweep which count: all others are those of the sweep, or settings, of which the first file has the
/// current values.
const POINTS: [&str; 4] = ["parameters", "exclude", "include", "run_cap"];
/// What an extension says of a section that the first file has and it has not.
const LACKS: &str = "none";
/// The key under which the text of a file stands that is not understood.
const TEXT: &str = "specification";

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

/// What a sweep's file and its data set come to. Of the files that extended it, what their points have of their own.
fn facts(sweep: &Sweep) -> Vec<(String, String)> {
    let mut documents = sweep.specification.split(SEPARATOR).map(of_file);
    let mut facts = documents.next().unwrap_or_default();
    let own: BTreeMap<String, String> = facts.iter().cloned().collect();
    for (place, extension) in (1..).zip(documents) {
        let section = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
        let has = |key: &str| POINTS.contains(&section(key).as_str()) || key == TEXT;
        let sections: BTreeSet<String> = extension.iter().map(|(key, _)| section(key)).collect();
        let lacks = |name: &str| !sections.contains(name) && own.keys().any(|key| section(key) == name);
        let lacking = POINTS.iter().filter(|name| !sections.contains(TEXT) && lacks(name));
        let lacking = lacking.map(|name| ((*name).to_owned(), LACKS.to_owned()));
        let added = extension.iter().filter(|(key, value)| has(key) && own.get(key) != Some(value)).cloned();
        let added = added.chain(lacking.collect::<Vec<_>>());
        facts.extend(added.map(|(key, value)| (format!("extension {place}.{key}"), value)));
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

/// The keys of a file with their values; of one that this version does not understand, its text.
fn of_file(document: &str) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    match serde_yaml::from_str::<Value>(document) {
        Ok(Value::Object(file)) => {
            let file = file.into_iter().filter(|(key, _)| !NAMES.contains(&key.as_str()));
            file.for_each(|(key, value)| flatten(key, value, &mut facts));
        }
        _ => facts.push((TEXT.to_owned(), document.to_owned())),
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
