//! Browsers and programs for HTTP that came to the port for gRPC: they are told so in their own words, and which port they mean. Both ports are
//! of one coordinator, and one is easily taken for the other.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

/// Bytes that tell a request of HTTP/1 from what others say first.
pub(super) const TOLD_BY: usize = 4;
/// How the first line of a request of HTTP/1 begins. HTTP/2 begins with `PRI `, and TLS with a byte that is no letter.
const METHODS: [&[u8; TOLD_BY]; 9] =
    [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC"];
/// What is read of a request before the answer, in bytes: its head. A connection that is closed with unread bytes takes its answer back.
const READ_MAX: usize = 16 << 10;

/// Whether these first bytes are a request of HTTP/1.
pub(super) fn is_http(first: &[u8]) -> bool {
    METHODS.iter().any(|method| first.starts_with(&method[..]))
}

/// Tells the other side which port it means; it hears no more.
pub(super) fn answer(stream: &TcpStream, page: Option<SocketAddr>) {
    let mut read = [0; READ_MAX];
    let _ = stream.try_read(&mut read);
    // A new connection has room for it; who does not listen needs no answer.
    let _: io::Result<usize> = stream.try_write(message(page).as_bytes());
}

fn message(page: Option<SocketAddr>) -> String {
    let page = match page {
        Some(address) => format!("its page and its JSON API are on port {}", address.port()),
        None => "it serves no page; `sweep serve --http HOST:PORT` does".to_owned(),
    };
    let body = format!(
        "This port of the coordinator is for `sweep --coordinator` and for workers (gRPC); {page}.\n"
    );
    format!(
        "HTTP/1.1 421 Misdirected Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_browsers_are_told_from_calls() {
        for first in ["GET / HTTP/1.1", "POST /api", "OPTIONS *", "PUT /x"] {
            assert!(is_http(first.as_bytes()), "{first}");
        }
        for first in [&b"PRI * HTTP/2.0"[..], b"\x16\x03\x01\x02", b"GE", b""] {
            assert!(!is_http(first), "{first:?}");
        }
        assert!(message(Some(([127, 0, 0, 1], 7080).into())).contains("on port 7080."));
    }
}
