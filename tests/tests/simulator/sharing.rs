//! A world of several owners: the real engine, workers that do what they are told, users who submit, reorder, pause and cancel, admins who
//! set quotas, and coordinators that start again from the disk. Each grant is compared with the rules of `rules`, which know the records
//! alone.

mod rules;

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    definition::SweepDefinition,
    record::{Quota, Record},
    specification::{Specification, SpecificationSource},
};
use engine::{
    AttemptEvent, Command, Effect, Engine, EngineConfig, Event, HeldAttempt, Hello, Issued, Issuer, Now,
    Output, SessionId, SlotDescription, ToWorker,
    command::{Cancel, Extend, KeepQuota, Pause, Resume, Submit},
    query::Define,
};
use terms::{
    AttemptKey, DatasetSummary, EndDetails, Outcome, SweepId, WorkerName, manifest::builtins_described,
};
use tests::Random;

use self::rules::Rules;
use super::{durable::Durable, world::Broken};

/// Things that happen in a world.
const STEPS: u64 = 120;
const OWNERS: u64 = 4;
const SWEEPS_MAX: u64 = 8;
const CONFIG: EngineConfig =
    EngineConfig { lease_ms: 3_000, heartbeat_interval_ms: 750, keeps_weights: false };

/// The world of one seed.
pub(super) struct Sharing {
    random: Random,
    engine: Engine,
    durable: Durable,
    rules: Rules,
    /// Slots, jobs of a pack, and the stream while there is one.
    workers: Vec<(WorkerName, u32, u32, Option<SessionId>)>,
    /// What runs, and in which slot of which worker.
    running: BTreeMap<AttemptKey, (usize, u32)>,
    sweeps: u64,
    sessions: u64,
    sequence: u64,
}

