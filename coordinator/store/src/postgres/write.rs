//! Writes a commit: one statement, which makes sure that this coordinator leads and inserts the rows of every table, with each
//! column as an array. So a commit is one round trip however many records it has, the server commits it when it ends, and a
//! statement is prepared once for each set of tables.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, PgConnection, Postgres, postgres::PgArguments, query::QueryScalar};

use super::super::{
    StoreError,
    checksum::checksum,
    rows::{Before, Write},
    tables::{Kind, Row, Table, Value},
};

/// Most rows of a table in a statement, so that its arrays stay below a few megabytes.
const ROWS_A_STATEMENT_MAX: usize = 4_096;

/// Rows of one table that a statement writes.
#[derive(Debug, Clone, Copy)]
struct Part<'w> {
    table: &'static Table,
    before: Before,
    rows: &'w [Row],
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
enum Writes {
    /// The leader of this term.
    Leader(i64),
    Anyone,
}

/// Gives a row where the leader's term is still $1, and locks it: that conflicts with a change of the leader alone.
const LEADS: &str = "SELECT 1 FROM leader WHERE epoch = $1 FOR KEY SHARE";
const ANYONE: &str = "SELECT $1::bigint";

impl<'w> Part<'w> {
    fn of(write: &Write, rows: &'w [Row]) -> Self {
        Self { table: write.table, before: write.before, rows }
    }
}

/// Writes rows, all or none, if the leader's term is still `term`: no statement writes anything where it is another. They are
/// durable when this returns. After any error but [`StoreError::Superseded`] it is unknown whether they are.
pub(super) async fn commit(
    connection: &mut PgConnection,
    term: i64,
    writes: &[Write],
) -> Result<(), StoreError> {
    let statements = statements(writes);
    if let [parts] = &statements[..] {
        // A statement that stands alone is a transaction.
        return write(connection, Writes::Leader(term), parts).await;
    }
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    for parts in &statements {
        // After an error the caller drops the connection, and the transaction with it.
        write(connection, Writes::Leader(term), parts).await?;
    }
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(())
}

/// Writes rows inside the caller's transaction, which keeps everyone else out.
pub(super) async fn alone(connection: &mut PgConnection, writes: &[Write]) -> Result<(), StoreError> {
    for parts in &statements(writes) {
        write(connection, Writes::Anyone, parts).await?;
    }
    Ok(())
}

/// The statements that write these rows, tables that others refer to first: one, unless a table has too many rows for it.
/// Without rows there is still one, as a commit says that this coordinator leads.
fn statements(writes: &[Write]) -> Vec<Vec<Part<'_>>> {
    if writes.iter().all(|write| write.rows.len() <= ROWS_A_STATEMENT_MAX) {
        return vec![writes.iter().map(|write| Part::of(write, &write.rows)).collect()];
    }
    writes
        .iter()
        .flat_map(|write| {
            write.rows.chunks(ROWS_A_STATEMENT_MAX).map(move |rows| vec![Part::of(write, rows)])
        })
        .collect()
}

async fn write(connection: &mut PgConnection, writes: Writes, parts: &[Part<'_>]) -> Result<(), StoreError> {
    let (condition, term) = match writes {
        Writes::Leader(term) => (LEADS, term),
        Writes::Anyone => (ANYONE, 0),
    };
    let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement(condition, parts))).bind(term);
    for part in parts {
        query = bound(query, part)?;
    }
    // To the end of the answer: the row comes before the server commits.
    match query.fetch_all(connection).await?[..] {
        [1] => Ok(()),
        _ => Err(StoreError::Superseded),
    }
}

type Query<'q> = QueryScalar<'q, Postgres, i64, PgArguments>;

/// The query with an array for each column of the rows, and one of checksums.
fn bound<'q>(mut query: Query<'q>, Part { table, rows, .. }: &Part<'q>) -> Result<Query<'q>, sqlx::Error> {
    let columns = table.columns.len();
    let mut values = Vec::with_capacity(rows.len() * columns);
    rows.iter().for_each(|row| row.values(&mut values));
    for (column, (_, kind)) in table.columns.iter().enumerate() {
        let column = values.iter().copied().skip(column).step_by(columns);
        query = match kind {
            Kind::Integer | Kind::Added => query.bind(array(column, |value| match value {
                Value::Integer(value) | Value::Added(value) => Some(value),
                _ => None,
            })?),
            Kind::Real | Kind::AddedReal => query.bind(array(column, |value| match value {
                Value::Real(value) | Value::AddedReal(value) => Some(value),
                _ => None,
            })?),
            Kind::Text | Kind::AddedText => query.bind(array(column, |value| match value {
                Value::Text(value) | Value::AddedText(value) => Some(value),
                _ => None,
            })?),
            Kind::Bytes => query.bind(array(column, |value| match value {
                Value::Bytes(value) => Some(value),
                _ => None,
            })?),
            Kind::Boolean => query.bind(array(column, |value| match value {
                Value::Boolean(value) => Some(Some(value)),
                _ => None,
            })?),
        };
    }
    let checksums: Vec<i64> = values.chunks(columns).map(checksum).collect();
    Ok(query.bind(checksums))
}

/// A column's values, row by row. A value of another kind is a bug in this program; written as NULL it would be lost
/// silently.
fn array<'v, T>(
    column: impl Iterator<Item = Value<'v>>,
    of_kind: impl Fn(Value<'v>) -> Option<Option<T>>,
) -> Result<Vec<Option<T>>, sqlx::Error> {
    let value = |value| {
        of_kind(value)
            .ok_or_else(|| sqlx::Error::Encode(format!("{value:?} is no value of its column's kind").into()))
    };
    column.map(value).collect()
}

/// The statement that writes rows given as one array per column, from $2 on. It gives the number of rows of `condition`, and
/// writes nothing where there is none.
fn statement(condition: &str, parts: &[Part<'_>]) -> String {
    let mut statement = format!("WITH may AS MATERIALIZED ({condition})");
    let mut place = 1;
    for (index, Part { table, before, .. }) in parts.iter().enumerate() {
        let mut arrays = String::new();
        for kind in table.columns.iter().map(|(_, kind)| array_of(*kind)).chain(["bigint"]) {
            place += 1;
            let comma = if arrays.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(arrays, "{comma}unnest(${place}::{kind}[])");
        }
        let _ = write!(
            statement,
            ", part_{index} AS (INSERT INTO {} ({}, checksum) SELECT {arrays} \
             WHERE EXISTS (SELECT FROM may)",
            table.name,
            table.column_list(),
        );
        if *before != Before::Nothing {
            statement.push_str(&table.on_conflict());
        }
        statement.push(')');
    }
    statement.push_str(" SELECT count(*) FROM may");
    statement
}

fn array_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer | Kind::Added => "bigint",
        Kind::Real | Kind::AddedReal => "double precision",
        Kind::Text | Kind::AddedText => "text",
        Kind::Bytes => "bytea",
        Kind::Boolean => "boolean",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_kind_than_its_column_is_refused_and_not_lost() {
        let real = |value| match value {
            Value::Real(value) => Some(value),
            _ => None,
        };
        let column = [Value::Real(Some(0.5)), Value::Real(None)];
        assert_eq!(array(column.into_iter(), real).unwrap(), [Some(0.5), None]);
        assert!(array([Value::Integer(Some(1))].into_iter(), real).is_err());
    }
}
