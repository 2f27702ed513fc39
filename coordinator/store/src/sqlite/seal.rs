//! Checksums for rows of databases that are older than checksums.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::{
    StoreError,
    cells::Cells,
    read::Queries,
    tables::{ATTEMPTS, EPOCHS, JOBS, SWEEPS, Table, checksum},
};

/// Gives every row its checksum.
pub(super) async fn everything(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for table in [&SWEEPS, &JOBS, &ATTEMPTS, &EPOCHS] {
        rows(connection, table).await?;
    }
    Ok(())
}

async fn rows(connection: &mut SqliteConnection, table: &Table) -> Result<(), StoreError> {
    let keys = &table.columns[..table.keys];
    let conditions: Vec<String> =
        keys.iter().enumerate().map(|(index, (column, _))| format!("{column} = ${}", index + 2)).collect();
    let update = format!("UPDATE {} SET checksum = $1 WHERE {}", table.name, conditions.join(" AND "));
    let select = format!("SELECT {} FROM {}", table.column_list(), table.name);
    for row in connection.rows(select, &[]).await? {
        let mut query = sqlx::query(AssertSqlSafe(update.clone())).bind(checksum(&table.values(&row)?));
        for (column, _) in keys {
            query = query.bind(row.integer(column)?);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
