//! What is said to the coordinator and what it says: the greeting, grants and what it takes back, heartbeats, and the events that it has not
//! acknowledged. The stream may end at any time; what was not acknowledged is sent again on the next.

use std::time::Duration;

use terms::{AttemptKey, Outcome, Progress};

use super::{
    Session,
    leaving::Mode,
    limits::UNKILLABLE_TO_HANDED_BACK,
    running::{Running, StopReason},
    slot::Slot,
    types::{AttemptProgress, End, FromCoordinator, GrantedJob, Held, Output, ToCoordinator},
};

/// How long the coordinator may take to answer `Hello` before the stream is reopened.
pub(super) const WELCOME_WITHIN: Duration = Duration::from_secs(15);

/// Shortest time between two heartbeats, so that progress bars move without a message for each batch.
pub(super) const HEARTBEAT_GAP_MIN: Duration = Duration::from_millis(500);

/// Shortest heartbeat interval that a coordinator can ask for.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The stream to the coordinator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Link {
    Away,
    /// `Hello` is sent.
    Greeting {
        welcome_by: Duration,
    },
    /// We closed the stream because the coordinator did not answer, and wait for `Disconnected`.
    Closing,
    Open {
        heartbeat_interval: Duration,
        heartbeat_at: Duration,
        draining_told: bool,
    },
}

impl Session {
    pub(super) fn greet(&mut self, now: Duration) {
        self.outbox.rewind();
        let ended = self.outbox.ended();
        let held = self.held_running().chain(ended.into_iter().map(|attempt| Held::Ended { attempt }));
        let hello = ToCoordinator::Hello { held: held.collect(), draining: self.mode.is_draining() };
        self.outputs.push(Output::Send(hello));
        self.link = Link::Greeting { welcome_by: now + WELCOME_WITHIN };
    }

