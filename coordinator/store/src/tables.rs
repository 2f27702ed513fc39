//! The tables. Each is declared once, as a struct with a field per column, which converts to values and back.

use std::{borrow::Cow, fmt, sync::Arc};

use terms::RowBytes;

use super::{
    StoreError,
    cells::{Cells, missing},
    checksum::{checksum, is_checksum},
};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Real,
    Text,
    Boolean,
    Bytes,
    /// An integer that only newer rows have: rows without it keep the checksum that they had before the column existed.
    /// Columns of this kind and the next two come last, in the order in which they were added.
    Added,
    /// The same for text.
    AddedText,
    /// The same for a floating-point number.
    AddedReal,
}

/// What a column of a row holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'v> {
    Integer(Option<i64>),
    Real(Option<f64>),
    Text(Option<&'v str>),
    Boolean(bool),
    Bytes(Option<&'v [u8]>),
    Added(Option<i64>),
    AddedText(Option<&'v str>),
    AddedReal(Option<f64>),
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// How many of its first columns form its key.
    pub(super) keys: usize,
    /// All columns but the checksum, the key's first.
    pub(super) columns: &'static [(&'static str, Kind)],
}

/// A row of one of the tables.
pub(super) trait TableRow: Values + Sized + Send + Sync + 'static {
    /// The table.
    const TABLE: &'static Table;

    /// Reads a row without verifying its checksum.
    fn read(row: &impl Cells) -> Result<Self, StoreError>;

    /// Reads a row and verifies its checksum.
    fn verified(cells: &impl Cells) -> Result<Self, StoreError> {
        let row = Self::read(cells)?;
        let mut values = Vec::with_capacity(Self::TABLE.columns.len());
        row.values(&mut values);
        if cells.integer("checksum")?.is_some_and(|found| is_checksum(found, &values)) {
            return Ok(row);
        }
        let mut key = String::new();
        for ((column, _), value) in Self::TABLE.columns[..Self::TABLE.keys].iter().zip(&values) {
            if let Value::Integer(Some(value)) = value {
                key = format!("{key} {column} {value}");
            }
        }
        let table = Self::TABLE.name;
        Err(StoreError::Corrupt(format!("the row{key} of the table {table} is not as it was written")))
    }
}

/// A row of any table.
pub(super) trait Values: fmt::Debug {
    /// The values in the order of the table's columns.
    fn values<'v>(&'v self, into: &mut Vec<Value<'v>>);

    /// The checksum of the row.
    fn checksum(&self) -> i64 {
        let mut values = Vec::with_capacity(24);
        self.values(&mut values);
        checksum(&values)
    }
}

/// A row to write. Shared, so that a commit writes cached rows without copying them.
pub(super) type Row = Arc<dyn Values + Send + Sync>;

/// Text of a row: mostly one of a few constants.
pub(super) type Text = Cow<'static, str>;

/// The values of an epoch, which the row of its job repeats.
pub(super) type Bytes = RowBytes;

/// A column that only newer rows have: see [`Kind::Added`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Added<T>(pub(super) Option<T>);

/// A type that a field of a row may have.
trait Cell: Sized {
    const KIND: Kind;
    fn value(&self) -> Value<'_>;
    fn read(row: &impl Cells, column: &'static str) -> Result<Self, StoreError>;
}

/// Implements [`Cell`] for a type and its optional counterpart.
macro_rules! cell {
    ($type:ty, $optional:ty, $kind:ident, |$cell:ident| $value:expr, |$row:ident, $column:ident| $read:expr) => {
        impl Cell for $type {
            const KIND: Kind = Kind::$kind;
            fn value(&self) -> Value<'_> {
                let $cell = self;
                Value::$kind(Some($value))
            }
            fn read($row: &impl Cells, $column: &'static str) -> Result<Self, StoreError> {
                $read.ok_or_else(|| missing($column))
            }
        }
        impl Cell for $optional {
            const KIND: Kind = Kind::$kind;
            fn value(&self) -> Value<'_> {
                Value::$kind(self.as_ref().map(|$cell| $value))
            }
            fn read($row: &impl Cells, $column: &'static str) -> Result<Self, StoreError> {
                Ok($read)
            }
        }
    };
}

