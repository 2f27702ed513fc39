//! The engine: the coordinator's whole state and everything that changes it. Commands and events come in one at a time,
//! with the time. Out come the records that must be durable, the effects to perform once they are, and the answer.
//! Queries read and change nothing. Nothing here waits, reads a clock, or does I/O.

mod attempts;
mod attribution;
mod away;
pub mod command;
mod control;
mod event;
mod gpus;
mod issuer;
mod job_control;
mod learning;
mod measure;
mod orders;
mod output;
mod outside;
mod packs;
pub mod query;
mod refusal;
mod resources;
mod restore;
mod schedule;
mod sessions;
mod shares;
mod sweep_run;
mod sweeps;
mod turns;
mod view;
mod waiting;
mod weights;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

pub use domain::mutants;
use terms::{AttemptKey, SweepId, WorkerName};

use self::{
    attribution::Doubts,
    gpus::Kept,
    packs::PackSizes,
    shares::Shares,
    sweep_run::{Placement, SweepRun},
    sweeps::Sweeps,
    workers::{WorkerState, Workers},
};
pub use self::{
    command::{Command, EndsSeen, Issued, JobEnd},
    event::{AttemptEvent, Event, Heartbeat, HeldAttempt, Hello, INPUT_BYTES, SessionId, SlotDescription},
    issuer::Issuer,
    learning::{Difference, Discarded, NotSearchable, Revived, recomputed},
    measure::{Measure, Measured, SlotCounts, WorkerCounts},
    orders::{DatasetPlan, Grant, JobAssignment, ToWorker, Welcome},
    output::{CloseReason, Effect, Observation, Output, RefusedEvents},
    query::Query,
    refusal::ControlError,
    restore::RestoreError,
    shares::{QuotaView, Share},
    sweep_run::metrics::LeftOutMetrics,
    view::{
        JobCounts, KeptWeights, RunningJob, Snapshot, SweepView, WaitReason, Waiting, WorkerStatus,
        WorkerView,
    },
    weights::{WeightsAnswer, WeightsNames, weights_name},
};

/// The time at which something happens: the engine has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never jumps; leases run on it.
    pub monotonic_ms: u64,
    /// Wall-clock milliseconds since 1970, only for people.
    pub unix_ms: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// How long a worker may be silent before its attempts are lost, in milliseconds.
    pub lease_ms: u64,
    /// How often a worker must send a heartbeat, in milliseconds; several fit into a lease.
    pub heartbeat_interval_ms: u64,
    /// Whether there is a place for trained weights.
    pub keeps_weights: bool,
}

impl EngineConfig {
    /// Heartbeats every quarter of a lease, and at least every 2 s, so that people see progress.
    pub fn with_lease_ms(lease_ms: u64) -> Self {
        Self { lease_ms, heartbeat_interval_ms: (lease_ms / 4).clamp(1, 2_000), keeps_weights: false }
    }

    /// The same, with or without a place for trained weights.
    #[must_use]
    pub fn keeping_weights(self, keeps_weights: bool) -> Self {
        Self { keeps_weights, ..self }
    }
}

/// What a submission is known by when it comes again: the id that its sender gave it, which is no one else's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    owner: Option<Arc<str>>,
    id: String,
}

