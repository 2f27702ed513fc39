//! The coordinator's process: the real engine behind the driver's real batches and clock, over a simulated disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use coordinator::driver::{Batch, LeaseClock};
use domain::{definition::SweepDefinition, record::Record};
use engine::{
    Command, EndsSeen, Engine, EngineConfig, Event, Issued, Issuer, Now, Output, Query, SessionId, SweepView,
    query::{Define, SeeEnds},
};
use terms::{AttemptKey, AttemptState, SweepId, WorkerName};

use super::durable::Durable;

/// The lease, in milliseconds.
pub(super) const LEASE_MS: u64 = 3_000;
/// Wall-clock time at the start of all simulations, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Who waits for an answer: the user, who asks again until one comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Question {
    Submit,
    Other,
}

/// What a user wants or asks, and how the engine is told of it.
/// What an engine makes of a wish: what came out, and the sweep as it is then.
type Told = dyn Fn(&mut Engine, Now) -> (Output, Option<SweepView>);

#[derive(Clone)]
pub(super) struct Wish {
    question: Question,
    tell: Rc<Told>,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a wish ({:?})", self.question)
    }
}

impl Wish {
    /// A command; `shown` finds the sweep in its answer.
    pub(super) fn order<C: Command>(
        question: Question,
        command: C,
        shown: fn(C::Answer) -> Option<SweepView>,
    ) -> Self {
        let tell = move |engine: &mut Engine, now| {
            let issued = Issued { command: command.clone(), issuer: Issuer::local() };
            let (answer, output) = engine.execute(now, issued);
            (output, answer.ok().and_then(shown))
        };
        Self { question, tell: Rc::new(tell) }
    }

    /// A question that is answered with a sweep.
    pub(super) fn ask<Q: Query<Answer = SweepView>>(query: Q) -> Self {
        let tell = move |engine: &mut Engine, now| (Output::default(), engine.ask(now, &query).ok());
        Self { question: Question::Other, tell: Rc::new(tell) }
    }
}

/// An answer on its way to the user.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) question: Question,
    /// The sweep that it shows; none where it shows none, or the wish was refused.
    pub(super) sweep: Option<SweepView>,
}

/// Something that the driver takes.
#[expect(clippy::large_enum_variant, reason = "a few wait, in a simulation")]
#[derive(Debug)]
pub(super) enum Heard {
    Event(Event),
    Wish(Wish),
}

/// What waits for the driver.
pub(super) type Inbox = Vec<Heard>;

/// A coordinator that runs.
#[derive(Debug)]
pub(super) struct Hub {
    engine: Engine,
    clock: LeaseClock,
    started_at: u64,
    pub(super) inbox: Inbox,
    pub(super) committing: Option<Batch<Answered>>,
    /// What was applied while that commit runs.
    pub(super) next: Batch<Answered>,
    /// The driver's next turn is on its way.
    pub(super) turn_is_due: bool,
    pub(super) links: BTreeMap<SessionId, usize>,
    last_session: u64,
    /// Time has gone by while a commit ran.
    pub(super) tick_is_due: bool,
    /// When each attempt's lease was last extended, on the clock of leases.
    extended: BTreeMap<AttemptKey, u64>,
    /// Attempts whose grant has not left, and who holds each that was granted.
    untold: BTreeSet<AttemptKey>,
    holders: BTreeMap<AttemptKey, WorkerName>,
    /// The worker's name and process for each stream that the engine listens to.
    names: BTreeMap<SessionId, (WorkerName, String)>,
    /// Those of them whose hello has not been answered.
    unwelcomed: BTreeSet<SessionId>,
}

impl Hub {
    /// Goes on from the disk.
    pub(super) fn start(now_ms: u64, durable: &Durable) -> Result<Self, String> {
        let mut clock = LeaseClock::default();
        let config =
            EngineConfig { lease_ms: LEASE_MS, heartbeat_interval_ms: LEASE_MS / 4, keeps_weights: true };
        let now = Now { monotonic_ms: clock.read(Duration::ZERO, 0), unix_ms: EPOCH_MS + now_ms };
        let engine = Engine::restore(config, now, durable.load()).map_err(|error| error.to_string())?;
        Ok(Self {
            engine,
            clock,
            started_at: now_ms,
            inbox: Vec::new(),
            committing: None,
            next: Batch::default(),
            turn_is_due: false,
            links: BTreeMap::new(),
            last_session: 0,
            tick_is_due: false,
            extended: BTreeMap::new(),
            untold: BTreeSet::new(),
            holders: BTreeMap::new(),
            names: BTreeMap::new(),
            unwelcomed: BTreeSet::new(),
        })
    }

