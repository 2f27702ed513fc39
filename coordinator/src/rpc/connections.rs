//! Connections from outside: so many at a time, and each has to say something soon. What comes over them is
//! limited by the transport (`server`) and by each service.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Connections at a time where the system allows it: ten times the workers of the largest cluster thought of.
const CONNECTIONS_MAX: u64 = 10_000;
/// Descriptors kept for the store, the log and the runtime.
const DESCRIPTORS_RESERVED: u64 = 64;
/// How long a connection may take to say what every HTTP/2 and TLS client says first.
const FIRST_WORDS_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the first words: the preface of HTTP/2 (RFC 9113, 3.4); every TLS hello is longer.
const FIRST_WORDS_BYTES: usize = 24;
/// How long nothing is accepted when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections; each that is over the limit waits in the system's queue until another one ends.
pub fn accept(listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
    let (sender, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        let free = Arc::new(Semaphore::new(connections_max()));
        // Ends when the server does not take connections any more.
        while !sender.is_closed() {
            if free.available_permits() == 0 {
                tracing::warn!("as many connections as there may be; others wait until one ends");
            }
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection::new(stream, peer, permit, FIRST_WORDS_WITHIN);
                    // Fails only when nobody takes it.
                    let _ = sender.send(Ok(connection)).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

/// As many connections as there may be descriptors, which are made as many as the system allows.
fn connections_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS_MAX + DESCRIPTORS_RESERVED;
    let mut limit = current.unwrap_or(u64::MAX);
    if limit < wanted {
        let raised = wanted.min(maximum.unwrap_or(u64::MAX));
        // Where the system refuses, it stays as it is.
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
            limit = raised;
        }
    }
    usize::try_from(limit.saturating_sub(DESCRIPTORS_RESERVED).clamp(1, CONNECTIONS_MAX)).unwrap_or(1)
}

/// Whether only the connection is lost that was to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// A connection; it ends with an error when its first words do not come.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// Until they have come: how many bytes are missing, and the deadline.
    first_words: Option<(usize, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit, within: Duration) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers of this connection may be late");
        }
        let deadline = Box::pin(tokio::time::sleep_until(Instant::now() + within));
        Self { stream, peer, first_words: Some((FIRST_WORDS_BYTES, deadline)), _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((_, deadline)) = &mut self.first_words
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if let Some((missing, _)) = &mut self.first_words {
            *missing = missing.saturating_sub(read);
            if *missing == 0 {
                self.first_words = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_stream::StreamExt;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    async fn pair() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        (client, Connection::new(stream, peer, permit, SOON))
    }

    #[tokio::test]
    async fn a_connection_that_says_too_little_ends() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"PRI * HTTP/2.0").await.unwrap();
        let mut words = Vec::new();
        let ended = connection.read_to_end(&mut words).await.unwrap_err();
        assert_eq!((ended.kind(), words.as_slice()), (io::ErrorKind::TimedOut, &b"PRI * HTTP/2.0"[..]));
    }

    #[tokio::test]
    async fn a_connection_that_has_begun_may_be_silent() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut buffer = [0; 24];
        connection.read_exact(&mut buffer).await.unwrap();
        let silent = tokio::time::timeout(SOON * 3, connection.read(&mut buffer)).await;
        assert!(silent.is_err(), "{silent:?}");
    }

    #[tokio::test]
    async fn connections_are_accepted_in_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = accept(listener);
        for _ in 0..3 {
            let client = TcpStream::connect(address).await.unwrap();
            let connection = connections.next().await.unwrap().unwrap();
            assert_eq!(connection.connect_info(), client.local_addr().unwrap());
        }
    }
}
