//! The lists `exclude` and `include`: points that name some parameters.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{
    super::{POINT_PATTERNS_MAX, PartialPoint},
    axis::{ParameterName, ValueSeed},
};

pub(super) fn read_points<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<PartialPoint>>, D::Error> {
    deserializer.deserialize_seq(PointsVisitor).map(Some)
}

struct PointsVisitor;

impl<'de> Visitor<'de> for PointsVisitor {
    type Value = Vec<PartialPoint>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of points, as in `[{activation: sigmoid, learning_rate: 0.01}]`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut points = Vec::new();
        while let Some(point) = list.next_element_seed(PointSeed)? {
            if points.len() == POINT_PATTERNS_MAX {
                return Err(A::Error::custom(format!("more than {POINT_PATTERNS_MAX} points are listed")));
            }
            points.push(point);
        }
        Ok(points)
    }
}

struct PointSeed;

impl<'de> DeserializeSeed<'de> for PointSeed {
    type Value = PartialPoint;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PartialPoint, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PointSeed {
    type Value = PartialPoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters with their values, as in `{activation: sigmoid}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PartialPoint, A::Error> {
        let mut point: PartialPoint = Vec::new();
        while let Some(definition) = map.next_key_seed(ParameterName)? {
            if point.iter().any(|(name, _)| *name == definition.name) {
                return Err(A::Error::custom(format!("the parameter `{}` stands twice", definition.name)));
            }
            point.push((definition.name, map.next_value_seed(ValueSeed(definition))?));
        }
        if point.is_empty() {
            return Err(A::Error::custom("a point must name at least one parameter"));
        }
        Ok(point)
    }
}
