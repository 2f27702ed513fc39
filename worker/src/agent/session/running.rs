//! An attempt that a trainer runs, alone or in a pack. Decides how it ends; the session decides when it must.

use std::time::Duration;

use terms::{AttemptKey, EndDetails, EpochReport, Outcome, Progress};
use trainer_protocol::TrainerOutcome;

use super::{
    limits::{PROGRAM_TO_TRAINER, STOP_GRACE_PERIOD_MAX, STOP_TO_KILL},
    slot::Heard,
    time_spent::TimeSpent,
    types::{AttemptProgress, End, Weights, Work},
};

/// Why a running attempt must end before it is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StopReason {
    /// The coordinator no longer knows the attempt: nothing is reported.
    Refused,
    /// The coordinator takes the attempt back.
    Revoked { reason: String },
    /// It took longer than it may.
    TimedOut {
        /// Where it was then, and how the time was spent.
        spent: String,
    },
    /// The trainer was silent while it prepared the data set: the disk or share does not answer.
    Stalled {
        /// For how long, and where it was.
        reason: String,
    },
    /// The worker leaves.
    HandedBack,
    /// It was trained as far as it was granted, by a trainer that does not know how to pause.
    Paused,
    /// The trainer broke the protocol.
    Broken { reason: String },
}

impl StopReason {
    /// True if the coordinator regards the attempt as over, so that nothing more of it is reported.
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
        /// When it is killed.
        kill_at: Duration,
    },
    /// Killed; waits for the end of the process.
    Killed { why: StopReason },
}

/// An attempt that a trainer runs.
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
    /// Where its checkpoints lie below this worker's place for them, if any are kept.
    checkpoint_key: Option<String>,
    /// How long it may take to stop.
    pub(super) stop_to_kill: Duration,
    /// How its time was spent since the training began.
    pub(super) spent: Option<TimeSpent>,
    epochs_done: u32,
    epochs_total: Option<u32>,
    /// Whether it is a program of the user: it may be done with fewer epochs, by its own rules.
    is_program: bool,
    until_epoch: Option<u32>,
    pub(super) progress: Progress,
    /// What the trainer does with the data set, in its own words.
    pub(super) doing: String,
}

/// How a trainer's process ended.
#[derive(Debug, Clone)]
pub(super) struct Exit {
    /// For people.
    pub(super) reason: String,
    pub(super) log_tail: Vec<String>,
    /// It lost the file of its data set.
    pub(super) data_lost: bool,
    /// The kernel has ended it because memory ran out.
    pub(super) out_of_memory: bool,
}

impl Exit {
    /// One of which no more is known.
    pub(super) fn of(reason: String) -> Self {
        Self { reason, log_tail: Vec::new(), data_lost: false, out_of_memory: false }
    }
}

/// How long an attempt may take to stop: as long as its sweep gives its program, and a little more.
fn stop_to_kill(work: &Work) -> Duration {
    let given = work.program.as_ref().and_then(|program| program.stop_seconds);
    let given = given.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    given.map_or(STOP_TO_KILL, |given| given.min(STOP_GRACE_PERIOD_MAX) + PROGRAM_TO_TRAINER)
}

impl Running {
    /// An attempt that was given to its trainer.
    pub(super) fn new(attempt: AttemptKey, work: &Work, pack_size: usize, ready_by: Duration) -> Self {
        Self {
            attempt,
            phase: Phase::Training,
            deadline: None,
            ready_by,
            pack_size,
            timeout: work.timeout,
            keep_weights: work.keep_weights,
            checkpoint_key: work.checkpoints.as_ref().map(|plan| plan.key.clone()),
            stop_to_kill: stop_to_kill(work),
            spent: None,
            epochs_done: 0,
            epochs_total: work.epochs,
            is_program: work.program.is_some(),
            until_epoch: work.until_epoch,
            progress: Progress::NONE,
            doing: String::new(),
        }
    }

    /// Where its checkpoints lie, if it may have any.
    pub(super) fn checkpoint_key(&self) -> Option<&str> {
        self.checkpoint_key.as_deref().filter(|_| self.has_started())
    }

    /// Whether its data set is ready and its training has begun.
    pub(super) fn has_started(&self) -> bool {
        self.spent.is_some()
    }

