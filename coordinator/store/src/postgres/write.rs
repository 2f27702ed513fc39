//! Writes rows: one statement for all rows of a table, with each column as an array. So a commit takes one round trip per
//! table, however many records it has, and each statement is prepared once.

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::{
    StoreError,
    checksum::checksum,
    rows::{Before, Write},
    tables::{Kind, Table, Value},
};

/// Most rows per statement, so that a commit's arrays stay below a few megabytes.
const ROWS_A_STATEMENT_MAX: usize = 4_096;

/// Writes rows inside the caller's transaction.
pub(super) async fn rows(connection: &mut PgConnection, writes: &[Write]) -> Result<(), StoreError> {
    for Write { table, before, rows } in writes {
        let statement = insert(table, *before != Before::Nothing);
        for rows in rows.chunks(ROWS_A_STATEMENT_MAX) {
            let mut values = Vec::with_capacity(rows.len() * table.columns.len());
            rows.iter().for_each(|row| row.values(&mut values));
            let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
            for (column, (_, kind)) in table.columns.iter().enumerate() {
                let column = values.iter().copied().skip(column).step_by(table.columns.len());
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
            let checksums: Vec<i64> = values.chunks(table.columns.len()).map(checksum).collect();
            query.bind(checksums).execute(&mut *connection).await?;
        }
    }
    Ok(())
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

/// The statement that writes rows given as one array per column.
fn insert(table: &Table, replaces: bool) -> String {
    let arrays: Vec<String> = table
        .columns
        .iter()
        .map(|(_, kind)| match kind {
            Kind::Integer | Kind::Added => "bigint",
            Kind::Real | Kind::AddedReal => "double precision",
            Kind::Text | Kind::AddedText => "text",
            Kind::Bytes => "bytea",
            Kind::Boolean => "boolean",
        })
        .chain(["bigint"])
        .enumerate()
        .map(|(position, kind)| format!("${}::{kind}[]", position + 1))
        .collect();
    let mut statement = format!(
        "INSERT INTO {} ({}, checksum) SELECT * FROM unnest({})",
        table.name,
        table.column_list(),
        arrays.join(", ")
    );
    if replaces {
        statement.push_str(&table.on_conflict());
    }
    statement
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
