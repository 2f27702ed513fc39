//! Who writes. One row names the leader by an epoch that grows with every new one. Each commit locks the row and
//! compares the epoch, so a leader that was replaced while it stood still cannot write. The leader adds to a beat
//! every second, over the connection that commits: the beat says that commits go through, not only that the process lives. A
//! follower whose own clock sees the beat stand still takes over. No clock is compared to another.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row, postgres::PgRow};

use super::{
    super::{LeaderTold, StoreError},
    session::{ANSWER_WITHIN, Readers, within},
    writer::Writer,
};

/// How often a leader writes its beat.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a follower checks the beat.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a beat may stand still: a leader that cannot write it for so long steps down, and a follower takes
/// over. With the 3 s after which the server ends a transaction that stands still, a new leader is there in less
/// than 10 s.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// How long taking the lead may wait for a commit of the leader before: longer than the server waits for its lock.
const REPLACE_WITHIN: Duration = Duration::from_secs(5);
/// PostgreSQL's `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// No coordinator ever led with this epoch.
const NEVER: i64 = 0;

/// This coordinator's place among those that share the database.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// The epoch with which it last led.
    epoch: AtomicI64,
}

/// The row as it was last read.
#[derive(Debug, PartialEq)]
struct Leader {
    epoch: i64,
    beat: i64,
    vacant: bool,
    address: String,
}

impl Leadership {
    /// Waits until this coordinator, which is reached at `address`, leads; meanwhile tells `leader` who does.
    pub(super) async fn take(
        &self,
        readers: &Readers,
        address: &str,
        leader: LeaderTold<'_>,
    ) -> Result<(), StoreError> {
        let own = self.epoch.load(Ordering::SeqCst);
        let (mut seen, mut since) = (look(readers).await?, Instant::now());
        loop {
            let stands_still = since.elapsed() >= SILENCE_MAX;
            let is_own = own != NEVER && seen.epoch == own;
            if seen.vacant || stands_still || is_own {
                if let Some(epoch) = replace(readers, &seen, address).await? {
                    self.epoch.store(epoch, Ordering::SeqCst);
                    return Ok(());
                }
            } else {
                leader(&seen.address);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = look(readers).await?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// Shows that this leader lives, until it must not lead any more; says why.
    pub(super) async fn keep(&self, writer: &Writer, readers: &Readers) -> StoreError {
        let mut last = Instant::now();
        let mut interval = tokio::time::interval(BEAT_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let begun = Instant::now();
            let beat = async {
                match writer.beat(self, readers).await {
                    Some(beat) => beat,
                    // A commit runs, which has a deadline of its own.
                    None => self.beat_beside(readers).await,
                }
            };
            match tokio::time::timeout(SILENCE_MAX.saturating_sub(last.elapsed()), beat).await {
                Ok(Ok(true)) => last = begun,
                Ok(Ok(false)) => return StoreError::Superseded,
                Ok(Err(error)) if last.elapsed() >= SILENCE_MAX => return error,
                Ok(Err(error)) => tracing::debug!(%error, "a beat was not written"),
                Err(_) => return StoreError::Silent(SILENCE_MAX),
            }
        }
    }

    /// Adds to the beat; false where another leads. It need not be on the disk: a server that crashed has no leader that
    /// lives.
    pub(super) async fn beat(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "UPDATE leader SET beat = beat + 1 WHERE epoch = $1 AND NOT vacant \
             AND set_config('synchronous_commit', 'off', TRUE) IS NOT NULL",
        )
        .bind(self.epoch.load(Ordering::SeqCst))
        .execute(connection)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn beat_beside(&self, readers: &Readers) -> Result<bool, StoreError> {
        let mut reader = readers.acquire().await?;
        let leads = within(ANSWER_WITHIN, self.beat(reader.connection()?)).await?;
        reader.done();
        Ok(leads)
    }

    /// Begins a transaction and makes sure, for as long as it runs, that this coordinator leads; one round trip. The lock
    /// conflicts with a change of the leader alone.
    pub(super) async fn begin(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let begin = format!("BEGIN; SELECT epoch FROM leader WHERE epoch = {epoch} FOR KEY SHARE");
        let leads = connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(begin))).await?;
        leads.map(drop).ok_or(StoreError::Superseded)
    }

    /// Leaves the place to whoever looks next.
    pub(super) async fn vacate(&self, readers: &Readers) -> Result<(), sqlx::Error> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        if epoch == NEVER {
            return Ok(());
        }
        let vacated = async {
            let mut reader = readers.acquire().await?;
            let vacated =
                sqlx::query("UPDATE leader SET vacant = TRUE WHERE epoch = $1 AND NOT vacant").bind(epoch);
            let done = vacated.execute(reader.connection()?).await?;
            reader.done();
            Ok::<_, sqlx::Error>(done.rows_affected() > 0)
        };
        if within(ANSWER_WITHIN, vacated).await? {
            tracing::info!("the lead is laid down");
        }
        Ok(())
    }
}

