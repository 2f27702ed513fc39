//! One slot: its trainer, the attempts that it runs (one, or a pack), and which lines of the trainer are valid when.

use std::time::Duration;

use terms::{AttemptKey, EpochReport, Progress, cut};
use trainer_protocol::{
    EpochLine, FromTrainer, TRAINER_PROTOCOL_KEEPS, TRAINER_PROTOCOL_MIN, TRAINER_PROTOCOL_PAUSES,
    TRAINER_PROTOCOL_VERSION,
};

use super::{
    running::{Phase, Running, StopReason},
    time_spent::TimeSpent,
    types::{AttemptProgress, End, EventKind, GrantedJob, Start, TrainerKind, Weights, Work},
};

/// Longest text kept of what a trainer says it does with a data set, in characters.
const DOING_CHARACTERS_MAX: usize = 100;

/// Longest part of an invalid line that is shown, in characters: an invalid id may have a mebibyte, and six when
/// escaped.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// The state of a slot's trainer process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trainer {
    /// There is none; the next job starts one.
    Absent,
    /// Started, and not ready yet.
    Starting,
    /// It said `Ready`.
    Ready,
    /// Killed; its end was not seen yet. The slot can take no job.
    Dying {
        /// Whether it had been ready.
        was_ready: bool,
        /// When it must have ended; if it has not, it is given up.
        gone_by: Duration,
    },
    /// Killed, but still there: the system cannot end a process that waits for a disk that does not answer. The slot is
    /// out of use until it has ended.
    Unkillable,
}

impl Trainer {
    pub(super) fn is_dying(self) -> bool {
        matches!(self, Self::Dying { .. } | Self::Unkillable)
    }

    /// True for a process that has never been ready.
    pub(super) fn was_never_ready(self) -> bool {
        matches!(self, Self::Starting | Self::Dying { was_ready: false, .. })
    }
}

/// The meaning of a trainer's line.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Nothing,
    /// The attempt has progressed.
    Progress,
    /// A checkpoint of the attempt was kept, as it was asked for.
    Kept(AttemptKey),
    /// To be reported to the coordinator.
    Record(AttemptKey, EventKind),
    /// The attempt is over, and this end is reported, if any.
    Ended(AttemptKey, Option<End>),
}

