//! Large answers on their way out, bounded in bytes over all connections: where their readers are slow, the oldest is given up.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Frame;
use tonic::{
    Status,
    body::Body,
    codegen::{Body as HttpBody, http},
};

/// Answers that wait to be read, in bytes, those of at least [`LARGE_BYTES`]: where they are more, the oldest is given up.
const ANSWERS_BYTES_MAX: usize = 64 << 20;
const LARGE_BYTES: usize = 64 << 10;
/// As much of an answer is handed to the transport at a time, which keeps it until it is sent.
const PIECE_BYTES: usize = 16 << 10;

/// An answer that may be taken from a caller that does not read it, and its bytes.
type Waiting = (Arc<Mutex<Option<Bytes>>>, usize);

/// Large answers that wait to be read, by their age.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: BTreeMap<u64, Waiting>,
    bytes: usize,
    next: u64,
}

/// Nothing is left half done where a lock was held by a thread that panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// Keeps an answer, in the place of the oldest ones where there is no room.
    fn keep(&mut self, answer: Bytes) -> (u64, Arc<Mutex<Option<Bytes>>>) {
        self.bytes += answer.len();
        let (number, bytes) = (self.next, answer.len());
        let place = Arc::new(Mutex::new(Some(answer)));
        while self.bytes > ANSWERS_BYTES_MAX
            && let Some((_, (oldest, bytes))) = self.waiting.pop_first()
        {
            self.bytes -= bytes;
            *lock(&oldest) = None;
        }
        self.waiting.insert(number, (Arc::clone(&place), bytes));
        self.next += 1;
        (number, place)
    }

    fn forget(&mut self, number: u64) {
        if let Some((_, bytes)) = self.waiting.remove(&number) {
            self.bytes -= bytes;
        }
    }
}

/// A part of an answer on its way out.
#[derive(Debug)]
struct Current {
    number: u64,
    place: Arc<Mutex<Option<Bytes>>>,
    answers: Arc<Mutex<Answers>>,
}

impl Current {
    /// The next piece, and whether it is the last.
    fn piece(&self) -> Result<(Bytes, bool), Status> {
        let mut place = lock(&self.place);
        let bytes = place.as_mut().ok_or_else(|| {
            Status::resource_exhausted(
                "the answer was not read for long while others waited for the memory; ask again",
            )
        })?;
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        Ok((piece, !bytes.has_remaining()))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        lock(&self.answers).forget(self.number);
    }
}

type Polled = Option<Result<Frame<Bytes>, Status>>;

/// What goes out for a call.
#[derive(Debug)]
pub(super) struct Outgoing {
    inner: Body,
    answers: Arc<Mutex<Answers>>,
    current: Option<Current>,
    /// What came before its reader asked.
    first: Option<Polled>,
}

impl Outgoing {
    /// An answer that begins. If it is there, it is taken at once, in its short form, and not when its reader has room for it.
    pub(super) async fn begun(inner: Body, answers: Arc<Mutex<Answers>>) -> Self {
        let mut body = Self { inner, answers, current: None, first: None };
        std::future::poll_fn(|context| {
            if !body.inner.is_end_stream()
                && let Poll::Ready(frame) = body.poll_inner(context)
            {
                body.first = Some(frame);
            }
            Poll::Ready(())
        })
        .await;
        body
    }

    /// The next frame; a large one is kept with the others, and only its first piece is given.
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Polled> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        match frame.into_data() {
            Ok(bytes) if bytes.len() >= LARGE_BYTES => {
                let mut bytes = bytes;
                let piece = bytes.split_to(PIECE_BYTES);
                let (number, place) = lock(&self.answers).keep(bytes);
                self.current = Some(Current { number, place, answers: Arc::clone(&self.answers) });
                // A copy, as the piece would keep all of them alive.
                Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
            }
            Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Err(frame) => Poll::Ready(Some(Ok(frame))),
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Polled> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        if let Some(current) = &self.current {
            let piece = current.piece();
            if !matches!(piece, Ok((_, false))) {
                self.current = None;
            }
            let frame = piece.map_or_else(
                |status| {
                    // Nothing of the answer follows; its reader receives the reason.
                    self.inner = Body::empty();
                    let mut trailers = http::HeaderMap::new();
                    status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
                },
                |(piece, _)| Ok(Frame::data(Bytes::copy_from_slice(&piece))),
            );
            return Poll::Ready(Some(frame));
        }
        self.poll_inner(context)
    }

    fn is_end_stream(&self) -> bool {
        self.current.is_none()
            && match &self.first {
                Some(first) => first.is_none(),
                None => self.inner.is_end_stream(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_answers_that_are_not_read_the_oldest_give_way() {
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let large = || Bytes::from(vec![7; 1 << 20]);
        let mut unread = Vec::new();
        for _ in 0..100 {
            let (number, place) = lock(&answers).keep(large());
            unread.push(Current { number, place, answers: Arc::clone(&answers) });
            assert!(lock(&answers).bytes <= ANSWERS_BYTES_MAX);
        }
        assert!(unread[35].piece().is_err() && unread[36].piece().is_ok());
        drop(unread);
        let left = lock(&answers);
        assert_eq!((left.bytes, left.waiting.len()), (0, 0));
    }
}
