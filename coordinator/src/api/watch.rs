//! What happens to a sweep: a snapshot, then events, then a last snapshot.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use domain::definition::SweepDefinition;
use engine::{
    Observation, Snapshot,
    query::{Define, TakeSnapshot},
};
use terms::{AttemptKey, Epoch, JobState, MetricSchema, ParameterMap, SweepId, WorkerName};
use tokio::{
    sync::{
        self,
        broadcast::{Receiver, error::RecvError},
    },
    time::{Interval, MissedTickBehavior},
};

use super::{Api, ApiError};
use crate::driver::{DriverHandle, Observed};

/// Shortest time between two snapshots: as often as a person sees a difference.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Most events between two snapshots: more than a person can read, and than a thousand workers bring about. The rest is
/// only in the next snapshot.
const EVENTS_A_SNAPSHOT_MAX: usize = 1_000;

/// Something that a watcher sees. Snapshots are as its interface sends them.
#[derive(Debug)]
pub enum WatchEvent<T> {
    /// The whole picture: first, again while something changes, and last of all.
    Snapshot(Arc<T>),
    /// An epoch became durable.
    Epoch(EpochSeen),
    /// A job changed its state.
    Job(JobSeen),
}

/// An epoch that became durable.
#[derive(Debug)]
pub struct EpochSeen {
    /// Who trained it.
    pub attempt: AttemptKey,
    /// The job's parameters.
    pub parameters: ParameterMap,
    /// Epochs of the job in all; none where the program decides.
    pub epochs_total: Option<u32>,
    /// What came out.
    pub epoch: Epoch,
    /// The names of its values.
    pub metrics: MetricSchema,
    /// How many epochs the attempt took over from an earlier one; their records are sent again.
    pub resumed_epochs: u32,
}

/// A job that changed its state.
#[derive(Debug)]
pub struct JobSeen {
    /// The job and its last attempt.
    pub attempt: AttemptKey,
    /// The job's parameters.
    pub parameters: ParameterMap,
    /// Its state.
    pub state: JobState,
    /// Who has or had it.
    pub worker: WorkerName,
    /// Why, for people.
    pub reason: String,
}

/// Snapshots that the watchers of a sweep share, as one interface sends them: each is made and encoded once for all.
#[derive(Debug)]
pub struct Snapshots<T> {
    encode: fn(Snapshot) -> T,
    sweeps: Arc<Mutex<HashMap<SweepId, Weak<Shared<T>>>>>,
}

/// The last snapshot of a sweep.
type Shared<T> = sync::Mutex<Option<Taken<T>>>;

/// A snapshot, encoded.
#[derive(Debug)]
struct Taken<T> {
    /// When it was asked for.
    since: Instant,
    /// Whether the sweep had ended.
    is_last: bool,
    snapshot: Arc<T>,
}

impl<T> Clone for Snapshots<T> {
    fn clone(&self) -> Self {
        Self { encode: self.encode, sweeps: Arc::clone(&self.sweeps) }
    }
}

impl<T> Snapshots<T> {
    /// None yet.
    pub fn new(encode: fn(Snapshot) -> T) -> Self {
        Self { encode, sweeps: Arc::default() }
    }

    /// The place of a sweep's snapshot, for as long as anyone has it.
    fn of(&self, sweep: SweepId) -> Arc<Shared<T>> {
        let mut sweeps = self.sweeps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = sweeps.get(&sweep).and_then(Weak::upgrade) {
            return shared;
        }
        sweeps.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared::default());
        sweeps.insert(sweep, Arc::downgrade(&shared));
        shared
    }
}

/// Who follows a sweep. Nothing is collected between two calls of [`Watch::next`]: what was missed is in the next snapshot.
#[derive(Debug)]
pub struct Watch<T> {
    driver: DriverHandle,
    sweep: SweepId,
    definition: Arc<SweepDefinition>,
    encode: fn(Snapshot) -> T,
    shared: Arc<Shared<T>>,
    observations: Receiver<Observed>,
    /// Of what became durable together, what was not looked at yet.
    observed: Option<(Observed, usize)>,
    due: Interval,
    progress: Progress,
    /// Whether the next snapshot has something new.
    has_changed: bool,
    /// Events that may still come before it.
    events_left: usize,
}

/// How far a watch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// No snapshot was taken.
    Begins,
    /// The sweep goes on.
    Goes,
    /// The last snapshot was taken.
    Ended,
}

