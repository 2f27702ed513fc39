//! How long the engine's turns are with a thousand workers and ten thousand jobs that early stopping has paused, and with searchers that
//! know ten thousand results: `cargo run --release -p engine --example turns`. Times are milliseconds.

use std::{error::Error, time::Instant};

use domain::{
    definition::SweepDefinition,
    proposals::{Learned, LearnedResult, Proposed, Why},
    record::{Rung, StoredJob, StoredRungs, StoredSearch, StoredStage, StoredSweep},
    specification::{Specification, SpecificationSource},
};
use engine::{
    AttemptEvent, Effect, Engine, EngineConfig, Event, Hello, Issued, Issuer, JobAssignment, Now, Output,
    SessionId, SlotDescription, ToWorker,
    command::{Resume, Submit},
};
use terms::{
    DatasetSummary, EndDetails, EpochReport, JobState, Outcome, ParameterMap, ParameterValue, SweepId,
    SweepState, WorkerName, manifest::builtins_described,
};

const WORKERS: u64 = 1_000;
const JOBS: u64 = 10_000;
/// Ends that are measured one after another.
const ENDS: usize = 1_000;
const NOW: Now = Now { monotonic_ms: 0, unix_ms: 0 };

/// Whose checkpoints a worker finds.
#[derive(Clone, Copy)]
enum Checkpoints {
    /// All have one place for them.
    Shared,
    /// Each keeps its own.
    Own,
    /// The same, and the first worker has trained all jobs so far.
    OneHasAll,
}

fn main() -> Result<(), Box<dyn Error>> {
    let asha = "{type: asha, min_iter: 1, eta: 3}";
    let top = "{type: top_k, min_iter: 1, k: 5000}";
    println!(
        "{:<58}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "resumed", "granted", "end", "p99", "longest", "idle"
    );
    for (rule, early) in [("asha", asha), ("top_k", top)] {
        for (place, checkpoints) in [
            ("one place for checkpoints", Checkpoints::Shared),
            ("each worker its own", Checkpoints::Own),
            ("one worker has all", Checkpoints::OneHasAll),
        ] {
            for pack in [1, 8] {
                let measured = measure(early, checkpoints, pack)?;
                println!("{:<58}{measured}", format!("{rule}, {place}, packs of {pack}"));
            }
        }
    }
    searchers()
}

/// Turns in which searchers propose, and those around the lives of searchers.
fn searchers() -> Result<(), Box<dyn Error>> {
    println!("\n{:<58}{:>9}{:>9}{:>9}{:>9}", "after 10,000 results", "proposal", "p99", "longest", "the end");
    for parameters in [8, 20, 50, 100] {
        let mut world = World::of(searched(parameters)?, Checkpoints::Shared, 1, 1)?;
        let mut ends = Vec::new();
        while let Some((session, assignment)) = world.running.pop_front() {
            ends.extend(world.train(session, &assignment));
        }
        // The last one ends the sweep, and proposes nothing.
        let end = ends.pop().unwrap_or_default();
        ends.sort_by(f64::total_cmp);
        let [p50, p99, longest] = [50, 99, 100].map(|share| at(&ends, share));
        println!("{:<58}{p50:>9.3}{p99:>9.3}{longest:>9.3}{end:>9.3}", format!("{parameters} parameters"));
    }
    let definition = SweepDefinition::parse(&excluding())?;
    let start = Instant::now();
    let command = Submit::new(Box::new(definition), String::new())?;
    let outside = start.elapsed().as_secs_f64() * 1e3;
    let mut engine = Engine::new(EngineConfig::with_lease_ms(1_000_000));
    let start = Instant::now();
    let (answer, output) = engine.execute(NOW, Issued { command, issuer: Issuer::local() });
    let turn = start.elapsed().as_secs_f64() * 1e3;
    answer?;
    drop(output);
    println!("\n32,768 points without 1,000: {outside:.3} outside of the engine, {turn:.3} in its turn");
    Ok(())
}

