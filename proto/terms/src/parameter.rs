//! Parameter values of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::shortest;

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// Nothing: Python's `None`.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// Text, such as a name.
    Text(String),
}

impl ParameterValue {
    /// A whole number, also one written as a decimal, such as `32.0` or `1e2`. Beyond 2^53 a decimal may differ from
    /// what was written, and is not accepted.
    pub fn whole(&self) -> Option<i64> {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Integer(number) => Some(*number),
            #[allow(clippy::cast_possible_truncation)]
            Self::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => Some(*number as i64),
            _ => None,
        }
    }

    /// The value as written in a file, with what distinguishes it from values that look alike.
    pub fn written(&self) -> String {
        match self {
            Self::Null | Self::Boolean(_) | Self::Integer(_) => format!("`{self}`"),
            Self::Float(number) => format!("`{number:?}`"),
            Self::Text(text) if looks_like_another(text) => format!("`\"{text}\"` (text)"),
            Self::Text(text) => format!("`{text}`"),
        }
    }
}

fn looks_like_another(text: &str) -> bool {
    text.parse::<f64>().is_ok() || ["true", "false", "null"].contains(&text)
}

impl fmt::Display for ParameterValue {
    /// As people write it: `32`, `0.00005`, `3e-9`, `relu`, `true`, `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => f.write_str(&shortest(*value)),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// A job's parameters in the model's order: name and value, each name once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParameterMap(pub Vec<(String, ParameterValue)>);

impl ParameterMap {
    /// The value of the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&ParameterValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A parameter that must be a positive whole number, such as `epochs`.
    pub fn positive_integer(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(ParameterValue::Integer(value)) => u64::try_from(*value).ok().filter(|value| *value > 0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_number_or_a_word_is_distinguished_from_it() {
        for (value, written) in [
            (ParameterValue::Text("32".into()), "`\"32\"` (text)"),
            (ParameterValue::Text("true".into()), "`\"true\"` (text)"),
            (ParameterValue::Boolean(true), "`true`"),
            (ParameterValue::Null, "`null`"),
            (ParameterValue::Float(1e16), "`1e16`"),
        ] {
            assert_eq!(value.written(), written);
        }
    }

    #[test]
    fn values_are_found_by_name_and_written_as_people_write_them() {
        let parameters = ParameterMap(vec![
            ("activation".into(), ParameterValue::Text("relu".into())),
            ("learning_rate".into(), ParameterValue::Float(0.00005)),
            ("batch_size".into(), ParameterValue::Integer(32)),
        ]);
        assert_eq!(parameters.positive_integer("batch_size"), Some(32));
        assert_eq!(parameters.get("learning_rate").map(ToString::to_string).as_deref(), Some("0.00005"));
    }
}