impl Sharing {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let workers = 1 + random.below(3);
        let worker = |number: u64| {
            let (slots, pack) = (1 + random.below(4) as u32, 1 + random.below(4) as u32);
            (format!("w{number}").parse().unwrap(), slots, pack, None)
        };
        let workers = (0..workers).map(worker).collect();
        Self {
            random,
            engine: Engine::new(CONFIG),
            durable: Durable::default(),
            rules: Rules::default(),
            workers,
            running: BTreeMap::new(),
            sweeps: 0,
            sessions: 0,
            sequence: 0,
        }
    }

    /// Lives to the end; how many things happened.
    pub(super) fn live(mut self) -> Result<u64, Broken> {
        for worker in 0..self.workers.len() {
            self.connect(worker)?;
        }
        for _ in 0..STEPS {
            match self.random.below(16) {
                0..3 if self.sweeps < SWEEPS_MAX => self.submit()?,
                3 => self.set_quota()?,
                4 => self.restart()?,
                5 if self.sweeps > 0 => self.change_mind()?,
                _ => self.end_one()?,
            }
        }
        Ok(STEPS)
    }

    fn now(&self) -> Now {
        // No lease ever ends: who is lost is a matter of the other world.
        Now { monotonic_ms: 0, unix_ms: self.sequence }
    }

    fn connect(&mut self, worker: usize) -> Result<(), Broken> {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let (name, slots, pack_size_max, stream) = &mut self.workers[worker];
        *stream = Some(session);
        let (pack_size_max, slots) = (*pack_size_max, *slots);
        let slot = |index| SlotDescription {
            index,
            device: "cpu".into(),
            description: String::new(),
            pack_size_max,
        };
        let held = self.running.iter().filter(|(_, (at, _))| *at == worker);
        let held = held.map(|(attempt, (_, slot))| HeldAttempt { attempt: *attempt, slot: Some(*slot) });
        let hello = Hello {
            name: name.clone(),
            instance: "one".to_owned(),
            predecessors: Vec::new(),
            host: String::new(),
            software_version: String::new(),
            slots: (0..slots).map(slot).collect(),
            held: held.collect(),
            draining: false,
            runs_programs: false,
            spans_slots: true,
            pauses: true,
            checkpoints: String::new(),
            memory_bytes: 0,
            models: builtins_described().to_vec(),
        };
        self.rules.connected(name, slots);
        self.hear(Event::SessionOpened { session, hello })
    }

    fn hear(&mut self, event: Event) -> Result<(), Broken> {
        let output = self.engine.hear(self.now(), event);
        self.take(output)
    }

    fn order<C: Command>(&mut self, issuer: Issuer, command: C) -> Result<Option<C::Answer>, Broken> {
        let (answer, output) = self.engine.execute(self.now(), Issued { command, issuer });
        self.take(output)?;
        Ok(answer.ok())
    }

    fn take(&mut self, output: Output) -> Result<(), Broken> {
        for record in &output.records {
            self.rules.keep(record)?;
            self.durable.keep(record)?;
            if let Record::AttemptGranted { attempt, worker, slot, .. } = record {
                let at = self.workers.iter().position(|(name, ..)| name == worker).unwrap_or(0);
                self.running.insert(*attempt, (at, *slot));
            }
            if let Record::AttemptEnded { attempt, .. } = record {
                self.running.remove(attempt);
            }
        }
        self.engine.check_invariants()?;
        self.rules.check()?;
        let (mut granted, mut welcomed) = (Vec::new(), Vec::new());
        let mut revoked = Vec::new();
        for effect in output.effects {
            let Effect::Send { session, message } = effect else { continue };
            match message {
                ToWorker::Grant(grant) => granted.extend(grant.jobs.iter().map(|job| job.attempt)),
                ToWorker::Welcome(_) => welcomed.push(session),
                ToWorker::Revoke { attempts, .. } => {
                    revoked.extend(attempts.into_iter().map(|one| (session, one)));
                }
                _ => {}
            }
        }
        if !granted.is_empty() || !welcomed.is_empty() {
            self.hear(Event::Delivered { granted, welcomed })?;
        }
        // Workers end at once what they are to end.
        for (session, attempt) in revoked {
            self.end(session, attempt, Outcome::Revoked)?;
        }
        Ok(())
    }

    fn end(&mut self, session: SessionId, attempt: AttemptKey, outcome: Outcome) -> Result<(), Broken> {
        self.sequence += 1;
        let details = EndDetails::default();
        let event = AttemptEvent::Ended {
            outcome,
            reason: String::new(),
            log_tail: Vec::new(),
            weights: None,
            details,
        };
        self.rules.is_let_go(attempt);
        self.hear(Event::Attempt { session, sequence: self.sequence, attempt, event })
    }

    fn end_one(&mut self) -> Result<(), Broken> {
        if self.running.is_empty() {
            return Ok(());
        }
        let place = self.random.below(self.running.len() as u64) as usize;
        let Some((attempt, (worker, _))) = self.running.iter().nth(place).map(|(key, at)| (*key, *at)) else {
            return Ok(());
        };
        let Some(session) = self.workers[worker].3 else { return Ok(()) };
        self.sequence += 1;
        let started = AttemptEvent::Started { dataset: DatasetSummary::default(), resumed_epochs: 0 };
        self.hear(Event::Attempt { session, sequence: self.sequence, attempt, event: started })?;
        self.end(session, attempt, Outcome::Diverged)
    }

    fn owner(&mut self) -> String {
        format!("o{}", self.random.below(OWNERS))
    }

    fn submit(&mut self) -> Result<(), Broken> {
        let issuer = Issuer::named(&self.owner());
        let definition =
            Box::new(SweepDefinition::new(SweepId(0), self.specification()).expect("it is a grid"));
        let command =
            Submit::new(definition, format!("request {}", self.sweeps)).expect("it needs no searcher");
        self.sweeps += 1;
        let owner = issuer.owner();
        self.order(issuer, command.owned_by(owner)).map(drop)
    }

    fn specification(&mut self) -> Specification {
        let jobs = 1 + self.random.below(12);
        let priority = self.random.within(0..3) as i64 - 1;
        let parallel = if self.random.one_in(4) { ", max_parallel: 2" } else { "" };
        // Jobs that differ in the seed alone do not share a pack.
        let what = if self.random.one_in(2) { "learning_rate" } else { "seed" };
        let text = format!(
            "name: s\ndataset: {{path: d}}\nexecution: {{priority: {priority}{parallel}}}\nparameters:\n  epochs: {{value: 2}}\n  \
             {what}: {{min: 1, max: {jobs}, count: {jobs}}}\n"
        );
        let source = SpecificationSource { text, ..SpecificationSource::default() };
        Specification::parse(&source).expect("it is right")
    }

    fn set_quota(&mut self) -> Result<(), Broken> {
        let slots = if self.random.one_in(3) { None } else { Some(self.random.below(5) as u32) };
        let (owner, weight) = (self.owner(), 1 + self.random.below(3) as u32);
        let quota = Quota { owner, slots, weight, set_unix_ms: 0, set_by: "root".to_owned() };
        self.order(Issuer::admin("root"), KeepQuota(quota)).map(drop)
    }

    fn change_mind(&mut self) -> Result<(), Broken> {
        let (admin, sweep) = (Issuer::admin("root"), SweepId(1 + self.random.below(self.sweeps)));
        match self.random.below(5) {
            0 => self.order(admin, Pause(sweep)).map(drop),
            1 | 2 => self.order(admin, Resume(sweep)).map(drop),
            3 => self.order(admin, Cancel(sweep)).map(drop),
            _ => {
                let defined =
                    self.engine.ask(self.now(), &Define(sweep)).map_err(|error| error.to_string())?;
                let base = defined.definition;
                let to = format!("execution.priority={}", self.random.within(0..3) as i64 - 1);
                let definition = Arc::new(base.set(&[to]).map_err(|error| error.to_string())?);
                self.order(admin, Extend { sweep, base, definition, revived: Default::default() }).map(drop)
            }
        }
    }

    /// Another coordinator goes on from the disk; its workers come back one after the other.
    fn restart(&mut self) -> Result<(), Broken> {
        let restored = Engine::restore(CONFIG, self.now(), self.durable.load());
        self.engine = restored.map_err(|error| error.to_string())?.with_quotas(self.durable.quotas());
        self.rules.restarted();
        for worker in 0..self.workers.len() {
            self.connect(worker)?;
        }
        Ok(())
    }
}
