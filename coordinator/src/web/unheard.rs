//! Requests that are no HTTP, of which no route hears: the library answers them by itself, with an empty body. Here that answer gets the form
//! of all other errors. Who asks is mostly a program that wrote an address with a `<` or a space in it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

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
/// Such an answer is a head without a body, which is written at once, and has nothing but its length and the time. A piece of a file that
/// happened to look so would be changed: its reader sees from the file's hash that it is not whole.
const EMPTY: &[u8] = b"\r\ncontent-length: 0\r\n";
const ENDS: &[u8] = b"\r\n\r\n";
const BYTES_MAX: usize = 200;

/// A connection on which the library's own answers are put into the form of the others.
#[derive(Debug)]
pub(super) struct Heard<S> {
    stream: S,
    /// What is still to be written in place of such an answer.
    left: Vec<u8>,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: Vec::new() }
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
        if let Some(answer) = instead(bytes) {
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
        if instead(head).is_some() {
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_left(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
