//! Searches: packs of drawn points, targets, repetitions and raised caps.

use std::sync::Arc;

use domain::{
    record::Record,
    specification::{Specification, SpecificationSource, Trainable},
};
use terms::{AttemptKey, JobState, ParameterValue, SweepId, SweepState};

use super::cluster::{Cluster, key};
use crate::{
    ControlError, Effect, ToWorker,
    command::{Extend, Retry, Stop},
    query::Define,
};

/// A search of `cap` jobs of two epochs with three batch sizes.
fn search(cap: u64, more: &str) -> Specification {
    let text = format!(
        "name: test\nmethod: random\nrun_cap: {cap}\ndataset: {{path: d}}\nparameters:\n  epochs: {{value: 2}}\n  \
         learning_rate: {{min: 0.001, max: 0.1}}\n  batch_size: {{values: [16, 32, 64]}}\n{more}"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

fn packs(cluster: &mut Cluster) -> Vec<Vec<u64>> {
    let jobs = |(_, pack): (u64, Vec<AttemptKey>)| pack.into_iter().map(|attempt| attempt.job.job).collect();
    cluster.packs().into_iter().map(jobs).collect()
}

#[test]
fn packs_of_a_search_are_of_one_shape_and_no_job_is_forgotten() {
    let mut cluster = Cluster::new();
    cluster.connect_packing(1, "a", "one", (1, 8), &[]);
    cluster.submit_this(search(40, ""));
    let definition = cluster.sweep().definition;
    let batch = |job| definition.parameters(job).get("batch_size").cloned().unwrap();
    let (mut trained, mut largest) = (Vec::new(), 0);
    loop {
        let granted = packs(&mut cluster);
        let Some(pack) = granted.first() else { break };
        assert!(pack.iter().all(|job| batch(*job) == batch(pack[0])), "{pack:?}");
        // The first job that waits is always one of them.
        let first = (1..=40).find(|job| !trained.contains(job)).unwrap();
        assert_eq!(pack[0], first);
        largest = largest.max(pack.len());
        trained.extend(pack);
        for job in pack {
            cluster.train(1, key(*job, 1));
        }
    }
    trained.sort_unstable();
    assert!(trained.into_iter().eq(1..=40));
    assert!(largest >= 4, "{largest}");
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

/// One worker with two slots, and a sweep whose jobs all end with an accuracy of 0.5.
fn with_target(target: &str) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(9, &format!("metric: {{name: val_accuracy, target: {target}}}\n")));
    cluster.connect(1, "a", 2, &[]);
    cluster
}

#[test]
fn a_job_that_reaches_the_target_ends_the_sweep_and_the_others_go_on_to_their_ends() {
    let mut cluster = with_target("0.5");
    cluster.train(1, key(1, 1));
    assert_eq!(cluster.sweep().state, SweepState::Stopping);
    assert_eq!(cluster.counts(), [7, 1, 1, 0, 0, 0], "the other one runs");
    // Both are in the same commit, so that no restart finds one without the other.
    let stops = cluster
        .records
        .iter()
        .position(|record| matches!(record, Record::SweepChanged { state: SweepState::Stopping, .. }));
    let done = cluster
        .records
        .iter()
        .position(|record| matches!(record, Record::JobChanged { state: JobState::Done, .. }));
    assert!(done.unwrap() < stops.unwrap());
    cluster.train(1, key(2, 1));
    let sweep = cluster.sweep();
    assert_eq!(sweep.state, SweepState::Stopped);
    let why = sweep.stopped.unwrap();
    assert!(why.contains("job 1 reached the target of 0.5 with val_accuracy = 0.5"), "{why}");
}

/// All jobs that ended without a result, tried again.
fn retry(cluster: &Cluster) -> Retry {
    let run = cluster.engine.sweep(SweepId(1)).unwrap();
    Retry {
        sweep: SweepId(1),
        jobs: Vec::new(),
        all: true,
        seen: run.ends().clone(),
        revived: Default::default(),
    }
}

#[test]
fn a_sweep_that_has_reached_its_target_goes_on_only_with_another_one() {
    let mut cluster = with_target("0.5");
    cluster.train(1, key(1, 1));
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.sweep().state, SweepState::Stopped);
    let defined = cluster.ask(&Define(SweepId(1)));
    let expected = "the sweep was stopped, as job 1 reached the target of 0.5 with val_accuracy = 0.5";
    assert_eq!(defined.not_needed.as_deref(), Some(expected));
    let reached = |error: ControlError| {
        let told = error.to_string();
        let says = told.starts_with("job 1 reached the target of 0.5")
            && told.contains("sweep set 1 metric.target=VALUE");
        assert!(matches!(error, ControlError::TargetReached { .. }) && says, "{told}");
    };
    let again = retry(&cluster);
    reached(cluster.refusal(again));
    let more = |cluster: &mut Cluster, target: &str| {
        let base = cluster.definition();
        let metric = format!("metric: {{name: val_accuracy, target: {target}}}\n");
        let definition = Arc::new(base.extended(search(20, &metric)).unwrap());
        Extend { sweep: SweepId(1), base, definition, revived: Default::default() }
    };
    let extension = more(&mut cluster, "0.5");
    reached(cluster.refusal(extension));
    // Another target starts nothing by itself.
    let change = cluster.change("metric.target=0.4");
    cluster.order(change);
    let again = retry(&cluster);
    let told = cluster.refusal(again).to_string();
    assert!(told.starts_with("job 1 reached the target of 0.4"), "{told}");
    // A value that was mistyped is corrected, and a command whose answer was lost is given again.
    for target in ["0.99", "none", "none"] {
        let change = cluster.change(&format!("metric.target={target}"));
        cluster.order(change);
        assert_eq!(cluster.sweep().state, SweepState::Stopped);
    }
    let again = retry(&cluster);
    assert_eq!(cluster.order(again).jobs, 7);
    (3..=9).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    // The file has the target from before, which is lifted.
    let extension = more(&mut cluster, "0.5");
    let told = cluster.refusal(extension).to_string();
    assert!(told.contains("this file's `metric.target`") && told.contains("change it in the file"), "{told}");
    // One that ended by itself has its target, too.
    let change = cluster.change("metric.target=0.5");
    cluster.order(change);
    let extension = more(&mut cluster, "0.5");
    reached(cluster.refusal(extension));
    let higher = more(&mut cluster, "0.6");
    assert_eq!(cluster.order(higher).added_jobs, 11);
}

