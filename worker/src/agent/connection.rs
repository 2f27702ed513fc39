//! The stream to the coordinator: opened, and reopened whenever it is lost. Knows tonic; only decides when to try again
//! and when that is pointless.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use proto::v1::{CoordinatorMessage, WorkerMessage, worker_service_client::WorkerServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::session::EVENTS_IN_FLIGHT_MAX;

/// Messages on their way out: all events that may be in flight, and room for everything that is not an event. If it is
/// full all the same, the coordinator is not reading, and the stream is abandoned.
const OUTGOING_MAX: usize = 2 * EVENTS_IN_FLIGHT_MAX;

/// Messages that wait for the session; beyond it the coordinator waits in its writes.
const INCOMING_MAX: usize = 64;

/// Shortest wait before another try.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest wait before another try, without its jitter: a restarted coordinator is found soon.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// How long a coordinator that has accepted this worker may refuse it before that counts: a token that is changed at
/// the coordinator first, or a proxy that is starting, must not cost running trainings.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Longest wait for a connection, including name lookup and TLS.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Longest wait for the stream once there is a connection.
const STREAM_WITHIN: Duration = Duration::from_secs(10);

/// How often an idle connection is probed, and how long the answer may take: a cut cable or a stalled coordinator is
/// noticed in 10 s, half of the usual lease.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// Longest message that is accepted. A grant is a few kilobytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The coordinator's address and the credentials for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `http://…` or `https://…`; several coordinators are separated by commas.
    pub(crate) url: String,
    /// File with the bearer token.
    pub(crate) token_file: Option<PathBuf>,
    /// File with the certificates to trust.
    pub(crate) tls_ca: Option<PathBuf>,
}

/// The target is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(
        "{url:?} is not the address of a coordinator ({reason}); use http://HOST:PORT or https://HOST:PORT"
    )]
    Url {
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// https without certificates.
    #[error("an https:// coordinator needs --tls-ca FILE, the certificates to trust")]
    NoCertificates,
    /// The file cannot be read or used.
    #[error("cannot use {path} ({reason}); see --token-file and --tls-ca")]
    File {
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

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

/// Keeps a stream to `target` until it is dropped. Events arrive in order. If the coordinator has accepted this worker
/// before, its refusal counts after `refused_within`.
pub(crate) fn keep(
    target: Target,
    refused_within: Duration,
) -> Result<(impl Future<Output = ()>, mpsc::Receiver<LinkEvent>), TargetError> {
    let endpoints = endpoints(&target)?;
    // Only to report a missing file at once.
    token(&target)?;
    let (sender, events) = mpsc::channel(INCOMING_MAX);
    let refusals = Refusals { within: refused_within, was_let_in: false, since: None, told: false };
    let keeper = Keeper { target, endpoints, next: 0, events: sender, refusals, told: None };
    Ok((keeper.run(), events))
}

pub(super) fn endpoints(target: &Target) -> Result<Vec<Endpoint>, TargetError> {
    target.url.split(',').map(|url| endpoint(target, url.trim())).collect()
}

fn endpoint(target: &Target, given: &str) -> Result<Endpoint, TargetError> {
    let wrong = |reason: String| TargetError::Url { url: given.to_owned(), reason };
    let url = terms::coordinator_url(given).map_err(|reason| wrong(reason.to_owned()))?;
    let endpoint = Endpoint::from_shared(url).map_err(|error| wrong(chain(&error)))?;
    let endpoint = match endpoint.uri().scheme_str() {
        Some("http") => endpoint,
        Some("https") => {
            let path = target.tls_ca.clone().ok_or(TargetError::NoCertificates)?;
            let unusable = |reason| TargetError::File { path: path.clone(), reason };
            let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint.tls_config(tls).map_err(|error| unusable(chain(&error)))?
        }
        _ => return Err(wrong("its scheme is neither http nor https".to_owned())),
    };
    Ok(endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true))
}

pub(super) fn token(target: &Target) -> Result<Option<MetadataValue<tonic::metadata::Ascii>>, TargetError> {
    let Some(path) = &target.token_file else { return Ok(None) };
    let unusable = |reason: String| TargetError::File { path: path.clone(), reason };
    let content = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    // Editors on Windows begin a file with a byte order mark.
    let token = content.strip_prefix('\u{feff}').unwrap_or(&content).trim();
    if token.is_empty() {
        return Err(unusable("it holds no token".to_owned()));
    }
    let value = format!("Bearer {token}");
    let mut value: MetadataValue<_> = value
        .parse()
        .map_err(|_| unusable("its token holds characters that HTTP does not allow".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What prevents a worker from reaching its coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Unreachable,
    NameTaken,
    Refused,
}

/// How long the coordinator has refused this worker.
#[derive(Debug)]
struct Refusals {
    /// How long it may refuse before that counts.
    within: Duration,
    /// Whether it ever accepted this worker.
    was_let_in: bool,
    /// Since when it has refused it.
    since: Option<Instant>,
    /// Whether the agent was told.
    told: bool,
}

impl Refusals {
    fn let_in(&mut self) {
        (self.was_let_in, self.since, self.told) = (true, None, false);
    }

    /// What to report about a refusal at `now`; nothing if it may be temporary, or was reported already.
    fn event(&mut self, now: Instant, code: Code, reason: String) -> Option<LinkEvent> {
        if !self.was_let_in || !may_pass(code) {
            return Some(LinkEvent::Refused(reason));
        }
        let refused_for = now.saturating_duration_since(*self.since.get_or_insert(now));
        if refused_for < self.within || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let within = humantime::format_duration(self.within);
        Some(LinkEvent::RefusedForLong(format!("{reason}; it was tried again for {within}")))
    }
}

struct Keeper {
    target: Target,
    endpoints: Vec<Endpoint>,
    /// Which is tried next, in turn: one that stands by says so at once.
    next: usize,
    events: mpsc::Sender<LinkEvent>,
    refusals: Refusals,
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
                let refusal = refusal(&status);
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

    /// One stream, from connecting to its end. `Ok` when no one listens any more.
    async fn converse(&mut self, spoke: &mut bool) -> Result<(), Status> {
        let endpoint = &self.endpoints[self.next % self.endpoints.len()];
        self.next = (self.next + 1) % self.endpoints.len();
        let channel = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect())
            .await
            .map_err(|_| Status::deadline_exceeded("it did not answer"))?
            .map_err(|error| Status::unavailable(chain(&error)))?;
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        let close = CancellationToken::new();
        let ours = outgoing.downgrade();
        let connected = LinkEvent::Connected { outgoing, close: close.clone() };
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
            Trouble::Unreachable => tracing::warn!(
                coordinator,
                "the coordinator is not reachable: {reason}; running trainings continue, and the worker tries until it \
                 answers"
            ),
        }
    }
}

/// Whether a refusal may end by itself, when someone corrects the token or the version.
fn may_pass(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition)
}