    /// Attempts that a trainer works on or is about to, except those that the coordinator has forgotten.
    fn held_running(&self) -> impl Iterator<Item = Held> + '_ {
        self.slots.iter().enumerate().flat_map(|(index, slot)| {
            let running =
                slot.running.iter().filter(|running| !running.is_refused()).map(|running| running.attempt);
            let waiting = slot.waiting.iter().map(|job| job.attempt);
            let handing_over = slot.handing_over.iter().map(|one| one.at.attempt);
            running
                .chain(waiting)
                .chain(handing_over)
                .map(move |attempt| Held::Running { attempt, slot: index })
        })
    }

    pub(super) fn on_message(&mut self, now: Duration, message: FromCoordinator) {
        match message {
            FromCoordinator::Welcome { heartbeat_interval, refused } => {
                self.on_welcome(now, heartbeat_interval, &refused);
            }
            FromCoordinator::Grant { slot, jobs } => self.on_grant(now, slot, jobs),
            FromCoordinator::Acknowledged { through } => {
                let forgettable = self.outbox.acknowledge(through);
                self.forget(forgettable);
            }
            FromCoordinator::Revoke { attempts, reason } => {
                attempts.into_iter().for_each(|attempt| self.revoke(now, attempt, &reason));
            }
            FromCoordinator::Drain => self.on_drain(now),
        }
    }

    fn on_welcome(&mut self, now: Duration, heartbeat_interval: Duration, refused: &[AttemptKey]) {
        for attempt in refused {
            let forgettable = self.outbox.drop_attempt(*attempt);
            self.forget(forgettable);
            for index in 0..self.slots.len() {
                let slot = &mut self.slots[index];
                slot.take_waiting(*attempt);
                if slot.take_handing_over(*attempt).is_some() {
                    self.close(*attempt, None);
                }
                self.stop(now, index, *attempt, StopReason::Refused, None);
            }
        }
        if let Link::Greeting { .. } = self.link {
            self.link = Link::Open {
                heartbeat_interval: heartbeat_interval.max(HEARTBEAT_INTERVAL_MIN),
                heartbeat_at: now,
                draining_told: false,
            };
        }
    }

    fn on_grant(&mut self, now: Duration, slot: usize, jobs: Vec<GrantedJob>) {
        let known = |attempt| {
            self.held_running().any(|held| held.attempt() == attempt) || self.outbox.holds_end_of(attempt)
        };
        let jobs: Vec<GrantedJob> = jobs.into_iter().filter(|job| !known(job.attempt)).collect();
        match self.obstacle(slot, &jobs) {
            Some(reason) => {
                for job in jobs {
                    self.end(job.attempt, End::new(Outcome::HandedBack, reason.clone()));
                }
            }
            None => {
                self.slots[slot].waiting = jobs;
                self.slots[slot].waiting_until = now + UNKILLABLE_TO_HANDED_BACK;
                self.start_waiting(now, slot);
            }
        }
    }

    /// Why jobs granted to this slot, and to those that they occupy besides, cannot be accepted.
    fn obstacle(&self, slot: usize, jobs: &[GrantedJob]) -> Option<String> {
        if self.mode.is_draining() {
            return Some("the worker takes no new jobs, it is about to leave".to_owned());
        }
        let also = jobs.iter().filter_map(|job| job.work.as_ref().ok()).flat_map(|work| &work.also_slots);
        [slot].iter().chain(also).find_map(|index| match self.slots.get(*index) {
            None => Some(format!("the worker has no slot {index}, it has {}", self.slots.len())),
            Some(_) if !self.has_room(*index) => Some(format!("slot {index} is busy with another attempt")),
            Some(_) => None,
        })
    }

    fn revoke(&mut self, now: Duration, attempt: AttemptKey, reason: &str) {
        let reason = if reason.is_empty() { "revoked by the coordinator" } else { reason };
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.take_waiting(attempt).is_some() || slot.take_handing_over(attempt).is_some() {
                self.end(attempt, End::new(Outcome::Revoked, reason));
            } else if slot.running_mut(attempt).is_some_and(|running| !running.is_refused()) {
                let forgettable = self.outbox.drop_attempt(attempt);
                self.forget(forgettable);
                self.stop(now, index, attempt, StopReason::Revoked { reason: reason.to_owned() }, None);
            }
        }
    }

    /// When the stream needs something to be done.
    pub(super) fn link_due(&self) -> Option<Duration> {
        match self.link {
            Link::Away | Link::Closing => None,
            Link::Greeting { welcome_by } => Some(welcome_by),
            Link::Open { .. } => self.heartbeat_due(),
        }
    }

    /// Gives up a stream on which the coordinator has not answered the greeting in time.
    pub(super) fn close_if_not_welcomed(&mut self, now: Duration) {
        if matches!(self.link, Link::Greeting { welcome_by } if welcome_by <= now) {
            self.link = Link::Closing;
            self.outputs.push(Output::CloseSession);
        }
    }

    fn heartbeat_due(&self) -> Option<Duration> {
        let Link::Open { heartbeat_at, .. } = self.link else { return None };
        let soon = self.last_heartbeat.map_or(Duration::ZERO, |last| last + HEARTBEAT_GAP_MIN);
        Some(if self.progress_is_news { heartbeat_at.min(soon) } else { heartbeat_at })
    }

    pub(super) fn send_what_is_due(&mut self, now: Duration) {
        if self.mode == Mode::Gone {
            return;
        }
        let is_due = self.heartbeat_due().is_some_and(|due| due <= now);
        if self.mode.is_draining() {
            self.tell_draining();
        }
        let Link::Open { heartbeat_interval, heartbeat_at, .. } = &mut self.link else { return };
        if is_due {
            *heartbeat_at = now + *heartbeat_interval;
            self.last_heartbeat = Some(now);
            self.progress_is_news = false;
            self.outputs.push(Output::Send(ToCoordinator::Heartbeat(self.progress())));
        }
        while let Some(event) = self.outbox.next_to_send() {
            self.outputs.push(Output::Send(ToCoordinator::Event(event)));
        }
    }

    fn progress(&self) -> Vec<AttemptProgress> {
        let of_slot = |slot: &Slot| {
            let running = slot.running.iter().filter(|running| !running.is_refused()).map(Running::progress);
            let waiting = slot
                .waiting
                .iter()
                .map(|job| AttemptProgress { attempt: job.attempt, progress: Progress::NONE });
            let handing_over = slot.handing_over.iter().map(|one| one.at);
            running.chain(waiting).chain(handing_over).collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(of_slot).collect()
    }
}
