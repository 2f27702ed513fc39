//! A database as it is at one moment, only read: also while a coordinator writes to it, and without its lock. One that is written is copied
//! first, and the copy is read: a reader may take hours, as for a slow server, and until it had let go, SQLite could not put the log's
//! pages into the database, and the log would grow.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use domain::record::StoredSweep;
use held_folder::HeldFolder;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    super::{StoreError, read},
    BUSY_TIMEOUT, MIGRATIONS,
    place::{real, sibling},
};

/// How the names of folders with copies begin, in the system's temporary folder.
const PREFIX: &str = "sweep-read-";

/// One SQLite file at one moment. It leaves nothing beside the file: what SQLite makes there would be its reader's, and would close the
/// database to its owner.
#[derive(Debug)]
pub struct SqliteView {
    path: PathBuf,
    connection: SqliteConnection,
    /// What the file was before it was read, where no one wrote to it then, and so without a lock.
    unwritten: Option<State>,
}

/// What tells whether a file was written to.
#[derive(Debug, PartialEq)]
struct State {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl State {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let changed = (found.mtime(), found.mtime_nsec());
        Ok(Self { inode: found.ino(), bytes: found.size(), changed })
    }
}

impl SqliteView {
    /// Opens the file, which must be one of this version.
    ///
    /// # Errors
    /// There is no such file, it is none of this version, or it cannot be read without leaving something there.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &env::temp_dir()).await
    }

    /// As `open`, where `parent` has room for a copy.
    async fn open_with(path: &Path, parent: &Path) -> Result<Self, StoreError> {
        let path = &real(path)?;
        let state = State::of(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let is_written = sibling(path, "-wal").exists();
        if is_written && !sibling(path, "-shm").exists() && !is_ours(path) {
            return Err(StoreError::NotWhole { path: path.to_owned() });
        }
        // A database that no one writes is whole without its log: SQLite is told so, or it would make one.
        let (begun, unwritten) = match is_written {
            true => (copied(path, parent).await?, None),
            false => (begun(path).await, Some(state)),
        };
        if let Some(before) = &unwritten {
            check(path, before)?;
        }
        let mut view = Self { path: path.to_owned(), connection: begun?, unwritten };
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        let applied = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&mut view.connection)
            .await;
        let applied: Option<i64> = view.settled(applied.map_err(StoreError::from))?;
        if applied != newest {
            return Err(StoreError::OtherVersion { path: path.to_owned() });
        }
        Ok(view)
    }

    /// What was read, unless someone wrote meanwhile to what was read without a lock.
    pub(super) fn settled<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.unwritten {
            Some(before) => check(&self.path, before).and(read),
            None => read,
        }
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
        let read = read::sweeps(&mut self.connection).await;
        self.settled(read)
    }

    /// What reads it.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Lets go of the file.
    ///
    /// # Errors
    /// The database reports one.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}

/// Whether what SQLite makes beside the file is of the same owner.
fn is_ours(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}

/// Refuses what was read of a file that someone has begun to write since.
fn check(path: &Path, before: &State) -> Result<(), StoreError> {
    let is_same = State::of(path).is_ok_and(|now| now == *before);
    if is_same && !sibling(path, "-wal").exists() {
        return Ok(());
    }
    Err(StoreError::Changed { path: path.to_owned() })
}

/// A connection to a copy of a database that is written, as it is now. The copy has no name any more, and goes with the connection,
/// however this process ends.
async fn copied(path: &Path, parent: &Path) -> Result<Result<SqliteConnection, sqlx::Error>, StoreError> {
    let cannot =
        |reason: String| StoreError::NotCopied { path: path.to_owned(), folder: parent.to_owned(), reason };
    HeldFolder::remove_stale(parent, PREFIX);
    let folder = HeldFolder::create(parent, PREFIX).map_err(|error| cannot(error.to_string()))?;
    let copy = folder.path().join("copy.db");
    let name = copy.to_str().ok_or_else(|| cannot("its name is not UTF-8".to_owned()))?;
    let mut written = read_only(path).connect().await?;
    match sqlx::query("VACUUM INTO ?").bind(name).execute(&mut written).await.map_err(StoreError::from) {
        Ok(_) => {}
        Err(StoreError::Full(reason)) => return Err(cannot(reason)),
        Err(error) => return Err(error),
    }
    written.close().await?;
    Ok(begun(&copy).await)
}

