//! What is kept for jobs with several GPUs, among several owners: how much of it, for how long, and from whom.

use domain::specification::{Models, Specification, SpecificationSource};
use terms::{
    AttemptKey, Outcome, SweepId,
    manifest::{Described, Manifest, builtins_described},
};

use super::{
    cluster::{Cluster, ended},
    resources::with,
    shares::{quota, set, submit},
};
use crate::{
    AttemptEvent, Measure, WaitReason,
    command::{Pause, Resume},
    query::DescribeSweep,
};

const TWO_GPUS: &str = "resources: {gpus: 2}";

pub(super) fn of(sweep: u64, job: u64) -> AttemptKey {
    AttemptKey::new(sweep, job, 1)
}

pub(super) fn end(cluster: &mut Cluster, session: u64, attempt: AttemptKey) {
    let started = AttemptEvent::Started { dataset: Default::default(), resumed_epochs: 0 };
    cluster.event(session, attempt, started);
    cluster.event(session, attempt, ended(Outcome::Diverged, ""));
}

/// Workers with two GPUs each, numbered from 1, all busy with jobs of an owner's sweep, which are numbered in the same order.
fn busy(owner: &str, workers: u64) -> Cluster {
    let mut cluster = Cluster::with_gpus(2);
    submit(&mut cluster, owner, with(""));
    for worker in 1..=workers {
        cluster.connect(worker, &format!("w{worker}"), 2, &[]);
    }
    assert_eq!(cluster.grants().len() as u64, 2 * workers);
    cluster
}

/// A sweep of three jobs of a model that only some workers have.
fn of_a_model() -> Specification {
    let text = "name: x\nmodel: deep\ndataset: {path: d}\nparameters: {epochs: {value: 2}, seed: {values: [1, 2, 3]}}\n";
    let models = Models::given(vec![deep()]);
    let source = SpecificationSource { text: text.to_owned(), models, ..SpecificationSource::default() };
    Specification::parse(&source).unwrap()
}

fn deep() -> Described {
    Described::new(Manifest { name: "deep".into(), ..Manifest::clone(&builtins_described()[0]) })
}

/// A worker connects that has the model, one slot and no GPU.
fn connect_with_model(cluster: &mut Cluster, session: u64) {
    (cluster.runs_programs, cluster.devices, cluster.models) = (false, vec!["cpu"], vec![deep()]);
    cluster.connect(session, &format!("x{session}"), 1, &[]);
}

#[test]
fn an_owner_keeps_no_more_than_the_quota_leaves_and_the_others_say_so() {
    let mut cluster = busy("ben", 3);
    set(&mut cluster, quota("ann", Some(2), 1));
    let sweeps = [(); 3].map(|()| submit(&mut cluster, "ann", with(TWO_GPUS)));
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [], "it is kept for the first of them");
    end(&mut cluster, 2, of(1, 3));
    assert_eq!(cluster.grants(), [(2, of(1, 7))]);
    let waiting = cluster.ask(&DescribeSweep::new(SweepId(sweeps[1]))).waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::Quota);
    assert_eq!(
        waiting.text,
        "the jobs of ann hold 0 slots of a quota of 2, 2 more are kept for jobs with several GPUs, and a job takes 2 at once"
    );
    // Not even for one slot: the job could not start then.
    let single = submit(&mut cluster, "ann", with(""));
    cluster.connect(4, "w4", 1, &[]);
    assert_eq!(cluster.grants(), [(4, of(1, 8))]);
    let waiting = cluster.ask(&DescribeSweep::new(SweepId(single))).waiting.unwrap();
    assert_eq!(
        waiting.text,
        "the jobs of ann hold 0 slots of a quota of 2, and 2 more are kept for jobs with several GPUs"
    );
    end(&mut cluster, 1, of(1, 2));
    assert_eq!(cluster.grants(), [(1, of(sweeps[0], 1))]);
}

#[test]
fn nor_more_than_a_share_of_what_jobs_hold_that_make_way_for_it() {
    let mut cluster = busy("ben", 4);
    for _ in 0..4 {
        submit(&mut cluster, "ann", with(TWO_GPUS));
    }
    end(&mut cluster, 1, of(1, 1));
    end(&mut cluster, 2, of(1, 3));
    assert_eq!(cluster.grants(), [], "half of the cluster is kept");
    end(&mut cluster, 3, of(1, 5));
    assert_eq!(cluster.grants(), [(3, of(1, 9))]);
    end(&mut cluster, 1, of(1, 2));
    end(&mut cluster, 2, of(1, 4));
    assert_eq!(cluster.grants(), [(1, of(2, 1)), (2, of(3, 1))]);
}

