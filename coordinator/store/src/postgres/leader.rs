//! The leader's row in the database. `lead` says what is done about it and when. Each commit locks the row and compares the
//! term, so a leader that was replaced while it stood still cannot write. The beat travels over the connection that commits:
//! it says that commits go through, not only that the process lives.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use sqlx::{PgConnection, Row, postgres::PgRow};
use tokio::sync::watch;

use super::{
    super::{
        LeaderTold, StoreError,
        lead::{
            BEAT_INTERVAL, Beat, Candidate, LOOK_INTERVAL, LeaderRow, NextStep, Over, SILENCE_MAX, Tenure,
            Term,
        },
    },
    session::{ANSWER_WITHIN, Readers, within},
    writer::Writer,
};

/// How long taking the lead may wait for a commit of the leader before: longer than the server waits for its lock.
const REPLACE_WITHIN: Duration = Duration::from_secs(5);
/// PostgreSQL's `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// No coordinator ever led in this term.
const NEVER: i64 = 0;

/// This coordinator's place among those that share the database.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// The term in which it last led.
    term: AtomicI64,
    /// Its tenure, for as long as it keeps the lead.
    tenure: watch::Sender<Option<Tenure>>,
}

impl Leadership {
    /// Waits until this coordinator, which is reached at `address`, leads; meanwhile tells `leader` who does.
    pub(super) async fn take(
        &self,
        readers: &Readers,
        address: &str,
        leader: LeaderTold<'_>,
    ) -> Result<(), StoreError> {
        let own = Some(self.term.load(Ordering::SeqCst)).filter(|own| *own != NEVER).map(Term);
        let row = look(readers).await?;
        let mut candidate = Candidate::new(own, row, now());
        loop {
            match candidate.next_step(now()) {
                NextStep::Replace(seen) => {
                    if let Some(term) = replace(readers, seen, address).await? {
                        self.term.store(term, Ordering::SeqCst);
                        return Ok(());
                    }
                }
                NextStep::Wait(address) => leader(address),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            let row = look(readers).await?;
            candidate.saw(row, now());
        }
    }

    /// Shows that this leader lives, until it must not lead any more; says why.
    pub(super) async fn keep(&self, writer: &Writer, readers: &Readers) -> StoreError {
        let mut kept = Kept { tenure: Tenure::new(now()), published: &self.tenure };
        let mut interval = tokio::time::interval(BEAT_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let begun = now();
            let beat = async {
                match writer.beat(self, readers).await {
                    Some(beat) => beat,
                    // A commit runs, which has a deadline of its own.
                    None => self.beat_beside(readers).await,
                }
            };
            let beat = tokio::time::timeout(kept.tenure.patience(begun), beat).await;
            let (beat, error) = match beat {
                Ok(Ok(true)) => (Beat::Kept, None),
                Ok(Ok(false)) => (Beat::Refused, None),
                Ok(Err(error)) => (Beat::Failed, Some(error)),
                Err(_) => (Beat::Failed, None),
            };
            match kept.beat_ended(begun, beat) {
                Ok(()) => {
                    if let Some(error) = error {
                        tracing::debug!(%error, "a beat was not written");
                    }
                }
                Err(Over::Superseded) => return StoreError::Superseded,
                Err(Over::Silent) => return error.unwrap_or(StoreError::Silent(SILENCE_MAX)),
            }
        }
    }

    /// The term in which it leads; none while it does not.
    pub(super) fn leading_term(&self) -> Option<i64> {
        self.tenure.borrow().map(|_| self.term())
    }

    /// Whether no other coordinator can lead now.
    pub(super) fn is_confirmed(&self) -> bool {
        self.tenure.borrow().is_some_and(|tenure| tenure.is_confirmed(now()))
    }

    /// Adds to the beat; false where another leads. It need not be on the disk: a server that crashed has no leader that
    /// lives.
    pub(super) async fn beat(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "UPDATE leader SET beat = beat + 1 WHERE epoch = $1 AND NOT vacant \
             AND set_config('synchronous_commit', 'off', TRUE) IS NOT NULL",
        )
        .bind(self.term.load(Ordering::SeqCst))
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

    /// The term in which it leads or last led, which each commit compares.
    pub(super) fn term(&self) -> i64 {
        self.term.load(Ordering::SeqCst)
    }

    /// Leaves the place to whoever looks next.
    pub(super) async fn vacate(&self, readers: &Readers) -> Result<(), sqlx::Error> {
        let term = self.term.load(Ordering::SeqCst);
        if term == NEVER {
            return Ok(());
        }
        let vacated = async {
            let mut reader = readers.acquire().await?;
            let vacated =
                sqlx::query("UPDATE leader SET vacant = TRUE WHERE epoch = $1 AND NOT vacant").bind(term);
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

/// A tenure that others can look at until it is over.
struct Kept<'a> {
    tenure: Tenure,
    published: &'a watch::Sender<Option<Tenure>>,
}

impl Kept<'_> {
    fn beat_ended(&mut self, begun: Duration, beat: Beat) -> Result<(), Over> {
        self.tenure.beat_ended(begun, now(), beat)?;
        self.published.send_replace(Some(self.tenure));
        Ok(())
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.published.send_replace(None);
    }
}

/// A clock that runs on while the machine sleeps, when others may take the lead.
fn now() -> Duration {
    // It is the time since the machine started, so it fits.
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

async fn look(readers: &Readers) -> Result<LeaderRow, StoreError> {
    let mut reader = readers.acquire().await?;
    let row = sqlx::query("SELECT epoch, beat, vacant, address FROM leader");
    let row = within(ANSWER_WITHIN, row.fetch_optional(reader.connection()?)).await?;
    reader.done();
    let row =
        row.ok_or_else(|| StoreError::Corrupt("the table leader has no row, but always has one".to_owned()))?;
    Ok(LeaderRow {
        term: Term(row.try_get("epoch")?),
        beat: row.try_get("beat")?,
        vacant: row.try_get("vacant")?,
        address: row.try_get("address")?,
    })
}

/// Leads in place of `seen`, unless it showed a sign of life or another was faster; the new term.
async fn replace(readers: &Readers, seen: &LeaderRow, address: &str) -> Result<Option<i64>, StoreError> {
    let mut reader = readers.acquire().await?;
    let query = sqlx::query_scalar(
        "UPDATE leader SET epoch = epoch + 1, beat = 0, vacant = FALSE, address = $3 \
         WHERE epoch = $1 AND beat = $2 RETURNING epoch",
    );
    let query = query.bind(seen.term.0).bind(seen.beat).bind(address);
    match within(REPLACE_WITHIN, query.fetch_optional(reader.connection()?)).await {
        Ok(term) => {
            reader.done();
            Ok(term)
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
