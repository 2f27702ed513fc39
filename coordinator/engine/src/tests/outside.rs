//! Searches whose points a searcher outside proposes: it is told each result once and in order, and no point is trained that it did not
//! propose.

use domain::{
    points::CheckedPoint,
    proposals::{LearnedResult, Why},
    record::{BestJobs, EndedJob, Record, StoredSearch, StoredSweep},
    specification::{Specification, SpecificationSource},
};
use terms::{JobKey, JobState, ParameterMap, ParameterValue, SweepId, SweepState};

use super::{
    cluster::{Cluster, key, specification},
    shares::{quota, set, submit},
};
use crate::{
    ControlError, WaitReason,
    command::{Cancel, EndJob, JobEnd, Pause, ProposePoints, Proposed, Resume, Retry},
    query::{AskSearch, SearchNews},
};

const SWEEP: SweepId = SweepId(1);

fn search(cap: u64, more: &str) -> Specification {
    let text = format!(
        "name: test\nmethod: external\nrun_cap: {cap}\ndataset: {{path: d}}\nparameters:\n  epochs: {{value: 2}}\n  \
         learning_rate: {{min: 0.001, max: 0.1}}\n{more}"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

fn points(rates: &[f64]) -> Vec<CheckedPoint> {
    let jobs = search(1, "").jobs().unwrap();
    let check = jobs.learned().unwrap().check();
    let point = |rate: &f64| ParameterMap(vec![("learning_rate".to_owned(), ParameterValue::Float(*rate))]);
    rates.iter().map(|rate| check.of(&point(rate)).unwrap()).collect()
}

fn propose(first_point: u64, rates: &[f64]) -> ProposePoints {
    ProposePoints { sweep: SWEEP, first_point, points: points(rates), seen: 0, is_exhausted: false }
}

fn ending(first_point: u64, rates: &[f64]) -> ProposePoints {
    ProposePoints { is_exhausted: true, ..propose(first_point, rates) }
}

impl Cluster {
    fn news(&self, after: u64) -> SearchNews {
        self.ask(&AskSearch { sweep: SWEEP, after })
    }

    /// How many points are wanted.
    fn wanted(&self) -> u64 {
        self.news(self.news(0).results.len() as u64).wanted
    }

    fn rate(&mut self, job: u64) -> Option<ParameterValue> {
        self.definition().parameters(job).get("learning_rate").cloned()
    }

    /// What the store has of the sweep after so many jobs that are done.
    fn stored(&mut self, specification: &Specification, done: u64) -> StoredSweep {
        let mut search = StoredSearch::default();
        for record in &self.records {
            match record {
                Record::PointProposed { job, proposed } => search.proposals.push((job.job, proposed.clone())),
                Record::ResultLearned { learned, .. } => search.learned.push(*learned),
                _ => {}
            }
        }
        StoredSweep {
            sweep: SWEEP,
            request_id: String::new(),
            specification: specification.to_yaml(),
            manifest: None,
            metrics: self.sweep().metrics,
            parameters: Default::default(),
            without_checkpoint: None,
            owner: None,
            state: SweepState::Running,
            job_count: self.sweep().job_count(),
            created_unix_ms: 0,
            ended_unix_ms: None,
            dataset: None,
            next_unstarted: done + 1,
            out_of_order: Default::default(),
            finals: vec![(JobState::Done, done)],
            best: BestJobs::default(),
            best_points: None,
            open_jobs: Vec::new(),
            weights: Vec::new(),
            rungs: Vec::new(),
            search,
        }
    }
}

fn cancelled(job: u64) -> EndJob {
    EndJob { job: JobKey { sweep: SWEEP, job }, how: JobEnd::Cancel }
}

#[test]
fn jobs_wait_for_their_points_and_as_many_are_wanted_as_slots_are_free() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(10, "execution: {max_parallel: 3}\n"));
    assert_eq!(
        cluster.wanted(),
        1,
        "no worker is there, and none would come for a sweep without a job that waits"
    );
    cluster.connect(1, "a", 2, &[]);
    assert_eq!(cluster.counts(), [10, 0, 0, 0, 0, 0]);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::NoPoint);
    assert!(waiting.text.starts_with("10 jobs wait for points of the searcher outside"), "{}", waiting.text);
    assert_eq!(cluster.wanted(), 2);
    cluster.connect(2, "b", 5, &[]);
    assert_eq!(cluster.wanted(), 3, "more would exceed max_parallel");
    assert_eq!(cluster.order(propose(1, &[0.01, 0.02])), Proposed { next_point: 3 });
    assert_eq!((cluster.counts(), cluster.wanted()), ([8, 2, 0, 0, 0, 0], 1));
    cluster.order(propose(3, &[0.03, 0.04]));
    assert_eq!((cluster.counts(), cluster.wanted()), ([7, 3, 0, 0, 0, 0], 0));
    assert_eq!(cluster.sweep().waiting.unwrap().reason, WaitReason::MaxParallel, "the fourth has a point");
    cluster.order(Pause(SWEEP));
    assert_eq!(cluster.wanted(), 0);
    cluster.order(Resume(SWEEP));
    let before = cluster.definition();
    assert_eq!(before.proposed(3).map(|proposed| proposed.why), Some(Why::Outside));
    assert_eq!(cluster.rate(4), Some(ParameterValue::Float(0.04)));
}

