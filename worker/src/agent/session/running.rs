//! An attempt in the hands of a trainer, alone or in a pack. Decides how it ends; the session decides when it must.

use std::time::Duration;

use proto::v1::Outcome;
use terms::{AttemptKey, EpochReport};
use trainer_protocol::TrainerOutcome;

use super::{
    slot::Heard,
    time_spent::TimeSpent,
    types::{End, Progress, Weights, Work},
};

/// Why a running attempt shall end before it is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StopReason {
    /// The coordinator does not know the attempt any more: nothing is reported.
    Refused,
    /// The coordinator takes the attempt back.
    Revoked { reason: String },
    /// It took longer than it may.
    TimedOut {
        /// Where it was then and what the time went into.
        spent: String,
    },
    /// The trainer said nothing while it prepared the data set: whatever that lies on does not answer.
    Stalled {
        /// For how long, and where it was.
        reason: String,
    },
    /// The worker leaves.
    HandedBack,
    /// The trainer did something that it must not.
    Broken { reason: String },
}

impl StopReason {
    /// True where the coordinator regards the attempt as over, so that what it still does is of no interest.
    pub(super) fn silences(&self) -> bool {
        matches!(self, Self::Refused | Self::Revoked { .. } | Self::Stalled { .. } | Self::Broken { .. })
    }
}

/// Where a running attempt is in its life.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Preparing its data or training.
    Training,
    /// Asked to stop; killed at `kill_at`.
    Stopping {
        why: StopReason,
        /// When patience ends.
        kill_at: Duration,
    },
    /// Killed; waits for the process's end.
    Killed { why: StopReason },
}

/// An attempt in the hands of a trainer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    pub(super) attempt: AttemptKey,
    pub(super) phase: Phase,
    /// When the training, which `started` began, has taken too long.
    pub(super) deadline: Option<Duration>,
    /// When a trainer that is still starting has taken too long.
    pub(super) ready_by: Duration,
    /// How many jobs the trainer was given at once, this one included.
    pack_size: usize,
    pub(super) timeout: Option<Duration>,
    keep_weights: bool,
    /// Since the training began.
    pub(super) spent: Option<TimeSpent>,
    epochs_done: u32,
    epochs_total: Option<u32>,
    pub(super) epoch: u32,
    pub(super) fraction: f64,
    /// What is done to the data set, in the trainer's words.
    pub(super) doing: String,
}

impl Running {
    /// An attempt that is given to its trainer.
    pub(super) fn new(attempt: AttemptKey, work: &Work, pack_size: usize, ready_by: Duration) -> Self {
        Self {
            attempt,
            phase: Phase::Training,
            deadline: None,
            ready_by,
            pack_size,
            timeout: work.timeout,
            keep_weights: work.keep_weights,
            spent: None,
            epochs_done: 0,
            epochs_total: work.epochs,
            epoch: 0,
            fraction: 0.0,
            doing: String::new(),
        }
    }

    /// Whether its data set is there and its training has begun.
    pub(super) fn has_started(&self) -> bool {
        self.spent.is_some()
    }

    /// Where it is at `now` and what its time went into.
    pub(super) fn time_spent(&self, now: Duration) -> String {
        self.spent.as_ref().map_or_else(|| self.place(), |spent| spent.words(now, self.epoch))
    }

    /// Why it shall end, if it shall.
    pub(super) fn stop_reason(&self) -> Option<&StopReason> {
        match &self.phase {
            Phase::Training => None,
            Phase::Stopping { why, .. } | Phase::Killed { why } => Some(why),
        }
    }

    /// True where the coordinator has given up the attempt or wants it back: it may grant the slot again.
    pub(super) fn makes_room(&self) -> bool {
        matches!(self.stop_reason(), Some(StopReason::Refused | StopReason::Revoked { .. }))
    }

    /// True where the coordinator knows nothing of it.
    pub(super) fn is_refused(&self) -> bool {
        self.stop_reason() == Some(&StopReason::Refused)
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        Progress { attempt: self.attempt, epoch: self.epoch, fraction: self.fraction }
    }

    /// Where it is, as the end of a sentence.
    pub(super) fn place(&self) -> String {
        if self.epoch > 0 {
            return format!("in epoch {}", self.epoch);
        }
        let share = (self.fraction > 0.0).then(|| format!("{:.0} % done", self.fraction * 100.0));
        let doing = Some(self.doing.clone()).filter(|doing| !doing.is_empty());
        let how_far: Vec<String> = share.into_iter().chain(doing).collect();
        match how_far.as_slice() {
            [] => "while it prepared the data set".to_owned(),
            how_far => format!("while it prepared the data set ({})", how_far.join(", ")),
        }
    }

    /// The end of an attempt whose trainer is gone; `None` where nobody wants to know. Where the worker leaves, what
    /// asked it to may have ended the trainer, too: then the attempt did nothing wrong. Nor did it where the trainer lost the
    /// file of its data set.
    pub(super) fn end_after_exit(
        &self,
        exit: &str,
        log_tail: Vec<String>,
        leaving: bool,
        data_lost: bool,
    ) -> Option<End> {
        let mut crash = format!("{exit} {}", self.place());
        // What a program says last before it gives up.
        if let Some(error) = log_tail.last().and_then(|line| line.strip_prefix("error: ")) {
            crash = format!("{crash}: {error}");
        }
        let (outcome, reason) = match self.stop_reason() {
            None if leaving => (Outcome::HandedBack, format!("the worker is shutting down, and {crash}")),
            None if data_lost => (
                Outcome::Unavailable,
                format!("the data set file was truncated or its disk went away: {crash}"),
            ),
            None => (self.failed_with_trainer(), self.with_pack(crash)),
            Some(why) => self.stopped(why)?,
        };
        Some(End { log_tail, ..End::new(outcome, reason) })
    }

