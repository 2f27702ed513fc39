//! One trainer process: how it is started, how its lines become events, how it is killed. The session decides what a
//! line means.

mod ending;
mod input;
mod log;
mod reader;

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

use program::{
    memory::{MemoryGroups, OomKills},
    processes::{Role, detach, kill_descendants},
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    ending::{describe, signal_of_code},
    input::write_lines,
    log::Log,
    reader::{Gate, Reader},
};
use super::{asked_weights::AskedWeights, cgroups, session::types::TrainerEvent, weights::WeightsFolder};
use trainer_protocol::{CheckpointPlan, ONLY_WHEN_ASKED, PACK_SIZE_MAX, ToTrainer};

/// Lines that wait for a trainer that does not read: a `Train` and a `Stop` for each of its jobs, with a margin.
const LINES_TO_TRAINER_MAX: usize = 2 * PACK_SIZE_MAX as usize;

/// How long a pipe may stay open after the trainer's end, held by a process that left its group.
const PIPES_CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// How often a killed trainer that is still there is killed again: it may have started a process after the search for
/// its descendants, and stopped its keeper.
const KILLED_AGAIN_EVERY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// The signals that ask a program to leave.
const LEAVING: [i32; 4] =
    [Signal::TERM.as_raw(), Signal::INT.as_raw(), Signal::HUP.as_raw(), Signal::USR1.as_raw()];

/// How a trainer is started.
#[derive(Debug, Clone)]
pub(crate) struct TrainerCommand {
    /// Its name for people.
    pub(crate) name: &'static str,
    pub(crate) program: std::path::PathBuf,
    pub(crate) arguments: Vec<std::ffi::OsString>,
    /// Variables besides those of the agent.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What to do if it cannot work.
    pub(crate) remedy: &'static str,
    /// Its relation to this process.
    pub(crate) role: Role,
    /// Whether it is started with the worker, which takes no jobs before it is ready; otherwise with its first job.
    pub(crate) ahead: bool,
    /// Where it leaves trained weights, if any are kept.
    pub(crate) weights: Option<Arc<WeightsFolder>>,
    /// Whether its place for checkpoints is this machine's own, which is for jobs that pause; of others, a checkpoint is only kept
    /// to be handed over.
    pub(crate) place_is_own: bool,
}

/// Tells the trainer the place for checkpoints.
pub(super) const CHECKPOINTS_VARIABLE: &str = "SWEEP_TRAINER_CHECKPOINTS";

impl TrainerCommand {
    /// What is kept of a job, which `pauses` or not; none where there is no place. Between hand-overs, other workers would not find
    /// what lies on this machine, so it is not worth the time unless the sweep says how often.
    pub(crate) fn plan(&self, plan: CheckpointPlan, pauses: bool) -> Option<CheckpointPlan> {
        let is_only_to_hand_over = self.place_is_own && !pauses && plan.every_epochs == 0;
        let every_epochs = if is_only_to_hand_over { ONLY_WHEN_ASKED } else { plan.every_epochs };
        let has_place = self.environment.iter().any(|(name, _)| *name == CHECKPOINTS_VARIABLE);
        has_place.then_some(CheckpointPlan { every_epochs, ..plan })
    }
}

/// A trainer that runs, or has ended and was not reaped yet.
#[derive(Debug)]
pub(crate) struct TrainerProcess {
    child: Child,
    /// None once it has ended.
    pid: Option<Pid>,
    role: Role,
    to_trainer: mpsc::Sender<ToTrainer>,
    /// Returns how many requests to train the trainer has read.
    writer: JoinHandle<u32>,
    /// Dropped to end the trainer's input.
    input: Option<oneshot::Sender<()>>,
    reader: JoinHandle<Vec<String>>,
    /// The reader handles a message, and so waits for this worker and not for a pipe.
    is_busy: Arc<AtomicBool>,
    adopted: Option<oneshot::Sender<()>>,
    has_had_jobs: AtomicBool,
    was_killed: bool,
    /// Dropped when the process has ended.
    lives: Option<oneshot::Sender<()>>,
    /// Its log so far belongs to jobs that are over.
    log_is_old: Arc<AtomicBool>,
    weights: Option<AskedWeights>,
    /// The control group that it runs in, as far as that is known, and what the kernel had ended there when it was started.
    memory: MemoryGroups,
    kills_before: OomKills,
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