#[test]
fn a_searcher_that_says_the_same_again_is_answered_the_same_and_another_is_refused() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(5, ""));
    let three = propose(1, &[0.01, 0.02, 0.03]);
    assert_eq!(cluster.order(three.clone()), Proposed { next_point: 4 });
    let records = cluster.records.len();
    assert_eq!(cluster.order(three), Proposed { next_point: 4 });
    assert_eq!(cluster.records.len(), records);
    assert_eq!(cluster.order(propose(3, &[0.03, 0.04])), Proposed { next_point: 5 }, "one of two was known");
    assert_eq!(cluster.refusal(propose(2, &[0.03])), ControlError::PointIsOther { sweep: SWEEP, point: 2 });
    assert_eq!(
        cluster.refusal(propose(6, &[0.01])),
        ControlError::PointsMissing { sweep: SWEEP, first: 6, next: 5 }
    );
    assert_eq!(
        cluster.refusal(propose(0, &[0.01])),
        ControlError::PointsMissing { sweep: SWEEP, first: 0, next: 5 }
    );
    assert_eq!(
        cluster.refusal(propose(5, &[0.01, 0.02])),
        ControlError::TooManyPoints { sweep: SWEEP, points: 5 }
    );
    let seen = ProposePoints { seen: 1, ..propose(5, &[0.01]) };
    assert_eq!(cluster.refusal(seen), ControlError::NoSuchResult { sweep: SWEEP, seen: 1, told: 0 });
    assert_eq!(cluster.news(0).next_point, 5, "nothing of what was refused is there");
}

#[test]
fn results_are_told_once_in_order_from_where_the_searcher_is() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(3, "repeats: 1\ninclude: [{learning_rate: 0.05}]\n"));
    cluster.connect(1, "a", 2, &[]);
    assert_eq!((cluster.news(0).next_point, cluster.wanted()), (2, 1), "the included point runs");
    cluster.order(propose(2, &[0.02]));
    cluster.train(1, key(2, 1));
    cluster.train(1, key(1, 1));
    let news = cluster.news(0);
    let told = |news: &SearchNews| {
        let of =
            |result: &crate::query::SearchResult| (result.number, result.job, result.point, result.result);
        news.results.iter().map(of).collect::<Vec<_>>()
    };
    let finished = LearnedResult::Finished(0.5);
    assert_eq!(told(&news), [(1, 2, 2, finished), (2, 1, 1, finished)]);
    assert_eq!(news.results[1].parameters.get("learning_rate"), Some(&ParameterValue::Float(0.05)));
    assert_eq!(told(&cluster.news(1)), [(2, 1, 1, finished)]);
    assert_eq!((told(&cluster.news(2)), cluster.news(2).wanted), (vec![], 1));
    let ahead = cluster.engine.ask(cluster.now(), &AskSearch { sweep: SWEEP, after: 3 });
    assert_eq!(ahead, Err(ControlError::NoSuchResult { sweep: SWEEP, seen: 3, told: 2 }));
    cluster.order(propose(3, &[0.03]));
    cluster.train(1, key(3, 1));
    assert_eq!(cluster.news(2).state, SweepState::Finished);
    assert!(matches!(cluster.refusal(propose(4, &[0.03])), ControlError::TooManyPoints { .. }));
}

#[test]
fn a_restart_goes_on_with_the_same_points_and_results() {
    let specification = search(6, "");
    let mut cluster = Cluster::new();
    cluster.submit_this(specification.clone());
    cluster.connect(1, "a", 1, &[]);
    cluster.order(propose(1, &[0.01, 0.02, 0.03]));
    (1..=2).for_each(|job| cluster.train(1, key(job, 1)));
    let before = cluster.news(0);
    let stored = cluster.stored(&specification, 2);
    cluster.restart(stored);
    let after = cluster.news(0);
    assert_eq!((after.results, after.next_point, after.points_max), (before.results, 4, 6));
    assert_eq!(cluster.order(propose(3, &[0.03, 0.04])), Proposed { next_point: 5 });
    cluster.connect(2, "b", 1, &[]);
    (3..=4).for_each(|job| cluster.train(2, key(job, 1)));
    assert_eq!((cluster.news(2).results.len(), cluster.wanted()), (2, 1));
}

