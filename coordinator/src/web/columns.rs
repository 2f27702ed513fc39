//! What charts are drawn from: the jobs of a sweep as columns of bytes, and learning curves.

mod chosen;
mod encoded;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use report::view;
use serde::{Deserialize, Serialize};
use terms::SweepId;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::encoded::Head;
use self::encoded::encode;
use super::{
    Web,
    answers::{Answered, Refusal},
    asked::query,
    kept::{Bounds, Version},
    reading::{numbers, sweep_id},
};
use crate::api::{CELLS_MAX, Curve, JobColumns, task_ended};

/// A hundred open pages ask for the same columns, and draw them again no more than once a second. Kept are as many values as the largest
/// sweep has, and some more, so that looking at a small sweep does not drop it: some hundred megabytes, where people look at such a one.
const BOUNDS: Bounds<Columns> = Bounds {
    fresh: Duration::from_secs(1),
    kept_max: 4,
    size: Columns::cells,
    size_max: CELLS_MAX + (8 << 20),
};
/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(columns)).routes(routes!(curves))
}

/// Columns of a sweep.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    columns: Arc<JobColumns>,
    /// As they are sent, by [`Part`]; made when someone asks.
    sent: Arc<[OnceLock<Version>; 3]>,
}

/// Which columns are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All, with all digits.
    Exact,
    /// Those that a page draws first.
    Coarse,
    /// Those of the parameters.
    Parameters,
}

impl Columns {
    fn cells(&self) -> usize {
        self.columns.cells()
    }

    /// These columns as they are sent: some megabytes are written and hashed.
    fn version(&self, part: Part) -> &Version {
        let of = || (part == Part::Parameters).then(|| self.version(Part::Coarse).tag().to_owned());
        self.sent[part as usize].get_or_init(|| Version::new(encode(&self.columns, part, of())))
    }
}

/// How columns are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ColumnsQuery {
    /// `true` for no more bytes than charts of 20,000 or more jobs need: numbers that follow from each other are left out (`run`), and those
    /// that are only drawn have two bytes (`scale`). The objective and integers have all their digits. The parameters of so many jobs are
    /// answered by themselves (`has_parameters` says so).
    coarse: bool,
    /// `true`, together with `coarse=true`, for the columns of the parameters alone; `of` says to which answer they belong.
    parameters: bool,
}

impl ColumnsQuery {
    fn part(&self) -> Answered<Part> {
        match (self.coarse, self.parameters) {
            (false, false) => Ok(Part::Exact),
            (true, false) => Ok(Part::Coarse),
            (true, true) => Ok(Part::Parameters),
            (false, true) => Err(Refusal::invalid("`parameters=true` goes with `coarse=true`")),
        }
    }
}

/// Which curves are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CurvesQuery {
    /// Numbers of at most 64 jobs, with commas between them.
    jobs: String,
    /// Its name.
    metric: String,
}

/// Learning curves.
#[derive(Debug, Serialize, ToSchema)]
struct Curves {
    metric: String,
    items: Vec<CurveShape>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Curve)]
struct CurveShape {
    job: u64,
    epochs: Vec<u32>,
    values: Vec<view::Number>,
}

/// Learning curves of some jobs.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/curves",
    params(CurvesQuery),
    responses((status = 200, body = Curves)),
)]
async fn curves(
    State(web): State<Web>,
    Path(id): Path<String>,
    asked: Result<Query<CurvesQuery>, QueryRejection>,
) -> Answered<Json<Curves>> {
    let CurvesQuery { jobs, metric } = query(asked)?;
    let curves = web.api.curves(sweep_id(&id)?, &numbers(&jobs)?, &metric).await?;
    let shape = |Curve { job, epochs, values }| CurveShape {
        job,
        epochs,
        values: values.into_iter().map(view::Number).collect(),
    };
    Ok(Json(Curves { metric, items: curves.into_iter().map(shape).collect() }))
}

/// Up to 200,000 jobs, column by column, for charts.
///
/// Of more jobs: the best 20,000 that are done, those that no other beats in time and objective, and the first.
/// First come four bytes with the length of the head, the lowest first, then the head, a
/// `ColumnsHead` as JSON that is filled up with spaces to a multiple of 8 bytes with its length, then the numbers of each column, one column
/// after the other. Each begins at the next multiple of four bytes, one of `f64` of eight. Who has them already is told so by their `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/columns",
    params(ColumnsQuery),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "They are those that `If-None-Match` names."),
    ),
)]
async fn columns(
    State(web): State<Web>,
    Path(id): Path<String>,
    asked: Result<Query<ColumnsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Answered<Response> {
    let part = query(asked)?.part()?;
    let version = version(&web, sweep_id(&id)?, part).await?;
    Ok(version.answer(&headers, "application/octet-stream"))
}

/// Begins to make what the browser asks for when it has read the page of a sweep: meanwhile a processor would wait for it. Not where
/// others make them, or as much as may be made at a time: who asks has to wait then in any case.
pub(super) fn begin(web: &Web, sweep: SweepId) {
    if !web.columns.is_idle(&[sweep]) {
        return;
    }
    let web = web.clone();
    // Where they cannot be made, who asks is told why.
    tokio::spawn(async move { version(&web, sweep, Part::Coarse).await.is_ok() });
}

async fn version(web: &Web, sweep: SweepId, part: Part) -> Answered<Version> {
    let columns = made(web, sweep).await?;
    Ok(spawn_blocking(move || columns.version(part).clone()).await.map_err(|_| task_ended())?)
}

/// The columns of a sweep, as new as they must be.
pub(super) async fn of(web: &Web, sweep: SweepId) -> Answered<Arc<JobColumns>> {
    Ok(made(web, sweep).await?.columns)
}

async fn made(web: &Web, sweep: SweepId) -> Answered<Columns> {
    let make = async {
        let columns = Arc::new(web.api.columns(sweep).await?);
        Ok(Columns { columns, sent: Arc::default() })
    };
    web.columns.of(&web.api, &[sweep], &BOUNDS, make).await
}
