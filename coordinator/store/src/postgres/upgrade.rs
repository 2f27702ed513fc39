//! Databases of earlier versions: what was written before metrics had names.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};

use super::{
    super::{
        StoreError,
        migrate::{self, Database},
        read::Queries,
        rows::Write,
    },
    write,
};

/// Gives a row where metrics have names.
const HAS_NAMES: &str = "SELECT 1 AS one FROM pg_attribute WHERE attrelid = 'epochs'::regclass AND attname = 'metrics' \
                         AND NOT attisdropped";

const BEFORE: &str = include_str!("../../migrations/by_name/postgres_before.sql");
const AFTER: &str = include_str!("../../migrations/by_name/postgres_after.sql");

/// One coordinator at a time: others wait here and find it done. Between two statements, rows are looked through.
const ALONE: &str =
    "LOCK TABLE sweeps IN ACCESS EXCLUSIVE MODE; SET LOCAL idle_in_transaction_session_timeout = '60s'";

/// Brings rows up to date, all or none of them.
pub(super) async fn rows(connection: &mut PgConnection) -> Result<(), StoreError> {
    if has_names(connection).await? {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(ALONE).execute(&mut *transaction).await?;
    if !has_names(&mut transaction).await? {
        sqlx::raw_sql(BEFORE).execute(&mut *transaction).await?;
        migrate::rows(&mut *transaction, true).await?;
        sqlx::raw_sql(AFTER).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn has_names(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(!connection.rows(HAS_NAMES.to_owned(), &[]).await?.is_empty())
}

#[async_trait]
impl Database for PgConnection {
    async fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        write::alone(self, writes).await
    }
}
