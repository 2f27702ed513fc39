//! What calls carry, bounded in bytes over all connections: messages that have come in part, and large answers that are not
//! read (`answers`). A message that has begun must come to its end soon (`patience`), as it takes up room that others wait for. A
//! connection that has brought a whole message of a call that was let in has earned its place (`connections`).

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{
    Status,
    body::Body,
    codegen::{Body as HttpBody, BoxFuture, Service, StdError, http},
    server::NamedService,
};

use super::{
    answers::{Answers, Outgoing},
    connections::Peer,
    patience::{Deadlines, Patience},
};

/// Messages that have come in part, in KiB: sixteen of the largest.
const PARTS_KIB_MAX: usize = 64 << 10;
/// Of that, what only small messages may use, and how large those are, in KiB: the large ones must not keep them out.
const PARTS_KIB_RESERVED: usize = 16 << 10;
const SMALL_KIB: u32 = 64;
/// gRPC's header of a message: whether it is compressed, and its length.
const HEADER_BYTES: usize = 5;

/// What all services share.
#[derive(Debug, Clone)]
pub struct Bounds {
    parts: Arc<Semaphore>,
    answers: Arc<Mutex<Answers>>,
    deadlines: Deadlines,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            parts: Arc::new(Semaphore::new(PARTS_KIB_MAX)),
            answers: Arc::default(),
            deadlines: Deadlines::default(),
        }
    }
}

/// A service whose messages are bounded.
#[derive(Debug, Clone)]
pub struct Bounded<S> {
    inner: S,
    bounds: Bounds,
    authorises: bool,
}

impl<S> Bounded<S> {
    /// Bounds what `inner` reads and answers. `authorises` says whether a call of it earns a connection its place.
    pub fn new(inner: S, bounds: Bounds, authorises: bool) -> Self {
        Self { inner, bounds, authorises }
    }
}

impl<S: NamedService> NamedService for Bounded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Bounded<S>
where
    S: Service<http::Request<Incoming<B>>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Arc<Peer>>().filter(|_| self.authorises).cloned();
        let answers = Arc::clone(&self.bounds.answers);
        let answer = self.inner.call(request.map(|inner| Incoming::new(inner, peer, &self.bounds)));
        Box::pin(async move {
            let (head, inner) = answer.await?.into_parts();
            let body = Outgoing::begun(inner, answers).await;
            Ok(http::Response::from_parts(head, Body::new(body)))
        })
    }
}

/// Where the message that is being read ends.
#[derive(Debug, Default)]
pub(super) struct Message {
    header: [u8; HEADER_BYTES],
    missing: usize,
    /// Bytes of it that have come, with its header.
    pub(super) come: usize,
}

impl Message {
    /// Takes bytes in; whether a message came to its end.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.come < HEADER_BYTES {
                let (header, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.come));
                self.header[self.come..][..header.len()].copy_from_slice(header);
                self.come += header.len();
                bytes = rest;
                let [_, length @ ..] = self.header;
                if self.come == HEADER_BYTES {
                    self.missing = u32::from_be_bytes(length) as usize;
                }
            } else {
                let now = bytes.len().min(self.missing);
                (self.missing, self.come, bytes) = (self.missing - now, self.come + now, &bytes[now..]);
            }
            if self.come >= HEADER_BYTES && self.missing == 0 {
                (*self, ended) = (Self::default(), true);
            }
        }
        ended
    }
}

