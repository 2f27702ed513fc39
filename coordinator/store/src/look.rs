//! What a store is like, for people, without opening it for work: nothing is made, no table changes, and no lock is held for long.

use std::str::FromStr;

use sqlx::{
    Connection, PgConnection, Row, SqliteConnection,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgRow},
    sqlite::SqliteConnectOptions,
};

use super::{
    StoreError,
    postgres::{self, suitable},
    sqlite::{self, place},
};

/// What is known of the tables: the number of the last change that was made to them.
const TABLES: &str = "SELECT max(version) AS version FROM _sqlx_migrations";

/// What the store at `url` is like, in a sentence for people.
///
/// # Errors
/// A coordinator of this version cannot use it, and why.
pub async fn look(url: &str) -> Result<String, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return look_at_postgres(url).await;
    }
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some(path) if !path.is_empty() => look_at_sqlite(path).await,
        _ => Err(StoreError::Url(url.to_owned())),
    }
}

async fn look_at_sqlite(path: &str) -> Result<String, StoreError> {
    let path = place::real(path.as_ref())?;
    if !path.exists() {
        return Ok(format!("{} is not there yet; a coordinator makes it", path.display()));
    }
    let _lock = match place::lock(&path) {
        Ok(lock) => lock,
        Err(StoreError::InUse { .. }) => return Ok(format!("{} is in use by a coordinator", path.display())),
        Err(error) => return Err(error),
    };
    // No one writes now, so that nothing needs to be made next to it for reading.
    let options = SqliteConnectOptions::new().filename(&path).read_only(true).immutable(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await?;
    // Reads the file's head: what is no database is an error.
    sqlx::query("PRAGMA schema_version").fetch_one(&mut connection).await?;
    let tables = sqlx::query(TABLES).fetch_optional(&mut connection).await;
    connection.close().await?;
    let tables = tables.ok().flatten().and_then(|row| row.try_get("version").ok());
    let tables = compared(tables, &sqlite::MIGRATIONS)?;
    Ok(format!("{} can be read by SQLite {version}; {tables}", path.display()))
}

async fn look_at_postgres(url: &str) -> Result<String, StoreError> {
    let options =
        PgConnectOptions::from_str(url).map_err(|error| StoreError::PostgresUrl(error.to_string()))?;
    let (mut connection, _) = suitable::first_connection(&options).await?;
    let version: String =
        sqlx::query_scalar("SELECT current_setting('server_version')").fetch_one(&mut connection).await?;
    // Where there is no such table yet, a coordinator makes it.
    let tables = sqlx::query(TABLES).fetch_optional(&mut connection).await;
    let tables = compared(tables.ok().flatten().and_then(number), &postgres::MIGRATIONS)?;
    let leader = leader(&mut connection).await;
    // What is left of the connection ends with it.
    let _ = connection.close().await;
    Ok(format!("PostgreSQL {version} can be used; {tables}{leader}"))
}

// Handed to `and_then`, which gives its argument away.
#[allow(clippy::needless_pass_by_value)]
fn number(row: PgRow) -> Option<i64> {
    row.try_get("version").ok()
}

/// Who leads, as far as the row says it.
async fn leader(connection: &mut PgConnection) -> String {
    let row = sqlx::query("SELECT vacant, address FROM leader").fetch_optional(connection).await;
    let Ok(Some(row)) = row else { return String::new() };
    match (row.try_get::<bool, _>("vacant"), row.try_get::<String, _>("address")) {
        (Ok(false), Ok(address)) if !address.is_empty() => {
            format!("; the last to lead was the one at {address}")
        }
        (Ok(true), _) => "; no coordinator leads".to_owned(),
        _ => String::new(),
    }
}

/// What the number of the last change says to a coordinator that knows these.
fn compared(found: Option<i64>, known: &Migrator) -> Result<String, StoreError> {
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or(0);
    match found {
        None => Ok("it has no tables yet".to_owned()),
        Some(found) if found > newest => Err(StoreError::Newer { found, newest }),
        Some(found) if found < newest => Ok(format!(
            "its tables are those of an older version (change {found} of {newest}), and are brought up to date"
        )),
        Some(_) => Ok("its tables are up to date".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_looked_at_without_being_made_changed_or_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.db");
        let url = format!("sqlite:{}", path.display());
        assert!(look(&url).await.unwrap().contains("is not there yet"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
        let store = super::super::open(&url).await.unwrap();
        assert!(look(&url).await.unwrap().contains("in use by a coordinator"));
        store.close().await;
        drop(store);
        let told = look(&url).await.unwrap();
        assert!(told.contains("can be read by SQLite 3.") && told.contains("up to date"), "{told}");
        // Not held: it opens again.
        super::super::open(&url).await.unwrap().close().await;
        std::fs::write(&path, "no database at all, but long enough to look like one".repeat(99)).unwrap();
        assert!(look(&url).await.is_err());
    }

    #[test]
    fn tables_of_a_newer_version_are_refused_and_those_of_an_older_one_are_not() {
        let newest = sqlite::MIGRATIONS.iter().map(|migration| migration.version).max().unwrap();
        let told = |found| compared(found, &sqlite::MIGRATIONS);
        assert!(told(Some(newest + 1)).unwrap_err().to_string().contains("upgrade this coordinator"));
        assert!(told(Some(newest)).unwrap().contains("up to date"));
        assert!(told(Some(newest - 1)).unwrap().contains("brought up to date"));
        assert!(told(None).unwrap().contains("no tables"));
    }

    #[tokio::test]
    async fn what_is_no_store_is_an_error_that_says_what_one_is() {
        let error = look("mysql://host").await.unwrap_err().to_string();
        assert!(error.contains("sqlite:"), "{error}");
        assert!(look("postgres://127.0.0.1:1/sweep").await.is_err());
    }
}