async fn look(readers: &Readers) -> Result<Leader, StoreError> {
    let mut reader = readers.acquire().await?;
    let row = sqlx::query("SELECT epoch, beat, vacant, address FROM leader");
    let row = within(ANSWER_WITHIN, row.fetch_optional(reader.connection()?)).await?;
    reader.done();
    let row =
        row.ok_or_else(|| StoreError::Corrupt("the table leader has no row, but always has one".to_owned()))?;
    Ok(Leader {
        epoch: row.try_get("epoch")?,
        beat: row.try_get("beat")?,
        vacant: row.try_get("vacant")?,
        address: row.try_get("address")?,
    })
}

/// Leads in place of `seen`, unless it showed a sign of life or somebody else was faster; the new epoch.
async fn replace(readers: &Readers, seen: &Leader, address: &str) -> Result<Option<i64>, StoreError> {
    let mut reader = readers.acquire().await?;
    let query = sqlx::query_scalar(
        "UPDATE leader SET epoch = epoch + 1, beat = 0, vacant = FALSE, address = $3 \
         WHERE epoch = $1 AND beat = $2 RETURNING epoch",
    );
    let query = query.bind(seen.epoch).bind(seen.beat).bind(address);
    match within(REPLACE_WITHIN, query.fetch_optional(reader.connection()?)).await {
        Ok(epoch) => {
            reader.done();
            Ok(epoch)
        }
        Err(error) if is_locked(&error) => {
            let held_by = end_old_commits(reader.connection()?).await;
            Err(StoreError::HeldUp(held_by))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Ends the commits of a leader before that have not ended by themselves: no one else locks the table of the leader's row
/// like that. Which processes run them, and since when, for who can look after the server.
async fn end_old_commits(connection: &mut PgConnection) -> String {
    let end = sqlx::query(
        "SELECT pg_locks.pid, to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since, \
         pg_terminate_backend(pg_locks.pid) FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) \
         WHERE relation = 'leader'::regclass AND mode = 'RowShareLock' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid() \
         ORDER BY pid",
    );
    let found =
        within(ANSWER_WITHIN, end.fetch_all(connection)).await.unwrap_or_else(|error: sqlx::Error| {
            tracing::debug!(%error, "an old commit was not ended");
            Vec::new()
        });
    let process = |row: &PgRow| {
        let pid = row.try_get::<i32, _>("pid").ok()?;
        let since = row.try_get::<Option<String>, _>("since").ok()?;
        Some(format!(
            "process {pid}{}",
            since.map(|since| format!(", since {since} UTC")).unwrap_or_default()
        ))
    };
    let processes: Vec<String> = found.iter().filter_map(process).collect();
    if processes.is_empty() { "a process".to_owned() } else { processes.join(" and ") }
}