cell!(i64, Option<i64>, Integer, |cell| *cell, |row, column| row.integer(column)?);
cell!(f64, Option<f64>, Real, |cell| *cell, |row, column| row.real(column)?);
cell!(Text, Option<Text>, Text, |cell| &**cell, |row, column| row.text(column)?.map(Cow::Owned));
cell!(Bytes, Option<Bytes>, Bytes, |cell| &**cell, |row, column| row
    .bytes(column)?
    .as_deref()
    .map(Bytes::from));

impl Cell for bool {
    const KIND: Kind = Kind::Boolean;
    fn value(&self) -> Value<'_> {
        Value::Boolean(*self)
    }
    fn read(row: &impl Cells, column: &'static str) -> Result<Self, StoreError> {
        row.boolean(column)?.ok_or_else(|| missing(column))
    }
}

impl Cell for Added<i64> {
    const KIND: Kind = Kind::Added;
    fn value(&self) -> Value<'_> {
        Value::Added(self.0)
    }
    fn read(row: &impl Cells, column: &'static str) -> Result<Self, StoreError> {
        Ok(Self(row.integer(column)?))
    }
}

impl Cell for Added<Text> {
    const KIND: Kind = Kind::AddedText;
    fn value(&self) -> Value<'_> {
        Value::AddedText(self.0.as_deref())
    }
    fn read(row: &impl Cells, column: &'static str) -> Result<Self, StoreError> {
        Ok(Self(row.text(column)?.map(Cow::Owned)))
    }
}

impl Cell for Added<f64> {
    const KIND: Kind = Kind::AddedReal;
    fn value(&self) -> Value<'_> {
        Value::AddedReal(self.0)
    }
    fn read(row: &impl Cells, column: &'static str) -> Result<Self, StoreError> {
        Ok(Self(row.real(column)?))
    }
}

