//! Whether a database can be used, asked once at the start, and what to do where it cannot. Everything here is asked without
//! prepared statements, which is what the poolers that this finds out about cannot keep.

use std::{
    io,
    time::{Duration, Instant},
};

use sqlx::{
    PgConnection, Row,
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    super::StoreError,
    session::{CONNECT_WITHIN, connect, within},
};

/// Readers at the same time, where the server allows as many connections.
const READERS_MAX: u32 = 7;
/// Connections besides those of the readers: the one that writes, one that takes its place, and one for the leader's row.
const OTHERS: u32 = 3;
/// Below, a coordinator could not beat, answer and write at the same time.
const CONNECTIONS_MIN: u32 = 4;
/// How often a server that is starting is asked again.
const AGAIN_DELAY: Duration = Duration::from_millis(100);

/// What a server is asked. What a role or database allows is -1 where there is no limit.
const FACTS: &str = "SELECT current_setting('server_encoding') AS encoding, pg_is_in_recovery()::text AS is_replica, \
     current_setting('transaction_read_only') AS read_only, current_setting('fsync') AS fsync, \
     current_setting('max_connections') AS connections, current_setting('superuser_reserved_connections') AS reserved, \
     (SELECT rolconnlimit::text FROM pg_roles WHERE rolname = current_user) AS of_role, \
     (SELECT datconnlimit::text FROM pg_database WHERE datname = current_database()) AS of_database";

/// A connection to a database that can be used, and how many readers it allows.
pub(crate) async fn first_connection(options: &PgConnectOptions) -> Result<(PgConnection, u32), StoreError> {
    let begun = Instant::now();
    let mut first = loop {
        match connect(options).await {
            Ok(connection) => break connection,
            Err(error) if may_be_starting(&error) && begun.elapsed() < CONNECT_WITHIN => {
                tokio::time::sleep(AGAIN_DELAY).await;
            }
            Err(error) => return Err(explained(error, options)),
        }
    };
    let explain = |error| explained(error, options);
    let mut second = connect(options).await.map_err(explain)?;
    if shares_a_session(&mut first, &mut second).await.map_err(explain)? {
        return Err(StoreError::Unsuitable(POOLER.to_owned()));
    }
    let facts = within(CONNECT_WITHIN, sqlx::raw_sql(FACTS).fetch_one(&mut first)).await.map_err(explain)?;
    let readers = judge(&facts, options)?;
    // Another coordinator may be changing large tables.
    sqlx::raw_sql("SET lock_timeout = 0; SET statement_timeout = 0")
        .execute(&mut first)
        .await
        .map_err(explain)?;
    Ok((first, readers))
}

const POOLER: &str = "it is reached through a pooler (such as PgBouncer) in transaction or statement mode, which gives each \
                      transaction another session, while a coordinator needs sessions of its own: set pool_mode = session for \
                      this database, or name the PostgreSQL server itself in the store's URL";

