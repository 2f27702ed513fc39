//! The workers that the engine knows: their slots and what occupies them.

mod differences;
mod roster;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use terms::{
    AttemptKey, GpuUse, SweepId,
    manifest::{Described, builtins_described},
};

pub(super) use self::{differences::Differences, roster::Workers};
use super::{
    CloseReason, Effect, Engine, Hello, Now, Output, SessionId, SlotDescription, attribution::Standing,
    away::Away, sweep_run::SweepRun,
};
use crate::{
    gpus::gpus_of,
    mutants::{self, Mutant},
};

/// How long a worker that vanished is remembered after its lease, in milliseconds of wall-clock time: long enough to be seen by who looks
/// for it, and no longer, as machines of clusters come back under other names.
pub(super) const FORGET_AFTER_MS: u64 = 180_000;

/// How long a worker that left in order is remembered: whoever asked it to leave can see that it has. It is listed no longer.
const FORGET_LEFT_AFTER_MS: u64 = 60_000;

/// Departed workers that are remembered at the same time, the latest ones: a cluster whose machines get new names at
/// each start must not fill the memory.
const DEPARTED_MAX: usize = 200;

/// Slots that are remembered of a departed worker, and characters of each text: with [`DEPARTED_MAX`], some megabytes
/// in total.
const DEPARTED_SLOTS_MAX: usize = 16;
const DEPARTED_TEXT_MAX: usize = 200;

/// Workers that are connected at the same time: many times the largest cluster.
const CONNECTED_MAX: usize = 10_000;

/// Memory of all their hellos, in bytes: ten thousand workers of eight GPUs each need some twenty megabytes. Each hello
/// may be long, and one connection may bring many.
const CONNECTED_BYTES_MAX: usize = 64 << 20;

/// The relation of a process that says hello to the one that had its name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinship {
    /// It is that process.
    Same,
    /// It has that process's spool, so that process has ended.
    Successor,
    /// Neither: another worker with the same name, or the same one without its spool.
    Stranger,
    /// Nothing is known about the one before.
    Unknown,
}

/// A worker that was turned away because its name is taken.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) host: String,
    pub(super) at_unix_ms: u64,
}

#[derive(Debug)]
pub(super) struct WorkerState {
    /// Its stream; none while it is away.
    session: Option<SessionId>,
    /// The answer to its hello has left; before, its silence means nothing.
    welcomed: bool,
    host: String,
    software_version: String,
    draining: bool,
    /// A user has asked for that. Only kept in memory: what lasts is that the worker knows of it.
    drained: bool,
    /// The worker has said itself that it takes no more jobs.
    has_said_draining: bool,
    /// Why it takes no more jobs, for people.
    leaving: String,
    slots: Vec<SlotState>,
    runs_programs: bool,
    /// How many GPUs it has, and whether it takes jobs that occupy several of them.
    gpus: u32,
    spans_slots: bool,
    /// Whether it pauses jobs.
    pauses: bool,
    /// Where it keeps checkpoints that other workers find, too; empty where it is its own machine.
    checkpoints: String,
    /// What its trainer trains.
    models: Vec<Described>,
    last_seen_unix_ms: u64,
    /// When the last message came, on the clock of leases.
    last_heard_ms: u64,
    /// Until when one whose stream broke is expected back, before another worker of its name is let in; on the clock of
    /// leases.
    returns_until_ms: u64,
    /// The last other worker of its name that was turned away.
    rival: Option<Rival>,
    /// Sweeps that it reported it cannot run.
    unfit: BTreeSet<SweepId>,
    /// Data sets that it could not read at the last try, by their paths.
    away: BTreeMap<PathBuf, Away>,
    /// Identifies its process, which differs after a restart.
    instance: String,
    /// Roughly the memory that its hello takes.
    bytes: usize,
    /// What is attributed to it.
    standing: Standing,
    /// What its GPUs did when it was last heard.
    gpu_use: Vec<GpuUse>,
}

#[derive(Debug)]
pub(super) struct SlotState {
    pub(super) description: SlotDescription,
    /// What runs there, or was revoked and has not ended yet: one attempt, or a pack.
    occupants: BTreeSet<AttemptKey>,
}