/// The coordinator's state.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    sweeps: Sweeps,
    shares: Shares,
    requests: HashMap<Request, SweepId>,
    workers: Workers,
    sessions: HashMap<SessionId, WorkerName>,
    pack_sizes: PackSizes,
    doubts: Doubts,
    /// Slots that are kept for jobs with several GPUs since the last change.
    kept: Kept,
    /// How many points may still be proposed in this turn.
    proposals_left: u32,
    /// How many slots take packs of a sweep, as far as it was counted in this turn.
    packing_slots: BTreeMap<SweepId, u64>,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            sweeps: Sweeps::default(),
            shares: Shares::default(),
            requests: HashMap::new(),
            workers: Workers::default(),
            sessions: HashMap::new(),
            pack_sizes: PackSizes::default(),
            doubts: Doubts::default(),
            kept: Kept::default(),
            proposals_left: 0,
            packing_slots: BTreeMap::new(),
        }
    }

    /// Executes a command.
    pub fn execute<C: Command>(
        &mut self,
        now: Now,
        Issued { command, issuer }: Issued<C>,
    ) -> (Result<C::Answer, ControlError>, Output) {
        let mut out = Output::default();
        let answer = match self.refuse_others(&issuer, command.sweep()) {
            Ok(()) => command.apply(self, now, &issuer, &mut out),
            Err(refused) => Err(refused),
        };
        self.settle_down(now, &mut out);
        (answer, out)
    }

    /// Refuses to change a sweep that is someone else's.
    fn refuse_others(&self, issuer: &Issuer, sweep: Option<SweepId>) -> Result<(), ControlError> {
        let Some(run) = sweep.and_then(|sweep| self.sweeps.get(sweep)) else { return Ok(()) };
        let owner = run.owner();
        if issuer.may_change(owner.map(|owner| &**owner)) {
            return Ok(());
        }
        let owner = owner.map_or_else(|| "no one".to_owned(), ToString::to_string);
        Err(ControlError::NotYours { sweep: run.id(), owner })
    }

    /// Handles an event.
    pub fn hear(&mut self, now: Now, event: Event) -> Output {
        let mut out = Output::default();
        self.hear_into(now, event, &mut out);
        out
    }

    /// The same; what follows is added to `out`, which has room for many events where each would need memory of its own.
    pub fn hear_into(&mut self, now: Now, event: Event, out: &mut Output) {
        match event {
            Event::SessionOpened { session, hello } => self.session_opened(now, session, hello, out),
            Event::SessionClosed(session) => self.session_closed(now, session),
            Event::WorkerShutOut { session, reason } => self.worker_shut_out(session, reason),
            Event::WorkerDraining { session, reason } => self.worker_draining(session, reason),
            Event::Delivered { granted, welcomed } => self.delivered(now, &granted, &welcomed),
            Event::Heartbeat { session, running, gpus } => {
                self.gpus_seen(session, gpus);
                self.heartbeat(now, session, running, out);
            }
            Event::Attempt { session, sequence, attempt, event } => {
                self.event(now, session, sequence, attempt, event, out);
            }
            Event::Tick => self.tick(now, out),
        }
        self.settle_down(now, out);
    }

    /// Answers a query.
    ///
    /// # Errors
    /// What it asks for does not exist.
    pub fn ask<Q: Query>(&self, now: Now, query: &Q) -> Result<Q::Answer, ControlError> {
        query.answer(self, now)
    }

    /// After each change: gives jobs to free slots.
    fn settle_down(&mut self, now: Now, out: &mut Output) {
        self.sweeps.take_learned(out);
        self.schedule(now, out);
        debug_assert!(self.check_invariants().is_ok(), "{:?}", self.check_invariants());
    }

    /// Whether messages of a stream count: it has opened, and was not closed, cut off or replaced.
    pub fn listens_to(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Checks that the state is consistent; says what is not. For tests and debug builds.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.sweeps.check_invariants()?;
        self.workers.check_invariants()?;
        let mut occupied: HashMap<(&WorkerName, u32), (AttemptKey, u32)> = HashMap::new();
        for (attempt, active) in self.sweeps.attempts() {
            let Placement { worker, pack_size, .. } = active.placement();
            for slot in self.slots_of(active.placement()) {
                let (other, holders) = occupied.entry((worker, slot)).or_insert((attempt, 0));
                *holders += 1;
                if *holders > *pack_size {
                    return Err(format!(
                        "{other} and {attempt} hold slot {slot} of {worker}, {holders} of a pack of {pack_size}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The numbers of the slots that an attempt occupies; of a worker that is not known yet, the one that runs it.
    fn slots_of(&self, placement: &Placement) -> BTreeSet<u32> {
        let worker = self.workers.get(&placement.worker);
        let of_worker = |worker: &WorkerState| {
            let slots = worker.slots_of(placement.slot, &placement.device);
            slots.into_iter().map(|slot| worker.slots()[slot].description.index).collect::<Vec<_>>()
        };
        worker.map(of_worker).unwrap_or_default().into_iter().chain([placement.slot]).collect()
    }

    fn sweep(&self, sweep: SweepId) -> Result<&SweepRun, ControlError> {
        self.sweeps.get(sweep).ok_or(ControlError::NoSuchSweep(sweep))
    }
}

/// Ends a sweep that has nothing left to do.
fn settle(run: &mut SweepRun, now: Now, out: &mut Output) {
    if let Some(state) = run.settled_state() {
        let ended = run.finish(state, now.unix_ms, out);
        out.records.push(ended);
        observe_change(run, out);
    }
}

/// Reports to watchers that the sweep's state or settings have changed.
fn observe_change(run: &SweepRun, out: &mut Output) {
    out.effects.push(Effect::Observed { sweep: run.id(), observation: Observation::SweepChanged });
}

#[cfg(test)]
mod tests;