#[test]
fn what_is_kept_stays_so_although_an_earlier_sweep_of_its_owner_waits_for_other_workers() {
    let mut cluster = Cluster::with_gpus(2);
    submit(&mut cluster, "ann", of_a_model());
    submit(&mut cluster, "ben", with(""));
    cluster.connect(1, "y", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(2, 1)), (1, of(2, 2))]);
    submit(&mut cluster, "ann", with(TWO_GPUS));
    end(&mut cluster, 1, of(2, 1));
    assert_eq!(cluster.grants(), []);
    // With these, ann's jobs hold more than those of ben.
    connect_with_model(&mut cluster, 2);
    connect_with_model(&mut cluster, 3);
    assert_eq!(cluster.grants(), [(2, of(1, 1)), (3, of(1, 2))]);
    end(&mut cluster, 1, of(2, 2));
    assert_eq!(cluster.grants(), [(1, of(3, 1))]);
}

#[test]
fn or_has_no_room_in_the_quota() {
    let mut cluster = Cluster::with_gpus(2);
    set(&mut cluster, quota("ann", Some(3), 1));
    submit(&mut cluster, "ann", with("execution: {max_parallel: 1}"));
    cluster.connect(1, "x", 1, &[]);
    submit(&mut cluster, "ben", with(""));
    cluster.connect(2, "y", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(1, 1)), (2, of(2, 1)), (2, of(2, 2))]);
    submit(&mut cluster, "ann", with("resources: {gpus: 4}"));
    submit(&mut cluster, "ann", with(TWO_GPUS));
    end(&mut cluster, 2, of(2, 1));
    end(&mut cluster, 2, of(2, 2));
    assert_eq!(cluster.grants(), [(2, of(4, 1))]);
}

#[test]
fn what_is_kept_for_one_owner_is_not_given_to_another_who_waits_as_well() {
    let mut cluster = busy("cleo", 2);
    submit(&mut cluster, "ann", with(TWO_GPUS));
    submit(&mut cluster, "ben", with(TWO_GPUS));
    for (worker, job) in [(1, 1), (2, 3), (2, 4)] {
        end(&mut cluster, worker, of(1, job));
    }
    assert_eq!(cluster.grants(), [(2, of(3, 1))]);
    end(&mut cluster, 1, of(1, 2));
    assert_eq!(cluster.grants(), [(1, of(2, 1))]);
}

#[test]
fn an_earlier_sweep_of_the_same_owner_takes_of_what_is_kept_only_in_its_turn() {
    let mut cluster = Cluster::with_gpus(2);
    submit(&mut cluster, "ann", with(""));
    cluster.order(Pause(SweepId(1)));
    submit(&mut cluster, "ben", with(""));
    cluster.connect(1, "y", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(2, 1)), (1, of(2, 2))]);
    submit(&mut cluster, "ann", with(TWO_GPUS));
    end(&mut cluster, 1, of(2, 1));
    assert_eq!(cluster.grants(), []);
    cluster.order(Resume(SweepId(1)));
    assert_eq!(cluster.grants(), [(1, of(1, 1))]);
    // Now ann's jobs hold more than those of ben.
    end(&mut cluster, 1, of(2, 2));
    assert_eq!(cluster.grants(), []);
}

#[test]
fn and_not_while_another_owner_who_waits_for_several_comes_first() {
    let mut cluster = Cluster::with_gpus(2);
    submit(&mut cluster, "ann", with(""));
    cluster.order(Pause(SweepId(1)));
    submit(&mut cluster, "ben", with(""));
    cluster.connect(1, "y", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(2, 1)), (1, of(2, 2))]);
    cluster.order(Pause(SweepId(2)));
    submit(&mut cluster, "ann", with(TWO_GPUS));
    end(&mut cluster, 1, of(2, 1));
    assert_eq!(cluster.grants(), []);
    cluster.order(Resume(SweepId(1)));
    assert_eq!(cluster.grants(), [(1, of(1, 1))]);
    submit(&mut cluster, "cleo", with(TWO_GPUS));
    // Cleo's jobs hold nothing; what is kept for ann stays so, and is all free next.
    end(&mut cluster, 1, of(2, 2));
    assert_eq!(cluster.grants(), []);
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [(1, of(3, 1))]);
    end(&mut cluster, 1, of(3, 1));
    assert_eq!(cluster.grants(), [(1, of(4, 1))]);
}

