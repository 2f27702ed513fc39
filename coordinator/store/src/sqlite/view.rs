//! A database as it is at one moment, only read: also while a coordinator writes to it, and without its lock.

use std::path::{Path, PathBuf};

use domain::record::StoredSweep;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use terms::SweepId;

use super::{
    super::{JobRow, StoreError, read},
    BUSY_TIMEOUT, MIGRATIONS,
    place::sibling,
};

/// One SQLite file at one moment.
#[derive(Debug)]
pub struct SqliteView {
    path: PathBuf,
    connection: SqliteConnection,
}

impl SqliteView {
    /// Opens the file, which must be one of this version.
    ///
    /// # Errors
    /// There is no such file, or it is none of this version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let found = std::fs::metadata(path);
        found.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        // Beside a database that no one writes, SQLite makes the files that go with it, and cannot in a folder that is closed to us:
        // there, no one can have begun to write.
        let is_written = sibling(path, "-wal").exists();
        let mut connection = match begun(&options).await {
            Err(_) if !is_written => begun(&options.immutable(true)).await,
            opened => opened,
        }?;
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        let applied: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await?;
        if applied != newest {
            return Err(StoreError::OtherVersion { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every sweep, as for a coordinator that starts.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn sweeps(&mut self) -> Result<Vec<StoredSweep>, StoreError> {
        read::sweeps(&mut self.connection).await
    }

    /// At most `limit` jobs that had an attempt, from the number `first` on.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn jobs(&mut self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        read::jobs(&mut self.connection, sweep, first, limit).await
    }

    /// Lets go of the file.
    ///
    /// # Errors
    /// The database reports one.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}

/// A connection whose reads are all of the moment of the first.
async fn begun(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::query("BEGIN").execute(&mut connection).await?;
    // `BEGIN` alone reads nothing.
    sqlx::query("SELECT COUNT(*) FROM _sqlx_migrations").execute(&mut connection).await?;
    Ok(connection)
}
