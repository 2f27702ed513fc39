//! SQLite: one writer, read-only readers next to it, everything fsynced before it is acknowledged. sqlx makes the tables
//! and reads; it hands each statement to another thread and back, which a commit of many would pay for, so rusqlite
//! writes, on the same SQLite.

pub(super) mod place;
mod scan;
mod thread;
mod upgrade;
mod view;
mod viewed;
mod write;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use domain::record::{Quota, Record, StoredSearch, StoredSweep, Token};
use sqlx::{
    Connection, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use terms::{JobKey, JobState, SweepId};
use tokio::sync::Mutex;

use self::{
    place::{Identity, sibling},
    scan::Scanner,
    thread::WriterThread,
    write::Writer,
};
pub use self::{view::SqliteView, viewed::ViewedRows};
use super::{
    ArtifactRow, AttemptPlace, AttemptRow, AttemptsAsked, EpochPlace, EpochRow, JobRow, LeaderTold,
    ResultRows, Store, StoreError,
    cells::integer,
    quotas,
    read::{self, Queries, queries},
    rows::Rows,
    search, tokens,
};

/// First SQLite without the bug in WAL reset that could corrupt a database.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// Readers at the same time; more would only wait for the processor.
const READERS_MAX: u32 = 4;
/// How long a reader waits for the writer's checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// How often to look whether the database is still where it was; each commit looks, too.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Free room next to the database, in bytes, above which commits are tried again after the disk was full.
const ROOM_BYTES: usize = 1 << 20;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Which file is written: one that was removed would take everything, and be gone with this process.
    identity: Identity,
    /// Taken out while a commit runs: one that fails takes its connection and its rows with it.
    writer: Mutex<Option<(Writer, Rows)>>,
    /// Does the writing.
    thread: WriterThread,
    readers: SqlitePool,
    /// Reads pages of jobs.
    scanner: Scanner,
    /// Reads for commits, which must not wait until other readers are done.
    lookups: SqlitePool,
    /// Held for as long as the store is open: SQLite would let two coordinators in.
    _lock: File,
}

impl SqliteStore {
    /// Opens the file, makes it where it is missing, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = &place::real(path)?;
        let lock = place::lock(path)?;
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
        // What the log holds is written again: after a failed fsync, the system may believe that pages are on the disk
        // that are not, and would never write them again.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer).await?;
        check_integrity(&mut writer, &options).await?;
        MIGRATIONS.run(&mut writer).await?;
        upgrade::rows(&mut writer).await?;
        let read = options.read_only(true).create_if_missing(false);
        let readers =
            SqlitePoolOptions::new().max_connections(READERS_MAX).connect_with(read.clone()).await?;
        let lookups = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(read);
        let open = (Writer::open(path, BUSY_TIMEOUT)?, Rows::default());
        writer.close().await?;
        let thread =
            WriterThread::start().map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let scanner = Scanner::new(path, BUSY_TIMEOUT);
        let identity =
            Identity::of(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let (path, writer) = (path.to_owned(), Mutex::new(Some(open)));
        Ok(Self { path, identity, writer, thread, readers, scanner, lookups, _lock: lock })
    }

    fn removed(&self) -> StoreError {
        StoreError::Removed { path: self.path.clone() }
    }
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
    let mut parts = found.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < SQLITE_VERSION_MIN { Err(StoreError::Version { found }) } else { Ok(()) }
}

/// SQLite's own check of pages, indexes and references. Both read everything, so they run at the same time, each on a
/// connection (and thread) of its own.
async fn check_integrity(
    connection: &mut SqliteConnection,
    options: &SqliteConnectOptions,
) -> Result<(), StoreError> {
    let references = async {
        let mut connection = SqliteConnection::connect_with(options).await?;
        let orphans = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(orphans.len())
    };
    let structure = sqlx::query_scalar("PRAGMA integrity_check(3)").fetch_all(connection);
    let (structure, references) = tokio::join!(structure, references);
    let found: Vec<String> = structure.map_err(corrupt)?;
    if found != ["ok"] {
        return Err(StoreError::Corrupt(found.join("; ")));
    }
    match references.map_err(corrupt)? {
        0 => Ok(()),
        orphans => Err(StoreError::Corrupt(format!("{orphans} rows belong to rows that are not there"))),
    }
}