    /// How many epochs it has reported.
    pub(super) fn epochs_done(&self) -> u32 {
        self.epochs_done
    }

    /// Where it is at `now`, and how its time was spent.
    pub(super) fn time_spent(&self, now: Duration) -> String {
        self.spent.as_ref().map_or_else(|| self.place(), |spent| spent.words(now, self.progress.epoch()))
    }

    /// Why it must end, if it must.
    pub(super) fn stop_reason(&self) -> Option<&StopReason> {
        match &self.phase {
            Phase::Training => None,
            Phase::Stopping { why, .. } | Phase::Killed { why } => Some(why),
        }
    }

    /// True if the coordinator has given up the attempt or wants it back, so that it may grant the slot again.
    pub(super) fn makes_room(&self) -> bool {
        matches!(self.stop_reason(), Some(StopReason::Refused | StopReason::Revoked { .. }))
    }

    /// True if the coordinator does not know it.
    pub(super) fn is_refused(&self) -> bool {
        self.stop_reason() == Some(&StopReason::Refused)
    }

    /// How far it is.
    pub(super) fn progress(&self) -> AttemptProgress {
        AttemptProgress { attempt: self.attempt, progress: self.progress }
    }

    /// Where it is, as the end of a sentence.
    pub(super) fn place(&self) -> String {
        let fraction = match self.progress {
            Progress::Training { epoch, .. } => return format!("in epoch {epoch}"),
            Progress::Preparing { fraction } => fraction,
        };
        let share = (fraction > 0.0).then(|| format!("{:.0} % done", fraction * 100.0));
        let doing = Some(self.doing.clone()).filter(|doing| !doing.is_empty());
        let how_far: Vec<String> = share.into_iter().chain(doing).collect();
        match how_far.as_slice() {
            [] => "while it prepared the data set".to_owned(),
            how_far => format!("while it prepared the data set ({})", how_far.join(", ")),
        }
    }

    /// The end of an attempt whose trainer is gone; `None` if it is not reported. If the worker is leaving, the same
    /// request may have ended the trainer: then the attempt is not at fault. Neither is it if the trainer lost the file
    /// of its data set.
    pub(super) fn end_after_exit(&self, exit: &Exit, leaving: bool) -> Option<End> {
        let Exit { reason, log_tail, data_lost, out_of_memory } = exit;
        let (data_lost, log_tail) = (*data_lost, log_tail.clone());
        let mut crash = format!("{reason} {}", self.place());
        // A program's last message before it gives up.
        if let Some(error) = log_tail.last().and_then(|line| line.strip_prefix("error: ")) {
            crash = format!("{crash}: {error}");
        }
        let (outcome, reason) = match self.stop_reason() {
            None if leaving => (Outcome::HandedBack, format!("the worker is shutting down, and {crash}")),
            None if data_lost => (
                Outcome::Unavailable,
                format!("the data set file was truncated or its disk went away: {crash}"),
            ),
            None if *out_of_memory => (Outcome::OutOfMemory, self.with_pack(crash)),
            None => (self.failed_with_trainer(), self.with_pack(crash)),
            Some(why) => self.stopped(why)?,
        };
        Some(End { log_tail, ..End::new(outcome, reason) })
    }

    /// What was wrong with its trainer, which ended without reading it; nothing if the attempt had to end anyway.
    /// `when` says when that was, as the end of a sentence.
    pub(super) fn unheard(&self, exit: &str, when: &str) -> Option<String> {
        match self.stop_reason() {
            None => Some(format!("{exit} {when}")),
            Some(StopReason::Broken { reason }) => Some(reason.clone()),
            Some(_) => None,
        }
    }

    /// The outcome of a trainer's failure: in a pack, no one knows which job caused it.
    fn failed_with_trainer(&self) -> Outcome {
        if self.pack_size > 1 { Outcome::PackLost } else { Outcome::Failed }
    }

    fn with_pack(&self, reason: String) -> String {
        if self.pack_size > 1 { format!("{reason}, in a pack of {} jobs", self.pack_size) } else { reason }
    }

