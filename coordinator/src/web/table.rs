//! The table of a sweep's jobs in numbered pages, sorted and filtered here, and the rungs of early stopping.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use report::view;
use serde::{Deserialize, Serialize};
use terms::ParameterValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::{Answered, Refusal},
    asked::{in_body, query},
    columns,
    reader::Reader,
    reading::{self, states_named, sweep_id},
};
use crate::api::{Condition, JobAtRung, Question, RungView, Rungs};

/// Rows of a page where none are asked for, and at most: each is read from the store.
const ROWS: usize = 100;
const ROWS_MAX: usize = 200;
/// Longest filter, and longest list of conditions, in bytes: the latter may name the values of brushed axes.
const TEXT_BYTES_MAX: usize = 500;
const WHERE_BYTES_MAX: usize = 16 << 10;
/// Most words of a filter, and most conditions with ranges: each job is compared with all of them.
const WORDS_MAX: usize = 20;
const CONDITIONS_MAX: usize = 64;
const RANGES_MAX: usize = 100;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(table)).routes(routes!(rungs))
}

/// Which page of the table is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct TableQuery {
    /// A column: `job`, `state`, `worker`, `attempts`, `epochs_done`, `best_epoch`, `objective`, `train_seconds`, `parameter:NAME` or `metric:NAME`.
    sort: String,
    #[param(inline)]
    order: Order,
    /// States, with commas between them.
    state: String,
    /// Words that must all be found.
    text: String,
    /// Conditions as JSON: `[{"column": …, "ranges": [[from, to], …], "values": […]}, …]`.
    r#where: String,
    /// From 1; without it, the first. In place of one beyond the last, the last is answered: `page` of the answer says which.
    page: Option<usize>,
    /// From 1 to 200; without it, 100.
    rows: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Ascending,
    Descending,
}

/// That a column has one of some values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    column: String,
    #[serde(default)]
    ranges: Vec<(Option<f64>, Option<f64>)>,
    #[serde(default)]
    values: Vec<ParameterValue>,
}

/// A page of the table.
#[derive(Debug, Serialize, ToSchema)]
struct Table {
    items: Vec<view::Job>,
    /// Which page it is, from 1: the last one where a later one was asked for.
    page: usize,
    /// How many there are.
    pages: usize,
    /// How many jobs match.
    matching: usize,
    /// How many jobs that had an attempt are in each state, by its name, whether they match or not.
    states: BTreeMap<&'static str, u64>,
    /// Jobs that had an attempt and were not looked at, as there are too many.
    left_out: u64,
}

/// Rungs of early stopping.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rungs)]
struct RungsShape {
    items: Vec<RungShape>,
    /// How many more there are.
    left_out: usize,
}

/// A rung.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rung)]
struct RungShape {
    epoch: u32,
    reached: usize,
    went_on: usize,
    paused: usize,
    stopped: usize,
    /// The smallest value, the quartiles and the largest.
    quartiles: Option<[view::Number; 5]>,
    /// The best jobs there.
    jobs: Vec<JobAtRungShape>,
}

/// A job that has come to a rung.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobAtRung)]
struct JobAtRungShape {
    job: u32,
    value: view::Number,
    /// `went_on`, or the state in which it stayed there.
    outcome: &'static str,
}

impl TableQuery {
    fn question(self) -> Answered<Question> {
        let (page, rows) = (self.page.unwrap_or(1), self.rows.unwrap_or(ROWS));
        if !(1..=ROWS_MAX).contains(&rows) {
            return Err(Refusal::invalid(format!(
                "a page of the table has 1 to {ROWS_MAX} `rows`, not {rows}"
            )));
        }
        if page == 0 {
            return Err(Refusal::invalid("a `page` is a number from 1, not 0"));
        }
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(Refusal::invalid(format!("`text` has more than {TEXT_BYTES_MAX} bytes")));
        }
        if self.text.split_whitespace().nth(WORDS_MAX).is_some() {
            return Err(Refusal::invalid(format!("`text` has more than {WORDS_MAX} words; leave some out")));
        }
        Ok(Question {
            sort: self.sort,
            is_falling: self.order == Order::Descending,
            states: states_named(&self.state)?,
            text: self.text,
            conditions: conditions(&self.r#where)?,
            page,
            rows,
        })
    }
}

fn conditions(text: &str) -> Answered<Vec<Condition>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() > WHERE_BYTES_MAX {
        return Err(Refusal::invalid(format!(
            "`where` has more than {WHERE_BYTES_MAX} bytes; ask for fewer values, or for ranges"
        )));
    }
    let wanted: Vec<Wanted> = serde_json::from_str(text).map_err(|error| {
        Refusal::invalid(format!(
            "`where` is not a list such as [{{\"column\": \"objective\", \"ranges\": [[0.9, null]]}}]: {}",
            in_body(&error.to_string())
        ))
    })?;
    let ranges: usize = wanted.iter().map(|wanted| wanted.ranges.len()).sum();
    if wanted.len() > CONDITIONS_MAX || ranges > RANGES_MAX {
        return Err(Refusal::invalid(format!(
            "`where` has more than {CONDITIONS_MAX} conditions or {RANGES_MAX} ranges; leave some out"
        )));
    }
    let condition = |Wanted { column, ranges, values }| Condition { column, ranges, values };
    Ok(wanted.into_iter().map(condition).collect())
}