#[test]
fn a_sweep_that_its_target_stopped_takes_jobs_with_another_target_and_trains_those_that_it_left_out() {
    let mut cluster = with_target("0.5");
    cluster.train(1, key(1, 1));
    cluster.train(1, key(2, 1));
    assert_eq!(cluster.sweep().state, SweepState::Stopped);
    let base = cluster.definition();
    let definition = base.extended(search(11, "metric: {name: val_accuracy, target: 0.99}\n")).unwrap();
    let more =
        Extend { sweep: SweepId(1), base, definition: Arc::new(definition), revived: Default::default() };
    assert_eq!(cluster.order(more).added_jobs, 2);
    assert_eq!(cluster.sweep().state, SweepState::Running);
    (3..=11).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert_eq!(cluster.counts(), [0, 0, 11, 0, 0, 0]);
}

#[test]
fn a_sweep_that_a_user_stopped_takes_jobs_only_once_it_goes_on() {
    let mut cluster = with_target("0.99");
    cluster.train(1, key(1, 1));
    cluster.order(Stop(SweepId(1)));
    (2..=3).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Stopped);
    let more = |cluster: &mut Cluster| {
        let base = cluster.definition();
        let definition = Arc::new(base.extended(search(11, "metric: {name: val_accuracy}\n")).unwrap());
        Extend { sweep: SweepId(1), base, definition, revived: Default::default() }
    };
    let extension = more(&mut cluster);
    let told = cluster.refusal(extension).to_string();
    assert!(told.contains("`sweep retry 1` has it go on"), "{told}");
    let again = retry(&cluster);
    cluster.order(again);
    let extension = more(&mut cluster);
    assert_eq!(cluster.order(extension).added_jobs, 2);
}

#[test]
fn a_target_that_comes_with_the_last_job_stops_nothing() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(1, "metric: {name: val_accuracy, target: 0.5}\n"));
    cluster.connect(1, "a", 1, &[]);
    cluster.train(1, key(1, 1));
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.stopped), (SweepState::Finished, None));
    let change = cluster.change("metric.target=none");
    cluster.order(change);
    let base = cluster.definition();
    let definition = Arc::new(base.extended(search(5, "metric: {name: val_accuracy}\n")).unwrap());
    let more = Extend { sweep: SweepId(1), base, definition, revived: Default::default() };
    assert_eq!(cluster.order(more).added_jobs, 4);
}

#[test]
fn a_target_that_no_job_reaches_changes_nothing() {
    let mut cluster = with_target("0.51");
    (1..=9).for_each(|job| cluster.train(1, key(job, 1)));
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.stopped), (SweepState::Finished, None));
}

#[test]
fn a_target_that_is_set_later_counts_at_once() {
    let mut cluster = with_target("0.51");
    cluster.train(1, key(1, 1));
    let change = cluster.change("metric.target=0.4");
    cluster.order(change);
    assert_eq!(cluster.sweep().state, SweepState::Stopping);
}

#[test]
fn raising_the_cap_adds_jobs_and_changes_none() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(3, ""));
    let before = cluster.sweep().definition;
    cluster.connect(1, "a", 1, &[]);
    (1..=3).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    let definition = Arc::new(before.extended(search(5, "")).unwrap());
    let base = cluster.definition();
    assert_eq!(
        cluster.order(Extend { sweep: SweepId(1), base, definition, revived: Default::default() }).added_jobs,
        2
    );
    assert_eq!(cluster.sweep().state, SweepState::Running);
    let after = cluster.sweep().definition;
    (1..=3).for_each(|job| assert_eq!(before.parameters(job), after.parameters(job)));
    (4..=5).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
}

#[test]
fn a_program_is_told_which_training_of_its_point_a_job_is() {
    let mut cluster = Cluster::new();
    cluster.runs_programs = true;
    let text = "program: train.py\nmetric: {name: loss, goal: minimize}\nrepeats: 2\nparameters: {x: {values: [1, 2]}}\n";
    let source = SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() };
    let specification = Specification::parse(&source).unwrap();
    assert!(matches!(specification.trainable, Trainable::Program(_)));
    cluster.submit_this(specification);
    cluster.connect(1, "a", 4, &[]);
    let told: Vec<_> = cluster
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { message: ToWorker::Grant(grant), .. } => Some(&grant.jobs[0]),
            _ => None,
        })
        .map(|job| {
            let env = &job.program.as_ref().unwrap().env;
            let repeat = env.iter().find(|(name, _)| name == "SWEEP_REPEAT").unwrap();
            (job.parameters.get("x").cloned().unwrap(), repeat.1.clone())
        })
        .collect();
    let expected = [(1, "1"), (1, "2"), (2, "1"), (2, "2")];
    assert_eq!(told, expected.map(|(x, repeat)| (ParameterValue::Integer(x), repeat.to_owned())));
}