fn read_only(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT)
}

/// A connection to a file that no one writes, whose reads are all of the moment of the first.
async fn begun(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = read_only(path).immutable(true).connect().await?;
    sqlx::query("BEGIN").execute(&mut connection).await?;
    // `BEGIN` alone reads nothing.
    sqlx::query("SELECT COUNT(*) FROM _sqlx_migrations").execute(&mut connection).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    async fn database(folder: &Path) -> PathBuf {
        let path = folder.join("sweep.db");
        let store = crate::open(&format!("sqlite:{}", path.display())).await.unwrap();
        store.close().await;
        path
    }

    #[tokio::test]
    async fn nothing_is_left_beside_a_database_that_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path()).await;
        let before = listing(folder.path());
        assert!(!before.iter().any(|name| name.ends_with("-wal")), "{before:?}");
        let mut view = SqliteView::open(&path).await.unwrap();
        assert!(view.sweeps().await.unwrap().is_empty());
        assert_eq!(listing(folder.path()), before, "while it is read");
        drop(view);
        assert_eq!(listing(folder.path()), before);
    }

    #[tokio::test]
    async fn a_database_that_someone_begins_to_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path()).await;
        let mut view = SqliteView::open(&path).await.unwrap();
        let writer = crate::open(&format!("sqlite:{}", path.display())).await.unwrap();
        let refused = view.sweeps().await.unwrap_err().to_string();
        assert!(refused.contains("began to write") && refused.contains("again"), "{refused}");
        // With a writer there, its log is read, too.
        assert!(SqliteView::open(&path).await.unwrap().sweeps().await.unwrap().is_empty());
        writer.close().await;
    }

    #[tokio::test]
    async fn a_database_that_is_read_for_long_does_not_hold_up_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path()).await;
        let mut writer = read_only(&path).read_only(false).connect().await.unwrap();
        let insert = "INSERT INTO quotas VALUES ('one', 1, 1, 0, '', 0)";
        sqlx::query(insert).execute(&mut writer).await.unwrap();
        let parent = tempfile::tempdir().unwrap();
        let mut view = SqliteView::open_with(&path, parent.path()).await.unwrap();
        sqlx::query("UPDATE quotas SET slots = 2").execute(&mut writer).await.unwrap();
        let (busy, left, _): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut writer).await.unwrap();
        assert_eq!((busy, left), (0, 0), "the log is kept for the reader");
        let slots: i64 =
            sqlx::query_scalar("SELECT slots FROM quotas").fetch_one(view.connection()).await.unwrap();
        assert_eq!(slots, 1, "of the moment when it was opened");
        assert!(listing(parent.path()).is_empty(), "the copy has no name");
        let away = parent.path().join("away");
        let told = SqliteView::open_with(&path, &away).await.unwrap_err().to_string();
        assert!(told.contains("TMPDIR"), "{told}");
    }

    #[tokio::test]
    async fn a_log_without_its_index_is_read_only_in_a_folder_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path()).await;
        fs::write(sibling(&path, "-wal"), "").unwrap();
        assert!(SqliteView::open(&path).await.unwrap().sweeps().await.unwrap().is_empty());
        let _ = fs::remove_file(sibling(&path, "-shm"));
        // Only root may give a file away; another is refused it.
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            let before = listing(folder.path());
            let told = SqliteView::open(&path).await.unwrap_err().to_string();
            assert!(told.contains("copy its folder"), "{told}");
            assert_eq!(listing(folder.path()), before);
        }
    }
}
