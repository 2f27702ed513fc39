//! Searches that learn: their points are chosen with the grants, recorded, and the same after a restart.

use domain::{
    definition::SweepDefinition,
    proposals::{Learned, LearnedResult, Proposed, Why},
    record::{BestJobs, EndedJob, Record, StoredSearch, StoredSweep},
    specification::{Specification, SpecificationSource},
};
use terms::{EpochReport, Goal, JobKey, JobState, Outcome, SweepId, SweepState, metrics::known};

use super::cluster::{Cluster, ended, key, running_at_a, stored};
use crate::{
    AttemptEvent,
    command::{EndJob, JobEnd, Retry, Submit},
    recomputed,
};

pub(super) fn search(cap: u64, parameters: &str) -> Specification {
    let text = format!(
        "name: test\nmethod: tpe\nrun_cap: {cap}\ndataset: {{path: d}}\nparameters:\n  epochs: {{value: 2}}\n{parameters}"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

pub(super) const RATES: &str = "  learning_rate: {min: 0.001, max: 0.1, distribution: log_uniform_values}\n  batch_size: {values: [16, 32]}\n";

/// What the records say of the searcher.
pub(super) fn recorded(cluster: &Cluster) -> StoredSearch {
    let mut search = StoredSearch::default();
    for record in &cluster.records {
        match record {
            Record::PointProposed { job, proposed } => search.proposals.push((job.job, proposed.clone())),
            Record::ResultLearned { number, learned, .. } => {
                search.learned.push(*learned);
                assert_eq!(*number, search.learned.len() as u64);
            }
            _ => {}
        }
    }
    search.proposals.sort_by_key(|(point, _)| *point);
    search
}

/// Whether each point is what its searcher would propose again.
pub(super) fn is_verified(cluster: &mut Cluster) -> bool {
    let (search, definition) = (recorded(cluster), cluster.definition());
    recomputed(definition.learned().unwrap(), Goal::Maximize, &search).unwrap().is_empty()
}

#[test]
fn a_point_is_recorded_with_the_grant_of_its_job_and_not_known_before() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(14, RATES));
    cluster.connect(1, "a", 1, &[]);
    let definition = cluster.definition();
    assert!(definition.parameters(1).get("learning_rate").is_some());
    assert!(definition.parameters(2).0.is_empty() && definition.proposed(2).is_none());
    assert_eq!(definition.budget(2), Some(2), "what is the same for all jobs is known");
    for job in 1..=14 {
        cluster.train(1, key(job, 1));
    }
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    let grant = |record: &Record| matches!(record, Record::AttemptGranted { .. });
    let proposal = |record: &Record| matches!(record, Record::PointProposed { .. });
    let at: Vec<usize> = (0..cluster.records.len()).filter(|at| proposal(&cluster.records[*at])).collect();
    assert_eq!(at.len(), 14);
    assert!(at.iter().all(|at| grant(&cluster.records[at + 1])), "each in the commit of its grant");
    let search = recorded(&cluster);
    assert!(search.proposals[9].1.why == Why::Random && search.proposals[9].1.seen == 9);
    assert!(matches!(
        search.proposals[13].1,
        Proposed { seen: 13, why: Why::Model { good: 2, running: 0, .. }, .. }
    ));
    assert!(is_verified(&mut cluster));
}

