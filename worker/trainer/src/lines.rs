//! The lines between agent and trainer: a reader thread reads requests from the input and passes them on; events are
//! written to the output as whole lines.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{
        Mutex, PoisonError,
        mpsc::{SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use trainer_protocol::{FromTrainer, LINE_BYTES_MAX, ToTrainer};

/// Requests that wait while a data set is prepared. An agent sends one `Train` and one `Stop` for each of its jobs, and
/// no device holds this many jobs; more waiting requests mean a broken agent.
pub(super) const REQUESTS_WAITING_MAX: usize = 1024;

/// Time between two hints about the same thing (preparing, a job's progress): five a second look alive.
pub(super) const HINT_INTERVAL: Duration = Duration::from_millis(200);

/// Why a trainer cannot continue the conversation.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Standard input failed.
    #[error("the agent's requests cannot be read: {0}")]
    Input(io::Error),
    /// Standard output failed; the agent is gone.
    #[error("the agent no longer accepts events: {0}")]
    Output(io::Error),
    /// A line that is too long for a request.
    #[error("a request of more than {LINE_BYTES_MAX} bytes; is the other side an agent of this version?")]
    LineTooLong,
    /// A line that is not a request.
    #[error("not a request: {0}; is the other side an agent of this version?")]
    Malformed(serde_json::Error),
    /// `Train` while a job was in training.
    #[error(
        "a second request to train came while a job was in training; a trainer trains one request at a time"
    )]
    Busy,
    /// Requests piled up.
    #[error(
        "more than {REQUESTS_WAITING_MAX} requests wait; a trainer expects one to train, and one to stop for each job"
    )]
    TooManyRequests,
    /// An error on a CUDA device, after which it may be unusable for this process.
    #[error("training failed on the CUDA device: {0}")]
    DeviceLost(String),
}

/// What the reader thread passes on.
pub(super) type Request = Result<ToTrainer, SessionError>;

/// Why there will be no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestsEnd {
    /// The agent closed its end.
    Closed,
    /// The last request that was passed on says what is wrong.
    Broken,
}

/// Reads requests until the input ends or is not a request; an error is passed on last.
pub(super) fn read_requests(mut input: impl BufRead, requests: &SyncSender<Request>) -> RequestsEnd {
    loop {
        let request = match read_request(&mut input) {
            Ok(None) => return RequestsEnd::Closed,
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        let last = request.is_err();
        match requests.try_send(request) {
            Ok(()) if !last => {}
            Ok(()) | Err(TrySendError::Disconnected(_)) => return RequestsEnd::Broken,
            Err(TrySendError::Full(_)) => {
                // Waits until the trainer reads its requests, between two batches at the latest.
                let _ = requests.send(Err(SessionError::TooManyRequests));
                return RequestsEnd::Broken;
            }
        }
    }
}

fn read_request(input: &mut impl BufRead) -> Result<Option<ToTrainer>, SessionError> {
    let mut line = Vec::new();
    input.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).map_err(SessionError::Input)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(SessionError::LineTooLong);
    }
    serde_json::from_slice(&line).map(Some).map_err(SessionError::Malformed)
}

/// The output: whole lines, each flushed, from any thread.
pub(super) struct Output<W> {
    state: Mutex<OutputState<W>>,
}

struct OutputState<W> {
    writer: W,
    last_hint: Option<Instant>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { state: Mutex::new(OutputState { writer, last_hint: None }) }
    }

    /// # Errors
    /// The output cannot be written.
    pub(super) fn send(&self, event: &FromTrainer) -> Result<(), SessionError> {
        let mut line = serde_json::to_vec(event).map_err(|error| SessionError::Output(error.into()))?;
        line.push(b'\n');
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.writer.write_all(&line).and_then(|()| state.writer.flush()).map_err(SessionError::Output)
    }

    /// Sends a hint unless the last one was just sent.
    pub(super) fn hint(&self, event: &FromTrainer) -> Result<(), SessionError> {
        self.hints(|| std::iter::once(event.clone()))
    }

    /// Lets the next hint through, however recent the last one was.
    pub(super) fn next_hint_is_due(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last_hint = None;
    }

    /// Sends some hints, which are only made if they are due.
    pub(super) fn hints<Hints: Iterator<Item = FromTrainer>>(
        &self,
        hints: impl FnOnce() -> Hints,
    ) -> Result<(), SessionError> {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.last_hint.is_some_and(|last| last.elapsed() < HINT_INTERVAL) {
                return Ok(());
            }
            state.last_hint = Some(Instant::now());
        }
        hints().try_for_each(|event| self.send(&event))
    }
}