#[test]
fn a_search_that_is_exhausted_ends_with_what_it_has() {
    let specification = search(50, "");
    let mut cluster = Cluster::new();
    cluster.submit_this(specification.clone());
    cluster.connect(1, "a", 1, &[]);
    assert_eq!(cluster.refusal(ending(1, &[])), ControlError::NoPointYet(SWEEP));
    cluster.order(ending(1, &[0.01, 0.02]));
    let sweep = cluster.sweep();
    assert_eq!((sweep.state, sweep.job_count()), (SweepState::Running, 2));
    assert!(matches!(cluster.refusal(propose(3, &[0.03])), ControlError::TooManyPoints { points: 2, .. }));
    assert_eq!(cluster.order(ending(1, &[0.01, 0.02])), Proposed { next_point: 3 }, "the same again");
    cluster.train(1, key(1, 1));
    let stored = cluster.stored(&specification, 1);
    let shrunk = |record: &&Record| matches!(record, Record::SweepExtended { job_count: 2, .. });
    assert_eq!(cluster.records.iter().filter(shrunk).count(), 1);
    cluster.restart(stored);
    cluster.connect(2, "a", 1, &[]);
    let limit = cluster.change("execution.max_parallel=4");
    cluster.order(limit);
    assert_eq!(cluster.sweep().job_count(), 2, "a setting brings nothing back");
    cluster.train(2, key(2, 1));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    assert_eq!(cluster.news(0).results.len(), 2);
}

#[test]
fn a_job_that_was_cancelled_before_it_had_a_point_is_told_as_soon_as_it_has() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(4, ""));
    cluster.connect(1, "a", 3, &[]);
    cluster.order(cancelled(2));
    assert_eq!(cluster.news(0).results, []);
    cluster.order(propose(1, &[0.01, 0.02]));
    let news = cluster.news(0);
    assert_eq!(
        (news.results.len(), news.results[0].job, news.results[0].result),
        (1, 2, LearnedResult::Nothing)
    );
    assert_eq!(cluster.counts(), [2, 1, 0, 0, 0, 1]);
    cluster.order(cancelled(4));
    let (jobs, seen) = (vec![EndedJob { job: 4, attempts: 0, state: JobState::Cancelled }], cluster.ends());
    cluster.order(Retry { sweep: SWEEP, jobs, all: false, seen, revived: Default::default() });
    assert_eq!((cluster.counts()[0], cluster.sweep().waiting.unwrap().reason), (2, WaitReason::NoPoint));
    cluster.order(ending(3, &[0.03]));
    assert_eq!(cluster.sweep().job_count(), 4, "users know the number of the fourth job");
    assert_eq!(cluster.counts(), [0, 2, 0, 0, 0, 2]);
    let records = cluster.records.len();
    assert_eq!(cluster.order(ending(3, &[0.03])), Proposed { next_point: 4 }, "the same again");
    cluster.train(1, key(1, 1));
    cluster.train(1, key(3, 1));
    assert_eq!(cluster.sweep().state, SweepState::Finished);
    let records = cluster.records.len().max(records);
    assert_eq!(cluster.order(ending(3, &[0.03])), Proposed { next_point: 4 }, "and after the end");
    assert_eq!(cluster.records.len(), records);
}

#[test]
fn a_sweep_that_was_cancelled_or_chooses_its_points_by_itself_takes_none() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(4, ""));
    cluster.order(propose(1, &[0.01]));
    cluster.order(Cancel(SWEEP));
    assert_eq!(
        cluster.order(propose(1, &[0.01])),
        Proposed { next_point: 2 },
        "what was answered before is again"
    );
    assert!(matches!(cluster.refusal(propose(2, &[0.01])), ControlError::AlreadyFinal { .. }));
    assert_eq!((cluster.news(0).state, cluster.news(0).wanted), (SweepState::Cancelled, 0));
    cluster.submit(3, "");
    let other = ProposePoints { sweep: SweepId(2), ..propose(1, &[0.01]) };
    assert_eq!(cluster.refusal(other), ControlError::NotFromOutside(SweepId(2)));
    let asked = cluster.engine.ask(cluster.now(), &AskSearch { sweep: SweepId(2), after: 0 });
    assert_eq!(asked, Err(ControlError::NotFromOutside(SweepId(2))));
}

#[test]
fn each_training_of_a_point_is_told_and_points_are_wanted_for_all_of_them() {
    let mut cluster = Cluster::new();
    cluster.submit_this(search(9, "repeats: 2\n"));
    cluster.connect(1, "a", 3, &[]);
    assert_eq!((cluster.wanted(), cluster.news(0).points_max), (2, 4));
    cluster.order(propose(1, &[0.01, 0.02]));
    assert_eq!((cluster.counts()[1], cluster.wanted()), (3, 0));
    (1..=4).for_each(|job| cluster.train(1, key(job, 1)));
    let points: Vec<u64> = cluster.news(0).results.iter().map(|result| result.point).collect();
    assert_eq!(points, [1, 1, 2, 2]);
}

#[test]
fn a_point_is_wanted_where_only_later_sweeps_of_its_owner_fill_the_quota() {
    let mut cluster = Cluster::new();
    set(&mut cluster, quota("ann", Some(1), 1));
    submit(&mut cluster, "ann", specification(9, ""));
    cluster.connect(1, "a", 2, &[]);
    assert_eq!(cluster.grants().len(), 1);
    submit(&mut cluster, "ann", search(5, "execution: {priority: 1}\n"));
    let wanted = |cluster: &Cluster| cluster.ask(&AskSearch { sweep: SweepId(2), after: 0 }).wanted;
    assert_eq!(wanted(&cluster), 1, "its job is the next one");
    set(&mut cluster, quota("ann", Some(0), 1));
    assert_eq!(wanted(&cluster), 0);
}
