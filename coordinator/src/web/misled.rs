//! Commands and workers that came to the port for browsers: they are answered as gRPC answers, with which port they mean.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, header},
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::Status;

/// How HTTP/2 begins, and no request of HTTP/1.
const TOLD_BY: &[u8] = b"PRI ";
/// How long such a connection may take: it asks once, and hears one answer.
const WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for the rest of the first bytes where they come one by one.
const NEXT_BYTE: Duration = Duration::from_millis(20);
/// Calls of such a connection at a time.
const STREAMS_MAX: u32 = 4;

/// Whether the first bytes are those of HTTP/2. They stay to be read.
pub(super) async fn is_grpc(stream: &TcpStream) -> bool {
    let mut first = [0; TOLD_BY.len()];
    let look = async {
        loop {
            match stream.peek(&mut first).await {
                Ok(count) if count == TOLD_BY.len() => return first == TOLD_BY,
                Ok(count) if count > 0 && TOLD_BY.starts_with(&first[..count]) => sleep(NEXT_BYTE).await,
                _ => return false,
            }
        }
    };
    timeout(WITHIN, look).await.unwrap_or(false)
}

/// Answers each call with the port that it means.
pub(super) async fn answer(stream: TcpStream, grpc: SocketAddr) {
    let service =
        service_fn(
            move |_: Request<hyper::body::Incoming>| async move { Ok::<_, Infallible>(refusal(grpc)) },
        );
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let served = timeout(WITHIN, builder.serve_connection(TokioIo::new(stream), service)).await;
    if !matches!(served, Ok(Ok(()))) {
        tracing::debug!("a call to the port for browsers ended");
    }
}

fn refusal(grpc: SocketAddr) -> Response<Body> {
    let message = format!(
        "this port of the coordinator is for its page and its JSON API (HTTP); `sweep --coordinator` and workers use port {}",
        grpc.port()
    );
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // Not to be tried again: the same call would come to the same port.
    if Status::invalid_argument(message).add_header(response.headers_mut()).is_err() {
        tracing::debug!("a call to the port for browsers was refused without a reason");
    }
    response
}
