//! A plain HTTP port that says how a program does: `/livez` answers while the process does, `/readyz` says whether it does
//! its work, `/leaderz` whether it leads where that can be asked, and `/metrics` has its numbers for Prometheus.
//!
//! It needs no token and no TLS, as probes and scrapers have neither, and changes nothing; so it shows nothing of sweeps but
//! counts. Connections have one request each, and a bounded time; where there are too many, the oldest gives way, so that no one who
//! holds connections open keeps a probe from its answer.

use std::{collections::VecDeque, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{METRICS_TYPE, plain_calls};

/// Connections at a time: the probes of a kubelet and some scrapers.
pub const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take from its first byte to the end of its answer: longer than a scrape of the largest
/// cluster, shorter than the usual interval between two.
const CONNECTION_WITHIN: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes: the least that hyper reads with.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// What browsers are told that take it for the page's.
const ELSEWHERE: &str = "This port is for probes and metrics: /livez, /readyz, /leaderz and /metrics. The page and the JSON API of a \
                         coordinator are on the port of its --http.\n";
/// What commands and workers hear that take this port for the coordinator's.
const NOT_FOR_CALLS: &str = "this port is for probes and metrics (--admin) and takes no calls; --coordinator is the address that \
                             `sweep serve` has as --listen, on port 7070 where it is not said otherwise";
/// How long nothing is accepted when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether something holds, with a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Holds(String),
    Fails(String),
}

/// What the port speaks about.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// Whether it does its work.
    fn readiness(&self) -> Condition;

    /// Whether it leads; none where that is no question.
    fn leadership(&self) -> Option<Condition> {
        None
    }

    /// Its numbers, as [`crate::encode`] writes them.
    async fn metrics(&self) -> String;
}

/// The address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot answer probes on {address}: {source}; choose another address with --admin")]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

/// The port. It is closed when this is dropped.
#[derive(Debug)]
pub struct Admin {
    /// Where it listens, with the port that was chosen.
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Admin {
    /// Begins to answer; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address is taken, or not one of this machine.
    pub async fn start(address: SocketAddr, subject: Arc<dyn Subject>) -> Result<Self, AdminError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = bound.await.map_err(|source| AdminError { address, source })?;
        tracing::info!(%address, "probes and metrics are answered");
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the port of --admin is in plain text and asks no one for a token: whoever reaches it sees the metrics"
            );
        }
        Ok(Self { address, _task: AbortOnDropHandle::new(tokio::spawn(accept(listener, subject))) })
    }
}

async fn accept(listener: TcpListener, subject: Arc<dyn Subject>) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                oldest_first.retain(|connection| !connection.is_finished());
                if oldest_first.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                }
                let answered = connection(stream, Arc::clone(&subject), CONNECTION_WITHIN);
                oldest_first.push_back(connections.spawn(answered));
            }
            Err(error) => {
                tracing::warn!(%error, "a probe cannot be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn connection(stream: TcpStream, subject: Arc<dyn Subject>, within: Duration) {
    match timeout(within, plain_calls::is_one(&stream)).await {
        Ok(true) => return plain_calls::refuse(stream, NOT_FOR_CALLS.to_owned()).await,
        Ok(false) => {}
        Err(_) => return tracing::debug!("a probe's connection said nothing"),
    }
    let service = service_fn(move |request| {
        let subject = Arc::clone(&subject);
        async move { Ok::<_, Infallible>(answer(&request, &*subject).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(within, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a probe's connection ended"),
        Err(_) => tracing::debug!("a probe's connection took too long"),
    }
}

async fn answer(request: &Request<Incoming>, subject: &dyn Subject) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => condition(subject.readiness()),
        "/leaderz" => match subject.leadership() {
            Some(leads) => condition(leads),
            None => text(StatusCode::NOT_FOUND, "no one leads where workers are\n".to_owned()),
        },
        "/metrics" => {
            let mut metrics = text(StatusCode::OK, subject.metrics().await);
            let kind = header::HeaderValue::from_static(METRICS_TYPE);
            metrics.headers_mut().insert(header::CONTENT_TYPE, kind);
            metrics
        }
        _ => text(StatusCode::NOT_FOUND, ELSEWHERE.to_owned()),
    }
}

fn condition(condition: Condition) -> Response<Full<Bytes>> {
    match condition {
        Condition::Holds(why) => text(StatusCode::OK, format!("ok: {why}\n")),
        Condition::Fails(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("no: {why}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests;