/// An attempt that is handed back once the coordinator has its checkpoint.
#[derive(Debug)]
pub(super) struct HandingOver {
    pub(super) at: AttemptProgress,
    pub(super) end: End,
    /// When it is handed back without.
    pub(super) until: Duration,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) trainer: Trainer,
    /// The revision of the protocol that it speaks; 0 before it has said so.
    pub(super) protocol: u32,
    /// The kind of the current or last trainer.
    pub(super) kind: TrainerKind,
    /// When the trainer was last heard or given something to do.
    pub(super) heard_at: Duration,
    /// Why this worker killed the trainer, if that was because of one of several attempts.
    pub(super) killed_for: Option<String>,
    /// Requests to train that the trainer was sent.
    pub(super) trains_told: u32,
    /// Trainers in a row that ended before they read a job.
    pub(super) failed_starts: usize,
    /// When the next trainer may be started.
    pub(super) start_at: Duration,
    /// What the trainer was given and has not ended: one attempt, or the rest of a pack.
    pub(super) running: Vec<Running>,
    /// Jobs that the coordinator granted while the trainer still ends an attempt that the coordinator has given up, or
    /// before the next trainer may start.
    pub(super) waiting: Vec<GrantedJob>,
    /// When they are handed back, if the trainer does not end.
    pub(super) waiting_until: Duration,
    /// Further slots that the job which the trainer was given occupies.
    pub(super) also: Vec<usize>,
    /// What the trainer has ended, and whose checkpoints are on their way.
    pub(super) handing_over: Vec<HandingOver>,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            trainer: Trainer::Absent,
            protocol: 0,
            kind: TrainerKind::Model,
            heard_at: Duration::ZERO,
            killed_for: None,
            trains_told: 0,
            failed_starts: 0,
            start_at: Duration::ZERO,
            running: Vec::new(),
            waiting: Vec::new(),
            waiting_until: Duration::ZERO,
            also: Vec::new(),
            handing_over: Vec::new(),
        }
    }

    /// When the trainer will have been silent for too long, if it must report; a trainer that has to stop has its own
    /// limit.
    pub(super) fn silent_at(&self, silence_max: Option<Duration>) -> Option<Duration> {
        let owes = self.trainer == Trainer::Ready
            && self.running.iter().any(|running| running.phase == Phase::Training);
        silence_max.filter(|_| owes).map(|silence_max| self.heard_at + silence_max)
    }

    /// True when the slot has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.handing_over.is_empty()
    }

    /// The kind of trainer that the waiting jobs need, if any of them can be trained.
    pub(super) fn awaited_kind(&self) -> Option<TrainerKind> {
        self.waiting.iter().find_map(|job| job.work.as_ref().ok()).map(Work::kind)
    }

    /// Whether an attempt has been trained as far as it was granted, by a trainer that does not know how to pause.
    pub(super) fn must_be_paused(&self, attempt: AttemptKey) -> bool {
        let is_it = |running: &Running| running.attempt == attempt && running.is_to_pause();
        self.protocol < TRAINER_PROTOCOL_PAUSES && self.running.iter().any(is_it)
    }

    /// When the waiting jobs can be given to a new trainer, if nothing else prevents it.
    pub(super) fn starts_at(&self) -> Option<Duration> {
        let is_free = self.trainer == Trainer::Absent && !self.waiting.is_empty();
        is_free.then_some(self.start_at)
    }

    /// Extends all limits of its trainer by `time`, except the limit of its silence.
    pub(super) fn postpone(&mut self, time: Duration) {
        self.waiting_until += time;
        if let Trainer::Dying { gone_by, .. } = &mut self.trainer {
            *gone_by += time;
        }
        for running in &mut self.running {
            running.ready_by += time;
            running.deadline.iter_mut().for_each(|deadline| *deadline += time);
            if let Phase::Stopping { kill_at, .. } = &mut running.phase {
                *kill_at += time;
            }
        }
    }

    /// True if a grant can be accepted: now, or as soon as the trainer has ended what is no longer wanted.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty()
            && self.handing_over.is_empty()
            && self.running.iter().all(Running::makes_room)
    }

    /// The attempts of which a checkpoint can be kept while they go on.
    pub(super) fn may_keep(&self) -> Vec<AttemptKey> {
        let can_be_asked = self.trainer == Trainer::Ready && self.protocol >= TRAINER_PROTOCOL_KEEPS;
        let may = |running: &&Running| {
            can_be_asked && running.phase == Phase::Training && running.checkpoint_key().is_some()
        };
        self.running.iter().filter(may).map(|running| running.attempt).collect()
    }

    /// Removes an attempt that waits for its checkpoint to be handed over.
    pub(super) fn take_handing_over(&mut self, attempt: AttemptKey) -> Option<HandingOver> {
        let position = self.handing_over.iter().position(|one| one.at.attempt == attempt)?;
        Some(self.handing_over.remove(position))
    }

    /// Further slots that the waiting job occupies once it starts.
    pub(super) fn awaited_slots(&self) -> &[usize] {
        let work = self.waiting.iter().find_map(|job| job.work.as_ref().ok());
        work.map_or(&[], |work| &work.also_slots)
    }

    /// Removes a waiting job.
    pub(super) fn take_waiting(&mut self, attempt: AttemptKey) -> Option<GrantedJob> {
        let position = self.waiting.iter().position(|job| job.attempt == attempt)?;
        Some(self.waiting.remove(position))
    }

    /// The attempt that the trainer runs.
    pub(super) fn running_mut(&mut self, attempt: AttemptKey) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.attempt == attempt)
    }

    /// Interprets a line of the trainer. `leaving` if the worker is about to leave.
    ///
    /// # Errors
    /// The line is invalid now: the trainer can no longer be trusted.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        message: FromTrainer,
        log_tail: Vec<String>,
        weights: Option<Weights>,
        leaving: bool,
    ) -> Result<Heard, String> {
        self.heard_at = now;
        if self.trainer.is_dying() {
            return Ok(Heard::Nothing);
        }
        if let FromTrainer::Ready { protocol, .. } = message {
            return self.hear_ready(protocol);
        }
        if self.trainer != Trainer::Ready {
            return Err("the trainer spoke before it said that it is ready".to_owned());
        }
        if self.running.is_empty() {
            let shown = cut(format!("{message:?}"), SHOWN_CHARACTERS_MAX);
            return Err(format!("the trainer spoke while it had no job: {shown}"));
        }
        if let FromTrainer::Preparing { fraction, doing } = message {
            for running in self.running.iter_mut().filter(|running| !running.has_started()) {
                running.set_progress(0, fraction);
                running.doing = doing.chars().take(DOING_CHARACTERS_MAX).collect();
            }
            return Ok(Heard::Progress);
        }
        let running = self.whom(&message)?;
        let attempt = running.attempt;
        let silenced = running.stop_reason().is_some_and(StopReason::silences);
        match message {
            FromTrainer::Ended { outcome, reason, details, .. } => {
                running.hear_end(outcome, reason, log_tail, weights, details, leaving)
            }
            _ if silenced => Ok(Heard::Nothing),
            FromTrainer::Ready { .. } | FromTrainer::Preparing { .. } => Ok(Heard::Nothing),
            FromTrainer::Kept { .. } => Ok(Heard::Kept(attempt)),
            FromTrainer::Progress { epoch, fraction, validating, .. } => {
                running.spent.iter_mut().filter(|_| validating).for_each(|spent| spent.validates(now));
                Ok(running.set_progress(epoch, fraction))
            }
            FromTrainer::Started { resumed_epochs, .. }
                if running.has_started() && resumed_epochs <= running.epochs_done() =>
            {
                Err("the trainer said twice that training started".to_owned())
            }
            // More of the checkpoint than was known follows.
            FromTrainer::Started { dataset, resumed_epochs, .. } if running.has_started() => {
                Ok(Heard::Record(attempt, EventKind::Started(Start { dataset, resumed_epochs })))
            }
            FromTrainer::Started { dataset, resumed_epochs, .. } => {
                running.spent = Some(TimeSpent::begin(now));
                running.deadline = running.timeout.map(|timeout| now + timeout);
                running.progress = Progress::begins(1);
                Ok(Heard::Record(attempt, EventKind::Started(Start { dataset, resumed_epochs })))
            }
            FromTrainer::Epoch(line) => {
                let report = reported(&line);
                running.hear_epoch(now, &report)?;
                Ok(Heard::Record(attempt, EventKind::Epoch(report)))
            }
        }
    }

    /// The attempt that a line is about.
    fn whom(&mut self, message: &FromTrainer) -> Result<&mut Running, String> {
        let id = match message {
            FromTrainer::Started { id, .. }
            | FromTrainer::Progress { id, .. }
            | FromTrainer::Kept { id }
            | FromTrainer::Epoch(EpochLine { id, .. })
            | FromTrainer::Ended { id, .. } => id.as_str(),
            FromTrainer::Ready { .. } | FromTrainer::Preparing { .. } => "",
        };
        let known: Vec<String> = self.running.iter().map(|running| running.attempt.to_string()).collect();
        match known.iter().position(|name| name == id) {
            Some(position) => Ok(&mut self.running[position]),
            None => {
                let shown = cut(id.to_owned(), SHOWN_CHARACTERS_MAX);
                Err(format!("the trainer spoke of the job {shown:?} while it trained {}", known.join(", ")))
            }
        }
    }

    fn hear_ready(&mut self, protocol: u32) -> Result<Heard, String> {
        if self.trainer == Trainer::Ready {
            return Err("the trainer said twice that it is ready".to_owned());
        }
        if !(TRAINER_PROTOCOL_MIN..=TRAINER_PROTOCOL_VERSION).contains(&protocol) {
            return Err(format!(
                "the trainer speaks revision {protocol} of the trainer protocol, this worker revisions \
                 {TRAINER_PROTOCOL_MIN} to {TRAINER_PROTOCOL_VERSION}; use a trainer of this worker's version"
            ));
        }
        (self.trainer, self.protocol) = (Trainer::Ready, protocol);
        Ok(Heard::Nothing)
    }
}

/// A trainer's epoch, as it is kept.
fn reported(line: &EpochLine) -> EpochReport {
    let metrics = line.metrics.iter().map(|(name, value)| (name.into(), value)).collect();
    EpochReport { number: line.epoch, seconds: line.epoch_seconds, metrics }
}
