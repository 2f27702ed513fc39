//! The section `parameters`: each parameter with one value, a list of values, or a range.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use terms::ParameterValue;

use super::{
    super::VALUES_MAX,
    checked::Checked,
    range::{Scale, range},
    suggestion::suggestion,
};
use crate::parameters::{Model, ParameterDefinition, whole};

/// The values of the parameters that a file names, checked, without duplicates.
#[derive(Debug, Default)]
pub(super) struct RawParameters(pub(super) BTreeMap<&'static str, Vec<ParameterValue>>);

/// The definition of the parameter `name`, or which there are. There is one model; with more, the file's
/// `model` must be read before its `parameters`.
pub(super) fn definition<E: Error>(name: &str) -> Result<&'static ParameterDefinition, E> {
    Model::SimpleCnn.parameter(name).ok_or_else(|| {
        let names = Model::SimpleCnn.parameters().iter().map(|definition| definition.name);
        let hint = suggestion(name, names);
        E::custom(format!("unknown parameter `{name}`, expected one of {}{hint}", known_parameters()))
    })
}

/// The names of the parameters that there are, for people.
pub(super) fn known_parameters() -> String {
    let names: Vec<_> = Model::SimpleCnn.parameters().iter().map(|definition| definition.name).collect();
    names.join(", ")
}

impl<'de> Deserialize<'de> for RawParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = RawParameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters by name, as in `learning_rate: {values: [0.01, 0.001]}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawParameters, A::Error> {
        let mut parameters = BTreeMap::new();
        while let Some(name) = map.next_key_seed(ParameterName)? {
            let values = map.next_value_seed(AxisSeed(name))?;
            if parameters.insert(name.name, values).is_some() {
                return Err(A::Error::custom(format!("the parameter `{}` stands twice", name.name)));
            }
        }
        Ok(RawParameters(parameters))
    }
}

/// Reads a key that must be a parameter's name, so that an unknown one is told with its own line.
pub(super) struct ParameterName;

impl<'de> DeserializeSeed<'de> for ParameterName {
    type Value = &'static ParameterDefinition;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ParameterName {
    type Value = &'static ParameterDefinition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        definition(name)
    }
}

/// Reads one value of a parameter, in the parameter's own type.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed(pub(super) &'static ParameterDefinition);

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = ParameterValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ParameterValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for ValueSeed {
    type Value = ParameterValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind.range())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ParameterValue, E> {
        self.0.check(ParameterValue::Integer(value)).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ParameterValue, E> {
        self.visit_u128(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<ParameterValue, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(E::custom(self.0.refusal(&format!("`{value}`")))),
        }
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<ParameterValue, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(E::custom(self.0.refusal(&format!("`{value}`")))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ParameterValue, E> {
        self.0.check(ParameterValue::Float(value)).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ParameterValue, E> {
        self.0.check(ParameterValue::Text(value.to_owned())).map_err(E::custom)
    }
}

struct ValuesSeed(&'static ParameterDefinition);

impl<'de> DeserializeSeed<'de> for ValuesSeed {
    type Value = Vec<ParameterValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ValuesSeed {
    type Value = Vec<ParameterValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of values, each {}", self.0.kind.range())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(ValueSeed(self.0))? {
            if values.len() == VALUES_MAX {
                return Err(A::Error::custom(format!("`{}` has more than {VALUES_MAX} values", self.0.name)));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(A::Error::custom(format!("`{}` must list at least one value", self.0.name)));
        }
        Ok(without_duplicates(values))
    }
}

fn without_duplicates(values: Vec<ParameterValue>) -> Vec<ParameterValue> {
    // Floats are finite and positive here, so equal values print equally.
    let mut seen = std::collections::HashSet::new();
    values.into_iter().filter(|value| seen.insert(value.to_string())).collect()
}

/// Reads how many values a range has.
struct CountSeed;

impl<'de> DeserializeSeed<'de> for CountSeed {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let expected = "a number of values from 1 to 10000";
        let check = |value: ParameterValue| {
            let count = usize::try_from(whole(&value)?).ok()?;
            (1..=VALUES_MAX).contains(&count).then_some(count)
        };
        deserializer.deserialize_any(Checked { expected, check })
    }
}

#[derive(Clone, Copy)]
struct AxisSeed(&'static ParameterDefinition);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum AxisKey {
    Value,
    Values,
    Min,
    Max,
    Count,
    Scale,
}

impl<'de> DeserializeSeed<'de> for AxisSeed {
    type Value = Vec<ParameterValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AxisSeed {
    type Value = Vec<ParameterValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{value: …}`, `{values: […]}` or `{min: …, max: …, count: …, scale: linear|log}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut listed, mut min, mut max, mut count, mut scale) = (None, None, None, None, None);
        while let Some(key) = map.next_key::<AxisKey>()? {
            match key {
                AxisKey::Value if listed.is_none() => {
                    listed = Some(vec![map.next_value_seed(ValueSeed(self.0))?]);
                }
                AxisKey::Values if listed.is_none() => {
                    listed = Some(map.next_value_seed(ValuesSeed(self.0))?);
                }
                AxisKey::Min if min.is_none() => min = Some(map.next_value_seed(ValueSeed(self.0))?),
                AxisKey::Max if max.is_none() => max = Some(map.next_value_seed(ValueSeed(self.0))?),
                AxisKey::Count if count.is_none() => count = map.next_value_seed(CountSeed)?,
                AxisKey::Scale if scale.is_none() => scale = Some(map.next_value::<Scale>()?),
                _ => return Err(A::Error::custom(format!("`{}` gives its values twice", self.0.name))),
            }
        }
        match (listed, min, max, count, scale) {
            (Some(values), None, None, None, None) => Ok(values),
            (None, Some(min), Some(max), Some(count), scale) => {
                let logarithmic = matches!(scale, Some(Scale::Log));
                let values = range(self.0, (&min, &max), count, logarithmic).map_err(A::Error::custom)?;
                Ok(without_duplicates(values))
            }
            (None, ..) => Err(A::Error::custom(format!(
                "`{}` needs `value`, `values`, or all of `min`, `max` and `count`",
                self.0.name
            ))),
            (Some(_), ..) => Err(A::Error::custom(format!(
                "`{}` must have either values or a range, not both",
                self.0.name
            ))),
        }
    }
}
