//! What charts are drawn from: the jobs of a sweep as columns of bytes, and learning curves. A hundred open pages ask for the same columns; they
//! are made once for all that ask within a second, and once for a sweep that has ended.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use report::view;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use terms::{JobState, SweepId, VariantArray};
use tokio::sync::Mutex;

use super::{
    Web,
    answers::Answered,
    reading::{numbers, query, sweep_id},
};
use crate::api::{Curve, JobColumns, ParameterColumn};

/// How long columns of a sweep that goes on are good enough: a page draws them again no more often.
const FRESH: Duration = Duration::from_secs(1);
/// Of a large sweep, columns that were made serve for so many times as long as it took to make them: who watches it costs at most a tenth of
/// a processor.
const FRESH_TIMES: u32 = 10;
/// Sweeps whose columns are kept, those that people look at now, and most values of them together: some ten megabytes, or one very large
/// sweep.
const KEPT_MAX: usize = 4;
const KEPT_CELLS_MAX: usize = 8_000_000;
/// Most jobs that are sent to a browser: some megabytes. Its table has the others, too.
const SENT_MAX: usize = 200_000;
/// Bytes to which the first column is aligned, so that a page can read all of them where they are.
const ALIGNMENT: usize = 8;
/// Digits of a hash that name a version of columns.
const HASH_CHARACTERS: usize = 32;

/// The routes.
pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/api/v1/sweeps/{sweep}/columns", get(columns))
        .route("/api/v1/sweeps/{sweep}/curves", get(curves))
}

/// Columns that were made, the latest last. Who makes some holds the lock: one at a time is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Made(Arc<Mutex<Vec<Kept>>>);

/// Columns of a sweep.
#[derive(Debug, Clone)]
struct Kept {
    sweep: SweepId,
    since: Instant,
    /// How long they serve.
    fresh: Duration,
    /// What the sweep was like where it had ended: it does not change any more until a user tries jobs again or ranks them otherwise.
    ended: Option<String>,
    columns: Arc<JobColumns>,
    /// As they are sent, with their hash; made when someone asks.
    sent: Arc<OnceLock<(String, Bytes)>>,
}

impl Kept {
    fn sent(&self) -> &(String, Bytes) {
        self.sent.get_or_init(|| {
            let bytes = encode(&self.columns);
            let mut hash = blake3::hash(&bytes).to_hex().to_string();
            hash.truncate(HASH_CHARACTERS);
            (format!("\"{hash}\""), bytes)
        })
    }
}

/// What comes before the columns.
#[derive(Debug, Serialize)]
struct Head<'a> {
    rows: usize,
    left_out: u64,
    columns: Vec<ColumnHead<'a>>,
}

/// What a column is.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurvesQuery {
    jobs: String,
    metric: String,
}

/// Learning curves.
#[derive(Debug, Serialize)]
struct Curves {
    metric: String,
    items: Vec<CurveShape>,
}

#[derive(Debug, Serialize)]
struct CurveShape {
    job: u64,
    epochs: Vec<u32>,
    values: Vec<view::Number>,
}

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

async fn columns(State(web): State<Web>, Path(id): Path<String>, headers: HeaderMap) -> Answered<Response> {
    let kept = made(&web, sweep_id(&id)?).await?;
    let (tag, bytes) = kept.sent();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let told = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    if known == Some(tag) {
        return Ok((StatusCode::NOT_MODIFIED, told).into_response());
    }
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((told, kind, bytes.clone()).into_response())
}

/// The columns of a sweep, as new as they must be.
pub(super) async fn of(web: &Web, sweep: SweepId) -> Answered<Arc<JobColumns>> {
    Ok(made(web, sweep).await?.columns)
}

/// The columns of a sweep: those that were made a moment ago, or of the sweep as it ended, or new ones.
async fn made(web: &Web, sweep: SweepId) -> Answered<Kept> {
    let asked = Instant::now();
    let mut made = web.columns.0.lock().await;
    let view = web.api.sweep(sweep).await?;
    let ended = view.encode(|view| {
        let is_final = view.state.is_final();
        is_final.then(|| format!("{:?} {:?} {:?}", view.counts, view.ended_unix_ms, view.definition.metric))
    });
    let serves = |kept: &&Kept| {
        kept.sweep == sweep && kept.ended == ended && (ended.is_some() || kept.since + kept.fresh >= asked)
    };
    if let Some(kept) = made.iter().find(serves) {
        return Ok(kept.clone());
    }
    let since = Instant::now();
    let columns = Arc::new(web.api.columns(sweep).await?);
    let fresh = FRESH.max(since.elapsed().saturating_mul(FRESH_TIMES));
    let kept = Kept { sweep, since, fresh, ended, columns, sent: Arc::default() };
    made.retain(|kept| kept.sweep != sweep);
    let cells = |made: &[Kept]| made.iter().map(|kept| kept.columns.cells()).sum::<usize>();
    while !made.is_empty()
        && (made.len() >= KEPT_MAX || cells(made.as_slice()) + kept.columns.cells() > KEPT_CELLS_MAX)
    {
        made.remove(0);
    }
    made.push(kept.clone());
    Ok(kept)
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
        assert!(of("objective")[1].is_nan() && of("objective")[2] == -1.0);
        assert_eq!(*of("parameter:activation"), [1.0, 0.0, 2.0]);
        assert_eq!(of("parameter:rate")[..2], [0.5, 0.25]);
        let states = head["columns"][1]["values"].as_array().unwrap();
        let shown: Vec<_> = of("state").iter().map(|at| states[*at as usize].as_str().unwrap()).collect();
        assert_eq!(shown, ["done", "running", "failed"]);
    }
}