/// Declares a table's rows: a struct with a field per column, the key's first.
macro_rules! table {
    (
        $(#[$meta:meta])* $name:ident, $table:literal, $keys:literal keys,
        { $($column:ident: $type:ty,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub(super) struct $name {
            $(pub(super) $column: $type,)+
        }

        impl TableRow for $name {
            const TABLE: &'static Table = &Table {
                name: $table,
                keys: $keys,
                columns: &[$((stringify!($column), <$type as Cell>::KIND)),+],
            };

            fn read(row: &impl Cells) -> Result<Self, StoreError> {
                Ok(Self { $($column: <$type as Cell>::read(row, stringify!($column))?,)+ })
            }
        }

        impl Values for $name {
            fn values<'v>(&'v self, into: &mut Vec<Value<'v>>) {
                $(into.push(self.$column.value());)+
            }
        }
    };
}

table! {
    /// A sweep.
    Sweep, "sweeps", 1 keys,
    {
        sweep_id: i64,
        name: Text,
        request_id: Option<Text>,
        specification: Text,
        metric: Text,
        goal: Text,
        job_count: i64,
        state: Text,
        dataset: Option<Text>,
        created_unix_ms: i64,
        ended_unix_ms: Option<i64>,
        manifest: Added<Text>,
        parameters: Added<Text>,
        without_checkpoint: Added<i64>,
        owner: Added<Text>,
        owners_request_id: Added<Text>,
    }
}

table! {
    /// A metric of a sweep. Its place counts from 0.
    Metric, "metrics", 2 keys,
    { sweep_id: i64, place: i64, name: Text, }
}

table! {
    /// A job that had an attempt, or was cancelled.
    Job, "jobs", 2 keys,
    {
        sweep_id: i64,
        job: i64,
        state: Text,
        attempts: i64,
        failures: i64,
        losses: i64,
        lost_with: Text,
        worker: Text,
        reason: Text,
        pack_size: Option<i64>,
        epochs_done: i64,
        train_seconds: f64,
        objective: Option<f64>,
        metrics: Option<Bytes>,
        best_epoch: Option<i64>,
        best_objective: Option<f64>,
        best_metrics: Option<Bytes>,
        budget: Added<i64>,
        rungs: Added<Text>,
    }
}

table! {
    /// An attempt.
    Attempt, "attempts", 3 keys,
    {
        sweep_id: i64,
        job: i64,
        attempt: i64,
        worker: Text,
        slot: i64,
        device: Text,
        started: bool,
        resumed_epochs: i64,
        state: Text,
        reason: Text,
        log_tail: Text,
        granted_unix_ms: i64,
        ended_unix_ms: Option<i64>,
        pack_size: Added<i64>,
    }
}

table! {
    /// An epoch.
    Epoch, "epochs", 4 keys,
    { sweep_id: i64, job: i64, attempt: i64, epoch: i64, seconds: f64, metrics: Bytes, }
}

table! {
    /// The weights of a job.
    Artifact, "artifacts", 2 keys,
    {
        sweep_id: i64,
        job: i64,
        attempt: i64,
        state: Text,
        worker: Text,
        bytes: i64,
        blake3: Text,
        value: f64,
        reason: Text,
    }
}

table! {
    /// The point of a job that a searcher that learns proposed.
    Proposal, "proposals", 2 keys,
    {
        sweep_id: i64,
        job: i64,
        parameters: Text,
        place: i64,
        seen: i64,
        why: Text,
        good: Option<i64>,
        running: Option<i64>,
        near: Option<i64>,
        score: Option<f64>,
    }
}

table! {
    /// A token. Its hash is in hexadecimal digits.
    Token, "tokens", 1 keys,
    {
        id: Text,
        name: Text,
        role: Text,
        secret_hash: Text,
        created_unix_ms: i64,
        created_by: Text,
        expires_unix_ms: Option<i64>,
        revoked_unix_ms: Option<i64>,
    }
}

table! {
    /// What an owner of sweeps is granted.
    Quota, "quotas", 1 keys,
    {
        owner: Text,
        slots: Option<i64>,
        weight: i64,
        set_unix_ms: i64,
        set_by: Text,
    }
}

table! {
    /// What such a searcher was told. Its number counts from 1.
    Learned, "learned", 2 keys,
    { sweep_id: i64, number: i64, job: i64, result: Text, value: Option<f64>, epoch: Option<i64>, }
}

table! {
    /// A job of the version before metrics had names.
    OldJob, "jobs_1", 2 keys,
    {
        sweep_id: i64,
        job: i64,
        state: Text,
        attempts: i64,
        failures: i64,
        losses: i64,
        lost_with: Text,
        worker: Text,
        reason: Text,
        epochs_done: i64,
        train_seconds: f64,
        train_loss: Option<f64>,
        val_accuracy: Option<f64>,
        pack_size: Added<i64>,
        val_loss: Added<f64>,
        train_accuracy: Added<f64>,
        best_epoch: Added<i64>,
        best_val_accuracy: Added<f64>,
        best_metric: Added<f64>,
    }
}

table! {
    /// An epoch of the version before metrics had names.
    OldEpoch, "epochs_1", 4 keys,
    {
        sweep_id: i64,
        job: i64,
        attempt: i64,
        epoch: i64,
        train_loss: f64,
        val_accuracy: f64,
        epoch_seconds: f64,
        val_loss: Added<f64>,
        train_accuracy: Added<f64>,
    }
}

impl Table {
    /// The columns' names, separated by commas.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// The end of an insert that replaces a row of the same key.
    pub(super) fn on_conflict(&self) -> String {
        let (keys, others) = self.columns.split_at(self.keys);
        let keys: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        let others = others.iter().map(|(name, _)| *name).chain(["checksum"]);
        let others: Vec<_> = others.map(|name| format!("{name} = excluded.{name}")).collect();
        format!(" ON CONFLICT ({}) DO UPDATE SET {}", keys.join(", "), others.join(", "))
    }
}

/// How many characters of a refused text its error shows.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// Foreign text, stored unchanged. PostgreSQL cannot store NUL, so no store accepts it: a replacement could make two texts
/// equal.
pub(super) fn text(text: &str) -> Result<Text, StoreError> {
    match text {
        "" => Ok("".into()),
        text if text.contains('\0') => Err(StoreError::Unfit(format!(
            "the text {:?} has a NUL character",
            text.chars().take(SHOWN_CHARACTERS_MAX).collect::<String>()
        ))),
        text => Ok(text.to_owned().into()),
    }
}
