//! Mappings with known keys, where the valid values of a key depend on what is swept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// A mapping that is read key by key.
pub(super) trait Section<'de> {
    /// The result of reading it.
    type Output;

    /// What would be right instead of something that is not a mapping.
    fn expecting(&self) -> &str;

    /// The key of this name, or the message about an unknown one.
    fn key(&self, name: &str) -> Result<&'static str, String>;

    /// Reads the value of a key, which [`Self::key`] returned.
    fn read<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error>;

    /// The result of all keys together, or what is wrong across them.
    fn finish(self) -> Result<Self::Output, String>;
}

pub(super) struct Read<S>(pub(super) S);

impl<'de, S: Section<'de>> DeserializeSeed<'de> for Read<S> {
    type Value = S::Output;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Output, D::Error> {
        // As derived code does it: an empty document is an empty mapping.
        deserializer.deserialize_struct("section", &[], self)
    }
}

impl<'de, S: Section<'de>> Visitor<'de> for Read<S> {
    type Value = S::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.expecting())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S::Output, A::Error> {
        let mut section = self.0;
        let mut seen = Vec::new();
        while let Some(key) = map.next_key_seed(Key(&section))? {
            if seen.contains(&key) {
                return Err(A::Error::duplicate_field(key));
            }
            seen.push(key);
            section.read(key, &mut map)?;
        }
        section.finish().map_err(A::Error::custom)
    }
}

/// Reads a key, so that an unknown one is reported with its own line.
struct Key<'a, S>(&'a S);

impl<'de, S: Section<'de>> DeserializeSeed<'de> for Key<'_, S> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, S: Section<'de>> Visitor<'de> for Key<'_, S> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        self.0.key(name).map_err(E::custom)
    }
}

/// The one of `known` called `name`, or the message about an unknown one.
pub(super) fn known_key(
    name: &str,
    known: impl IntoIterator<Item = &'static str> + Clone,
) -> Result<&'static str, String> {
    known.clone().into_iter().find(|known| *known == name).ok_or_else(|| {
        let names: Vec<String> = known.into_iter().map(|known| format!("`{known}`")).collect();
        let expected = match names.as_slice() {
            [one] => one.clone(),
            [one, other] => format!("{one} or {other}"),
            _ => format!("one of {}", names.join(", ")),
        };
        format!("unknown field `{name}`, expected {expected}")
    })
}