impl Hello {
    /// About how much memory is taken up by what is kept of it.
    pub(super) fn bytes_kept(&self) -> usize {
        let of_slot = |slot: &SlotDescription| {
            size_of::<SlotState>() + slot.device.capacity() + slot.description.capacity()
        };
        // Most workers have the same, which are kept once; those that many have are built in.
        let is_own = |model: &&Described| !builtins_described().contains(model);
        let texts = [&self.instance, &self.host, &self.software_version, &self.checkpoints];
        size_of::<WorkerState>()
            + self.slots.iter().map(of_slot).sum::<usize>()
            + texts.into_iter().map(String::capacity).sum::<usize>()
            + self.models.iter().filter(is_own).map(Described::bytes).sum::<usize>()
    }
}

impl SlotState {
    /// Whether nothing is in the way of a job.
    pub(super) fn is_free(&self) -> bool {
        self.occupants.is_empty()
    }

    /// The attempts that occupy it.
    pub(super) fn occupants(&self) -> impl Iterator<Item = AttemptKey> + '_ {
        self.occupants.iter().copied()
    }

    /// How many attempts of a sweep occupy it.
    pub(super) fn occupants_of(&self, sweep: SweepId) -> usize {
        self.occupants.iter().filter(|attempt| attempt.job.sweep == sweep).count()
    }
}

impl WorkerState {
    /// A worker that has said hello on a stream.
    pub(super) fn new(now: Now, session: SessionId, hello: Hello) -> Self {
        let bytes = hello.bytes_kept();
        let gpus = gpus_of(&hello.slots);
        let Hello { instance, host, software_version, slots, draining, models, .. } = hello;
        let slot = |description| SlotState { description, occupants: BTreeSet::new() };
        Self {
            session: Some(session),
            welcomed: false,
            host,
            software_version,
            draining,
            drained: false,
            has_said_draining: draining,
            leaving: String::new(),
            slots: slots.into_iter().map(slot).collect(),
            runs_programs: hello.runs_programs,
            gpus,
            spans_slots: hello.spans_slots,
            pauses: hello.pauses,
            checkpoints: hello.checkpoints,
            models,
            last_seen_unix_ms: now.unix_ms,
            last_heard_ms: now.monotonic_ms,
            returns_until_ms: 0,
            rival: None,
            unfit: BTreeSet::new(),
            away: BTreeMap::new(),
            instance,
            bytes,
            standing: Standing::default(),
            gpu_use: Vec::new(),
        }
    }

    /// Whether it can run the sweep's jobs: it knows what they are, has the GPUs that one of them takes, and can pause them
    /// where they pause.
    pub(super) fn can_run(&self, run: &SweepRun) -> bool {
        self.knows(run) && self.gpus_of_a_job() >= run.gpus() && self.can_pause(run)
    }

    /// Whether it finds the checkpoints that another worker has kept.
    pub(super) fn shares_checkpoints_with(&self, other: &Self) -> bool {
        !self.checkpoints.is_empty() && self.checkpoints == other.checkpoints
    }

    /// Whether it can pause the sweep's jobs, as far as they pause: older workers train every job to its end.
    pub(super) fn can_pause(&self, run: &SweepRun) -> bool {
        self.pauses || !run.pauses()
    }

    /// Whether it can run what the sweep is about: programs only where its user allows them, models only where its trainer
    /// trains them.
    pub(super) fn knows(&self, run: &SweepRun) -> bool {
        match run.model() {
            None => self.runs_programs,
            Some(model) => self.models.iter().any(|own| own.trains(model)),
        }
    }

    /// How many GPUs it has.
    pub(super) fn gpus(&self) -> u32 {
        self.gpus
    }

    /// How many of them one job may have: older workers run each job in one slot.
    pub(super) fn gpus_of_a_job(&self) -> u32 {
        if self.spans_slots { self.gpus } else { self.gpus.min(1) }
    }

    /// What its trainer trains.
    pub(super) fn models(&self) -> &[Described] {
        &self.models
    }

