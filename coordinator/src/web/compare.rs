//! Sweeps next to each other, as JSON: the same as `sweep compare -o json`.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use report::compare::{Comparison, Side};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    reading::{query, sweep_id},
};
use crate::{rpc::convert, shapes::rows};

/// Most sweeps: as many as the page shows.
const SWEEPS_MAX: usize = 12;

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
#[utoipa::path(get, path = "/api/v1/compare", params(Asked), responses((status = 200, body = Comparison)))]
async fn compare_sweeps(
    State(web): State<Web>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Answered<Json<Comparison>> {
    let asked = query(asked)?;
    let named: Vec<&str> = asked.sweeps.split(',').take(SWEEPS_MAX + 1).collect();
    if !(2..=SWEEPS_MAX).contains(&named.len()) {
        return Err(Refusal::invalid(format!("`sweeps` names 2 to {SWEEPS_MAX} sweeps, as in sweeps=1,2")));
    }
    let ids = named.into_iter().map(sweep_id).collect::<Answered<Vec<_>>>()?;
    let mut sides = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        if ids[..place].contains(id) {
            return Err(Refusal::invalid(format!("`sweeps` names {} twice", id.0)));
        }
        let side = web.api.sweep(*id).await?.encode(|sweep| {
            let sweep = convert::sweep(&sweep);
            let names = sweep.metric_names.clone();
            Side::new(rows::sweep(sweep, Vec::new(), &names))
        });
        sides.push((*id, side));
    }
    Ok(Json(web.api.compare(sides).await?))
}
