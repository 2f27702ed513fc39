//! A small world around an engine: time that tests turn, workers that say what tests tell them to, and all that
//! came out.

use std::sync::Arc;

use domain::{
    definition::SweepDefinition,
    record::{History, Record, StoredAttempt, StoredJob, StoredStage, StoredSweep},
    specification::{Specification, SpecificationSource},
};
use terms::{
    AttemptKey, EndDetails, MetricSchema, Outcome, Progress, SweepId, SweepState,
    manifest::{Described, builtins_described},
};

use super::epoch::EpochMetrics;
use crate::{
    AttemptEvent, Command, ControlError, Effect, EndsSeen, Engine, EngineConfig, Event, Heartbeat,
    HeldAttempt, Hello, Issued, Issuer, Now, Output, Query, SessionId, SlotDescription, SweepView, ToWorker,
    command::{Extend, Submit},
    query::{Define, DescribeSweep, SeeEnds},
};

/// The slot of attempts whose end is about to be reported.
pub(super) const ENDED: u32 = u32::MAX;
/// The lease in tests, in milliseconds.
pub(super) const LEASE_MS: u64 = 1_000;
pub(super) const CONFIG: EngineConfig =
    EngineConfig { lease_ms: LEASE_MS, heartbeat_interval_ms: LEASE_MS / 4, keeps_weights: true };

pub(super) struct Cluster {
    pub(super) engine: Engine,
    pub(super) now_ms: u64,
    pub(super) records: Vec<Record>,
    pub(super) effects: Vec<Effect>,
    /// Events that changed nothing: fenced, repeated and invalid ones.
    pub(super) refused: [u64; 3],
    sequence: u64,
    /// What newcomers say of the processes that had their spool before.
    pub(super) predecessors: Vec<String>,
    /// Commits take as long as the test says, so that nothing leaves until then.
    pub(super) disk_stands_still: bool,
    /// Whether workers that connect run users' programs.
    pub(super) runs_programs: bool,
    /// Whether they take jobs that occupy several slots.
    pub(super) spans_slots: bool,
    /// Whether workers that say hello from now on pause jobs.
    pub(super) pauses: bool,
    /// Where workers that say hello from now on keep checkpoints; empty for each on its own machine.
    pub(super) checkpoints: &'static str,
    /// How much memory they have, in bytes.
    pub(super) memory_bytes: u64,
    /// The devices of the slots of workers that connect, in turn.
    pub(super) devices: Vec<&'static str>,
    /// What the trainers of workers that connect train.
    pub(super) models: Vec<Described>,
}

