//! The engine with the rules that it must keep, checked around each input.

mod memory;

use std::collections::{BTreeMap, BTreeSet};

use coordinator::driver::Core;
use domain::record::Record;
use engine::{Effect, Engine, EngineConfig, Event, Now, Output, SessionId};
use terms::{AttemptKey, AttemptState, WorkerName};

use self::memory::{Memory, RanOut};
use super::durable::Durable;

/// The lease, in milliseconds.
const LEASE_MS: u64 = 3_000;

/// An engine and what is known of it from outside.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) engine: Engine,
    /// The first rule that was broken.
    broken: Option<String>,
    /// When the engine was made from the disk, on the clock of leases.
    restored_ms: u64,
    /// When each attempt's lease was last extended, on the clock of leases.
    extended: BTreeMap<AttemptKey, u64>,
    /// Attempts whose grant has not left, and who holds each that was granted.
    untold: BTreeSet<AttemptKey>,
    holders: BTreeMap<AttemptKey, WorkerName>,
    /// The worker's name and process for each stream that the engine listens to.
    names: BTreeMap<SessionId, (WorkerName, String)>,
    /// Those of them whose hello has not been answered.
    unwelcomed: BTreeSet<SessionId>,
    memory: Memory,
}

/// A hello on its way into the engine.
struct Opened {
    session: SessionId,
    name: WorkerName,
    instance: String,
    memory_bytes: u64,
    /// The stream and the process that had the name and lived.
    lives: Option<(SessionId, String)>,
}

impl Core for Watched {
    fn hear(&mut self, now: Now, event: Event, output: &mut Output) {
        let lease_ms = now.monotonic_ms;
        if let Event::Delivered { granted, welcomed } = &event {
            self.told(lease_ms, granted, welcomed);
        }
        let named = self.named(&event);
        let opened = self.opens(&event);
        let ran_out = self.runs_out(&event);
        let own = self.engine.hear(now, event);
        if let Some(opened) = opened.as_ref().filter(|opened| self.engine.listens_to(opened.session)) {
            self.memory.said(&opened.name, opened.memory_bytes);
        }
        let checked = ran_out.map_or(Ok(()), |ran_out| self.memory.ran_out(&ran_out, &own.records));
        self.note(checked);
        self.came_out(lease_ms, &own);
        output.append(own);
        if let Some(opened) = opened {
            let checked = self.opened(opened);
            self.note(checked);
        }
        let engine = &self.engine;
        let heard = named.into_iter().filter(|(session, _)| engine.listens_to(*session));
        self.extended.extend(heard.map(|(_, attempt)| (attempt, lease_ms)));
    }
}

impl Watched {
    /// Goes on from the disk.
    pub(super) fn restore(now: Now, durable: &Durable) -> Result<Self, String> {
        let config =
            EngineConfig { lease_ms: LEASE_MS, heartbeat_interval_ms: LEASE_MS / 4, keeps_weights: true };
        let engine = Engine::restore(config, now, durable.load()).map_err(|error| error.to_string())?;
        Ok(Self {
            engine,
            broken: None,
            restored_ms: now.monotonic_ms,
            extended: BTreeMap::new(),
            untold: BTreeSet::new(),
            holders: BTreeMap::new(),
            names: BTreeMap::new(),
            unwelcomed: BTreeSet::new(),
            memory: Memory::restored(durable),
        })
    }

    /// Carries out what a user wants.
    pub(super) fn carry_out<A>(
        &mut self,
        now: Now,
        wish: impl FnOnce(&mut Engine, Now) -> (Output, A),
    ) -> (Output, A) {
        let (output, answer) = wish(&mut self.engine, now);
        self.came_out(now.monotonic_ms, &output);
        (output, answer)
    }

    /// Whether every rule was kept until now.
    pub(super) fn check(&self) -> Result<(), String> {
        self.broken.clone().map_or_else(|| self.engine.check_invariants(), Err)
    }

    fn note(&mut self, checked: Result<(), String>) {
        if let Err(broken) = checked {
            self.broken.get_or_insert(broken);
        }
    }

    fn came_out(&mut self, lease_ms: u64, output: &Output) {
        let checked = self.check_losses(&output.records, lease_ms);
        self.note(checked);
        let checked = self.memory.decided(&self.engine, &output.records);
        self.note(checked);
        for record in &output.records {
            if let Record::AttemptGranted { attempt, worker, .. } = record {
                self.untold.insert(*attempt);
                self.holders.insert(*attempt, worker.clone());
            }
        }
        for effect in &output.effects {
            if let Effect::Close { session, .. } = effect {
                self.close(*session);
            }
        }
    }

