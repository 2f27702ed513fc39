//! The clock that leases run on.

use std::time::Duration;

/// Longest time that passes for leases between two readings: some ticks.
const STEP_MAX: Duration = Duration::from_millis(500);

/// A clock that stands still while the driver does, and while requests that have arrived wait to be read. A commit that took
/// a minute, a machine that was suspended, or a disk that is too slow for all that workers send must not cost a worker its
/// lease before what it sent meanwhile was read.
#[derive(Debug, Default)]
pub struct LeaseClock {
    elapsed: Duration,
    last: Duration,
    /// Requests that had come when time last passed, and have not been read.
    unread: usize,
}

impl LeaseClock {
    /// The time for leases in milliseconds. `monotonic` is the time since some start and never goes back; `waiting` counts the
    /// requests that have arrived. The clock stands still until those that waited when time last passed are read: then
    /// everyone who had sent something was heard. So it goes on for those that send nothing, however much others do.
    pub fn read(&mut self, monotonic: Duration, waiting: usize) -> u64 {
        if self.unread == 0 {
            self.elapsed += monotonic.saturating_sub(self.last).min(STEP_MAX);
            self.last = self.last.max(monotonic);
            self.unread = waiting;
        }
        u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// One of the waiting requests is read.
    pub fn has_read(&mut self) {
        self.unread = self.unread.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn the_clock_of_leases_stands_still_while_the_driver_does() {
        let mut clock = LeaseClock::default();
        let mut read = |seconds| clock.read(Duration::from_secs_f64(seconds), 0);
        assert_eq!(read(0.1), 100);
        assert_eq!(read(0.3), 300);
        // A minute in one commit counts as one step.
        assert_eq!(read(60.3), 300 + 500);
        assert_eq!(read(60.4), 400 + 500);
    }

    /// A hundred workers say as much as they may; a commit takes a second and ten requests. Those whose number is at least
    /// `silent` say nothing after the first ten seconds. How long each was not heard at most, in milliseconds for leases.
    fn unheard(silent: usize) -> Vec<u64> {
        let (mut clock, mut waiting) = (LeaseClock::default(), VecDeque::new());
        let (mut heard, mut unheard) = (vec![0; 100], vec![0; 100]);
        for second in 0..300_u64 {
            let speaks = |worker: &usize| *worker < silent || second < 10;
            // When it is full, senders wait.
            if waiting.len() <= 100 {
                waiting.extend((0..100).filter(speaks));
            }
            let time = Duration::from_secs(second);
            for _ in 0..10 {
                let Some(worker) = waiting.pop_front() else { break };
                clock.has_read();
                heard[worker] = clock.read(time, waiting.len());
            }
            // The tick.
            let now = clock.read(time, waiting.len());
            for (unheard, heard) in unheard.iter_mut().zip(&heard) {
                *unheard = u64::max(*unheard, now - heard);
            }
        }
        unheard
    }

    #[test]
    fn no_worker_loses_a_lease_while_its_messages_wait_to_be_read() {
        let longest = unheard(100).into_iter().max().unwrap();
        assert!(longest <= 1_000, "a worker that always spoke was not heard for {longest} ms");
    }

    #[test]
    fn time_passes_for_those_that_say_nothing_though_others_always_do() {
        let silent = unheard(99)[99];
        assert!(silent >= 5_000, "{silent}");
    }
}
