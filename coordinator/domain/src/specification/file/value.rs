//! The values of a parameter: one, a list of them, or how many a range has.

use std::{collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Unexpected, Visitor},
};
use terms::{
    ParameterValue,
    manifest::{ManifestParameter, ParameterKind, written_list},
};

use super::{super::VALUES_MAX, checked::Checked, distribution::Distribution};
use crate::space::ValueKey;

/// Reads one value of a parameter, in the parameter's own type.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'a>(pub(super) &'a ManifestParameter);

impl ValueSeed<'_> {
    fn checked<E: Error>(self, value: &ParameterValue) -> Result<ParameterValue, E> {
        self.0.check(value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ParameterValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ParameterValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ParameterValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind.range())
    }

    fn visit_unit<E: Error>(self) -> Result<ParameterValue, E> {
        self.checked(&ParameterValue::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ParameterValue, E> {
        self.checked(&ParameterValue::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ParameterValue, E> {
        self.checked(&ParameterValue::Integer(value))
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
        self.checked(&ParameterValue::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ParameterValue, E> {
        self.checked(&ParameterValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ParameterValue, A::Error> {
        let ParameterKind::Integers { length_max, .. } = self.0.kind else {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        };
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element::<i64>()? {
            if numbers.len() == length_max {
                return Err(A::Error::custom(self.0.refusal("a longer list")));
            }
            numbers.push(number);
        }
        self.checked(&ParameterValue::Text(written_list(&numbers)))
    }
}

/// Reads `min` or `max`. A number that the parameter cannot have may be an exponent, as some of W&B's distributions take them.
pub(super) struct EndSeed<'a> {
    value: ValueSeed<'a>,
    hint: Option<String>,
}

impl<'a> EndSeed<'a> {
    /// For a parameter with this distribution, as far as it is known before the end is read.
    pub(super) fn new(parameter: &'a ManifestParameter, distribution: Option<Distribution>) -> Self {
        let hint = match distribution.map(Distribution::of_values) {
            None => Some(
                "; if it is an exponent, as `log_uniform` of W&B takes it, write the value itself, and `distribution: \
                 log_uniform_values`"
                    .to_owned(),
            ),
            Some(Some(values)) => Some(format!(
                "; this `distribution` takes exponents, which are not read: write the value itself, and `distribution: {values}`"
            )),
            Some(None) => None,
        };
        Self { value: ValueSeed(parameter), hint }
    }

    fn read<E: Error>(self, number: f64, read: Result<ParameterValue, E>) -> Result<ParameterValue, E> {
        match self.hint.filter(|_| number < 0.0) {
            Some(hint) => read.map_err(|error| E::custom(format!("{error}{hint}"))),
            None => read,
        }
    }
}

impl<'de> DeserializeSeed<'de> for EndSeed<'_> {
    type Value = ParameterValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ParameterValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EndSeed<'_> {
    type Value = ParameterValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<ParameterValue, E> {
        self.value.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ParameterValue, E> {
        self.value.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ParameterValue, E> {
        let read = self.value.visit_i64(value);
        self.read(value as f64, read)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ParameterValue, E> {
        self.value.visit_u64(value)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<ParameterValue, E> {
        self.value.visit_i128(value)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<ParameterValue, E> {
        self.value.visit_u128(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ParameterValue, E> {
        let read = self.value.visit_f64(value);
        self.read(value, read)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ParameterValue, E> {
        self.value.visit_str(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ParameterValue, A::Error> {
        self.value.visit_seq(list)
    }
}

/// Reads a list of values.
pub(super) struct ValuesSeed<'a>(pub(super) &'a ManifestParameter);

impl<'de> DeserializeSeed<'de> for ValuesSeed<'_> {
    type Value = Vec<ParameterValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ValuesSeed<'_> {
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

pub(super) fn without_duplicates(values: Vec<ParameterValue>) -> Vec<ParameterValue> {
    let mut seen = HashSet::new();
    values.into_iter().filter(|value| seen.insert(ValueKey::from(value))).collect()
}

/// Reads how many values a range has.
pub(super) struct CountSeed;

impl<'de> DeserializeSeed<'de> for CountSeed {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let expected = "a number of values from 1 to 10000";
        let check = |value: ParameterValue| {
            let count = usize::try_from(value.whole()?).ok()?;
            (1..=VALUES_MAX).contains(&count).then_some(count)
        };
        deserializer.deserialize_any(Checked { expected, check })
    }
}
