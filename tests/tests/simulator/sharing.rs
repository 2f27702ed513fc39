//! A world of several owners: the real engine, workers that do what they are told unless they are frozen or cut off, users who submit,
//! reorder, pause and cancel, admins who set quotas, and coordinators that start again from the disk. Each grant is compared with the
//! rules of `rules`, which know the records alone. In the end nothing goes wrong any more, jobs stream, and no owner waits for long.

mod machines;
mod rules;
mod wishes;

use std::collections::BTreeMap;

use domain::record::Record;
use engine::{
    AttemptEvent, CloseReason, Command, Effect, Engine, EngineConfig, Event, Issued, Issuer, Now, Output,
    Query, SessionId, ToWorker, query::DescribeSweep,
};
use terms::{AttemptKey, AttemptState, DatasetSummary, EndDetails, Outcome, SweepId};
use tests::Random;

use self::{
    machines::{Machine, Told},
    rules::Rules,
};
use super::{
    durable::{Durable, rule},
    world::Broken,
};

/// Things that happen in a world.
const STEPS: u64 = 120;
const OWNERS: u64 = 4;
const WEIGHT_MAX: u64 = 3;
const SWEEPS_MAX: u64 = 8;
/// Longest time between two things that happen, in milliseconds: workers that live send their heartbeats in time.
const PAUSE_MAX_MS: u64 = 700;
const CONFIG: EngineConfig =
    EngineConfig { lease_ms: 3_000, heartbeat_interval_ms: 750, keeps_weights: false };

/// The world of one seed.
pub(super) struct Sharing {
    random: Random,
    engine: Engine,
    durable: Durable,
    rules: Rules,
    machines: Vec<Machine>,
    clock_ms: u64,
    sweeps: u64,
    sessions: u64,
    sequence: u64,
}

