//! One trainer process: how it is started, how its lines become events, how it is killed. What a line means is decided by
//! the session.

mod ending;
mod input;
mod log;

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::{TEXT_CHARACTERS_MAX, cut};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::AsyncRead,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use self::{
    ending::{describe, signal_of_code},
    input::write_lines,
    log::{LOG_LINES_OF_GOOD_MAX, Log},
};
use super::{
    asked_weights::AskedWeights,
    child::{Role, detach},
    containment::kill_descendants,
    lines::{Line, LineReader},
    session::types::{OUTPUT_CLOSED, TrainerEvent},
    weights::WeightsFolder,
};
use crate::protocol::{FromTrainer, LINE_BYTES_MAX, PACK_SIZE_MAX, ToTrainer, TrainerOutcome};

/// Longest part of a line that is not understood, and longest reason for that, which may repeat it, in characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// Log lines that are read before a message gets its turn: a pipe's worth of short ones. One that floods its log is heard
/// all the same.
const LOG_LINES_AT_ONCE_MAX: usize = 10_000;

/// Time between two signs of life by lines of the log: as between the hints of the own trainer.
const ALIVE_INTERVAL: Duration = Duration::from_millis(200);

/// Lines that wait for a trainer that does not read: a `Train` and a `Stop` for each of its jobs, and room to spare.
const LINES_TO_TRAINER_MAX: usize = 2 * PACK_SIZE_MAX as usize;

/// How long a pipe may stay open after the trainer's end, held by a process that left its group.
const PIPES_CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// How long a trainer may live on without its standard output: one that ends closes it, too, and its keeper may need most
/// of this for what is left of it.
const CLOSED_TO_END: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 20 });

/// How often a trainer that was killed and is still there is killed again: it may have started something after the look
/// for what it had started, and stopped its keeper.
const KILLED_AGAIN_EVERY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// The signals that ask a program to leave.
const LEAVING: [i32; 3] = [Signal::TERM.as_raw(), Signal::INT.as_raw(), Signal::HUP.as_raw()];

/// How a trainer is started.
#[derive(Debug, Clone)]
pub(crate) struct TrainerCommand {
    /// What people see of it.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: std::path::PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<std::ffi::OsString>,
    /// Variables besides those of the agent.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What to do where it cannot work.
    pub(crate) mend: &'static str,
    /// What it is to this process.
    pub(crate) role: Role,
    /// Whether it is started with the worker, which takes no jobs before it is ready; otherwise with its first job.
    pub(crate) ahead: bool,
    /// Where it leaves trained weights, where any are kept.
    pub(crate) weights: Option<Arc<WeightsFolder>>,
}

/// Names the place for checkpoints to the trainer.
pub(super) const CHECKPOINTS_VARIABLE: &str = "SWEEP_TRAINER_CHECKPOINTS";

impl TrainerCommand {
    /// Whether there is a place for checkpoints.
    pub(crate) fn has_place(&self) -> bool {
        self.environment.iter().any(|(name, _)| *name == CHECKPOINTS_VARIABLE)
    }
}

/// A trainer that runs, or has run and was not reaped yet.
#[derive(Debug)]
pub(crate) struct TrainerProcess {
    child: Child,
    /// Until it has ended.
    pid: Option<Pid>,
    role: Role,
    to_trainer: mpsc::Sender<ToTrainer>,
    /// Says how many requests to train the trainer has read.
    writer: JoinHandle<u32>,
    /// Dropped when the trainer's input is to end.
    input: Option<oneshot::Sender<()>>,
    reader: JoinHandle<Vec<String>>,
    /// The reader works on a message, and so waits for this worker and not for a pipe.
    is_busy: Arc<AtomicBool>,
    adopted: Option<oneshot::Sender<()>>,
    has_had_jobs: AtomicBool,
    was_killed: bool,
    /// Dropped when the process has ended.
    lives: Option<oneshot::Sender<()>>,
    /// Its log so far is of jobs that are over.
    log_is_old: Arc<AtomicBool>,
    weights: Option<AskedWeights>,
}

/// Keeps the lines of a trainer back that was started before there was a job for it.
struct Gate {
    /// Is told the first line.
    first: oneshot::Sender<TrainerEvent>,
    /// Opens the gate.
    adopted: oneshot::Receiver<()>,
}

