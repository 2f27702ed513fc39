//! Connections from outside: a bounded number at a time. Each must send something soon, and make a call that is let in.
//! What comes over them is limited by the transport (`server`), by `bodies` and by each service.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use telemetry::plain_calls;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::misled;
use crate::{
    access::WorkerCertificate,
    descriptors::{self, TooFewDescriptors},
};

/// Connections at a time where the system allows it: ten times the workers of the largest cluster thought of.
const CONNECTIONS_MAX: u64 = 10_000;
/// Fewer are no coordinator: a user's, some workers', and room for those that end.
const CONNECTIONS_MIN: u64 = 16;
/// Descriptors kept for the store, the log and the runtime.
const DESCRIPTORS_RESERVED: u64 = 64;
/// Fewest descriptors that a coordinator works with.
pub const DESCRIPTORS_MIN: u64 = DESCRIPTORS_RESERVED + CONNECTIONS_MIN;
/// How long a connection may take to say what every HTTP/2 and TLS client says first, and for the handshake of TLS.
pub const FIRST_WORDS_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take until a call of it was let in: clients connect when they have something to ask.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of the first words: the preface of HTTP/2 (RFC 9113, 3.4); every TLS hello is longer.
const FIRST_WORDS_BYTES: usize = 24;
/// How long nothing is accepted when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Of the descriptors beyond the fewest, the share that browsers may have: workers and commands need the rest more.
const SHARE_OF_BROWSERS: u64 = 4;

/// Accepts connections, and says how many connections of browsers there may be besides, at most `browsers_max`. Where there are as many as there may be, the oldest without a call that was let in gives way; where
/// all have had one, a newcomer waits until one ends, the others in the system's queue. Browsers that come here are told of `page`.
///
/// # Errors
/// There may be too few descriptors.
pub fn accept(
    listener: TcpListener,
    browsers_max: u64,
    page: Option<SocketAddr>,
) -> Result<(ReceiverStream<io::Result<Connection>>, u64), TooFewDescriptors> {
    let wanted = CONNECTIONS_MAX + DESCRIPTORS_RESERVED + browsers_max;
    let limit = descriptors::claim(DESCRIPTORS_MIN, wanted)?;
    // One is always left of what is kept for other things.
    let browsers = browsers_max.min(((limit - DESCRIPTORS_MIN) / SHARE_OF_BROWSERS).max(1));
    let of_others = limit.saturating_sub(DESCRIPTORS_RESERVED + browsers);
    let free = Arc::new(Semaphore::new(usize::try_from(of_others).unwrap_or(1)));
    let (sender, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut newcomers = Newcomers::default();
        // Ends when the server does not take connections any more.
        while !sender.is_closed() {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let Some(permit) = room(&free, &mut newcomers, &sender).await else { return };
                    let peer = Arc::new(Peer::new(address));
                    newcomers.add(&peer);
                    // Fails only when no one takes it.
                    let connection = Connection::new(stream, peer, permit, Deadlines::default());
                    let _ = sender.send(Ok(connection.with_page(page))).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    Ok((ReceiverStream::new(connections), browsers))
}

/// A place for one more connection; none when no one takes it any more.
async fn room(
    free: &Arc<Semaphore>,
    newcomers: &mut Newcomers,
    sender: &mpsc::Sender<io::Result<Connection>>,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
        return Some(permit);
    }
    if !newcomers.give_way() {
        tracing::warn!("as many connections as there may be; others wait until one ends");
    }
    tokio::select! {
        permit = Arc::clone(free).acquire_owned() => permit.ok(),
        () = sender.closed() => None,
    }
}

/// What is known of the other side of a connection.
#[derive(Debug)]
pub struct Peer {
    address: SocketAddr,
    authorised: AtomicBool,
    gives_way: CancellationToken,
    /// What it has shown in the handshake of TLS.
    certificate: OnceLock<WorkerCertificate>,
}

impl Peer {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            authorised: AtomicBool::new(false),
            gives_way: CancellationToken::new(),
            certificate: OnceLock::new(),
        }
    }

    /// Where it comes from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The worker's certificate that it has shown, if any.
    pub fn certificate(&self) -> Option<&WorkerCertificate> {
        self.certificate.get()
    }

    /// It has shown this certificate, which was verified.
    pub(super) fn has_shown(&self, certificate: WorkerCertificate) {
        // A handshake is made once.
        let _ = self.certificate.set(certificate);
    }

    /// A call of it was let in: it stays for as long as it likes.
    pub fn authorise(&self) {
        self.authorised.store(true, Ordering::Relaxed);
    }

    fn is_authorised(&self) -> bool {
        self.authorised.load(Ordering::Relaxed)
    }
}

