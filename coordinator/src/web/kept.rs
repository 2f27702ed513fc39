//! Answers about sweeps that take long to make: made once for all who ask within a moment, and once for sweeps that have ended. Who has one
//! already is told that it is still the same. So many wait for one at a time; others are asked to come again. What is kept of one sweep is
//! given at once, also while that of another is made.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Lock, PoisonError, Weak},
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
use crate::api::{Api, task_ended};

/// How many are made at a time: of so many large sweeps at once, each has its rows in memory. A small sweep need not wait for a single large one.
const MAKING_MAX: usize = 2;

/// What is made of a large sweep serves for so many times as long as it took to make: who looks on costs at most a tenth of a processor, and as
/// much again where columns are made ready for charts.
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

/// What was made, and what is being made.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// The latest last. Held to look, never while something is made.
    made: Arc<Lock<Vec<Made<T>>>>,
    /// A lock for each thing that someone makes or waits for: who has waited finds what was made meanwhile.
    turns: Arc<Lock<Turns>>,
    /// A place for each making.
    making: Arc<Semaphore>,
    /// A place for each request that makes something or waits for it.
    waiting: Arc<Semaphore>,
}

type Turns = HashMap<Vec<SweepId>, Weak<Mutex<()>>>;

/// The right to make what is missing.
#[derive(Debug)]
struct Turn {
    _of_sweeps: OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            made: Arc::clone(&self.made),
            turns: Arc::clone(&self.turns),
            making: Arc::clone(&self.making),
            waiting: Arc::clone(&self.waiting),
        }
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
    /// Of which so many requests at a time wait for an answer that is not there yet.
    pub(super) fn new(waiting_max: usize) -> Self {
        let places = |places| Arc::new(Semaphore::new(places));
        let (making, waiting) = (places(MAKING_MAX), places(waiting_max));
        Self { made: Arc::default(), turns: Arc::default(), making, waiting }
    }

    /// Whether no one makes anything of these sweeps or waits for it, and it could be made at once.
    pub(super) fn is_idle(&self, sweeps: &[SweepId]) -> bool {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = turns.get(sweeps).is_some_and(|lock| lock.strong_count() > 0);
        !is_wanted && self.making.available_permits() > 0
    }

    /// The right to make what is missing of these sweeps, after those who asked before.
    async fn turn(&self, sweeps: &[SweepId]) -> Answered<Turn> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
        let lock = self.lock_of(sweeps);
        Ok(Turn { _of_sweeps: lock.lock_owned().await, _place: place })
    }

    /// The lock of these sweeps: the one that others hold or wait for, where there is one.
    fn lock_of(&self, sweeps: &[SweepId]) -> Arc<Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = turns.get(sweeps).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        turns.insert(sweeps.to_vec(), Arc::downgrade(&lock));
        lock
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
        if let Some(content) = self.found(sweeps, &ended(api, sweeps).await?, asked) {
            return Ok(content);
        }
        let _turn = self.turn(sweeps).await?;
        // They may have ended while this waited.
        let ended = ended(api, sweeps).await?;
        if let Some(content) = self.found(sweeps, &ended, asked) {
            return Ok(content);
        }
        let _place = self.making.acquire().await.map_err(|_| task_ended())?;
        let since = Instant::now();
        let content = make.await?;
        let fresh = bounds.fresh.max(since.elapsed().saturating_mul(FRESH_TIMES));
        self.keep(Made { sweeps: sweeps.to_vec(), since, fresh, ended, content: content.clone() }, bounds);
        Ok(content)
    }

    /// What serves who asked then, where the sweeps are so now.
    fn found(&self, sweeps: &[SweepId], ended: &Option<String>, asked: Instant) -> Option<T> {
        let serves = |made: &&Made<T>| {
            made.sweeps == sweeps
                && made.ended == *ended
                && (ended.is_some() || made.since + made.fresh >= asked)
        };
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().find(serves).map(|made| made.content.clone())
    }

    /// Keeps it in place of what there was of its sweeps, and no more than the bounds allow.
    fn keep(&self, new: Made<T>, bounds: &Bounds<T>) {
        let mut kept = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|made| made.sweeps != new.sweeps);
        kept.push(new);
        let size = |kept: &[Made<T>]| kept.iter().map(|made| (bounds.size)(&made.content)).sum::<usize>();
        while kept.len() > 1 && (kept.len() > bounds.kept_max || size(kept.as_slice()) > bounds.size_max) {
            kept.remove(0);
        }
    }
}

/// What the sweeps are like, where all have ended.
async fn ended(api: &Api, sweeps: &[SweepId]) -> Answered<Option<String>> {
    let mut ended = Some(String::new());
    for sweep in sweeps {
        let view = api.sweep(*sweep).await?;
        let end = view.encode(|view| {
            let (counts, at, metric) = (view.counts, view.ended_unix_ms, &view.definition.metric);
            view.state.is_final().then(|| format!("{counts:?} {at:?} {metric:?} "))
        });
        ended = ended.zip(end).map(|(before, end)| before + &end);
    }
    Ok(ended)
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
        let (kept, sweep) = (Kept::<u32>::new(3), [SweepId(1)]);
        let first = kept.turn(&sweep).await.unwrap();
        let mut waiting = Box::pin(join_all([kept.turn(&sweep), kept.turn(&sweep)]));
        assert!((&mut waiting).now_or_never().is_none());
        let refused =
            kept.turn(&sweep).now_or_never().expect("it does not wait").unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        drop((first, waiting));
        assert!(kept.turn(&sweep).now_or_never().unwrap().is_ok(), "there is room again");
        assert_eq!(kept.turns.lock().unwrap().len(), 1, "nothing is left of those that no one waits for");
    }
}
