//! One stream between a worker and a coordinator: each direction keeps its order, as TCP does, and may be late,
//! stall, or lose its tail when the stream breaks. What arrives twice is what was sent again on the next stream; what
//! arrives out of order is the end of a stream that comes after the beginning of the next one.

use std::collections::VecDeque;

use engine::SessionId;
use proto::v1;

use super::coordinator::Life;

/// A stream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) worker: usize,
    pub(super) worker_life: u32,
    pub(super) coordinator: Life,
    /// The coordinator's name for it, once it has said hello.
    pub(super) session: Option<SessionId>,
    /// Worker to coordinator.
    pub(super) up: Direction<v1::WorkerMessage>,
    /// Coordinator to worker.
    pub(super) down: Direction<v1::CoordinatorMessage>,
}

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Direction<M> {
    /// When each arrives, and what; nothing is the stream's end.
    pub(super) on_the_way: VecDeque<(u64, Option<M>)>,
    /// Nothing arrives before.
    pub(super) stalled_until: u64,
    last_arrival: u64,
    ended: bool,
}

impl<M> Default for Direction<M> {
    fn default() -> Self {
        Self { on_the_way: VecDeque::new(), stalled_until: 0, last_arrival: 0, ended: false }
    }
}

impl<M> Direction<M> {
    /// Sends something that takes until `arrival`; returns when it arrives, unless the stream has ended.
    pub(super) fn send(&mut self, arrival: u64, message: Option<M>) -> Option<u64> {
        if self.ended {
            return None;
        }
        self.ended = message.is_none();
        let arrival = arrival.max(self.last_arrival).max(self.stalled_until);
        self.last_arrival = arrival;
        self.on_the_way.push_back((arrival, message));
        Some(arrival)
    }

    /// Loses all but the first `kept` messages on the way, and ends at `arrival`; returns when that is.
    pub(super) fn cut(&mut self, kept: usize, arrival: u64) -> Option<u64> {
        self.on_the_way.truncate(kept);
        self.ended = false;
        self.send(arrival, None)
    }
}