    /// What was wrong with its trainer, which is gone and never heard of it; nothing where the attempt was to end anyway.
    /// `when` that was is the end of a sentence.
    pub(super) fn unheard(&self, exit: &str, when: &str) -> Option<String> {
        match self.stop_reason() {
            None => Some(format!("{exit} {when}")),
            Some(StopReason::Broken { reason }) => Some(reason.clone()),
            Some(_) => None,
        }
    }

    /// What a failure is to an attempt: of a pack, nobody knows which job it was.
    fn failed_with_trainer(&self) -> Outcome {
        if self.pack_size > 1 { Outcome::PackLost } else { Outcome::Failed }
    }

    fn with_pack(&self, reason: String) -> String {
        if self.pack_size > 1 { format!("{reason}, in a pack of {} jobs", self.pack_size) } else { reason }
    }

    /// How the attempt ends that was stopped for `why`.
    fn stopped(&self, why: &StopReason) -> Option<(Outcome, String)> {
        Some(match why {
            StopReason::Refused => return None,
            StopReason::Revoked { reason } => (Outcome::Revoked, reason.clone()),
            StopReason::HandedBack => (Outcome::HandedBack, "the worker is shutting down".to_owned()),
            StopReason::Broken { reason } => (self.failed_with_trainer(), self.with_pack(reason.clone())),
            StopReason::Stalled { reason } => (Outcome::Unavailable, reason.clone()),
            StopReason::TimedOut { spent } => {
                let limit = humantime::format_duration(self.timeout.unwrap_or_default());
                // Together jobs take longer than alone: only a job that was alone took too long itself.
                let reason = self.with_pack(format!("exceeded job_timeout of {limit} {spent}"));
                (self.failed_with_trainer(), reason)
            }
        })
    }

    pub(super) fn hear_end(
        &self,
        outcome: TrainerOutcome,
        reason: String,
        log_tail: Vec<String>,
        weights: Option<Weights>,
        leaving: bool,
    ) -> Result<Heard, String> {
        if let Some(why) = self.stop_reason() {
            // A training that ends by itself just when it is asked to stop is as good as any other.
            let counts = matches!(outcome, TrainerOutcome::Done | TrainerOutcome::Diverged);
            if why.silences() || !counts {
                let end =
                    self.stopped(why).map(|(outcome, reason)| End { log_tail, ..End::new(outcome, reason) });
                return Ok(Heard::Ended(self.attempt, end));
            }
        }
        let outcome = match outcome {
            TrainerOutcome::Done => {
                self.check_complete()?;
                Outcome::Done
            }
            TrainerOutcome::Diverged => Outcome::Diverged,
            // Who asked the worker to leave may have asked its trainer, too, and that is how it takes it.
            TrainerOutcome::Failed if leaving => {
                let why = format!("the worker is shutting down; its trainer gave up: {reason}");
                let end = End { log_tail, ..End::new(Outcome::HandedBack, why) };
                return Ok(Heard::Ended(self.attempt, Some(end)));
            }
            // What libtorch says may be one job's doing or come of the pack's size.
            TrainerOutcome::Failed => self.failed_with_trainer(),
            TrainerOutcome::OutOfMemory if self.pack_size > 1 => Outcome::OutOfMemory,
            TrainerOutcome::OutOfMemory => Outcome::Failed,
            TrainerOutcome::Rejected => Outcome::Rejected,
            TrainerOutcome::Unavailable => Outcome::Unavailable,
            // Who asked the worker to leave asked its trainer, too.
            TrainerOutcome::Stopped if leaving => {
                let end = End::new(Outcome::HandedBack, "the worker is shutting down");
                return Ok(Heard::Ended(self.attempt, Some(End { log_tail, ..end })));
            }
            TrainerOutcome::Stopped => return Err("the trainer stopped without being asked to".to_owned()),
        };
        let is_done = outcome == Outcome::Done;
        let reason = if is_done { String::new() } else { reason };
        let weights = weights.filter(|_| is_done && self.keep_weights);
        Ok(Heard::Ended(self.attempt, Some(End { outcome, reason, log_tail, weights })))
    }

    fn check_complete(&self) -> Result<(), String> {
        match self.epochs_total {
            Some(total) if total != self.epochs_done => {
                Err(format!("the trainer said that it is done after epoch {} of {total}", self.epochs_done))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn hear_epoch(&mut self, now: Duration, report: &EpochReport) -> Result<(), String> {
        let (epoch, epoch_seconds) = (report.number, report.seconds);
        if !self.has_started() {
            return Err(format!("the trainer reported epoch {epoch} before it said that training started"));
        }
        if epoch != self.epochs_done + 1 {
            return Err(format!("the trainer reported epoch {epoch} after epoch {}", self.epochs_done));
        }
        if self.epochs_total.is_some_and(|total| epoch > total) {
            let total = self.epochs_total.unwrap_or_default();
            return Err(format!("the trainer reported epoch {epoch} of a training of {total}"));
        }
        report.check().map_err(|error| format!("the trainer reported an impossible epoch: {error}"))?;
        self.epochs_done = epoch;
        self.spent.iter_mut().for_each(|spent| spent.epoch_done(now, epoch_seconds));
        let is_last = self.epochs_total == Some(epoch);
        (self.epoch, self.fraction) = if is_last { (epoch, 1.0) } else { (epoch + 1, 0.0) };
        Ok(())
    }

    pub(super) fn set_progress(&mut self, epoch: u32, fraction: f64) -> Heard {
        if !fraction.is_finite() {
            return Heard::Nothing;
        }
        (self.epoch, self.fraction) = (epoch, fraction.clamp(0.0, 1.0));
        Heard::Progress
    }
}
