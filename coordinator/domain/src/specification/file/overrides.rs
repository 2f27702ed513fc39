//! `KEY=VALUE`, as in `--set`: a small sweep file of its own, which overrides the other one.

use serde::de::DeserializeSeed;

use super::{
    super::SpecificationError,
    depth::{DEPTH_MAX, too_deep},
    known::Known,
    raw::{FileSection, RawFile},
    suggestion::{suggestion, suggestion_for},
};

/// Most overrides of a file: several for each key.
const OVERRIDES_MAX: usize = 1_000;
/// Longest key, in bytes, and most parts between its dots: `parameters.learning_rate.count` has three.
const KEY_BYTES_MAX: usize = 100;
const KEY_PARTS_MAX: usize = 4;
/// Keys whose value is text, whatever it looks like.
const TEXT_KEYS: [&str; 9] = [
    "name",
    "description",
    "program",
    "dataset.path",
    "dataset.val_path",
    "execution.epochs_parameter",
    "execution.snapshot",
    "metrics.csv",
    "metrics.pattern",
];
/// Likewise for all keys that begin like this.
const TEXT_KEYS_BEGIN: &str = "execution.env.";
/// Sections in which a key without a section is looked up, for a suggestion.
const SECTIONS: [&str; 6] = ["execution", "dataset", "metric", "metrics", "resources", "early_terminate"];

/// All of `overrides`, in order.
pub(super) fn read_overrides(
    (overrides, option): (&[String], &str),
    known: Known<'_>,
    draws: bool,
) -> Result<Vec<RawFile>, SpecificationError> {
    let count = overrides.len();
    if count > OVERRIDES_MAX {
        let message = format!(
            "there are {count} overrides, but at most {OVERRIDES_MAX} are allowed; edit the file instead"
        );
        return Err(SpecificationError::new(&message));
    }
    overrides.iter().map(|text| read((text, option), known, draws)).collect()
}

/// A parameter's name stands for `parameters.NAME`, and dots descend.
fn read((text, option): (&str, &str), known: Known<'_>, draws: bool) -> Result<RawFile, SpecificationError> {
    let refuse = |why: &str| SpecificationError::new(&format!("{option}{text}: {why}"));
    let (key, value) = text.split_once('=').ok_or_else(|| refuse("expected KEY=VALUE, as in epochs=10"))?;
    let key = key.trim();
    let is_key = |c: char| c.is_alphanumeric() || "_./@+:-".contains(c);
    if key.is_empty() || !key.chars().all(is_key) || value.contains(['\n', '\r']) {
        return Err(refuse(
            "expected KEY=VALUE on one line, with a key such as epochs or dataset.image_size",
        ));
    }
    let is_long = key.len() > KEY_BYTES_MAX || key.split('.').count() > KEY_PARTS_MAX;
    if is_long && !known.has(key) {
        return Err(refuse(&format!(
            "expected a key of at most {KEY_PARTS_MAX} parts and {KEY_BYTES_MAX} characters, such as epochs or \
             dataset.image_size"
        )));
    }
    let yaml = document(key, value, known).map_err(|why| refuse(&why))?;
    let read =
        |yaml: &str| FileSection::seed(known, draws).deserialize(serde_yaml::Deserializer::from_str(yaml));
    read(&yaml).map_err(|error| refuse(&explained(key, value, known, &error)))
}

fn parsed(yaml: &str, known: Known<'_>) -> Result<RawFile, serde_yaml::Error> {
    FileSection::seed(known, false).deserialize(serde_yaml::Deserializer::from_str(yaml))
}

/// The file that an override stands for.
fn document(key: &str, value: &str, known: Known<'_>) -> Result<String, String> {
    let is_parameter = known.has(key);
    if !is_parameter && (TEXT_KEYS.contains(&key) || key.starts_with(TEXT_KEYS_BEGIN)) {
        return Ok(nested(&key.split('.').collect::<Vec<_>>(), &quoted(value)));
    }
    let value = value.trim();
    if value.starts_with('#') || value.contains(" #") || value.contains("\t#") {
        return Err(
            "what follows ` #` is a comment in YAML and would be left out; leave it out yourself".to_owned()
        );
    }
    let yaml = match value.chars().next() {
        _ if !is_parameter => nested(&parts(key, known), value),
        Some('[') => nested(&["parameters", key, "values"], value),
        Some('{') => nested(&["parameters", key], value),
        _ => nested(&["parameters", key, "value"], value),
    };
    match too_deep(&yaml) {
        Some(_) => Err(format!("the value nests more than {DEPTH_MAX} levels deep")),
        None => Ok(yaml),
    }
}

/// What the parser says about an override, and what was perhaps meant.
fn explained(key: &str, value: &str, known: Known<'_>, error: &serde_yaml::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    if !message.starts_with(&format!("unknown field `{key}`")) {
        return format!("{message}{}", suggestion_for(message));
    }
    let is_there = |section: &&&str| match parsed(&nested(&[**section, key], value), known) {
        Ok(_) => true,
        Err(error) => !error.to_string().contains("unknown field"),
    };
    let hint = SECTIONS.iter().find(is_there).map_or_else(
        || suggestion(key, known.names().into_iter().chain(message.split('`').skip(3).step_by(2))),
        |section| format!("; did you mean `{section}.{key}`?"),
    );
    match known.names().join(", ") {
        names if names.is_empty() => format!("{message}{hint}"),
        names => format!("{message}, or one of the parameters {names}{hint}"),
    }
}

/// The parts of a key, in which a parameter's name from the file is one part, even with dots.
fn parts<'k>(key: &'k str, known: Known<'_>) -> Vec<&'k str> {
    let Some(rest) = key.strip_prefix("parameters.") else { return key.split('.').collect() };
    let names = known.names();
    let name = names.iter().filter(|name| rest == **name || rest.starts_with(&format!("{name}.")));
    let Some(length) = name.map(|name| name.len()).max() else { return key.split('.').collect() };
    let (name, below) = rest.split_at(length);
    ["parameters", name].into_iter().chain(below.split('.').filter(|part| !part.is_empty())).collect()
}

/// A mapping for each part of the key, each inside the one before.
fn nested(parts: &[&str], value: &str) -> String {
    let mut yaml = String::new();
    for (depth, part) in parts.iter().enumerate() {
        if depth > 0 {
            yaml.push('\n');
        }
        yaml.push_str(&"  ".repeat(depth));
        yaml.push_str(&quoted(part));
        yaml.push(':');
    }
    yaml.push(' ');
    yaml.push_str(value);
    yaml
}

/// Text in double quotes, in which nothing has a meaning in YAML.
fn quoted(text: &str) -> String {
    let mut yaml = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => yaml.extend(['\\', c]),
            ' '..='~' => yaml.push(c),
            _ => yaml.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    yaml.push('"');
    yaml
}
