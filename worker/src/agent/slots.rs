//! The slots of this machine: one task each, which starts its trainer when the first job comes, passes lines on,
//! and tells of its end. A trainer that ended is started again by the next job.

use proto::AttemptKey;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    session::types::{TrainerEvent, Work},
    trainer_process::{TrainerCommand, TrainerProcess, describe},
};
use crate::protocol::{ToTrainer, TrainJob};

/// Events of trainers that wait for the session. When it is full, trainers wait in their writes.
const EVENTS_MAX: usize = 256;

/// Commands that wait for a slot's task, which never waits for a trainer: a start and a kill, and a stop for each job of
/// a pack.
const COMMANDS_MAX: usize = 1_024;

/// What a slot's task is told.
#[derive(Debug)]
enum Command {
    Start { jobs: Vec<(AttemptKey, Work)>, fresh: bool },
    Stop { attempt: AttemptKey, checkpoint: bool },
    Kill,
}

/// The running slots. Dropping them kills every trainer.
#[derive(Debug)]
pub(crate) struct Slots {
    commands: Vec<mpsc::Sender<Command>>,
    tasks: JoinSet<()>,
}

impl Slots {
    /// Starts a task for each of `trainers`. Their events come with the slot's index.
    pub(crate) fn start(trainers: Vec<TrainerCommand>) -> (Self, mpsc::Receiver<(usize, TrainerEvent)>) {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let mut tasks = JoinSet::new();
        let start = |(slot, trainer)| {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let process = None;
            tasks.spawn(SlotTask { slot, trainer, events: events.clone(), process }.run(commands));
            sender
        };
        let commands = trainers.into_iter().enumerate().map(start).collect();
        (Self { commands, tasks }, received)
    }

    /// Gives jobs with one data set to the slot's trainer, which is started first if `fresh`. Otherwise a trainer that
    /// is gone gets nothing: its `Exited` is on its way.
    pub(crate) fn start_jobs(&self, slot: usize, jobs: Vec<(AttemptKey, Work)>, fresh: bool) {
        self.tell(slot, Command::Start { jobs, fresh });
    }

    /// Asks the slot's trainer to stop the job, and to keep a checkpoint first if `checkpoint`.
    pub(crate) fn stop_job(&self, slot: usize, attempt: AttemptKey, checkpoint: bool) {
        self.tell(slot, Command::Stop { attempt, checkpoint });
    }

    /// Kills the slot's trainer.
    pub(crate) fn kill_trainer(&self, slot: usize) {
        self.tell(slot, Command::Kill);
    }

    /// Kills every trainer and waits until none is left.
    pub(crate) async fn shut_down(mut self) {
        self.tasks.shutdown().await;
    }

    fn tell(&self, slot: usize, command: Command) {
        if self.commands[slot].try_send(command).is_err() {
            tracing::error!(slot, "the slot's task does not answer");
        }
    }
}

struct SlotTask {
    slot: usize,
    trainer: TrainerCommand,
    events: mpsc::Sender<(usize, TrainerEvent)>,
    process: Option<TrainerProcess>,
}

impl SlotTask {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let exited = async {
                match &mut self.process {
                    Some(process) => process.exited().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                status = exited => {
                    if let Some(process) = self.process.take() {
                        let reason = describe(status);
                        tracing::info!(slot = self.slot, "{reason}");
                        let log_tail = process.last_words().await;
                        self.report(TrainerEvent::Exited { reason, log_tail }).await;
                    }
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match (command, &mut self.process) {
            (Command::Start { jobs, fresh }, process) => {
                if fresh {
                    match TrainerProcess::start(self.slot, &self.trainer, self.events.clone()) {
                        Ok(started) => *process = Some(started),
                        Err(error) => {
                            let name = self.trainer.name;
                            let reason = format!("the trainer {name} cannot be started ({error})");
                            return self.report(TrainerEvent::Exited { reason, log_tail: Vec::new() }).await;
                        }
                    }
                }
                if let Some((process, request)) = process.as_ref().zip(train(jobs)) {
                    process.send(request);
                }
            }
            (Command::Stop { attempt, checkpoint }, Some(process)) => {
                process.send(ToTrainer::Stop { id: attempt.to_string(), checkpoint });
            }
            (Command::Kill, Some(process)) => process.kill(),
            // Its end was reported, and crossed the command.
            (Command::Stop { .. } | Command::Kill, None) => {}
        }
    }

    async fn report(&self, event: TrainerEvent) {
        // Fails only when the session is gone, and the process with it.
        let _ = self.events.send((self.slot, event)).await;
    }
}

/// The request to train jobs; nothing for none.
fn train(jobs: Vec<(AttemptKey, Work)>) -> Option<ToTrainer> {
    let dataset = jobs.first()?.1.dataset.clone();
    let job = |(attempt, work): (AttemptKey, Work)| TrainJob {
        id: attempt.to_string(),
        model: work.model,
        parameters: work.parameters,
        checkpoints: work.checkpoints,
    };
    Some(ToTrainer::Train { jobs: jobs.into_iter().map(job).collect(), dataset })
}

#[cfg(test)]
pub(super) mod tests;
