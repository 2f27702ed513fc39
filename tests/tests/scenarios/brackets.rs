//! Jobs that early stopping compares at several rungs and that train in packs, with the real trainer: packs form again from those
//! that go on, and each job has the numbers that it has without either.

use std::collections::{BTreeMap, BTreeSet};

use proto::v1::{self, JobState, SubmitRequest, SweepState};
use tests::{Cluster, ClusterOptions, source};

use crate::{
    completion::{assert_whole, numbers},
    packs::{Results, assert_near},
};

type Attempts = BTreeMap<u64, Vec<v1::Attempt>>;

/// Jobs that may all share a pack.
const PARAMETERS: &str = "{activation: {values: [relu, sigmoid]}, learning_rate: {values: [0.003, 0.001, 0.0005, 0.0003, 0.0001, \
                          0.00003]}, epochs: {value: 4}}";
const EPOCHS: u32 = 4;
const JOBS: usize = 12;
/// The rungs of all brackets of the rules below.
const RUNGS: [u32; 2] = [1, 3];

/// Runs a sweep with this rule on two workers whose slots train up to `pack` jobs at a time: its jobs, and the attempts of each.
async fn run(rule: &str, pack: u32) -> (Results, Attempts) {
    let worker = ["--pack-size-max", &pack.to_string()].map(str::to_owned).to_vec();
    let cluster = Cluster::start(ClusterOptions { worker, ..ClusterOptions::default() });
    let _workers = [cluster.worker("one"), cluster.worker("two")];
    let mut source = source(PARAMETERS);
    source.text.push_str(rule);
    let request = SubmitRequest { source: Some(source), ..SubmitRequest::default() };
    let submitted = cluster.client().await.submit(request).await.unwrap().into_inner();
    let sweep = submitted.sweep.unwrap().sweep_id;
    assert_eq!(cluster.watch(sweep).await.until_end().await.state(), SweepState::Finished);
    let results = cluster.results(sweep).await;
    let mut attempts = BTreeMap::new();
    for (job, _) in &results {
        let number = job.point.as_ref().unwrap().job;
        attempts.insert(number, cluster.job(sweep, number).await.attempts);
    }
    (results, attempts)
}

/// Each job is done or was stopped at a rung, and went there by its rungs, each once.
fn check_ends(results: &Results, attempts: &Attempts) {
    assert_eq!(results.len(), JOBS);
    for (job, epochs) in results {
        let ends = match job.state() {
            JobState::Done => EPOCHS,
            JobState::Stopped => job.epochs_done,
            _ => panic!("{job:?}"),
        };
        assert!(ends == EPOCHS || RUNGS.contains(&ends), "{job:?}");
        assert_eq!((job.epochs_done, epochs.len() as u32), (ends, ends), "{job:?}");
        let attempts = &attempts[&job.point.as_ref().unwrap().job];
        let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
        let paused = outcomes.iter().filter(|outcome| **outcome == "paused").count();
        assert!(
            paused <= RUNGS.len() && outcomes.len() - paused == usize::from(ends == EPOCHS),
            "{attempts:?}"
        );
        // Where an attempt began is where the one before paused: no epoch was trained twice.
        let begun: Vec<u32> = attempts.iter().map(|attempt| attempt.resumed_epochs).collect();
        assert!(begun[0] == 0 && begun.is_sorted_by(|one, next| one < next), "{attempts:?}");
    }
}

/// The rung at which each job paused first: its bracket's.
fn first_rungs(results: &Results, attempts: &Attempts) -> BTreeMap<u64, u32> {
    let first = |job: &v1::Job| {
        let number = job.point.as_ref().unwrap().job;
        let second = attempts[&number].get(1).map(|attempt| attempt.resumed_epochs);
        (number, second.unwrap_or(job.epochs_done))
    };
    results.iter().map(|(job, _)| first(job)).collect()
}

/// In each bracket the best of those at a rung went on: one more than one of three.
fn check_promotions(results: &Results, brackets: &BTreeMap<u64, u32>) {
    for bracket in brackets.values().collect::<BTreeSet<_>>() {
        for rung in RUNGS.into_iter().filter(|rung| rung >= bracket) {
            let at = |(job, epochs): &(v1::Job, Vec<v1::EpochRow>)| {
                let number = job.point.as_ref().unwrap().job;
                let row = epochs.get(rung as usize - 1).filter(|_| brackets[&number] == *bracket)?;
                Some((row.record.as_ref().unwrap().val_accuracy, number, job.epochs_done > rung))
            };
            let mut there: Vec<_> = results.iter().filter_map(at).collect();
            there.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
            let quota = there.len() / 3 + 1;
            let left = there.iter().take(quota).find(|(.., goes_on)| !goes_on);
            assert_eq!(left, None, "bracket {bracket}, rung {rung}: {there:?}");
            assert!(there.iter().any(|(.., goes_on)| !goes_on), "bracket {bracket}, rung {rung}: {there:?}");
        }
    }
}

/// How many attempts that went on from a rung trained in a pack.
fn packed_again(attempts: &Attempts) -> usize {
    let again = attempts.values().flatten().filter(|attempt| attempt.resumed_epochs > 0);
    again.filter(|attempt| attempt.pack_size > 1).count()
}

/// The jobs without early stopping, each alone.
async fn whole() -> Results {
    let whole = run("", 1).await.0;
    assert_whole(&whole, JOBS, EPOCHS);
    whole
}

#[tokio::test]
async fn jobs_of_several_brackets_pack_again_where_they_go_on_and_keep_their_numbers() {
    let rule = "early_terminate: {type: hyperband, min_iter: 1, max_iter: 3}\n";
    let (packed, attempts) = run(rule, 4).await;
    check_ends(&packed, &attempts);
    let brackets = first_rungs(&packed, &attempts);
    assert_eq!(brackets.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from(RUNGS));
    check_promotions(&packed, &brackets);
    assert!(packed_again(&attempts) > 0, "{attempts:?}");
    let whole = whole().await;
    assert_near(&packed, &whole);

    let (alone, attempts) = run(rule, 1).await;
    check_ends(&alone, &attempts);
    assert_eq!(first_rungs(&alone, &attempts), brackets, "a job's bracket follows from its number");
    for ((job, epochs), (_, all)) in numbers(&alone).iter().zip(numbers(&whole)) {
        assert!(all.starts_with(epochs), "job {job}: {epochs:?} is not the beginning of {all:?}");
    }
}

#[tokio::test]
async fn rungs_by_the_keys_of_weights_and_biases_are_counted_downwards() {
    let (packed, attempts) = run("early_terminate: {type: hyperband, max_iter: 9, s: 2}\n", 4).await;
    check_ends(&packed, &attempts);
    let brackets = first_rungs(&packed, &attempts);
    assert!(brackets.values().all(|rung| *rung == 1), "{brackets:?}");
    check_promotions(&packed, &brackets);
    assert!(packed_again(&attempts) > 0, "{attempts:?}");
    assert_near(&packed, &whole().await);
}
