//! Parameter values of a job, and their wire form.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::v1::{self, parameter_value::Kind};

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

impl From<ParameterValue> for v1::ParameterValue {
    fn from(value: ParameterValue) -> Self {
        let kind = match value {
            ParameterValue::Integer(value) => Kind::Integer(value),
            ParameterValue::Float(value) => Kind::Float(value),
            ParameterValue::Text(value) => Kind::Text(value),
        };
        Self { kind: Some(kind) }
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

    /// The wire form.
    pub fn to_wire(&self) -> Vec<v1::Parameter> {
        let parameter = |(name, value): &(String, ParameterValue)| v1::Parameter {
            name: name.clone(),
            value: Some(value.clone().into()),
        };
        self.0.iter().map(parameter).collect()
    }

    /// [`Self::to_wire`] of a map that is not needed any more.
    pub fn into_wire(self) -> Vec<v1::Parameter> {
        let parameter =
            |(name, value): (String, ParameterValue)| v1::Parameter { name, value: Some(value.into()) };
        self.0.into_iter().map(parameter).collect()
    }

    /// From the wire; parameters without a value are left out.
    pub fn from_wire(wire: Vec<v1::Parameter>) -> Self {
        let value = |kind| match kind {
            Kind::Integer(value) => ParameterValue::Integer(value),
            Kind::Float(value) => ParameterValue::Float(value),
            Kind::Text(value) => ParameterValue::Text(value),
        };
        let pair = |parameter: v1::Parameter| Some((parameter.name, value(parameter.value?.kind?)));
        Self(wire.into_iter().filter_map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_the_wire_in_order() {
        let parameters = ParameterMap(vec![
            ("activation".into(), ParameterValue::Text("relu".into())),
            ("learning_rate".into(), ParameterValue::Float(0.00005)),
            ("batch_size".into(), ParameterValue::Integer(32)),
        ]);
        assert_eq!(ParameterMap::from_wire(parameters.to_wire()), parameters);
        assert_eq!(parameters.positive_integer("batch_size"), Some(32));
        assert_eq!(parameters.get("learning_rate").map(ToString::to_string).as_deref(), Some("0.00005"));
    }
}
