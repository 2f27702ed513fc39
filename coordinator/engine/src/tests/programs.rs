//! Sweeps of users' programs: which workers are given their jobs, and what is reported where there is none.

use domain::{
    record::Record,
    specification::{Specification, SpecificationSource},
};
use terms::{Again, EndDetails, JobState, Outcome, ParameterUse};

use super::cluster::{Cluster, LEASE_MS, ended, ended_with, key};
use crate::WaitReason;

/// A sweep of two jobs of a program.
fn of_a_program() -> Specification {
    of_rates("0.1, 0.2")
}

/// A sweep of a program with a job for each of these rates.
fn of_rates(rates: &str) -> Specification {
    let text = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters:\n  lr: {{values: [{rates}]}}\n"
    );
    Specification::parse(&SpecificationSource { text, ..SpecificationSource::default() }).unwrap()
}

#[test]
fn jobs_of_a_program_wait_for_a_worker_that_runs_programs_and_the_sweep_says_so() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_a_program());
    cluster.connect(1, "careful", 2, &[]);
    assert_eq!(cluster.grants(), []);
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(
        (waiting.reason, waiting.text.as_str()),
        (
            WaitReason::NoneCanTrain,
            "no worker can train this sweep: careful: it runs no programs, which it would with `sweep-worker start \
             --allow-commands`"
        )
    );
    cluster.runs_programs = true;
    cluster.connect(2, "open", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1))]);
    // The slots of the other one are free, and of no use.
    let waiting = cluster.sweep().waiting.unwrap();
    assert_eq!(waiting.reason, WaitReason::SlotsBusy, "{}", waiting.text);
}

#[test]
fn a_program_that_the_only_worker_for_it_rejects_fails_whatever_others_could_run_of_models() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_a_program());
    cluster.connect(1, "careful", 1, &[]);
    cluster.runs_programs = true;
    cluster.connect(2, "open", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 1))]);
    cluster.event(2, key(1, 1), ended(Outcome::Rejected, "there is no python3"));
    // It gets the next one, as no other worker can.
    assert_eq!(cluster.grants(), [(2, key(2, 1))]);
    cluster.event(2, key(2, 1), ended(Outcome::Rejected, "there is no python3"));
    assert_eq!(cluster.grants(), []);
    let counts = cluster.sweep().counts;
    assert_eq!((counts.failed, counts.pending), (2, 0));
}

#[test]
fn workers_that_run_programs_train_models_as_well() {
    let mut cluster = Cluster::with_sweep(1, "");
    cluster.runs_programs = true;
    cluster.connect(1, "open", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1))]);
}

#[test]
fn a_job_that_failed_is_tried_again_at_another_worker_that_is_free() {
    let mut cluster = granted();
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(2, 1))]);
    cluster.train(2, key(2, 1));
    fails(&mut cluster, 1, 0, "exit status 1: no driver", Again::UnlessRepeated);
    assert_eq!(cluster.grants(), [(2, key(1, 2))]);
}

#[test]
fn a_worker_begins_other_jobs_before_it_tries_one_again_that_failed_there() {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_rates("0.1, 0.2, 0.3, 0.4"));
    cluster.runs_programs = true;
    cluster.connect(1, "a", 1, &[]);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1)), (2, key(2, 1))]);
    fails(&mut cluster, 1, 0, "exit status 1: no driver", Again::UnlessRepeated);
    assert_eq!(cluster.grants(), [(1, key(3, 1))]);
    cluster.train(2, key(2, 1));
    assert_eq!(cluster.grants(), [(2, key(1, 2))], "the other one tries it first");
}

/// A cluster with a worker for programs and one granted job of two.
fn granted() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.submit_this(of_a_program());
    cluster.runs_programs = true;
    cluster.connect(1, "a", 1, &[]);
    assert_eq!(cluster.grants(), [(1, key(1, 1))]);
    cluster
}

fn fails(cluster: &mut Cluster, attempt: u32, epochs: u32, reason: &str, again: Again) {
    cluster.start(1, key(1, attempt));
    for epoch in 1..=epochs {
        cluster.epoch(1, key(1, attempt), epoch);
    }
    let details = EndDetails { again, ..EndDetails::default() };
    cluster.event(1, key(1, attempt), ended_with(Outcome::Failed, reason, details));
}

/// The state and the reason of the job that changed last.
fn last_change(cluster: &Cluster) -> (JobState, &str) {
    let changes = cluster.records.iter().rev();
    let last = changes.filter_map(|record| match record {
        Record::JobChanged { state, reason, .. } => Some((*state, reason.as_str())),
        _ => None,
    });
    last.into_iter().next().unwrap()
}

