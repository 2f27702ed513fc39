//! How long a message that has begun may take. Only the time counts in which its reader waits and nothing comes: a call
//! is not failed for what the coordinator itself is slow at.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

/// How long nothing of a message may come: as long as a connection takes to notice that its other side is gone.
const PIECE_WITHIN: Duration = Duration::from_secs(10);
/// How long a message may be waited for in all: the largest one over a line of 600 kbit/s.
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);

/// The two bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) piece: Duration,
    pub(super) message: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { piece: PIECE_WITHIN, message: MESSAGE_WITHIN }
    }
}

/// The patience with one call's messages.
#[derive(Debug)]
pub(super) struct Patience {
    deadlines: Deadlines,
    /// How long the message was waited for, without the wait that runs.
    waited: Duration,
    /// The wait that runs: since when, and its end.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    pub(super) fn new(deadlines: Deadlines) -> Self {
        Self { deadlines, waited: Duration::ZERO, wait: None }
    }

    /// Something came.
    pub(super) fn went_on(&mut self) {
        if let Some((since, _)) = self.wait.take() {
            // A reader that did other things meanwhile waited no longer than it would have.
            self.waited += since.elapsed().min(self.deadlines.piece);
        }
    }

    /// The message is whole; the next one has its own time.
    pub(super) fn renew(&mut self) {
        self.waited = Duration::ZERO;
    }

    /// Nothing came, in the middle of a message: resolves when that has lasted for too long.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let Deadlines { piece, message } = self.deadlines;
        let left = piece.min(message.saturating_sub(self.waited));
        let (_, end) = self.wait.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        ready!(end.as_mut().poll(context));
        Poll::Ready(Status::deadline_exceeded(if left < piece {
            format!(
                "a message was sent in part and not to its end within {} s; send it again",
                message.as_secs()
            )
        } else {
            format!("a message was sent in part, then nothing for {} s; send it again", piece.as_secs())
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_message_that_goes_on_in_small_pieces_has_an_end_too() {
        let deadlines = Deadlines { piece: Duration::from_secs(3_600), message: Duration::from_millis(20) };
        let mut patience = Patience::new(deadlines);
        let mut pieces = 0;
        let status = loop {
            let wait = poll_fn(|context| patience.poll_end(context));
            match tokio::time::timeout(Duration::from_millis(5), wait).await {
                Ok(status) => break status,
                Err(_) => {
                    pieces += 1;
                    patience.went_on();
                }
            }
        };
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert!(pieces <= 4, "{pieces} of 5 ms each");
    }

    #[tokio::test]
    async fn each_message_has_its_own_time() {
        let deadlines = Deadlines { piece: Duration::from_secs(3_600), message: Duration::from_secs(1) };
        let mut patience = Patience::new(deadlines);
        patience.waited = deadlines.message;
        patience.renew();
        let ended = tokio::time::timeout(Duration::ZERO, poll_fn(|context| patience.poll_end(context))).await;
        assert!(ended.is_err(), "{ended:?}");
    }
}