    /// A name for a stream that says hello.
    pub(super) fn open(&mut self, link: usize) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        self.links.insert(session, link);
        session
    }

    /// The engine listens to a stream no more.
    pub(super) fn close(&mut self, session: SessionId) {
        self.unwelcomed.remove(&session);
        self.names.remove(&session);
    }

    /// What the engine takes for the jobs of a sweep.
    pub(super) fn define(&mut self, now_ms: u64, sweep: SweepId) -> Option<Arc<SweepDefinition>> {
        let now = Now {
            monotonic_ms: self.clock.read(Duration::from_millis(now_ms - self.started_at), 0),
            unix_ms: EPOCH_MS + now_ms,
        };
        self.engine.ask(now, &Define(sweep)).ok().map(|defined| defined.definition)
    }

    /// What the engine wants to see with jobs that have ended, where nothing is on its way to the disk: only then would the
    /// service have its answer by now.
    pub(super) fn see_ends(&mut self, now_ms: u64, sweep: SweepId) -> Option<EndsSeen> {
        let is_quiet = self.committing.is_none() && self.next.inputs() == 0;
        let now = Now {
            monotonic_ms: self.clock.read(Duration::from_millis(now_ms - self.started_at), 0),
            unix_ms: EPOCH_MS + now_ms,
        };
        self.engine.ask(now, &SeeEnds(sweep)).ok().filter(|_| is_quiet)
    }

    /// Applies all that waits to the next batch.
    pub(super) fn take_turn(&mut self, now_ms: u64) -> Result<(), String> {
        let inputs = std::mem::take(&mut self.inbox);
        self.hear(now_ms, inputs)
    }

    /// Applies inputs to the next batch.
    pub(super) fn hear(&mut self, now_ms: u64, inputs: Inbox) -> Result<(), String> {
        for heard in inputs {
            let lease_ms = self.clock.read(Duration::from_millis(now_ms - self.started_at), 0);
            let now = Now { monotonic_ms: lease_ms, unix_ms: EPOCH_MS + now_ms };
            let before = self.next.records().len();
            let named = if let Heard::Event(event) = &heard { self.named(event) } else { Vec::new() };
            let opened = match &heard {
                Heard::Event(Event::SessionOpened { session, hello }) => {
                    let of_name = |(session, (name, _)): &(&SessionId, &(WorkerName, String))| {
                        *name == hello.name && self.engine.listens_to(**session)
                    };
                    let lives = self.names.iter().find(of_name);
                    let lives = lives.map(|(session, (_, instance))| (*session, instance.clone()));
                    Some((*session, (hello.name.clone(), hello.instance.clone()), lives))
                }
                _ => None,
            };
            match heard {
                Heard::Event(event) => self.next.add(self.engine.hear(now, event), None),
                Heard::Wish(wish) => {
                    let (output, sweep) = (wish.tell)(&mut self.engine, now);
                    self.next.add(output, Some(Answered { question: wish.question, sweep }));
                }
            }
            let records = self.next.records().get(before..).unwrap_or_default();
            self.check_losses(records, lease_ms)?;
            for record in records {
                if let Record::AttemptGranted { attempt, worker, .. } = record {
                    self.untold.insert(*attempt);
                    self.holders.insert(*attempt, worker.clone());
                }
            }
            if let Some((session, who, lives)) = opened {
                self.opened(session, who, lives)?;
            }
            let (engine, heard) = (&self.engine, named.into_iter());
            let heard = heard.filter(|(session, _)| engine.listens_to(*session));
            self.extended.extend(heard.map(|(_, attempt)| (attempt, lease_ms)));
        }
        self.engine.check_invariants()
    }

    /// Grants and welcomes have left: what they are about may be known from now on.
    pub(super) fn told(&mut self, now_ms: u64, told: Event) -> Result<(), String> {
        let lease_ms = self.clock.read(Duration::from_millis(now_ms - self.started_at), 0);
        if let Event::Told { granted, welcomed } = &told {
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
        self.hear(now_ms, vec![Heard::Event(told)])
    }

    /// A stream said hello: it is listened to, or another worker has its name, whose stream `lives` and is not touched.
    fn opened(
        &mut self,
        session: SessionId,
        who: (WorkerName, String),
        lives: Option<(SessionId, String)>,
    ) -> Result<(), String> {
        let machine = |instance: &str| instance.split('.').next().map(str::to_owned);
        if let Some((before, other)) = lives
            && machine(&other) != machine(&who.1)
            && !self.engine.listens_to(before)
        {
            return Err(format!("{} took the name {} and the stream of {other}, which lived", who.1, who.0));
        }
        if self.engine.listens_to(session) {
            self.names.retain(|_, (name, _)| *name != who.0);
            self.names.insert(session, who);
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
            Event::Heartbeat { session, running } if self.names.contains_key(session) => {
                running.iter().map(|beat| (*session, beat.attempt)).collect()
            }
            Event::Attempt { session, attempt, .. } if self.names.contains_key(session) => {
                vec![(*session, *attempt)]
            }
            _ => Vec::new(),
        }
    }

    /// A lease ends early for nobody, and for none who cannot know of it yet.
    fn check_losses(&self, records: &[Record], lease_ms: u64) -> Result<(), String> {
        for record in records {
            let Record::AttemptEnded { attempt, state: AttemptState::Lost, reason, .. } = record else {
                continue;
            };
            if !reason.contains("silent") {
                continue;
            }
            let silent_ms = lease_ms - self.extended.get(attempt).copied().unwrap_or(0);
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
