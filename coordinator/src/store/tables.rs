//! The tables: which columns each has, and the checksum over them.

use crc32fast::Hasher;

use super::{StoreError, cells::Cells};
use crate::core::record::EpochMetrics;

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Integer,
    Real,
    Text,
    Boolean,
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

use Kind::{Boolean, Integer, Real, Text};

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
    ],
};

impl Table {
    /// The columns' names with commas between them.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// The checksum of a row with all columns.
    pub(super) fn checksum(&self, row: &impl Cells) -> Result<i64, StoreError> {
        let mut checksum = Checksum::default();
        for (column, kind) in self.columns {
            match kind {
                Integer => checksum.integer(row.integer(column)?),
                Real => checksum.real(row.real(column)?),
                Text => checksum.text(row.text(column)?.as_deref()),
                Boolean => checksum.integer(row.boolean(column)?.map(i64::from)),
            }
        }
        Ok(checksum.finish())
    }

    /// Makes sure that a row with all columns and its checksum is as it was written.
    pub(super) fn verify(&self, row: &impl Cells) -> Result<(), StoreError> {
        if row.integer("checksum")? == Some(self.checksum(row)?) {
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

/// The checksum of a row of `epochs`.
pub(super) fn epoch_checksum(keys: (i64, i64, u32), metrics: &EpochMetrics) -> i64 {
    let mut checksum = Checksum::default();
    let (sweep, job, attempt) = keys;
    for key in [sweep, job, attempt.into(), metrics.epoch.into()] {
        checksum.integer(Some(key));
    }
    for value in [metrics.train_loss, metrics.val_accuracy, metrics.epoch_seconds] {
        checksum.real(Some(value));
    }
    checksum.finish()
}

/// CRC-32 over values, each with its kind and its length before it.
#[derive(Default)]
struct Checksum(Hasher);

impl Checksum {
    fn integer(&mut self, value: Option<i64>) {
        self.value(b'i', value.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn real(&mut self, value: Option<f64>) {
        self.value(b'r', value.map(f64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn text(&mut self, value: Option<&str>) {
        self.value(b't', value.map(str::as_bytes));
    }

    fn value(&mut self, kind: u8, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.0.update(&[kind]);
                self.0.update(&(bytes.len() as u64).to_le_bytes());
                self.0.update(bytes);
            }
            None => self.0.update(b"n"),
        }
    }

    fn finish(self) -> i64 {
        self.0.finalize().into()
    }
}