/// Connections without a call that was let in, the oldest first, and some that have had one or have ended.
#[derive(Debug, Default)]
struct Newcomers(VecDeque<Weak<Peer>>);

impl Newcomers {
    fn add(&mut self, peer: &Arc<Peer>) {
        // Those before the first that still counts; it counts no longer than its deadline.
        while self.0.front().is_some_and(|first| !counts(first)) {
            self.0.pop_front();
        }
        self.0.push_back(Arc::downgrade(peer));
    }

    /// Ends the oldest; whether there is one.
    fn give_way(&mut self) -> bool {
        while let Some(oldest) = self.0.pop_front() {
            if let Some(peer) = oldest.upgrade().filter(|peer| !peer.is_authorised()) {
                tracing::debug!(peer = %peer.address, "a connection gives way to a newcomer");
                peer.gives_way.cancel();
                return true;
            }
        }
        false
    }
}

fn counts(peer: &Weak<Peer>) -> bool {
    peer.upgrade().is_some_and(|peer| !peer.is_authorised())
}

/// Whether only the connection is lost that was to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// How long a connection may take to show that it has a right to be there.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    first_words: Duration,
    first_call: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { first_words: FIRST_WORDS_WITHIN, first_call: FIRST_CALL_WITHIN }
    }
}

/// A connection; it ends with an error when its first words or its first call do not come, or when it has to give way
/// before them.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    peer: Arc<Peer>,
    /// Until a call was let in.
    probation: Option<Probation>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Probation {
    /// Whether the first bytes were looked at.
    heard: bool,
    /// Where browsers are answered.
    page: Option<SocketAddr>,
    /// Bytes of the first words that are missing.
    missing: usize,
    since: Instant,
    deadlines: Deadlines,
    deadline: Pin<Box<Sleep>>,
    gives_way: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(stream: TcpStream, peer: Arc<Peer>, permit: OwnedSemaphorePermit, deadlines: Deadlines) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers of this connection may be late");
        }
        let since = Instant::now();
        let probation = Probation {
            heard: false,
            page: None,
            missing: FIRST_WORDS_BYTES,
            since,
            deadlines,
            deadline: Box::pin(tokio::time::sleep_until(since + deadlines.first_words)),
            gives_way: Box::pin(peer.gives_way.clone().cancelled_owned()),
        };
        Self { stream, peer, probation: Some(probation), _permit: permit }
    }

    fn with_page(mut self, page: Option<SocketAddr>) -> Self {
        if let Some(probation) = &mut self.probation {
            probation.page = page;
        }
        self
    }

    /// Whether it begins with a call in plain text, which is not read yet.
    pub(super) async fn is_plain_call(&self) -> bool {
        plain_calls::is_one(&self.stream).await
    }

    /// Waits for the first bytes, before which nothing is sent; fails where a browser says them, once it is told which port it means.
    fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        let Self { stream, probation, .. } = self;
        let Some(probation) = probation.as_mut().filter(|probation| !probation.heard) else {
            return Poll::Ready(Ok(()));
        };
        let mut first = [0; misled::TOLD_BY];
        let mut first = ReadBuf::new(&mut first);
        ready!(stream.poll_peek(context, &mut first))?;
        if misled::is_http(first.filled()) {
            misled::answer(stream, probation.page);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        probation.heard = true;
        Poll::Ready(Ok(()))
    }

    /// Fails when it has to end.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(probation) = &mut self.probation else { return Ok(()) };
        if self.peer.is_authorised() {
            self.probation = None;
            return Ok(());
        }
        if probation.deadline.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if probation.gives_way.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_heard(context))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if let Some(Probation { missing, since, deadlines, deadline, .. }) = &mut self.probation
            && *missing > 0
        {
            *missing = missing.saturating_sub(read);
            if *missing == 0 {
                deadline.as_mut().reset(*since + deadlines.first_call);
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
        ready!(self.poll_heard(context))?;
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
        ready!(self.poll_heard(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
