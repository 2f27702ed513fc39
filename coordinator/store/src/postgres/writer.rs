//! The one connection that writes. A commit has a deadline; past it, the connection is given up and so is the lead, as no one
//! knows what became of the commit. It may still go through: then it has locked the leader's row, for which the next leader
//! waits, or it finds that its term is over.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use domain::record::Record;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::{
    super::{
        StoreError,
        rows::{Rows, Write},
    },
    leader::Leadership,
    session::{ANSWER_WITHIN, Backend, Patient, Readers, connect, within},
    write,
};

/// How long a commit may take, once its statement has been sent: with a new leader and what it has to load, writes go on in
/// less than 10 s.
const COMMIT_WITHIN: Duration = Duration::from_secs(4);
/// The deadline doubles with each commit that was given up, up to this power of two: a disk that is only slow must not have
/// the same commit given up again and again. A minute in the end.
const DOUBLINGS_MAX: u32 = 4;
/// How long a connection is trusted after it answered. One that has broken since is replaced, while nothing has been written;
/// of one that breaks within a commit no one knows what became of that.
const ANSWERS_FOR: Duration = Duration::from_millis(20);

/// The connection that writes, opened when it is needed.
#[derive(Debug)]
pub(super) struct Writer {
    options: PgConnectOptions,
    /// Taken out while it is used: a commit that fails or is given up takes its connection and its rows with it.
    open: Mutex<Option<Open>>,
    /// Commits that were given up since the last that was not.
    given_up: AtomicU32,
}

/// A connection, and what it will write again while this coordinator leads.
#[derive(Debug)]
struct Open {
    connection: PgConnection,
    backend: Backend,
    /// When it last answered.
    answered: Instant,
    rows: Rows,
}

impl Writer {
    /// A writer that is not connected yet.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, open: Mutex::new(None), given_up: AtomicU32::new(0) }
    }

    /// Connects again: others may have written since, so nothing that is in memory counts.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let mut open = self.open.lock().await;
        *open = None;
        *open = Some(self.connect().await?);
        Ok(())
    }

    async fn connect(&self) -> Result<Open, sqlx::Error> {
        let mut connection = connect(&self.options).await?;
        let backend = Backend::of(&mut connection).await?;
        Ok(Open { connection, backend, answered: Instant::now(), rows: Rows::default() })
    }

    /// Keeps records, as [`crate::Store::commit`] does.
    pub(super) async fn commit(
        &self,
        leadership: &Leadership,
        readers: &Readers,
        records: &[Record],
    ) -> Result<(), StoreError> {
        let mut guard = self.open.lock().await;
        let limit = COMMIT_WITHIN * (1 << self.given_up.load(Ordering::SeqCst).min(DOUBLINGS_MAX));
        let (mut open, writes) = match guard.take() {
            Some(mut kept) => match prepare(&mut kept, records, limit).await {
                Ok(writes) => (kept, writes),
                Err(error) if !broke(&error) => return Err(error),
                // Nothing was written yet, so another connection may begin again.
                Err(error) => {
                    tracing::warn!("the connection that writes is given up: {error}");
                    give_up(kept, readers).await;
                    self.connected(records, limit).await?
                }
            },
            None => self.connected(records, limit).await?,
        };
        let committed = write::commit(&mut open.connection, leadership.term(), &writes);
        let Ok(kept) = tokio::time::timeout(limit, committed).await else {
            self.given_up.fetch_add(1, Ordering::SeqCst);
            give_up(open, readers).await;
            return Err(StoreError::Stalled(limit));
        };
        kept?;
        self.given_up.store(0, Ordering::SeqCst);
        open.answered = Instant::now();
        *guard = Some(open);
        Ok(())
    }

    async fn connected(&self, records: &[Record], limit: Duration) -> Result<(Open, Vec<Write>), StoreError> {
        let mut open = self.connect().await?;
        let writes = prepare(&mut open, records, limit).await?;
        Ok((open, writes))
    }

    /// Shows over the connection that writes that this coordinator leads; false where it does not any more, nothing where a
    /// commit runs, which has a deadline of its own.
    pub(super) async fn beat(
        &self,
        leadership: &Leadership,
        readers: &Readers,
    ) -> Option<Result<bool, StoreError>> {
        let mut guard = self.open.try_lock().ok()?;
        let open = match guard.take() {
            Some(open) => Ok(open),
            None => self.connect().await,
        };
        let mut open = match open {
            Ok(open) => open,
            Err(error) => return Some(Err(error.into())),
        };
        let beat = within(ANSWER_WITHIN, leadership.beat(&mut open.connection)).await;
        match beat {
            Ok(leads) => {
                open.answered = Instant::now();
                *guard = Some(open);
                Some(Ok(leads))
            }
            Err(error) => {
                give_up(open, readers).await;
                Some(Err(error.into()))
            }
        }
    }

    /// Closes the connection, where none of its commits runs.
    pub(super) async fn close(&self) {
        if let Ok(mut guard) = self.open.try_lock()
            && let Some(open) = guard.take()
        {
            // The server notices a connection that is gone without a word.
            let _ = tokio::time::timeout(ANSWER_WITHIN, open.connection.close()).await;
        }
    }
}

/// What is to be written. What that rests on is read first, over a connection that answers.
async fn prepare(open: &mut Open, records: &[Record], limit: Duration) -> Result<Vec<Write>, StoreError> {
    if open.answered.elapsed() > ANSWERS_FOR {
        within(ANSWER_WITHIN, open.connection.ping()).await?;
    }
    open.rows.fetch(&mut Patient { connection: &mut open.connection, limit }, records).await?;
    open.rows.take(records)
}

/// Whether a connection is of no use any more.
fn broke(error: &StoreError) -> bool {
    matches!(error, StoreError::Database(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)))
}

/// Closes a connection that stands still or broke, on both sides.
async fn give_up(open: Open, readers: &Readers) {
    let backend = open.backend;
    // Not by a last word, which it would not hear.
    drop(open);
    backend.terminate(readers).await;
}
