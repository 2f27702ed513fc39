//! Certificates for workers that join, and for those that renew theirs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use terms::WorkerName;

use super::{Api, ApiError};
use crate::access::{Authority, Caller};

/// Certificates that are given in a second to workers of one token. A farm of a thousand workers that starts as a whole has them within
/// ten seconds, and one that asks without end takes a quarter of what all may have.
const GIVEN_A_TOKEN_MAX: u32 = 100;
/// Certificates that are given in a second. Each costs less than a millisecond, so that they keep the processor from no one.
const GIVEN_A_SECOND_MAX: u32 = 4 * GIVEN_A_TOKEN_MAX;
const SECOND: Duration = Duration::from_secs(1);

/// The authority of this coordinator, and how fast it gives.
#[derive(Debug, Clone)]
pub(super) struct Giving {
    authority: Arc<Authority>,
    pace: Arc<Mutex<Pace>>,
}

/// How much was given in the second that runs.
#[derive(Debug, Default)]
struct Pace {
    since: Option<Instant>,
    given: u32,
    /// By token; only those that got one, so that there are no more of them than certificates.
    by_token: HashMap<Box<str>, u32>,
}

impl Pace {
    /// Whether one more may be given by this token now.
    fn take(&mut self, now: Instant, token: &str) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            *self = Self { since: Some(now), ..Self::default() };
        }
        let by_token = self.by_token.get(token).copied().unwrap_or_default();
        if self.given >= GIVEN_A_SECOND_MAX || by_token >= GIVEN_A_TOKEN_MAX {
            return false;
        }
        self.given += 1;
        self.by_token.insert(token.into(), by_token + 1);
        true
    }
}

/// A worker's certificate.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// As PEM.
    pub certificate: String,
    /// The authority's, as PEM.
    pub authority: String,
    pub lasts: Duration,
}

impl Api {
    /// The same, where this authority gives workers certificates.
    #[must_use]
    pub fn giving_certificates(self, authority: Option<Arc<Authority>>) -> Self {
        let giving = authority.map(|authority| Giving { authority, pace: Arc::default() });
        Self { giving, ..self }
    }

    /// What tells this coordinator's authority from others.
    ///
    /// # Errors
    /// It has none.
    pub fn authority_hash(&self) -> Result<String, ApiError> {
        Ok(self.giving()?.authority.hash.clone())
    }

    /// Gives a worker, which has shown a stored token or a certificate that came of it, a certificate for its key.
    ///
    /// # Errors
    /// This coordinator has no authority, the request is wrong, or the certificate that was shown is another worker's.
    pub fn enrol(&self, caller: &Caller, worker: &WorkerName, request: &str) -> Result<Enrolled, ApiError> {
        let Giving { authority, pace } = self.giving()?;
        let token = caller.token.as_deref().ok_or_else(|| {
            ApiError::Refused(
                "a worker joins with a token of `sweep token create --role worker --join`".to_owned(),
            )
        })?;
        let what = || format!("a certificate for worker {:?}", worker.as_str());
        caller.is_worker(worker.as_str(), what).map_err(ApiError::Forbidden)?;
        if !pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), token) {
            let message = "too many workers ask for a certificate at once".to_owned();
            return Err(ApiError::Busy { message, retry_after: SECOND });
        }
        let certificate = authority
            .sign(request, worker, token)
            .map_err(|error| ApiError::Invalid(format!("no certificate can be given: {error:#}")))?;
        tracing::info!(
            target: "audit",
            who = %caller,
            from = &*caller.from,
            token,
            what = %format!("a certificate for worker {:?} by token {token}", worker.as_str()),
            result = "done",
            "given"
        );
        Ok(Enrolled { certificate, authority: authority.certificate.clone(), lasts: authority.workers_last })
    }

    fn giving(&self) -> Result<&Giving, ApiError> {
        self.giving.as_ref().ok_or_else(|| {
            ApiError::Refused(
                "this coordinator gives workers no certificates; start it with --authority DIR, which `sweep certs init` makes"
                    .to_owned(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these tries by a token get a certificate.
    fn given(pace: &mut Pace, now: Instant, token: &str, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(pace.take(now, token))).sum()
    }

    #[test]
    fn a_token_that_asks_without_end_leaves_certificates_for_others() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        for second in 0..3 {
            let now = begin + SECOND * second;
            assert_eq!(given(&mut pace, now, "greedy", GIVEN_A_SECOND_MAX), GIVEN_A_TOKEN_MAX);
            assert_eq!(given(&mut pace, now, "other", 1), 1);
        }
    }

    #[test]
    fn a_second_has_as_many_certificates_as_it_may_and_the_next_as_many_again() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        for second in 0..3 {
            let now = begin + SECOND * second;
            let tokens = (0..8).map(|token| token.to_string());
            let all: u32 = tokens.map(|token| given(&mut pace, now, &token, GIVEN_A_TOKEN_MAX)).sum();
            assert_eq!(all, GIVEN_A_SECOND_MAX);
            assert_eq!(pace.by_token.len(), 4);
        }
    }
}
