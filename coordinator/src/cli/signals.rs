//! Requests to stop: SIGTERM, SIGINT (Ctrl-C), and SIGHUP (the terminal or the ssh session closes) unless it was
//! ignored when this process started, as `nohup` arranges. The first asks to stop in order, the next to stop at once.
//! One request often arrives as several signals, from a closing terminal, a shell and a supervisor.

use std::time::{Duration, Instant};

use anyhow::Context;
use terminal::signals::is_hangup_ignored;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// Within this time after the first request to stop, another signal belongs to the same request.
const SAME_REQUEST_WITHIN: Duration = Duration::from_secs(2);

/// Requests to stop, each reported once.
pub(super) struct StopRequests {
    signals: StopSignals,
    first: FirstRequest,
}

impl StopRequests {
    /// From now on, these signals no longer end the process.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { signals: StopSignals::new()?, first: FirstRequest::default() })
    }

    /// Runs `work` until there is a request to stop.
    pub(super) async fn unless_asked<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.asked() => Err(Failure::Interrupted),
        }
    }

    /// Waits for the next request. May be dropped and called again.
    pub(super) async fn asked(&mut self) {
        loop {
            self.signals.asked().await;
            if self.first.counts(Instant::now()) {
                return;
            }
        }
    }
}

/// When it was first asked to stop.
#[derive(Default)]
struct FirstRequest(Option<Instant>);

impl FirstRequest {
    /// Whether a signal that arrives `now` is a new request: the first is, and after a while each.
    fn counts(&mut self, now: Instant) -> bool {
        match self.0 {
            Some(first) => now.saturating_duration_since(first) > SAME_REQUEST_WITHIN,
            None => {
                self.0 = Some(now);
                true
            }
        }
    }
}

/// The signals that ask a command to stop.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl StopSignals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        // Checked before listening, which would end the ignoring.
        let hangup = (!is_hangup_ignored()).then(|| listen(SignalKind::hangup())).transpose()?;
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Waits for the next signal. May be dropped and called again.
    async fn asked(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_arrives_in_several_ways_counts_once() {
        let (mut first, begin) = (FirstRequest::default(), Instant::now());
        let mut counts = |milliseconds| first.counts(begin + Duration::from_millis(milliseconds));
        assert_eq!([0, 1, 5, 2_000].map(&mut counts), [true, false, false, false]);
        assert_eq!([2_001, 2_002].map(&mut counts), [true, true], "then each is meant");
    }
}
