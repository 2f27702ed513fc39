//! The clock that leases run on.

use std::time::Duration;

/// Longest time that passes for leases between two readings: some ticks.
const STEP_MAX: Duration = Duration::from_millis(500);

/// A clock that stands still while the driver does: a commit that took a minute, or a machine that was suspended,
/// must not cost every worker its lease before what they said meanwhile has been read.
#[derive(Debug, Default)]
pub struct LeaseClock {
    elapsed: Duration,
    last: Duration,
}

impl LeaseClock {
    /// The time for leases in milliseconds; `monotonic` is the time since some start and never goes back.
    pub fn read(&mut self, monotonic: Duration) -> u64 {
        self.elapsed += monotonic.saturating_sub(self.last).min(STEP_MAX);
        self.last = self.last.max(monotonic);
        u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_leases_stands_still_while_the_driver_does() {
        let mut clock = LeaseClock::default();
        let mut read = |seconds| clock.read(Duration::from_secs_f64(seconds));
        assert_eq!(read(0.1), 100);
        assert_eq!(read(0.3), 300);
        // A minute in one commit counts as one step.
        assert_eq!(read(60.3), 300 + 500);
        assert_eq!(read(60.4), 400 + 500);
    }
}
