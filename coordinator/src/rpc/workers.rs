//! The service that workers call: one stream each.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use domain::record::WeightsFile;
use engine::{CloseReason, Event, SessionId, ToWorker, query::DescribeWorker};
use proto::{
    Message as _,
    v1::{self, worker_message::Message, worker_service_server::WorkerService},
};
use terms::WorkerName;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    auth::{caller, no_longer},
    convert::{self, WeightsSaid},
    errors::refused,
};
use crate::{
    access::Caller,
    api::{Api, WeightsReply},
    driver::{CallError, DriverHandle, EVENTS_TOGETHER_MAX, Inbox, Leadership, Outbound, Outbox, Room},
    traced::Traced,
};

/// What a worker's messages that are taken together may have, in bytes; the last one may go beyond it.
const BYTES_TOGETHER_MAX: usize = 128 << 10;

/// How long a stream may stay silent before its hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// Implements `WorkerService`.
#[derive(Debug, Clone)]
pub struct WorkerServer {
    api: Api,
    leadership: Leadership,
    sessions: Arc<AtomicU64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    traced: Traced,
}

impl WorkerServer {
    /// A service that brings what workers say to the driver that leads, and their files to these use cases; its tasks run in `tasks`
    /// until `stop`.
    pub fn new(api: Api, leadership: Leadership, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (sessions, traced) = (Arc::new(AtomicU64::new(1)), Traced::default());
        Self { api, leadership, sessions, tasks, stop, traced }
    }

    /// Whose grants name their spans in these traces.
    pub fn traced(self, traced: Traced) -> Self {
        Self { traced, ..self }
    }
}

#[tonic::async_trait]
impl WorkerService for WorkerServer {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = caller(&request);
        let mut messages = request.into_inner();
        // A session has one driver from its beginning to its end.
        let driver = self.leadership.driver().map_err(refused)?;
        let (outbound, receiver) = driver.outbox();
        let reader = Reader { inbox: receiver.clone(), gone: CancellationToken::new() };
        let said = Said {
            outbound: receiver,
            messages: Vec::new().into_iter(),
            room: None,
            traced: self.traced.clone(),
            _gone: reader.gone.clone().drop_guard(),
        };
        let server = self.clone();
        // The answer's headers must leave before the worker's hello comes in, so the rest is a task.
        let (failure, failed) = mpsc::channel(1);
        self.tasks.spawn(async move {
            let stop = server.stop.clone();
            let ended = tokio::select! {
                () = stop.cancelled() => Err(Status::unavailable("the coordinator is shutting down")),
                () = driver.ended() => Err(Status::unavailable("the coordinator does not lead any more")),
                ended = server.converse(&driver, (&caller, &mut messages), outbound, &reader) => ended,
            };
            if let Err(status) = ended {
                // The channel holds one, and no one else sends.
                let _ = failure.send(status).await;
            }
        });
        let stream = said.chain(ReceiverStream::new(failed).map(Err));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn weights(
        &self,
        request: Request<v1::WeightsRequest>,
    ) -> Result<Response<v1::WeightsResponse>, Status> {
        let caller = caller(&request);
        let reply = match convert::weights_said(request.into_inner())? {
            WeightsSaid::Offer(offer) => self.api.offer_weights(&caller, offer).await?,
            WeightsSaid::GivenUp { attempt, file, reason } => {
                self.api.give_up_weights(&caller, attempt, file, reason).await?
            }
        };
        Ok(Response::new(convert::weights_reply(reply)))
    }

    async fn hand_over_checkpoint(
        &self,
        request: Request<v1::WeightsRequest>,
    ) -> Result<Response<v1::WeightsResponse>, Status> {
        let caller = caller(&request);
        let reply = match convert::weights_said(request.into_inner())? {
            WeightsSaid::Offer(offer) => self.api.hand_over_checkpoint(&caller, offer).await?,
            WeightsSaid::GivenUp { .. } => WeightsReply::NotWanted("the worker does not have it".to_owned()),
        };
        Ok(Response::new(convert::weights_reply(reply)))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let caller = caller(&request);
        let v1::GetCheckpointRequest { attempt, offset } = request.into_inner();
        let attempt = proto::attempt_from_wire(attempt);
        let attempt = attempt.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (WeightsFile { bytes, blake3 }, data) = self.api.checkpoint(&caller, attempt, offset).await?;
        let file = Some(v1::WeightsFile { bytes, blake3, problem: String::new() });
        Ok(Response::new(v1::GetCheckpointResponse { file, data }))
    }

    async fn get_snapshot(
        &self,
        request: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let id = convert::snapshot_id(&request.into_inner().snapshot_id)?;
        Ok(Response::new((&self.api.snapshot(id).await?).into()))
    }

    async fn get_contents(
        &self,
        request: Request<v1::GetContentsRequest>,
    ) -> Result<Response<v1::GetContentsResponse>, Status> {
        let pieces = self.api.contents(convert::pieces(request.into_inner().wanted)?).await?;
        let pieces = pieces.into_iter().map(convert::content_piece).collect();
        Ok(Response::new(v1::GetContentsResponse { pieces }))
    }
}

/// Says in the log that a worker describes a model in another way than others do.
async fn warn_if_it_differs(driver: DriverHandle, worker: WorkerName) {
    if let Ok(view) = driver.query(DescribeWorker(worker.clone())).await
        && let Some(differs) = view.differs
    {
        tracing::warn!(%worker, "{differs}");
    }
}

