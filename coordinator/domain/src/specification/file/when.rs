//! The condition of a parameter: `when: {optimizer: sgd}`, or with a list of values.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use terms::{ParameterValue, manifest::ManifestParameter};

use super::{
    axis::ParameterName,
    known::Known,
    value::{ValueSeed, ValuesSeed},
};
use crate::space::Requirement;

/// Reads conditions, all of which must hold.
pub(super) struct WhenSeed<'a>(pub(super) Known<'a>);

impl<'de> DeserializeSeed<'de> for WhenSeed<'_> {
    type Value = Vec<Requirement>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WhenSeed<'_> {
    type Value = Vec<Requirement>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "other parameters with their values, as in `{optimizer: sgd}` or `{optimizer: [sgd, nag]}`",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut when: Vec<Requirement> = Vec::new();
        while let Some(parameter) = map.next_key_seed(ParameterName { known: self.0, prefix: "" })? {
            if when.iter().any(|known| *known.name == *parameter.name) {
                return Err(A::Error::custom(format!("`{}` is listed twice", parameter.name)));
            }
            let values = map.next_value_seed(OneOrMany(&parameter))?;
            when.push(Requirement { name: parameter.name.as_str().into(), values });
        }
        if when.is_empty() {
            return Err(A::Error::custom("a condition must name at least one parameter"));
        }
        Ok(when)
    }
}

/// Reads a value or a list of values.
struct OneOrMany<'a>(&'a ManifestParameter);

impl<'de> DeserializeSeed<'de> for OneOrMany<'_> {
    type Value = Vec<ParameterValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Passes a scalar on to [`ValueSeed`].
macro_rules! scalars {
    ($($visit:ident: $type:ty),+) => {$(
        fn $visit<E: Error>(self, value: $type) -> Result<Self::Value, E> {
            ValueSeed(self.0).$visit(value).map(|value| vec![value])
        }
    )+};
}

impl<'de> Visitor<'de> for OneOrMany<'_> {
    type Value = Vec<ParameterValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such values", self.0.kind.range())
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        ValueSeed(self.0).visit_unit().map(|value| vec![value])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        ValuesSeed(self.0).visit_seq(list)
    }
}
