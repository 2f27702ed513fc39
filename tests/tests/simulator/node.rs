//! A worker's machine: the real session with its spool on a simulated disk, and trainers that train nothing.

use std::{collections::BTreeMap, time::Duration};

use proto::v1;
use terms::{Again, AttemptKey, EndDetails, JobKey};
use trainer_protocol::{DatasetSummary, EpochLine, FromTrainer, TRAINER_PROTOCOL_VERSION, TrainerOutcome};
use worker::agent::{
    session::{
        Session,
        types::{Event, EventKind, TrainerEvent},
    },
    wire::{self, Identity},
};

use super::durable::expected;

/// How long a worker's jobs may go on once it has to leave.
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
    /// The coordinator that it tries next.
    pub(super) tries: usize,
    pub(super) spool: Spool,
    pub(super) trainers: Vec<Trainer>,
    /// Frozen until then.
    pub(super) frozen_until: u64,
    /// When the session is woken next, so that it is not woken twice.
    pub(super) wakes_at: Option<u64>,
    /// The checkpoints on its own disk, where it hands them over when it leaves; otherwise all have one place for them.
    pub(super) own: Option<Checkpoints>,
    /// The checkpoints that its process hands over.
    pub(super) handing_over: BTreeMap<AttemptKey, HandingOver>,
}

/// A checkpoint on its way to the coordinator.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandingOver {
    /// When it was asked for last.
    pub(super) since: u64,
    /// Whether a newer one goes after it.
    pub(super) again: bool,
}

/// Events on the worker's disk.
#[derive(Debug, Default)]
pub(super) struct Spool {
    pub(super) events: Vec<Event>,
    next_sequence: u64,
    /// The processes that had it, newest first.
    processes: Vec<String>,
}

/// A trainer process.
#[derive(Debug, Default)]
pub(super) struct Trainer {
    pub(super) lives: bool,
    /// Changes with each process and each grant, so that what an earlier one would have said is not heard.
    pub(super) turn: u64,
    /// How often it was given jobs while it lived.
    trains_heard: u32,
    /// What it trains: one job, or a pack.
    pub(super) members: Vec<Member>,
    /// Further slots that its job occupies.
    pub(super) also: Vec<usize>,
}

/// One job of a trainer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) attempt: AttemptKey,
    /// In all.
    pub(super) epochs: u32,
    /// After how many it pauses.
    pub(super) until: Option<u32>,
    /// Epochs of a checkpoint that are to be reported again.
    pub(super) again: u32,
    /// Epochs that it has trained, those included.
    pub(super) done: u32,
    /// Whether it needs more memory than its worker has.
    pub(super) is_too_large: bool,
    /// Whether its program keeps checkpoints.
    pub(super) saves: bool,
    /// It was asked to stop, so that it reports nothing but its end.
    pub(super) stops: bool,
}