impl Sharing {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let machines = 1 + random.below(3);
        let machines = (0..machines).map(|number| Machine::new(number, &mut random)).collect();
        Self {
            random,
            engine: Engine::new(CONFIG),
            durable: Durable::default(),
            rules: Rules::default(),
            machines,
            clock_ms: 0,
            sweeps: 0,
            sessions: 0,
            sequence: 0,
        }
    }

    /// Lives to the end; how many things happened.
    pub(super) fn live(mut self) -> Result<u64, Broken> {
        for machine in 0..self.machines.len() {
            self.connect(machine)?;
        }
        for _ in 0..STEPS {
            self.pass_time()?;
            match self.random.below(20) {
                0..3 if self.sweeps < SWEEPS_MAX => self.submit()?,
                3 => self.set_quota()?,
                4 => self.restart()?,
                5 if self.sweeps > 0 => self.change_mind()?,
                6 => self.go_wrong()?,
                7 | 8 => self.come_back()?,
                _ => self.end_one()?,
            }
        }
        Ok(STEPS + self.calm_down()?)
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.clock_ms, unix_ms: self.clock_ms }
    }

    /// Time goes by, in which those that live say so.
    fn pass_time(&mut self) -> Result<(), Broken> {
        self.clock_ms += self.random.below(PAUSE_MAX_MS);
        for machine in 0..self.machines.len() {
            if let Some(session) = self.machines[machine].stream.filter(|_| self.machines[machine].is_live())
            {
                let running = self.machines[machine].heartbeat();
                self.hear(Event::Heartbeat { session, running, gpus: Vec::new() })?;
            }
        }
        self.hear(Event::Tick)
    }

    fn connect(&mut self, machine: usize) -> Result<(), Broken> {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let machine = &mut self.machines[machine];
        machine.stream = Some(session);
        self.rules.connected(machine);
        let hello = machine.hello();
        self.hear(Event::SessionOpened { session, hello })
    }

    /// A machine freezes, or its stream breaks.
    fn go_wrong(&mut self) -> Result<(), Broken> {
        let machine = self.random.below(self.machines.len() as u64) as usize;
        if self.random.one_in(3)
            && let Some(session) = self.machines[machine].stream.filter(|_| self.machines[machine].is_live())
        {
            self.cut_off(machine);
            return self.hear(Event::SessionClosed(session));
        }
        self.machines[machine].is_frozen = true;
        Ok(())
    }

    fn cut_off(&mut self, machine: usize) {
        self.machines[machine].is_cut_off();
        self.rules.cut_off(&self.machines[machine].name);
    }

    /// Some machine goes on, hears what came meanwhile, and connects where it has no stream.
    fn come_back(&mut self) -> Result<(), Broken> {
        let machine = self.random.below(self.machines.len() as u64) as usize;
        self.bring_back(machine)
    }

    fn bring_back(&mut self, machine: usize) -> Result<(), Broken> {
        for told in self.machines[machine].thaw() {
            self.tell(machine, told)?;
        }
        if self.machines[machine].stream.is_none() {
            self.connect(machine)?;
        }
        Ok(())
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
        // Whose silence was too long is cut off before slots are given out.
        for effect in &output.effects {
            if let Effect::Close { session, reason: CloseReason::Silent } = effect
                && let Some(machine) = self.machine_of(*session)
            {
                rule(self.machines[machine].is_frozen, || format!("w{machine} was cut off, and lives"))?;
                self.cut_off(machine);
            }
        }
        for record in &output.records {
            self.check_loss(record)?;
            self.rules.keep(record)?;
            self.durable.keep(record)?;
        }
        self.engine.check_invariants()?;
        self.rules.check(&self.counted())?;
        let (mut granted, mut welcomed, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for effect in output.effects {
            let Effect::Send { session, message } = effect else { continue };
            let Some(machine) = self.machine_of(session) else { continue };
            match message {
                ToWorker::Grant(grant) => {
                    granted.extend(grant.jobs.iter().map(|job| job.attempt));
                    let run = grant.jobs.iter().map(|job| (machine, Told::Run(job.attempt, grant.slot)));
                    told.extend(run);
                }
                ToWorker::Welcome(welcome) => {
                    welcomed.push(session);
                    self.welcome(machine, &welcome.refused)?;
                }
                ToWorker::Revoke { attempts, .. } => {
                    told.extend(attempts.into_iter().map(|attempt| (machine, Told::End(attempt))));
                }
                ToWorker::Drain { .. } | ToWorker::Acknowledged { .. } => {}
            }
        }
        let (ends, runs): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|(_, told)| matches!(told, Told::End(_)));
        runs.into_iter().try_for_each(|(machine, told)| self.tell(machine, told))?;
        if !granted.is_empty() || !welcomed.is_empty() {
            self.hear(Event::Delivered { granted, welcomed })?;
        }
        ends.into_iter().try_for_each(|(machine, told)| self.tell(machine, told))
    }

    /// No attempt is lost whose worker is heard.
    fn check_loss(&self, record: &Record) -> Result<(), Broken> {
        let Record::AttemptEnded { attempt, state: AttemptState::Lost, .. } = record else { return Ok(()) };
        let holds = |machine: &&Machine| machine.is_live() && machine.running.contains_key(attempt);
        let holder = self.machines.iter().find(holds);
        rule(holder.is_none(), || format!("{attempt} was lost, and its worker lives"))
    }

    /// How many slots the engine counts for the owner of each sweep.
    fn counted(&self) -> BTreeMap<SweepId, u64> {
        let counted = |number| {
            let sweep = SweepId(number);
            // Why its jobs wait is not asked.
            let view = self.engine.ask(self.now(), &DescribeSweep::new(sweep).for_store()?).ok()?;
            Some((sweep, view.share?.slots))
        };
        (1..=self.sweeps).filter_map(counted).collect()
    }

    fn machine_of(&self, session: SessionId) -> Option<usize> {
        self.machines.iter().position(|machine| machine.stream == Some(session))
    }

    /// A machine hears which of its attempts are not its own any more: exactly those whose leases are lost.
    fn welcome(&mut self, machine: usize, refused: &[AttemptKey]) -> Result<(), Broken> {
        for attempt in refused {
            self.machines[machine].running.remove(attempt);
        }
        let mut lost = self.machines[machine].running.keys().filter(|attempt| !self.rules.runs(**attempt));
        lost.next().map_or(Ok(()), |attempt| Err(format!("{attempt} was lost, and goes on")))
    }

    /// A machine does as it is told, once it hears it.
    fn tell(&mut self, machine: usize, told: Told) -> Result<(), Broken> {
        let since = self.sequence;
        let machine = &mut self.machines[machine];
        match (machine.stream, told) {
            (None, _) => Ok(()),
            (Some(_), told) if machine.is_frozen => {
                machine.mail.push(told);
                Ok(())
            }
            (Some(_), Told::Run(attempt, slot)) => {
                machine.running.insert(attempt, (slot, since));
                Ok(())
            }
            (Some(session), Told::End(attempt)) => self.end(session, attempt, Outcome::Revoked),
        }
    }

    fn end(&mut self, session: SessionId, attempt: AttemptKey, outcome: Outcome) -> Result<(), Broken> {
        self.sequence += 1;
        let event = AttemptEvent::Ended {
            outcome,
            reason: String::new(),
            log_tail: Vec::new(),
            weights: None,
            details: EndDetails::default(),
        };
        self.rules.is_let_go(attempt);
        if let Some(machine) = self.machine_of(session) {
            self.machines[machine].running.remove(&attempt);
        }
        self.hear(Event::Attempt { session, sequence: self.sequence, attempt, event })
    }

    /// What runs on machines that are heard: the attempt, its stream, and when it began.
    fn live_attempts(&self) -> Vec<(AttemptKey, SessionId, u64)> {
        let mut live = Vec::new();
        for machine in self.machines.iter().filter(|machine| machine.is_live()) {
            let Some(session) = machine.stream else { continue };
            live.extend(machine.running.iter().map(|(attempt, (_, since))| (*attempt, session, *since)));
        }
        live
    }

    fn end_one(&mut self) -> Result<(), Broken> {
        let live = self.live_attempts();
        if live.is_empty() {
            return Ok(());
        }
        let (attempt, session, _) = live[self.random.below(live.len() as u64) as usize];
        self.train(attempt, session)
    }

    /// An attempt begins, and ends for good.
    fn train(&mut self, attempt: AttemptKey, session: SessionId) -> Result<(), Broken> {
        self.sequence += 1;
        let started = AttemptEvent::Started { dataset: DatasetSummary::default(), resumed_epochs: 0 };
        self.hear(Event::Attempt { session, sequence: self.sequence, attempt, event: started })?;
        self.end(session, attempt, Outcome::Diverged)
    }

    /// Another coordinator goes on from the disk; workers that are not frozen come back one after the other.
    fn restart(&mut self) -> Result<(), Broken> {
        let restored = Engine::restore(CONFIG, self.now(), self.durable.load());
        self.engine = restored.map_err(|error| error.to_string())?.with_quotas(self.durable.quotas());
        self.rules.restarted();
        self.machines.iter_mut().for_each(Machine::is_cut_off);
        for machine in 0..self.machines.len() {
            if !self.machines[machine].is_frozen {
                self.connect(machine)?;
            }
        }
        Ok(())
    }

    /// All machines are there from now on, and jobs stream: those of two owners take one slot each, those of a third two GPUs, and those of
    /// a fourth first fill a quota with one slot each, and then want two GPUs. What runs longest ends first. No owner with a job that could
    /// start waits for long. How many things happened.
    fn calm_down(&mut self) -> Result<u64, Broken> {
        for machine in 0..self.machines.len() {
            self.bring_back(machine)?;
        }
        self.go_on()?;
        let slots: usize = self.machines.iter().map(|machine| machine.slots.len()).sum();
        // For one job of an owner with weight 1, each of the others has as many as its weight, up to 3, and one more.
        let patience = 4 * slots as u64 + (OWNERS - 1) * (WEIGHT_MAX + 1);
        let mut waited: BTreeMap<String, u64> = BTreeMap::new();
        self.rules.take_served();
        for turn in 0..2 * patience {
            if turn == slots as u64 {
                self.want_several_gpus()?;
            }
            self.pass_time()?;
            let oldest =
                self.live_attempts().into_iter().min_by_key(|(attempt, _, since)| (*since, *attempt));
            let Some((attempt, session, _)) = oldest else { break };
            self.train(attempt, session)?;
            let (waiting, served) = (self.rules.waiting_owners(), self.rules.take_served());
            waited.retain(|owner, _| waiting.contains(owner) && !served.contains(owner));
            for owner in waiting {
                let waits = waited.entry(owner.clone()).or_default();
                *waits += 1;
                rule(*waits <= patience, || {
                    format!("{owner} starves: {waits} jobs of others ended; {}", self.rules.summary())
                })?;
            }
        }
        Ok(2 * patience)
    }
}
