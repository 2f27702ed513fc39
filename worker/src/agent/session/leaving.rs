//! How the session ends: draining, the grace period, handing back, waiting for the last acknowledgements.

use std::time::Duration;

use terms::Outcome;

use super::{
    Session,
    conversation::Link,
    limits::STOP_TO_KILL_LEAVING,
    running::StopReason,
    slot::Slot,
    types::{Departure, End, Output, ToCoordinator},
};

/// Longest wait for acknowledgements after the jobs were handed back.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// Whether the worker takes jobs, or how far it is in leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// New jobs are welcome.
    Serving,
    /// Running jobs may finish; at `hand_back_at` they are handed back.
    Draining {
        /// When the rest of the grace period is needed for handing back.
        hand_back_at: Duration,
    },
    /// The grace period is over, the trainers are being stopped.
    HandingBack {
        /// When checkpoints must be where they are handed over to.
        until: Duration,
    },
    /// Nothing runs; the last events wait for acknowledgement until `exit_at`.
    Leaving {
        /// When the worker leaves without acknowledgements: the events stay in the spool.
        exit_at: Duration,
    },
    /// `Exit` was returned.
    Gone,
}

impl Mode {
    pub(super) fn is_draining(self) -> bool {
        self != Self::Serving
    }

    pub(super) fn deadline(self) -> Option<Duration> {
        match self {
            Self::Serving | Self::HandingBack { .. } | Self::Gone => None,
            Self::Draining { hand_back_at } => Some(hand_back_at),
            Self::Leaving { exit_at } => Some(exit_at),
        }
    }
}

/// Largest part of the grace period reserved for stopping the trainers with a checkpoint.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(10);

/// The same where checkpoints have to be handed over as well: a gigabyte over a gigabit line has ten seconds, and as many to be read
/// and written.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(30);

/// How long jobs have to be handed back after a notice that the machine will be taken away: half of the minute that Slurm is asked
/// to give. A request to leave that follows may shorten it.
const NOTICE_TO_HANDED_BACK: Duration = Duration::from_secs(30);

impl Session {
    /// SIGTERM or SIGINT: the first starts the grace period, the second ends everything.
    pub(super) fn on_shutdown(&mut self, now: Duration) {
        if self.shutdown_requested {
            self.mode = Mode::Gone;
            self.outputs.push(Output::Exit(Departure::AtOnce));
            return;
        }
        self.shutdown_requested = true;
        if let Mode::HandingBack { until } = self.mode {
            // After a notice: there may be less time now than it promised.
            let until = until.min(now + self.reserve());
            self.hand_back(now, self.stop_patience(), until);
            self.hurry_hand_overs(now, until);
        }
        if let Mode::Leaving { exit_at } = &mut self.mode {
            *exit_at = (*exit_at).min(now + ACKNOWLEDGED_WITHIN);
        }
        self.start_grace_period(now);
    }

    /// The share of the grace period in which trainers write checkpoints, and these are handed over.
    pub(super) fn reserve(&self) -> Duration {
        let most = if self.hands_over { HAND_OVER_WITHIN } else { CHECKPOINT_WITHIN };
        most.min(self.grace / 2)
    }

    /// How long a trainer may take to stop. The acknowledgements of the ends must fit into the grace period, too.
    fn stop_patience(&self) -> Duration {
        self.reserve().min(CHECKPOINT_WITHIN).saturating_sub(ACKNOWLEDGED_WITHIN).max(STOP_TO_KILL_LEAVING)
    }

    /// The machine will be taken away: what its jobs would still train here, they can train elsewhere.
    pub(super) fn on_notice(&mut self, now: Duration, why: String) {
        if matches!(self.mode, Mode::Serving | Mode::Draining { .. }) {
            self.why_it_leaves.get_or_insert(why);
            self.hand_back_waiting();
            self.hand_back(now, NOTICE_TO_HANDED_BACK / 2, now + NOTICE_TO_HANDED_BACK);
        }
    }

    /// The coordinator wants the worker to leave: as with the first signal, but a signal that follows still counts as
    /// the first.
    pub(super) fn on_drain(&mut self, now: Duration) {
        self.start_grace_period(now);
    }

    /// No job can train here: the worker leaves, and says why.
    pub(super) fn on_failure(&mut self, now: Duration, reason: String) {
        self.leave_by_itself(now, Departure::Failed(reason));
    }

    /// The coordinator refuses this worker for good: it leaves as on a signal, so that another worker can continue its
    /// jobs.
    pub(super) fn on_refusal(&mut self, now: Duration, reason: String) {
        self.leave_by_itself(now, Departure::Refused(reason));
    }