    /// The same for a trainer that is not needed yet: only its first line is reported, and nothing goes to `events`
    /// before it is adopted.
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

    /// From now on, its lines become events, including the first.
    pub(crate) fn adopt(&mut self) {
        if let Some(adopted) = self.adopted.take() {
            // Only fails if it has ended, which its exit reports.
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
            // A keeper ends by itself, after what it keeps.
            .kill_on_drop(command.role != Role::Keeper);
        detach(starting.as_std_mut(), command.role);
        let memory = cgroups::of_slot(slot);
        let kills_before = memory.oom_kills();
        let mut child = starting.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        child.id().into_iter().for_each(|id| cgroups::put(slot, id));
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
            memory,
            kills_before,
        })
    }

    /// Sends a line, without waiting: a trainer that leaves this many unread is stuck, and is killed if it does not
    /// stop.
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
            // The keeper finds what is started after this search: its input ends.
            Some(keeper) if self.role == Role::Keeper => {
                self.input = None;
                let found = kill_descendants(keeper);
                // What it keeps may have stopped it. If it is gone already, all is well.
                let _ = kill_process(keeper, Signal::CONT);
                if found == 0 {
                    let _ = kill_process(keeper, Signal::KILL);
                }
            }
            Some(leader) => {
                // If it is gone already, all is well.
                let _ = kill_process_group(leader, Signal::KILL);
            }
            None => {}
        }
    }

    /// Waits for the end of the process, without losing its last output. May be dropped and called again.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    if self.role == Role::Keeper {
                        // Its number may soon belong to another process.
                        self.pid = None;
                    }
                    return status;
                }
                () = tokio::time::sleep(KILLED_AGAIN_EVERY), if self.was_killed => self.kill_all(),
            }
        }
    }

    /// The end of the process, as text.
    pub(crate) fn describe(&self, status: io::Result<ExitStatus>) -> String {
        if self.was_killed { "the worker killed the trainer".to_owned() } else { describe(status) }
    }

    /// Whether the process, which has ended, was asked to leave by someone other than this worker, who may have asked
    /// this worker, too.
    pub(crate) fn was_sent_away(&self, status: &io::Result<ExitStatus>) -> bool {
        let Ok(status) = status else { return false };
        let signal = status.signal().or_else(|| status.code().and_then(signal_of_code));
        !self.was_killed && signal.is_some_and(|signal| LEAVING.contains(&signal))
    }

    /// Whether the kernel has ended the process, which has ended, because memory ran out: in its group, or in one around it.
    pub(crate) fn ran_out_of_memory(&self, status: &io::Result<ExitStatus>) -> bool {
        let Ok(status) = status else { return false };
        let signal = status.signal().or_else(|| status.code().and_then(signal_of_code));
        signal == Some(Signal::KILL.as_raw())
            && !self.was_killed
            && self.memory.oom_kills().are_more_than(&self.kills_before)
    }

    /// Whether the process, which has ended, lost the file of its data set, which it reads by memory map. For someone
    /// else's program it is not known what it maps: PyTorch's loaders die like this if `/dev/shm` is full.
    pub(crate) fn lost_data(&self, status: &io::Result<ExitStatus>) -> bool {
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        self.role == Role::Trainer && !self.was_killed && signal == Some(Signal::BUS.as_raw())
    }

    /// After `exited`: a closed output is no longer a fault, however long the end is held back.
    pub(crate) fn note_end(&mut self) {
        self.lives = None;
    }

    /// After `exited`: delivers what the trainer wrote before its end, and removes the weights of jobs that it did not
    /// end. Returns its last log lines and how many requests to train it had read.
    pub(crate) async fn last_words(mut self) -> (Vec<String>, u32) {
        // Processes left in its group would keep the pipes open; a keeper leaves none.
        if self.role != Role::Keeper {
            self.kill_all();
        }
        self.pid = None;
        self.note_end();
        // If it was not adopted by now, it never will be.
        (self.adopted, self.input) = (None, None);
        let trains_heard = (&mut self.writer).await.unwrap_or_default();
        let log = loop {
            match tokio::time::timeout(PIPES_CLOSED_WITHIN, &mut self.reader).await {
                Ok(log) => break log.unwrap_or_default(),
                // It waits for room in the spool, or for a sync of weights.
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
