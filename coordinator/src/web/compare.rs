//! Sweeps next to each other, as JSON: the same as `sweep compare -o json`. It reads all of their jobs, so it is kept for a while, and few wait
//! for one.

use std::time::Duration;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use report::compare::{Comparison, Side};
use serde::Deserialize;
use terms::SweepId;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    asked::query,
    kept::{Bounds, Version},
    reading::sweep_id,
};
use crate::{
    api::{Api, ApiError},
    rpc::convert,
    shapes::rows,
};

/// Most sweeps: as many as the page shows.
const SWEEPS_MAX: usize = 12;
/// Requests that wait for a comparison, or have one made: each may be of other sweeps, and take a minute.
pub(super) const WAITING_MAX: usize = 8;
/// Some kilobytes of each sweep.
const BOUNDS: Bounds<Version> =
    Bounds { fresh: Duration::from_secs(10), kept_max: 8, size: Version::len, size_max: 16 << 20 };

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(compare_sweeps))
}

/// Which sweeps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Their numbers, with commas between them; each of the others is compared with the first.
    sweeps: String,
}

/// Sweeps next to each other.
///
/// What their files differ in, the best of each, and tests of each of the others against the first.
/// Who has it already is told so by its `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/compare",
    params(Asked),
    responses(
        (status = 200, body = Comparison),
        (status = 304, description = "It is the one that `If-None-Match` names."),
        (status = 429, description = "Too many comparisons are waited for."),
    ),
)]
async fn compare_sweeps(
    State(web): State<Web>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Answered<Response> {
    let asked = query(asked)?;
    let named: Vec<&str> = asked.sweeps.split(',').take(SWEEPS_MAX + 1).collect();
    if !(2..=SWEEPS_MAX).contains(&named.len()) {
        return Err(Refusal::invalid(format!("`sweeps` names 2 to {SWEEPS_MAX} sweeps, as in sweeps=1,2")));
    }
    let ids = named.into_iter().map(sweep_id).collect::<Answered<Vec<_>>>()?;
    for (place, id) in ids.iter().enumerate() {
        if ids[..place].contains(id) {
            return Err(Refusal::invalid(format!("`sweeps` names {} twice", id.0)));
        }
    }
    let make = async {
        let compared = web.api.compare(sides(&web.api, &ids).await?).await?;
        Ok(Version::new(serde_json::to_vec(&compared).unwrap_or_default().into()))
    };
    let version = web.comparisons.of(&web.api, &ids, &BOUNDS, make).await?;
    Ok(version.answer(&headers, "application/json"))
}

/// These sweeps, of which no job has come in yet.
pub(super) async fn sides(api: &Api, ids: &[SweepId]) -> Result<Vec<(SweepId, Side)>, ApiError> {
    let mut sides = Vec::new();
    for id in ids {
        let side = api.sweep(*id).await?.encode(|sweep| {
            let sweep = convert::sweep(&sweep);
            let names = sweep.metric_names.clone();
            Side::new(rows::sweep(sweep, Vec::new(), &names))
        });
        sides.push((*id, side));
    }
    Ok(sides)
}
