//! The lists `exclude` and `include`: points that name some parameters.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{super::POINT_PATTERNS_MAX, axis::ParameterName, known::Known, value::ValueSeed};
use crate::space::PartialPoint;

/// Reads a list of points.
#[derive(Clone, Copy)]
pub(super) struct PointsSeed<'a>(pub(super) Known<'a>);

impl<'de> DeserializeSeed<'de> for PointsSeed<'_> {
    type Value = Vec<PartialPoint>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PointsSeed<'_> {
    type Value = Vec<PartialPoint>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of points, as in `[{activation: sigmoid, learning_rate: 0.01}]`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut points = Vec::new();
        while let Some(point) = list.next_element_seed(PointSeed(self.0))? {
            if points.len() == POINT_PATTERNS_MAX {
                return Err(A::Error::custom(format!("more than {POINT_PATTERNS_MAX} points are listed")));
            }
            points.push(point);
        }
        Ok(points)
    }
}

struct PointSeed<'a>(Known<'a>);

impl<'de> DeserializeSeed<'de> for PointSeed<'_> {
    type Value = PartialPoint;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PartialPoint, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PointSeed<'_> {
    type Value = PartialPoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters with their values, as in `{activation: sigmoid}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PartialPoint, A::Error> {
        let mut point: PartialPoint = Vec::new();
        while let Some(parameter) = map.next_key_seed(ParameterName { known: self.0, prefix: "" })? {
            if point.iter().any(|(name, _)| **name == *parameter.name) {
                return Err(A::Error::custom(format!("the parameter `{}` is listed twice", parameter.name)));
            }
            let value = map.next_value_seed(ValueSeed(&parameter))?;
            point.push((parameter.name.as_str().into(), value));
        }
        if point.is_empty() {
            return Err(A::Error::custom("a point must name at least one parameter"));
        }
        Ok(point)
    }
}
