//! Reads pages of jobs, by connections of its own on threads for such work. sqlx hands each row from one thread to another, with a copy of each
//! value, which for a hundred thousand jobs takes several times as long as reading them.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Row, types::ValueRef};
use terms::SweepId;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::super::{
    JobRow, StoreError,
    cells::Cells,
    read,
    tables::{self, Table, TableRow},
};

/// Pages that are read at the same time; more would only wait for the processor.
const SCANS_MAX: u32 = 4;
/// For so many rows at most there is room before they come.
const ROWS_EXPECTED_MAX: u32 = 2_000;

/// Reads pages of jobs.
#[derive(Debug)]
pub(super) struct Scanner {
    path: PathBuf,
    busy_timeout: Duration,
    /// Connections that no one uses at the moment.
    idle: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
}

impl Scanner {
    /// Of a database whose tables are up to date.
    pub(super) fn new(path: &Path, busy_timeout: Duration) -> Self {
        let places = Arc::new(Semaphore::new(SCANS_MAX as usize));
        Self { path: path.to_owned(), busy_timeout, idle: Arc::default(), places }
    }

    /// See [`crate::Store::jobs`].
    pub(super) async fn jobs(
        &self,
        sweep: SweepId,
        first: u64,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (path, busy_timeout, idle) = (self.path.clone(), self.busy_timeout, Arc::clone(&self.idle));
        let work = move || {
            // As long as the work, which goes on when its caller hangs up.
            let _place = place;
            let known = locked(&idle).pop();
            let connection = known.map_or_else(|| open(&path, busy_timeout), Ok)?;
            let found = jobs(&connection, sweep, first, limit)?;
            locked(&idle).push(connection);
            Ok::<_, StoreError>(found)
        };
        spawn_blocking(work).await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }

    /// Closes its connections, once no page is being read.
    pub(super) async fn close(&self) {
        let all = self.places.acquire_many(SCANS_MAX).await;
        self.places.close();
        drop(all);
        locked(&self.idle).clear();
    }
}

fn locked(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    // A list of connections is whole whatever happened while it was held.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    Ok(connection)
}

fn jobs(connection: &Connection, sweep: SweepId, first: u64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
    let numbers = read::page_of_jobs(sweep, first, limit);
    let rows: Vec<tables::Job> = select(connection, read::PAGE_OF_JOBS, &numbers, limit)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // After the rows, so that no row has a value without a name.
    let names = select(connection, read::METRICS_OF_SWEEP, &numbers[..1], 0)?;
    read::job_rows(rows, &read::schema(&names, numbers[0])?)
}

/// Verified rows of a table, about so many; `rest` selects and orders them.
fn select<R: TableRow>(
    connection: &Connection,
    rest: &str,
    numbers: &[i64],
    about: u32,
) -> Result<Vec<R>, StoreError> {
    let mut statement = connection.prepare_cached(&read::query_of::<R>(rest))?;
    let mut rows = statement.query(rusqlite::params_from_iter(numbers))?;
    let mut found = Vec::with_capacity(about.min(ROWS_EXPECTED_MAX) as usize);
    while let Some(row) = rows.next()? {
        found.push(R::verified(&InOrder { row, table: R::TABLE, next: Cell::new(0) })?);
    }
    Ok(found)
}

/// A row whose columns are mostly asked for one after the other, so that none is looked for by its name.
struct InOrder<'r> {
    row: &'r Row<'r>,
    table: &'static Table,
    next: Cell<usize>,
}

impl InOrder<'_> {
    /// A value, unless it is NULL.
    fn value(&self, column: &str) -> Result<Option<ValueRef<'_>>, sqlx::Error> {
        // After the columns of the table comes the checksum.
        let is_it = |place: usize| {
            let name = self.table.columns.get(place).map_or("checksum", |(name, _)| *name);
            // Mostly the same text in memory too, which need not be read.
            std::ptr::eq(name, column) || name == column
        };
        let next = self.next.get();
        let place = if is_it(next) {
            next
        } else {
            (0..=self.table.columns.len()).find(|place| is_it(*place)).unwrap_or(next)
        };
        self.next.set(place + 1);
        let value = self.row.get_ref(place).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(Some(value).filter(|value| *value != ValueRef::Null))
    }
}

/// What is said where a column holds something else than it must.
fn other(column: &str, value: ValueRef<'_>) -> sqlx::Error {
    sqlx::Error::Decode(format!("the column {column} holds a value of the type {}", value.data_type()).into())
}

impl Cells for InOrder<'_> {
    fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        match self.value(column)? {
            None => Ok(None),
            Some(ValueRef::Integer(value)) => Ok(Some(value)),
            Some(value) => Err(other(column, value)),
        }
    }

    fn real(&self, column: &str) -> Result<Option<f64>, sqlx::Error> {
        match self.value(column)? {
            None => Ok(None),
            Some(ValueRef::Real(value)) => Ok(Some(value)),
            Some(value) => Err(other(column, value)),
        }
    }

    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        match self.value(column)? {
            None => Ok(None),
            Some(ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(error) => Err(sqlx::Error::Decode(Box::new(error))),
            },
            Some(value) => Err(other(column, value)),
        }
    }

    fn boolean(&self, column: &str) -> Result<Option<bool>, sqlx::Error> {
        Ok(self.integer(column)?.map(|value| value != 0))
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        match self.value(column)? {
            None => Ok(None),
            Some(ValueRef::Blob(bytes)) => Ok(Some(bytes.to_vec())),
            Some(value) => Err(other(column, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, task::Poll};

    use super::{super::SqliteStore, *};

    #[tokio::test]
    async fn a_scan_whose_caller_hangs_up_keeps_its_place_and_gives_its_connection_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("sweep.db")).await.unwrap();
        {
            let mut reading = pin!(store.scanner.jobs(SweepId(1), 1, 10));
            // It begins, and is dropped while a thread reads.
            poll_fn(|context| Poll::Ready(reading.as_mut().poll(context).is_pending())).await;
        }
        drop(store.scanner.places.acquire_many(SCANS_MAX).await.unwrap());
        assert_eq!(locked(&store.scanner.idle).len(), 1);
    }
}
