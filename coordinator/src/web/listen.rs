//! Connections of browsers: a bounded number at a time, in plain text or by TLS, each with a deadline for what it has to say.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use telemetry::plain_calls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use super::{
    misled,
    unheard::{self, Heard, Turn},
};
use crate::tls::Tls;

/// Connections at a time where the system allows it: a hundred open pages, each with its events and what it asks besides, and as many again
/// that do not close.
pub const CONNECTIONS_MAX: u64 = 512;
/// How long a connection may take for the handshake of TLS, and for the head of a request, the first and each other.
const FIRST_WORDS_WITHIN: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes: an address, a cookie and what browsers say of themselves.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long what is being answered may take once the coordinator stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// How long nothing is accepted when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// An HTTP server that accepts connections until it is stopped.
#[derive(Debug)]
pub struct Listening {
    /// Where it listens, with the port that was chosen.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

/// A port that is held, on which nothing is answered yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bound {
    /// Takes the address; port 0 lets the system choose.
    ///
    /// # Errors
    /// It is taken, or not one of this machine.
    pub async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; choose another address with --http"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Answers that many connections at a time with `routes` until `stop` is cancelled. Calls of gRPC that come here are told of `grpc`.
    pub fn serve(
        self,
        routes: Router,
        (tls, grpc): (Option<Tls>, SocketAddr),
        connections: u64,
        stop: CancellationToken,
    ) -> Listening {
        let Self { listener, address } = self;
        let free = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1)));
        Listening { address, task: tokio::spawn(accept((listener, free), routes, (tls, grpc), stop)) }
    }
}

impl Listening {
    /// Waits until what is being answered has left, once it was stopped.
    pub async fn ended(self) {
        if self.task.await.is_err() {
            tracing::error!("the HTTP server panicked");
        }
    }
}

async fn accept(
    (listener, free): (TcpListener, Arc<Semaphore>),
    routes: Router,
    (tls, grpc): (Option<Tls>, SocketAddr),
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &free) => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection of a browser cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (routes, tls, watcher) = (routes.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            connection(stream, routes, (tls, grpc), watcher).await;
        });
    }
    if timeout(DRAIN_DEADLINE, graceful.shutdown()).await.is_err() {
        tracing::debug!("some browsers did not take their answers in time");
    }
}

/// The next connection, once there is a place for it.
async fn next(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(free).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn connection(
    stream: TcpStream,
    routes: Router,
    (tls, grpc): (Option<Tls>, SocketAddr),
    watcher: Watcher,
) {
    if plain_calls::is_one(&stream).await {
        return plain_calls::refuse(stream, misled::message(grpc, tls.is_some())).await;
    }
    let from = stream.peer_addr().ok();
    let Some(tls) = tls else { return answer(stream, from, routes, watcher).await };
    match timeout(FIRST_WORDS_WITHIN, tls.http().accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, from, routes, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "a browser's TLS handshake failed"),
        Err(_) => tracing::debug!("a browser's TLS handshake took too long"),
    }
}

/// Answers the requests of a connection, one after the other.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    from: Option<SocketAddr>,
    routes: Router,
    watcher: Watcher,
) {
    // For the account of who changed what.
    let routes = MapRequest::new(routes, move |mut request: Request<Incoming>| {
        if let Some(from) = from {
            request.extensions_mut().insert(from);
        }
        request
    });
    let (turn, routes) = (Turn::default(), TowerToHyperService::new(routes));
    let asked = turn.clone();
    let service = service_fn(move |request| {
        let given = asked.begin();
        let answered = hyper::service::Service::call(&routes, request);
        async move { answered.await.map(|answer| answer.map(|body| unheard::body(body, given))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_WORDS_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Heard::new(stream, turn)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection of a browser ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::TlsFiles;

    const GRPC: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        answer_to(ASK, stream).await
    }

    async fn answer_to(asked: &[u8], mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        stream.write_all(asked).await.unwrap();
        let mut answer = Vec::new();
        // The other side may close without a farewell.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_request_that_is_no_http_gets_an_error_as_all_others_have_it() {
        let bound = Bound::to(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (routes, stop) = (Router::new().route("/", get(async || "seen")), CancellationToken::new());
        let listening = bound.serve(routes, (None, GRPC), 8, stop.clone());
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        let after =
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /?x=<b> HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for (asked, status, says) in [
            ("GET /api/v1/sweeps?x=<script> HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "%3C"),
            // Also after others on the same connection.
            (after, 400, "%3C"),
            (long.as_str(), 431, "shorter headers"),
        ] {
            let told =
                answer_to(asked.as_bytes(), TcpStream::connect(listening.address).await.unwrap()).await;
            let last = &told[told.rfind("HTTP/1.1 ").unwrap()..];
            assert!(last.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
            let (head, body) = last.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains("content-type: application/json") && head.contains("x-frame-options"),
                "{head}"
            );
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], "invalid");
            assert!(body["error"]["message"].as_str().unwrap().contains(says), "{body}");
        }
        stop.cancel();
        listening.ended().await;
    }

    #[tokio::test]
    async fn a_browser_is_answered_by_tls_with_the_certificate_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files =
            TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let bound = Bound::to(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (routes, stop) = (Router::new().route("/", get(async || "seen")), CancellationToken::new());
        let listening = bound.serve(routes, (Some(Tls::open(files, None).unwrap()), GRPC), 8, stop.clone());
        let mut known = RootCertStore::empty();
        known.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(known)
            .with_no_client_auth();
        let stream = TcpStream::connect(listening.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let secure = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        let told = answer(secure).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("seen"), "{told}");
        stop.cancel();
        listening.ended().await;
    }

    #[tokio::test]
    async fn a_call_is_told_which_port_it_means() {
        let bound = Bound::to(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (routes, stop) = (Router::new().route("/", get(async || "seen")), CancellationToken::new());
        let listening = bound.serve(routes, (None, GRPC), 8, stop.clone());
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", listening.address));
        let channel = channel.unwrap().connect().await.unwrap();
        let mut client = proto::v1::sweep_service_client::SweepServiceClient::new(channel);
        let refused = client.list_workers(proto::v1::ListWorkersRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("use port 7070"), "{refused}");
        let stream = TcpStream::connect(listening.address).await.unwrap();
        assert!(answer(stream).await.ends_with("seen"), "browsers are answered as before");
        stop.cancel();
        listening.ended().await;
    }
}
