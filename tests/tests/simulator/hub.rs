//! The coordinator's process: the real engine behind the driver's real batches and clock, over a simulated disk.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use coordinator::{
    core::{
        definition::SweepDefinition,
        engine::{Engine, EngineConfig, Input, Now, Reply, SessionId},
        record::Record,
        state::AttemptState,
    },
    driver::{Batch, LeaseClock},
};
use proto::{AttemptKey, SweepId, WorkerName};

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

/// What waits for the driver.
pub(super) type Inbox = Vec<(Input, Option<Question>)>;

/// A coordinator that runs.
#[derive(Debug)]
pub(super) struct Hub {
    engine: Engine,
    clock: LeaseClock,
    started_at: u64,
    pub(super) inbox: Inbox,
    pub(super) committing: Option<Batch<Question>>,
    /// What was applied while that commit runs.
    pub(super) next: Batch<Question>,
    /// The driver's next turn is on its way.
    pub(super) turn_is_due: bool,
    pub(super) links: BTreeMap<SessionId, usize>,
    last_session: u64,
    /// When each attempt's lease was last extended, on the clock of leases.
    extended: BTreeMap<AttemptKey, u64>,
    /// The worker's name for each stream that the engine listens to.
    names: BTreeMap<SessionId, WorkerName>,
}

impl Hub {
    /// Goes on from the disk.
    pub(super) fn start(now_ms: u64, durable: &Durable) -> Result<Self, String> {
        let mut clock = LeaseClock::default();
        let config = EngineConfig { lease_ms: LEASE_MS, heartbeat_interval_ms: LEASE_MS / 4 };
        let now = Now { monotonic_ms: clock.read(Duration::ZERO), unix_ms: EPOCH_MS + now_ms };
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
            extended: BTreeMap::new(),
            names: BTreeMap::new(),
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
        self.names.remove(&session);
    }

    /// What the engine takes for the jobs of a sweep.
    pub(super) fn define(&mut self, now_ms: u64, sweep: SweepId) -> Option<Arc<SweepDefinition>> {
        let now = Now {
            monotonic_ms: self.clock.read(Duration::from_millis(now_ms - self.started_at)),
            unix_ms: EPOCH_MS + now_ms,
        };
        match self.engine.apply(now, Input::Define(sweep)).reply {
            Reply::Definition(definition, _) => Some(definition),
            _ => None,
        }
    }

    /// Applies all that waits to the next batch.
    pub(super) fn take_turn(&mut self, now_ms: u64) -> Result<(), String> {
        let inputs = std::mem::take(&mut self.inbox);
        let named: Vec<(SessionId, AttemptKey)> =
            inputs.iter().flat_map(|(input, _)| self.named(input)).collect();
        let (mut lease_ms, before) = (0, self.next.records().len());
        for (input, question) in inputs {
            lease_ms = self.clock.read(Duration::from_millis(now_ms - self.started_at));
            let now = Now { monotonic_ms: lease_ms, unix_ms: EPOCH_MS + now_ms };
            self.next.apply(&mut self.engine, now, input, question);
        }
        self.engine.check_invariants()?;
        let records = &self.next.records()[before..];
        self.check_losses(records, lease_ms)?;
        let granted = records.iter().filter_map(|record| match record {
            Record::AttemptGranted { attempt, .. } => Some(*attempt),
            _ => None,
        });
        // The engine may have cut a stream off before it came to what was said there.
        let heard = named.into_iter().filter(|(session, _)| self.engine.listens_to(*session));
        let heard = heard.map(|(_, attempt)| attempt).collect::<Vec<_>>();
        self.extended.extend(heard.into_iter().chain(granted).map(|attempt| (attempt, lease_ms)));
        Ok(())
    }

    /// The attempts that a worker says to live, and the stream on which it does.
    fn named(&mut self, input: &Input) -> Vec<(SessionId, AttemptKey)> {
        match input {
            Input::SessionOpened { session, hello } => {
                self.names.retain(|_, name| *name != hello.name);
                self.names.insert(*session, hello.name.clone());
                hello.held.iter().map(|held| (*session, held.attempt)).collect()
            }
            Input::SessionClosed(session) => {
                self.names.remove(session);
                Vec::new()
            }
            Input::Heartbeat { session, running } if self.names.contains_key(session) => {
                running.iter().map(|beat| (*session, beat.attempt)).collect()
            }
            Input::Event { session, attempt, .. } if self.names.contains_key(session) => {
                vec![(*session, *attempt)]
            }
            _ => Vec::new(),
        }
    }

    /// A lease ends early for nobody.
    fn check_losses(&self, records: &[Record], lease_ms: u64) -> Result<(), String> {
        for record in records {
            let Record::AttemptEnded { attempt, state: AttemptState::Lost, reason, .. } = record else {
                continue;
            };
            let silent_ms = lease_ms - self.extended.get(attempt).copied().unwrap_or(0);
            if reason.contains("silent") && silent_ms < LEASE_MS {
                return Err(format!("{attempt} was lost after {silent_ms} ms of silence, before its lease"));
            }
        }
        Ok(())
    }
}
