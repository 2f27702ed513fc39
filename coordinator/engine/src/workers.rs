//! The workers that the engine knows: their slots and what occupies them.

mod abilities;
mod differences;
mod kinship;
mod leaving;
mod room;
mod roster;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use terms::{AttemptKey, GpuUse, SweepId, manifest::Described};

pub(super) use self::{differences::Differences, kinship::Kinship, roster::Workers};
use super::{Hello, Now, SessionId, SlotDescription, attribution::Standing, away::Away, gpus::gpus_of};

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
    /// How much memory its trainers may have together, in bytes; 0 where that is not known.
    memory_bytes: u64,
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
            memory_bytes: hello.memory_bytes,
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

    /// Another worker of its name was turned away.
    pub(super) fn has_rival(&mut self, rival: Rival) {
        self.rival = Some(rival);
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

    /// Whether it takes jobs.
    pub(super) fn accepts(&self) -> bool {
        self.session.is_some() && !self.draining
    }

    /// Whether a slot is free.
    pub(super) fn has_free_slot(&self) -> bool {
        self.slots.iter().any(SlotState::is_free)
    }
}
