//! The agent's loop: waits for what happens, lets the session decide, and has its decisions carried out. It alone touches the session and
//! the spool.

use std::time::Duration;

use proto::v1::CoordinatorMessage;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{AgentError, Shell, Stream};
use crate::agent::{
    connection::LinkEvent,
    handovers::Done,
    metrics::Stage,
    notice::Notice,
    session::types::{Departure, FromCoordinator, Input, TrainerEvent},
    wire,
};

/// How often to retry a spool that the disk refused.
const SPOOL_RETRY: Duration = Duration::from_secs(1);

/// A loop that wakes this much later than planned has not run meanwhile: the machine is overloaded, or the process was
/// stopped.
const STANDSTILL_MIN: Duration = Duration::from_secs(1);

impl Shell {
    /// Runs until the session says that the worker leaves, and returns how it does.
    ///
    /// # Errors
    /// The coordinator refuses this worker for good, or another one has its name.
    pub(super) async fn work(
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