/// What a trainer does next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Ready,
    Start(AttemptKey),
    Epoch(AttemptKey, u32),
    End(AttemptKey, TrainerOutcome),
    /// It was asked to keep a checkpoint.
    Keep(AttemptKey),
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
    /// The machine `number`, whose worker is named by `name`: two machines may share a name.
    pub(super) fn new(number: usize, name: usize, slots: u32, pack_size_max: u32) -> Self {
        let slot =
            |index| v1::Slot { index, device: "cpu".to_owned(), description: String::new(), pack_size_max };
        let name = format!("w{name}").parse().expect("a letter and a digit name a worker");
        let identity = Identity {
            trainables: Vec::new(),
            checkpoints: String::new(),
            memory_bytes: 0,
            name,
            instance: String::new(),
            predecessors: Vec::new(),
            host: number.to_string(),
            slots: (0..slots).map(slot).collect(),
            allow_commands: false,
            programs_only: false,
        };
        Self {
            identity,
            session: None,
            life: 0,
            link: None,
            tries: 0,
            spool: Spool::default(),
            trainers: (0..slots).map(|_| Trainer::default()).collect(),
            frozen_until: 0,
            wakes_at: None,
            own: None,
            handing_over: BTreeMap::new(),
        }
    }

    /// The same with so many bytes of memory, whose checkpoints are on its own disk where it hands them over.
    pub(super) fn with(mut self, memory_bytes: u64, hands_over: bool) -> Self {
        self.identity.memory_bytes = memory_bytes;
        self.own = hands_over.then(Checkpoints::new);
        self
    }

    /// The same with so many slots on two or three GPUs, for users' programs.
    pub(super) fn with_gpus(mut self, slots: u32) -> Self {
        let gpus = slots.min(3);
        let slot =
            |index| v1::Slot { index, device: format!("cuda:{}", index % gpus), ..v1::Slot::default() };
        self.identity.slots = (0..slots).map(slot).collect();
        self.identity.allow_commands = true;
        self.trainers = (0..slots).map(|_| Trainer::default()).collect();
        self
    }

    /// Whether any of these slots is occupied by a job that runs.
    pub(super) fn runs_in_any(&self, slots: &[usize]) -> bool {
        let occupies = |(slot, trainer): (usize, &Trainer)| {
            !trainer.members.is_empty()
                && (slots.contains(&slot) || trainer.also.iter().any(|also| slots.contains(also)))
        };
        self.trainers.iter().enumerate().any(occupies)
    }

    /// Starts the process.
    pub(super) fn start(&mut self) {
        let (next_sequence, events) = self.spool.recover();
        self.life += 1;
        self.identity.instance = format!("{}.{}", self.identity.host, self.life);
        self.identity.predecessors = self.spool.processes.iter().take(16).cloned().collect();
        self.spool.processes.insert(0, self.identity.instance.clone());
        let session = Session::new(self.trainers.len(), GRACE, next_sequence, events);
        let session = session.with_programs(self.identity.allow_commands).with_hand_over(self.own.is_some());
        self.session = Some(session);
        (self.link, self.wakes_at) = (None, None);
    }

    /// Ends the process, and its trainers with it.
    pub(super) fn end(&mut self) {
        self.session = None;
        self.handing_over.clear();
        for trainer in &mut self.trainers {
            trainer.exit();
        }
    }

    /// Its disk is gone: the next process is another worker of the same name, for all that it can say.
    pub(super) fn lose_disk(&mut self) {
        self.spool = Spool::default();
        self.own.iter_mut().for_each(Checkpoints::clear);
    }

    /// A message as it travels.
    pub(super) fn encode(&self, message: worker::agent::session::types::ToCoordinator) -> v1::WorkerMessage {
        wire::encode(message, &self.identity)
    }
}

impl Trainer {
    /// Takes jobs, as another process if `fresh`.
    pub(super) fn take(&mut self, members: Vec<Member>, fresh: bool) {
        self.turn += 1;
        self.members = members;
        self.trains_heard = match (fresh, self.lives) {
            (true, _) => 1,
            (false, true) => self.trains_heard + 1,
            (false, false) => self.trains_heard,
        };
        self.lives |= fresh;
    }

    /// The process is gone; how often it was given jobs.
    pub(super) fn exit(&mut self) -> u32 {
        self.lives = false;
        self.turn += 1;
        self.members.clear();
        self.trains_heard
    }

    /// The first step of each of its jobs.
    pub(super) fn starts(&self) -> Vec<Step> {
        self.members.iter().map(|member| Step::Start(member.attempt)).collect()
    }

