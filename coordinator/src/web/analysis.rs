//! What the results of a sweep say, as JSON. It takes a processor for up to seconds, so that it is made once for all that ask, and once for a
//! sweep that has ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use report::view;
use terms::SweepId;
use tokio::sync::Mutex;

use super::{Web, answers::Answered, reading::sweep_id};

/// How long the analysis of a sweep that goes on is good enough.
const FRESH: Duration = Duration::from_secs(2);
/// Of a large sweep, it is good enough for so many times as long as it took to make: who looks on costs at most a tenth of a processor.
const FRESH_TIMES: u32 = 10;
/// Sweeps whose analyses are kept, some kilobytes each: those that people look at now.
const KEPT_MAX: usize = 8;
/// Digits of a hash that name a version of an analysis.
const HASH_CHARACTERS: usize = 32;

/// The routes.
pub(super) fn routes() -> Router<Web> {
    Router::new().route("/api/v1/sweeps/{sweep}/analysis", get(analysis))
}

/// Analyses that were made, the latest last. Who makes one holds the lock: one at a time is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Made(Arc<Mutex<Vec<Kept>>>);

/// The analysis of a sweep.
#[derive(Debug, Clone)]
struct Kept {
    sweep: SweepId,
    since: Instant,
    /// How long it serves, from its beginning.
    fresh: Duration,
    /// What the sweep was like where it had ended: it does not change any more until a user tries jobs again or ranks them otherwise.
    ended: Option<String>,
    tag: String,
    bytes: Bytes,
}

async fn analysis(State(web): State<Web>, Path(id): Path<String>, headers: HeaderMap) -> Answered<Response> {
    let Kept { tag, bytes, .. } = made(&web, sweep_id(&id)?).await?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let told = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    if known == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, told).into_response());
    }
    Ok((told, [(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// The analysis of a sweep: one that was made a moment ago, or of the sweep as it ended, or a new one.
async fn made(web: &Web, sweep: SweepId) -> Answered<Kept> {
    let asked = Instant::now();
    let mut made = web.analyses.0.lock().await;
    let view = web.api.sweep(sweep).await?;
    let ended = view.encode(|view| {
        let is_final = view.state.is_final();
        is_final.then(|| format!("{:?} {:?} {:?}", view.counts, view.ended_unix_ms, view.definition.metric))
    });
    let serves = |kept: &&Kept| {
        kept.sweep == sweep && kept.ended == ended && (ended.is_some() || kept.since + kept.fresh >= asked)
    };
    if let Some(kept) = made.iter().find(serves) {
        return Ok(kept.clone());
    }
    let since = Instant::now();
    let analyzed = web.api.analysis(sweep).await?;
    let bytes = serde_json::to_vec(&view::Analysis::new(&analyzed.objective, &analyzed.analysis));
    let bytes = Bytes::from(bytes.unwrap_or_default());
    let mut hash = blake3::hash(&bytes).to_hex().to_string();
    hash.truncate(HASH_CHARACTERS);
    let fresh = FRESH.max(since.elapsed().saturating_mul(FRESH_TIMES));
    let kept = Kept { sweep, since, fresh, ended, tag: format!("\"{hash}\""), bytes };
    made.retain(|kept| kept.sweep != sweep);
    if made.len() >= KEPT_MAX {
        made.remove(0);
    }
    made.push(kept.clone());
    Ok(kept)
}