#[test]
fn a_search_goes_on_after_a_restart_as_if_there_had_been_none() {
    let mut whole = Cluster::new();
    whole.submit_this(search(16, RATES));
    whole.connect(1, "a", 1, &[]);
    (1..=16).for_each(|job| whole.train(1, key(job, 1)));

    let mut cluster = Cluster::new();
    let specification = search(16, RATES);
    cluster.submit_this(specification.clone());
    cluster.connect(1, "a", 1, &[]);
    (1..=11).for_each(|job| cluster.train(1, key(job, 1)));
    // The twelfth was granted and proposed; the store does not have it.
    let mut kept = recorded(&cluster);
    kept.proposals.truncate(11);
    let metrics = cluster.sweep().metrics;
    cluster.restart(StoredSweep {
        sweep: SweepId(1),
        request_id: String::new(),
        specification: specification.to_yaml(),
        manifest: None,
        metrics,
        parameters: Default::default(),
        without_checkpoint: None,
        owner: None,
        state: SweepState::Running,
        job_count: 16,
        created_unix_ms: 0,
        ended_unix_ms: None,
        dataset: None,
        next_unstarted: 12,
        out_of_order: Default::default(),
        finals: vec![(JobState::Done, 11)],
        best: BestJobs::default(),
        best_points: None,
        open_jobs: Vec::new(),
        weights: Vec::new(),
        rungs: Vec::new(),
        search: kept,
    });
    cluster.connect(2, "b", 1, &[]);
    (12..=16).for_each(|job| cluster.train(2, key(job, 1)));
    let (one, other) = (whole.definition(), cluster.definition());
    (1..=16).for_each(|job| assert_eq!(one.proposed(job), other.proposed(job), "{job}"));
}

#[test]
fn a_finite_space_ends_the_sweep_with_each_point_once() {
    let mut cluster = Cluster::new();
    let values = "  batch_size: {values: [16, 32, 64]}\nexclude: [{batch_size: 32}]\n";
    cluster.submit_this(search(9, values));
    assert_eq!(cluster.sweep().job_count(), 3);
    cluster.connect(1, "a", 1, &[]);
    (1..=2).for_each(|job| cluster.train(1, key(job, 1)));
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.job_count()), (SweepState::Finished, 2));
    assert_eq!(cluster.counts(), [0, 0, 2, 0, 0, 0]);
    let shrunk = |record: &Record| matches!(record, Record::SweepExtended { job_count: 2, .. });
    assert!(cluster.records.iter().any(shrunk), "a restart knows it, too");
}

#[test]
fn at_most_two_points_are_proposed_before_something_else_may_happen() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(20, RATES));
    cluster.disk_stands_still = true;
    cluster.connect(1, "a", 5, &[]);
    assert_eq!(recorded(&cluster).proposals.len(), 2);
    let effects = cluster.take_effects();
    cluster.disk_stands_still = false;
    cluster.tell(&effects);
    assert_eq!(recorded(&cluster).proposals.len(), 5, "each delivery brings the next");
    assert!(is_verified(&mut cluster));
}

#[test]
fn a_point_that_does_not_follow_from_what_is_recorded_is_named() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(14, RATES));
    cluster.connect(1, "a", 1, &[]);
    (1..=14).for_each(|job| cluster.train(1, key(job, 1)));
    let (mut search, definition) = (recorded(&cluster), cluster.definition());
    let true_point = search.proposals[11].1.parameters.clone();
    search.proposals[11].1.parameters = search.proposals[2].1.parameters.clone();
    let found = recomputed(definition.learned().unwrap(), Goal::Maximize, &search).unwrap();
    assert_eq!((found[0].point, &found[0].computed), (12, &Some(true_point)));
    assert_eq!(found[0].recorded, search.proposals[2].1.parameters);
}

#[test]
fn jobs_that_were_cancelled_and_are_tried_again_are_told_to_the_searcher() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(16, RATES));
    cluster.connect(1, "a", 2, &[]);
    let cancelled = |job| EndJob { job: JobKey { sweep: SweepId(1), job }, how: JobEnd::Cancel };
    // One that runs, and one that has no point yet.
    cluster.order(cancelled(2));
    cluster.order(cancelled(9));
    let ended = |job, attempts| domain::record::EndedJob { job, attempts, state: JobState::Cancelled };
    let jobs = vec![ended(2, 1), ended(9, 0)];
    let seen = cluster.ends();
    cluster.order(Retry { sweep: SweepId(1), jobs, all: false, seen, revived: Default::default() });
    let told: Vec<Learned> = recorded(&cluster).learned;
    assert_eq!(told.iter().map(|learned| learned.job).collect::<Vec<_>>(), [2, 2, 9]);
    cluster.pass(1);
    assert!(is_verified(&mut cluster));
}