impl TrainerProcess {
    /// Starts the trainer of `slot`, whose lines go to `events`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start(
        slot: usize,
        command: &TrainerCommand,
        events: mpsc::Sender<(usize, TrainerEvent)>,
    ) -> io::Result<Self> {
        Self::start_behind(None, slot, command, events)
    }

    /// The same for a trainer that is not needed yet: only its first line is told, and nothing goes to `events` before
    /// it is adopted.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start_ahead(
        slot: usize,
        command: &TrainerCommand,
        events: mpsc::Sender<(usize, TrainerEvent)>,
    ) -> io::Result<(Self, oneshot::Receiver<TrainerEvent>)> {
        let (first, told) = oneshot::channel();
        let (adopt, adopted) = oneshot::channel();
        let mut process = Self::start_behind(Some(Gate { first, adopted }), slot, command, events)?;
        process.adopted = Some(adopt);
        Ok((process, told))
    }

    /// From now on, its lines become events, from the first on.
    pub(crate) fn adopt(&mut self) {
        if let Some(adopted) = self.adopted.take() {
            // Fails where it has ended, which its exit tells.
            let _ = adopted.send(());
        }
    }

    fn start_behind(
        gate: Option<Gate>,
        slot: usize,
        command: &TrainerCommand,
        events: mpsc::Sender<(usize, TrainerEvent)>,
    ) -> io::Result<Self> {
        let mut starting = Command::new(&command.program);
        starting
            .arg0(command.name)
            .args(&command.arguments)
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A keeper ends by itself, when it has ended what it keeps.
            .kill_on_drop(command.role != Role::Keeper);
        detach(starting.as_std_mut(), command.role);
        let mut child = starting.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the trainer's pipes are missing"));
        };
        let (to_trainer, lines) = mpsc::channel(LINES_TO_TRAINER_MAX);
        let (ready, is_ready) = oneshot::channel();
        let (input, input_ended) = oneshot::channel();
        let writer = tokio::spawn(write_lines(stdin, lines, is_ready, input_ended));
        let log_is_old = Arc::new(AtomicBool::new(false));
        let log = Log::new(Arc::clone(&log_is_old));
        let (lives, ended) = oneshot::channel();
        let weights = command.weights.clone().map(AskedWeights::new);
        let is_busy = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            slot,
            events,
            log,
            gate,
            ready: Some(ready),
            weights: weights.clone(),
            alive_at: None,
            is_busy: Arc::clone(&is_busy),
        };
        let reader = tokio::spawn(reader.run(stdout, stderr, ended));
        Ok(Self {
            child,
            pid,
            role: command.role,
            to_trainer,
            writer,
            input: Some(input),
            reader,
            is_busy,
            adopted: None,
            has_had_jobs: AtomicBool::new(false),
            was_killed: false,
            lives: Some(lives),
            log_is_old,
            weights,
        })
    }

    /// Sends a line, without waiting: a trainer that has not read as many as wait is stuck, and is killed when it does
    /// not stop.
    pub(crate) fn send(&self, message: ToTrainer) {
        if matches!(message, ToTrainer::Train { .. }) && self.has_had_jobs.swap(true, Ordering::Relaxed) {
            self.log_is_old.store(true, Ordering::Relaxed);
        }
        self.weights.iter().for_each(|weights| weights.note(&message));
        if self.to_trainer.try_send(message).is_err() {
            tracing::warn!("the trainer does not read its input");
        }
    }

    /// Kills the trainer and everything that it started.
    pub(crate) fn kill(&mut self) {
        self.was_killed = true;
        self.kill_all();
    }

    fn kill_all(&mut self) {
        match self.pid {
            // The keeper finds what comes after this look: its input ends.
            Some(keeper) if self.role == Role::Keeper => {
                self.input = None;
                let found = kill_descendants(keeper);
                // What it keeps may have stopped it. It may be gone already, which is what is wanted.
                let _ = kill_process(keeper, Signal::CONT);
                if found == 0 {
                    let _ = kill_process(keeper, Signal::KILL);
                }
            }
            Some(leader) => {
                // It may be gone already, which is what is wanted.
                let _ = kill_process_group(leader, Signal::KILL);
            }
            None => {}
        }
    }

    /// Waits for the process's end, without reaping what it still has to say. May be dropped and called again.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    if self.role == Role::Keeper {
                        // Its number may soon be another process's.
                        self.pid = None;
                    }
                    return status;
                }
                () = tokio::time::sleep(KILLED_AGAIN_EVERY), if self.was_killed => self.kill_all(),
            }
        }
    }

    /// The end of the process, in words.
    pub(crate) fn describe(&self, status: io::Result<ExitStatus>) -> String {
        if self.was_killed { "the worker killed the trainer".to_owned() } else { describe(status) }
    }

    /// Whether the process, which has ended, was asked to leave by somebody else than this worker, who may have asked this
    /// worker, too.
    pub(crate) fn was_sent_away(&self, status: &io::Result<ExitStatus>) -> bool {
        let Ok(status) = status else { return false };
        let signal = status.signal().or_else(|| status.code().and_then(signal_of_code));
        !self.was_killed && signal.is_some_and(|signal| LEAVING.contains(&signal))
    }

    /// Whether the process, which has ended, lost the file of its data set, which it reads by memory map. Of somebody else's
    /// program it is not known what it maps: PyTorch's loaders die so where `/dev/shm` is full.
    pub(crate) fn lost_data(&self, status: &io::Result<ExitStatus>) -> bool {
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        self.role == Role::Trainer && !self.was_killed && signal == Some(Signal::BUS.as_raw())
    }

    /// After `exited`: that its output is closed is no fault any more, however long its end is kept back.
    pub(crate) fn note_end(&mut self) {
        self.lives = None;
    }

    /// After `exited`: delivers what the trainer wrote before its end, and removes the weights of what it did not end. Returns
    /// its last log lines and how many requests to train it had read.
    pub(crate) async fn last_words(mut self) -> (Vec<String>, u32) {
        // What it left behind in its group would keep the pipes open; what is left of a keeper is none of its own.
        if self.role != Role::Keeper {
            self.kill_all();
        }
        self.pid = None;
        self.note_end();
        // Who was not adopted by now is not going to be.
        (self.adopted, self.input) = (None, None);
        let trains_heard = (&mut self.writer).await.unwrap_or_default();
        let log = loop {
            match tokio::time::timeout(PIPES_CLOSED_WITHIN, &mut self.reader).await {
                Ok(log) => break log.unwrap_or_default(),
                // It waits for room in the spool, or for the disk that weights are forced to.
                Err(_) if self.is_busy.load(Ordering::Relaxed) => {}
                Err(_) => break Vec::new(),
            }
        };
        if let Some(weights) = &self.weights {
            weights.end().await;
        }
        (log, trains_heard)
    }
}

