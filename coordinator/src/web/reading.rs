//! What can be read as JSON: sweeps, jobs, workers.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use domain::specification::Specification;
use report::view;
use serde::{Deserialize, Serialize};
use terms::{JobKey, JobState, SweepId, VariantArray};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    asked::query,
    reader::Reader,
};
use crate::{
    api::{JobView, PAGE_ROWS_MAX, Page, WantedJobs, token},
    rpc::{convert, cut_page},
    shapes,
};

/// Longest text of a query's value, in bytes: a list of all states.
const VALUE_BYTES_MAX: usize = 1_000;

/// Longest list of numbers, in bytes: 200 of the longest.
const NUMBERS_BYTES_MAX: usize = 4_000;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(sweeps))
        .routes(routes!(sweep))
        .routes(routes!(jobs))
        .routes(routes!(job))
        .routes(routes!(logs))
        .routes(routes!(workers))
}

/// Which page of a list is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Rows, from 1 to 1,000; without it, the usual number.
    rows: Option<u32>,
    /// `next` of the page before.
    after: String,
}

/// Which jobs are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Rows, from 1 to 1,000; without it, the usual number.
    rows: Option<u32>,
    /// `next` of the page before.
    after: String,
    /// States of jobs, with commas between them; all where there is none.
    state: String,
    /// `false` for the jobs that have not begun, whatever their state: those that the table does not have. `true` for the others.
    begun: Option<bool>,
    /// Numbers of jobs, with commas between them, in place of a page.
    jobs: String,
}

/// How much of a job is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct JobQuery {
    /// An epoch: `epochs` has those beyond it alone. A new attempt may count them from 1 again, which `attempts` shows.
    after: u32,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Listed<T> {
    items: Vec<T>,
    /// What the next page is asked for with (`after`); null on the last.
    next: Option<String>,
}

impl<T> Listed<T> {
    /// The same with each thing as `shape` makes it.
    pub(super) fn map(self, shape: impl Fn(T) -> T) -> Self {
        Self { items: self.items.into_iter().map(shape).collect(), next: self.next }
    }
}

/// Log lines of an attempt.
#[derive(Debug, Serialize, ToSchema)]
struct AttemptLog {
    attempt: u32,
    lines: Vec<String>,
}

/// A number in a path.
pub(super) fn number(what: &str, text: &str) -> Answered<u64> {
    let number = text.parse().ok().filter(|number| (1..=i64::MAX as u64).contains(number));
    number.ok_or_else(|| Refusal::invalid(format!("a {what} is a number from 1, not {text:?}")))
}

/// Numbers of jobs with commas between them.
pub(super) fn numbers(text: &str) -> Answered<Vec<u64>> {
    if text.len() > NUMBERS_BYTES_MAX {
        return Err(Refusal::invalid("`jobs` names more jobs than are sent at once"));
    }
    text.split(',').map(|one| number("job", one)).collect()
}

/// States with commas between them.
pub(super) fn states_named(text: &str) -> Answered<BTreeSet<JobState>> {
    if text.len() > VALUE_BYTES_MAX {
        return Err(Refusal::invalid("`state` names more states than there are"));
    }
    let named = text.split(',').filter(|name| !name.is_empty());
    named
        .map(|name| {
            JobState::from_name(name).ok_or_else(|| {
                let known: Vec<&str> = JobState::VARIANTS.iter().map(|state| state.as_str()).collect();
                Refusal::invalid(format!("`state`: no job is {name:?}; jobs are {}", known.join(", ")))
            })
        })
        .collect()
}

/// The number of a sweep in a path.
pub(super) fn sweep_id(text: &str) -> Answered<SweepId> {
    number("sweep", text).map(SweepId)
}

impl PageQuery {
    fn page(self) -> Answered<Page> {
        if self.after.len() > VALUE_BYTES_MAX {
            return Err(Refusal::invalid("`after` is not what came as `next` with a page"));
        }
        if self.rows == Some(0) {
            return Err(Refusal::invalid(format!(
                "a page has 1 to {PAGE_ROWS_MAX} rows, not 0; leave `rows` out for the usual number"
            )));
        }
        Ok(Page { rows: self.rows.unwrap_or(0), token: self.after })
    }
}

fn some(next: String) -> Option<String> {
    Some(next).filter(|next| !next.is_empty())
}

/// Sweeps, the newest first.
#[utoipa::path(get, path = "/api/v1/sweeps", params(PageQuery), responses((status = 200, body = Listed<view::Sweep>)))]
async fn sweeps(
    State(web): State<Web>,
    reader: Reader,
    asked: Result<Query<PageQuery>, QueryRejection>,
) -> Answered<Json<Listed<view::Sweep>>> {
    let page = query(asked)?.page()?;
    Ok(Json(sweeps_listed(&web, &page).await?.map(|sweep| reader.sweep(sweep))))
}

/// A page of sweeps, in English.
pub(super) async fn sweeps_listed(web: &Web, page: &Page) -> Answered<Listed<view::Sweep>> {
    Ok(web.api.sweeps(page).await?.encode(|listed| Listed {
        items: listed.sweeps.iter().map(|sweep| shapes::listed(&convert::listed(sweep))).collect(),
        next: some(listed.next),
    }))
}

