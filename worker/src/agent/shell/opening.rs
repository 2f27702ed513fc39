//! What a starting worker finds: its spool, which a predecessor may still hold, what that was doing, and the files of users' programs.

use std::{path::Path, sync::Arc, time::Duration};

use terms::AttemptKey;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    super::{
        lineage,
        remote::Remote,
        session::types::{End, Event, EventKind},
        snapshots::Snapshots,
        spool::{Recovered, Spool, SpoolError},
        unfinished::Unfinished,
        weights::WeightsFolder,
        wire,
    },
    AgentError, Configuration,
};

/// How long a starting worker waits for its predecessor of the same name to end. One whose `sweep run` was killed has
/// its grace of 5 s, as long again for weights, and ends its trainers.
const SPOOL_FREE_WITHIN: Duration = Duration::from_secs(30);

/// After how long it says that it waits, and for whom.
const SPOOL_TOLD_AFTER: Duration = Duration::from_secs(1);

/// How often to check that.
const SPOOL_POLL: Duration = Duration::from_millis(100);

/// Opens the store of users' program files. The caller holds the spool's lock.
pub(super) fn open_snapshots(
    configuration: &Configuration,
    tidying: &TaskTracker,
) -> Result<Arc<Snapshots>, AgentError> {
    let source = Remote::new(configuration.target.clone())?;
    let opened = Snapshots::open(source, &configuration.files_cache, &configuration.spool, tidying.clone());
    let spool = |source| SpoolError::Io { path: configuration.spool.clone(), source };
    Ok(Arc::new(opened.map_err(spool)?))
}

/// What an earlier process of this worker left.
pub(super) struct Found {
    pub(super) spool: Spool,
    pub(super) unfinished: Unfinished,
    /// What waits for the coordinator.
    pub(super) events: Vec<Event>,
    /// The number of the next event.
    pub(super) next_sequence: u64,
    pub(super) weights: Arc<WeightsFolder>,
}

/// Takes up what an earlier process of this worker left, and names those that had its spool in the identity.
pub(super) fn take_up(
    configuration: &mut Configuration,
    mut spool: Spool,
    recovered: Recovered,
) -> Result<Found, AgentError> {
    spool.limit(configuration.spool_bytes_max);
    let instance = &configuration.identity.instance;
    configuration.identity.predecessors = lineage::succeed(&configuration.spool, instance)
        .map_err(|source| SpoolError::Io { path: configuration.spool.clone(), source })?;
    let (unfinished, left) = Unfinished::open(&configuration.spool);
    let events = recovered.events.into_iter().filter_map(|event| {
        wire::decode_event(event)
            .inspect_err(|error| tracing::warn!(%error, "an event of the spool is dropped"))
            .ok()
    });
    let mut events: Vec<Event> = events.collect();
    let next_sequence = report_left(left, &mut events, recovered.next_sequence, &mut spool);
    let mut weights = WeightsFolder::open(&configuration.spool)?;
    weights.limit(configuration.weights_bytes_max);
    Ok(Found { spool, unfinished, events, next_sequence, weights: Arc::new(weights) })
}

/// Adds the ends of attempts that an earlier process left running to what waits for the coordinator, unless their ends wait already.
/// Returns the number of the next event.
fn report_left(
    left: Vec<(AttemptKey, End)>,
    events: &mut Vec<Event>,
    mut next_sequence: u64,
    spool: &mut Spool,
) -> u64 {
    for (attempt, end) in left {
        if events.iter().any(|event| event.attempt == attempt) {
            continue;
        }
        tracing::warn!(%attempt, "an earlier process of this worker ended without it: {}", end.reason);
        let event = Event { sequence: next_sequence, attempt, kind: EventKind::Ended(end) };
        spool.append(&wire::encode_event(event.clone()));
        events.push(event);
        next_sequence += 1;
    }
    next_sequence
}

/// Opens the spool, waiting a little for a predecessor to release it. `None` if asked to leave meanwhile.
pub(crate) async fn open_spool(
    folder: &Path,
    shutdown: &mut mpsc::Receiver<()>,
) -> Result<Option<(Spool, Recovered)>, SpoolError> {
    let (begun, mut is_told) = (Instant::now(), false);
    loop {
        match Spool::open(folder) {
            Err(SpoolError::Taken { path, holder }) if begun.elapsed() < SPOOL_FREE_WITHIN => {
                // A predecessor that ends is gone before.
                if begun.elapsed() >= SPOOL_TOLD_AFTER && !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        "the spool {} belongs to a worker that is running{holder}; waiting for up to {} for it to end",
                        path.display(),
                        humantime::format_duration(SPOOL_FREE_WITHIN)
                    );
                }
            }
            opened => return opened.map(Some),
        }
        tokio::select! {
            _ = shutdown.recv() => return Ok(None),
            () = tokio::time::sleep(SPOOL_POLL) => {}
        }
    }
}
