//! Parameter values of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// A name.
    Text(String),
}

impl fmt::Display for ParameterValue {
    /// As people write it: `32`, `0.00005`, `relu`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
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