    /// Its stream; none while it is away.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn slots(&self) -> &[SlotState] {
        &self.slots
    }

    /// Whether it takes no more jobs.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Why it takes no more jobs, for people.
    pub(super) fn leaving(&self) -> &str {
        &self.leaving
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// Data sets that it could not read at the last try, by their paths.
    pub(super) fn away(&self) -> &BTreeMap<PathBuf, Away> {
        &self.away
    }

    pub(super) fn away_mut(&mut self) -> &mut BTreeMap<PathBuf, Away> {
        &mut self.away
    }

    /// Notes that it sent something.
    pub(super) fn is_heard(&mut self, now: Now) {
        (self.last_seen_unix_ms, self.last_heard_ms) = (now.unix_ms, now.monotonic_ms);
    }

    /// Takes what it says of its GPUs: each device of its slots once, so that it is bounded as they are.
    pub(super) fn has_seen(&mut self, gpus: Vec<GpuUse>) {
        let mut left: BTreeSet<&str> =
            self.slots.iter().map(|slot| slot.description.device.as_str()).collect();
        let is_own = |gpu: &GpuUse| left.remove(gpu.device.as_str());
        self.gpu_use = gpus.into_iter().filter(is_own).collect();
    }

    /// The answer to its hello has left: from now on, its silence counts.
    pub(super) fn is_welcomed(&mut self, monotonic_ms: u64) {
        (self.welcomed, self.last_heard_ms) = (true, monotonic_ms);
    }

    /// Whether it has said hello and has no answer yet: it sends nothing until then.
    pub(super) fn waits_for_welcome(&self) -> bool {
        self.session.is_some() && !self.welcomed
    }

    /// Whether it is expected back, although its stream is gone.
    pub(super) fn is_expected_back(&self, monotonic_ms: u64) -> bool {
        !self.draining && monotonic_ms < self.returns_until_ms
    }

    /// Another worker of its name was turned away.
    pub(super) fn has_rival(&mut self, rival: Rival) {
        self.rival = Some(rival);
    }

    /// It has confirmed that it takes no more jobs.
    pub(super) fn says_draining(&mut self, reason: String) {
        (self.draining, self.has_said_draining) = (true, true);
        if self.leaving.is_empty() {
            self.leaving = reason;
        }
    }

    /// A user wants it to leave.
    pub(super) fn ask_to_leave(&mut self) {
        self.drained = true;
    }

    /// Whether a user wants it to leave.
    pub(super) fn is_asked_to_leave(&self) -> bool {
        self.drained
    }

    /// Lets it leave at a user's request: returns its stream, and why; nothing if it leaves already.
    pub(super) fn leave_on_request(&mut self) -> Option<(SessionId, String)> {
        let session = self.session.filter(|_| !self.draining)?;
        self.draining = true;
        self.leaving = "drained on request".to_owned();
        Some((session, self.leaving.clone()))
    }

    /// It has reported that it cannot run a sweep.
    pub(super) fn refuse_sweep(&mut self, sweep: SweepId) {
        self.unfit.insert(sweep);
    }

    /// It may try a sweep again that it could not run.
    pub(super) fn try_sweep_again(&mut self, sweep: SweepId) {
        self.unfit.remove(&sweep);
    }

    pub(super) fn has_refused_sweep(&self, sweep: SweepId) -> bool {
        self.unfit.contains(&sweep)
    }

    pub(super) fn refused_sweeps(&self) -> impl Iterator<Item = SweepId> + '_ {
        self.unfit.iter().copied()
    }

    /// An attempt occupies the slot of this number from now on, and all slots of its GPUs where it has several; returns whether
    /// there is such a slot.
    pub(super) fn occupy(&mut self, index: u32, device: &str, attempt: AttemptKey) -> bool {
        let slots = self.slots_of(index, device);
        for position in &slots {
            self.slots[*position].occupants.insert(attempt);
        }
        !slots.is_empty()
    }

    /// This worker with what is known from the stream before. A restarted process starts without suspicion, and one on
    /// another machine is another worker.
    pub(super) fn after(self, before: Option<Self>, kinship: Kinship) -> Self {
        let Some(before) = before else { return self };
        let Self { unfit, away, standing, drained, .. } = before;
        match kinship {
            Kinship::Same => Self { unfit, away, standing, drained, ..self },
            Kinship::Successor | Kinship::Unknown => Self { unfit, ..self },
            Kinship::Stranger => self,
        }
    }

    /// The relation of a process to this one.
    pub(super) fn kinship(&self, instance: &str, predecessors: &[String]) -> Kinship {
        if self.instance == instance {
            Kinship::Same
        } else if predecessors.contains(&self.instance) {
            Kinship::Successor
        } else {
            Kinship::Stranger
        }
    }

    /// Its stream is gone; it may be back until then. What is kept of it is bounded.
    pub(super) fn depart(&mut self, seen_unix_ms: Option<u64>, returns_until_ms: u64) {
        self.session = None;
        self.last_seen_unix_ms = seen_unix_ms.unwrap_or(self.last_seen_unix_ms);
        self.returns_until_ms = returns_until_ms;
        self.models = Vec::new();
        self.gpu_use = Vec::new();
        self.slots.truncate(DEPARTED_SLOTS_MAX);
        self.slots.shrink_to_fit();
        let slots = self.slots.iter_mut().map(|slot| &mut slot.description);
        let texts = slots.flat_map(|slot| [&mut slot.device, &mut slot.description]);
        let own = [&mut self.host, &mut self.software_version, &mut self.checkpoints, &mut self.leaving];
        for text in texts.chain(own) {
            if let Some((end, _)) = text.char_indices().nth(DEPARTED_TEXT_MAX) {
                text.truncate(end);
                text.shrink_to_fit();
            }
        }
    }

    /// Whether it takes jobs.
    pub(super) fn accepts(&self) -> bool {
        self.session.is_some() && !self.draining
    }

    /// Whether a user has asked it to leave, and it has not confirmed.
    pub(super) fn was_only_told(&self) -> bool {
        self.drained && !self.has_said_draining
    }

    /// Whether it has said that it leaves, and has.
    pub(super) fn has_left(&self) -> bool {
        self.session.is_none() && self.has_said_draining
    }

    /// Whether a slot is free.
    pub(super) fn has_free_slot(&self) -> bool {
        self.slots.iter().any(SlotState::is_free)
    }
}

