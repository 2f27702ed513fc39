//! The output of a trainer: its lines become events, and its standard error becomes its log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use terms::{TEXT_CHARACTERS_MAX, cut};
use tokio::{
    io::AsyncRead,
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    super::{
        asked_weights::AskedWeights,
        lines::{Line, LineReader},
        session::types::{OUTPUT_CLOSED, TrainerEvent},
    },
    log::{LOG_LINES_OF_GOOD_MAX, Log},
};
use trainer_protocol::{FromTrainer, LINE_BYTES_MAX, TrainerOutcome};

/// Longest part of an invalid line that is shown, and longest reason, which may repeat it, in characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// Log lines that are read before a message gets its turn: a pipe's worth of short ones. A trainer that floods its log
/// is still heard.
const LOG_LINES_AT_ONCE_MAX: usize = 10_000;

/// Time between two signs of life from log lines: as between the hints of our own trainer.
const ALIVE_INTERVAL: Duration = Duration::from_millis(200);

/// How long a trainer may live without its standard output: one that ends closes it as well, and its keeper may need
/// most of this for its descendants.
const CLOSED_TO_END: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 20 });

/// Holds back the lines of a trainer that was started before there was a job for it.
pub(super) struct Gate {
    /// Receives the first line.
    pub(super) first: oneshot::Sender<TrainerEvent>,
    pub(super) adopted: oneshot::Receiver<()>,
}

/// Reads both pipes in one task, and before each message everything that is in the log, so that lines written before a
/// job's end are known when the end is.
pub(super) struct Reader {
    pub(super) slot: usize,
    pub(super) events: mpsc::Sender<(usize, TrainerEvent)>,
    pub(super) log: Log,
    pub(super) gate: Option<Gate>,
    /// Is notified of the first message.
    pub(super) ready: Option<oneshot::Sender<()>>,
    /// When a log line was last reported as a sign of life.
    pub(super) alive_at: Option<Instant>,
    pub(super) weights: Option<AskedWeights>,
    pub(super) is_busy: Arc<AtomicBool>,
}

impl Reader {
    /// Reads until both pipes are closed. `ended` resolves when the process has ended.
    pub(super) async fn run(
        mut self,
        stdout: impl AsyncRead + Unpin,
        stderr: impl AsyncRead + Unpin,
        mut ended: oneshot::Receiver<()>,
    ) -> Vec<String> {
        // The deadline of a process whose output is closed.
        let mut end_by = None;
        let mut stdout = Some(LineReader::new(stdout, LINE_BYTES_MAX));
        // Four bytes are the longest character of UTF-8.
        let mut stderr = Some(LineReader::new(stderr, 4 * TEXT_CHARACTERS_MAX));
        let mut log_lines = 0;
        while stdout.is_some() || stderr.is_some() || end_by.is_some() {
            tokio::select! {
                biased;
                _ = &mut ended, if end_by.is_some() => end_by = None,
                () = until(end_by) => {
                    end_by = None;
                    self.deliver(TrainerEvent::Broken { reason: OUTPUT_CLOSED.to_owned() }).await;
                }
                line = next_line(&mut stderr), if log_lines < LOG_LINES_AT_ONCE_MAX => match line {
                    Some(Line::Whole(line) | Line::TooLong(line)) => {
                        self.hear_log(&line);
                        log_lines += 1;
                        if log_lines == LOG_LINES_AT_ONCE_MAX {
                            // With its cooperative budget used up, it would find nothing in the other pipe.
                            tokio::task::yield_now().await;
                        }
                    }
                    None => stderr = None,
                },
                line = next_line(&mut stdout) => match line {
                    Some(line) => {
                        log_lines = 0;
                        tokio::task::unconstrained(self.catch_up(&mut stderr)).await;
                        if !self.hear(line).await {
                            stdout = None;
                        }
                    }
                    None => {
                        stdout = None;
                        end_by = Some(Instant::now() + CLOSED_TO_END);
                    }
                },
                () = std::future::ready(()), if log_lines == LOG_LINES_AT_ONCE_MAX => log_lines = 0,
            }
        }
        self.log.lines()
    }

    /// Reads what is in the log.
    async fn catch_up(&mut self, stderr: &mut Option<LineReader<impl AsyncRead + Unpin>>) {
        for _ in 0..LOG_LINES_AT_ONCE_MAX {
            tokio::select! {
                biased;
                line = next_line(stderr) => match line {
                    Some(Line::Whole(line) | Line::TooLong(line)) => self.hear_log(&line),
                    None => *stderr = None,
                },
                () = std::future::ready(()) => return,
            }
        }
    }

