//! Calls of gRPC that came where none is answered: to the port for browsers or to the one for probes, or without TLS to one that speaks it. They
//! are answered as gRPC answers, with where they should go.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response, body::Incoming, header::HeaderValue, server::conn::http2, service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};

/// How HTTP/2 begins, and no request of HTTP/1 and no hello of TLS.
const TOLD_BY: &[u8] = b"PRI ";
/// How long such a connection may take: it asks once, and hears one answer.
const WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for the rest of the first bytes where they come one by one.
const NEXT_BYTE: Duration = Duration::from_millis(20);
/// Calls of such a connection at a time.
const STREAMS_MAX: u32 = 4;
/// INVALID_ARGUMENT, which is not tried again: the same call would come to the same port.
const STATUS: &str = "3";

/// The metadata that tells such an answer from the coordinator's own: its worth is its name.
pub const MISLED_METADATA: &str = "sweep-misled";

/// Whether the first bytes are those of HTTP/2 in plain text. They stay to be read.
pub async fn is_one(stream: &TcpStream) -> bool {
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

/// Answers each call with this message, of printable ASCII without `%`, which travels as it is.
pub async fn refuse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, message: String) {
    let message =
        HeaderValue::try_from(message).unwrap_or(HeaderValue::from_static("no calls are answered here"));
    let service = service_fn(move |_: Request<Incoming>| {
        let message = message.clone();
        async move { Ok::<_, Infallible>(refusal(message)) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let served = timeout(WITHIN, builder.serve_connection(TokioIo::new(stream), service)).await;
    if !matches!(served, Ok(Ok(()))) {
        tracing::debug!("a call to a port that answers none ended");
    }
}

/// An answer that is nothing but its end.
fn refusal(message: HeaderValue) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(STATUS));
    headers.insert("grpc-message", message);
    headers.insert(MISLED_METADATA, HeaderValue::from_static("1"));
    response
}
