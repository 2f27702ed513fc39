//! The agent's asynchronous shell: collects events, lets the session decide, and carries out its decisions. One loop
//! owns the session and the spool; nothing else touches them.

mod configuration;
mod log;
mod opening;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use proto::{
    client::ClientError,
    v1::{CoordinatorMessage, WorkerMessage},
};
use terms::{AttemptKey, manifest::Manifest};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

pub(crate) use self::{configuration::Configuration, opening::open_spool};
use self::{
    log::{Told, log_event},
    opening::{Found, open_snapshots, take_up},
};
use super::{
    connection::{self, LinkEvent},
    gpus::Gpus,
    handovers::{Done, HandedOver, Handovers},
    kept_checkpoints,
    metrics::{Metrics, Stage},
    notice::Notice,
    remote::Remote,
    session::{
        Session,
        types::{Departure, End, EventKind, FromCoordinator, Input, Output, ToCoordinator, TrainerEvent},
    },
    slots::{Bringing, Slots, Trainers},
    snapshots::Snapshots,
    spool::{Recovered, Spool, SpoolError},
    traced::Traced,
    unfinished::Unfinished,
    uploads::Uploads,
    weights::WeightsFolder,
    wire::{self, Identity},
};

/// How often to retry a spool that the disk refused.
const SPOOL_RETRY: Duration = Duration::from_secs(1);

/// How long the last messages may take to leave the process.
const FAREWELL_WITHIN: Duration = Duration::from_millis(500);

/// How long a worker that leaves in order continues to upload weights, at least and at most; the rest stays in its
/// spool and is uploaded after the next start.
const UPLOADS_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);

/// A loop that wakes this much later than planned has not run meanwhile: the machine is overloaded, or the process was
/// stopped.
const STANDSTILL_MIN: Duration = Duration::from_secs(1);

/// Why an agent ends without being asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// The coordinator's address or a file for it is wrong.
    #[error(transparent)]
    Target(#[from] ClientError),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// It cannot train.
    #[error("{0}")]
    Trainer(String),
    /// The coordinator refuses it.
    #[error("{0}")]
    Refused(String),
    /// Another worker has its name.
    #[error("{0}")]
    NameTaken(String),
}

