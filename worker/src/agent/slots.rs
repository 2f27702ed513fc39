//! The slots of this machine: one task each, which starts its trainer ahead or when the first job comes, passes lines
//! on, and reports its end. A trainer that ended is started again by the next job.

use std::{process::ExitStatus, time::Duration};

use terms::{
    AttemptKey,
    manifest::{Manifest, TRAINABLES_MAX},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::MissedTickBehavior,
};

mod bringing;
mod process;

pub(crate) use self::bringing::Bringing;
use self::{bringing::Brought, process::SlotProcess};
use super::{
    session::{
        TRAINER_READY_WITHIN,
        types::{TrainerEvent, TrainerKind, Work},
    },
    trainer_process::{TrainerCommand, TrainerProcess},
};
use tokio_util::task::AbortOnDropHandle;
use trainer_protocol::{FromTrainer, TRAINER_PROTOCOL_MIN, TRAINER_PROTOCOL_VERSION, ToTrainer, TrainJob};

/// Events of trainers that wait for the session. When it is full, trainers wait in their writes.
const EVENTS_MAX: usize = 256;

/// Commands that wait for a slot's task, which never waits for a trainer: a start and a kill, and a stop for each job of
/// a pack.
const COMMANDS_MAX: usize = 1_024;

/// How long a request to leave may take to be heard here after it has ended a trainer: who sends it to both, as systemd
/// and Slurm do, does so within a moment.
const LEAVING_IS_HEARD_WITHIN: Duration = Duration::from_secs(2);

/// How often a slot that brings files for its jobs gives a sign of life in place of the trainer, which waits for them. What is brought has
/// bounds of its own.
const BRINGING_ALIVE_INTERVAL: Duration = Duration::from_millis(250);

/// How the end of a trainer begins that the kernel has ended.
const OUT_OF_MEMORY: &str = "out of memory: the kernel has ended the trainer";

/// What a slot's task receives.
#[derive(Debug)]
enum Command {
    Start {
        jobs: Vec<(AttemptKey, Work)>,
        fresh: bool,
    },
    Stop {
        attempt: AttemptKey,
        checkpoint: bool,
    },
    Keep {
        attempt: AttemptKey,
    },
    Kill,
    /// A job of another slot occupies this one: nothing must hold its device.
    Vacate,
}

/// The running slots. Dropping them kills every trainer.
#[derive(Debug)]
pub(crate) struct Slots {
    commands: Vec<mpsc::Sender<Command>>,
    devices: Vec<String>,
    prepared: Vec<oneshot::Receiver<Result<Vec<Manifest>, String>>>,
    tasks: JoinSet<()>,
}

impl Slots {
    /// Starts a task for each slot, with what it may start. Their events come with the slot's index.
    pub(crate) fn start(
        trainers: Vec<Trainers>,
        bringing: &Bringing,
    ) -> (Self, mpsc::Receiver<(usize, TrainerEvent)>) {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let (mut tasks, mut prepared) = (JoinSet::new(), Vec::with_capacity(trainers.len()));
        let devices = trainers.iter().map(|trainers| trainers.device.clone()).collect();
        let start = |(slot, trainers)| {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let (ready, is_ready) = oneshot::channel();
            prepared.push(is_ready);
            let task = SlotTask {
                slot,
                trainers,
                events: events.clone(),
                process: SlotProcess::None,
                bringing: bringing.clone(),
                under_way: None,
                stops: Vec::new(),
            };
            tasks.spawn(task.run(ready, commands));
            sender
        };
        let commands = trainers.into_iter().enumerate().map(start).collect();
        (Self { commands, devices, prepared, tasks }, received)
    }