/// An error that only a corrupt file gives.
// Handed to `map_err`, which gives its argument away.
#[allow(clippy::needless_pass_by_value)]
fn corrupt(error: sqlx::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

#[async_trait]
impl ResultRows for SqliteStore {
    async fn jobs(&self, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        self.scanner.jobs(sweep, first, limit).await
    }

    async fn attempts_of_jobs(
        &self,
        sweep: SweepId,
        after: AttemptPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<(AttemptPlace, AttemptRow)>, StoreError> {
        read::attempts_of_jobs(&mut *self.readers.acquire().await?, sweep, after, last, limit).await
    }

    async fn epochs(
        &self,
        sweep: SweepId,
        after: EpochPlace,
        last: u64,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError> {
        read::epochs(&mut *self.readers.acquire().await?, sweep, after, last, limit).await
    }

    async fn artifacts(
        &self,
        sweep: SweepId,
        first: u64,
        last: u64,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        read::artifacts(&mut *self.readers.acquire().await?, sweep, first, last, limit).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn lead(&self, _address: &str, _leader: LeaderTold<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn deposed(&self) -> StoreError {
        loop {
            let (identity, path) = (self.identity, self.path.clone());
            // A file system that hangs holds up no one else.
            if tokio::task::spawn_blocking(move || identity.has_left(&path)).await.unwrap_or(false) {
                return self.removed();
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn load(&self) -> Result<Vec<StoredSweep>, StoreError> {
        // All as of one moment, while commits run. Dropped, it ends.
        let mut transaction = self.readers.begin().await?;
        let sweeps = read::sweeps(&mut *transaction).await?;
        transaction.rollback().await?;
        Ok(sweeps)
    }

    async fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut guard = self.writer.lock().await;
        let (mut writer, mut rows) = match guard.take() {
            Some(open) => open,
            None => (Writer::open(&self.path, BUSY_TIMEOUT)?, Rows::default()),
        };
        // Whatever is not in memory was committed before, so that readers see it.
        let mut readers = OnDemand { pool: &self.lookups, connection: None };
        rows.fetch(&mut readers, records).await?;
        let writes = rows.take(records)?;
        let (identity, path) = (self.identity, self.path.clone());
        let commit = move || writer.commit(&writes).map(|()| (writer, identity.has_left(&path)));
        let written = self.thread.run(commit).await;
        let (writer, has_left) = written.ok_or(sqlx::Error::WorkerCrashed)??;
        *guard = Some((writer, rows));
        if has_left { Err(self.removed()) } else { Ok(()) }
    }

    async fn has_room(&self) -> bool {
        let probe = sibling(&self.path, ".room");
        let tried = self.thread.run(move || {
            let written = std::fs::write(&probe, vec![0xff; ROOM_BYTES]);
            // Removed whether or not it could be written as a whole.
            let removed = std::fs::remove_file(&probe);
            written.and(removed)
        });
        matches!(tried.await, Some(Ok(())))
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

    async fn attempts_between(&self, asked: AttemptsAsked) -> Result<Vec<(JobKey, AttemptRow)>, StoreError> {
        read::attempts_between(&mut *self.readers.acquire().await?, asked).await
    }

    async fn search(&self, sweep: SweepId) -> Result<StoredSearch, StoreError> {
        search::read(&mut *self.readers.acquire().await?, integer(sweep.0)?).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        tokens::read(&mut *self.readers.acquire().await?).await
    }

    async fn quotas(&self) -> Result<Vec<Quota>, StoreError> {
        quotas::read(&mut *self.readers.acquire().await?).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.scanner.close().await;
        self.lookups.close().await;
        // The last one to close writes the log into the database.
        let writer = self.writer.lock().await.take();
        let _ = self.thread.run(move || drop(writer)).await;
    }
}

queries!(SqliteConnection, SqliteRow);

/// A connection of a pool that is only taken when something is asked.
struct OnDemand<'p> {
    pool: &'p SqlitePool,
    connection: Option<PoolConnection<Sqlite>>,
}

#[async_trait]
impl Queries for OnDemand<'_> {
    type Row = SqliteRow;

    async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.pool.acquire().await?),
        };
        connection.rows(query, numbers).await
    }
}
