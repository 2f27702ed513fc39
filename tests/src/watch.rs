//! Waits for events of a sweep on its stream. A wait is bounded in two ways: the stream may not be silent for long, and what is
//! waited for must come in the end, even if the stream never stops talking.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proto::v1::{self, watch_sweep_response::Event};
use tonic::Streaming;

use crate::{PATIENCE, cluster::Client};

/// Longest wait as a whole: the longest sweep of a scenario or of the chaos takes a few minutes on a loaded machine.
const WHOLE_WAIT: Duration = Duration::from_secs(20 * 60);

/// Events that are shown when a wait is given up, and characters of each.
const SHOWN_MAX: usize = 10;
const SHOWN_CHARACTERS_MAX: usize = 300;

/// A wait for something on a stream.
struct Wait<'a> {
    what: &'a str,
    begun: Instant,
    silence: Duration,
    whole: Duration,
    /// The last events.
    last: VecDeque<String>,
}

impl<'a> Wait<'a> {
    fn new(what: &'a str, silence: Duration, whole: Duration) -> Self {
        Self { what, begun: Instant::now(), silence, whole, last: VecDeque::new() }
    }

    /// The next message; none at the end of the stream.
    async fn next<T: std::fmt::Debug>(
        &mut self,
        message: impl Future<Output = Result<Option<T>, tonic::Status>>,
    ) -> Option<T> {
        let left =
            self.whole.checked_sub(self.begun.elapsed()).unwrap_or_else(|| self.give_up("talks without end"));
        let message = tokio::time::timeout(self.silence.min(left), message).await;
        let message = message.unwrap_or_else(|_| self.give_up("is silent")).expect("the stream goes on");
        if let Some(message) = &message {
            self.last.push_back(format!("{message:?}").chars().take(SHOWN_CHARACTERS_MAX).collect());
            if self.last.len() > SHOWN_MAX {
                self.last.pop_front();
            }
        }
        message
    }

    fn give_up(&self, why: &str) -> ! {
        let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
        panic!(
            "gave up waiting for {} after {:?}: the stream {why}; its last events:\n{}",
            self.what,
            self.begun.elapsed(),
            last.join("\n")
        )
    }
}

/// The stream of one sweep.
#[derive(Debug)]
pub struct Watch(Streaming<v1::WatchSweepResponse>);

impl Watch {
    /// Opens the stream; its first event is a snapshot.
    ///
    /// # Panics
    /// The coordinator refuses.
    pub async fn open(mut client: Client, sweep_id: u64) -> Self {
        let stream = client.watch_sweep(v1::WatchSweepRequest { sweep_id }).await;
        Self(stream.expect("the sweep can be watched").into_inner())
    }

    /// A stream that was opened with more than its request, such as a token.
    pub fn of(stream: Streaming<v1::WatchSweepResponse>) -> Self {
        Self(stream)
    }

    /// The first event for which `pick` returns something.
    ///
    /// # Panics
    /// The stream ends or is silent before, or it does not come in the longest time that anything takes.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let mut wait = Wait::new(what, PATIENCE, WHOLE_WAIT);
        loop {
            let Some(message) = wait.next(self.0.message()).await else {
                wait.give_up("has ended");
            };
            if let Some(found) = message.event.as_ref().and_then(&mut pick) {
                return found;
            }
        }
    }

    /// Gives every event to `hear`, until the sweep has ended.
    ///
    /// # Panics
    /// The stream is silent before, or goes on longer than anything takes.
    pub async fn to_the_end(&mut self, mut hear: impl FnMut(&Event)) {
        let mut wait = Wait::new("the sweep's end", PATIENCE, WHOLE_WAIT);
        while let Some(message) = wait.next(self.0.message()).await {
            message.event.iter().for_each(&mut hear);
        }
    }

    /// The number of a job with some durable epochs and some still to come.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_some_job_is_in_the_middle(&mut self) -> u64 {
        self.until("an epoch that is not the last", |event| match event {
            Event::Epoch(epoch) => {
                let middle =
                    epoch.record.as_ref().is_some_and(|record| record.epoch < epoch.epochs_total / 2);
                epoch.point.as_ref().filter(|_| middle).map(|point| point.job)
            }
            _ => None,
        })
        .await
    }

    /// The number of a job whose `epoch`, or a later one, is durable.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_epoch(&mut self, epoch: u32) -> u64 {
        self.until("an epoch", |event| match event {
            Event::Epoch(observed) => {
                let far = observed.record.as_ref().is_some_and(|record| record.epoch >= epoch);
                observed.point.as_ref().filter(|_| far).map(|point| point.job)
            }
            _ => None,
        })
        .await
    }

    /// Waits until `jobs` jobs are done.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_done(&mut self, jobs: u64) -> v1::Sweep {
        self.until("jobs that are done", |event| match event {
            Event::Snapshot(snapshot) => {
                let sweep = snapshot.sweep.as_ref()?;
                (sweep.counts.unwrap_or_default().done >= jobs).then(|| sweep.clone())
            }
            _ => None,
        })
        .await
    }

    /// The sweep in its final state.
    ///
    /// # Panics
    /// As [`Self::until`].
    pub async fn until_end(&mut self) -> v1::Sweep {
        self.until("the sweep's end", |event| match event {
            Event::Snapshot(snapshot) => {
                let sweep = snapshot.sweep.as_ref()?;
                let running = [v1::SweepState::Running, v1::SweepState::Stopping].contains(&sweep.state());
                (!running).then(|| sweep.clone())
            }
            _ => None,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "gave up waiting for the end")]
    async fn a_stream_that_never_stops_talking_is_given_up() {
        let mut wait = Wait::new("the end", PATIENCE, Duration::from_millis(50));
        loop {
            wait.next(async { Ok(Some("news")) }).await;
        }
    }

    #[tokio::test]
    #[should_panic(expected = "the stream is silent; its last events:\n\"one\"\n\"two\"")]
    async fn a_silent_stream_is_given_up_with_what_came_last() {
        let mut wait = Wait::new("the end", Duration::from_millis(50), PATIENCE);
        for event in ["one", "two"] {
            wait.next(async { Ok(Some(event)) }).await;
        }
        wait.next::<()>(std::future::pending()).await;
    }
}
