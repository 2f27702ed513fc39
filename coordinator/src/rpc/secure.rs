//! Connections as the gRPC server gets them: plain, or after the handshake of TLS. Handshakes are made next to each other, each on a connection
//! that has its place and its deadline (`connections`), so that one that hangs holds up no other.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use telemetry::plain_calls;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

use super::connections::{Connection, FIRST_WORDS_WITHIN, Peer};
use crate::{access::WorkerCertificate, tls::Tls};

/// What is said to calls in plain text, where TLS is spoken.
const NO_TLS: &str = "this coordinator speaks TLS: name it with https://";

/// A connection that calls come over.
#[derive(Debug)]
pub enum Wire {
    /// Anyone on the way can read it.
    Plain(Connection),
    /// No one can.
    Secure(Box<TlsStream<Connection>>),
}

/// Makes the handshakes; without `tls`, none is wanted.
pub fn secure(
    mut connections: ReceiverStream<io::Result<Connection>>,
    tls: Option<Tls>,
) -> ReceiverStream<io::Result<Wire>> {
    let (sender, ready) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = connections.next() => next,
                () = sender.closed() => return,
            };
            let Some(Ok(connection)) = next else { return };
            let sender = sender.clone();
            let Some(tls) = &tls else {
                // Fails only when no one takes it.
                let _ = sender.send(Ok(Wire::Plain(connection))).await;
                continue;
            };
            let acceptor = tls.grpc();
            tokio::spawn(async move {
                if connection.is_plain_call().await {
                    return plain_calls::refuse(connection, NO_TLS.to_owned()).await;
                }
                match timeout(FIRST_WORDS_WITHIN, acceptor.accept(connection)).await {
                    Ok(Ok(stream)) => {
                        remember(&stream);
                        let _ = sender.send(Ok(Wire::Secure(Box::new(stream)))).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(ready)
}

/// Keeps the certificate that a worker has shown with what is known of its connection.
fn remember(stream: &TlsStream<Connection>) {
    let (connection, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    if let Some(shown) = shown.and_then(|shown| WorkerCertificate::read(shown)) {
        connection.connect_info().has_shown(shown);
    }
}

impl Connected for Wire {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        match self {
            Self::Plain(connection) => connection.connect_info(),
            Self::Secure(stream) => stream.get_ref().0.connect_info(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_write(context, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_flush(context),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_write_vectored(context, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(connection) => connection.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }
}
