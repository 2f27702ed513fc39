//! Writes rows. Statements run one after the other on the calling thread, so that a commit changes threads once.

use std::{path::Path, time::Duration};

use rusqlite::{
    CachedStatement, Connection, OpenFlags, TransactionBehavior,
    types::{ToSqlOutput, Value as Sqlite, ValueRef},
};

use super::super::{
    StoreError,
    checksum::checksum,
    rows::{Before, Write},
    tables::{Kind, Table, Value},
};

/// Cached prepared statements: one per table and kind of write.
const STATEMENTS_MAX: usize = 16;

/// The one connection that writes.
#[derive(Debug)]
pub(super) struct Writer(Connection);

impl Writer {
    /// Connects to a database whose tables are up to date.
    pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_timeout)?;
        // With NORMAL, a power cut could take commits that were acknowledged.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(Self(connection))
    }

    /// Writes rows in one transaction, which is on disk when this returns.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Write { table, before, rows } in writes {
            let statement = match before {
                Before::Nothing => insert(table, ""),
                Before::Rows => update(table),
                Before::Unknown => insert(table, &table.on_conflict()),
            };
            let mut statement = transaction.prepare_cached(&statement)?;
            let mut values = Vec::with_capacity(table.columns.len());
            for row in rows {
                values.clear();
                row.values(&mut values);
                bind(&mut statement, &values)?;
                let written = statement.raw_execute()?;
                if written != 1 {
                    return Err(StoreError::Corrupt(format!(
                        "{written} rows of the table {} have a key that one should have",
                        table.name
                    )));
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Numbers the values as [`insert`] and [`update`] do: the columns in their order, then the checksum.
fn bind(statement: &mut CachedStatement<'_>, row: &[Value<'_>]) -> rusqlite::Result<()> {
    for (index, value) in (1..).zip(row) {
        statement.raw_bind_parameter(index, Bound(*value))?;
    }
    statement.raw_bind_parameter(row.len() + 1, checksum(row))
}

/// A value on its way into a statement.
struct Bound<'v>(Value<'v>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Integer(value) | Value::Added(value) => {
                ToSqlOutput::Owned(value.map_or(Sqlite::Null, Sqlite::Integer))
            }
            Value::Real(value) | Value::AddedReal(value) => {
                ToSqlOutput::Owned(value.map_or(Sqlite::Null, Sqlite::Real))
            }
            Value::Text(value) | Value::AddedText(value) => {
                ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes())))
            }
            Value::Bytes(value) => ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, ValueRef::Blob)),
            Value::Boolean(value) => ToSqlOutput::Owned(Sqlite::Integer(value.into())),
        })
    }
}

pub(super) fn insert(table: &Table, conflict: &str) -> String {
    let places = vec!["?"; table.columns.len() + 1].join(", ");
    format!("INSERT INTO {} ({}, checksum) VALUES ({places}){conflict}", table.name, table.column_list())
}

/// Cheaper than an insert that finds an existing row.
fn update(table: &Table) -> String {
    let column = |(index, (name, _)): (usize, &(&str, Kind))| format!("{name} = ?{}", index + 1);
    let columns: Vec<String> = table.columns.iter().enumerate().map(column).collect();
    let (keys, others) = columns.split_at(table.keys);
    let (others, keys, last) = (others.join(", "), keys.join(" AND "), columns.len() + 1);
    format!("UPDATE {} SET {others}, checksum = ?{last} WHERE {keys}", table.name)
}
