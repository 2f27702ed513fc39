//! SQLite: one writer, read-only readers beside it, everything fsynced before it is acknowledged.

mod load;
mod write;

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use proto::{JobKey, SweepId};
use sqlx::{
    Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use tokio::sync::Mutex;

use super::{AttemptRow, EpochRow, JobRow, Store, StoreError};
use crate::core::{
    record::{EpochMetrics, FailedJob, Record, StoredSweep},
    state::JobState,
};

/// First SQLite without the bug in WAL reset that could damage a database.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// Readers at the same time; more would only wait for the processor.
const READERS_MAX: u32 = 4;
/// How long a reader waits for the writer's checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
    /// Held for as long as the store is open: SQLite would let two coordinators in.
    _lock: File,
}

impl SqliteStore {
    /// Opens the file, makes it where it is missing, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With NORMAL, a power cut could take commits that were acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        check_version(&mut writer).await?;
        MIGRATIONS.run(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self { writer: Mutex::new(Some(writer)), readers, _lock: lock })
    }
}

/// Takes the lock file beside the database.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
    let mut parts = found.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < SQLITE_VERSION_MIN { Err(StoreError::Version { found }) } else { Ok(()) }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        load::sweeps(&mut connection).await
    }

    async fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut guard = self.writer.lock().await;
        let writer = guard.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        for record in records {
            write::record(&mut transaction, record).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT job, state, attempts, worker, reason, epochs_done, train_seconds, train_loss, val_accuracy \
             FROM jobs WHERE sweep_id = ? AND job >= ? ORDER BY job LIMIT ?",
        )
        .bind(integer(sweep.0)?)
        .bind(integer(first)?)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(job_row).collect()
    }

    async fn failed_jobs(&self, sweep: SweepId, limit: u32) -> Result<Vec<FailedJob>, StoreError> {
        let rows = sqlx::query(
            "SELECT job, attempts FROM jobs WHERE sweep_id = ? AND state = 'failed' ORDER BY job LIMIT ?",
        )
        .bind(integer(sweep.0)?)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(failed_job).collect()
    }

    async fn attempts(&self, job: JobKey) -> Result<Vec<AttemptRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT attempt, worker, slot, device, resumed_epochs, state, reason, log_tail, granted_unix_ms, ended_unix_ms \
             FROM attempts WHERE sweep_id = ? AND job = ? ORDER BY attempt",
        )
        .bind(integer(job.sweep.0)?)
        .bind(integer(job.job)?)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(attempt_row).collect()
    }

    async fn epochs(&self, sweep: SweepId, first: u64, last: u64) -> Result<Vec<EpochRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT job, attempt, epoch, train_loss, val_accuracy, epoch_seconds \
             FROM epochs WHERE sweep_id = ? AND job BETWEEN ? AND ? ORDER BY job, epoch, attempt",
        )
        .bind(integer(sweep.0)?)
        .bind(integer(first)?)
        .bind(integer(last)?)
        .fetch_all(&self.readers)
        .await?;
        let row = |row: &SqliteRow| {
            Ok(EpochRow {
                job: natural(row, "job")?,
                attempt: natural(row, "attempt")?,
                metrics: metrics(row)?,
            })
        };
        rows.iter().map(row).collect()
    }

    async fn close(&self) {
        self.readers.close().await;
        if let Some(writer) = self.writer.lock().await.take()
            && let Err(error) = writer.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; it recovers at the next start");
        }
    }
}

/// A number as SQLite holds it.
fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} is beyond what a row can hold")))
}

/// A column that counts something.
fn natural<N: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<N, StoreError> {
    let number: i64 = row.try_get(column)?;
    N::try_from(number).map_err(|_| StoreError::Damaged(format!("the column {column} holds {number}")))
}

fn optional_natural(row: &SqliteRow, column: &str) -> Result<Option<u64>, StoreError> {
    let number: Option<i64> = row.try_get(column)?;
    let natural =
        |number| u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{column} holds {number}")));
    number.map(natural).transpose()
}

fn job_state(row: &SqliteRow) -> Result<JobState, StoreError> {
    let name: String = row.try_get("state")?;
    JobState::from_name(&name).ok_or_else(|| StoreError::Damaged(format!("a job's state is {name:?}")))
}

fn job_row(row: &SqliteRow) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        job: natural(row, "job")?,
        state: job_state(row)?,
        attempts: natural(row, "attempts")?,
        worker: row.try_get("worker")?,
        reason: row.try_get("reason")?,
        epochs_done: natural(row, "epochs_done")?,
        train_seconds: row.try_get("train_seconds")?,
        train_loss: row.try_get("train_loss")?,
        val_accuracy: row.try_get("val_accuracy")?,
    })
}

fn failed_job(row: &SqliteRow) -> Result<FailedJob, StoreError> {
    Ok(FailedJob { job: natural(row, "job")?, attempts: natural(row, "attempts")? })
}

fn attempt_row(row: &SqliteRow) -> Result<AttemptRow, StoreError> {
    let log_tail: String = row.try_get("log_tail")?;
    Ok(AttemptRow {
        attempt: natural(row, "attempt")?,
        worker: row.try_get("worker")?,
        slot: natural(row, "slot")?,
        device: row.try_get("device")?,
        resumed_epochs: natural(row, "resumed_epochs")?,
        state: row.try_get("state")?,
        reason: row.try_get("reason")?,
        log_tail: serde_json::from_str(&log_tail)
            .map_err(|error| StoreError::Damaged(format!("a log: {error}")))?,
        granted_unix_ms: natural(row, "granted_unix_ms")?,
        ended_unix_ms: optional_natural(row, "ended_unix_ms")?,
    })
}

fn metrics(row: &SqliteRow) -> Result<EpochMetrics, StoreError> {
    Ok(EpochMetrics {
        epoch: natural(row, "epoch")?,
        train_loss: row.try_get("train_loss")?,
        val_accuracy: row.try_get("val_accuracy")?,
        epoch_seconds: row.try_get("epoch_seconds")?,
    })
}
