//! PostgreSQL: several coordinators on one database, of which one leads and writes. A commit is one transaction of
//! a few statements that first makes sure that its writer still leads.

mod leader;
mod write;

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use proto::{JobKey, SweepId};
use sqlx::{
    Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};
use tokio::sync::Mutex;

use self::leader::Leadership;
use super::{
    AttemptRow, EpochRow, JobRow, LeaderTold, Store, StoreError,
    read::{self, queries},
    rows::Rows,
};
use crate::core::{
    record::{Record, StoredSweep},
    state::JobState,
};

/// Readers at the same time.
const READERS_MAX: u32 = 8;
/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// What every connection is told. Commits wait for the disk, whatever the server's default is. A transaction whose
/// coordinator stands still is ended by the server, so that it holds up no new leader. A network that swallows
/// packets is noticed.
const SESSION: &str = "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '3s'; \
                       SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    options: PgConnectOptions,
    /// Taken out while a commit runs: one that fails or is given up takes its connection and its rows with it.
    writer: Mutex<Option<Writer>>,
    readers: PgPool,
    leadership: Leadership,
}

/// The one connection that writes, and what it will write again while this coordinator leads.
#[derive(Debug)]
struct Writer {
    connection: PgConnection,
    rows: Rows,
}

impl PostgresStore {
    /// Connects and brings the tables up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::PostgresUrl(error.to_string()))?
            .application_name("sweep");
        let readers = PgPoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(CONNECT_WITHIN)
            .after_connect(|connection, _| Box::pin(async move { set_up(connection).await }))
            .connect_with(options.clone())
            .await?;
        let durable: String = sqlx::query_scalar("SHOW fsync").fetch_one(&readers).await?;
        if durable != "on" {
            tracing::warn!(
                "this PostgreSQL runs with fsync = off: a power cut takes results that were acknowledged"
            );
        }
        MIGRATIONS.run(&readers).await?;
        Ok(Self { options, writer: Mutex::new(None), readers, leadership: Leadership::default() })
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connect = PgConnection::connect_with(&self.options);
        let mut connection =
            tokio::time::timeout(CONNECT_WITHIN, connect).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        set_up(&mut connection).await?;
        Ok(connection)
    }
}

async fn set_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(SESSION).await.map(drop)
}

#[async_trait]
impl Store for PostgresStore {
    async fn lead(&self, address: &str, leader: LeaderTold<'_>) -> Result<(), StoreError> {
        self.leadership.take(&self.readers, address, leader).await?;
        // Others may have written since.
        *self.writer.lock().await = None;
        Ok(())
    }

    async fn deposed(&self) -> StoreError {
        self.leadership.keep(&self.readers).await
    }

    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError> {
        read::sweeps(&mut *self.readers.acquire().await?).await
    }

    async fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut guard = self.writer.lock().await;
        let mut writer = match guard.take() {
            Some(writer) => writer,
            None => Writer { connection: self.connect().await?, rows: Rows::default() },
        };
        let mut transaction = writer.connection.begin().await?;
        self.leadership.check(&mut transaction).await?;
        let writes = writer.rows.take(&mut *transaction, records).await?;
        write::rows(&mut transaction, &writes).await?;
        transaction.commit().await?;
        *guard = Some(writer);
        Ok(())
    }

    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        read::jobs(&mut *self.readers.acquire().await?, sweep, first, limit).await
    }

    async fn jobs_in_state(
        &self,
        sweep: SweepId,
        state: JobState,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        read::jobs_in_state(&mut *self.readers.acquire().await?, sweep, state, first, limit).await
    }

    async fn attempts(&self, job: JobKey) -> Result<Vec<AttemptRow>, StoreError> {
        read::attempts(&mut *self.readers.acquire().await?, job).await
    }

    async fn epochs(&self, sweep: SweepId, first: u64, last: u64) -> Result<Vec<EpochRow>, StoreError> {
        read::epochs(&mut *self.readers.acquire().await?, sweep, first, last).await
    }

    async fn has_room(&self) -> bool {
        // Only the server knows, and only when it writes.
        true
    }

    async fn close(&self) {
        if let Err(error) = self.leadership.vacate(&self.readers).await {
            tracing::warn!(%error, "another coordinator will notice by itself that this one has gone");
        }
        if let Some(writer) = self.writer.lock().await.take() {
            // The server notices a connection that is gone without a word.
            let _ = writer.connection.close().await;
        }
        self.readers.close().await;
    }
}

queries!(PgConnection, PgRow);
