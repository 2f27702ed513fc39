//! Follows a sweep: the stream of events, reopened when it breaks.

use std::time::{Duration, Instant};

use proto::v1::{self, watch_sweep_response::Event};
use terms::SweepState;
use tonic::Streaming;

use super::{client::Target, failure::Failure, output::count};

/// How long a coordinator may be away after it was connected: a restart, or its move to another machine.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(120);
/// Pause between two attempts to reopen the stream.
pub(super) const REOPEN_DELAY: Duration = Duration::from_millis(500);

/// The events of one sweep, from now to its end.
pub(super) struct Follower<'a> {
    target: &'a Target,
    sweep_id: u64,
    stream: Option<Streaming<v1::WatchSweepResponse>>,
    last_contact: Option<Instant>,
    ended: bool,
}

impl<'a> Follower<'a> {
    pub(super) fn new(target: &'a Target, sweep_id: u64) -> Self {
        Self { target, sweep_id, stream: None, last_contact: None, ended: false }
    }

    /// The next event: a snapshot first and after every break, one with a final state last, then none.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        while !self.ended {
            match self.receive().await {
                Ok(event) => {
                    self.last_contact = Some(Instant::now());
                    if let Event::Snapshot(v1::WatchSnapshot { sweep: Some(sweep), .. }) = &event {
                        self.ended = is_final(sweep);
                    }
                    return Ok(Some(event));
                }
                Err(failure) => {
                    self.stream = None;
                    before_reopening(failure, self.last_contact).await?;
                }
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Event, Failure> {
        if self.stream.is_none() {
            let mut client = self.target.connect().await?;
            let request = v1::WatchSweepRequest { sweep_id: self.sweep_id };
            self.stream = Some(self.target.in_time(client.watch_sweep(request)).await?.into_inner());
        }
        let broken = || Failure::Unreachable("the coordinator ended the stream".to_owned());
        let stream = self.stream.as_mut().ok_or_else(broken)?;
        loop {
            let message = stream.message().await?.ok_or_else(broken)?;
            if let Some(event) = message.event {
                return Ok(event);
            }
        }
    }
}

/// Whether the sweep has ended.
pub(super) fn is_final(sweep: &v1::Sweep) -> bool {
    is_final_state(sweep.state())
}

/// Whether a sweep in this state has ended.
pub(super) fn is_final_state(state: v1::SweepState) -> bool {
    SweepState::try_from(state).ok().is_some_and(SweepState::is_final)
}

/// Exit code of a sweep that has ended: it ended well only if every job has a result, except those that were not needed because
/// another one reached the target, and if one of them is done: jobs that diverged or were stopped early are results next to it, and nothing
/// to use without it. `reasons` says where to find the reasons.
pub(super) fn verdict(sweep: &v1::Sweep, reasons: &str) -> Result<(), Failure> {
    let counts = sweep.counts.unwrap_or_default();
    let without_result = match sweep.stopped.is_empty() {
        true => sweep.job_count.saturating_sub(counts.done + counts.diverged + counts.stopped),
        false => counts.failed,
    };
    if without_result == 0 {
        return match none_done(sweep) {
            Some(why) => {
                Err(Failure::operation(format!("no job is done: {why}; see {reasons} for the reasons")))
            }
            None => Ok(()),
        };
    }
    Err(Failure::operation(format!(
        "{without_result} of {} {} no result ({} failed, {} cancelled); see {reasons} for the reasons",
        count(sweep.job_count, "job"),
        if sweep.job_count == 1 { "has" } else { "have" },
        counts.failed,
        counts.cancelled
    )))
}

/// What became of the jobs of a sweep that has finished and left nothing to use, for people; none of another one. Where a user or the
/// target ended a sweep, what is missing was not wanted.
pub(super) fn none_done(sweep: &v1::Sweep) -> Option<String> {
    let counts = sweep.counts.unwrap_or_default();
    let has_ended_alone = sweep.state() == v1::SweepState::Finished;
    if !has_ended_alone || counts.done > 0 {
        return None;
    }
    let of = count(sweep.job_count, "job");
    match (counts.diverged, counts.stopped, counts.failed) {
        (0, 0, 0) => None,
        (0, 0, failed) => Some(format!("{failed} of {of} failed")),
        (0, stopped, _) => Some(format!("early stopping ended {stopped} of {of}")),
        (diverged, 0, _) => Some(format!("{diverged} of {of} diverged")),
        (diverged, stopped, _) => {
            Some(format!("{diverged} of {of} diverged, and early stopping ended {stopped}"))
        }
    }
}

/// Waits until a stream that broke may be opened again.
///
/// # Errors
/// The failure, where it will not pass or the last contact is too long ago.
pub(super) async fn before_reopening(failure: Failure, last_contact: Option<Instant>) -> Result<(), Failure> {
    let back_soon = last_contact.is_some_and(|at| at.elapsed() < AWAY_MAX);
    if !failure.is_passing() || !back_soon {
        return Err(failure);
    }
    tracing::debug!(%failure, "the stream broke");
    tokio::time::sleep(REOPEN_DELAY).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_of_which_early_stopping_left_no_job_did_not_end_well() {
        let sweep = |state: v1::SweepState, done| v1::Sweep {
            state: state.into(),
            job_count: 4,
            counts: Some(v1::JobCounts { done, stopped: 4 - done, ..v1::JobCounts::default() }),
            ..v1::Sweep::default()
        };
        let told = verdict(&sweep(v1::SweepState::Finished, 0), "`sweep jobs 7`").unwrap_err().to_string();
        let expected = "no job is done: early stopping ended 4 of 4 jobs; see `sweep jobs 7` for the reasons";
        assert_eq!(told, expected);
        assert!(verdict(&sweep(v1::SweepState::Finished, 1), "x").is_ok());
        assert!(verdict(&sweep(v1::SweepState::Stopped, 0), "x").is_ok(), "a user stopped it");
    }

    #[test]
    fn a_sweep_that_only_diverged_did_not_end_well() {
        let sweep = |done, diverged, stopped| v1::Sweep {
            state: v1::SweepState::Finished.into(),
            job_count: 4,
            counts: Some(v1::JobCounts { done, diverged, stopped, ..v1::JobCounts::default() }),
            ..v1::Sweep::default()
        };
        let told = |sweep| verdict(&sweep, "`sweep jobs 7`").unwrap_err().to_string();
        assert_eq!(
            told(sweep(0, 4, 0)),
            "no job is done: 4 of 4 jobs diverged; see `sweep jobs 7` for the reasons"
        );
        assert_eq!(
            told(sweep(0, 3, 1)),
            "no job is done: 3 of 4 jobs diverged, and early stopping ended 1; see `sweep jobs 7` for the reasons"
        );
        assert!(verdict(&sweep(1, 3, 0), "x").is_ok(), "next to one that is done");
        let stopped = v1::Sweep { state: v1::SweepState::Stopped.into(), ..sweep(0, 4, 0) };
        assert!(verdict(&stopped, "x").is_ok(), "a user stopped it");
    }

    #[test]
    fn a_sweep_ended_well_when_every_job_has_a_result() {
        let sweep = |done, diverged, failed| v1::Sweep {
            job_count: 4,
            counts: Some(v1::JobCounts { done, diverged, failed, ..v1::JobCounts::default() }),
            ..v1::Sweep::default()
        };
        assert!(verdict(&sweep(3, 1, 0), "x").is_ok());
        let told = verdict(&sweep(3, 0, 1), "`sweep jobs 7`").unwrap_err().to_string();
        let expected =
            "1 of 4 jobs have no result (1 failed, 0 cancelled); see `sweep jobs 7` for the reasons";
        assert_eq!(told, expected);
        assert!(verdict(&sweep(3, 0, 0), "x").is_err());
        let stopped = |failed| v1::Sweep { stopped: "job 1 reached it".to_owned(), ..sweep(1, 0, failed) };
        assert!(verdict(&stopped(0), "x").is_ok() && verdict(&stopped(1), "x").is_err());
    }
}
