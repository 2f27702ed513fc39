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
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use report::view;
use serde::{Deserialize, Serialize};
use terms::SweepId;
use tokio::sync::Mutex;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::encoded::Head;
use self::encoded::{encode, version};
use super::{
    Web,
    answers::{Answered, Refusal},
    asked::query,
    kept::{Bounds, Version},
    reading::{numbers, sweep_id},
};
use crate::api::{CELLS_MAX, Curve, JobColumns};

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
    sent: Arc<Sent>,
}

/// Columns as they are sent; made when someone asks.
#[derive(Debug, Default)]
struct Sent {
    /// See [`Head`].
    version: OnceLock<String>,
    /// By [`Part`].
    parts: [OnceLock<Version>; 4],
    /// Held by who makes one of these.
    making: Mutex<()>,
}

/// Which columns are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All, with all digits.
    Exact,
    /// All that charts are drawn from.
    Coarse,
    /// Those that a page draws first.
    First,
    /// Those that come after these.
    Rest,
}

impl Columns {
    fn cells(&self) -> usize {
        self.columns.cells()
    }

    /// The answer where it is ready.
    fn ready(&self, asked: &ColumnsQuery) -> Option<Answer> {
        match asked.answer(self.sent.version.get()?) {
            None => Some(Answer::Known),
            Some(part) => self.sent.parts[part as usize].get().cloned().map(Answer::New),
        }
    }

    /// The answer: some megabytes are written and hashed, after the parameters were computed.
    fn answer(&self, asked: &ColumnsQuery) -> Answer {
        let version = self.sent.version.get_or_init(|| version(&self.columns));
        let Some(part) = asked.answer(version) else { return Answer::Known };
        let make = || Version::new(encode(&self.columns, part, version));
        Answer::New(self.sent.parts[part as usize].get_or_init(make).clone())
    }
}

/// What someone is answered.
enum Answer {
    New(Version),
    /// The columns are those that they know.
    Known,
}

/// How columns are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ColumnsQuery {
    /// `true` for no more bytes than charts of 20,000 or more jobs need: numbers that follow from each other are left out (`run`), and those
    /// that are only drawn have two bytes (`scale`). The objective and integers have all their digits.
    coarse: bool,
    /// `true`, with `coarse=true`, for what can be drawn soonest: of 20,000 or more jobs without the parameters, which `has_parameters` says.
    first: bool,
    /// With `coarse=true`, the `version` in the head of such an answer: for the parameters that it lacks. Where its jobs have changed since, all
    /// columns are answered; their `version` is another one.
    has: Option<String>,
    /// A `version`: where jobs are still as it had them, there is no answer but the status 204.
    knows: Option<String>,
}

impl ColumnsQuery {
    /// As a page asks that has nothing.
    fn first() -> Self {
        Self { coarse: true, first: true, ..Self::default() }
    }

    fn checked(self) -> Answered<Self> {
        if !self.coarse && (self.first || self.has.is_some()) {
            return Err(Refusal::invalid("`first` and `has` go with `coarse=true`"));
        }
        if self.has.is_some() && (self.first || self.knows.is_some()) {
            return Err(Refusal::invalid("`has` goes neither with `first` nor with `knows`"));
        }
        Ok(self)
    }

    /// What is answered where jobs have this version; none where that is known.
    fn answer(&self, version: &str) -> Option<Part> {
        if self.knows.as_deref() == Some(version) {
            return None;
        }
        Some(match self {
            Self { coarse: false, .. } => Part::Exact,
            Self { first: true, .. } => Part::First,
            Self { has: Some(has), .. } if has == version => Part::Rest,
            _ => Part::Coarse,
        })
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
        (status = 204, description = "Jobs are as the version had them that `knows` names."),
        (status = 304, description = "They are those that `If-None-Match` names."),
    ),
)]
async fn columns(
    State(web): State<Web>,
    Path(id): Path<String>,
    asked: Result<Query<ColumnsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Answered<Response> {
    let asked = query(asked)?.checked()?;
    Ok(match answer(&web, sweep_id(&id)?, asked).await? {
        Answer::New(version) => version.answer(&headers, "application/octet-stream"),
        Answer::Known => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Begins to make what the browser asks for when it has read the page of a sweep: meanwhile a processor would wait for it. Not where
/// others make them, or as much as may be made at a time: who asks has to wait then in any case.
pub(super) fn begin(web: &Web, sweep: SweepId) {
    if !web.columns.is_idle(&[sweep]) {
        return;
    }
    let web = web.clone();
    // Where they cannot be made, who asks is told why.
    tokio::spawn(async move { answer(&web, sweep, ColumnsQuery::first()).await.is_ok() });
}

async fn answer(web: &Web, sweep: SweepId, asked: ColumnsQuery) -> Answered<Answer> {
    let columns = made(web, sweep).await?;
    if let Some(ready) = columns.ready(&asked) {
        return Ok(ready);
    }
    // Others who ask for these wait without a place in which something else could be made.
    let _making = columns.sent.making.lock().await;
    if let Some(ready) = columns.ready(&asked) {
        return Ok(ready);
    }
    let making = columns.clone();
    web.sent.work(move || making.answer(&asked)).await
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
