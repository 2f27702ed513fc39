//! `KEY=VALUE`, as `--set` has it: a small sweep file of its own, laid over the other one.

use super::{
    super::SpecificationError,
    axis::known_parameters,
    depth::{DEPTH_MAX, too_deep},
    raw::RawFile,
    suggestion::{suggestion, suggestion_for},
};
use crate::parameters::Model;

/// Most overrides of a file: several for each key that there is.
const OVERRIDES_MAX: usize = 1_000;
/// Longest key, in bytes, and most parts between its dots: `parameters.learning_rate.count` has three.
const KEY_BYTES_MAX: usize = 100;
const KEY_PARTS_MAX: usize = 4;
/// Keys whose value is text, whatever it looks like.
const TEXT_KEYS: [&str; 3] = ["name", "dataset.path", "dataset.val_path"];
/// Sections whose keys are searched for what a key without one meant.
const SECTIONS: [&str; 3] = ["execution", "dataset", "metric"];

/// All of `overrides`, in their order.
pub(super) fn read_overrides(overrides: &[String]) -> Result<Vec<RawFile>, SpecificationError> {
    let count = overrides.len();
    if count > OVERRIDES_MAX {
        let message = format!(
            "{count} values are set, more than the {OVERRIDES_MAX} that may be; edit the file instead"
        );
        return Err(SpecificationError::new(&message));
    }
    overrides.iter().map(|text| read(text)).collect()
}

/// A parameter's name stands for `parameters.NAME`, and dots descend.
fn read(text: &str) -> Result<RawFile, SpecificationError> {
    let refuse = |why: &str| SpecificationError::new(&format!("--set {text}: {why}"));
    let (key, value) = text.split_once('=').ok_or_else(|| refuse("expected KEY=VALUE, as in epochs=10"))?;
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if key.is_empty() || !key.chars().all(is_key) || value.contains(['\n', '\r']) {
        return Err(refuse(
            "expected KEY=VALUE on one line, with a key such as epochs or dataset.image_size",
        ));
    }
    if key.len() > KEY_BYTES_MAX || key.split('.').count() > KEY_PARTS_MAX {
        return Err(refuse(&format!(
            "expected a key of at most {KEY_PARTS_MAX} parts and {KEY_BYTES_MAX} characters, such as epochs or \
             dataset.image_size"
        )));
    }
    let yaml = document(key, value).map_err(|why| refuse(&why))?;
    serde_yaml::from_str(&yaml).map_err(|error| refuse(&explained(key, value, &error)))
}

/// The file that an override stands for.
fn document(key: &str, value: &str) -> Result<String, String> {
    if TEXT_KEYS.contains(&key) {
        return Ok(nested(key, &quoted(value)));
    }
    let value = value.trim();
    if value.starts_with('#') || value.contains(" #") || value.contains("\t#") {
        return Err(
            "what follows ` #` is a comment in YAML and would be left out; leave it out yourself".to_owned()
        );
    }
    let is_parameter = Model::ALL.iter().any(|model| model.parameter(key).is_some());
    let yaml = match value.chars().next() {
        _ if !is_parameter => nested(key, value),
        Some('[') => nested(&format!("parameters.{key}.values"), value),
        Some('{') => nested(&format!("parameters.{key}"), value),
        _ => nested(&format!("parameters.{key}.value"), value),
    };
    match too_deep(&yaml) {
        Some(_) => Err(format!("the value nests more than {DEPTH_MAX} levels deep")),
        None => Ok(yaml),
    }
}

/// What the parser says of an override, and what was perhaps meant.
fn explained(key: &str, value: &str, error: &serde_yaml::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    if !message.starts_with(&format!("unknown field `{key}`")) {
        return format!("{message}{}", suggestion_for(message));
    }
    let in_section = SECTIONS.iter().map(|section| format!("{section}.{key}"));
    let known = |dotted: &String| match serde_yaml::from_str::<RawFile>(&nested(dotted, value)) {
        Ok(_) => true,
        Err(error) => !error.to_string().contains("unknown field"),
    };
    let hint = in_section.into_iter().find(known).map_or_else(
        || {
            let parameters = Model::ALL.iter().flat_map(|model| model.parameters());
            let names =
                parameters.map(|definition| definition.name).chain(message.split('`').skip(3).step_by(2));
            suggestion(key, names)
        },
        |dotted| format!("; did you mean `{dotted}`?"),
    );
    format!("{message}, or one of the parameters {}{hint}", known_parameters())
}

/// A mapping for each part of the key, one in the other.
fn nested(key: &str, value: &str) -> String {
    let mut yaml = String::new();
    for (depth, part) in key.split('.').enumerate() {
        if depth > 0 {
            yaml.push('\n');
        }
        yaml.push_str(&"  ".repeat(depth));
        yaml.push_str(part);
        yaml.push(':');
    }
    yaml.push(' ');
    yaml.push_str(value);
    yaml
}

/// Text in double quotes, in which nothing means anything to YAML.
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
