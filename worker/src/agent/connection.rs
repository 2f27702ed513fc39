//! The stream to the coordinator: opened, and reopened whenever it is lost. Knows tonic; only decides when to try again
//! and when that is pointless.

mod refusals;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use proto::{
    client::ClientError,
    join::CONNECT_AGAIN,
    secret_file,
    v1::{
        CoordinatorMessage, WorkerMessage, coordinator_message::Message,
        worker_service_client::WorkerServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, transport::Channel};

pub(crate) use self::refusals::REFUSED_WITHIN;
use self::refusals::{Refusals, refusal};
use super::{
    metrics::{Metrics, Stage},
    session::EVENTS_IN_FLIGHT_MAX,
    target::{CONNECT_WITHIN, MESSAGE_BYTES_MAX, Target, is_misled, token, unreached},
    turns::Turns,
};

/// Messages on their way out: all events that may be in flight, and room for everything that is not an event. If it is
/// full all the same, the coordinator is not reading, and the stream is abandoned.
const OUTGOING_MAX: usize = 2 * EVENTS_IN_FLIGHT_MAX;

/// Messages that wait for the session; beyond it the coordinator waits in its writes.
const INCOMING_MAX: usize = 64;

/// Shortest wait before another try.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest wait before another try, without its jitter: a restarted coordinator is found soon.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// Longest wait for the stream once there is a connection.
const STREAM_WITHIN: Duration = Duration::from_secs(10);

/// An event on the stream.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// There is a new stream: messages for it go into `outgoing`; `close` abandons it.
    Connected {
        outgoing: mpsc::Sender<WorkerMessage>,
        /// Ends this stream; another one is opened.
        close: CancellationToken,
    },
    /// A message of the coordinator.
    Message(CoordinatorMessage),
    /// The stream is lost.
    Lost,
    /// Another worker has this one's name. It is tried again: the other may be this worker's own earlier stream, whose
    /// end no one has noticed yet.
    NameTaken(String),
    /// The coordinator refuses this worker; trying again is pointless.
    Refused(String),
    /// The coordinator had accepted this worker, and has refused it for long. It is tried again, for what the worker
    /// still has to report.
    RefusedForLong(String),
}

/// Keeps a stream to `target` until it is dropped. Events arrive in order, and `metrics` know how far it is before anyone else does. If
/// the coordinator has accepted this worker before, its refusal counts after `refused_within`.
pub(crate) fn keep(
    target: Target,
    refused_within: Duration,
    metrics: Arc<Metrics>,
) -> Result<(impl Future<Output = ()>, mpsc::Receiver<LinkEvent>), ClientError> {
    let turns = Turns::new(&target)?;
    // Only to report a missing file at once.
    token(&target)?;
    if let Some(why) = target.token_file.as_deref().and_then(secret_file::exposed) {
        tracing::warn!("{why}");
    }
    let (sender, events) = mpsc::channel(INCOMING_MAX);
    let refusals = Refusals::new(refused_within);
    let keeper = Keeper { target, turns, events: sender, refusals, metrics, told: None };
    Ok((keeper.run(), events))
}

/// What prevents a worker from reaching its coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Unreachable,
    /// What answers at its address is not it.
    Misled,
    NameTaken,
    Refused,
}

