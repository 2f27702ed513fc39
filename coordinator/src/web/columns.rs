//! What charts are drawn from: the jobs of a sweep as columns of bytes, and learning curves.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use report::view;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use terms::{JobState, SweepId, VariantArray};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::Answered,
    asked::query,
    kept::{Bounds, Version},
    reading::{numbers, sweep_id},
};
use crate::api::{CELLS_MAX, Curve, JobColumns, ParameterColumn, task_ended};

/// A hundred open pages ask for the same columns, and draw them again no more than once a second. Kept are as many values as the largest
/// sweep has, and some more, so that looking at a small sweep does not drop it: some hundred megabytes, where people look at such a one.
const BOUNDS: Bounds<Columns> = Bounds {
    fresh: Duration::from_secs(1),
    kept_max: 4,
    size: Columns::cells,
    size_max: CELLS_MAX + (8 << 20),
};
/// Most jobs that are sent to a browser: some megabytes. Its table has the others, too.
const SENT_MAX: usize = 200_000;
/// Bytes to which the first column is aligned, so that a page can read all of them where they are.
const ALIGNMENT: usize = 8;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(columns)).routes(routes!(curves))
}

/// Columns of a sweep.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    columns: Arc<JobColumns>,
    /// As they are sent; made when someone asks.
    sent: Arc<OnceLock<Version>>,
}

impl Columns {
    fn cells(&self) -> usize {
        self.columns.cells()
    }
}

/// What comes before the columns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ColumnsHead)]
pub(super) struct Head<'a> {
    rows: usize,
    left_out: u64,
    columns: Vec<ColumnHead<'a>>,
}

/// What a column is.
#[derive(Debug, Serialize, ToSchema)]
struct ColumnHead<'a> {
    name: String,
    /// `u8`, `u16`, `u32` or `f32`, the lowest byte first.
    kind: &'static str,
    /// Without what fills it up to four bytes.
    bytes: usize,
    /// Of what its numbers are indexes; one beyond the last stands for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    #[serde(skip)]
    data: Column<'a>,
}

/// The numbers of a column.
#[derive(Debug)]
enum Column<'a> {
    Whole(Vec<u32>),
    Real(&'a [f32]),
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
/// First come four bytes with the length of the head, the lowest first, then the head, a
/// `ColumnsHead` as JSON that is filled up with spaces to a multiple of 8 bytes with its length, then the numbers of each column, one column
/// after the other, each filled up to a multiple of four bytes. Who has them already is told so by their `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/columns",
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "They are those that `If-None-Match` names."),
    ),
)]
async fn columns(State(web): State<Web>, Path(id): Path<String>, headers: HeaderMap) -> Answered<Response> {
    let Columns { columns, sent } = made(&web, sweep_id(&id)?).await?;
    // Some megabytes are written and hashed.
    let version = spawn_blocking(move || sent.get_or_init(|| Version::new(encode(&columns))).clone());
    let version = version.await.map_err(|_| task_ended())?;
    Ok(version.answer(&headers, "application/octet-stream"))
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

/// The length of the head, the head, filled up with spaces, and the columns one after the other.
fn encode(columns: &JobColumns) -> Bytes {
    let states: Vec<Value> = JobState::VARIANTS.iter().map(|state| state.as_str().into()).collect();
    let state = |state: &JobState| {
        let place = JobState::VARIANTS.iter().position(|known| known == state);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(ParameterColumn::ABSENT)
    };
    let rows = columns.jobs.len().min(SENT_MAX);
    let mut all = vec![
        ColumnHead::whole("job", columns.jobs[..rows].to_vec()),
        ColumnHead::indexes("state", states, columns.states[..rows].iter().map(state).collect()),
        ColumnHead::whole("epochs_done", columns.epochs_done[..rows].to_vec()),
        ColumnHead::real("objective", &columns.objectives[..rows]),
        ColumnHead::real("train_seconds", &columns.train_seconds[..rows]),
        ColumnHead::whole("pack_size", columns.pack_sizes[..rows].to_vec()),
    ];
    all.extend(columns.parameters.iter().map(|(name, column)| {
        let name = format!("parameter:{name}");
        match column {
            ParameterColumn::Numbers(numbers) => ColumnHead::real(name, &numbers[..rows]),
            ParameterColumn::Few { values, indexes } => {
                let values = values.iter().map(|value| serde_json::to_value(value).unwrap_or_default());
                ColumnHead::indexes(name, values.collect(), indexes[..rows].to_vec())
            }
        }
    }));
    let left_out = columns.left_out + (columns.jobs.len() - rows) as u64;
    let head = Head { rows, left_out, columns: all };
    let mut text = serde_json::to_vec(&head).unwrap_or_default();
    text.resize((text.len() + 4).next_multiple_of(ALIGNMENT) - 4, b' ');
    let data: usize = head.columns.iter().map(|column| column.bytes.next_multiple_of(4)).sum();
    let mut bytes = Vec::with_capacity(4 + text.len() + data);
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text);
    head.columns.iter().for_each(|column| column.write(&mut bytes));
    bytes.into()
}

