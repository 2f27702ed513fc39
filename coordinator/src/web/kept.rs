//! Answers about a sweep that take long to make: made once for all who ask within a moment, and once for a sweep that has ended. Who has
//! one already is told that it is still the same.

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
use tokio::sync::Mutex;

use super::{Web, answers::Answered};

/// What is made of a large sweep serves for so many times as long as it took to make: who looks on costs at most a tenth of a processor.
const FRESH_TIMES: u32 = 10;
/// Digits of a hash that name a version.
const HASH_CHARACTERS: usize = 32;

/// How long and how much is kept.
pub(super) struct Bounds<T> {
    /// How long what was made of a sweep that goes on is good enough.
    pub(super) fresh: Duration,
    /// Sweeps of which it is kept: those that people look at now.
    pub(super) sweeps_max: usize,
    /// How large one is, and the most that all may come to; one alone may be larger.
    pub(super) size: fn(&T) -> usize,
    pub(super) size_max: usize,
}

/// What was made, the latest last. Who makes something holds the lock: one at a time is made.
#[derive(Debug)]
pub(super) struct Kept<T>(Arc<Mutex<Vec<Made<T>>>>);

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[derive(Debug)]
struct Made<T> {
    sweep: SweepId,
    since: Instant,
    /// How long it serves.
    fresh: Duration,
    /// What the sweep was like where it had ended: it does not change any more until a user tries jobs again or ranks them otherwise.
    ended: Option<String>,
    content: T,
}

impl<T: Clone> Kept<T> {
    /// What was made of a sweep a moment ago, or of the sweep as it ended, or what `make` makes now.
    pub(super) async fn of(
        &self,
        web: &Web,
        sweep: SweepId,
        bounds: &Bounds<T>,
        make: impl Future<Output = Answered<T>>,
    ) -> Answered<T> {
        let asked = Instant::now();
        let mut kept = self.0.lock().await;
        let view = web.api.sweep(sweep).await?;
        let ended = view.encode(|view| {
            let is_final = view.state.is_final();
            is_final
                .then(|| format!("{:?} {:?} {:?}", view.counts, view.ended_unix_ms, view.definition.metric))
        });
        let serves = |made: &&Made<T>| {
            made.sweep == sweep
                && made.ended == ended
                && (ended.is_some() || made.since + made.fresh >= asked)
        };
        if let Some(made) = kept.iter().find(serves) {
            return Ok(made.content.clone());
        }
        let since = Instant::now();
        let content = make.await?;
        let fresh = bounds.fresh.max(since.elapsed().saturating_mul(FRESH_TIMES));
        kept.retain(|made| made.sweep != sweep);
        kept.push(Made { sweep, since, fresh, ended, content: content.clone() });
        let size = |kept: &[Made<T>]| kept.iter().map(|made| (bounds.size)(&made.content)).sum::<usize>();
        while kept.len() > 1 && (kept.len() > bounds.sweeps_max || size(kept.as_slice()) > bounds.size_max) {
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
