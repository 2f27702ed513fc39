//! Who ran what when, slot by slot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use report::view;
use serde::{Deserialize, Serialize};
use store::AttemptRow;
use terms::JobKey;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    asked::query,
    reader::Reader,
    reading::sweep_id,
};
use crate::api::Timeline;

/// How far back is looked where no one says it.
const SPAN: Duration = Duration::from_secs(60 * 60);

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(timeline))
}

/// Which span of time is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct TimelineQuery {
    /// Of a sweep alone.
    sweep: Option<String>,
    /// Moments as in answers, such as `2026-11-29T12:00:00Z`; without them, the last hour.
    since: Option<String>,
    /// Likewise; now where there is none.
    until: Option<String>,
}

/// Attempts, those that began last first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Timeline)]
struct TimelineShape {
    since: Option<String>,
    until: Option<String>,
    items: Vec<Ran>,
    /// Whether these are all that ran then; of more, the latest are listed.
    is_whole: bool,
}

/// An attempt on its slot.
#[derive(Debug, Serialize, ToSchema)]
struct Ran {
    sweep: u64,
    job: u64,
    attempt: u32,
    worker: String,
    slot: u32,
    device: String,
    /// `running`, or how it ended.
    outcome: String,
    granted: Option<String>,
    ended: Option<String>,
    /// Jobs that it is trained together with, itself included.
    pack_size: u32,
    reason: String,
}

/// Which attempts ran when, slot by slot.
#[utoipa::path(get, path = "/api/v1/timeline", params(TimelineQuery), responses((status = 200, body = TimelineShape)))]
async fn timeline(
    State(web): State<Web>,
    reader: Reader,
    asked: Result<Query<TimelineQuery>, QueryRejection>,
) -> Answered<Json<TimelineShape>> {
    let TimelineQuery { sweep, since, until } = query(asked)?;
    let sweep = sweep.map(|id| sweep_id(&id)).transpose()?;
    let until = until.map_or(Ok(SystemTime::now()), |text| moment("until", &text))?;
    let since = since
        .map_or_else(|| Ok(until.checked_sub(SPAN).unwrap_or(UNIX_EPOCH)), |text| moment("since", &text))?;
    if since >= until {
        return Err(Refusal::invalid("`since` must be earlier than `until`"));
    }
    let (since, until) = (unix_ms(since), unix_ms(until));
    let Timeline { attempts, is_whole } = web.api.timeline(sweep, since, until).await?;
    let items = attempts.into_iter().map(|(job, row)| ran(job, row, reader)).collect();
    Ok(Json(TimelineShape { since: view::time(since), until: view::time(until), items, is_whole }))
}

fn moment(what: &str, text: &str) -> Answered<SystemTime> {
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        Refusal::invalid(format!("`{what}` is a time such as 2026-11-29T12:00:00Z, not {text:?}"))
    })
}

fn unix_ms(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn ran(job: JobKey, row: AttemptRow, reader: Reader) -> Ran {
    Ran {
        sweep: job.sweep.0,
        job: job.job,
        attempt: row.attempt,
        worker: row.worker,
        slot: row.slot,
        device: row.device,
        outcome: row.state,
        granted: view::time(row.granted_unix_ms),
        ended: row.ended_unix_ms.and_then(view::time),
        pack_size: row.pack_size,
        reason: reader.reason(&row.reason),
    }
}
