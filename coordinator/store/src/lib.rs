//! Stores results: one trait, implemented for SQLite and PostgreSQL. A store keeps records in commit order, returns
//! everything at the next start, and answers queries that need more than the engine holds.

mod cells;
mod checksum;
mod counting;
pub mod lead;
mod look;
mod migrate;
mod postgres;
mod quotas;
mod read;
mod rows;
mod rungs;
mod search;
mod sqlite;
mod tables;
mod tokens;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::record::{
    BestEpoch, Quota, Record, Rung, StoredSearch, StoredSweep, Token, WeightsFile, WeightsState,
};
use terms::{Epoch, JobKey, JobState, MetricRow, MetricSchema, SweepId};

pub use self::{
    counting::CountingEpochs,
    look::look,
    postgres::PostgresStore,
    sqlite::{SqliteStore, SqliteView, ViewedRows},
};

/// Who receives the address of another leader.
pub type LeaderTold<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What the results of a sweep are made from: all rows of its jobs, read page by page.
#[async_trait]
pub trait ResultRows: Send + Sync + fmt::Debug {
    /// At most `limit` jobs that had an attempt, from the number `first` on, in the order of their numbers.
    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError>;

    /// At most `limit` attempts after a place, of jobs up to the number `last`, by job and attempt.
    async fn attempts_of_jobs(
        &self,
        sweep: SweepId,
        after: AttemptPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError>;

    /// At most `limit` epochs after a place, of jobs up to the number `last`, by job, attempt and epoch.
    async fn epochs(
        &self,
        sweep: SweepId,
        after: EpochPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError>;

    /// What became of the weights of the jobs numbered `first` to `last`, at most `limit` of them, by job.
    async fn artifacts(
        &self,
        sweep: SweepId,
        first: u64,
        last: u64,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError>;
}

#[async_trait]
pub trait Store: ResultRows {
    /// Waits until this coordinator, which is reached at `address`, may write. Meanwhile reports the address of the
    /// coordinator that may to `leader`. A store with only one coordinator does not wait.
    async fn lead(&self, address: &str, leader: LeaderTold<'_>) -> Result<(), StoreError>;

    /// Keeps the right to write until it is lost, and returns why. Must be awaited for as long as this coordinator leads.
    async fn deposed(&self) -> StoreError;

    /// Whether no other coordinator can write now, so that what this one knows is what the store holds. Not so while a leader
    /// waits to be confirmed, or was frozen; what it commits is protected without this.
    fn leads_surely(&self) -> bool {
        true
    }

    /// The number of its time as the leader, where coordinators share the store and this one leads.
    fn term(&self) -> Option<i64> {
        None
    }

    /// Gives up the right to write, if others can take it, without waiting for what hangs: for a leader that stops or can
    /// no longer write.
    async fn lay_down(&self) {}

    /// Everything the engine needs to continue.
    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError>;

    /// Stores all of the records or none; they are durable when this returns. After an error, what was stored is unknown
    /// until it is loaded again.
    async fn commit(&self, records: &[Record]) -> Result<(), StoreError>;

    /// At most `limit` jobs in one state, from the number `first` on, in the order of their numbers. Does not scan the others if the state is rare.
    async fn jobs_in_state(
        &self,
        sweep: SweepId,
        state: JobState,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError>;

    /// The attempts of a job, in order.
    async fn attempts(&self, job: JobKey) -> Result<Vec<AttemptRow>, StoreError>;

    /// The attempts of some span of time, those that began last first.
    async fn attempts_between(&self, asked: AttemptsAsked) -> Result<Vec<(JobKey, AttemptRow)>, StoreError>;

    /// What the searcher of a sweep proposed and was told; of one whose searcher does not learn, nothing.
    async fn search(&self, sweep: SweepId) -> Result<StoredSearch, StoreError>;

    /// All tokens, in the order of their ids; also where another coordinator leads.
    async fn tokens(&self) -> Result<Vec<Token>, StoreError>;

    /// All quotas, those that were lifted included, in the order of their owners.
    async fn quotas(&self) -> Result<Vec<Quota>, StoreError>;

    /// Whether there is room for commits again, after one that failed with [`StoreError::Full`].
    async fn has_room(&self) -> bool;

    /// Closes the store.
    async fn close(&self);
}

/// A job that had an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    pub job: u64,
    pub state: JobState,
    /// Attempts begun.
    pub attempts: u32,
    /// Worker of the last attempt.
    pub worker: String,
    /// Why it waits or failed; may be empty.
    pub reason: String,
    /// Epochs that count.
    pub epochs_done: u32,
    /// Their sum, in seconds.
    pub train_seconds: f64,
    /// The names of the sweep's metrics.
    pub names: MetricSchema,
    /// Their values at the last epoch that counts.
    pub last: MetricRow,
    /// The value of the sweep's objective there, where it can be ranked.
    pub objective: Option<f64>,
    /// The best of the epochs that count; none where no value can be ranked.
    pub best: Option<BestEpoch>,
    /// Jobs that the last attempt is or was trained together with, itself included.
    pub pack_size: u32,
    /// What it had reached at the epochs after which early stopping compares jobs, in their order.
    pub rungs: Vec<Rung>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    pub attempt: u32,
    /// Who ran it.
    pub worker: String,
    pub slot: u32,
    pub device: String,
    /// Whether its trainer began.
    pub started: bool,
    /// Epochs that it took over from an earlier attempt.
    pub resumed_epochs: u32,
    /// Jobs that it is or was trained together with, itself included.
    pub pack_size: u32,
    /// Its state's name.
    pub state: String,
    /// Why it ended; may be empty.
    pub reason: String,
    /// The trainer's last lines.
    pub log_tail: Vec<String>,
    /// Wall-clock time, in milliseconds since 1970.
    pub granted_unix_ms: u64,
    /// Wall-clock time of its end.
    pub ended_unix_ms: Option<u64>,
}

/// A place in the order of a sweep's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptPlace {
    pub job: u64,
    pub attempt: u32,
}

impl AttemptPlace {
    /// Before all attempts of a job, as they count from 1.
    pub fn before(job: u64) -> Self {
        Self { job, attempt: 0 }
    }
}

/// Which attempts are asked for: those that ran at some time of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptsAsked {
    /// Of this sweep alone.
    pub sweep: Option<SweepId>,
    /// Wall-clock times, in milliseconds since 1970. The second is no longer part of the span.
    pub since_unix_ms: u64,
    pub until_unix_ms: u64,
    /// At most so many.
    pub limit: u32,
}

/// A place in the order of a sweep's epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochPlace {
    pub job: u64,
    pub attempt: u32,
    pub epoch: u32,
}

impl EpochPlace {
    /// Before all epochs of an attempt; attempts and epochs count from 1, so the attempt 0 is before all of the job's.
    pub fn before(job: u64, attempt: u32) -> Self {
        Self { job, attempt, epoch: 0 }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct EpochRow {
    pub job: u64,
    /// The attempt that trained it.
    pub attempt: u32,
    /// The names of the sweep's metrics.
    pub names: MetricSchema,
    pub epoch: Epoch,
}

/// The weights of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactRow {
    pub job: u64,
    /// The attempt that trained them.
    pub attempt: u32,
    /// What became of them.
    pub state: WeightsState,
    pub worker: String,
    pub file: WeightsFile,
    /// The metric that ranked the job.
    pub value: f64,
    /// Why there are none; may be empty.
    pub reason: String,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no store.
    #[error(
        "cannot use {0:?} as a store: expected sqlite:PATH, as in sqlite:sweep.db, or postgres://USER@HOST/DATABASE"
    )]
    Url(String),
    /// The URL of a PostgreSQL database cannot be read.
    #[error("the URL of the store is wrong: {0}; expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    PostgresUrl(String),
    /// The folder of the database is missing or closed to us.
    #[error("cannot use {path} as a store: {source}; check that its folder exists and is writable")]
    Open {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another coordinator uses it.
    #[error(
        "{path} is in use by another `sweep serve` or `sweep run`; end that one first, or choose another store"
    )]
    InUse { path: PathBuf },
    /// It was removed, or replaced, while it was open.
    #[error(
        "{path} was removed or replaced while it was written, and what it held with it; start again for a new one"
    )]
    Removed { path: PathBuf },
    /// A database that is only read has other tables.
    #[error(
        "{path} is not of this version of sweep; `sweep serve --store sqlite:{path}`, or `sweep run` with its folder, brings an older one \
         up to date"
    )]
    OtherVersion { path: PathBuf },
    /// Someone began to write a database that was read without a lock.
    #[error("someone began to write {path} while it was read; try again")]
    Changed { path: PathBuf },
    /// A database of someone else has a log without its index, which SQLite would make there.
    #[error(
        "{path} has its log ({path}-wal), but not what belongs to it ({path}-shm), and another owner, so that it is not opened where it \
         lies; copy its folder, and name the copy",
        path = path.display()
    )]
    NotWhole { path: PathBuf },
    /// There is no room for the copy of a database that is only read.
    #[error(
        "{path} is in use, so that a copy of it is read, which cannot be made in {folder}: {reason}; make room there, or name another folder \
         for it with TMPDIR",
        path = path.display(),
        folder = folder.display()
    )]
    NotCopied { path: PathBuf, folder: PathBuf, reason: String },
    /// The linked SQLite has a known bug.
    #[error("SQLite {found} can corrupt databases; sweep needs 3.51.3 or newer")]
    Version {
        /// The linked version.
        found: String,
    },
    /// Another coordinator leads.
    #[error("another coordinator leads now")]
    Superseded,
    /// A commit took too long; its outcome is unknown.
    #[error("a commit has not ended within {0:?}; its connection to the database was given up")]
    Stalled(Duration),
    /// The leader's beat could not be written.
    #[error("the database has not taken the leader's beat for {0:?}")]
    Silent(Duration),
    /// A commit of an earlier leader still runs.
    #[error(
        "a commit of the leader before has not ended and keeps others from leading: {0} of the database. It was told to end, \
         which a process that is stopped (`ps` says T) only does when it goes on: on the database's machine, `kill -CONT` \
         its number, or restart the database server"
    )]
    HeldUp(String),
    /// Tables that this version does not know.
    #[error(
        "the store's tables are those of a newer version (change {found}, of which this one knows {newest}); upgrade this \
         coordinator, or name another store"
    )]
    Newer {
        /// The last change that was made to them.
        found: i64,
        newest: i64,
    },
    /// A PostgreSQL that cannot be used as it is.
    #[error("this PostgreSQL database cannot be used: {0}")]
    Unsuitable(String),
    /// The database reported an error.
    #[error("the database failed: {0}")]
    Database(#[source] sqlx::Error),
    /// SQLite did not write.
    #[error("the database failed: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// A value breaks a constraint, or no column can hold it: its sender is at fault.
    #[error("the store cannot keep this: {0}")]
    Unfit(String),
    /// There is no room on its disk.
    #[error("the disk of the store is full: {0}")]
    Full(String),
    /// The tables cannot be brought up to date.
    #[error("the database's tables are not those of this version of sweep: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row makes no sense.
    #[error(
        "the database is corrupt: {0}; restore it from a backup, or move it away and submit its sweeps again; `sqlite3 \
         FILE .recover` may save some of its rows"
    )]
    Corrupt(String),
    /// A row makes no sense, in a database that is not a file.
    #[error(
        "the database is corrupt: {0}; restore it from a backup, or name an empty database and submit its sweeps again; `pg_dump \
         --data-only` may save some of its rows"
    )]
    CorruptTables(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        /// SQLite's SQLITE_FULL and SQLITE_IOERR_SHMSIZE, PostgreSQL's disk_full.
        const FULL: [&str; 3] = ["13", "4874", "53100"];
        /// SQLite's SQLITE_CORRUPT, that of an index and that of a sequence, and SQLITE_NOTADB.
        const CORRUPT: [&str; 4] = ["11", "779", "523", "26"];
        /// PostgreSQL's classes of SQLSTATE for values that no column holds, and for constraints.
        const UNFIT: [&str; 2] = ["22", "23"];
        let is_unfit = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
            .is_some_and(|error| UNFIT.iter().any(|class| error.code().starts_with(class)));
        if is_unfit {
            return Self::Unfit(error.to_string());
        }
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some(code) if FULL.contains(&code) => Self::Full(error.to_string()),
            Some(code) if CORRUPT.contains(&code) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{
            ErrorCode,
            ffi::{
                SQLITE_CORRUPT, SQLITE_CORRUPT_INDEX, SQLITE_CORRUPT_SEQUENCE, SQLITE_FULL,
                SQLITE_IOERR_SHMSIZE, SQLITE_NOTADB,
            },
        };

        /// Constraints, texts that are too long, and values of another type than their column's.
        const UNFIT: [ErrorCode; 3] =
            [ErrorCode::ConstraintViolation, ErrorCode::TooBig, ErrorCode::TypeMismatch];
        if error.sqlite_error_code().is_some_and(|code| UNFIT.contains(&code)) {
            return Self::Unfit(error.to_string());
        }
        match error.sqlite_error().map(|error| error.extended_code) {
            Some(SQLITE_FULL | SQLITE_IOERR_SHMSIZE) => Self::Full(error.to_string()),
            Some(SQLITE_CORRUPT | SQLITE_CORRUPT_INDEX | SQLITE_CORRUPT_SEQUENCE | SQLITE_NOTADB) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Whether the store may work again without a restart of the coordinator: it was restarted, cannot be reached, is full,
    /// or belongs to another coordinator now.
    pub fn is_passing(&self) -> bool {
        /// SQLite's SQLITE_CANTOPEN, as of a reader's connection where the process has no file descriptors left.
        const CANNOT_OPEN: i32 = 14;
        /// The part of SQLite's codes that says what went wrong; the rest says where.
        const PRIMARY: i32 = 0xff;
        /// Classes of SQLSTATE: connection exceptions, resources, operator intervention, and transactions that were
        /// rolled back, ended for standing still, or waited too long for a lock.
        const CLASSES: [&str; 6] = ["08", "53", "57", "40", "25", "55"];
        match self {
            // Where there is no room even for what a start or a leader writes, there may be later.
            Self::Superseded | Self::Full(_) | Self::Stalled(_) | Self::Silent(_) | Self::HeldUp(_) => true,
            Self::Sqlite(error) => {
                error.sqlite_error().is_some_and(|error| error.extended_code & PRIMARY == CANNOT_OPEN)
            }
            Self::Database(sqlx::Error::Database(error)) => {
                match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    Some(error) => CLASSES.iter().any(|class| error.code().starts_with(class)),
                    None => error
                        .code()
                        .and_then(|code| code.parse::<i32>().ok())
                        .is_some_and(|code| code & PRIMARY == CANNOT_OPEN),
                }
            }
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::WorkerCrashed
            ),
            _ => false,
        }
    }
}

/// Opens the store at `url` and creates missing tables.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url).await?));
    }
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some(path) if !path.is_empty() => Ok(Arc::new(SqliteStore::open(path.as_ref()).await?)),
        _ => Err(StoreError::Url(url.to_owned())),
    }
}

/// A store's URL without user and password, safe to show.
pub fn without_secrets(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, place)) => format!("{scheme}://{}", place.split('?').next().unwrap_or(place)),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

    use super::*;

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_at_the_moment_is_an_error_that_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone.db");
        let reader = SqliteConnectOptions::new().filename(&path).read_only(true).connect().await;
        let reader = StoreError::from(reader.unwrap_err());
        assert!(matches!(reader, StoreError::Database(_)) && reader.is_passing(), "{reader:?}");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let writer = StoreError::from(rusqlite::Connection::open_with_flags(&path, flags).unwrap_err());
        assert!(matches!(writer, StoreError::Sqlite(_)) && writer.is_passing(), "{writer:?}");
        // What a statement says of itself does not pass.
        let wrong = rusqlite::Connection::open_in_memory().unwrap().execute_batch("SELECT").unwrap_err();
        assert!(!StoreError::from(wrong).is_passing());
    }
}
