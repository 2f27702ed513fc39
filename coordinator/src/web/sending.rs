//! Files for readers that may be slow, made while they are read. A few pieces wait to be read. For how long, a reader earns by what it reads:
//! one that never stopped and hardly read would hold a place that others need. How a file ends its reader always learns: one that just
//! stopped would look as if it were whole.

use std::{
    io,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::wanted;
use crate::api::{ApiError, task_ended};

/// Bytes of a piece.
pub(super) const PIECE_BYTES: usize = 32 << 10;
/// Pieces that may wait for a slow reader.
const PIECES_WAITING_MAX: usize = 8;
/// How long a reader is waited for at most, in all since it last kept up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a reader takes within this time to be waited for as long again: 17 KiB/s, which the slowest networks have.
const READ_WITHIN_PATIENCE: u32 = 1 << 20;
/// Longest name of a file, in characters: systems take 255 bytes.
const NAME_CHARACTERS_MAX: usize = 80;

/// Why a file ends before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("what was sent was read too slowly; others wait for their turn")]
    Slow,
    #[error("no one reads any more")]
    Gone,
    #[error("the coordinator stops")]
    Stopped,
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Write(#[from] io::Error),
    #[error(transparent)]
    Export(#[from] export::ExportError),
}

/// The way to one reader.
#[derive(Debug)]
pub(super) struct Sending {
    pieces: mpsc::Sender<Result<Bytes, Cut>>,
    patience: Patience,
}

impl Sending {
    /// Sends bytes, as pieces, each once there is room for it; an error is a reason to end.
    pub(super) async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), Cut> {
        let mut bytes: Bytes = bytes.into();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            let (length, since) = (piece.len(), Instant::now());
            self.pieces.send_timeout(Ok(piece), self.patience.left).await.map_err(|error| match error {
                SendTimeoutError::Closed(_) => Cut::Gone,
                SendTimeoutError::Timeout(_) => Cut::Slow,
            })?;
            self.patience.waited(since.elapsed(), length);
        }
        Ok(())
    }
}

/// How long a reader is still waited for.
#[derive(Debug)]
struct Patience {
    most: Duration,
    left: Duration,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self { most, left: most }
    }

    /// So long it took until there was room for so many bytes, as others were read.
    fn waited(&mut self, waited: Duration, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = self.most.saturating_mul(bytes) / READ_WITHIN_PATIENCE;
        self.left = (self.left.saturating_sub(waited) + earned).min(self.most);
    }
}

/// The content that `work` sends, until it has ended or `stop` says that the coordinator does.
pub(super) fn body<W>(stop: CancellationToken, work: impl FnOnce(Sending) -> W) -> Result<Body, ApiError>
where
    W: Future<Output = Result<(), Cut>> + Send + 'static,
{
    body_within(PATIENCE, stop, work)
}

fn body_within<W>(
    patience: Duration,
    stop: CancellationToken,
    work: impl FnOnce(Sending) -> W,
) -> Result<Body, ApiError>
where
    W: Future<Output = Result<(), Cut>> + Send + 'static,
{
    let (pieces, read) = mpsc::channel(PIECES_WAITING_MAX + 1);
    // Room for how it ends.
    let end = pieces.clone().try_reserve_owned().map_err(|_| task_ended())?;
    let work = work(Sending { pieces: pieces.clone(), patience: Patience::new(patience) });
    tokio::spawn(async move {
        let sent = tokio::select! {
            sent = work => sent,
            () = pieces.closed() => return,
            () = stop.cancelled() => Err(Cut::Stopped),
        };
        if let Err(cut) = sent {
            tracing::debug!("a download ended before its end: {cut}");
            end.send(Err(cut));
        }
    });
    Ok(Body::from_stream(ReceiverStream::new(read)))
}

/// A file that a browser keeps under this name and shows to no one, whatever is in it.
pub(super) fn attachment(name: &str, kind: &'static str, body: Body) -> Response {
    let name = safe(name);
    let plain: String = name.chars().map(|c| if c.is_ascii() { c } else { '-' }).collect();
    let disposition =
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", wanted::encoded(&name));
    let disposition = HeaderValue::try_from(disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, disposition),
        (header::ACCEPT_RANGES, HeaderValue::from_static("none")),
    ];
    (headers, body).into_response()
}

