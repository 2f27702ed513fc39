//! Rows into tables: many rows a statement, in words that every database understands.

use async_trait::async_trait;

use super::{
    StoreError,
    read::Queries,
    rows::{Row, Rows, Write},
    tables::{Table, Value, checksum},
};
use crate::core::record::Record;

/// Most rows a statement: with the widest table, well below the 32,766 values that SQLite takes and the 65,535 that
/// PostgreSQL takes. Lengths are powers of two, so that a database prepares few statements and each only once.
const ROWS_A_STATEMENT_MAX: usize = 512;

/// A connection that can be written to.
#[async_trait]
pub(super) trait Statements: Queries {
    /// Whether its placeholders for values are `$1`, `$2` …, or all of them `?`. SQLite looks for each number among all
    /// others.
    const NUMBERED: bool;

    /// Runs a statement whose placeholders stand for `values`, in their order. Nothing that came from outside may be
    /// part of the statement.
    async fn run(&mut self, statement: String, values: Vec<Value>) -> Result<(), sqlx::Error>;
}

/// [`Statements`] and [`Queries`] for a connection of sqlx.
macro_rules! statements {
    ($connection:ty, $row:ty, numbered: $numbered:literal) => {
        #[async_trait::async_trait]
        impl $crate::store::read::Queries for $connection {
            type Row = $row;

            async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<$row>, sqlx::Error> {
                let query = sqlx::query(sqlx::AssertSqlSafe(query));
                let query = numbers.iter().fold(query, |query, number| query.bind(*number));
                query.fetch_all(self).await
            }
        }

        #[async_trait::async_trait]
        impl $crate::store::write::Statements for $connection {
            const NUMBERED: bool = $numbered;

            async fn run(
                &mut self,
                statement: String,
                values: Vec<$crate::store::tables::Value>,
            ) -> Result<(), sqlx::Error> {
                use $crate::store::tables::Value;
                let query = sqlx::query(sqlx::AssertSqlSafe(statement));
                let query = values.into_iter().fold(query, |query, value| match value {
                    Value::Integer(value) => query.bind(value),
                    Value::Real(value) => query.bind(value),
                    Value::Text(value) => query.bind(value),
                    Value::Boolean(value) => query.bind(value),
                });
                query.execute(self).await.map(drop)
            }
        }

        $crate::store::cells::cells!($row);
    };
}
pub(super) use statements;

/// Keeps records, inside a transaction of the caller's. After an error, `rows` must not be used any more.
pub(super) async fn records<S: Statements>(
    connection: &mut S,
    rows: &mut Rows,
    records: &[Record],
) -> Result<(), StoreError> {
    for Write { table, replaces, rows } in rows.take(connection, records).await? {
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let length = (1 << rows.len().ilog2()).min(ROWS_A_STATEMENT_MAX);
            let (some, others) = rows.split_at(length);
            connection.run(insert::<S>(table, replaces, length), values(some)).await?;
            rows = others;
        }
    }
    Ok(())
}

fn values(rows: &[Row]) -> Vec<Value> {
    let mut values = Vec::with_capacity(rows.iter().map(|row| row.len() + 1).sum());
    for row in rows {
        values.extend_from_slice(row);
        values.push(checksum(row).into());
    }
    values
}

fn insert<S: Statements>(table: &Table, replaces: bool, rows: usize) -> String {
    let width = table.columns.len() + 1;
    let mut statement = format!("INSERT INTO {} ({}, checksum) VALUES ", table.name, table.column_list());
    for row in 0..rows {
        statement.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=width {
            statement.push_str(if column == 1 { "" } else { ", " });
            if S::NUMBERED {
                statement.push_str(&format!("${}", row * width + column));
            } else {
                statement.push('?');
            }
        }
        statement.push(')');
    }
    if replaces {
        let (keys, others) = table.columns.split_at(table.keys);
        let keys: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
        let others = others.iter().map(|(name, _)| *name).chain(["checksum"]);
        let others: Vec<_> = others.map(|name| format!("{name} = excluded.{name}")).collect();
        statement.push_str(&format!(
            " ON CONFLICT ({}) DO UPDATE SET {}",
            keys.join(", "),
            others.join(", ")
        ));
    }
    statement
}