/// An attempt trains up to this epoch, with this accuracy at each, and ends.
fn trains(cluster: &mut Cluster, (job, attempt): (u64, u32), epochs: u32, value: f64, outcome: Outcome) {
    cluster.start(1, key(job, attempt));
    for number in 1..=epochs {
        let metrics = [(known::VAL_ACCURACY.into(), value)].into_iter().collect();
        let report = EpochReport { number, seconds: 1.0, metrics };
        cluster.event(1, key(job, attempt), AttemptEvent::Epoch(report));
    }
    cluster.event(1, key(job, attempt), ended(outcome, ""));
}

/// A sweep of jobs of four epochs that learns, with a rule of early stopping.
fn stopping(cap: u64, early: &str) -> Cluster {
    let text = format!(
        "name: test\nmethod: tpe\nrun_cap: {cap}\ndataset: {{path: d}}\nearly_terminate: {early}\nparameters:\n  epochs: {{value: \
         4}}\n{RATES}"
    );
    let mut cluster = Cluster::new();
    cluster.submit_this(
        Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap(),
    );
    cluster.connect(1, "a", 1, &[]);
    cluster
}

#[test]
fn a_job_that_pauses_counts_as_stopped_there_until_more_is_known_of_it() {
    let mut cluster = stopping(14, "{type: asha, min_iter: 2, eta: 12}");
    let value = |job: u64| if job == 3 { 0.9 } else { 0.5 / job as f64 };
    for job in 1..=12 {
        trains(&mut cluster, (job, 1), 2, value(job), Outcome::Paused);
    }
    let told = |job| Learned { job, result: LearnedResult::Stopped { epoch: 2, value: Some(value(job)) } };
    assert_eq!(recorded(&cluster).learned, (1..=12).map(told).collect::<Vec<_>>());
    // The best of twelve goes on, and the next job begins meanwhile.
    cluster.start(1, key(3, 2));
    cluster.connect(2, "b", 1, &[]);
    let why: Vec<Why> = recorded(&cluster).proposals.iter().map(|(_, proposed)| proposed.why).collect();
    assert_eq!(why[..10], [Why::Random; 10], "{why:?}");
    assert!(why[10..].iter().all(|why| matches!(why, Why::Model { running: 0, .. })), "{why:?}");
    assert_eq!(why.len(), 13);
    trains(&mut cluster, (3, 2), 4, 0.8, Outcome::Done);
    assert_eq!(
        recorded(&cluster).learned.last(),
        Some(&Learned { job: 3, result: LearnedResult::Finished(0.8) })
    );
    assert!(is_verified(&mut cluster));
}

#[test]
fn a_job_that_is_stopped_is_learned_with_the_epoch_and_the_value_that_it_had() {
    let mut cluster = stopping(6, "{type: asha, min_iter: 2, eta: 2, promote: false}");
    trains(&mut cluster, (1, 1), 4, 0.5, Outcome::Done);
    trains(&mut cluster, (2, 1), 2, 0.4, Outcome::Revoked);
    let stopped = LearnedResult::Stopped { epoch: 2, value: Some(0.4) };
    assert_eq!(recorded(&cluster).learned.last(), Some(&Learned { job: 2, result: stopped }));
    assert!(is_verified(&mut cluster));
}

pub(super) fn cancelled(job: u64) -> EndJob {
    EndJob { job: JobKey { sweep: SweepId(1), job }, how: JobEnd::Cancel }
}

#[test]
fn a_space_that_runs_out_within_a_point_ends_the_sweep() {
    let mut cluster = Cluster::new();
    let values = "  batch_size: {values: [16, 32, 64]}\nrepeats: 2\nexclude: [{batch_size: 32}]\n";
    cluster.submit_this(search(6, values));
    assert_eq!(cluster.sweep().job_count(), 6);
    // The first training of the third point, which there is not.
    cluster.order(cancelled(5));
    cluster.connect(1, "a", 1, &[]);
    (1..=4).for_each(|job| cluster.train(1, key(job, 1)));
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.job_count()), (SweepState::Finished, 6));
    assert_eq!(cluster.counts(), [0, 0, 4, 0, 0, 2]);
}

