//! When checkpoints are due: every N epochs, or by time if the job does not say.

use std::time::{Duration, Instant};

/// Shortest time between two: less training than that is cheap to repeat.
const INTERVAL_MIN: Duration = Duration::from_secs(30);

/// Training time per time spent on checkpoints: they slow training by a twentieth at most.
const TRAINING_PER_KEEPING: u32 = 20;

/// Says when the next checkpoints are due.
#[derive(Debug)]
pub struct CheckpointPolicy {
    since: Instant,
    interval: Duration,
}

impl CheckpointPolicy {
    /// Starts with a training.
    pub fn new(now: Instant) -> Self {
        Self { since: now, interval: INTERVAL_MIN }
    }

    /// Whether a job that has trained `epochs` epochs is due for a checkpoint: every `every_epochs` epochs, or by time
    /// if that is 0.
    pub fn is_due(&self, every_epochs: u32, epochs: u32, now: Instant) -> bool {
        match every_epochs {
            0 => now.duration_since(self.since) >= self.interval,
            every => epochs.is_multiple_of(every),
        }
    }

    /// Notes that checkpoints were written from `began` to `now`.
    pub fn kept(&mut self, began: Instant, now: Instant) {
        self.since = now;
        self.interval = INTERVAL_MIN.max(now.duration_since(began) * TRAINING_PER_KEEPING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_kept_each_half_minute_and_less_often_where_that_takes_long() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut policy = CheckpointPolicy::new(start);
        let is_due = |policy: &CheckpointPolicy, seconds| policy.is_due(0, 1, at(seconds));
        assert!(!is_due(&policy, 29) && is_due(&policy, 30));
        policy.kept(at(40), at(41));
        assert!(!is_due(&policy, 70) && is_due(&policy, 71));
        policy.kept(at(80), at(85));
        assert!(!is_due(&policy, 184) && is_due(&policy, 185));
    }

    #[test]
    fn who_says_how_often_is_obeyed_whatever_the_time() {
        let policy = CheckpointPolicy::new(Instant::now());
        let due: Vec<u32> = (1..=6).filter(|epochs| policy.is_due(2, *epochs, policy.since)).collect();
        assert_eq!(due, [2, 4, 6]);
    }
}
