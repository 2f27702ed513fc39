//! The agent's asynchronous shell: what it consists of, how that is put together, and how it is taken apart when the worker leaves. What
//! goes on in between is in `event_loop`, and what it does in `performing`.

mod configuration;
mod event_loop;
mod log;
mod opening;
mod performing;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use proto::{client::ClientError, v1::WorkerMessage};
use terms::manifest::Manifest;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

pub(crate) use self::{configuration::Configuration, opening::open_spool};
use self::{
    log::Told,
    opening::{Found, open_snapshots, take_up},
};
use super::{
    connection::{self, LinkEvent},
    gpus::Gpus,
    handovers::{HandedOver, Handovers},
    kept_checkpoints,
    metrics::{Metrics, Stage},
    notice::Notice,
    remote::Remote,
    session::{Session, types::Departure},
    slots::{Bringing, Slots, Trainers},
    snapshots::Snapshots,
    spool::{Recovered, Spool, SpoolError},
    traced::Traced,
    unfinished::Unfinished,
    uploads::Uploads,
    weights::WeightsFolder,
    wire::Identity,
};

/// How long the last messages may take to leave the process.
const FAREWELL_WITHIN: Duration = Duration::from_millis(500);

/// How long a worker that leaves in order continues to upload weights, at least and at most; the rest stays in its
/// spool and is uploaded after the next start.
const UPLOADS_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);

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
}

#[cfg(test)]
mod tests;