    /// What the session hears of a step, and the steps that follow.
    pub(super) fn step(
        &mut self,
        step: Step,
        checkpoints: &mut Checkpoints,
    ) -> (Vec<TrainerEvent>, Vec<Step>) {
        let said = |message| TrainerEvent::Said { message, log_tail: Vec::new(), weights: None };
        let member = |attempt| self.members.iter().find(|member| member.attempt == attempt).copied();
        match step {
            Step::Ready => {
                let ready = FromTrainer::Ready {
                    protocol: TRAINER_PROTOCOL_VERSION,
                    device: "cpu".into(),
                    trainables: Vec::new(),
                };
                (vec![said(ready)], self.starts())
            }
            Step::Keep(attempt) => match member(attempt).filter(|member| member.done > 0) {
                Some(member) => {
                    keep(member, checkpoints);
                    (vec![said(FromTrainer::Kept { id: attempt.to_string() })], Vec::new())
                }
                None => (Vec::new(), Vec::new()),
            },
            Step::End(attempt, outcome) if member(attempt).is_some() => {
                self.members.retain(|member| member.attempt != attempt);
                let details = EndDetails {
                    again: again_after(attempt, outcome),
                    without_checkpoint: outcome == TrainerOutcome::Paused
                        && !checkpoints.contains_key(&attempt.job),
                    ..EndDetails::default()
                };
                let (id, reason) = (attempt.to_string(), String::new());
                (vec![said(FromTrainer::Ended { id, outcome, reason, details })], Vec::new())
            }
            Step::Start(attempt) | Step::Epoch(attempt, _) => {
                match self.members.iter_mut().find(|member| member.attempt == attempt && !member.stops) {
                    Some(member) => Self::train(member, step, checkpoints),
                    None => (Vec::new(), Vec::new()),
                }
            }
            Step::End(..) | Step::Exit => (Vec::new(), Vec::new()),
        }
    }

    fn train(
        member: &mut Member,
        step: Step,
        checkpoints: &mut Checkpoints,
    ) -> (Vec<TrainerEvent>, Vec<Step>) {
        let said = |message| TrainerEvent::Said { message, log_tail: Vec::new(), weights: None };
        let Member { attempt, epochs, until, again, saves, .. } = *member;
        match step {
            Step::Epoch(_, epoch) if until.is_some_and(|until| epoch > until) => {
                (Vec::new(), vec![Step::End(attempt, TrainerOutcome::Paused)])
            }
            Step::Epoch(_, epoch) if epoch > epochs => {
                (Vec::new(), vec![Step::End(attempt, TrainerOutcome::Done)])
            }
            Step::Epoch(_, epoch) => {
                member.done = epoch;
                if saves {
                    keep(*member, checkpoints);
                }
                (vec![said(line(attempt, epoch))], vec![Step::Epoch(attempt, epoch + 1)])
            }
            _ => {
                member.done = again;
                let id = attempt.to_string();
                let start = FromTrainer::Started { id, dataset: dataset(), resumed_epochs: again };
                let mut lines = vec![said(start)];
                lines.extend((1..=again).map(|epoch| said(line(attempt, epoch))));
                (lines, vec![Step::Epoch(attempt, again + 1)])
            }
        }
    }
}

/// Keeps a checkpoint of a job.
pub(super) fn keep(member: Member, checkpoints: &mut Checkpoints) {
    let furthest = checkpoints.entry(member.attempt.job).or_default();
    *furthest = member.done.max(*furthest);
}

/// What a trainer says of another attempt of a job that has failed: each answer now and then.
fn again_after(attempt: AttemptKey, outcome: TrainerOutcome) -> Again {
    match (attempt.job.job + u64::from(attempt.attempt)) % 3 {
        _ if outcome != TrainerOutcome::Failed => Again::Yes,
        0 => Again::No,
        1 => Again::UnlessRepeated,
        _ => Again::Yes,
    }
}

fn line(attempt: AttemptKey, epoch: u32) -> FromTrainer {
    let v1::EpochRecord { train_loss, val_accuracy, epoch_seconds, val_loss, train_accuracy, .. } =
        expected(attempt.job.job, epoch);
    let values = [
        ("train_loss", Some(train_loss)),
        ("val_accuracy", Some(val_accuracy)),
        ("val_loss", val_loss),
        ("train_accuracy", train_accuracy),
    ];
    let metrics = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    FromTrainer::Epoch(EpochLine { id: attempt.to_string(), epoch, metrics, epoch_seconds })
}

fn dataset() -> DatasetSummary {
    DatasetSummary {
        content_hash: "content".into(),
        train_images: 8,
        val_images: 2,
        ..DatasetSummary::default()
    }
}