#[test]
fn what_fails_twice_in_the_same_way_is_not_tried_a_third_time() {
    let again = Again::UnlessRepeated;
    let mut cluster = granted();
    fails(&mut cluster, 1, 1, "exit status 1: KeyError", again);
    assert_eq!(last_change(&cluster), (JobState::Pending, "exit status 1: KeyError"));
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
    fails(&mut cluster, 2, 1, "exit status 1: KeyError", again);
    let reason = "exit status 1: KeyError; not tried again: it failed in the same way twice";
    assert_eq!(last_change(&cluster), (JobState::Failed, reason));
    assert_eq!(cluster.grants(), [(1, key(2, 1))], "the next job");
}

#[test]
fn what_fails_twice_on_one_worker_keeps_its_attempts_while_there_are_others() {
    let again = Again::UnlessRepeated;
    let mut cluster = granted();
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(2, 1))]);
    for attempt in 1..=2 {
        fails(&mut cluster, attempt, 0, "exit status 1: no driver", again);
        assert_eq!(last_change(&cluster), (JobState::Pending, "exit status 1: no driver"));
        assert_eq!(cluster.grants(), [(1, key(1, attempt + 1))]);
    }
}

#[test]
fn what_fails_on_two_workers_in_the_same_way_is_not_tried_again() {
    let again = Again::UnlessRepeated;
    let mut cluster = granted();
    fails(&mut cluster, 1, 0, "exit status 1: KeyError", again);
    assert_eq!(cluster.grants(), [(1, key(1, 2))]);
    cluster.start(1, key(1, 2));
    cluster.pass(LEASE_MS + 1);
    cluster.connect(2, "b", 1, &[]);
    assert_eq!(cluster.grants(), [(2, key(1, 3))], "the worker is lost");
    cluster.connect(3, "a", 1, &[]);
    cluster.start(2, key(1, 3));
    let details = EndDetails { again, ..EndDetails::default() };
    cluster.event(2, key(1, 3), ended_with(Outcome::Failed, "exit status 1: KeyError", details));
    let reason = "exit status 1: KeyError; not tried again: it failed in the same way twice";
    assert_eq!(last_change(&cluster), (JobState::Failed, reason));
}

#[test]
fn what_fails_in_another_way_or_by_chance_keeps_its_attempts() {
    for (second, epochs, again) in [
        ("exit status 1: KeyError", 2, Again::UnlessRepeated),
        ("exit status 1: no room", 1, Again::UnlessRepeated),
        ("exit status 1: KeyError", 1, Again::Yes),
    ] {
        let mut cluster = granted();
        fails(&mut cluster, 1, 1, "exit status 1: KeyError", again);
        cluster.take_effects();
        fails(&mut cluster, 2, epochs, second, again);
        assert_eq!(last_change(&cluster), (JobState::Pending, second));
        cluster.take_effects();
        // Attempts that are left count as always.
        fails(&mut cluster, 3, 0, second, again);
        assert_eq!(last_change(&cluster), (JobState::Failed, second));
    }
}

#[test]
fn what_would_fail_again_is_not_tried_again() {
    let mut cluster = granted();
    fails(&mut cluster, 1, 0, "exit status 2: usage", Again::No);
    let reason = "exit status 2: usage; not tried again: it would fail in the same way";
    assert_eq!(last_change(&cluster), (JobState::Failed, reason));
}

#[test]
fn a_sweep_knows_which_parameters_no_job_has_read() {
    let mut cluster = granted();
    let done = |cluster: &mut Cluster, job: u64, read: &[&str], unread: &[&str]| {
        cluster.start(1, key(job, 1));
        cluster.epoch(1, key(job, 1), 1);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = Some(ParameterUse { read: names(read), unread: names(unread) });
        let details = EndDetails { parameters, ..EndDetails::default() };
        cluster.event(1, key(job, 1), ended_with(Outcome::Done, "", details));
    };
    done(&mut cluster, 1, &["x"], &["lr", "foreign"]);
    assert_eq!(cluster.sweep().unread_parameters, ["lr"]);
    let noted = |record: &&Record| matches!(record, Record::ParametersRead { .. });
    assert_eq!(cluster.records.iter().filter(noted).count(), 1);
    cluster.take_effects();
    done(&mut cluster, 2, &["lr"], &[]);
    assert!(cluster.sweep().unread_parameters.is_empty(), "one job has read it");
    assert_eq!(cluster.records.iter().filter(noted).count(), 2);
}
