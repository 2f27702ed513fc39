//! Searchers are made beside the engine, rest while their sweep has ended, and count what runs.

use domain::record::EndedJob;
use terms::{JobState, ParameterMap, SweepId, SweepState};

use super::{
    cluster::{Cluster, key},
    learning::{RATES, cancelled, is_verified, recorded, search},
};
use crate::{
    ControlError, Effect, Revived,
    command::{Cancel, Extend, Retry},
    learning::Searcher,
};

/// A sweep of so many jobs, all of which have ended.
fn finished(cap: u64) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(cap, RATES));
    cluster.connect(1, "a", 1, &[]);
    (1..=cap).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    cluster
}

fn points(cluster: &Cluster) -> Vec<ParameterMap> {
    recorded(cluster).proposals.into_iter().map(|(_, proposed)| proposed.parameters).collect()
}

/// More jobs for the sweep, with a searcher that was told this many of the results.
fn extension(cluster: &mut Cluster, cap: u64, results: usize) -> Extend {
    let base = cluster.definition();
    let mut stored = recorded(cluster);
    stored.learned.truncate(results);
    let definition = base.extended(search(cap, RATES)).unwrap().into();
    let revived = Revived::new(&base, &stored).unwrap();
    Extend { sweep: SweepId(1), base, definition, revived }
}

#[test]
fn a_sweep_that_has_ended_goes_on_with_a_searcher_that_knows_all_as_if_it_had_not_ended() {
    let whole = points(&finished(20));
    let mut cluster = finished(16);
    let without = Extend { revived: Revived::default(), ..extension(&mut cluster, 20, 16) };
    let late = extension(&mut cluster, 20, 15);
    let mut stored = recorded(&cluster);
    stored.proposals.pop();
    let revived = Revived::new(&cluster.definition(), &stored).unwrap();
    let lacks_a_point = Extend { revived, ..extension(&mut cluster, 20, 16) };
    for command in [without, late, lacks_a_point] {
        let refused = cluster.refusal(command);
        assert!(matches!(refused, ControlError::Overtaken), "{refused}");
    }
    let known = extension(&mut cluster, 20, 16);
    assert_eq!(cluster.order(known).added_jobs, 4);
    (17..=20).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!((cluster.sweep().state, points(&cluster)), (SweepState::Finished, whole));
    assert!(is_verified(&mut cluster));
}

#[test]
fn settings_of_a_sweep_that_has_ended_need_no_searcher() {
    let mut cluster = finished(3);
    let change = cluster.change("execution.max_parallel=2");
    assert_eq!(cluster.order(change).added_jobs, 0);
}

#[test]
fn a_retry_in_a_sweep_that_has_ended_needs_a_searcher_that_knows_all() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(13, RATES));
    cluster.connect(1, "a", 1, &[]);
    cluster.order(cancelled(13));
    (1..=12).for_each(|job| cluster.train(1, key(job, 1)));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    let jobs = vec![EndedJob { job: 13, attempts: 0, state: JobState::Cancelled }];
    let retry = |cluster: &mut Cluster, revived| {
        let (jobs, seen) = (jobs.clone(), cluster.ends());
        Retry { sweep: SweepId(1), jobs, all: false, seen, revived }
    };
    let without = retry(&mut cluster, Revived::default());
    let refused = cluster.refusal(without);
    assert!(matches!(refused, ControlError::Overtaken), "{refused}");
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    let revived = Revived::new(&cluster.definition(), &recorded(&cluster)).unwrap();
    let known = retry(&mut cluster, revived);
    assert_eq!(cluster.order(known).jobs, 1);
    cluster.train(1, key(13, 1));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert_eq!(recorded(&cluster).proposals.len(), 13);
    assert!(is_verified(&mut cluster));
}