/// The jobs that had an attempt, sorted and filtered, in numbered pages.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/table",
    params(TableQuery),
    responses((status = 200, body = Table)),
)]
async fn table(
    State(web): State<Web>,
    reader: Reader,
    Path(id): Path<String>,
    asked: Result<Query<TableQuery>, QueryRejection>,
) -> Answered<Json<Table>> {
    let (id, question) = (sweep_id(&id)?, query(asked)?.question()?);
    let rows = question.rows;
    let columns = columns::of(&web, id).await?;
    let left_out = columns.left_out;
    // Sorting a million rows takes a while.
    let page = web.tables.work(move || columns.page(&question)).await??;
    let jobs = if page.jobs.is_empty() { Vec::new() } else { web.api.jobs_numbered(id, &page.jobs).await? };
    let states: BTreeMap<_, _> = page.states.iter().map(|(state, jobs)| (state.as_str(), *jobs)).collect();
    Ok(Json(Table {
        items: reading::shown(&web, id, jobs, reader).await?,
        page: page.page,
        pages: page.matching.div_ceil(rows).max(1),
        matching: page.matching,
        states,
        left_out,
    }))
}

/// The rungs of early stopping.
#[utoipa::path(get, path = "/api/v1/sweeps/{sweep}/rungs", responses((status = 200, body = RungsShape)))]
async fn rungs(State(web): State<Web>, Path(id): Path<String>) -> Answered<Json<RungsShape>> {
    let id = sweep_id(&id)?;
    let maximize =
        web.api.sweep(id).await?.encode(|sweep| sweep.definition.metric.goal == terms::Goal::Maximize);
    let columns = columns::of(&web, id).await?;
    // A million jobs may have come to each.
    let Rungs { shown, left_out } = web.tables.work(move || columns.rungs(maximize)).await?;
    Ok(Json(RungsShape { items: shown.into_iter().map(rung).collect(), left_out }))
}

fn rung(rung: RungView) -> RungShape {
    let number = |value: f32| view::Number(Some(short(value)));
    let job = |JobAtRung { job, value, ended }| JobAtRungShape {
        job,
        value: view::Number(value.map(short)),
        outcome: ended.map_or("went_on", terms::JobState::as_str),
    };
    RungShape {
        epoch: rung.epoch,
        reached: rung.reached,
        went_on: rung.went_on,
        paused: rung.paused,
        stopped: rung.stopped,
        quartiles: rung.quartiles.map(|values| values.map(number)),
        jobs: rung.jobs.into_iter().map(job).collect(),
    }
}

/// A number of a column, with no more digits than it has.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_is_said_with_what_to_do() {
        let refused = |query: TableQuery| format!("{:?}", query.question().unwrap_err());
        let asked = |where_: &str| TableQuery { r#where: where_.to_owned(), ..TableQuery::default() };
        assert!(refused(asked("{}")).contains("is not a list such as"));
        assert!(refused(asked(r#"[{"column": "job", "rangez": []}]"#)).contains("rangez"));
        assert!(refused(asked(&"x".repeat(WHERE_BYTES_MAX + 1))).contains("ask for fewer values"));
        let words = |count| TableQuery { text: vec!["1"; count].join(" "), ..TableQuery::default() };
        assert!(refused(words(WORDS_MAX + 1)).contains("leave some out"));
        assert!(words(WORDS_MAX).question().is_ok());
        let list = |one: &str, count| format!("[{}]", vec![one; count].join(","));
        let conditions = asked(&list(r#"{"column": "job"}"#, CONDITIONS_MAX + 1));
        assert!(refused(conditions).contains("more than 64 conditions or 100 ranges"));
        let ranges =
            asked(&format!(r#"[{{"column": "job", "ranges": {}}}]"#, list("[1, 2]", RANGES_MAX + 1)));
        assert!(refused(ranges).contains("more than 64 conditions or 100 ranges"));
        assert!(refused(TableQuery { rows: Some(201), ..TableQuery::default() }).contains("1 to 200 `rows`"));
        assert!(refused(TableQuery { state: "odd".into(), ..TableQuery::default() }).contains("no job is"));
        let two = asked(r#"[{"column": "job", "ranges": [[1, null]]}, {"column": "x", "values": [1, "a"]}]"#);
        let conditions = two.question().unwrap().conditions;
        assert_eq!(conditions[0].ranges, [(Some(1.0), None)]);
        assert_eq!(conditions[1].values, [ParameterValue::Integer(1), ParameterValue::Text("a".into())]);
        let states = states_named("done,failed").unwrap();
        assert_eq!(states.len(), 2);
    }
}