/// A sweep.
#[utoipa::path(get, path = "/api/v1/sweeps/{sweep}", responses((status = 200, body = view::ShownSweep)))]
async fn sweep(
    State(web): State<Web>,
    reader: Reader,
    Path(id): Path<String>,
) -> Answered<Json<view::Sweep>> {
    let sweep = web.api.sweep(sweep_id(&id)?).await?;
    Ok(Json(sweep.encode(|sweep| {
        let parameters = parameters(&sweep.definition.specification);
        reader.sweep(shapes::whole_with(&convert::sweep(&sweep), parameters))
    })))
}

/// Jobs of a sweep, in the order of their numbers.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/jobs",
    params(JobsQuery),
    responses((status = 200, body = Listed<view::Job>)),
)]
async fn jobs(
    State(web): State<Web>,
    reader: Reader,
    Path(id): Path<String>,
    asked: Result<Query<JobsQuery>, QueryRejection>,
) -> Answered<Json<Listed<view::Job>>> {
    let (id, JobsQuery { rows, after, state, begun, jobs }) = (sweep_id(&id)?, query(asked)?);
    if !jobs.is_empty() {
        let found = web.api.jobs_numbered(id, &numbers(&jobs)?).await?;
        return Ok(Json(Listed { items: shown(&web, id, found, reader).await?, next: None }));
    }
    let page = PageQuery { rows, after }.page()?;
    let wanted = WantedJobs { states: states_named(&state)?, begun };
    let found = web.api.jobs(id, &wanted, &page).await?;
    let mut shapes = shapes_of(&web, id).await?;
    let (jobs, next) = cut_page(found.jobs.into_iter().map(convert::job).collect(), found.next);
    let items = jobs.into_iter().map(|job| reader.job(shapes.job(job))).collect();
    Ok(Json(Listed { items, next: some(token(next)) }))
}

/// Jobs of a sweep as they are shown.
pub(super) async fn shown(
    web: &Web,
    sweep: SweepId,
    jobs: Vec<JobView>,
    reader: Reader,
) -> Answered<Vec<view::Job>> {
    let mut shapes = shapes_of(web, sweep).await?;
    Ok(jobs.into_iter().map(|job| reader.job(shapes.job(convert::job(job)))).collect())
}

/// A job with its attempts and epochs.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/jobs/{job}",
    params(JobQuery),
    responses((status = 200, body = view::ShownJob)),
)]
async fn job(
    State(web): State<Web>,
    reader: Reader,
    Path((id, job)): Path<(String, String)>,
    asked: Result<Query<JobQuery>, QueryRejection>,
) -> Answered<Json<view::Job>> {
    let key = JobKey { sweep: sweep_id(&id)?, job: number("job", &job)? };
    let detail = web.api.job_after(key, query(asked)?.after).await?;
    let mut shapes = shapes_of(&web, key.sweep).await?;
    Ok(Json(reader.job(shapes.detail(convert::detail(detail)))))
}

/// The last log lines of each attempt of a job.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/jobs/{job}/logs",
    responses((status = 200, body = Listed<AttemptLog>)),
)]
async fn logs(
    State(web): State<Web>,
    Path((id, job)): Path<(String, String)>,
) -> Answered<Json<Listed<AttemptLog>>> {
    let key = JobKey { sweep: sweep_id(&id)?, job: number("job", &job)? };
    let attempts = convert::attempts(web.api.attempts(key).await?);
    let log = |attempt: proto::v1::Attempt| AttemptLog { attempt: attempt.attempt, lines: attempt.log_tail };
    Ok(Json(Listed { items: attempts.into_iter().map(log).collect(), next: None }))
}

/// Workers.
#[utoipa::path(get, path = "/api/v1/workers", params(PageQuery), responses((status = 200, body = Listed<view::Worker>)))]
async fn workers(
    State(web): State<Web>,
    reader: Reader,
    asked: Result<Query<PageQuery>, QueryRejection>,
) -> Answered<Json<Listed<view::Worker>>> {
    let page = query(asked)?.page()?;
    Ok(Json(workers_listed(&web, &page).await?.map(|worker| reader.worker(worker))))
}

/// A page of workers, in English.
pub(super) async fn workers_listed(web: &Web, page: &Page) -> Answered<Listed<view::Worker>> {
    Ok(web.api.workers(page).await?.encode(|listed| Listed {
        items: listed.workers.into_iter().map(|worker| shapes::worker(&convert::worker(worker))).collect(),
        next: some(listed.next),
    }))
}

/// What makes shapes of a sweep's jobs.
async fn shapes_of(web: &Web, id: SweepId) -> Answered<shapes::Jobs> {
    let sweep = web.api.sweep(id).await?;
    Ok(sweep.encode(|sweep| {
        let parameters = parameters(&sweep.definition.specification);
        shapes::Jobs::with_parameters(&convert::sweep(&sweep), parameters)
    }))
}

/// The names of a sweep's parameters. They are known here: a page that asks every other second has no sweep file read for it.
fn parameters(specification: &Specification) -> Vec<String> {
    specification.axes.iter().map(|axis| axis.name.to_string()).collect()
}
