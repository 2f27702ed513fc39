//! Rows into tables: one statement for all rows of a table, which brings each column as an array. So a commit takes a round
//! trip a table, however many records it has, and each statement is prepared once.

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::{
    StoreError,
    rows::{Before, Row, Write},
    tables::{Kind, Table, Value, checksum},
};

/// Most rows a statement, so that a commit's arrays stay below a few megabytes.
const ROWS_A_STATEMENT_MAX: usize = 4_096;

/// Writes rows, inside a transaction of the caller's.
pub(super) async fn rows(connection: &mut PgConnection, writes: &[Write]) -> Result<(), StoreError> {
    for Write { table, before, rows } in writes {
        let statement = insert(table, *before != Before::Nothing);
        for rows in rows.chunks(ROWS_A_STATEMENT_MAX) {
            let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
            for (column, (_, kind)) in table.columns.iter().enumerate() {
                query = match kind {
                    Kind::Integer | Kind::Added => query.bind(array(rows, column, |value| match value {
                        Value::Integer(value) | Value::Added(value) => Some(*value),
                        _ => None,
                    })?),
                    Kind::Real | Kind::AddedReal => query.bind(array(rows, column, |value| match value {
                        Value::Real(value) | Value::AddedReal(value) => Some(*value),
                        _ => None,
                    })?),
                    Kind::Text => query.bind(array(rows, column, |value| match value {
                        Value::Text(value) => Some(value.as_deref()),
                        _ => None,
                    })?),
                    Kind::Boolean => query.bind(array(rows, column, |value| match value {
                        Value::Boolean(value) => Some(Some(*value)),
                        _ => None,
                    })?),
                };
            }
            let checksums: Vec<i64> = rows.iter().map(|row| checksum(row)).collect();
            query.bind(checksums).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// A column's values, row by row. One of another kind than the column's is a fault of this program; as NULL it would be lost
/// in silence.
fn array<'a, T>(
    rows: &'a [Row],
    column: usize,
    of_kind: impl Fn(&'a Value) -> Option<Option<T>>,
) -> Result<Vec<Option<T>>, sqlx::Error> {
    let value = |row: &'a Row| {
        let value = row.get(column);
        value.and_then(&of_kind).ok_or_else(|| {
            sqlx::Error::Encode(format!("{value:?} is no value of a row's column {column}").into())
        })
    };
    rows.iter().map(value).collect()
}

/// The statement that writes rows given as one array a column.
fn insert(table: &Table, replaces: bool) -> String {
    let arrays: Vec<String> = table
        .columns
        .iter()
        .map(|(_, kind)| match kind {
            Kind::Integer | Kind::Added => "bigint",
            Kind::Real | Kind::AddedReal => "double precision",
            Kind::Text => "text",
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
        let real = |value: &Value| match value {
            Value::Real(value) => Some(*value),
            _ => None,
        };
        let row = |value| Row::from([value]);
        let rows = [row(Value::Real(Some(0.5))), row(Value::Real(None))];
        assert_eq!(array(&rows, 0, real).unwrap(), [Some(0.5), None]);
        assert!(array(&[row(Value::Integer(Some(1)))], 0, real).is_err());
        assert!(array(&rows, 1, real).is_err(), "a row that ends before the column");
    }
}