    fn hear_log(&mut self, line: &[u8]) {
        // No one counts the silence of a trainer that was not adopted.
        if self.gate.is_none() && self.alive_at.is_none_or(|at| at.elapsed() >= ALIVE_INTERVAL) {
            self.alive_at = Some(Instant::now());
            // If there is no room, the session is not listening and counts no silence.
            let _ = self.events.try_send((self.slot, TrainerEvent::Alive));
        }
        tracing::debug!(slot = self.slot, "trainer: {}", String::from_utf8_lossy(line));
        self.log.push(line);
    }

    /// False when there is nothing more to read.
    async fn hear(&mut self, line: Line) -> bool {
        let event = match line {
            Line::TooLong(_) => TrainerEvent::Broken {
                reason: format!("the trainer wrote a line of more than {LINE_BYTES_MAX} bytes"),
            },
            Line::Whole(line) if is_foreign(&line) => {
                self.hear_log(&line);
                return true;
            }
            Line::Whole(line) => self.understand(&line),
        };
        self.deliver(event).await
    }

    /// False when there is nothing more to read.
    async fn deliver(&mut self, event: TrainerEvent) -> bool {
        self.is_busy.store(true, Ordering::Relaxed);
        let event = self.with_weights(event).await;
        let goes_on = self.pass_on(event).await;
        self.is_busy.store(false, Ordering::Relaxed);
        goes_on
    }

    /// Adds the weights of a job that is done. The trainer, which is idle then, waits for it.
    async fn with_weights(&self, mut event: TrainerEvent) -> TrainerEvent {
        if let TrainerEvent::Said { message: FromTrainer::Ended { id, outcome, .. }, weights, .. } =
            &mut event
            && let Some(asked) = &self.weights
        {
            *weights = asked.left_by(id, *outcome == TrainerOutcome::Done).await;
        }
        event
    }

    /// False when there is nothing more to read.
    async fn pass_on(&mut self, event: TrainerEvent) -> bool {
        let is_broken = matches!(event, TrainerEvent::Broken { .. });
        if let Some(Gate { first, adopted }) = self.gate.take() {
            // Whoever no longer waits for it will not adopt it either.
            let _ = first.send(event.clone());
            if adopted.await.is_err() {
                return false;
            }
        }
        let is_heard = self.events.send((self.slot, event)).await.is_ok() && !is_broken;
        if let Some(ready) = self.ready.take().filter(|_| is_heard) {
            // Only fails if the process is being given up.
            let _ = ready.send(());
        }
        is_heard
    }

    fn understand(&mut self, line: &[u8]) -> TrainerEvent {
        match serde_json::from_slice::<FromTrainer>(line) {
            Ok(message) => {
                let log_tail = match message {
                    FromTrainer::Ended {
                        outcome:
                            TrainerOutcome::Failed | TrainerOutcome::Rejected | TrainerOutcome::OutOfMemory,
                        ..
                    } => self.log.lines(),
                    FromTrainer::Ended { .. } => self.log.last_lines(LOG_LINES_OF_GOOD_MAX),
                    _ => Vec::new(),
                };
                TrainerEvent::Said { message, log_tail, weights: None }
            }
            Err(error) => {
                let shown: String =
                    String::from_utf8_lossy(line).chars().take(SHOWN_CHARACTERS_MAX).collect();
                let error = cut(error.to_string(), SHOWN_CHARACTERS_MAX);
                TrainerEvent::Broken {
                    reason: format!(
                        "the trainer wrote a line that is not of the trainer protocol: {shown:?} ({error})"
                    ),
                }
            }
        }
    }
}

/// Whether a line is not meant for the worker, such as a library's output: it belongs to the log. An object with a type
/// is meant, and must be valid.
fn is_foreign(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    !text.trim_start().starts_with('{') || !text.contains("\"type\"")
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next line of an open pipe; waits indefinitely on a closed one.
async fn next_line(reader: &mut Option<LineReader<impl AsyncRead + Unpin>>) -> Option<Line> {
    match reader {
        // A pipe that cannot be read counts as closed.
        Some(reader) => reader.next().await.unwrap_or(None),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