    /// Waits until every trainer that is started ahead is ready; what all of them train, as they say. One that says nothing
    /// of it, or is not started ahead, has no say.
    ///
    /// # Errors
    /// One cannot work, and why.
    pub(crate) async fn prepared(&mut self) -> Result<Vec<Manifest>, String> {
        let mut common: Option<Vec<Manifest>> = None;
        for (slot, prepared) in std::mem::take(&mut self.prepared).into_iter().enumerate() {
            let prepared = prepared.await.unwrap_or_else(|_| Err("its task has ended".to_owned()));
            let trainables = prepared.map_err(|reason| cannot_be_used(slot, &reason))?;
            if trainables.len() > TRAINABLES_MAX {
                let count = trainables.len();
                let reason = format!("it says that it trains {count} models, more than {TRAINABLES_MAX}");
                return Err(cannot_be_used(slot, &reason));
            }
            for manifest in &trainables {
                manifest.check().map_err(|reason| {
                    let what = format!("what it says of the model {} is wrong: {reason}", manifest.name);
                    cannot_be_used(slot, &what)
                })?;
            }
            if let Some(common) = &mut common {
                let before = common.len();
                common.retain(|manifest| trainables.contains(manifest));
                if common.len() < before {
                    tracing::warn!(
                        slot,
                        "this slot's trainer has other models than those before; what all have counts"
                    );
                }
            } else {
                common = Some(trainables);
            }
        }
        Ok(common.unwrap_or_default())
    }

    /// Gives jobs with one data set to the slot's trainer, which is started first if `fresh`. Otherwise a trainer that
    /// is gone gets nothing: its `Exited` is on its way, and says so.
    pub(crate) fn start_jobs(&self, slot: usize, mut jobs: Vec<(AttemptKey, Work)>, fresh: bool) {
        for (_, work) in jobs.iter_mut().filter(|(_, work)| !work.also_slots.is_empty()) {
            work.also_slots.iter().for_each(|other| self.tell(*other, Command::Vacate));
            let devices = self.devices_of(slot, &work.also_slots);
            if let Some(program) = &mut work.program {
                program.devices = Some(devices);
            }
        }
        self.tell(slot, Command::Start { jobs, fresh });
    }

    /// Asks the slot's trainer to stop the job, and to keep a checkpoint first if `checkpoint`.
    pub(crate) fn stop_job(&self, slot: usize, attempt: AttemptKey, checkpoint: bool) {
        self.tell(slot, Command::Stop { attempt, checkpoint });
    }

    /// Asks the slot's trainer to keep a checkpoint of the job, and to go on.
    pub(crate) fn keep_job(&self, slot: usize, attempt: AttemptKey) {
        self.tell(slot, Command::Keep { attempt });
    }

    /// Kills the slot's trainer.
    pub(crate) fn kill_trainer(&self, slot: usize) {
        self.tell(slot, Command::Kill);
    }

    /// Kills every trainer and waits until none is left.
    pub(crate) async fn shut_down(mut self) {
        self.tasks.shutdown().await;
    }