struct Keeper {
    target: Target,
    /// Which is tried next.
    turns: Turns,
    events: mpsc::Sender<LinkEvent>,
    refusals: Refusals,
    metrics: Arc<Metrics>,
    /// What was logged since the coordinator last answered.
    told: Option<Trouble>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let delays = ExponentialBuilder::new()
                .with_min_delay(RETRY_DELAY_MIN)
                .with_max_delay(RETRY_DELAY_MAX)
                .without_max_times()
                .with_jitter();
            // The delays start again after every stream on which the coordinator answered.
            for delay in delays.build() {
                let mut spoke = false;
                let Err(status) = self.converse(&mut spoke).await else { return };
                if spoke {
                    self.told = None;
                    self.refusals.let_in();
                }
                if spoke && status.message() == CONNECT_AGAIN {
                    // Its certificate has run out, in whose place there is another one by now.
                    tracing::info!("connecting again with the certificate of now");
                    break;
                }
                if self.goes_on_at_the_leader(&status) {
                    continue;
                }
                // One that accepted it before may be coming back another way.
                let is_moving = self.refusals.was_let_in() && is_misled(&status);
                let refusal = refusal(&status, self.target.identity.is_some()).filter(|_| !is_moving);
                let event = refusal
                    .as_ref()
                    .and_then(|reason| self.refusals.event(Instant::now(), status.code(), reason.clone()));
                if let Some(event) = event {
                    let is_final = matches!(event, LinkEvent::Refused(_));
                    // Only fails when no one listens any more.
                    if self.events.send(event).await.is_err() || is_final {
                        return;
                    }
                }
                self.tell_lost(&status, refusal);
                if status.code() == Code::Aborted
                    && self.events.send(LinkEvent::NameTaken(status.message().to_owned())).await.is_err()
                {
                    return;
                }
                if spoke {
                    tokio::time::sleep(RETRY_DELAY_MIN).await;
                    break;
                }
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Whether the coordinator that was asked stands by for another one, where the next try goes.
    fn goes_on_at_the_leader(&mut self, status: &Status) -> bool {
        match self.turns.heard(&self.target, status) {
            Ok(None) => false,
            Ok(Some(leader)) => {
                // Once, however often it is tried.
                if self.told.is_none() {
                    tracing::info!(leader, "the coordinator stands by; going on at the one that leads");
                }
                true
            }
            Err(reason) => {
                if self.told.is_none() {
                    tracing::warn!("{reason}");
                }
                false
            }
        }
    }

    /// One stream, from connecting to its end. `Ok` when no one listens any more.
    async fn converse(&mut self, spoke: &mut bool) -> Result<(), Status> {
        let endpoint = self.turns.take();
        let channel = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect())
            .await
            .map_err(|_| Status::deadline_exceeded("it did not answer"))?
            .map_err(|error| Status::unavailable(unreached(&error)))?;
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        let close = CancellationToken::new();
        let ours = outgoing.downgrade();
        let connected = LinkEvent::Connected { outgoing, close: close.clone() };
        self.metrics.reached(Stage::Unanswered);
        if self.events.send(connected).await.is_err() {
            return Ok(());
        }
        let ended = tokio::select! {
            ended = self.listen(channel, messages, spoke) => ended,
            () = close.cancelled() => Some(Status::unavailable("the stream was abandoned")),
        };
        let Some(status) = ended else { return Ok(()) };
        // Not abandoned: this worker has sent everything, and leaves.
        let is_farewell = ours.upgrade().is_none() && !close.is_cancelled();
        self.metrics.reached(Stage::Away);
        if self.events.send(LinkEvent::Lost).await.is_err() || is_farewell {
            return Ok(());
        }
        Err(status)
    }

    /// Why the stream ended; `None` when no one listens any more.
    async fn listen(
        &mut self,
        channel: Channel,
        messages: mpsc::Receiver<WorkerMessage>,
        spoke: &mut bool,
    ) -> Option<Status> {
        let mut client = WorkerServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut request = Request::new(ReceiverStream::new(messages));
        match token(&self.target) {
            Ok(Some(value)) => {
                request.metadata_mut().insert("authorization", value);
            }
            Ok(None) => {}
            Err(error) => return Some(Status::unavailable(error.to_string())),
        }
        let mut incoming = match tokio::time::timeout(STREAM_WITHIN, client.session(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Some(status),
            Err(_) => return Some(Status::deadline_exceeded("it opened no session")),
        };
        loop {
            match incoming.message().await {
                Ok(Some(message)) => {
                    if matches!(message.message, Some(Message::Welcome(_))) {
                        // Before anything says so: who reads that it is connected finds it ready.
                        self.metrics.reached(Stage::Welcomed);
                    }
                    if !std::mem::replace(spoke, true) {
                        tracing::info!(coordinator = self.target.url, "connected to the coordinator");
                    }
                    self.events.send(LinkEvent::Message(message)).await.ok()?;
                }
                Ok(None) => return Some(Status::unavailable("it closed the session")),
                Err(status) => return Some(status),
            }
        }
    }

    /// Logs once that the coordinator is gone, not at each try.
    fn tell_lost(&mut self, status: &Status, refusal: Option<String>) {
        let coordinator = &self.target.url;
        let trouble = match status.code() {
            Code::Aborted => Trouble::NameTaken,
            _ if refusal.is_some() => Trouble::Refused,
            _ if is_misled(status) => Trouble::Misled,
            _ => Trouble::Unreachable,
        };
        let reason = refusal.unwrap_or_else(|| describe(status));
        if self.told.replace(trouble) == Some(trouble) {
            return tracing::debug!(coordinator, "still not reachable: {reason}");
        }
        match trouble {
            Trouble::NameTaken => tracing::warn!(
                coordinator,
                "{reason}; this one is accepted when that one has left. Give each worker of a coordinator its own --name"
            ),
            Trouble::Refused => tracing::warn!(
                coordinator,
                "{reason}; running trainings continue; the worker tries again for {}, then leaves",
                humantime::format_duration(self.refusals.within)
            ),
            Trouble::Misled => tracing::warn!(
                coordinator,
                "the coordinator is not reachable: at this address, calls are answered with \"{reason}\", as where it was started again \
                 with TLS or with other ports; start it as before, or this worker with the address of now; running trainings \
                 continue, and the worker tries until it answers"
            ),
            Trouble::Unreachable => tracing::warn!(
                coordinator,
                "the coordinator is not reachable: {reason}; running trainings continue, and the worker tries until it \
                 answers"
            ),
        }
    }
}

fn describe(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("the connection broke: {}", proto::unreached::broken(source)),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    }
}
