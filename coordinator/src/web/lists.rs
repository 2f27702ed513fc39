//! The lists of sweeps and workers as server-sent events: `snapshot` with the list as it is, again whenever it has changed. A list is looked
//! at once a second for all who follow it together, however many they are, and not at all while no one does.
//!
//! As with a sweep, the id of a snapshot is the hash of what it says, so that who connects again is not told the same twice.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use report::view;
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Interval, MissedTickBehavior, interval},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    answers::Answered,
    events::{KEEP_ALIVE, json, last_seen_id, snapshot_id},
    reader::Reader,
    reading::{self, Listed},
};
use crate::api::Page;

/// How often a list is looked at: as often as a person sees a difference in a table.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// Sweeps of a snapshot, the newest, and workers. The others are read by the lists' own addresses.
const SWEEPS: u32 = 100;
const WORKERS: u32 = 1_000;
/// How many characters of a time say when it was, to ten seconds: a worker is heard every few seconds, which is no news.
const TEN_SECONDS: usize = "2026-11-29T12:00:0".len();

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(sweeps)).routes(routes!(workers))
}

/// The lists as they were last looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Looked {
    sweeps: Arc<Mutex<Option<Shown>>>,
    workers: Arc<Mutex<Option<Shown>>>,
}

/// A list as it goes out.
#[derive(Debug, Clone)]
struct Shown {
    since: Instant,
    list: Arc<List>,
}

#[derive(Debug)]
struct List {
    id: String,
    english: String,
    japanese: String,
}

/// Which list.
#[derive(Debug, Clone, Copy)]
enum Of {
    Sweeps,
    Workers,
}

impl List {
    /// A list; `known` says of each thing what makes it another.
    fn new<T: Serialize + Clone>(list: Listed<T>, put: fn(Reader, T) -> T, known: fn(T) -> T) -> Self {
        let (id, english) = (snapshot_id(&json(&list.clone().map(known))), json(&list));
        Self { id, english, japanese: json(&list.map(|thing| put(Reader::JAPANESE, thing))) }
    }
}

impl Of {
    /// The list as it was a moment ago, or is now.
    async fn shown(self, web: &Web) -> Answered<Arc<List>> {
        let place = match self {
            Self::Sweeps => &web.lists.sweeps,
            Self::Workers => &web.lists.workers,
        };
        let asked = Instant::now();
        let mut place = place.lock().await;
        if let Some(shown) = place.as_ref().filter(|shown| shown.since + LOOKED_EVERY > asked) {
            return Ok(Arc::clone(&shown.list));
        }
        let since = Instant::now();
        let page = |rows| Page { rows, token: String::new() };
        let list = match self {
            Self::Sweeps => {
                let list = reading::sweeps_listed(web, &page(SWEEPS)).await?;
                List::new(list, Reader::sweep, |sweep| sweep)
            }
            Self::Workers => {
                let list = reading::workers_listed(web, &page(WORKERS)).await?;
                List::new(list, Reader::worker, heard)
            }
        };
        let list = Arc::new(list);
        *place = Some(Shown { since, list: Arc::clone(&list) });
        Ok(list)
    }
}

/// A worker as it is known until something about it changes.
fn heard(mut worker: view::Worker) -> view::Worker {
    if let Some(seen) = &mut worker.last_seen {
        seen.truncate(TEN_SECONDS);
    }
    worker
}

/// Who follows a list, and what it has seen.
struct Following {
    web: Web,
    of: Of,
    reader: Reader,
    known: String,
    due: Interval,
}

impl Following {
    /// The next list that is not the one that is known; none where it cannot be had, so that its reader connects again.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.due.tick().await;
            let list = self.of.shown(&self.web).await.ok()?;
            if list.id != self.known {
                self.known.clone_from(&list.id);
                let data = if self.reader.is_japanese() { &list.japanese } else { &list.english };
                return Some(Event::default().event("snapshot").id(&list.id).data(data));
            }
        }
    }
}

type Events = Sse<axum::response::sse::KeepAliveStream<Followed>>;
type Followed = std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>;

/// The newest sweeps as server-sent events.
///
/// `snapshot` is a page of the list; it comes again whenever it has changed.
#[utoipa::path(
    get,
    path = "/api/v1/sweeps/events",
    operation_id = "sweeps_events",
    responses((status = 200, body = String, content_type = "text/event-stream")),
)]
async fn sweeps(State(web): State<Web>, reader: Reader, headers: HeaderMap) -> Answered<Events> {
    follow(web, Of::Sweeps, reader, &headers).await
}

/// Workers as server-sent events.
///
/// `snapshot` is a page of the list; it comes again whenever it has changed.
#[utoipa::path(
    get,
    path = "/api/v1/workers/events",
    operation_id = "workers_events",
    responses((status = 200, body = String, content_type = "text/event-stream")),
)]
async fn workers(State(web): State<Web>, reader: Reader, headers: HeaderMap) -> Answered<Events> {
    follow(web, Of::Workers, reader, &headers).await
}

async fn follow(web: Web, of: Of, reader: Reader, headers: &HeaderMap) -> Answered<Events> {
    // What cannot be listed is said at once, with its status.
    of.shown(&web).await?;
    let mut due = interval(LOOKED_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = web.stop.clone();
    let following = Following { web, of, reader, known: last_seen_id(headers), due };
    let events = stream::unfold(following, async |mut following| {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    let events: Followed = Box::pin(futures_util::StreamExt::take_until(events, stop.cancelled_owned()));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