/// Runs the agent on its spool, which was opened, until it leaves. Each message on `shutdown` is a request to leave; the second means at once.
///
/// # Errors
/// The configuration is unusable, or the coordinator refuses this worker for good.
pub(crate) async fn run(
    mut configuration: Configuration,
    (spool, recovered): (Spool, Recovered),
    shutdown: &mut mpsc::Receiver<()>,
) -> Result<Departure, AgentError> {
    let coordinator = configuration.target.url.clone();
    let told = Arc::clone(&configuration.metrics);
    let (keeper, mut link) =
        connection::keep(configuration.target.clone(), configuration.refused_within, told)?;
    let found = take_up(&mut configuration, spool, recovered)?;
    let Found { spool, unfinished, events, next_sequence, weights } = found;
    let remote = Arc::new(Remote::new(configuration.target.clone())?);
    let metrics = Arc::clone(&configuration.metrics);
    let counted = (Arc::clone(&metrics), configuration.traced.clone());
    let uploads = Uploads::start(Arc::clone(&remote), Arc::clone(&weights), counted);
    keep_weights_in(&weights, &mut configuration.trainers);
    let slot_count = configuration.trainers.len();
    let runs_programs = configuration.trainers.iter().any(|trainers| trainers.program.is_some());
    let tidying = TaskTracker::new();
    let snapshots = runs_programs.then(|| open_snapshots(&configuration, &tidying)).transpose()?;
    let kept = tidied_checkpoints(&configuration.spool);
    let handed_over = || Arc::new(HandedOver::new(Arc::clone(&remote), kept.clone()));
    let handed_over = configuration.hands_over.then(handed_over);
    let (handovers, mut handed) = Handovers::new(Arc::clone(&remote), kept.clone());
    let name = configuration.identity.name.clone();
    let bringing = Bringing { snapshots: snapshots.clone(), handed_over };
    let (mut slots, mut trainers) = Slots::start(configuration.trainers, &bringing);
    let trainables = tokio::select! {
        prepared = slots.prepared() => prepared.map_err(AgentError::Trainer)?,
        _ = shutdown.recv() => return Ok(Departure::Orderly),
        _ = configuration.notice.given() => return Ok(Departure::Orderly),
    };
    configuration.identity.trainables = trainables.iter().map(Manifest::to_json).collect();
    tracing::info!(name = name.as_str(), slots = slot_count, coordinator, "the worker is up");
    metrics.has_slots(slot_count);
    metrics.reached(Stage::Away);
    let session = Session::new(slot_count, configuration.grace, next_sequence, events)
        .with_silence_max(configuration.trainer_silence)
        .with_programs(runs_programs)
        .with_hand_over(configuration.hands_over)
        .with_exit_when_idle(configuration.exit_when_idle);
    let keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
    let mut shell = Shell {
        snapshots,
        tidying,
        session,
        spool,
        unfinished,
        weights,
        uploads,
        handovers,
        notice: Some(configuration.notice),
        slots,
        identity: configuration.identity,
        gpus: configuration.gpus,
        metrics,
        traced: configuration.traced,
        data_root: configuration.data_root,
        told: Told::default(),
        was_asked_to_leave: false,
        leaves_its_name: configuration.leaves_its_name,
        stream: None,
        start: Instant::now(),
    };
    let departure = shell.work(&mut link, &mut trainers, &mut handed, shutdown).await;
    // Closing our half flushes the last messages.
    if shell.stream.take().is_some() && !matches!(departure, Ok(Departure::AtOnce)) {
        let ended = async { while link.recv().await.as_ref().is_some_and(is_no_end) {} };
        let _ = tokio::time::timeout(FAREWELL_WITHIN, ended).await;
    }
    drop(keeper);
    shell.leave(departure, configuration.grace, shutdown).await
}

/// The weights that these trainers leave go there.
fn keep_weights_in(weights: &Arc<WeightsFolder>, trainers: &mut [Trainers]) {
    for trainer in trainers {
        trainer.model.weights = Some(Arc::clone(weights));
        trainer.program.iter_mut().for_each(|program| program.weights = Some(Arc::clone(weights)));
    }
}

/// The folder of the checkpoints that are kept beside a spool, without old ones.
fn tidied_checkpoints(spool: &Path) -> PathBuf {
    let kept = kept_checkpoints::folder(spool);
    if let Err(error) = kept_checkpoints::tidy(&kept, SystemTime::now()) {
        tracing::warn!(folder = %kept.display(), %error, "old checkpoints of programs cannot be removed");
    }
    kept
}

