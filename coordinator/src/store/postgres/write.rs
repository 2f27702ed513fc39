//! Rows into tables: many rows a statement, so that a commit's round trips hardly grow with its records.

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::{
    StoreError,
    rows::{Before, Row, Write},
    tables::{Table, Value, checksum},
};

/// Most rows a statement: with the widest table, well below the 65,535 values that PostgreSQL takes. Lengths are powers
/// of two, so that few statements are prepared, each once.
const ROWS_A_STATEMENT_MAX: usize = 512;

/// Writes rows, inside a transaction of the caller's.
pub(super) async fn rows(connection: &mut PgConnection, writes: &[Write]) -> Result<(), StoreError> {
    for Write { table, before, rows } in writes {
        let replaces = *before != Before::Nothing;
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let length = (1 << rows.len().ilog2()).min(ROWS_A_STATEMENT_MAX);
            let (some, others) = rows.split_at(length);
            let query = sqlx::query(AssertSqlSafe(insert(table, replaces, length)));
            let query = values(some).into_iter().fold(query, |query, value| match value {
                Value::Integer(value) | Value::Added(value) => query.bind(value),
                Value::Real(value) | Value::AddedReal(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Boolean(value) => query.bind(value),
            });
            query.execute(&mut *connection).await?;
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

fn insert(table: &Table, replaces: bool, rows: usize) -> String {
    let width = table.columns.len() + 1;
    let mut statement = format!("INSERT INTO {} ({}, checksum) VALUES ", table.name, table.column_list());
    for row in 0..rows {
        statement.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=width {
            let comma = if column == 1 { "" } else { ", " };
            statement.push_str(&format!("{comma}${}", row * width + column));
        }
        statement.push(')');
    }
    if replaces {
        statement.push_str(&table.on_conflict());
    }
    statement
}
