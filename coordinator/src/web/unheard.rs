//! Requests that are no HTTP, of which no route hears: the library answers them by itself, with an empty body. Here that answer gets the form
//! of all other errors. Who asks is mostly a program that wrote an address with a `<` or a space in it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
};

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{answers, headers};

/// What the library's own answers begin with, each with what is said in its place.
const BEGINS: [(&[u8], &str); 3] = [
    (
        b"HTTP/1.1 400 ",
        "this is no valid HTTP request; in an address, characters such as <, >, \\, ^ and spaces are written as %3C, %3E, %5C, %5E and %20",
    ),
    (b"HTTP/1.1 414 ", "the address is too long; ask for less at once"),
    (b"HTTP/1.1 431 ", "the head of the request has more than 32 KiB; send fewer or shorter headers"),
];
/// Such an answer is a head without a body, which is written at once, and has nothing but its length and the time.
const EMPTY: &[u8] = b"\r\ncontent-length: 0\r\n";
const ENDS: &[u8] = b"\r\n\r\n";
const BYTES_MAX: usize = 200;

/// Nothing of a route is being written.
const IDLE: u8 = 0;
/// A route has been asked, and has not given all of its answer to the library.
const ASKED: u8 = 1;
/// The library has all of it, and may not have written it.
const GIVEN: u8 = 2;

/// Whether an answer of a route is on its way on a connection. Until it is written, what looks like the library's own answer is a piece of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<AtomicU8>);

/// Ends a turn, whether an answer was given or given up.
#[derive(Debug)]
pub(super) struct Given(Turn);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.0.store(GIVEN, SeqCst);
    }
}

impl Turn {
    /// A route is asked.
    pub(super) fn begin(&self) -> Given {
        self.0.store(ASKED, SeqCst);
        Given(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.0.load(SeqCst) == IDLE
    }

    /// All that the library had was written.
    fn written(&self) {
        let _ = self.0.compare_exchange(GIVEN, IDLE, SeqCst, SeqCst);
    }
}

/// The body of an answer, which ends its turn when it ends.
pub(super) fn body(body: Body, given: Given) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _ = &given;
        frame
    }))
}

/// A connection on which the library's own answers are put into the form of the others.
#[derive(Debug)]
pub(super) struct Heard<S> {
    stream: S,
    turn: Turn,
    /// What is still to be written in place of such an answer.
    left: Vec<u8>,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, turn: Turn) -> Self {
        Self { stream, turn, left: Vec::new() }
    }
}

/// What is written in place of the head that the library made; none where a route made it.
fn instead(head: &[u8]) -> Option<Vec<u8>> {
    let (begin, message) = BEGINS.iter().find(|(begin, _)| head.starts_with(begin))?;
    let is_empty = head.windows(EMPTY.len()).any(|some| some.eq_ignore_ascii_case(EMPTY));
    if head.len() > BYTES_MAX || !head.ends_with(ENDS) || !is_empty {
        return None;
    }
    let status = head.split(|byte| *byte == b'\r').next().unwrap_or(begin);
    let body = answers::unheard(message);
    let mut answer = status.to_vec();
    answer.extend(b"\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n");
    for (name, value) in headers::HEADERS {
        answer.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    answer.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    answer.extend(body);
    Some(answer)
}

impl<S: AsyncWrite + Unpin> Heard<S> {
    /// Writes what is left in place of an answer.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_left(context))?;
        if let Some(answer) = Some(bytes).filter(|_| self.turn.is_idle()).and_then(instead) {
            // The library writes such an answer at once, and nothing after it.
            self.left = answer;
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_left(context))?;
        let head: &[u8] = parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| part);
        if self.turn.is_idle() && instead(head).is_some() {
            let length = head.len();
            return self.poll_write(context, head).map_ok(|_| length);
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_left(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.turn.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_left(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const OWN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

    /// What a client reads of these bytes, written while a route's answer is on its way, and then at rest.
    #[tokio::test]
    async fn only_what_no_route_answers_is_put_into_another_form() {
        let (mut client, server) = tokio::io::duplex(4_096);
        let turn = Turn::default();
        let mut heard = Heard::new(server, turn.clone());
        let given = turn.begin();
        heard.write_all(OWN).await.unwrap();
        heard.flush().await.unwrap();
        drop(given);
        // The library may write the last piece after it was given all.
        heard.write_all(OWN).await.unwrap();
        let mut read = vec![0; 2 * OWN.len()];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(read, [OWN, OWN].concat(), "a file that looks so is left as it is");
        heard.flush().await.unwrap();
        heard.write_all(OWN).await.unwrap();
        heard.shutdown().await.unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        assert!(told.contains("this is no valid HTTP request"), "{told}");
    }
}