    fn leave_by_itself(&mut self, now: Duration, departure: Departure) {
        if self.mode == Mode::Serving {
            self.failure = Some(departure);
        }
        self.start_grace_period(now);
    }

    /// Starts the grace period, once: repeated requests do not extend it.
    fn start_grace_period(&mut self, now: Duration) {
        if self.mode == Mode::Serving {
            let hand_back_at = now + self.grace - self.reserve();
            self.mode = Mode::Draining { hand_back_at };
            self.hand_back_waiting();
            if hand_back_at > now {
                self.keep_all();
            }
        }
    }

    /// Has checkpoints of all jobs kept at once: the grace period may turn out to be shorter than it was said to be.
    fn keep_all(&mut self) {
        for (slot, of_slot) in self.slots.iter().enumerate() {
            let keep = of_slot.may_keep().into_iter().map(|attempt| Output::KeepJob { slot, attempt });
            self.outputs.extend(keep);
        }
    }

    /// Notes since when the worker has nothing to do; leaves once that is long enough. Only while it is connected: otherwise the
    /// coordinator may have jobs for it.
    pub(super) fn leave_if_idle_for_long(&mut self, now: Duration) {
        let Some(limit) = self.exit_when_idle else { return };
        let is_connected = matches!(self.link, Link::Open { .. });
        let has_nothing = self.slots.iter().all(Slot::is_idle) && self.outbox.is_empty();
        if self.mode != Mode::Serving || !is_connected || !has_nothing {
            self.idle_since = None;
        } else if now >= *self.idle_since.get_or_insert(now) + limit {
            let limit = humantime::format_duration(limit);
            self.why_it_leaves = Some(format!("it had no job for {limit} (--exit-when-idle)"));
            self.start_grace_period(now);
        }
    }

    /// When it will have had nothing to do for long enough.
    pub(super) fn idle_until(&self) -> Option<Duration> {
        Some(self.idle_since? + self.exit_when_idle?)
    }

    /// True once the worker is about to leave.
    pub(in crate::agent) fn is_leaving(&self) -> bool {
        self.mode.is_draining()
    }

    /// Hands back jobs that have not begun, at once.
    fn hand_back_waiting(&mut self) {
        for index in 0..self.slots.len() {
            for job in std::mem::take(&mut self.slots[index].waiting) {
                let end = End::new(Outcome::HandedBack, "the worker is shutting down");
                self.end(job.attempt, end);
            }
        }
    }

    pub(super) fn hand_back_when_grace_is_over(&mut self, now: Duration) {
        if !matches!(self.mode, Mode::Draining { hand_back_at } if hand_back_at <= now) {
            return;
        }
        let until = now + self.reserve().saturating_sub(ACKNOWLEDGED_WITHIN);
        self.hand_back(now, self.stop_patience(), until);
    }

    /// Stops all jobs, which have `patience` to keep checkpoints; these have to be handed over by `until`.
    fn hand_back(&mut self, now: Duration, patience: Duration, until: Duration) {
        self.mode = Mode::HandingBack { until };
        for index in 0..self.slots.len() {
            let running: Vec<_> = self.slots[index].running.iter().map(|running| running.attempt).collect();
            for attempt in running {
                self.stop(now, index, attempt, StopReason::HandedBack, Some(patience));
            }
        }
    }

    /// Reports that the worker takes no jobs, once per stream.
    pub(super) fn tell_draining(&mut self) {
        if let Link::Open { draining_told, .. } = &mut self.link
            && !std::mem::replace(draining_told, true)
        {
            let reason = match &self.failure {
                Some(Departure::Failed(reason) | Departure::Refused(reason)) => reason.clone(),
                _ => match &self.why_it_leaves {
                    Some(why) => why.clone(),
                    None => "the worker is shutting down".to_owned(),
                },
            };
            self.outputs.push(Output::Send(ToCoordinator::Draining { reason }));
        }
    }

    pub(super) fn leave_if_done(&mut self, now: Duration) {
        let all_idle = self.slots.iter().all(Slot::is_idle);
        let soon = now + ACKNOWLEDGED_WITHIN;
        match self.mode {
            Mode::Draining { hand_back_at } if all_idle => {
                // The rest of the grace period is for the results of the jobs that finished within it.
                self.mode = Mode::Leaving { exit_at: hand_back_at.max(soon) };
            }
            Mode::HandingBack { .. } if all_idle => self.mode = Mode::Leaving { exit_at: soon },
            _ => {}
        }
        if matches!(self.mode, Mode::Leaving { exit_at } if self.outbox.is_empty() || exit_at <= now) {
            self.tell_draining();
            self.mode = Mode::Gone;
            self.outputs.push(Output::Exit(self.failure.take().unwrap_or(Departure::Orderly)));
        }
    }
}
