//! How often checkpoints are kept of jobs that do not say it.

use std::time::{Duration, Instant};

/// Least time between two: what is trained in it is cheap to train again.
const INTERVAL_MIN: Duration = Duration::from_secs(30);

/// Time in training for each of keeping: training is held up by a twentieth at most.
const TRAINING_PER_KEEPING: u32 = 20;

/// Says when the next ones are due.
#[derive(Debug)]
pub struct Rhythm {
    since: Instant,
    interval: Duration,
}

impl Rhythm {
    /// Begins with a training.
    pub fn new(now: Instant) -> Self {
        Self { since: now, interval: INTERVAL_MIN }
    }

    /// Whether it is time for checkpoints.
    pub fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= self.interval
    }

    /// Checkpoints were kept, from `began` to `now`.
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
        let mut rhythm = Rhythm::new(start);
        assert!(!rhythm.is_due(at(29)) && rhythm.is_due(at(30)));
        rhythm.kept(at(40), at(41));
        assert!(!rhythm.is_due(at(70)) && rhythm.is_due(at(71)));
        rhythm.kept(at(80), at(85));
        assert!(!rhythm.is_due(at(184)) && rhythm.is_due(at(185)));
    }
}
