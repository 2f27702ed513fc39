//! Files for readers that may be slow, made while they are read: so much waits to be read, each piece for so long, and then the answer ends.
//! How it ends a reader always learns: one that just stopped would look as if it were whole.

use std::{io, time::Duration};

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
/// How long one may wait before what it is of is closed for others.
const PIECE_WITHIN: Duration = Duration::from_secs(60);
/// Longest name of a file, in characters: systems take 255 bytes.
const NAME_CHARACTERS_MAX: usize = 80;

/// Why a file ends before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("what was sent was not read in time; others wait for their turn")]
    Slow,
    #[error("no one reads any more")]
    Gone,
    #[error("the coordinator stops")]
    Stopped,
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// The way to one reader.
#[derive(Debug)]
pub(super) struct Sending {
    pieces: mpsc::Sender<Result<Bytes, Cut>>,
    /// How long a piece may wait for room.
    within: Duration,
}

impl Sending {
    /// Sends a piece, once there is room for it; an error is a reason to end.
    pub(super) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Cut> {
        self.pieces.send_timeout(Ok(piece.into()), self.within).await.map_err(|error| match error {
            SendTimeoutError::Closed(_) => Cut::Gone,
            SendTimeoutError::Timeout(_) => Cut::Slow,
        })
    }
}

/// The content that `work` sends, until it has ended or `stop` says that the coordinator does.
pub(super) fn body<W>(stop: CancellationToken, work: impl FnOnce(Sending) -> W) -> Result<Body, ApiError>
where
    W: Future<Output = Result<(), Cut>> + Send + 'static,
{
    body_within(PIECE_WITHIN, stop, work)
}

fn body_within<W>(
    within: Duration,
    stop: CancellationToken,
    work: impl FnOnce(Sending) -> W,
) -> Result<Body, ApiError>
where
    W: Future<Output = Result<(), Cut>> + Send + 'static,
{
    let (pieces, read) = mpsc::channel(PIECES_WAITING_MAX + 1);
    // Room for how it ends.
    let end = pieces.clone().try_reserve_owned().map_err(|_| task_ended())?;
    let work = work(Sending { pieces: pieces.clone(), within });
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
        let body = body_within(Duration::from_millis(1), CancellationToken::new(), async |sending| {
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
        assert!(end.to_string().contains("was not read in time"), "{end}");
        assert!(read.next().await.is_none());
    }

    #[tokio::test]
    async fn a_coordinator_that_stops_cuts_what_it_sends() {
        let stop = CancellationToken::new();
        let body = body(stop.clone(), async |sending| {
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