impl Api {
    /// Follows a sweep until it has ended.
    ///
    /// # Errors
    /// There is no such sweep.
    pub async fn watch<T>(&self, sweep: SweepId, snapshots: &Snapshots<T>) -> Result<Watch<T>, ApiError> {
        let definition = self.definition(sweep).await?;
        let driver = self.leadership.driver()?;
        let mut due = tokio::time::interval(SNAPSHOT_INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Watch {
            // Listening begins before the first snapshot, so that nothing falls between the two.
            observations: driver.observe(),
            driver,
            sweep,
            definition,
            encode: snapshots.encode,
            shared: snapshots.of(sweep),
            observed: None,
            due,
            progress: Progress::Begins,
            has_changed: false,
            events_left: EVENTS_A_SNAPSHOT_MAX,
        })
    }
}

impl<T> Watch<T> {
    /// What happens next; none after the snapshot of a sweep that has ended.
    ///
    /// # Errors
    /// The coordinator shuts down, or the sweep cannot be asked for.
    pub async fn next(&mut self) -> Result<Option<WatchEvent<T>>, ApiError> {
        match self.progress {
            Progress::Begins => return self.snapshot().await.map(Some),
            Progress::Ended => return Ok(None),
            Progress::Goes => {}
        }
        loop {
            if let Some(event) = self.next_observed().await? {
                return Ok(Some(event));
            }
            tokio::select! {
                _ = self.due.tick(), if self.has_changed => return self.snapshot().await.map(Some),
                observed = self.observations.recv() => match observed {
                    Ok(observed) => self.observed = Some((observed, 0)),
                    // What was missed is in the next snapshot.
                    Err(RecvError::Lagged(_)) => self.has_changed = true,
                    Err(RecvError::Closed) => {
                        return Err(ApiError::Unavailable("the coordinator is shutting down".to_owned()));
                    }
                },
            }
        }
    }

    /// The next event of what became durable together, of this sweep.
    async fn next_observed(&mut self) -> Result<Option<WatchEvent<T>>, ApiError> {
        while let Some((observed, place)) = &mut self.observed {
            let Some((sweep, observation)) = observed.get(*place) else {
                self.observed = None;
                break;
            };
            *place += 1;
            if *sweep != self.sweep {
                continue;
            }
            self.has_changed = true;
            if matches!(observation, Observation::SweepChanged) {
                // Whoever waits for the end is not kept waiting.
                self.due.reset_immediately();
            }
            if self.events_left == 0 {
                continue;
            }
            let observation = observation.clone();
            if job_of(&observation) > self.definition.job_count() {
                // It was extended.
                self.definition = self.driver.query(Define(self.sweep)).await?.definition;
            }
            if let Some(event) = event(&self.definition, observation) {
                self.events_left -= 1;
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The whole picture, which watchers share.
    async fn snapshot(&mut self) -> Result<WatchEvent<T>, ApiError> {
        (self.has_changed, self.events_left) = (false, EVENTS_A_SNAPSHOT_MAX);
        let asked = Instant::now();
        let mut shared = self.shared.lock().await;
        // One that another watcher asked for later than this one had seen what it is for serves as well.
        let taken = match shared.take().filter(|taken| taken.since >= asked) {
            Some(taken) => taken,
            None => {
                let since = Instant::now();
                let snapshot = self.driver.query(TakeSnapshot(self.sweep)).await?;
                let is_last = snapshot.sweep.state.is_final();
                Taken { since, is_last, snapshot: Arc::new((self.encode)(snapshot)) }
            }
        };
        let taken = shared.insert(taken);
        self.progress = if taken.is_last { Progress::Ended } else { Progress::Goes };
        Ok(WatchEvent::Snapshot(Arc::clone(&taken.snapshot)))
    }
}

/// The job that an observation is about; 0 for none.
fn job_of(observation: &Observation) -> u64 {
    match observation {
        Observation::Epoch { attempt, .. } | Observation::Job { attempt, .. } => attempt.job.job,
        Observation::Progress | Observation::SweepChanged => 0,
    }
}

fn event<T>(definition: &SweepDefinition, observation: Observation) -> Option<WatchEvent<T>> {
    match observation {
        Observation::Epoch { attempt, epoch, metrics, resumed_epochs } => {
            Some(WatchEvent::Epoch(EpochSeen {
                attempt,
                parameters: definition.parameters(attempt.job.job),
                epochs_total: definition.budget(attempt.job.job),
                epoch,
                metrics,
                resumed_epochs,
            }))
        }
        Observation::Job { attempt, state, worker, reason } => Some(WatchEvent::Job(JobSeen {
            attempt,
            parameters: definition.parameters(attempt.job.job),
            state,
            worker,
            reason,
        })),
        Observation::Progress | Observation::SweepChanged => None,
    }
}
