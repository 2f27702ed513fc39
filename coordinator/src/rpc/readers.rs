//! Streams for readers that may be slow: so much waits for them, each message for so long, and then the stream ends. How it ends
//! they always learn: one that just stopped would look as if it were whole.

use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit, error::SendTimeoutError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::api::task_ended;

/// What a reader reads.
pub(super) type Messages<T> = ReceiverStream<Result<T, Status>>;

/// The way to one reader.
#[derive(Debug)]
pub(super) struct Reader<T> {
    messages: mpsc::Sender<Result<T, Status>>,
    /// Room for how it ends.
    end: OwnedPermit<Result<T, Status>>,
    /// How long a message may wait for room.
    within: Duration,
}

impl<T> Reader<T> {
    /// A reader for whom `waiting_max` messages may wait, each for `within` before it has room, and what it reads.
    pub(super) fn new(waiting_max: usize, within: Duration) -> Result<(Self, Messages<T>), Status> {
        let (messages, read) = mpsc::channel(waiting_max + 1);
        let end = messages.clone().try_reserve_owned().map_err(|_| Status::from(task_ended()))?;
        Ok((Self { messages, end, within }, ReceiverStream::new(read)))
    }

    /// Sends a message, once there is room for it; an error is a reason to end.
    pub(super) async fn send(&self, message: T) -> Result<(), Status> {
        self.messages.send_timeout(Ok(message), self.within).await.map_err(|error| match error {
            SendTimeoutError::Closed(_) => Status::cancelled("no one reads any more"),
            SendTimeoutError::Timeout(_) => Status::deadline_exceeded(format!(
                "what was sent was not read for {} s; others wait for their turn",
                self.within.as_secs()
            )),
        })
    }

    /// Resolves when no one reads any more.
    pub(super) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Ends the stream.
    pub(super) fn end(self, how: Result<(), Status>) {
        if let Err(status) = how {
            // Who does not read any more is not told.
            self.end.send(Err(status));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn who_reads_too_slowly_learns_that_the_rest_is_missing() {
        let (reader, mut read) = Reader::new(2, Duration::from_millis(1)).unwrap();
        let sent = async {
            for number in 0.. {
                reader.send(number).await?;
            }
            Ok(())
        };
        let sent = sent.await;
        reader.end(sent);
        for number in [0, 1] {
            assert_eq!(read.next().await.unwrap().unwrap(), number);
        }
        assert_eq!(read.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(read.next().await.is_none());
    }
}
