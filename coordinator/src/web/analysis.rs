//! What the results of a sweep say, as JSON. It takes a processor for up to seconds.

use std::time::Duration;

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use report::view;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::Answered,
    kept::{Bounds, Version},
    reading::sweep_id,
};

/// Some kilobytes of each sweep, or some hundred where it has very many parameters.
const BOUNDS: Bounds<Version> =
    Bounds { fresh: Duration::from_secs(2), kept_max: 8, size: Version::len, size_max: 16 << 20 };

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(analysis))
}

/// What the results of a sweep say.
///
/// Who has it already is told so by its `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/analysis",
    responses(
        (status = 200, body = view::Analysis<'static>),
        (status = 304, description = "It is the one that `If-None-Match` names."),
    ),
)]
async fn analysis(State(web): State<Web>, Path(id): Path<String>, headers: HeaderMap) -> Answered<Response> {
    let sweep = sweep_id(&id)?;
    let make = async {
        let analyzed = web.api.analysis(sweep).await?;
        let bytes = serde_json::to_vec(&view::Analysis::new(&analyzed.objective, &analyzed.analysis));
        Ok(Version::new(bytes.unwrap_or_default().into()))
    };
    let version = web.analyses.of(&web.api, &[sweep], &BOUNDS, make).await?;
    Ok(version.answer(&headers, "application/json"))
}