#[test]
fn an_answer_that_was_given_before_the_points_ran_out_stays_as_it_was() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(3, "  batch_size: {values: [16, 32, 64]}\nexclude: [{batch_size: 32}]\n"));
    let before = cluster.sweep();
    cluster.connect(1, "a", 1, &[]);
    (1..=2).for_each(|job| cluster.train(1, key(job, 1)));
    let after = cluster.sweep();
    assert_eq!((before.job_count(), before.counts.pending), (3, 3));
    assert_eq!((after.job_count(), after.counts.pending), (2, 0));
}

#[test]
fn a_training_that_was_cancelled_before_its_point_was_chosen_does_not_run_for_the_searcher() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(30, &format!("{RATES}repeats: 2\n")));
    cluster.order(cancelled(24));
    cluster.connect(1, "a", 1, &[]);
    assert_eq!(recorded(&cluster).learned, []);
    (1..=23).for_each(|job| cluster.train(1, key(job, 1)));
    let search = recorded(&cluster);
    let nothing = Learned { job: 24, result: LearnedResult::Nothing };
    assert_eq!(search.learned.iter().position(|learned| *learned == nothing), Some(22), "with its point");
    let (_, next) = search.proposals.last().unwrap();
    assert!(matches!(next.why, Why::Model { running: 0, .. }), "{next:?}");
    assert!(is_verified(&mut cluster));
}

#[test]
fn points_that_were_proposed_out_of_the_order_of_their_numbers_are_verified() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(40, RATES));
    cluster.connect(1, "a", 1, &[]);
    (1..=20).for_each(|job| cluster.train(1, key(job, 1)));
    cluster.order(cancelled(30));
    let (jobs, seen) = (vec![EndedJob { job: 30, attempts: 0, state: JobState::Cancelled }], cluster.ends());

    cluster.order(Retry { sweep: SweepId(1), jobs, all: false, seen, revived: Default::default() });
    cluster.connect(2, "b", 6, &[]);
    let search = recorded(&cluster);
    let place = |point: u64| search.proposals.iter().find(|(own, _)| *own == point).unwrap().1.place;
    assert!(place(30) < place(22), "it was to be tried again");
    assert!(is_verified(&mut cluster));
}

#[test]
fn a_job_that_runs_knows_after_a_restart_how_many_epochs_were_proposed() {
    let text =
        "name: test\nmethod: tpe\nrun_cap: 3\ndataset: {path: d}\nparameters:\n  epochs: {values: [5, 10]}\n";
    let source = SpecificationSource { text: text.to_owned(), ..SpecificationSource::default() };
    let specification = Specification::parse(&source).unwrap();
    let mut cluster = Cluster::new();
    cluster.submit_this(specification.clone());
    cluster.connect(1, "a", 1, &[]);
    let total = cluster.definition().budget(1);
    assert!(total.is_some());
    let search = recorded(&cluster);
    let stored = StoredSweep { search, ..stored(&specification, running_at_a(true), Default::default(), "") };
    cluster.restart(stored);
    let restored = cluster.engine.sweep(SweepId(1)).unwrap().snapshot();
    assert_eq!(restored.running[0].epochs_total, total);
}

#[test]
fn a_space_that_is_too_wide_to_compute_with_is_refused() {
    for wide in ["{min: -1.7e+308, max: 1.7e+308}", "{distribution: q_normal, mu: 5, sigma: 1, q: 1.7e+308}"]
    {
        let text = format!(
            "name: x\nmethod: tpe\nrun_cap: 5\nprogram: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters: {{rate: {wide}}}\n"
        );
        let source = SpecificationSource { text, ..SpecificationSource::default() };
        let definition =
            Box::new(SweepDefinition::new(SweepId(0), Specification::parse(&source).unwrap()).unwrap());
        let refused = Submit::new(definition, String::new()).unwrap_err();
        assert!(refused.to_string().contains("`rate` cannot be searched"), "{refused}");
    }
}