    /// An attempt whose memory runs out with this event.
    fn runs_out(&self, event: &Event) -> Option<RanOut> {
        let Event::Attempt { session, .. } = event else { return None };
        let name = self.names.get(session).map(|(name, _)| name);
        self.memory.runs_out(&self.engine, event, name)
    }

    /// The engine listens to a stream no more.
    fn close(&mut self, session: SessionId) {
        self.unwelcomed.remove(&session);
        self.names.remove(&session);
    }

    /// Grants and welcomes have left: what they are about may be known from now on.
    fn told(&mut self, lease_ms: u64, granted: &[AttemptKey], welcomed: &[SessionId]) {
        for attempt in granted {
            self.untold.remove(attempt);
            self.extended.insert(*attempt, lease_ms);
        }
        for session in welcomed {
            self.unwelcomed.remove(session);
            let Some((name, _)) = self.names.get(session) else { continue };
            let held = self
                .holders
                .iter()
                .filter(|(attempt, holder)| *holder == name && !self.untold.contains(attempt));
            self.extended.extend(held.map(|(attempt, _)| (*attempt, lease_ms)));
        }
    }

    /// A hello, and whose stream it finds in its place.
    fn opens(&self, event: &Event) -> Option<Opened> {
        let Event::SessionOpened { session, hello } = event else { return None };
        let of_name = |(session, (name, _)): &(&SessionId, &(WorkerName, String))| {
            *name == hello.name && self.engine.listens_to(**session)
        };
        let lives = self.names.iter().find(of_name);
        let lives = lives.map(|(session, (_, instance))| (*session, instance.clone()));
        let (name, instance) = (hello.name.clone(), hello.instance.clone());
        Some(Opened { session: *session, name, instance, memory_bytes: hello.memory_bytes, lives })
    }

    /// A stream said hello: it is listened to, or another worker has its name, whose stream lives and is not touched.
    fn opened(&mut self, Opened { session, name, instance, lives, .. }: Opened) -> Result<(), String> {
        let machine = |instance: &str| instance.split('.').next().map(str::to_owned);
        if let Some((before, other)) = lives
            && machine(&other) != machine(&instance)
            && !self.engine.listens_to(before)
        {
            return Err(format!("{instance} took the name {name} and the stream of {other}, which lived"));
        }
        if self.engine.listens_to(session) {
            self.names.retain(|_, (other, _)| *other != name);
            self.names.insert(session, (name, instance));
            self.unwelcomed.insert(session);
        }
        Ok(())
    }

    /// The attempts that a worker says to live, and the stream on which it does.
    fn named(&mut self, event: &Event) -> Vec<(SessionId, AttemptKey)> {
        match event {
            Event::SessionOpened { session, hello } => {
                hello.held.iter().map(|held| (*session, held.attempt)).collect()
            }
            Event::SessionClosed(session) => {
                self.close(*session);
                Vec::new()
            }
            Event::Heartbeat { session, running, .. } if self.names.contains_key(session) => {
                running.iter().map(|beat| (*session, beat.attempt)).collect()
            }
            Event::Attempt { session, attempt, .. } if self.names.contains_key(session) => {
                vec![(*session, *attempt)]
            }
            _ => Vec::new(),
        }
    }

    /// No lease ends early, and none that its worker cannot know of yet.
    fn check_losses(&self, records: &[Record], lease_ms: u64) -> Result<(), String> {
        for record in records {
            let Record::AttemptEnded { attempt, state: AttemptState::Lost, reason, .. } = record else {
                continue;
            };
            if !reason.contains("silent") {
                continue;
            }
            let silent_ms = lease_ms - self.extended.get(attempt).copied().unwrap_or(self.restored_ms);
            if silent_ms < LEASE_MS {
                return Err(format!("{attempt} was lost after {silent_ms} ms of silence, before its lease"));
            }
            if self.untold.contains(attempt) {
                return Err(format!("{attempt} was lost before its grant left"));
            }
            let holder = self.holders.get(attempt);
            let waits = |session| self.names.get(session).map(|(name, _)| name) == holder && holder.is_some();
            if self.unwelcomed.iter().any(waits) {
                return Err(format!("{attempt} was lost while its worker's hello waited for an answer"));
            }
        }
        Ok(())
    }
}
