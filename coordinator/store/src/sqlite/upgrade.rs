//! Databases of earlier versions: what was written before rows had checksums, and before metrics had names.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::{
    super::{
        StoreError,
        migrate::{self, Database},
        read::Queries,
        rows::Write,
        tables::{self, TableRow, Value},
    },
    write::insert,
};

/// `user_version` of databases whose rows have checksums.
const VERSION_SEALED: i64 = 1;

/// Gives a row where metrics have names.
const HAS_NAMES: &str = "SELECT 1 FROM pragma_table_info('epochs') WHERE name = 'metrics'";

const BEFORE: &str = include_str!("../../migrations/by_name/sqlite_before.sql");
const AFTER: &str = include_str!("../../migrations/by_name/sqlite_after.sql");

/// Brings rows up to date, all or none of them.
pub(super) async fn rows(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let is_sealed = version >= VERSION_SEALED;
    let has_names = !connection.rows(HAS_NAMES.to_owned(), &[]).await?.is_empty();
    if is_sealed && has_names {
        return Ok(());
    }
    // Tables are made again under their names, which others refer to by name; neither can be changed within a transaction.
    sqlx::raw_sql("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON")
        .execute(&mut *connection)
        .await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if !is_sealed {
        seal::<tables::Sweep>(&mut transaction).await?;
        seal::<tables::Attempt>(&mut transaction).await?;
    }
    if !has_names {
        sqlx::raw_sql(BEFORE).execute(&mut *transaction).await?;
        migrate::rows(&mut *transaction, is_sealed).await?;
        sqlx::raw_sql(AFTER).execute(&mut *transaction).await?;
    }
    sqlx::query("PRAGMA user_version = 1").execute(&mut *transaction).await?;
    transaction.commit().await?;
    sqlx::raw_sql("PRAGMA legacy_alter_table = OFF; PRAGMA foreign_keys = ON").execute(connection).await?;
    Ok(())
}

/// Gives every row of a table its checksum.
async fn seal<R: TableRow>(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let table = R::TABLE;
    let keys = &table.columns[..table.keys];
    let conditions: Vec<String> =
        keys.iter().enumerate().map(|(index, (column, _))| format!("{column} = ${}", index + 2)).collect();
    let update = format!("UPDATE {} SET checksum = $1 WHERE {}", table.name, conditions.join(" AND "));
    let select = format!("SELECT {} FROM {}", table.column_list(), table.name);
    for cells in connection.rows(select, &[]).await? {
        let row = R::read(&cells)?;
        let mut query = sqlx::query(AssertSqlSafe(update.clone())).bind(row.checksum());
        let mut values = Vec::new();
        row.values(&mut values);
        for value in &values[..table.keys] {
            if let Value::Integer(value) = value {
                query = query.bind(*value);
            }
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

#[async_trait]
impl Database for SqliteConnection {
    async fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for Write { table, rows, .. } in writes {
            let statement = insert(table, "");
            for row in rows {
                let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
                let mut values = Vec::new();
                row.values(&mut values);
                for value in values {
                    query = match value {
                        Value::Integer(value) | Value::Added(value) => query.bind(value),
                        Value::Real(value) | Value::AddedReal(value) => query.bind(value),
                        Value::Text(value) | Value::AddedText(value) => query.bind(value.map(str::to_owned)),
                        Value::Bytes(value) => query.bind(value.map(<[u8]>::to_vec)),
                        Value::Boolean(value) => query.bind(value),
                    };
                }
                query.bind(row.checksum()).execute(&mut *self).await?;
            }
        }
        Ok(())
    }
}
