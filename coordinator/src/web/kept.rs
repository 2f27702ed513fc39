//! Answers about sweeps that take long to make: made once for all who ask within a moment, and once for sweeps that have ended. Who has one
//! already is told that it is still the same. So many wait for one at a time; others are asked to come again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use terms::SweepId;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::{
    answers::Answered,
    turns::{WAITING_MAX, busy},
};
use crate::api::Api;

/// What is made of a large sweep serves for so many times as long as it took to make: who looks on costs at most a tenth of a processor.
const FRESH_TIMES: u32 = 10;
/// Digits of a hash that name a version.
const HASH_CHARACTERS: usize = 32;

/// How long and how much is kept.
pub(super) struct Bounds<T> {
    /// How long what was made of sweeps that go on is good enough.
    pub(super) fresh: Duration,
    /// How many are kept: those that people look at now.
    pub(super) kept_max: usize,
    /// How large one is, and the most that all may come to; one alone may be larger.
    pub(super) size: fn(&T) -> usize,
    pub(super) size_max: usize,
}

/// What was made, the latest last. Who makes something holds the lock: one at a time is made.
#[derive(Debug)]
pub(super) struct Kept<T> {
    made: Arc<Mutex<Vec<Made<T>>>>,
    /// A place for each request that waits for the lock or holds it.
    waiting: Arc<Semaphore>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { made: Arc::clone(&self.made), waiting: Arc::clone(&self.waiting) }
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self::new(WAITING_MAX)
    }
}

#[derive(Debug)]
struct Made<T> {
    /// What it is of.
    sweeps: Vec<SweepId>,
    since: Instant,
    /// How long it serves.
    fresh: Duration,
    /// What the sweeps were like where all had ended: they do not change any more until a user tries jobs again or ranks them otherwise.
    ended: Option<String>,
    content: T,
}

impl<T> Kept<T> {
    /// Of which so many requests at a time wait for an answer.
    pub(super) fn new(waiting_max: usize) -> Self {
        Self { made: Arc::default(), waiting: Arc::new(Semaphore::new(waiting_max)) }
    }

    /// The right to look and to make what is missing, after those who asked before.
    async fn turn(&self) -> Answered<(OwnedMutexGuard<Vec<Made<T>>>, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
        Ok((Arc::clone(&self.made).lock_owned().await, place))
    }
}

impl<T: Clone> Kept<T> {
    /// What was made of these sweeps a moment ago, or of them as they ended, or what `make` makes now.
    pub(super) async fn of(
        &self,
        api: &Api,
        sweeps: &[SweepId],
        bounds: &Bounds<T>,
        make: impl Future<Output = Answered<T>>,
    ) -> Answered<T> {
        let asked = Instant::now();
        let (mut kept, _place) = self.turn().await?;
        let mut ended = Some(String::new());
        for sweep in sweeps {
            let view = api.sweep(*sweep).await?;
            let end = view.encode(|view| {
                let (counts, at, metric) = (view.counts, view.ended_unix_ms, &view.definition.metric);
                view.state.is_final().then(|| format!("{counts:?} {at:?} {metric:?} "))
            });
            ended = ended.zip(end).map(|(before, end)| before + &end);
        }
        let serves = |made: &&Made<T>| {
            made.sweeps == sweeps
                && made.ended == ended
                && (ended.is_some() || made.since + made.fresh >= asked)
        };
        if let Some(made) = kept.iter().find(serves) {
            return Ok(made.content.clone());
        }
        let since = Instant::now();
        let content = make.await?;
        let fresh = bounds.fresh.max(since.elapsed().saturating_mul(FRESH_TIMES));
        kept.retain(|made| made.sweeps != sweeps);
        kept.push(Made { sweeps: sweeps.to_vec(), since, fresh, ended, content: content.clone() });
        let size = |kept: &[Made<T>]| kept.iter().map(|made| (bounds.size)(&made.content)).sum::<usize>();
        while kept.len() > 1 && (kept.len() > bounds.kept_max || size(kept.as_slice()) > bounds.size_max) {
            kept.remove(0);
        }
        Ok(content)
    }
}

/// An answer with the hash that names it.
#[derive(Debug, Clone)]
pub(super) struct Version {
    tag: String,
    bytes: Bytes,
}

impl Version {
    pub(super) fn new(bytes: Bytes) -> Self {
        let mut hash = blake3::hash(&bytes).to_hex().to_string();
        hash.truncate(HASH_CHARACTERS);
        Self { tag: format!("\"{hash}\""), bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The answer to a request, or that its sender has it already.
    pub(super) fn answer(&self, asked: &HeaderMap, kind: &'static str) -> Response {
        let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        let told =
            [(header::ETAG, self.tag.clone()), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
        if known == Some(self.tag.as_str()) {
            return (StatusCode::NOT_MODIFIED, told).into_response();
        }
        (told, [(header::CONTENT_TYPE, kind)], self.bytes.clone()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::{FutureExt, future::join_all};

    use super::*;

    #[tokio::test]
    async fn so_many_wait_for_an_answer_and_others_are_asked_to_come_again() {
        let kept = Kept::<u32>::new(3);
        let first = kept.turn().await.unwrap();
        let mut waiting = Box::pin(join_all([kept.turn(), kept.turn()]));
        assert!((&mut waiting).now_or_never().is_none());
        let refused = kept.turn().now_or_never().expect("it does not wait").unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        drop((first, waiting));
        assert!(kept.turn().now_or_never().unwrap().is_ok(), "there is room again");
    }
}