#[test]
fn a_retry_of_nothing_needs_no_searcher_and_takes_none() {
    let mut cluster = finished(13);
    for (all, stored) in [(false, None), (true, None), (true, Some(recorded(&cluster)))] {
        let known = stored.map(|stored| Revived::new(&cluster.definition(), &stored).unwrap());
        let (seen, revived) = (cluster.ends(), known.unwrap_or_default());
        let retry = Retry { sweep: SweepId(1), jobs: Vec::new(), all, seen, revived };
        assert_eq!(cluster.order(retry).jobs, 0);
        assert_eq!(cluster.sweep().state, SweepState::Finished);
        let run = cluster.engine.sweeps.get(SweepId(1)).unwrap();
        assert!(run.learning().unwrap().rests(), "a searcher takes megabytes");
    }
}

#[test]
fn ten_proposals_at_once_differ_with_and_without_the_running_jobs_counted() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(30, RATES));
    cluster.connect(1, "a", 1, &[]);
    (1..=20).for_each(|job| cluster.train(1, key(job, 1)));
    let told = recorded(&cluster);
    cluster.connect(2, "b", 9, &[]);
    let proposals = recorded(&cluster).proposals;
    assert!(proposals[20..].iter().all(|(_, proposed)| proposed.seen == 20), "{proposals:?}");
    let with = points(&cluster)[20..].to_vec();
    assert_eq!(with.len(), 10);
    // The same searcher, which is told of no job that runs.
    let mut searcher = Searcher::of(&cluster.definition()).unwrap().unwrap();
    told.proposals[..20].iter().for_each(|(point, known)| searcher.start(*point, &known.parameters));
    for learned in &told.learned {
        searcher.tell(*learned, &told.proposals[learned.job as usize - 1].1.parameters);
    }
    let without: Vec<ParameterMap> = (21..=30).map(|point| searcher.propose(point).unwrap().0).collect();
    assert_eq!(with[0], without[0], "no job ran yet");
    assert!(with[1..].iter().zip(&without[1..]).any(|(one, other)| one != other), "{with:?}");
    let differ = |points: &[ParameterMap]| (1..10).all(|at| !points[..at].contains(&points[at]));
    assert!(differ(&with), "{with:?}");
}

#[test]
fn jobs_for_which_no_point_is_left_end_in_one_step() {
    let mut cluster = Cluster::new();
    let all: Vec<String> = (1..=40).map(|size| size.to_string()).collect();
    let excluded: Vec<String> = (4..=40).map(|size| format!("{{batch_size: {size}}}")).collect();
    let values =
        format!("  batch_size: {{values: [{}]}}\nexclude: [{}]\n", all.join(", "), excluded.join(", "));
    cluster.submit_this(search(40, &values));
    // Its number is known, so that none of those before it can vanish.
    cluster.order(cancelled(40));
    cluster.connect(1, "a", 1, &[]);
    (1..=3).for_each(|job| cluster.train(1, key(job, 1)));
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.job_count()), (SweepState::Finished, 40));
    assert_eq!(cluster.counts(), [0, 0, 3, 0, 0, 37]);
}

/// How many searchers are to be freed since this was last asked.
fn discarded(cluster: &mut Cluster) -> usize {
    cluster.take_effects().iter().filter(|effect| matches!(effect, Effect::Discard(_))).count()
}

#[test]
fn searchers_that_no_sweep_needs_leave_the_engine_to_be_freed_elsewhere() {
    let mut cluster = finished(12);
    assert_eq!(discarded(&mut cluster), 1, "the sweep's own");
    let late = extension(&mut cluster, 14, 11);
    let refused = cluster.refusal(late.clone());
    assert!(matches!(refused, ControlError::Overtaken), "{refused}");
    assert_eq!((discarded(&mut cluster), late.revived.bytes()), (1, 0), "one that does not know all");
    let known = extension(&mut cluster, 14, 12);
    let other = Extend { base: cluster.definition().after(None).into(), ..known.clone() };
    let refused = cluster.refusal(other);
    assert!(matches!(refused, ControlError::Overtaken), "{refused}");
    assert_eq!((discarded(&mut cluster), known.revived.bytes()), (1, 0), "one whose command was refused");
    let known = extension(&mut cluster, 14, 12);
    assert_eq!(cluster.order(known).added_jobs, 2);
    assert_eq!(discarded(&mut cluster), 0, "one that is used");
    cluster.order(Cancel(SweepId(1)));
    assert_eq!(discarded(&mut cluster), 1);
}
