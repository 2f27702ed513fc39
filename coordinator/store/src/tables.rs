//! The tables: which columns each has, rows as lists of values, and the checksum over them.

use std::borrow::Cow;

use super::{StoreError, cells::Cells};

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Integer,
    Real,
    Text,
    Boolean,
    /// An integer that only newer rows have: rows without it have the checksum that they had before the column was
    /// there. Columns of this kind and the next come last, in the order in which they were added.
    Added,
    /// The same for a floating-point number.
    AddedReal,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// Its key: so many of its first columns.
    pub(super) keys: usize,
    /// All columns but the checksum, the key's first.
    pub(super) columns: &'static [(&'static str, Kind)],
}

use Kind::{Added, AddedReal, Boolean, Integer, Real, Text};

pub(super) static SWEEPS: Table = Table {
    name: "sweeps",
    keys: 1,
    columns: &[
        ("sweep_id", Integer),
        ("name", Text),
        ("request_id", Text),
        ("specification", Text),
        ("metric", Text),
        ("goal", Text),
        ("job_count", Integer),
        ("state", Text),
        ("dataset", Text),
        ("created_unix_ms", Integer),
        ("ended_unix_ms", Integer),
    ],
};

pub(super) static JOBS: Table = Table {
    name: "jobs",
    keys: 2,
    columns: &[
        ("sweep_id", Integer),
        ("job", Integer),
        ("state", Text),
        ("attempts", Integer),
        ("failures", Integer),
        ("losses", Integer),
        ("lost_with", Text),
        ("worker", Text),
        ("reason", Text),
        ("epochs_done", Integer),
        ("train_seconds", Real),
        ("train_loss", Real),
        ("val_accuracy", Real),
        ("pack_size", Added),
        ("val_loss", AddedReal),
        ("train_accuracy", AddedReal),
        ("best_epoch", Added),
        ("best_val_accuracy", AddedReal),
        ("best_metric", AddedReal),
    ],
};

pub(super) static ATTEMPTS: Table = Table {
    name: "attempts",
    keys: 3,
    columns: &[
        ("sweep_id", Integer),
        ("job", Integer),
        ("attempt", Integer),
        ("worker", Text),
        ("slot", Integer),
        ("device", Text),
        ("started", Boolean),
        ("resumed_epochs", Integer),
        ("state", Text),
        ("reason", Text),
        ("log_tail", Text),
        ("granted_unix_ms", Integer),
        ("ended_unix_ms", Integer),
        ("pack_size", Added),
    ],
};

pub(super) static EPOCHS: Table = Table {
    name: "epochs",
    keys: 4,
    columns: &[
        ("sweep_id", Integer),
        ("job", Integer),
        ("attempt", Integer),
        ("epoch", Integer),
        ("train_loss", Real),
        ("val_accuracy", Real),
        ("epoch_seconds", Real),
        ("val_loss", AddedReal),
        ("train_accuracy", AddedReal),
    ],
};

pub(super) static ARTIFACTS: Table = Table {
    name: "artifacts",
    keys: 2,
    columns: &[
        ("sweep_id", Integer),
        ("job", Integer),
        ("attempt", Integer),
        ("state", Text),
        ("worker", Text),
        ("bytes", Integer),
        ("blake3", Text),
        ("value", Real),
        ("reason", Text),
    ],
};

impl Table {
    /// The columns' names with commas between them.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// The position of a column; for constants.
    pub(super) const fn position(&self, name: &str) -> usize {
        let mut position = 0;
        while position < self.columns.len() {
            if is_same(self.columns[position].0.as_bytes(), name.as_bytes()) {
                return position;
            }
            position += 1;
        }
        panic!("the table has no such column")
    }

    /// The end of an insert that replaces a row of the same key.
    pub(super) fn on_conflict(&self) -> String {
        let (keys, others) = self.columns.split_at(self.keys);
        let keys: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        let others = others.iter().map(|(name, _)| *name).chain(["checksum"]);
        let others: Vec<_> = others.map(|name| format!("{name} = excluded.{name}")).collect();
        format!(" ON CONFLICT ({}) DO UPDATE SET {}", keys.join(", "), others.join(", "))
    }