    /// The devices of these slots, each once.
    fn devices_of(&self, slot: usize, also: &[usize]) -> String {
        let mut devices: Vec<&str> = Vec::new();
        for index in [slot].iter().chain(also) {
            let device = self.devices[*index].as_str();
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices.join(",")
    }

    fn tell(&self, slot: usize, command: Command) {
        if self.commands[slot].try_send(command).is_err() {
            tracing::error!(slot, "the slot's task does not answer");
        }
    }
}

/// What a slot may start.
#[derive(Debug, Clone)]
pub(crate) struct Trainers {
    /// The slot's device as libtorch names it.
    pub(crate) device: String,
    pub(crate) model: TrainerCommand,
    /// For users' programs, where they may be run.
    pub(crate) program: Option<TrainerCommand>,
}

impl Trainers {
    /// For jobs of this kind. The session takes no programs where none may be run.
    fn of(&self, kind: TrainerKind) -> &TrainerCommand {
        match (kind, &self.program) {
            (TrainerKind::Program, Some(program)) => program,
            _ => &self.model,
        }
    }
}

struct SlotTask {
    slot: usize,
    trainers: Trainers,
    events: mpsc::Sender<(usize, TrainerEvent)>,
    process: SlotProcess,
    /// What is brought before jobs begin.
    bringing: Bringing,
    /// Jobs whose files are on their way; their trainer waits for them.
    under_way: Option<AbortOnDropHandle<Brought>>,
    /// Stops of jobs that the trainer has not heard of yet: before their jobs, they would mean nothing to it.
    stops: Vec<ToTrainer>,
}

impl SlotTask {
    async fn run(
        mut self,
        ready: oneshot::Sender<Result<Vec<Manifest>, String>>,
        mut commands: mpsc::Receiver<Command>,
    ) {
        let prepared =
            if self.trainers.model.ahead { self.prepare(TRAINER_READY_WITHIN).await } else { Ok(Vec::new()) };
        let prepared = prepared.map_err(|reason| format!("{reason}; {}", self.trainers.model.remedy));
        // No one waits for it where the worker is already leaving.
        let _ = ready.send(prepared);
        let mut alive = tokio::time::interval(BRINGING_ALIVE_INTERVAL);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let brings = self.under_way.is_some();
            let brought = async {
                match &mut self.under_way {
                    Some(under_way) => under_way.await,
                    None => std::future::pending().await,
                }
            };
            let exited = async {
                match self.process.in_use() {
                    Some(process) => process.exited().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                _ = alive.tick(), if brings => {
                    // If there is no room, the session is not listening and counts no silence.
                    let _ = self.events.try_send((self.slot, TrainerEvent::Alive));
                }
                brought = brought => {
                    let stops = self.give_up_bringing();
                    // Only a panic, which leaves the trainer without a word: its silence is watched.
                    if let Ok(Brought { jobs, folders }) = brought
                        && self.send(jobs, stops)
                    {
                        folders.into_iter().for_each(|folder| drop(folder.give()));
                    }
                }
                status = exited => {
                    self.give_up_bringing();
                    self.let_leaving_be_heard(&status).await;
                    if let Some(process) = self.process.take_in_use() {
                        let data_lost = process.lost_data(&status);
                        let out_of_memory = process.ran_out_of_memory(&status);
                        let reason = match out_of_memory {
                            true => OUT_OF_MEMORY.to_owned(),
                            false => process.describe(status),
                        };
                        tracing::info!(slot = self.slot, "{reason}");
                        let (log_tail, trains_heard) = process.last_words().await;
                        let exited =
                            TrainerEvent::Exited { reason, log_tail, data_lost, trains_heard, out_of_memory };
                        self.report(exited).await;
                    }
                }
            }
        }
    }

    /// Waits a moment where the trainer was asked to leave by someone who may have asked this worker, too: its jobs did
    /// nothing wrong then, which the session must know before it hears of the end.
    async fn let_leaving_be_heard(&mut self, status: &std::io::Result<ExitStatus>) {
        if let Some(process) = self.process.in_use().filter(|process| process.was_sent_away(status)) {
            process.note_end();
            tokio::time::sleep(LEAVING_IS_HEARD_WITHIN).await;
        }
    }

    /// Starts the trainer and waits until it is ready; what it says that it trains.
    async fn prepare(&mut self, within: Duration) -> Result<Vec<Manifest>, String> {
        let started = TrainerProcess::start_ahead(self.slot, &self.trainers.model, self.events.clone());
        let (mut process, first) = started.map_err(|error| format!("it cannot be started ({error})"))?;
        let first = async {
            tokio::select! {
                biased;
                Ok(first) = first => Ok(first),
                status = process.exited() => {
                    if process.was_sent_away(&status) {
                        process.note_end();
                        tokio::time::sleep(LEAVING_IS_HEARD_WITHIN).await;
                    }
                    Err(process.describe(status))
                }
            }
        };
        let limit = within.as_secs();
        let first = tokio::time::timeout(within, first).await;
        match first.map_err(|_| format!("it was not ready within {limit} s"))? {
            Ok(TrainerEvent::Said { message: FromTrainer::Ready { protocol, trainables, .. }, .. })
                if (TRAINER_PROTOCOL_MIN..=TRAINER_PROTOCOL_VERSION).contains(&protocol) =>
            {
                self.process = SlotProcess::Spare(process);
                Ok(trainables)
            }
            Ok(TrainerEvent::Broken { reason }) => Err(reason),
            Ok(_) => Err("it did not begin with being ready for this worker".to_owned()),
            Err(end) => {
                let (log, _) = process.last_words().await;
                Err(log.last().map_or(end.clone(), |last| format!("{end}: {last}")))
            }
        }
    }

    /// The trainer for the first jobs: the one that is ready, unless it has died meanwhile. One that is of another kind goes, as it
    /// holds the slot's device.
    async fn start_trainer(&mut self, kind: TrainerKind) -> std::io::Result<TrainerProcess> {
        if let Some(mut spare) = self.process.take_spare().filter(|_| kind == TrainerKind::Model) {
            tokio::select! {
                biased;
                _ = spare.exited() => {}
                () = std::future::ready(()) => {
                    spare.adopt();
                    return Ok(spare);
                }
            }
        }
        TrainerProcess::start(self.slot, self.trainers.of(kind), self.events.clone())
    }