/// Whether two connections that are open at the same time are, or may be, one session of the server: each leaves a word of
/// its own in its session, and in a session of its own it finds that again, while the other one is served by another process.
async fn shares_a_session(first: &mut PgConnection, second: &mut PgConnection) -> Result<bool, sqlx::Error> {
    const LEAVE_FIRST: &str =
        "SELECT set_config('sweep.session', 'first', false), pg_backend_pid()::text AS pid";
    const LEAVE_SECOND: &str =
        "SELECT set_config('sweep.session', 'second', false), pg_backend_pid()::text AS pid";
    const FIND: &str =
        "SELECT coalesce(current_setting('sweep.session', true), '') AS word, pg_backend_pid()::text AS pid";
    /// Often enough that a busy pooler mixes them up once.
    const TIMES: u32 = 3;
    for _ in 0..TIMES {
        let asked = async {
            let left = sqlx::raw_sql(LEAVE_FIRST).fetch_one(&mut *first).await?;
            sqlx::raw_sql(LEAVE_SECOND).execute(&mut *second).await?;
            let (one, other) = (
                sqlx::raw_sql(FIND).fetch_one(&mut *first).await?,
                sqlx::raw_sql(FIND).fetch_one(&mut *second).await?,
            );
            let of = |row: &PgRow, column: &str| row.try_get::<String, _>(column);
            let (one_pid, other_pid) = (of(&one, "pid")?, of(&other, "pid")?);
            Ok::<_, sqlx::Error>(
                one_pid == other_pid
                    || one_pid != of(&left, "pid")?
                    || of(&one, "word")? != "first"
                    || of(&other, "word")? != "second",
            )
        };
        if within(CONNECT_WITHIN, asked).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many readers a server of these facts allows.
fn judge(facts: &PgRow, options: &PgConnectOptions) -> Result<u32, StoreError> {
    let fact = |name: &str| facts.try_get::<Option<String>, _>(name).map(Option::unwrap_or_default);
    let number = |name: &str| fact(name).map(|text| text.parse().unwrap_or(-1_i64));
    let unsuitable = |why: String| Err(StoreError::Unsuitable(why));
    let encoding = fact("encoding")?;
    if encoding != "UTF8" {
        let name = options.get_database().unwrap_or("sweep");
        return unsuitable(format!(
            "its encoding is {encoding}, which does not hold every text: make one with CREATE DATABASE {name} ENCODING 'UTF8' \
             TEMPLATE template0"
        ));
    }
    if fact("is_replica")? == "true" {
        return unsuitable(
            "it is a replica that can only be read: name the primary in the store's URL".to_owned(),
        );
    }
    if fact("read_only")? == "on" {
        return unsuitable(
            "it can only be read (default_transaction_read_only is on, for the server, the database or the user): turn that \
             off, or name another database"
                .to_owned(),
        );
    }
    if fact("fsync")? != "on" {
        tracing::warn!(
            "this PostgreSQL runs with fsync = off: a power cut takes results that were acknowledged"
        );
    }
    let of_server = number("connections")? - number("reserved")?;
    let limits = [of_server, number("of_role")?, number("of_database")?];
    let allowed = limits.into_iter().filter(|limit| *limit >= 0).min().unwrap_or(of_server);
    match u32::try_from(allowed) {
        Ok(allowed) if allowed >= CONNECTIONS_MIN => Ok((allowed - OTHERS).min(READERS_MAX)),
        _ => unsuitable(too_few(&format!("it allows {allowed}"))),
    }
}

fn too_few(found: &str) -> String {
    format!(
        "it has too few connections ({found}): a coordinator uses up to {}, and at least {CONNECTIONS_MIN}; raise the server's \
         max_connections, or the limit of the role or the database, or end other users of it",
        READERS_MAX + OTHERS
    )
}

/// A server that starts refuses connections for a while, and one that has just lost a coordinator may not know it yet.
fn may_be_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

/// What an error of the start means, and what to do about it.
pub(super) fn explained(error: sqlx::Error, options: &PgConnectOptions) -> StoreError {
    let (user, database) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let said = error.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    let why = match (code.as_deref(), &error) {
        (Some("28P01"), _) => {
            format!(
                "the server at {place} does not let the user {user:?} in with the password that it was given, or without one: correct it \
                 in the store's URL, in PGPASSWORD or in the file of passwords"
            )
        }
        (Some("28000"), _) => {
            format!(
                "the server at {place} does not let the user {user:?} in ({said}): check the name and pg_hba.conf"
            )
        }
        (Some("3D000"), _) => format!(
            "the server at {place} has no database {database:?}: make it with CREATE DATABASE {database} ENCODING 'UTF8' \
             TEMPLATE template0"
        ),
        (Some("53300"), _) => too_few(&said),
        (Some("42501"), _) => format!(
            "the user {user:?} may not make tables in it ({said}): make it the database's owner, or GRANT CREATE, USAGE ON \
             SCHEMA public TO {user}"
        ),
        (Some("25006"), _) => format!("it can only be read ({said}): name the primary in the store's URL"),
        // A statement that was prepared in one session and looked for in another.
        (Some("42P05" | "26000"), _) => POOLER.to_owned(),
        (Some("08P01"), _) if said.contains("startup parameter") => format!(
            "the pooler at {place} refuses how sweep connects ({said}): add ignore_startup_parameters = extra_float_digits to its \
             configuration, and set pool_mode = session"
        ),
        (None, sqlx::Error::Io(error)) => {
            format!(
                "PostgreSQL does not answer at {place} ({error}): check that it runs, and the store's URL"
            )
        }
        (None, sqlx::Error::Tls(error)) => {
            format!(
                "no TLS connection to {place} ({error}): check sslmode and sslrootcert in the store's URL"
            )
        }
        _ => return error.into(),
    };
    StoreError::Unsuitable(why)
}

/// Why the tables could not be brought up to date.
pub(super) fn not_migrated(error: MigrateError, options: &PgConnectOptions) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            match explained(error, options) {
                StoreError::Database(error) => MigrateError::Execute(error).into(),
                explained => explained,
            }
        }
        error => error.into(),
    }
}
