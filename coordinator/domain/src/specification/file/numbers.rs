//! The numbers of a section, read by its table.

use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, MapAccess};

use super::{
    super::limits::{NumberKey, Of},
    checked::{Checked, CheckedLimit, Limit},
};

/// The numbers of a section that a file sets, by key; none where the file lifts one.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<&'static str, Option<u64>>);

impl Numbers {
    /// Reads the value of `key`, which is one of `table`.
    pub(super) fn read<'de, T: 'static, A: MapAccess<'de>>(
        &mut self,
        table: &'static [NumberKey<T>],
        key: &'static str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let number = table.iter().find(|number| number.name == key).expect("the key is one of the table");
        if let Some(limit) = map.next_value_seed(NumberSeed(number))? {
            self.0.insert(key, limit);
        }
        Ok(())
    }

    /// Overrides this with what `top` says.
    pub(super) fn overlay(&mut self, top: Self) {
        self.0.extend(top.0);
    }

    /// The first key of `table` that the file sets although it is for something else.
    pub(super) fn of<T>(&self, of: Of, table: &'static [NumberKey<T>]) -> Option<&'static str> {
        let has = |number: &&NumberKey<T>| number.of == of && self.0.contains_key(number.name);
        table.iter().find(has).map(|number| number.name)
    }

    /// Sets what the file says.
    pub(super) fn apply<T>(&self, table: &[NumberKey<T>], section: &mut T) {
        for number in table {
            if let Some(limit) = self.0.get(number.name) {
                (number.set)(section, *limit);
            }
        }
    }
}

struct NumberSeed<T: 'static>(&'static NumberKey<T>);

impl<'de, T> DeserializeSeed<'de> for NumberSeed<T> {
    type Value = Limit<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let read = self.0.read;
        let checked = Checked { expected: self.0.expected, check: |value| read(&value) };
        if self.0.is_liftable {
            return deserializer.deserialize_any(CheckedLimit(checked));
        }
        deserializer.deserialize_any(checked).map(|number| number.map(Some))
    }
}