/// A name with nothing in it that leads elsewhere; of a long one, its end is kept, as it says what the file is.
fn safe(name: &str) -> String {
    let safe: Vec<char> =
        name.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let end = safe.len().saturating_sub(NAME_CHARACTERS_MAX / 2);
    let shown = if safe.len() <= NAME_CHARACTERS_MAX {
        safe.iter().collect::<String>()
    } else {
        safe[..NAME_CHARACTERS_MAX / 2].iter().chain(&safe[end..]).collect()
    };
    shown.trim_start_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn who_reads_too_slowly_learns_that_the_rest_is_missing() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let body = body_within(Duration::from_millis(1), CancellationToken::new(), async |mut sending| {
            let mut sent = Ok(());
            while sent.is_ok() {
                sent = sending.send(vec![7; 10]).await;
            }
            tell.send(()).unwrap();
            sent
        });
        told.await.unwrap();
        let mut read = body.unwrap().into_data_stream();
        for _ in 0..PIECES_WAITING_MAX {
            assert_eq!(read.next().await.unwrap().unwrap().len(), 10);
        }
        let end = read.next().await.unwrap().unwrap_err();
        assert!(end.to_string().contains("read too slowly"), "{end}");
        assert!(read.next().await.is_none());
    }

    #[tokio::test]
    async fn who_always_reads_a_little_holds_no_place() {
        let (most, pause) = (Duration::from_millis(300), Duration::from_millis(200));
        let body = body_within(most, CancellationToken::new(), async |mut sending| {
            for _ in 0..1_000 {
                sending.send(vec![7; 10]).await?;
            }
            Ok(())
        });
        let mut read = body.unwrap().into_data_stream();
        let mut pieces = 0;
        while read.next().await.unwrap().is_ok() {
            pieces += 1;
            if pieces < PIECES_WAITING_MAX + 4 {
                tokio::time::sleep(pause).await;
            }
        }
        assert!(pieces < PIECES_WAITING_MAX + 4, "{pieces} were read, and each was waited for");
    }

    #[test]
    fn a_reader_is_waited_for_as_long_as_it_keeps_up_on_the_whole() {
        // How many pieces it takes until it is not waited for any more.
        let read = |bytes: usize, each: Duration| {
            let mut patience = Patience::new(PATIENCE);
            (0..10_000)
                .take_while(|_| {
                    let is_waited_for = each <= patience.left;
                    patience.waited(each, bytes);
                    is_waited_for
                })
                .count()
        };
        let second = Duration::from_secs(1);
        assert_eq!(read(PIECE_BYTES, 59 * second), 1);
        assert!(read(PIECE_BYTES, 3 * second) < 60);
        assert_eq!(read(PIECE_BYTES, second), 10_000);
        assert_eq!(read(1 << 20, 59 * second), 10_000);
        assert_eq!(read(1, second / 10), 600, "a byte earns nothing to speak of");
    }

    #[tokio::test]
    async fn what_is_long_is_sent_as_pieces() {
        let body = body(CancellationToken::new(), async |mut sending| sending.send(vec![7; 2_000_000]).await);
        let mut read = body.unwrap().into_data_stream();
        let mut lengths = Vec::new();
        while let Some(piece) = read.next().await {
            lengths.push(piece.unwrap().len());
        }
        assert_eq!(lengths.iter().sum::<usize>(), 2_000_000);
        assert!(lengths.iter().all(|length| (1..=PIECE_BYTES).contains(length)), "{lengths:?}");
    }

    #[tokio::test]
    async fn a_coordinator_that_stops_cuts_what_it_sends() {
        let stop = CancellationToken::new();
        let body = body(stop.clone(), async |mut sending| {
            sending.send("begun").await?;
            std::future::pending().await
        });
        let mut read = body.unwrap().into_data_stream();
        assert_eq!(read.next().await.unwrap().unwrap(), "begun");
        stop.cancel();
        assert!(read.next().await.unwrap().is_err());
    }

    #[test]
    fn a_file_has_a_name_that_leads_nowhere() {
        let named = |name: &str| {
            let file = attachment(name, "text/csv", Body::empty());
            file.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned()
        };
        assert_eq!(named("a-1.csv"), "attachment; filename=\"a-1.csv\"; filename*=UTF-8''a-1.csv");
        assert_eq!(
            named("../\"é\r\n;x.csv"),
            "attachment; filename=\"----x.csv\"; filename*=UTF-8''%C3%A9---x.csv"
        );
        assert!(named(&format!("{}-1.csv", "語".repeat(300))).ends_with("-1.csv"));
    }
}
