//! Who writes. One row names the leader by an epoch that grows with every new one. Each commit locks the row and
//! compares the epoch, so a leader that was replaced while it stood still cannot write. The leader adds to a beat
//! every second; a follower whose own clock sees the beat stand still takes over. No clock is compared to another.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use sqlx::{PgConnection, PgPool, Row};

use super::super::{LeaderTold, StoreError};

/// How often a leader shows that it lives.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a follower looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a beat may stand still: a leader that cannot write it for so long steps down, and a follower takes
/// over. With the 3 s after which the server ends a transaction that stands still, a new leader is there in less
/// than 10 s.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// No coordinator ever led with this epoch.
const NEVER: i64 = 0;

/// This coordinator's place among those that share the database.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// The epoch with which it last led.
    epoch: AtomicI64,
}

/// The row as it was seen.
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
        pool: &PgPool,
        address: &str,
        leader: LeaderTold<'_>,
    ) -> Result<(), StoreError> {
        let own = self.epoch.load(Ordering::SeqCst);
        let (mut seen, mut since) = (look(pool).await?, Instant::now());
        loop {
            let stands_still = since.elapsed() >= SILENCE_MAX;
            let is_own = own != NEVER && seen.epoch == own;
            if seen.vacant || stands_still || is_own {
                if let Some(epoch) = replace(pool, &seen, address).await? {
                    self.epoch.store(epoch, Ordering::SeqCst);
                    return Ok(());
                }
            } else {
                leader(&seen.address);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = look(pool).await?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// Shows that this leader lives, until it must not lead any more; says why.
    pub(super) async fn keep(&self, pool: &PgPool) -> StoreError {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let mut last = Instant::now();
        let mut interval = tokio::time::interval(BEAT_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let begun = Instant::now();
            let beat = sqlx::query("UPDATE leader SET beat = beat + 1 WHERE epoch = $1 AND NOT vacant")
                .bind(epoch)
                .execute(pool);
            match tokio::time::timeout(SILENCE_MAX.saturating_sub(last.elapsed()), beat).await {
                Ok(Ok(done)) if done.rows_affected() == 0 => return StoreError::Superseded,
                Ok(Ok(_)) => last = begun,
                Ok(Err(error)) if last.elapsed() >= SILENCE_MAX => return error.into(),
                Ok(Err(error)) => tracing::debug!(%error, "a beat was not written"),
                Err(_) => return StoreError::Superseded,
            }
        }
    }

    /// Makes sure, for as long as the transaction runs, that this coordinator leads. The lock conflicts with a change
    /// of the leader alone.
    pub(super) async fn check(&self, transaction: &mut PgConnection) -> Result<(), StoreError> {
        let leads: Option<i64> =
            sqlx::query_scalar("SELECT epoch FROM leader WHERE epoch = $1 FOR KEY SHARE")
                .bind(self.epoch.load(Ordering::SeqCst))
                .fetch_optional(transaction)
                .await?;
        leads.map(drop).ok_or(StoreError::Superseded)
    }

    /// Leaves the place to whoever looks next.
    pub(super) async fn vacate(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        if epoch != NEVER {
            let vacated = sqlx::query("UPDATE leader SET vacant = TRUE WHERE epoch = $1").bind(epoch);
            vacated.execute(pool).await?;
        }
        Ok(())
    }
}

async fn look(pool: &PgPool) -> Result<Leader, StoreError> {
    let row = sqlx::query("SELECT epoch, beat, vacant, address FROM leader").fetch_optional(pool).await?;
    let row =
        row.ok_or_else(|| StoreError::Damaged("the table leader has no row, but always has one".to_owned()))?;
    Ok(Leader {
        epoch: row.try_get("epoch")?,
        beat: row.try_get("beat")?,
        vacant: row.try_get("vacant")?,
        address: row.try_get("address")?,
    })
}

/// Leads in place of `seen`, unless it showed a sign of life or somebody else was faster; the new epoch.
async fn replace(pool: &PgPool, seen: &Leader, address: &str) -> Result<Option<i64>, StoreError> {
    let epoch = sqlx::query_scalar(
        "UPDATE leader SET epoch = epoch + 1, beat = 0, vacant = FALSE, address = $3 \
         WHERE epoch = $1 AND beat = $2 RETURNING epoch",
    )
    .bind(seen.epoch)
    .bind(seen.beat)
    .bind(address)
    .fetch_optional(pool)
    .await?;
    Ok(epoch)
}
