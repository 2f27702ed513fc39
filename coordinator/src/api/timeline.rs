//! Who ran what when: the attempts of some span of time.

use store::{AttemptRow, AttemptsAsked};
use terms::{JobKey, SweepId};

use super::{Api, ApiError, error::unreadable};

/// Most attempts that are shown at once: more bars than a screen has room for.
const ATTEMPTS_MAX: u32 = 4_000;

/// Attempts of a span of time.
#[derive(Debug)]
pub struct Timeline {
    /// Those that began last first.
    pub attempts: Vec<(JobKey, AttemptRow)>,
    /// Whether these are all.
    pub is_whole: bool,
}

impl Api {
    /// The attempts, of a sweep or of all, that ran at some time between two moments, in milliseconds since 1970.
    ///
    /// # Errors
    /// There is no such sweep, or the store cannot be read.
    pub async fn timeline(
        &self,
        sweep: Option<SweepId>,
        since_unix_ms: u64,
        until_unix_ms: u64,
    ) -> Result<Timeline, ApiError> {
        match sweep {
            Some(sweep) => drop(self.defined(sweep).await?),
            // Only who leads knows what the store holds.
            None => drop(self.leadership.driver()?),
        }
        let limit = ATTEMPTS_MAX + 1;
        let asked = AttemptsAsked { sweep, since_unix_ms, until_unix_ms, limit };
        let mut attempts = self.store.attempts_between(asked).await.map_err(unreadable)?;
        let is_whole = attempts.len() <= ATTEMPTS_MAX as usize;
        attempts.truncate(ATTEMPTS_MAX as usize);
        Ok(Timeline { attempts, is_whole })
    }
}
