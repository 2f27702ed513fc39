//! The stream behind `sweep watch`: a snapshot, then what happens, then a last snapshot.

use std::{sync::Arc, time::Duration};

use proto::{SweepId, v1};
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::Status;

use super::{mismatch, refused};
use crate::{
    core::{
        definition::SweepDefinition,
        engine::{Input, Observation, Reply},
        state::SweepState,
    },
    driver::DriverHandle,
};

/// Messages that may wait for a slow watcher; while they do, nothing is collected for it.
pub(super) const MESSAGES_WAITING_MAX: usize = 64;
/// Shortest time between two snapshots: as often as a person sees a difference.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Most events between two snapshots: more than a person can read, and than a thousand workers bring about. The rest is
/// only in the next snapshot.
const EVENTS_A_SNAPSHOT_MAX: usize = 1_000;

/// Follows a sweep until it has ended or `sender`'s other side is gone.
pub(super) async fn follow(
    driver: DriverHandle,
    sweep: SweepId,
    definition: Arc<SweepDefinition>,
    sender: mpsc::Sender<Result<v1::WatchSweepResponse, Status>>,
) {
    if let Err(status) = follow_until_end(&driver, sweep, definition, &sender).await {
        // Without a receiver there is nobody to tell.
        let _ = sender.send(Err(status)).await;
    }
}

async fn follow_until_end(
    driver: &DriverHandle,
    sweep: SweepId,
    mut definition: Arc<SweepDefinition>,
    sender: &mpsc::Sender<Result<v1::WatchSweepResponse, Status>>,
) -> Result<(), Status> {
    // Listening begins before the snapshot, so that nothing falls between the two.
    let mut observations = driver.observe();
    let mut ended = send_snapshot(driver, sweep, sender).await?;
    let mut due = tokio::time::interval(SNAPSHOT_INTERVAL);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut changed, mut events_left) = (false, EVENTS_A_SNAPSHOT_MAX);
    while !ended {
        tokio::select! {
            () = sender.closed() => return Ok(()),
            _ = due.tick(), if changed => {
                (changed, events_left) = (false, EVENTS_A_SNAPSHOT_MAX);
                ended = send_snapshot(driver, sweep, sender).await?;
            }
            observed = observations.recv() => match observed {
                Ok(observed) => {
                    for (_, observation) in observed.iter().filter(|(observed, _)| *observed == sweep) {
                        changed = true;
                        if matches!(observation, Observation::Ended) {
                            // Who waits for the end is not kept waiting.
                            due.reset_immediately();
                        }
                        if events_left == 0 {
                            continue;
                        }
                        if job_of(observation) > definition.job_count() {
                            definition = define(driver, sweep).await?;
                        }
                        if let Some(event) = event(&definition, observation) {
                            events_left -= 1;
                            if sender.send(Ok(event)).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                }
                // What was missed is in the next snapshot.
                Err(RecvError::Lagged(_)) => changed = true,
                Err(RecvError::Closed) => return Err(Status::unavailable("the coordinator is shutting down")),
            },
        }
    }
    Ok(())
}

/// What the jobs of a sweep are now: it may have been extended.
async fn define(driver: &DriverHandle, sweep: SweepId) -> Result<Arc<SweepDefinition>, Status> {
    match driver.call(Input::Define(sweep)).await.map_err(refused)? {
        Reply::Definition(definition, _) => Ok(definition),
        _ => Err(mismatch()),
    }
}

/// The job that an observation is about; 0 for none.
fn job_of(observation: &Observation) -> u64 {
    match observation {
        Observation::Epoch { attempt, .. } | Observation::Job { attempt, .. } => attempt.job.job,
        Observation::Progress | Observation::Ended => 0,
    }
}

/// Sends the whole picture; returns whether the sweep has ended.
async fn send_snapshot(
    driver: &DriverHandle,
    sweep: SweepId,
    sender: &mpsc::Sender<Result<v1::WatchSweepResponse, Status>>,
) -> Result<bool, Status> {
    let Reply::Snapshot(snapshot) = driver.call(Input::Snapshot(sweep)).await.map_err(refused)? else {
        return Err(mismatch());
    };
    let ended = snapshot.sweep.as_ref().is_some_and(|sweep| is_final(sweep.state()));
    let event = v1::watch_sweep_response::Event::Snapshot(*snapshot);
    let gone = sender.send(Ok(v1::WatchSweepResponse { event: Some(event) })).await.is_err();
    Ok(ended || gone)
}

fn is_final(state: v1::SweepState) -> bool {
    [SweepState::Finished, SweepState::Stopped, SweepState::Cancelled]
        .map(v1::SweepState::from)
        .contains(&state)
}

fn event(definition: &SweepDefinition, observation: &Observation) -> Option<v1::WatchSweepResponse> {
    use v1::watch_sweep_response::Event;
    let event = match *observation {
        Observation::Epoch { attempt, metrics, resumed_epochs } => Event::Epoch(v1::EpochObserved {
            point: Some(definition.point(attempt.job.job)),
            attempt: attempt.attempt,
            epochs_total: definition.epochs(attempt.job.job),
            record: Some(metrics.into()),
            resumed_epochs,
        }),
        Observation::Job { attempt, state, ref worker, ref reason } => Event::Job(v1::JobChanged {
            point: Some(definition.point(attempt.job.job)),
            state: v1::JobState::from(state).into(),
            attempt: attempt.attempt,
            worker: worker.to_string(),
            reason: reason.clone(),
        }),
        Observation::Progress | Observation::Ended => return None,
    };
    Some(v1::WatchSweepResponse { event: Some(event) })
}