    /// A row with all columns as values.
    pub(super) fn values(&self, row: &impl Cells) -> Result<Vec<Value>, StoreError> {
        let value = |(column, kind): &(&'static str, Kind)| {
            Ok(match kind {
                Integer => Value::Integer(row.integer(column)?),
                Real => Value::Real(row.real(column)?),
                Text => Value::Text(row.text(column)?.map(Cow::Owned)),
                Boolean => Value::Boolean(row.boolean(column)?.unwrap_or_default()),
                Added => Value::Added(row.integer(column)?),
                AddedReal => Value::AddedReal(row.real(column)?),
            })
        };
        self.columns.iter().map(value).collect()
    }

    /// Makes sure that a row with all columns and its checksum is as it was written.
    pub(super) fn verify(&self, row: &impl Cells) -> Result<(), StoreError> {
        if row.integer("checksum")? == Some(checksum(&self.values(row)?)) {
            return Ok(());
        }
        let mut key = String::new();
        for (column, _) in &self.columns[..self.keys] {
            let value = row.integer(column)?.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
            key = format!("{key} {column} {value}");
        }
        Err(StoreError::Damaged(format!("the row{key} of the table {} is not as it was written", self.name)))
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// What a column of a row holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(Option<i64>),
    Real(Option<f64>),
    Text(Option<Cow<'static, str>>),
    Boolean(bool),
    Added(Option<i64>),
    AddedReal(Option<f64>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(Some(value.into()))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(Some(value))
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl Value {
    /// Text from anywhere, kept as it is. PostgreSQL keeps every character but one; no store takes that, as to replace it
    /// would make two texts one.
    pub(super) fn text(text: &str) -> Result<Self, StoreError> {
        match text {
            "" => Ok("".into()),
            text if text.contains('\0') => Err(StoreError::Unfit(format!(
                "the text {:?} has a NUL character",
                text.chars().take(SHOWN_CHARACTERS_MAX).collect::<String>()
            ))),
            text => Ok(text.to_owned().into()),
        }
    }
}

/// Characters of a refused text that its error shows.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// Bytes of a usual row.
const ROW_BYTES: usize = 512;

/// The checksum of a row: CRC-32 over its values, each with its kind and its length before it.
pub(super) fn checksum(row: &[Value]) -> i64 {
    // In one piece, since a checksum over many short pieces takes several times as long.
    let mut bytes = Vec::with_capacity(ROW_BYTES);
    let mut add = |kind: u8, value: Option<&[u8]>| match value {
        Some(value) => {
            bytes.push(kind);
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        None => bytes.push(b'n'),
    };
    // Columns that came later and hold nothing, and none after them holds anything, are as if they were not there.
    let is_there = |value: &Value| !matches!(value, Value::Added(None) | Value::AddedReal(None));
    let length = row.iter().rposition(is_there).map_or(0, |last| last + 1);
    for value in &row[..length] {
        match value {
            Value::Integer(value) => add(b'i', value.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice)),
            Value::Real(value) => add(b'r', value.map(f64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice)),
            Value::Text(value) => add(b't', value.as_deref().map(str::as_bytes)),
            Value::Boolean(value) => add(b'i', Some(&i64::from(*value).to_le_bytes())),
            Value::Added(value) => add(b'a', value.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice)),
            Value::AddedReal(value) => {
                add(b'A', value.map(f64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
            }
        }
    }
    crc32fast::hash(&bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_came_later_changes_no_older_rows_checksum_and_is_not_taken_for_another() {
        let older = [Value::from(1_u32), 0.5.into()];
        let with = |added: &[Value]| checksum(&[&older[..], added].concat());
        let (packed, nothing) = (Value::Added(Some(3)), Value::AddedReal(None));
        assert_eq!(with(&[Value::Added(None), nothing.clone()]), checksum(&older));
        assert_eq!(with(&[packed.clone(), nothing.clone()]), with(&[packed]));
        let some = Value::AddedReal(Some(0.25));
        let different = [
            with(&[some.clone(), nothing.clone()]),
            with(&[nothing, some.clone()]),
            with(&[some.clone(), some]),
            checksum(&older),
        ];
        for (place, one) in different.iter().enumerate() {
            assert!(!different[..place].contains(one), "{place}");
        }
    }
}