#[test]
fn what_was_kept_for_a_job_is_not_kept_for_the_next_one() {
    let mut cluster = busy("cleo", 1);
    cluster.order(Pause(SweepId(1)));
    submit(&mut cluster, "ben", with(TWO_GPUS));
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), []);
    // Its slot is free all the time, and no one's.
    cluster.devices = vec!["cpu"];
    cluster.connect(2, "c", 1, &[]);
    submit(&mut cluster, "ann", with(TWO_GPUS));
    end(&mut cluster, 1, of(1, 2));
    assert_eq!(cluster.grants(), [(1, of(2, 1))]);
    end(&mut cluster, 1, of(2, 1));
    assert_eq!(cluster.grants(), [(1, of(3, 1))]);
}

#[test]
fn a_sweep_of_several_gpus_has_its_turn_before_those_that_come_after_it() {
    let mut cluster = Cluster::with_gpus(3);
    set(&mut cluster, quota("ann", Some(2), 1));
    submit(&mut cluster, "ann", with("execution: {max_parallel: 1}"));
    submit(&mut cluster, "ann", with(TWO_GPUS));
    submit(&mut cluster, "ben", with(TWO_GPUS));
    submit(&mut cluster, "cleo", with(""));
    cluster.connect(1, "a", 3, &[]);
    assert_eq!(cluster.grants(), [(1, of(1, 1)), (1, of(3, 1))]);
}

#[test]
fn jobs_with_several_gpus_count_as_them_where_the_quota_bounds_those_that_would_start() {
    let mut cluster = Cluster::new();
    let waiting = |cluster: &Cluster| cluster.ask(&Measure).startable_jobs;
    set(&mut cluster, quota("ann", Some(7), 1));
    submit(&mut cluster, "ann", with("resources: {gpus: 3}"));
    assert_eq!(waiting(&cluster), 2);
    submit(&mut cluster, "ann", with(""));
    assert_eq!(waiting(&cluster), 3, "the slot that is left");
    submit(&mut cluster, "ben", with("resources: {gpus: 3}"));
    assert_eq!(waiting(&cluster), 12);
}

#[test]
fn a_job_that_makes_way_for_two_counts_once() {
    let mut cluster = Cluster::with_gpus(5);
    submit(&mut cluster, "ben", with("resources: {gpus: 4}"));
    cluster.connect(1, "x", 5, &[]);
    assert_eq!(cluster.grants(), [(1, of(1, 1))]);
    cluster.order(Pause(SweepId(1)));
    for _ in 0..2 {
        submit(&mut cluster, "ann", with(TWO_GPUS));
    }
    cluster.devices = vec!["cpu"];
    submit(&mut cluster, "ben", with(""));
    cluster.connect(2, "y", 4, &[]);
    assert_eq!(cluster.grants(), [(1, 1), (2, 2), (2, 3), (2, 4), (2, 5)].map(|(at, job)| (at, of(4, job))));
    submit(&mut cluster, "cleo", with(""));
    cluster.connect(3, "z", 3, &[]);
    assert_eq!(cluster.grants(), [1, 2, 3].map(|job| (3, of(5, job))));
    // Of ben's nine slots four make way for both sweeps of ann, and five for no one: more than cleo has.
    end(&mut cluster, 3, of(5, 1));
    assert_eq!(cluster.grants(), [(3, of(5, 4))]);
}

#[test]
fn what_the_jobs_of_the_same_owner_hold_of_what_is_kept_counts_once() {
    let mut cluster = Cluster::with_gpus(2);
    set(&mut cluster, quota("ann", Some(4), 1));
    submit(&mut cluster, "ann", with(TWO_GPUS));
    submit(&mut cluster, "ann", with(""));
    cluster.connect(1, "a", 2, &[]);
    assert_eq!(cluster.grants(), [(1, of(1, 1))]);
    // The next job of the first sweep waits for the GPUs of this one.
    cluster.connect(2, "b", 1, &[]);
    cluster.connect(3, "c", 1, &[]);
    assert_eq!(cluster.grants(), [(2, of(2, 1)), (3, of(2, 2))]);
    end(&mut cluster, 1, of(1, 1));
    assert_eq!(cluster.grants(), [(1, of(1, 2))]);
}