impl<'a> ColumnHead<'a> {
    fn real(name: impl Into<String>, numbers: &'a [f32]) -> Self {
        let (bytes, data) = (numbers.len() * 4, Column::Real(numbers));
        Self { name: name.into(), kind: "f32", bytes, values: None, data }
    }

    /// Whole numbers in as few bytes as hold the largest.
    fn whole(name: impl Into<String>, numbers: Vec<u32>) -> Self {
        let (kind, size) = match numbers.iter().max().copied().unwrap_or(0) {
            0..=0xff => ("u8", 1),
            0x100..=0xffff => ("u16", 2),
            _ => ("u32", 4),
        };
        let bytes = numbers.len() * size;
        Self { name: name.into(), kind, bytes, values: None, data: Column::Whole(numbers) }
    }

    /// Indexes of `values`, of which the one beyond the last stands for none.
    fn indexes(name: impl Into<String>, values: Vec<Value>, mut indexes: Vec<u32>) -> Self {
        let none = u32::try_from(values.len()).unwrap_or(u32::MAX);
        indexes.iter_mut().for_each(|index| *index = none.min(*index));
        Self { values: Some(values), ..Self::whole(name, indexes) }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match (&self.data, self.kind) {
            (Column::Real(numbers), _) => {
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }
            // None is larger than its kind holds.
            (Column::Whole(numbers), "u8") => bytes.extend(numbers.iter().map(|number| *number as u8)),
            (Column::Whole(numbers), "u16") => {
                bytes.extend(numbers.iter().flat_map(|number| (*number as u16).to_le_bytes()));
            }
            (Column::Whole(numbers), _) => {
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::ParameterValue;

    /// The columns of an answer by name, as a page reads them.
    fn decoded(bytes: &[u8]) -> (Value, Vec<(String, Vec<f64>)>) {
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!((4 + length) % ALIGNMENT, 0);
        let head: Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
        let (mut at, mut columns) = (4 + length, Vec::new());
        for column in head["columns"].as_array().unwrap() {
            let length = usize::try_from(column["bytes"].as_u64().unwrap()).unwrap();
            let data = &bytes[at..at + length];
            let numbers = match column["kind"].as_str().unwrap() {
                "u8" => data.iter().map(|byte| f64::from(*byte)).collect(),
                "u16" => {
                    data.chunks(2).map(|two| u16::from_le_bytes(two.try_into().unwrap()).into()).collect()
                }
                "u32" => {
                    data.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap()).into()).collect()
                }
                _ => data.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()).into()).collect(),
            };
            columns.push((column["name"].as_str().unwrap().to_owned(), numbers));
            at += length.next_multiple_of(4);
        }
        assert_eq!(at, bytes.len());
        (head, columns)
    }

    #[test]
    fn columns_are_read_back_as_they_were() {
        let few = ParameterColumn::Few {
            values: vec![ParameterValue::Text("relu".into()), ParameterValue::Null],
            indexes: vec![1, 0, ParameterColumn::ABSENT],
        };
        let columns = JobColumns {
            jobs: vec![1, 2, 70_000],
            states: vec![JobState::Done, JobState::Running, JobState::Failed],
            epochs_done: vec![300, 1, 0],
            objectives: vec![0.5, f32::NAN, -1.0],
            train_seconds: vec![1.5, 0.0, 0.25],
            pack_sizes: vec![1, 4, 4],
            parameters: vec![
                ("activation".into(), few),
                ("rate".into(), ParameterColumn::Numbers(vec![0.5, 0.25, f32::NAN])),
            ],
            left_out: 7,
            ..JobColumns::default()
        };
        let (head, read) = decoded(&encode(&columns));
        assert_eq!((head["rows"].as_u64(), head["left_out"].as_u64()), (Some(3), Some(7)));
        let of = |name: &str| &read.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(*of("job"), [1.0, 2.0, 70_000.0]);
        assert_eq!(*of("epochs_done"), [300.0, 1.0, 0.0]);
        assert_eq!(*of("pack_size"), [1.0, 4.0, 4.0]);
        assert!(of("objective")[1].is_nan() && of("objective")[2] == -1.0);
        assert_eq!(*of("parameter:activation"), [1.0, 0.0, 2.0]);
        assert_eq!(of("parameter:rate")[..2], [0.5, 0.25]);
        let states = head["columns"][1]["values"].as_array().unwrap();
        let shown: Vec<_> = of("state").iter().map(|at| states[*at as usize].as_str().unwrap()).collect();
        assert_eq!(shown, ["done", "running", "failed"]);
    }
}
