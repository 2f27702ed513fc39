//! A worker's machine: the real session with its spool on a simulated disk, and trainers that train nothing.

use std::{collections::BTreeMap, time::Duration};

use proto::{AttemptKey, JobKey, v1};
use worker::{
    agent::{
        session::{
            Session,
            types::{Event, EventKind, TrainerEvent},
        },
        wire::{self, Identity},
    },
    protocol::{DatasetSummary, FromTrainer, TRAINER_PROTOCOL_VERSION, TrainerOutcome},
};

use super::durable::expected;

/// How long a worker's jobs may go on once it shall leave.
const GRACE: Duration = Duration::from_secs(2);

/// A worker's machine.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) identity: Identity,
    /// None while the process is not there.
    pub(super) session: Option<Session>,
    /// How often the process was started.
    pub(super) life: u32,
    pub(super) link: Option<usize>,
    pub(super) spool: Spool,
    pub(super) trainers: Vec<Trainer>,
    /// Frozen until then.
    pub(super) frozen_until: u64,
    /// When the session is woken next, so that it is not woken twice.
    pub(super) wakes_at: Option<u64>,
}

/// Events on the worker's disk.
#[derive(Debug, Default)]
pub(super) struct Spool {
    pub(super) events: Vec<Event>,
    next_sequence: u64,
}

/// A trainer process.
#[derive(Debug, Default)]
pub(super) struct Trainer {
    pub(super) lives: bool,
    /// Changes with each process and each job, so that what an earlier one would have said is not heard.
    pub(super) turn: u64,
    job: Option<(AttemptKey, u32)>,
    /// Epochs of a checkpoint that are to be told again.
    again: u32,
}

/// What a trainer does next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Ready,
    Start,
    Epoch(u32),
    End(TrainerOutcome),
    Exit,
}

/// The furthest checkpoint of each job.
pub(super) type Checkpoints = BTreeMap<JobKey, u32>;

impl Spool {
    pub(super) fn append(&mut self, event: Event) {
        self.next_sequence = event.sequence + 1;
        self.events.push(event);
    }

    pub(super) fn forget(&mut self, through: u64) {
        self.events.retain(|event| event.sequence > through);
    }

    /// What a process finds that starts: the events of attempts that have ended.
    fn recover(&mut self) -> (u64, Vec<Event>) {
        let is_end = |event: &Event| matches!(event.kind, EventKind::Ended(_));
        let ended: Vec<AttemptKey> =
            self.events.iter().filter(|event| is_end(event)).map(|event| event.attempt).collect();
        self.events.retain(|event| ended.contains(&event.attempt));
        (self.next_sequence.max(1), self.events.clone())
    }
}

impl Node {
    pub(super) fn new(number: usize, slots: u32) -> Self {
        let slot = |index| v1::Slot { index, device: "cpu".to_owned(), description: String::new() };
        let name = format!("w{number}").parse().expect("a letter and a digit name a worker");
        let identity = Identity {
            name,
            instance: String::new(),
            host: String::new(),
            slots: (0..slots).map(slot).collect(),
        };
        Self {
            identity,
            session: None,
            life: 0,
            link: None,
            spool: Spool::default(),
            trainers: (0..slots).map(|_| Trainer::default()).collect(),
            frozen_until: 0,
            wakes_at: None,
        }
    }

    /// Starts the process.
    pub(super) fn start(&mut self) {
        let (next_sequence, events) = self.spool.recover();
        self.life += 1;
        self.session = Some(Session::new(self.trainers.len(), GRACE, next_sequence, events));
        (self.link, self.wakes_at) = (None, None);
    }

    /// Ends the process, and its trainers with it.
    pub(super) fn end(&mut self) {
        self.session = None;
        for trainer in &mut self.trainers {
            trainer.lives = false;
            trainer.turn += 1;
        }
    }

    /// A message as it travels.
    pub(super) fn encode(&self, message: worker::agent::session::types::ToCoordinator) -> v1::WorkerMessage {
        wire::encode(message, &self.identity)
    }
}

impl Trainer {
    /// Takes a job; `again` epochs of it are in a checkpoint.
    pub(super) fn take(&mut self, attempt: AttemptKey, epochs: u32, again: u32) {
        self.turn += 1;
        self.job = Some((attempt, epochs));
        self.again = again;
    }

    /// What the session hears of a step, and the step that follows.
    pub(super) fn step(
        &mut self,
        step: Step,
        checkpoints: &mut Checkpoints,
    ) -> (Vec<TrainerEvent>, Option<Step>) {
        let said = |message| TrainerEvent::Said { message, log_tail: Vec::new() };
        let Some((attempt, epochs)) = self.job else { return (Vec::new(), None) };
        let id = attempt.to_string();
        match step {
            Step::Ready => {
                let ready = FromTrainer::Ready { protocol: TRAINER_PROTOCOL_VERSION, device: "cpu".into() };
                (vec![said(ready)], Some(Step::Start))
            }
            Step::Start => {
                let resumed_epochs = self.again;
                let start = FromTrainer::Started { id, dataset: dataset(), resumed_epochs };
                let mut lines = vec![said(start)];
                lines.extend((1..=resumed_epochs).map(|epoch| said(line(attempt, epoch))));
                (lines, Some(Step::Epoch(resumed_epochs + 1)))
            }
            Step::Epoch(epoch) if epoch > epochs => (Vec::new(), Some(Step::End(TrainerOutcome::Done))),
            Step::Epoch(epoch) => {
                let furthest = checkpoints.entry(attempt.job).or_default();
                *furthest = epoch.max(*furthest);
                (vec![said(line(attempt, epoch))], Some(Step::Epoch(epoch + 1)))
            }
            Step::End(outcome) => {
                self.job = None;
                let end = FromTrainer::Ended { id, outcome, reason: String::new() };
                (vec![said(end)], None)
            }
            Step::Exit => (Vec::new(), None),
        }
    }
}

fn line(attempt: AttemptKey, epoch: u32) -> FromTrainer {
    let metrics = expected(attempt.job.job, epoch);
    FromTrainer::Epoch {
        id: attempt.to_string(),
        epoch,
        train_loss: metrics.train_loss,
        val_accuracy: metrics.val_accuracy,
        epoch_seconds: metrics.epoch_seconds,
    }
}

fn dataset() -> DatasetSummary {
    DatasetSummary {
        content_hash: "content".into(),
        classes: Vec::new(),
        train_images: 8,
        val_images: 2,
        skipped: Vec::new(),
        skipped_count: 0,
    }
}