    async fn obey(&mut self, command: Command) {
        match (command, self.process.in_use()) {
            (Command::Start { jobs, fresh }, _) => {
                let kind = jobs.first().map_or(TrainerKind::Model, |(_, work)| work.kind());
                if fresh {
                    match self.start_trainer(kind).await {
                        Ok(started) => self.process = SlotProcess::InUse(started),
                        Err(error) => {
                            let name = self.trainers.of(kind).name;
                            let reason = format!("the trainer {name} cannot be started ({error})");
                            let exited = TrainerEvent::Exited {
                                reason,
                                log_tail: Vec::new(),
                                data_lost: false,
                                trains_heard: 0,
                                out_of_memory: false,
                            };
                            return self.report(exited).await;
                        }
                    }
                }
                if self.bringing.is_needed(&jobs) {
                    let under_way = tokio::spawn(self.bringing.clone().bring(jobs));
                    self.under_way = Some(AbortOnDropHandle::new(under_way));
                } else {
                    self.send(jobs, Vec::new());
                }
            }
            (Command::Stop { attempt, checkpoint }, Some(process)) => {
                let stop = ToTrainer::Stop { id: attempt.to_string(), checkpoint };
                match self.under_way {
                    Some(_) => self.stops.push(stop),
                    None => process.send(stop),
                }
            }
            (Command::Keep { attempt }, Some(process)) => {
                // Before its files are there, it has nothing to keep.
                if self.under_way.is_none() {
                    process.send(ToTrainer::Keep { id: attempt.to_string() });
                }
            }
            (Command::Kill, Some(process)) => {
                process.kill();
                self.give_up_bringing();
            }
            // One in use has no job, and holds no device without one; the session has ended those that do.
            (Command::Vacate, _) => drop(self.process.take_spare()),
            // Its end was reported, and crossed the command.
            (Command::Stop { .. } | Command::Keep { .. } | Command::Kill, None) => {}
        }
    }

    /// Gives jobs to the trainer, and then the stops that came for them meanwhile. Returns whether it is there.
    fn send(&mut self, jobs: Vec<(AttemptKey, Work)>, stops: Vec<ToTrainer>) -> bool {
        let kind = jobs.first().map_or(TrainerKind::Model, |(_, work)| work.kind());
        let Some((process, request)) = self.process.in_use().zip(train(jobs, self.trainers.of(kind))) else {
            return false;
        };
        [request].into_iter().chain(stops).for_each(|request| process.send(request));
        true
    }

    /// Waits for no files any more; the stops of jobs whose files were awaited.
    fn give_up_bringing(&mut self) -> Vec<ToTrainer> {
        self.under_way = None;
        std::mem::take(&mut self.stops)
    }

    async fn report(&self, event: TrainerEvent) {
        // Fails only when the session is gone, and the process with it.
        let _ = self.events.send((self.slot, event)).await;
    }
}

/// The request to train jobs; nothing for none. Without a place for checkpoints or weights, none are asked for.
fn train(jobs: Vec<(AttemptKey, Work)>, trainer: &TrainerCommand) -> Option<ToTrainer> {
    let dataset = jobs.first()?.1.dataset.clone();
    let weights = |keep: bool| trainer.weights.as_deref().filter(|_| keep);
    let job = |(attempt, work): (AttemptKey, Work)| TrainJob {
        id: attempt.to_string(),
        model: work.model,
        parameters: work.parameters,
        checkpoints: work.checkpoints.and_then(|plan| trainer.plan(plan, work.pauses)),
        budget: work.epochs,
        until_epoch: work.until_epoch,
        program: work.program,
        weights: weights(work.keep_weights).map(|folder| folder.place(&attempt.to_string())),
    };
    Some(ToTrainer::Train { jobs: jobs.into_iter().map(job).collect(), dataset })
}

fn cannot_be_used(slot: usize, reason: &str) -> String {
    format!("the trainer of slot {slot} cannot be used here: {reason}")
}

#[cfg(test)]
pub(super) mod tests;