/// A sweep of `jobs` jobs of two epochs, with more keys of the file.
pub(super) fn specification(jobs: u32, more: &str) -> Specification {
    let text = format!(
        "name: test\ndataset: {{path: d}}\nparameters:\n  epochs: {{value: 2}}\n  \
         seed: {{min: 1, max: {jobs}, count: {jobs}}}\n{more}"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

/// A sweep of `jobs` jobs of two epochs that may all be trained in one pack, with more keys of the file.
pub(super) fn packable(jobs: u32, more: &str) -> Specification {
    let text = format!(
        "name: test\ndataset: {{path: d}}\nparameters:\n  epochs: {{value: 2}}\n  \
         learning_rate: {{min: 1, max: {jobs}, count: {jobs}}}\n{more}"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

pub(super) fn dataset(hash: &str) -> terms::DatasetSummary {
    terms::DatasetSummary {
        content_hash: hash.to_owned(),
        train_images: 100,
        ..terms::DatasetSummary::default()
    }
}

pub(super) fn metrics(epoch: u32) -> EpochMetrics {
    EpochMetrics {
        epoch,
        train_loss: 1.0 / f64::from(epoch),
        val_accuracy: 0.5,
        epoch_seconds: 2.0,
        val_loss: Some(2.0 / f64::from(epoch)),
        train_accuracy: Some(0.25),
    }
}

pub(super) fn ended(outcome: Outcome, reason: &str) -> AttemptEvent {
    ended_with(outcome, reason, EndDetails::default())
}

pub(super) fn ended_with(outcome: Outcome, reason: &str, details: EndDetails) -> AttemptEvent {
    AttemptEvent::Ended { outcome, reason: reason.to_owned(), log_tail: Vec::new(), weights: None, details }
}

/// The first sweep as the store has it, whose first job is `running`.
pub(super) fn stored(
    specification: &Specification,
    running: StoredAttempt,
    history: History,
    reason: &str,
) -> StoredSweep {
    let open = StoredJob {
        job: 1,
        attempts: 1,
        history,
        reason: reason.to_owned(),
        worker: None,
        budget: None,
        stage: StoredStage::Running(running),
    };
    StoredSweep {
        sweep: SweepId(1),
        request_id: String::new(),
        specification: specification.to_yaml(),
        manifest: None,
        metrics: MetricSchema::default(),
        parameters: Default::default(),
        without_checkpoint: None,
        owner: None,
        state: SweepState::Running,
        created_unix_ms: 0,
        ended_unix_ms: None,
        dataset: None,
        next_unstarted: 2,
        out_of_order: Default::default(),
        finals: Vec::new(),
        best: Default::default(),
        best_points: None,
        weights: Vec::new(),
        job_count: u64::MAX,
        search: Default::default(),
        open_jobs: vec![open],
        rungs: Vec::new(),
    }
}

/// An attempt at the worker a that was running when the coordinator ended.
pub(super) fn running_at_a(started: bool) -> StoredAttempt {
    StoredAttempt {
        worker: "a".parse().unwrap(),
        slot: 0,
        device: "cpu".into(),
        pack_size: 1,
        started,
        train_seconds: 0.0,
        last: None,
        best: None,
    }
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            engine: Engine::new(CONFIG),
            now_ms: 0,
            records: Vec::new(),
            effects: Vec::new(),
            refused: [0; 3],
            sequence: 0,
            predecessors: Vec::new(),
            disk_stands_still: false,
            runs_programs: false,
            spans_slots: true,
            pauses: true,
            checkpoints: "",
            memory_bytes: 0,
            devices: vec!["cpu"],
            models: builtins_described().to_vec(),
        }
    }

    /// Whose workers run programs, with so many GPUs each.
    pub(super) fn with_gpus(gpus: usize) -> Self {
        let devices = ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4"][..gpus].to_vec();
        Self { runs_programs: true, devices, ..Self::new() }
    }

    /// With one sweep submitted.
    pub(super) fn with_sweep(jobs: u32, more: &str) -> Self {
        let mut cluster = Self::new();
        cluster.submit(jobs, more);
        cluster
    }

    /// With one sweep of one job, whose first attempt ran on the worker `a` when the coordinator was started again.
    pub(super) fn restarted(history: History, reason: &str, started: bool) -> Self {
        let stored = stored(&specification(1, ""), running_at_a(started), history, reason);
        let mut cluster = Self::new();
        cluster.engine = Engine::restore(CONFIG, cluster.now(), vec![stored]).unwrap();
        cluster
    }

    /// The coordinator was started again, with what its store has.
    pub(super) fn restart(&mut self, stored: StoredSweep) {
        self.engine = Engine::restore(CONFIG, self.now(), vec![stored]).unwrap();
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, unix_ms: 1_000_000 + self.now_ms }
    }

    pub(super) fn hear(&mut self, event: Event) {
        let output = self.engine.hear(self.now(), event);
        self.take(output);
    }

    /// A user gives a command, which is not refused.
    pub(super) fn order<C: Command>(&mut self, command: C) -> C::Answer {
        self.try_order(command).unwrap()
    }

    /// A user gives a command, which is refused.
    pub(super) fn refusal<C: Command>(&mut self, command: C) -> ControlError {
        self.try_order(command).unwrap_err()
    }

    /// A user gives a command, which may be refused.
    pub(super) fn try_order<C: Command>(&mut self, command: C) -> Result<C::Answer, ControlError> {
        self.try_order_as(Issuer::local(), command)
    }

    /// The same of someone.
    pub(super) fn try_order_as<C: Command>(
        &mut self,
        issuer: Issuer,
        command: C,
    ) -> Result<C::Answer, ControlError> {
        let issued = Issued { command, issuer };
        let (answer, output) = self.engine.execute(self.now(), issued);
        self.take(output);
        answer
    }

    /// A question about something that is there.
    pub(super) fn ask<Q: Query>(&self, query: &Q) -> Q::Answer {
        self.engine.ask(self.now(), query).unwrap()
    }

    fn take(&mut self, output: Output) {
        let Output { records, effects, refused } = output;
        for (sum, more) in self.refused.iter_mut().zip([refused.fenced, refused.repeated, refused.invalid]) {
            *sum += more;
        }
        self.engine.check_invariants().unwrap();
        self.records.extend(records);
        if !self.disk_stands_still {
            self.tell(&effects);
        }
        self.effects.extend(effects);
    }

    /// These messages leave, as far as leases begin with them.
    pub(super) fn tell(&mut self, effects: &[Effect]) {
        let (mut granted, mut welcomed) = (Vec::new(), Vec::new());
        for effect in effects {
            let Effect::Send { session, message } = effect else { continue };
            match message {
                ToWorker::Grant(grant) => granted.extend(grant.jobs.iter().map(|job| job.attempt)),
                ToWorker::Welcome(_) => welcomed.push(*session),
                _ => {}
            }
        }
        if !granted.is_empty() || !welcomed.is_empty() {
            self.hear(Event::Delivered { granted, welcomed });
        }
    }

    pub(super) fn submit(&mut self, jobs: u32, more: &str) -> SweepView {
        self.submit_this(specification(jobs, more))
    }

    pub(super) fn submit_this(&mut self, specification: Specification) -> SweepView {
        let definition = Box::new(SweepDefinition::new(SweepId(0), specification).unwrap());
        let submitted = self.order(Submit::new(definition, String::new()).unwrap());
        assert!(submitted.created);
        submitted.sweep
    }

    /// A worker connects on the stream `session`, holding these attempts.
    pub(super) fn connect(&mut self, session: u64, name: &str, slots: u32, held: &[(AttemptKey, u32)]) {
        self.connect_process(session, name, "one", slots, held);
    }

    /// A process of a worker connects on the stream `session`, holding these attempts.
    pub(super) fn connect_process(
        &mut self,
        session: u64,
        name: &str,
        instance: &str,
        slots: u32,
        held: &[(AttemptKey, u32)],
    ) {
        self.connect_packing(session, name, instance, (slots, 1), held);
    }

    /// As [`Self::connect_process`], with slots that take packs of up to this many jobs.
    pub(super) fn connect_packing(
        &mut self,
        session: u64,
        name: &str,
        instance: &str,
        (slots, pack_size_max): (u32, u32),
        held: &[(AttemptKey, u32)],
    ) {
        let slot = |index| SlotDescription {
            index,
            device: self.devices[index as usize % self.devices.len()].into(),
            description: String::new(),
            pack_size_max,
        };
        let hello = Hello {
            name: name.parse().unwrap(),
            instance: instance.to_owned(),
            predecessors: self.predecessors.clone(),
            host: String::new(),
            software_version: String::new(),
            slots: (0..slots).map(slot).collect(),
            held: held
                .iter()
                .map(|&(attempt, slot)| HeldAttempt { attempt, slot: (slot != ENDED).then_some(slot) })
                .collect(),
            draining: false,
            runs_programs: self.runs_programs,
            spans_slots: self.spans_slots,
            pauses: self.pauses,
            checkpoints: self.checkpoints.to_owned(),
            memory_bytes: self.memory_bytes,
            models: self.models.clone(),
        };
        self.hear(Event::SessionOpened { session: SessionId(session), hello });
    }

    pub(super) fn event(&mut self, session: u64, attempt: AttemptKey, event: AttemptEvent) {
        self.sequence += 1;
        self.hear(Event::Attempt { session: SessionId(session), sequence: self.sequence, attempt, event });
    }

    pub(super) fn start(&mut self, session: u64, attempt: AttemptKey) {
        self.event(session, attempt, AttemptEvent::Started { dataset: dataset("same"), resumed_epochs: 0 });
    }

    pub(super) fn epoch(&mut self, session: u64, attempt: AttemptKey, epoch: u32) {
        self.event(session, attempt, AttemptEvent::Epoch(metrics(epoch).into()));
    }

    /// The worker trains the whole job.
    pub(super) fn train(&mut self, session: u64, attempt: AttemptKey) {
        self.start(session, attempt);
        self.epoch(session, attempt, 1);
        self.epoch(session, attempt, 2);
        self.event(session, attempt, ended(Outcome::Done, ""));
    }

    pub(super) fn heartbeat(&mut self, session: u64, attempts: &[AttemptKey]) {
        let running = attempts
            .iter()
            .map(|&attempt| Heartbeat { attempt, progress: Progress::reported(1, 0.5) })
            .collect();
        self.hear(Event::Heartbeat { session: SessionId(session), running, gpus: Vec::new() });
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
        self.hear(Event::Tick);
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The attempts granted since the last look, with the stream they went to.
    pub(super) fn grants(&mut self) -> Vec<(u64, AttemptKey)> {
        let alone = |(session, jobs): (u64, Vec<AttemptKey>)| {
            assert_eq!(jobs.len(), 1);
            (session, jobs[0])
        };
        self.packs().into_iter().map(alone).collect()
    }

    /// The grants since the last look: the stream that each went to, and its attempts.
    pub(super) fn packs(&mut self) -> Vec<(u64, Vec<AttemptKey>)> {
        let granted = |effect: Effect| match effect {
            Effect::Send { session, message: ToWorker::Grant(grant) } => {
                Some((session.0, grant.jobs.into_iter().map(|job| job.attempt).collect()))
            }
            _ => None,
        };
        self.take_effects().into_iter().filter_map(granted).collect()
    }

    /// The attempts revoked among these effects.
    pub(super) fn revoked(effects: &[Effect]) -> Vec<AttemptKey> {
        let revoked = |effect: &Effect| match effect {
            Effect::Send { message: ToWorker::Revoke { attempts, .. }, .. } => attempts.clone(),
            Effect::Send { message: ToWorker::Welcome(welcome), .. } => welcome.refused.clone(),
            _ => Vec::new(),
        };
        effects.iter().flat_map(revoked).collect()
    }

    pub(super) fn sweep(&mut self) -> SweepView {
        self.ask(&DescribeSweep::new(SweepId(1)))
    }

    /// The current state of the ends of the sweep's jobs.
    pub(super) fn ends(&mut self) -> EndsSeen {
        self.ask(&SeeEnds(SweepId(1)))
    }

    pub(super) fn definition(&mut self) -> Arc<SweepDefinition> {
        self.ask(&Define(SweepId(1))).definition
    }

    /// A change of the first sweep's settings.
    pub(super) fn change(&mut self, what: &str) -> Extend {
        let base = self.definition();
        let definition = Arc::new(base.set(&[what.to_owned()]).unwrap());
        Extend { sweep: SweepId(1), base, definition, revived: Default::default() }
    }

    /// What went wrong with the first sweep's only job, as it was recorded last.
    pub(super) fn history(&self) -> History {
        let history = self.records.iter().rev().find_map(|record| match record {
            Record::JobChanged { history, .. } => Some(history.clone()),
            _ => None,
        });
        history.unwrap_or_default()
    }

    /// (pending, running, done, diverged, failed, cancelled) of the first sweep.
    pub(super) fn counts(&mut self) -> [u64; 6] {
        let counts = self.sweep().counts;
        [counts.pending, counts.running, counts.done, counts.diverged, counts.failed, counts.cancelled]
    }
}

/// Attempt `attempt` of job `job` of the first sweep.
pub(super) fn key(job: u64, attempt: u32) -> AttemptKey {
    AttemptKey::new(1, job, attempt)
}