impl Engine {
    /// Why a newcomer is not let in although its name is free: the memory for all workers together is bounded.
    pub(super) fn has_no_room(&self, hello: &Hello) -> Option<CloseReason> {
        let connected = |worker: &&WorkerState| worker.session.is_some();
        let add = |(workers, bytes), worker: &WorkerState| (workers + 1, bytes + worker.bytes);
        let (all, bytes): (usize, usize) = self.workers.all().filter(connected).fold((0, 0), add);
        // The worker that it replaces.
        let (own, own_bytes) = self.workers.get(&hello.name).filter(connected).into_iter().fold((0, 0), add);
        let reason = if all - own >= CONNECTED_MAX {
            format!("{CONNECTED_MAX} workers are already connected, which is the maximum")
        } else if bytes - own_bytes + hello.bytes_kept() > CONNECTED_BYTES_MAX {
            format!(
                "the names and slots of the connected workers already take {CONNECTED_BYTES_MAX} bytes, which is all that a \
                 coordinator keeps"
            )
        } else {
            return None;
        };
        Some(CloseReason::NoRoom(format!(
            "{reason}; this worker tries again, or start it with another coordinator"
        )))
    }

    /// Cuts off workers whose streams are open but silent: what they hold is lost anyway, and jobs must not wait for
    /// their slots. A worker that is alive connects again and names what it holds.
    pub(super) fn cut_off_silent_workers(&mut self, now: Now, out: &mut Output) {
        for worker in self.workers.all_mut() {
            let silent = now.monotonic_ms.saturating_sub(worker.last_heard_ms) > self.config.lease_ms;
            let waits_for_us = !worker.welcomed && !mutants::is_on(Mutant::LeasesBeginEarly);
            if let Some(session) = worker.session.take_if(|_| silent && !waits_for_us) {
                self.sessions.remove(&session);
                // A whole lease has passed.
                worker.depart(None, 0);
                out.effects.push(Effect::Close { session, reason: CloseReason::Silent });
            }
        }
    }

    /// Forgets workers that left a while ago and hold nothing, so that names that never return cost nothing.
    pub(super) fn forget_workers(&mut self, unix_ms: u64) {
        let mut departed: Vec<u64> = self
            .workers
            .all()
            .filter(|worker| worker.session.is_none())
            .map(|worker| worker.last_seen_unix_ms)
            .collect();
        let excess = departed.len().saturating_sub(DEPARTED_MAX);
        departed.sort_unstable();
        // Those that left until then are removed; more than needed only if several left in the same millisecond.
        let oldest = excess.checked_sub(1).and_then(|last| departed.get(last)).copied();
        self.workers.retain(|name, worker| {
            let holds = || self.sweeps.are_held_by(name);
            let after_lease_ms = self.config.lease_ms + FORGET_AFTER_MS;
            let kept_ms = if worker.draining { FORGET_LEFT_AFTER_MS } else { after_lease_ms };
            let is_due = unix_ms.saturating_sub(worker.last_seen_unix_ms) >= kept_ms
                || oldest.is_some_and(|oldest| worker.last_seen_unix_ms <= oldest);
            worker.session.is_some() || !is_due || holds()
        });
    }
}