/// What comes in for a call.
#[derive(Debug)]
pub struct Incoming<B> {
    inner: B,
    /// The connection, until a message has come whole.
    peer: Option<Arc<Peer>>,
    message: Message,
    /// With the rest of that message.
    patience: Patience,
    parts: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl<B> Incoming<B> {
    fn new(inner: B, peer: Option<Arc<Peer>>, bounds: &Bounds) -> Self {
        let (patience, parts) = (Patience::new(bounds.deadlines), Arc::clone(&bounds.parts));
        Self { inner, peer, message: Message::default(), patience, parts, held: None }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Status> {
        self.patience.went_on();
        if self.message.take(bytes) {
            self.patience.renew();
            if let Some(peer) = self.peer.take() {
                peer.authorise();
            }
        }
        if self.message.come == 0 {
            self.held = None;
            return Ok(());
        }
        let kib = u32::try_from(self.message.come.div_ceil(1_024)).unwrap_or(u32::MAX);
        let held = self.held.as_ref().map_or(0, |held| u32::try_from(held.num_permits()).unwrap_or(0));
        if held > kib {
            // Of the message before.
            self.held = None;
            return self.hold(kib, kib);
        }
        self.hold(kib - held, kib)
    }

    fn hold(&mut self, more: u32, all: u32) -> Result<(), Status> {
        if more == 0 {
            return Ok(());
        }
        let is_large = all > SMALL_KIB && self.parts.available_permits() < PARTS_KIB_RESERVED;
        let taken = if is_large { None } else { Arc::clone(&self.parts).try_acquire_many_owned(more).ok() };
        let taken = taken.ok_or_else(|| {
            Status::resource_exhausted("too many large messages come in at the same time; try again in 2 s")
        })?;
        match &mut self.held {
            Some(held) => held.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

impl<B> HttpBody for Incoming<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            if self.message.come == 0 {
                return Poll::Pending;
            }
            let error = ready!(self.patience.poll_end(context));
            self.held = None;
            return Poll::Ready(Some(Err(error)));
        };
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Some(Ok(frame)) => frame,
        };
        let taken = frame.data_ref().map_or(Ok(()), |bytes| self.take(bytes));
        Poll::Ready(Some(taken.map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn incoming(bounds: &Bounds) -> Incoming<()> {
        Incoming::new((), None, bounds)
    }

    /// What a caller sends, piece by piece.
    struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    async fn next(body: &mut Incoming<Pieces>) -> Option<Result<(), Status>> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|frame| frame.map(drop))
    }

    #[test]
    fn ends_of_messages_are_found_however_they_are_cut() {
        let two = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 2, 9, 9]].concat();
        for cut in 1..two.len() {
            let mut message = Message::default();
            let ends = two.chunks(cut).filter(|part| message.take(part)).count();
            assert!((1..=3).contains(&ends) && message.come == 0, "{cut}: {ends}");
        }
        let mut message = Message::default();
        assert!(!message.take(&[0, 0, 0, 1, 0, 7]));
        assert_eq!((message.come, message.missing), (6, 255));
    }

    #[test]
    fn messages_in_part_are_bounded_and_the_large_ones_keep_no_small_one_out() {
        let bounds = Bounds::default();
        let header = [0, 0, 0x40, 0, 0];
        let mut large = Vec::new();
        let refused = loop {
            let mut one = incoming(&bounds);
            one.take(&header).unwrap();
            match (0..4_000).try_for_each(|_| one.take(&[0; 1_024])) {
                Ok(()) => large.push(one),
                Err(status) => break status,
            }
        };
        assert_eq!((refused.code(), large.len()), (tonic::Code::ResourceExhausted, 12));
        let mut small = incoming(&bounds);
        assert!(small.take(&[0, 0, 0, 0x40, 0]).and_then(|()| small.take(&[0; 1_024])).is_ok());
        drop(large);
        drop(small);
        assert_eq!(bounds.parts.available_permits(), PARTS_KIB_MAX);
    }

    #[tokio::test]
    async fn a_message_that_stops_half_way_fails_its_call_and_gives_back_its_room() {
        let deadlines = Deadlines { piece: Duration::from_millis(20), message: Duration::from_secs(60) };
        let bounds = Bounds { deadlines, ..Bounds::default() };
        let (caller, pieces) = tokio::sync::mpsc::channel(2);
        let mut body = Incoming::new(Pieces(pieces), None, &bounds);
        caller.send(Bytes::from_static(&[0, 0, 0x40, 0, 0])).await.unwrap();
        caller.send(Bytes::from(vec![0; 1 << 20])).await.unwrap();
        assert!(matches!((next(&mut body).await, next(&mut body).await), (Some(Ok(())), Some(Ok(())))));
        assert!(bounds.parts.available_permits() < PARTS_KIB_MAX - 1_000);
        let Some(Err(status)) = next(&mut body).await else { panic!("the rest never comes") };
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(bounds.parts.available_permits(), PARTS_KIB_MAX);
    }

    #[tokio::test]
    async fn between_two_messages_a_call_may_be_silent() {
        let deadlines = Deadlines { piece: Duration::ZERO, message: Duration::ZERO };
        let bounds = Bounds { deadlines, ..Bounds::default() };
        let (caller, pieces) = tokio::sync::mpsc::channel(1);
        let mut body = Incoming::new(Pieces(pieces), None, &bounds);
        caller.send(Bytes::from_static(&[0, 0, 0, 0, 1, 7])).await.unwrap();
        assert!(matches!(next(&mut body).await, Some(Ok(()))));
        let silent = tokio::time::timeout(Duration::from_millis(50), next(&mut body)).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}