/// The message for people, if the coordinator, or a proxy before it, refuses this worker.
fn refusal(status: &Status) -> Option<String> {
    let said = status.message();
    Some(match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            format!("the coordinator does not accept this worker's token ({said}); see --token-file")
        }
        Code::FailedPrecondition => {
            format!(
                "the coordinator does not work with this version of the worker ({said}); use the same version of both"
            )
        }
        Code::AlreadyExists => format!("another process has taken this worker's place: {said}"),
        Code::InvalidArgument => format!("the coordinator does not accept this worker ({said})"),
        _ => return None,
    })
}

fn describe(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) if status.message().is_empty() => chain(source),
        Some(source) => format!("{}: {}", status.message(), chain(source)),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    }
}

/// An error and its causes; tonic's own text only says "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target { url: url.into(), token_file: None, tls_ca: None }
    }

    #[test]
    fn a_host_and_port_alone_are_an_address() {
        let endpoints = endpoints(&target("127.0.0.1:7070, http://other:1")).unwrap();
        let uris: Vec<String> = endpoints.iter().map(|endpoint| endpoint.uri().to_string()).collect();
        assert_eq!(uris, ["http://127.0.0.1:7070/", "http://other:1/"]);
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_what_would() {
        let error = |url| endpoints(&target(url)).unwrap_err().to_string();
        assert!(error("ftp://host").contains("use http://HOST:PORT"));
        assert!(error("http://[broken").contains("use http://HOST:PORT"));
        assert_eq!(
            error("https://host:1"),
            "an https:// coordinator needs --tls-ca FILE, the certificates to trust"
        );
    }

    #[test]
    fn a_token_file_that_is_missing_or_empty_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let with_file = Target { token_file: Some(path.clone()), ..target("http://host") };
        assert!(token(&with_file).unwrap_err().to_string().contains(&path.display().to_string()));
        std::fs::write(&path, " \n").unwrap();
        assert!(token(&with_file).unwrap_err().to_string().contains("it holds no token"));
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(token(&with_file).unwrap().unwrap(), "Bearer secret");
        std::fs::write(&path, "\u{feff}secret\r\n").unwrap();
        assert_eq!(token(&with_file).unwrap().unwrap(), "Bearer secret");
    }

    #[test]
    fn only_what_stays_as_it_is_is_a_refusal() {
        for code in
            [Code::Unauthenticated, Code::FailedPrecondition, Code::AlreadyExists, Code::InvalidArgument]
        {
            assert!(refusal(&Status::new(code, "no")).is_some(), "{code}");
        }
        for code in [
            Code::Unavailable,
            Code::Aborted,
            Code::Internal,
            Code::Unknown,
            Code::ResourceExhausted,
            Code::Unimplemented,
        ] {
            assert!(refusal(&Status::new(code, "no")).is_none(), "{code}");
        }
    }

    #[test]
    fn a_refusal_by_a_coordinator_that_let_the_worker_in_before_is_believed_after_a_while() {
        let within = Duration::from_secs(60);
        let mut refusals = Refusals { within, was_let_in: false, since: None, told: false };
        let begin = Instant::now();
        let hear = |refusals: &mut Refusals, seconds: u64, code| match refusals.event(
            begin + Duration::from_secs(seconds),
            code,
            "no".into(),
        ) {
            None => "it may pass",
            Some(LinkEvent::Refused(_)) => "at once",
            Some(LinkEvent::RefusedForLong(_)) => "for long",
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!(hear(&mut refusals, 0, Code::Unauthenticated), "at once", "it was never let in");
        refusals.let_in();
        assert_eq!(hear(&mut refusals, 100, Code::Unauthenticated), "it may pass");
        assert_eq!(hear(&mut refusals, 159, Code::PermissionDenied), "it may pass");
        refusals.let_in();
        assert_eq!(hear(&mut refusals, 161, Code::FailedPrecondition), "it may pass");
        assert_eq!(hear(&mut refusals, 221, Code::Unauthenticated), "for long");
        assert_eq!(hear(&mut refusals, 300, Code::Unauthenticated), "it may pass", "it is told once");
        assert_eq!(hear(&mut refusals, 300, Code::AlreadyExists), "at once", "its place is taken");
    }
}
