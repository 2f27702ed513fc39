//! What happens to a sweep, as server-sent events: `snapshot` first and again while something changes, `epoch` and `job` between them, and
//! `end` last of all, after which a page asks no more.
//!
//! The id of a snapshot is the hash of what it says. A page that connects again, to this coordinator or to the one that leads by now, names
//! the last that it has seen, and is not told the same twice.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use engine::Snapshot;
use futures_util::{Stream, StreamExt, stream};
use proto::v1;
use report::view;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Web, answers::Answered, reader::Reader, reading::sweep_id};
use crate::{
    api::{Watch, WatchEvent},
    rpc::convert,
    shapes,
};

/// Most jobs of a snapshot that train: as many as a page shows at once.
const RUNNING_SHOWN_MAX: usize = 100;
/// How often a silent stream says that it lives: proxies close what is silent for a minute.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes of a hash that name a snapshot.
const ID_CHARACTERS: usize = 16;

/// A snapshot, made once for all who watch a sweep.
#[derive(Debug)]
pub(super) struct Encoded {
    id: String,
    english: String,
    japanese: String,
}

impl Encoded {
    fn json(&self, reader: Reader) -> &str {
        if reader.is_japanese() { &self.japanese } else { &self.english }
    }
}

/// A sweep as it is, and what trains.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SweepSnapshot)]
pub(super) struct Seen {
    sweep: view::Sweep,
    /// Why jobs wait, for people.
    waiting: Option<String>,
    running: Vec<Running>,
    /// How many train, those that are not listed included.
    running_count: usize,
}

/// A job that trains.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunningJob)]
struct Running {
    job: u64,
    attempt: u32,
    worker: String,
    slot: u32,
    device: String,
    epochs_done: u32,
    /// How many it has in all; null where the program decides.
    epochs_total: Option<u32>,
    /// How much of the present epoch is done, from 0 to 1.
    fraction: f64,
    /// Whether it reads its data set.
    preparing: bool,
    last: Option<EpochSeen>,
}

/// An epoch and its metrics.
#[derive(Debug, Serialize, ToSchema)]
struct EpochSeen {
    epoch: u32,
    epoch_seconds: view::Number,
    #[schema(value_type = HashMap<String, view::Number>)]
    metrics: Map<String, Value>,
}

/// An epoch that became durable.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewEpoch {
    job: u64,
    attempt: u32,
    #[serde(flatten)]
    epoch: EpochSeen,
}

/// A job that changed its state.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewState {
    job: u64,
    attempt: u32,
    state: &'static str,
    worker: String,
    reason: String,
}

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// A snapshot as it goes out.
pub(super) fn encode(snapshot: Snapshot) -> Encoded {
    let v1::WatchSnapshot { sweep, running: jobs } = convert::watch_snapshot(snapshot);
    let sweep = sweep.unwrap_or_default();
    let running_count = jobs.len();
    let running = jobs.into_iter().take(RUNNING_SHOWN_MAX).map(running).collect();
    let waiting = sweep.waiting.as_ref().map(|waiting| waiting.text.clone());
    let mut seen = Seen { sweep: shapes::listed(&sweep), waiting, running, running_count };
    let english = json(&seen);
    seen.sweep = Reader::JAPANESE.sweep(seen.sweep);
    seen.waiting = seen.waiting.map(|waiting| Reader::JAPANESE.reason(&waiting));
    let japanese = json(&seen);
    Encoded { id: snapshot_id(&english), english, japanese }
}

/// What names a snapshot that says this.
pub(super) fn snapshot_id(json: &str) -> String {
    let mut id = blake3::hash(json.as_bytes()).to_hex().to_string();
    id.truncate(ID_CHARACTERS);
    id
}

/// The last snapshot that someone who connects again has seen; empty for none.
pub(super) fn last_seen_id(headers: &HeaderMap) -> String {
    headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned()
}

fn running(job: v1::RunningJob) -> Running {
    Running {
        job: job.point.map_or(0, |point| point.job),
        attempt: job.attempt,
        worker: job.worker,
        slot: job.slot,
        device: job.device,
        epochs_done: job.epochs_done,
        epochs_total: (job.epochs_total > 0).then_some(job.epochs_total),
        fraction: job.fraction,
        preparing: job.preparing,
        last: job.last.map(epoch),
    }
}

fn epoch(record: v1::EpochRecord) -> EpochSeen {
    let terms::EpochReport { number, seconds, metrics } = record.into();
    let value = |(name, value): (_, f64)| (format!("{name}"), view::number(Some(value)));
    EpochSeen {
        epoch: number,
        epoch_seconds: view::Number(Some(seconds)),
        metrics: metrics.into_iter().map(value).collect(),
    }
}

/// Everything here can be written as JSON; should it ever not be, a page is told nothing rather than the wrong thing.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

/// An event of a watch as it goes out; none for a snapshot that its reader has.
fn event(seen: WatchEvent<Encoded>, known: &mut String, reader: Reader) -> Option<Event> {
    match seen {
        WatchEvent::Snapshot(snapshot) if snapshot.id == *known => None,
        WatchEvent::Snapshot(snapshot) => {
            known.clone_from(&snapshot.id);
            Some(Event::default().event("snapshot").id(&snapshot.id).data(snapshot.json(reader)))
        }
        WatchEvent::Epoch(seen) => {
            let (job, attempt) = (seen.attempt.job.job, seen.attempt.attempt);
            let epoch = epoch(proto::epoch_to_wire(&seen.metrics, &seen.epoch));
            Some(Event::default().event("epoch").data(json(&NewEpoch { job, attempt, epoch })))
        }
        WatchEvent::Job(seen) => {
            let changed = NewState {
                job: seen.attempt.job.job,
                attempt: seen.attempt.attempt,
                state: seen.state.as_str(),
                worker: seen.worker.into(),
                reason: reader.reason(&seen.reason),
            };
            Some(Event::default().event("job").data(json(&changed)))
        }
    }
}

/// Who follows, and what it has seen.
struct Following {
    watch: Watch<Encoded>,
    known: String,
    reader: Reader,
    is_over: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            match self.watch.next().await {
                Ok(Some(seen)) => {
                    if let Some(event) = event(seen, &mut self.known, self.reader) {
                        return Some(event);
                    }
                }
                Ok(None) => {
                    self.is_over = true;
                    return Some(Event::default().event("end").data("{}"));
                }
                // The stream ends, and its reader connects again.
                Err(_) => self.is_over = true,
            }
        }
        None
    }
}

/// What happens to a sweep, as server-sent events.
///
/// `snapshot` comes first and again while something changes, `epoch` and `job` between them, and
/// `end` last of all. Who connects again names the last snapshot in `Last-Event-ID`, and is not told the same twice.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/{sweep}/events",
    operation_id = "sweep_events",
    responses((status = 200, body = String, content_type = "text/event-stream")),
)]
async fn follow(
    State(web): State<Web>,
    reader: Reader,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let watch = web.api.watch(sweep_id(&id)?, &web.snapshots).await?;
    let following = Following { watch, known: last_seen_id(&headers), reader, is_over: false };
    let events = stream::unfold(following, async |mut following| {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    // A coordinator that stops does not wait for its watchers.
    let events = events.take_until(web.stop.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
