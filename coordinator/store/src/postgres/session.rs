//! Connections: the settings that each gets when it opens, and how long it may stand still. A server's process that was stopped, or a
//! firewall that forgot a connection, says nothing: only a deadline notices it.

use std::{io, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Row,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};

use super::super::{StoreError, read::Queries};

/// Longest wait for a connection.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to answer what costs it nothing: many round trips across the world.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// How long one question of a reader may take: counting ten million jobs on a slow disk. The server gives up at the same time.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The settings of every connection. Commits wait for the disk, whatever the server's default is. A transaction whose
/// coordinator stands still is ended by the server, so that it holds up no new leader; a statement that waits for a lock of
/// such a transaction, or runs on for a coordinator that has given it up, ends as well. A network that swallows packets is
/// noticed by the server, too.
const SESSION: &str = "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '3s'; \
                       SET lock_timeout = '3s'; SET statement_timeout = '30s'; SET tcp_keepalives_idle = 5; \
                       SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET tcp_user_timeout = '10s'";

/// Gives a new connection the settings of every connection.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    within(ANSWER_WITHIN, connection.execute(SESSION)).await.map(drop)
}

pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = within(CONNECT_WITHIN, PgConnection::connect_with(options)).await?;
    set_up(&mut connection).await?;
    Ok(connection)
}

/// What `answer` gives, or an error that says that the server stands still.
pub(super) async fn within<T, E: From<sqlx::Error>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let silent = format!("the database has not answered within {limit:?}");
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, silent)).into())
    })
}

/// Connections for everything but commits.
#[derive(Debug)]
pub(super) struct Readers(PgPool);

impl Readers {
    /// A pool of at most `connections_max`.
    pub(super) fn new(options: PgConnectOptions, connections_max: u32) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(CONNECT_WITHIN)
            // The pool's own test would wait for a server that stands still.
            .test_before_acquire(false)
            .before_acquire(|connection, _| {
                Box::pin(async move { Ok(within(ANSWER_WITHIN, connection.ping()).await.is_ok()) })
            })
            .after_connect(|connection, _| Box::pin(async move { set_up(connection).await }));
        Self(pool.connect_lazy_with(options))
    }

    /// A connection that has just answered.
    pub(super) async fn acquire(&self) -> Result<Reader, sqlx::Error> {
        Ok(Reader(Some(self.0.acquire().await?)))
    }

    /// Closes every connection, without waiting for one that stands still.
    pub(super) async fn close(&self) {
        // What does not close in time ends with the process.
        let _ = tokio::time::timeout(ANSWER_WITHIN, self.0.close()).await;
    }
}

/// A connection of the pool. One that is not handed back was given up or failed, and is closed.
pub(super) struct Reader(Option<PoolConnection<Postgres>>);

impl Reader {
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Hands the connection back, which has answered all it was asked.
    pub(super) fn done(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // The pool would wait for its answer.
            drop(connection.detach());
        }
    }
}

#[async_trait]
impl Queries for Reader {
    type Row = PgRow;

    async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<PgRow>, sqlx::Error> {
        let connection = self.connection()?;
        within(READ_WITHIN, connection.rows(query, numbers)).await
    }
}

/// A connection each of whose questions has a deadline.
pub(super) struct Patient<'c> {
    pub(super) connection: &'c mut PgConnection,
    pub(super) limit: Duration,
}

#[async_trait]
impl Queries for Patient<'_> {
    type Row = PgRow;

    async fn rows(&mut self, query: String, numbers: &[i64]) -> Result<Vec<PgRow>, sqlx::Error> {
        // Planned each time: a plan that was made while the table was empty may go through all of it.
        let query = sqlx::query(AssertSqlSafe(query)).persistent(false);
        let query = numbers.iter().fold(query, |query, number| query.bind(*number));
        within(self.limit, query.fetch_all(&mut *self.connection)).await
    }

    /// A list of that length would be compared with each row of the sweep; an array that the server makes first is looked up.
    fn one_of(&self, column: &str, places: &str) -> String {
        format!("{column} = ANY ((SELECT ARRAY[{places}])::bigint[])")
    }
}

/// A process of the server that serves one connection: its number may be another's later, its start is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backend {
    pid: i32,
    start_micros: i64,
}

/// When a process of the server began, in microseconds since 1970.
const START_MICROS: &str = "(extract(epoch FROM backend_start) * 1000000)::bigint";

impl Backend {
    /// The one that serves this connection.
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let own = format!(
            "SELECT pid, {START_MICROS} AS start_micros FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        );
        let row = within(ANSWER_WITHIN, sqlx::query(AssertSqlSafe(own)).fetch_one(connection)).await?;
        Ok(Self { pid: row.try_get("pid")?, start_micros: row.try_get("start_micros")? })
    }

    /// Has the server end it. One that is stopped ends when it goes on, before it does anything else.
    pub(super) async fn terminate(self, readers: &Readers) {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND {START_MICROS} = $2"
        );
        let ended = async {
            let mut reader = readers.acquire().await?;
            let query = sqlx::query(AssertSqlSafe(end)).bind(self.pid).bind(self.start_micros);
            query.execute(reader.connection()?).await?;
            reader.done();
            Ok::<_, sqlx::Error>(())
        };
        if let Err(error) = within(ANSWER_WITHIN, ended).await {
            // Its epoch, which each commit compares, keeps it from writing all the same.
            tracing::debug!(%error, pid = self.pid, "a process of the database that stands still was not ended");
        }
    }
}

/// What went wrong on this kind of store: the fix for corrupt tables is not that for a corrupt file.
pub(super) fn here<T>(result: Result<T, StoreError>) -> Result<T, StoreError> {
    result.map_err(|error| match error {
        StoreError::Corrupt(what) => StoreError::CorruptTables(what),
        error => error,
    })
}
