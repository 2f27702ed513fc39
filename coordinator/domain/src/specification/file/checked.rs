//! Scalars that are checked inside the visitor, where the parser still knows their line and key.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Visitor},
};
use terms::ParameterValue;

/// Reads a scalar and checks it.
pub(super) struct Checked<'a, F> {
    /// What would be right, for the error message.
    pub(super) expected: &'a str,
    /// The value in its own type; none where it is wrong.
    pub(super) check: F,
}

impl<F: FnOnce(ParameterValue) -> Option<T>, T> Checked<'_, F> {
    fn run<E: Error>(self, value: ParameterValue) -> Result<Option<T>, E> {
        let (expected, found) = (self.expected, value.written());
        match (self.check)(value) {
            Some(checked) => Ok(Some(checked)),
            None => Err(refused(expected, &found)),
        }
    }
}

fn refused<E: Error>(expected: &str, found: &str) -> E {
    E::custom(format!("expected {expected}, but found {found}"))
}

impl<F: FnOnce(ParameterValue) -> Option<T>, T> Visitor<'_> for Checked<'_, F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.run(ParameterValue::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_u128(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Self::Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(refused(self.expected, &format!("`{value}`"))),
        }
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Self::Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(refused(self.expected, &format!("`{value}`"))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.run(ParameterValue::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.run(ParameterValue::Text(value.to_owned()))
    }
}

/// A limit that a file may set or lift: the outer option is none where the file says nothing, the inner one where it
/// says `none` or nothing after the colon.
pub(super) type Limit<T> = Option<Option<T>>;

pub(super) struct CheckedLimit<'a, F>(pub(super) Checked<'a, F>);

impl<F: FnOnce(ParameterValue) -> Option<T>, T> Visitor<'_> for CheckedLimit<'_, F> {
    type Value = Limit<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or none", self.0.expected)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(None))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.0.visit_i64(value).map(Some)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.0.visit_u64(value).map(Some)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Self::Value, E> {
        self.0.visit_i128(value).map(Some)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Self::Value, E> {
        self.0.visit_u128(value).map(Some)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.0.visit_f64(value).map(Some)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        if value == "none" { Ok(Some(None)) } else { self.0.visit_str(value).map(Some) }
    }
}

/// A value that `check` accepts.
pub(super) fn checked<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    check: impl FnOnce(ParameterValue) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Checked { expected, check })
}

/// Text as written in the file: `007` and `1.0` stay text here, and so do `yes` and `null`.
pub(super) fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    check: impl FnOnce(String) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    let check = |value| match value {
        ParameterValue::Text(text) => check(text),
        _ => None,
    };
    deserializer.deserialize_str(Checked { expected, check })
}

/// A whole number, also one written as `32.0` or `1e2`.
pub(super) fn integer<T: TryFrom<i64>>(value: &ParameterValue) -> Option<T> {
    T::try_from(value.whole()?).ok()
}