/// Waits for the second request to leave.
async fn second_request(was_asked: bool, shutdown: &mut mpsc::Receiver<()>) {
    for _ in usize::from(was_asked)..2 {
        if shutdown.recv().await.is_none() {
            // No one is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

fn is_no_end(event: &LinkEvent) -> bool {
    !matches!(event, LinkEvent::Lost | LinkEvent::Refused(_))
}

struct Shell {
    session: Session,
    spool: Spool,
    unfinished: Unfinished,
    weights: Arc<WeightsFolder>,
    uploads: Uploads,
    handovers: Handovers,
    /// None once it was heard.
    notice: Option<Notice>,
    slots: Slots,
    identity: Identity,
    gpus: Gpus,
    metrics: Arc<Metrics>,
    traced: Traced,
    data_root: PathBuf,
    /// Provides the files of users' programs, if those may be run.
    snapshots: Option<Arc<Snapshots>>,
    /// Creates and removes their folders.
    tidying: TaskTracker,
    /// What was logged already.
    told: Told,
    /// By a signal or the end of its input; the next one means at once.
    was_asked_to_leave: bool,
    leaves_its_name: bool,
    stream: Option<Stream>,
    start: Instant,
}

struct Stream {
    outgoing: mpsc::Sender<WorkerMessage>,
    close: CancellationToken,
}

impl Shell {
    /// Ends the trainers, removes what jobs leave behind, and uploads weights for as long as `grace` allows.
    async fn leave(
        self,
        departure: Result<Departure, AgentError>,
        grace: Duration,
        shutdown: &mut mpsc::Receiver<()>,
    ) -> Result<Departure, AgentError> {
        self.slots.shut_down().await;
        if matches!(departure, Ok(Departure::AtOnce)) {
            return departure;
        }
        let within = grace.clamp(*UPLOADS_WITHIN.start(), *UPLOADS_WITHIN.end());
        // What a stalled disk keeps from being removed is removed at the next start.
        self.tidying.close();
        let _ = tokio::time::timeout(within, self.tidying.wait()).await;
        let mut at_once = false;
        let given_up = async {
            tokio::select! {
                () = tokio::time::sleep(within) => {}
                () = second_request(self.was_asked_to_leave, shutdown) => at_once = true,
            }
        };
        self.uploads.finish(given_up).await;
        if at_once && matches!(departure, Ok(Departure::Orderly)) {
            return Ok(Departure::AtOnce);
        }
        departure
    }

    async fn work(
        &mut self,
        link: &mut mpsc::Receiver<LinkEvent>,
        trainers: &mut mpsc::Receiver<(usize, TrainerEvent)>,
        handed: &mut mpsc::Receiver<Done>,
        shutdown: &mut mpsc::Receiver<()>,
    ) -> Result<Departure, AgentError> {
        let mut spool_is_whole = true;
        loop {
            let wake_at = self.session.next_deadline().map(|deadline| self.start + deadline);
            let listens = !self.is_full() || self.session.is_leaving();
            let begun = Instant::now();
            let input = tokio::select! {
                Some(()) = shutdown.recv() => {
                    self.was_asked_to_leave = true;
                    self.metrics.reached(Stage::Leaving);
                    Some(Input::Shutdown)
                }
                why = given(&mut self.notice) => Some(Input::Notice { why }),
                Some(done) = handed.recv() => self.handovers.ended(done).map(|attempt| {
                    self.traced.handed_over(attempt);
                    Input::HandedOver(attempt)
                }),
                event = link.recv() => match event {
                    Some(LinkEvent::Refused(reason)) => return Err(AgentError::Refused(reason)),
                    Some(LinkEvent::NameTaken(reason)) if self.leaves_its_name => {
                        return Err(AgentError::NameTaken(reason));
                    }
                    Some(event) => self.hear_link(event),
                    None => return Err(AgentError::Refused("the connection's task has ended".to_owned())),
                },
                // While the spool is full, trainers wait; but one that must end has to be heard.
                Some((slot, event)) = trainers.recv(), if listens => Some(Input::Trainer { slot, event }),
                () = until(wake_at) => Some(Input::Tick),
                () = tokio::time::sleep(SPOOL_RETRY), if !spool_is_whole => None,
            };
            // A process that was stopped itself has heard nothing.
            let slept = wake_at.is_some_and(|wake_at| Instant::now() > wake_at + STANDSTILL_MIN);
            if !listens || slept {
                self.session.was_deaf(self.start.elapsed());
            }
            if !listens {
                self.session.trainers_waited(begun.elapsed());
            }
            let outputs =
                input.map(|input| self.session.apply(self.start.elapsed(), input)).unwrap_or_default();
            for output in outputs {
                if let Some(departure) = self.perform(output) {
                    return Ok(departure);
                }
            }
            self.unfinished.note(self.session.running());
            spool_is_whole = self.spool.flush();
            self.metrics.waits(self.spool.bytes(), self.weights.bytes());
        }
    }

    /// Whether no more results may be made, because what waits for the coordinator occupies all the room allowed.
    fn is_full(&self) -> bool {
        self.spool.is_full() || self.weights.is_full()
    }

    fn hear_link(&mut self, event: LinkEvent) -> Option<Input> {
        match event {
            LinkEvent::Connected { outgoing, close } => {
                self.stream = Some(Stream { outgoing, close });
                self.uploads.wake();
                Some(Input::Connected)
            }
            LinkEvent::NameTaken(_) => None,
            LinkEvent::RefusedForLong(reason) => {
                tracing::error!("{reason}: the worker leaves");
                Some(Input::Refused { reason })
            }
            LinkEvent::Lost | LinkEvent::Refused(_) => {
                self.stream = None;
                Some(Input::Disconnected)
            }
            LinkEvent::Message(message) => self.hear(message),
        }
    }

    fn hear(&mut self, message: CoordinatorMessage) -> Option<Input> {
        self.traced.heard(&message);
        match wire::decode(message) {
            Ok(message) => {
                if matches!(message, FromCoordinator::Drain) {
                    self.metrics.reached(Stage::Leaving);
                    tracing::info!("the coordinator tells this worker to leave");
                }
                Some(Input::Message(message))
            }
            Err(error) => {
                tracing::warn!(%error, "a message of the coordinator is not understood and ignored");
                None
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Departure> {
        match output {
            Output::Append(event) => {
                log_event(&event, &mut self.told);
                self.metrics.happened(&event);
                self.traced.happened(&event);
                if let EventKind::Ended(End { weights: Some(weights), .. }) = &event.kind {
                    self.weights.count(event.attempt, weights);
                }
                if matches!(event.kind, EventKind::Ended(_)) {
                    self.tidy_after(event.attempt);
                }
                self.spool.append(&wire::encode_event(event));
            }
            Output::Send(message) => self.send(message),
            Output::Forget { through } => {
                self.spool.forget(through);
                // The coordinator knows more ends now, and so which weights it wants.
                self.uploads.wake();
            }
            Output::StartJobs { slot, mut jobs, fresh } => {
                let pack_size = jobs.len();
                self.metrics.jobs_started(pack_size);
                for (attempt, work) in &mut jobs {
                    tracing::info!(slot, %attempt, pack_size, "training");
                    self.traced.started(*attempt);
                    if let Some(dataset) = &mut work.dataset {
                        dataset.path = self.data_root.join(&dataset.path);
                        dataset.val_path = dataset.val_path.take().map(|path| self.data_root.join(path));
                    }
                }
                self.slots.start_jobs(slot, jobs, fresh);
            }
            Output::StopJob { slot, attempt, checkpoint } => {
                tracing::info!(slot, %attempt, "stopping");
                self.slots.stop_job(slot, attempt, checkpoint);
            }
            Output::KeepJob { slot, attempt } => {
                tracing::info!(slot, %attempt, "keeping a checkpoint");
                self.slots.keep_job(slot, attempt);
            }
            Output::HandOver { attempt, key } => {
                self.traced.hands_over(attempt);
                self.handovers.begin(attempt, &key);
            }
            Output::KillTrainer { slot } => {
                tracing::warn!(slot, "killing the trainer");
                self.slots.kill_trainer(slot);
            }
            Output::Dropped(attempt) => {
                self.metrics.dropped(attempt);
                self.traced.dropped(attempt);
                self.tidy_after(attempt);
            }
            Output::CloseSession => self.close(),
            Output::Exit(departure) => return Some(departure),
        }
        None
    }

    /// Removes the folder with the files of an attempt that has ended.
    fn tidy_after(&self, attempt: AttemptKey) {
        if let Some(snapshots) = self.snapshots.clone() {
            self.tidying.spawn(async move { snapshots.remove(attempt).await });
        }
    }

    fn send(&mut self, message: ToCoordinator) {
        let Some(stream) = &self.stream else { return };
        let message = wire::with_gpus(wire::encode(message, &self.identity), || self.gpus.seen());
        if stream.outgoing.try_send(message).is_err() {
            // Either the stream has ended, or the coordinator does not read: both need a new stream.
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.close.cancel();
        }
    }
}

/// Waits for the notice, once.
async fn given(notice: &mut Option<Notice>) -> String {
    let Some(waiting) = notice else { return std::future::pending().await };
    let why = waiting.given().await;
    *notice = None;
    why
}

async fn until(wake_at: Option<Instant>) {
    match wake_at {
        Some(wake_at) => sleep_until(wake_at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