impl WorkerServer {
    /// Reads a worker's messages until its stream ends, in either direction.
    async fn converse(
        &self,
        driver: &DriverHandle,
        (caller, messages): (&Caller, &mut Streaming<v1::WorkerMessage>),
        outbound: Outbox,
        reader: &Reader,
    ) -> Result<(), Status> {
        let first = tokio::time::timeout(HELLO_DEADLINE, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("a session begins with a hello; none came"))??;
        let Some(v1::WorkerMessage { message: Some(Message::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("a session begins with a hello"));
        };
        let hello = convert::hello(hello)?;
        let what = || format!("a session of worker {:?}", hello.name.as_str());
        caller.is_worker(hello.name.as_str(), what).map_err(Status::permission_denied)?;
        let running_max = convert::running_max(&hello.slots);
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (name, has_models) = (hello.name.clone(), !hello.models.is_empty());
        tracing::info!(worker = %name, slots = hello.slots.len(), held = hello.held.len(), "a worker connected");
        // The driver holds the only sender: when it lets go, the worker's stream ends.
        driver.open_session(session, hello, outbound).await.map_err(refused)?;
        if has_models {
            // Not awaited: an answer may wait until the lead is sure, and what the worker says must not.
            tokio::spawn(warn_if_it_differs(driver.clone(), name.clone()));
        }
        let ended = tokio::select! {
            // What came before its reader was gone is heard.
            biased;
            // The end of the answers says so, too, but no one asks for it where they are not read.
            () = caller.until.clone().ended() => Err(no_longer(caller)),
            ended = forward(driver, session, running_max, messages, &reader.inbox) => ended,
            () = reader.gone.cancelled() => Ok(()),
        };
        tracing::info!(worker = %name, "a worker's stream ended");
        let shut_out = shut_out(caller).map(|reason| Event::WorkerShutOut { session, reason });
        let events = shut_out.into_iter().chain([Event::SessionClosed(session)]).collect();
        // A driver that has stopped knows no sessions any more.
        let _ = driver.tell(events).await;
        ended
    }
}

/// Why a worker may stay no longer, for people; none where it may. A certificate that has run out is none: the worker has another by then.
fn shut_out(caller: &Caller) -> Option<&'static str> {
    let is_revoked = caller.until.revoked.as_ref().is_some_and(CancellationToken::is_cancelled);
    is_revoked.then_some(match caller.worker {
        Some(_) => "the token by which it joined was revoked; it has to join again with another",
        None => "its token was revoked; it needs another",
    })
}

/// What the driver says to a worker, message by message.
struct Said {
    outbound: Inbox,
    messages: std::vec::IntoIter<ToWorker>,
    /// What these take up of the room for messages that wait.
    room: Option<Room>,
    traced: Traced,
    /// Reports when no one reads any more.
    _gone: DropGuard,
}

/// Whether anything can still be sent to a worker. Where not, nothing that it says is answered, so that nothing is listened
/// to either: it has to connect again.
struct Reader {
    inbox: Inbox,
    /// The stream of answers has ended, or was given up by the worker.
    gone: CancellationToken,
}

impl Stream for Said {
    type Item = Result<v1::CoordinatorMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.messages.next() {
                return Poll::Ready(Some(Ok(self.traced.with_contexts(convert::to_worker(message)))));
            }
            let last_word = match ready!(self.outbound.poll_recv(context)) {
                Some(Outbound::Messages(messages, room)) => {
                    (self.messages, self.room) = (messages.into_iter(), Some(room));
                    continue;
                }
                Some(Outbound::Close(CloseReason::Replaced)) => Status::already_exists(
                    "this worker has connected again, with the same spool, from another process",
                ),
                Some(Outbound::Close(CloseReason::NameTaken { name, host })) => {
                    let place = if host.is_empty() { String::new() } else { format!(" from {host}") };
                    Status::aborted(format!("another worker named {name} is connected{place}"))
                }
                Some(Outbound::Close(CloseReason::Silent)) => {
                    Status::unavailable("nothing came from this worker for a whole lease")
                }
                Some(Outbound::Close(CloseReason::NoRoom(reason))) => Status::resource_exhausted(reason),
                Some(Outbound::Full) => refused(CallError::Full),
                Some(Outbound::Again) => Status::unavailable(
                    "the store refused a commit; what was not acknowledged has to be said again, on a new stream",
                ),
                None => return Poll::Ready(None),
            };
            return Poll::Ready(Some(Err(last_word)));
        }
    }
}

async fn forward(
    driver: &DriverHandle,
    session: SessionId,
    running_max: usize,
    messages: &mut Streaming<v1::WorkerMessage>,
    inbox: &Inbox,
) -> Result<(), Status> {
    // One that does not read does not come to the end of its answers; it is given up all the same.
    while !inbox.is_closed() {
        let mut events = Vec::new();
        let convert = |said| convert::event(session, running_max, said);
        let said = poll_fn(|context| poll_events(context, messages, &convert, &mut events)).await;
        driver.tell(events).await.map_err(refused)?;
        if !said? {
            break;
        }
    }
    Ok(())
}

/// Waits for a message and takes those that came with it, so that what a worker says at once shares a commit. Whether
/// more may come.
fn poll_events(
    context: &mut Context<'_>,
    messages: &mut Streaming<v1::WorkerMessage>,
    convert: &impl Fn(v1::WorkerMessage) -> Result<Event, Status>,
    events: &mut Vec<Event>,
) -> Poll<Result<bool, Status>> {
    let mut bytes = 0;
    while events.len() < EVENTS_TOGETHER_MAX && bytes < BYTES_TOGETHER_MAX {
        match Pin::new(&mut *messages).poll_next(context) {
            Poll::Ready(Some(said)) => {
                let event = said.and_then(|said| {
                    bytes += said.encoded_len();
                    convert(said)
                });
                match event {
                    Ok(event) => events.push(event),
                    Err(status) => return Poll::Ready(Err(status)),
                }
            }
            Poll::Ready(None) => return Poll::Ready(Ok(false)),
            Poll::Pending if events.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok(true))
}