/// A value of sorted ones.
fn at(sorted: &[f64], share: usize) -> f64 {
    sorted.get((sorted.len() * share / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// A sweep with `parameters` parameters that learns, the last jobs of which have not begun.
fn searched(parameters: u64) -> Result<StoredSweep, Box<dyn Error>> {
    let axes: String = (0..parameters).map(|axis| format!("  p{axis}: {{min: 0.0, max: 1.0}}\n")).collect();
    let text = format!(
        "name: searched\nmethod: tpe\nrun_cap: {JOBS}\nprogram: train.py\nmetric: {{name: val_accuracy, goal: maximize}}\n\
         parameters:\n{axes}"
    );
    let source = SpecificationSource { text, ..SpecificationSource::default() };
    let known = JOBS - ENDS as u64;
    let number = |job: u64, axis: u64| {
        (((job * 100 + axis).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64) / (1_u64 << 53) as f64
    };
    let proposed = |job: u64| {
        let values =
            (0..parameters).map(|axis| (format!("p{axis}"), ParameterValue::Float(number(job, axis))));
        (
            job,
            Proposed {
                parameters: ParameterMap(values.collect()),
                place: job,
                seen: job - 1,
                why: Why::Random,
            },
        )
    };
    let learned = |job: u64| Learned { job, result: LearnedResult::Finished(value(job)) };
    Ok(StoredSweep {
        specification: Specification::parse(&source)?.to_yaml(),
        state: SweepState::Running,
        dataset: None,
        next_unstarted: known + 1,
        finals: vec![(JobState::Done, known)],
        search: StoredSearch {
            proposals: (1..=known).map(proposed).collect(),
            learned: (1..=known).map(learned).collect(),
        },
        ..nothing()
    })
}

/// A space of choices of which many are excluded, one by one.
fn excluding() -> SpecificationSource {
    let axes: String = (0..15).map(|axis| format!("  c{axis}: {{values: [0, 1]}}\n")).collect();
    let entry = |number: u64| {
        let values: Vec<String> =
            (0..15).map(|axis| format!("c{axis}: {}", ((number * 31) >> axis) & 1)).collect();
        format!("{{{}}}", values.join(", "))
    };
    let entries: Vec<String> = (0..1_000).map(entry).collect();
    let text = format!(
        "name: excluding\nmethod: tpe\nrun_cap: 1000\nprogram: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters:\n{axes}\
         exclude: [{}]\n",
        entries.join(", ")
    );
    SpecificationSource { text, ..SpecificationSource::default() }
}

/// The turn that fills all slots, those in which one attempt pauses and its slot is filled, and one in which nothing happens.
fn measure(early: &str, checkpoints: Checkpoints, pack: u32) -> Result<String, Box<dyn Error>> {
    let mut world = World::of(stored(early, checkpoints)?, checkpoints, pack, WORKERS)?;
    let start = Instant::now();
    let (answer, output) =
        world.engine.execute(NOW, Issued { command: Resume(SweepId(1)), issuer: Issuer::local() });
    answer?;
    let resumed = start.elapsed().as_secs_f64() * 1e3;
    let granted = world.take(output);
    let mut ends = Vec::new();
    while ends.len() < ENDS
        && let Some((session, assignment)) = world.running.pop_front()
    {
        ends.extend(world.train(session, &assignment));
    }
    ends.sort_by(f64::total_cmp);
    let at = |share: usize| at(&ends, share);
    let start = Instant::now();
    let output = world
        .engine
        .hear(NOW, Event::Heartbeat { session: SessionId(1), running: Vec::new(), gpus: Vec::new() });
    let idle = start.elapsed().as_secs_f64() * 1e3;
    drop(output);
    Ok(format!("{resumed:>9.3}{granted:>9}{:>9.3}{:>9.3}{:>9.3}{idle:>9.3}", at(50), at(99), at(100)))
}

/// An engine with its workers, and the jobs that they train.
struct World {
    engine: Engine,
    running: std::collections::VecDeque<(SessionId, JobAssignment)>,
}

impl World {
    fn of(
        stored: StoredSweep,
        checkpoints: Checkpoints,
        pack: u32,
        workers: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let config = EngineConfig::with_lease_ms(1_000_000);
        let engine = Engine::restore(config, NOW, vec![stored])?;
        let mut world = Self { engine, running: std::collections::VecDeque::new() };
        for worker in 1..=workers {
            let session = SessionId(worker);
            let output = world
                .engine
                .hear(NOW, Event::SessionOpened { session, hello: hello(&name(worker)?, checkpoints, pack) });
            world.take(output);
        }
        Ok(world)
    }

    /// Does what was asked for; how many jobs were granted.
    fn take(&mut self, output: Output) -> usize {
        let (mut granted, mut welcomed) = (Vec::new(), Vec::new());
        for effect in output.effects {
            match effect {
                Effect::Send { session, message: ToWorker::Grant(grant) } => {
                    granted.extend(grant.jobs.iter().map(|job| job.attempt));
                    self.running.extend(grant.jobs.into_iter().map(|job| (session, job)));
                }
                Effect::Send { session, message: ToWorker::Welcome(_) } => welcomed.push(session),
                _ => {}
            }
        }
        let count = granted.len();
        if !granted.is_empty() || !welcomed.is_empty() {
            let output = self.engine.hear(NOW, Event::Delivered { granted, welcomed });
            self.take(output);
        }
        count
    }

    /// A worker trains a job as far as it was granted; how long the turns of its end take, in milliseconds.
    fn train(&mut self, session: SessionId, assignment: &JobAssignment) -> Option<f64> {
        let attempt = assignment.attempt;
        let started = AttemptEvent::Started { dataset: dataset(), resumed_epochs: 0 };
        let last = assignment.until_epoch.or(assignment.budget).unwrap_or(1);
        let epochs = (1..=last).map(|number| {
            let metrics = [("train_loss", 0.5), ("val_accuracy", value(attempt.job.job))];
            let metrics = metrics.into_iter().map(|(name, value)| (name.into(), value)).collect();
            AttemptEvent::Epoch(EpochReport { number, seconds: 1.0, metrics })
        });
        for event in [started].into_iter().chain(epochs) {
            let output = self.engine.hear(NOW, Event::Attempt { session, sequence: 0, attempt, event });
            self.take(output);
        }
        let outcome = if assignment.until_epoch.is_some() { Outcome::Paused } else { Outcome::Done };
        let details = EndDetails::default();
        let event = AttemptEvent::Ended {
            outcome,
            reason: String::new(),
            log_tail: Vec::new(),
            weights: None,
            details,
        };
        let event = Event::Attempt { session, sequence: 0, attempt, event };
        let start = Instant::now();
        let output = self.engine.hear(NOW, event);
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.take(output);
        Some(took)
    }
}

/// A sweep that a user has paused, all of whose jobs are paused after their first epoch.
fn stored(early: &str, checkpoints: Checkpoints) -> Result<StoredSweep, Box<dyn Error>> {
    let text = format!(
        "name: turns\ndataset: {{path: d}}\nparameters:\n  epochs: {{value: 9}}\n  \
         learning_rate: {{min: 1, max: 1000, count: {JOBS}}}\nearly_terminate: {early}\n"
    );
    let source = SpecificationSource { text, ..SpecificationSource::default() };
    let specification = Specification::parse(&source)?.to_yaml();
    let mut open_jobs = Vec::new();
    let mut rungs = Vec::new();
    for job in 1..=JOBS {
        let worker = match checkpoints {
            Checkpoints::Shared | Checkpoints::Own => name(1 + job % WORKERS)?,
            Checkpoints::OneHasAll => name(1)?,
        };
        open_jobs.push(StoredJob {
            job,
            attempts: 1,
            history: Default::default(),
            reason: String::new(),
            worker: Some(worker),
            budget: Some(1),
            stage: StoredStage::Paused,
        });
        let rung = Rung { epoch: 1, value: Some(value(job)), goes_on: false };
        rungs.push(StoredRungs { job, state: JobState::Paused, rungs: vec![rung] });
    }
    Ok(StoredSweep { specification, open_jobs, rungs, ..nothing() })
}

/// A paused sweep of which nothing is stored.
fn nothing() -> StoredSweep {
    StoredSweep {
        sweep: SweepId(1),
        request_id: String::new(),
        specification: String::new(),
        manifest: None,
        metrics: Default::default(),
        parameters: Default::default(),
        state: SweepState::Paused,
        job_count: JOBS,
        created_unix_ms: 0,
        ended_unix_ms: None,
        dataset: Some(dataset()),
        next_unstarted: JOBS + 1,
        out_of_order: Default::default(),
        finals: Vec::new(),
        best: Default::default(),
        best_points: None,
        open_jobs: Vec::new(),
        weights: Vec::new(),
        search: Default::default(),
        rungs: Vec::new(),
        without_checkpoint: None,
        owner: None,
    }
}

/// What ranks a job, in no order.
fn value(job: u64) -> f64 {
    (job * 7_919 % JOBS) as f64 / JOBS as f64
}

fn dataset() -> DatasetSummary {
    DatasetSummary { content_hash: "d".to_owned(), train_images: 100, ..DatasetSummary::default() }
}

fn name(worker: u64) -> Result<WorkerName, Box<dyn Error>> {
    Ok(format!("worker-{worker:04}").parse()?)
}

fn hello(name: &WorkerName, checkpoints: Checkpoints, pack_size_max: u32) -> Hello {
    let slot = SlotDescription {
        index: 0,
        device: "cuda:0".to_owned(),
        description: "a GPU".to_owned(),
        pack_size_max,
    };
    let place = match checkpoints {
        Checkpoints::Shared => "s3://bucket/checkpoints",
        Checkpoints::Own | Checkpoints::OneHasAll => "",
    };
    Hello {
        name: name.clone(),
        instance: "one".to_owned(),
        predecessors: Vec::new(),
        host: String::new(),
        software_version: String::new(),
        slots: vec![slot],
        held: Vec::new(),
        draining: false,
        runs_programs: true,
        spans_slots: true,
        pauses: true,
        checkpoints: place.to_owned(),
        memory_bytes: 0,
        models: builtins_described().to_vec(),
    }
}