    /// The end of an attempt that was stopped for `why`.
    fn stopped(&self, why: &StopReason) -> Option<(Outcome, String)> {
        Some(match why {
            StopReason::Refused => return None,
            StopReason::Revoked { reason } => (Outcome::Revoked, reason.clone()),
            StopReason::HandedBack => (Outcome::HandedBack, "the worker is shutting down".to_owned()),
            StopReason::Paused => (Outcome::Paused, String::new()),
            StopReason::Broken { reason } => (self.failed_with_trainer(), self.with_pack(reason.clone())),
            StopReason::Stalled { reason } => (Outcome::Unavailable, reason.clone()),
            StopReason::TimedOut { spent } => {
                let limit = humantime::format_duration(self.timeout.unwrap_or_default());
                // Jobs take longer together than alone: only a job that ran alone is itself too slow.
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
        details: EndDetails,
        leaving: bool,
    ) -> Result<Heard, String> {
        if let Some(why) = self.stop_reason() {
            // A training that finishes just when it is asked to stop counts.
            let counts =
                matches!(outcome, TrainerOutcome::Done | TrainerOutcome::Paused | TrainerOutcome::Diverged);
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
            TrainerOutcome::Paused => {
                self.check_paused()?;
                Outcome::Paused
            }
            TrainerOutcome::Diverged => Outcome::Diverged,
            // Whoever asked the worker to leave may have asked its trainer, too, which reports that as a failure.
            TrainerOutcome::Failed if leaving => {
                let why = format!("the worker is shutting down; its trainer gave up: {reason}");
                let end = End { log_tail, ..End::new(Outcome::HandedBack, why) };
                return Ok(Heard::Ended(self.attempt, Some(end)));
            }
            // libtorch's error may come from one job or from the pack's size.
            TrainerOutcome::Failed => self.failed_with_trainer(),
            // What runs users' programs says it of the machine's memory; a GPU's is another matter.
            TrainerOutcome::OutOfMemory if self.pack_size > 1 || self.is_program => Outcome::OutOfMemory,
            TrainerOutcome::OutOfMemory => Outcome::Failed,
            TrainerOutcome::Rejected => Outcome::Rejected,
            TrainerOutcome::Unavailable => Outcome::Unavailable,
            // Whoever asked the worker to leave asked its trainer, too.
            TrainerOutcome::Stopped if leaving => {
                let end = End::new(Outcome::HandedBack, "the worker is shutting down");
                return Ok(Heard::Ended(self.attempt, Some(End { log_tail, ..end })));
            }
            TrainerOutcome::Stopped => return Err("the trainer stopped without being asked to".to_owned()),
        };
        let is_done = outcome == Outcome::Done;
        let reason = if is_done || outcome == Outcome::Paused { String::new() } else { reason };
        let weights = weights.filter(|_| is_done && self.keep_weights);
        let details = match outcome {
            Outcome::Done => EndDetails { parameters: details.parameters, ..EndDetails::default() },
            Outcome::Failed => EndDetails { again: details.again, ..EndDetails::default() },
            Outcome::Paused => {
                EndDetails { without_checkpoint: details.without_checkpoint, ..EndDetails::default() }
            }
            _ => EndDetails::default(),
        };
        Ok(Heard::Ended(self.attempt, Some(End { outcome, reason, log_tail, weights, details })))
    }

    fn check_complete(&self) -> Result<(), String> {
        match self.epochs_total {
            Some(total) if total != self.epochs_done && !self.is_program => {
                Err(format!("the trainer said that it is done after epoch {} of {total}", self.epochs_done))
            }
            _ => Ok(()),
        }
    }

    fn check_paused(&self) -> Result<(), String> {
        match self.until_epoch {
            Some(until) if self.epochs_done >= until => Ok(()),
            Some(until) => {
                Err(format!("the trainer paused after epoch {}, not after epoch {until}", self.epochs_done))
            }
            None => Err("the trainer paused without being asked to".to_owned()),
        }
    }

    /// Whether it has been trained as far as it was granted.
    pub(super) fn is_to_pause(&self) -> bool {
        self.phase == Phase::Training && self.until_epoch.is_some_and(|until| self.epochs_done >= until)
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
        self.progress = if is_last { Progress::reported(epoch, 1.0) } else { Progress::begins(epoch + 1) };
        Ok(())
    }

    pub(super) fn set_progress(&mut self, epoch: u32, fraction: f64) -> Heard {
        if !fraction.is_finite() {
            return Heard::Nothing;
        }
        self.progress = Progress::reported(epoch, fraction);
        Heard::Progress
    }
}
