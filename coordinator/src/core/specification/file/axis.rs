//! The section `parameters`: each parameter with one value, a list of values, or a range.

use std::{collections::BTreeMap, fmt};

use proto::ParameterValue;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::super::VALUES_MAX;
use crate::core::parameters::{Model, ParameterDefinition, ParameterKind};

/// Decimal digits kept of a value of a range, so that 1e-5 … 1e-2 in four steps gives 0.0001 and not its neighbour.
const RANGE_DIGITS: usize = 12;

/// The values of the parameters that a file names, checked, without duplicates.
#[derive(Debug, Default)]
pub(super) struct RawParameters(pub(super) BTreeMap<&'static str, Vec<ParameterValue>>);

/// The definition of the parameter `name`, or which there are. There is one model; with more, the file's
/// `model` must be read before its `parameters`.
pub(super) fn definition<E: Error>(name: &str) -> Result<&'static ParameterDefinition, E> {
    let known = || E::custom(format!("unknown parameter `{name}`, expected one of {}", known_parameters()));
    Model::SimpleCnn.parameter(name).ok_or_else(known)
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
        let value = i64::try_from(value).map_err(|_| {
            E::custom(format!("`{}` must be {}, but is {value}", self.0.name, self.0.kind.range()))
        })?;
        self.visit_i64(value)
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

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Scale {
    Linear,
    Log,
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
                AxisKey::Count if count.is_none() => count = Some(map.next_value::<i64>()?),
                AxisKey::Scale if scale.is_none() => scale = Some(map.next_value::<Scale>()?),
                _ => return Err(A::Error::custom(format!("`{}` gives its values twice", self.0.name))),
            }
        }
        match (listed, min, max, count, scale) {
            (Some(values), None, None, None, None) => Ok(values),
            (None, Some(min), Some(max), Some(count), scale) => {
                self.range(&min, &max, count, scale).map_err(A::Error::custom)
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

impl AxisSeed {
    /// `count` values from `min` to `max`, both included, evenly or by equal ratios.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn range(
        self,
        min: &ParameterValue,
        max: &ParameterValue,
        count: i64,
        scale: Option<Scale>,
    ) -> Result<Vec<ParameterValue>, String> {
        let name = self.0.name;
        let number = |value: &ParameterValue| match value {
            ParameterValue::Integer(number) => Ok(*number as f64),
            ParameterValue::Float(number) => Ok(*number),
            ParameterValue::Text(_) => Err(format!("`{name}` has no range: it is {}", self.0.kind.range())),
        };
        let (low, high) = (number(min)?, number(max)?);
        if low > high {
            return Err(format!("`{name}` has its `min` {min} above its `max` {max}"));
        }
        let fits = usize::try_from(count).ok().filter(|count| (1..=VALUES_MAX).contains(count));
        let count = fits.ok_or_else(|| {
            format!("the `count` of `{name}` must be from 1 to {VALUES_MAX}, but is {count}")
        })?;
        let logarithmic = matches!(scale, Some(Scale::Log));
        if logarithmic && low <= 0.0 {
            return Err(format!("`{name}` needs a `min` above 0 for `scale: log`, but has {min}"));
        }
        let at = |index: usize| {
            if index == 0 {
                return min.clone();
            }
            if index + 1 == count {
                return max.clone();
            }
            let share = index as f64 / (count - 1) as f64;
            let value = if logarithmic { low * (high / low).powf(share) } else { low + (high - low) * share };
            match self.0.kind {
                ParameterKind::Integer { .. } => ParameterValue::Integer(value.round() as i64),
                _ => ParameterValue::Float(rounded(value)),
            }
        };
        (0..count)
            .map(at)
            .map(|value| self.0.check(value))
            .collect::<Result<Vec<_>, _>>()
            .map(without_duplicates)
    }
}

fn rounded(value: f64) -> f64 {
    format!("{value:.*e}", RANGE_DIGITS - 1).parse().unwrap_or(value)
}