impl Drop for TrainerProcess {
    fn drop(&mut self) {
        self.kill();
        self.writer.abort();
        self.reader.abort();
    }
}

/// Reads both pipes in one task, and before each message all of the log that is there, so that lines that were
/// written before a job's end are known when the end is.
struct Reader {
    slot: usize,
    events: mpsc::Sender<(usize, TrainerEvent)>,
    log: Log,
    gate: Option<Gate>,
    /// Is told of the first message.
    ready: Option<oneshot::Sender<()>>,
    /// When a line of the log was last told as a sign of life.
    alive_at: Option<Instant>,
    weights: Option<AskedWeights>,
    is_busy: Arc<AtomicBool>,
}

impl Reader {
    /// Reads until both pipes are closed. `ended` resolves when the process has ended.
    async fn run(
        mut self,
        stdout: impl AsyncRead + Unpin,
        stderr: impl AsyncRead + Unpin,
        mut ended: oneshot::Receiver<()>,
    ) -> Vec<String> {
        // When a process whose output is closed must have ended.
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
                            // With what it may read at once used up, it would find nothing in the other pipe.
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

    /// Reads the log as far as it is written.
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
        // Nobody counts the silence of one that was not adopted.
        if self.gate.is_none() && self.alive_at.is_none_or(|at| at.elapsed() >= ALIVE_INTERVAL) {
            self.alive_at = Some(Instant::now());
            // Where it finds no room, the session does not listen, and counts no silence.
            let _ = self.events.try_send((self.slot, TrainerEvent::Alive));
        }
        tracing::debug!(slot = self.slot, "trainer: {}", String::from_utf8_lossy(line));
        self.log.push(line);
    }

    /// False when nothing more is to be read.
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

    /// False when nothing more is to be read.
    async fn deliver(&mut self, event: TrainerEvent) -> bool {
        self.is_busy.store(true, Ordering::Relaxed);
        let event = self.with_weights(event).await;
        let goes_on = self.pass_on(event).await;
        self.is_busy.store(false, Ordering::Relaxed);
        goes_on
    }

    /// False when nothing more is to be read.
    async fn pass_on(&mut self, event: TrainerEvent) -> bool {
        let is_broken = matches!(event, TrainerEvent::Broken { .. });
        if let Some(Gate { first, adopted }) = self.gate.take() {
            // Who does not wait for it any more does not adopt it either.
            let _ = first.send(event.clone());
            if adopted.await.is_err() {
                return false;
            }
        }
        let is_heard = self.events.send((self.slot, event)).await.is_ok() && !is_broken;
        if let Some(ready) = self.ready.take().filter(|_| is_heard) {
            // Fails where the process is being given up.
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

/// Whether a line is none that a trainer means for its worker, such as what a library prints: it belongs to the log. An
/// object with a type does mean something, and is to be understood.
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

impl Reader {
    /// Adds what a job that is done left. The trainer, which is idle then, waits for it.
    async fn with_weights(&self, mut event: TrainerEvent) -> TrainerEvent {
        if let TrainerEvent::Said { message: FromTrainer::Ended { id, outcome, .. }, weights, .. } =
            &mut event
            && let Some(asked) = &self.weights
        {
            *weights = asked.left_by(id, *outcome == TrainerOutcome::Done).await;
        }
        event
    }
}

/// The next line of a pipe that is open; waits for ever on one that is not.
async fn next_line(reader: &mut Option<LineReader<impl AsyncRead + Unpin>>) -> Option<Line> {
    match reader {
        // A pipe that cannot be read is as good as closed.
        Some(reader) => reader.next().await.unwrap_or(None),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
