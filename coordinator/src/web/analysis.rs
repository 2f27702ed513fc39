//! What the results of a sweep say, as JSON. It takes a processor for up to seconds.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
    routing::get,
};
use report::view;

use super::{
    Web,
    answers::Answered,
    kept::{Bounds, Version},
    reading::sweep_id,
};

/// Some kilobytes of each sweep, or some hundred where it has very many parameters.
const BOUNDS: Bounds<Version> =
    Bounds { fresh: Duration::from_secs(2), sweeps_max: 8, size: Version::len, size_max: 16 << 20 };

/// The routes.
pub(super) fn routes() -> Router<Web> {
    Router::new().route("/api/v1/sweeps/{sweep}/analysis", get(analysis))
}

async fn analysis(State(web): State<Web>, Path(id): Path<String>, headers: HeaderMap) -> Answered<Response> {
    let sweep = sweep_id(&id)?;
    let make = async {
        let analyzed = web.api.analysis(sweep).await?;
        let bytes = serde_json::to_vec(&view::Analysis::new(&analyzed.objective, &analyzed.analysis));
        Ok(Version::new(bytes.unwrap_or_default().into()))
    };
    let version = web.analyses.of(&web, sweep, &BOUNDS, make).await?;
    Ok(version.answer(&headers, "application/json"))
}
